//! Shared libraries as the loader of a root finds them: which program loads which library through which path.
//!
//! Pure: a tree is a value, made of the programs, libraries and links that a scan has seen and of a plan's changes to
//! them. The loader's settings are text that was read from the root. Nothing of the root is executed, and neither
//! `etc/ld.so.cache` nor the directories `glibc-hwcaps` are read: the truth is what `ldconfig` would find now.
//!
//! ```text
//! elf            what a program or library says to the dynamic linker
//! cache          the known facts about the files of a root, so that the next scan reads only the changed ones
//! tree           programs, libraries and links under their paths; links are followed inside the root
//! settings       etc/ld.so.conf with its includes, etc/ld.so.preload, the path files of musl
//! search         the search for one name: RPATH along the chain, RUNPATH, the directories of the root
//! loading        one program with everything that it loads, in the order of its loader
//! change         the input of a decision: trees before and after, candidates, other consumers
//! needs          one need that is no longer met, and what the new library lacks
//! changed_needs  compares each program as it loads after the change with itself before
//! decision       which of the removed libraries stay, and for whom
//! ```

// Unit tests make trees of their own; what is linted is the library as it is built.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod cache;
mod change;
mod changed_needs;
pub mod decision;
pub mod elf;
mod loading;
mod needs;
mod search;
mod settings;
mod tree;

pub use cache::FactsCache;
pub use loading::{LoadedObject, Loader, Loading, Need, NeedSource};
pub use settings::{ConfigFiles, LoaderSettings};
pub use tree::{Follower, LibraryFile, LibraryTree, Way};

#[cfg(test)]
mod tests;

/// Reports a skipped test and the reason, past the capture of test output.
#[cfg(test)]
pub(crate) fn skipped(what: &str) {
    use std::io::Write as _;
    // Nothing depends on it.
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}
