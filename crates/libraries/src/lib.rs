//! Shared libraries as the loader of a root finds them: which program loads which library through which path.
//!
//! Pure: a tree is a value, made from a scan and a plan's changes. Nothing of the root is executed. `etc/ld.so.cache`
//! and `glibc-hwcaps` are not read: the result of `ldconfig` now is what counts.
//!
//! ```text
//! elf       facts for the dynamic linker in one program or library
//! cache     known facts about files, so that the next scan reads only changed ones
//! tree      programs, libraries and links by path; links are followed inside the root
//! settings  etc/ld.so.conf with its includes, etc/ld.so.preload, the path files of musl
//! search    the search for one name: RPATH along the chain, RUNPATH, the directories of the root
//! loading   one program with everything that it loads, in the order of its loader
//! change    the input of a decision: trees before and after, candidates, other consumers
//! needs     compares each program after the change with itself before: unmet needs, and what the new library lacks
//! decision  which removed libraries stay, and for which programs
//! ```

#![allow(missing_docs, reason = "used by our programs only, where a name says it all")]
// Unit tests make trees of their own; what is linted is the library as it is built.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod cache;
mod change;
pub mod decision;
pub mod elf;
mod loading;
mod needs;
mod search;
mod settings;
mod tree;

pub use cache::FactsCache;
pub use loading::{LibraryNeed, LoadedObject, Loader, Loading, NeedSource};
pub use settings::{ConfigFiles, LoaderSettings};
pub use tree::{Follower, LibraryFile, LibraryTree, ResolvedPath};

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) fn skipped(what: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}
