//! Shared libraries as the loader of a root finds them: which program loads which library through which path.
//!
//! Pure: a tree is a value, made of the programs, libraries and links that a scan has seen and of a plan's changes to
//! them. The loader's settings are text that was read from the root. Nothing of the root is executed, and neither
//! `etc/ld.so.cache` nor the directories `glibc-hwcaps` are read: the truth is what `ldconfig` would find now.
//!
//! ```text
//! tree       programs, libraries and links under their paths; links are followed inside the root
//! settings   etc/ld.so.conf with its includes, etc/ld.so.preload, the path files of musl
//! machine    what depends on the processor: the default directories, `$LIB` and `$PLATFORM`
//! names      names as numbers
//! search     where one name is searched: RPATH along the chain, RUNPATH, the directories of the root
//! loading    one program with everything that it loads, in the order in which it loads it
//! change     a change as the decision sees it: the trees, what may stay, who needs it
//! differences, concerned   where its trees differ, and the programs that come there; the others load the same as before
//! comparisons  what a library has for those that need it
//! changed_needs, lost_needs   each program as it loads after the change beside itself before: what it lost and gained
//! lost_candidates, staying    what of the old serves those who lost something
//! decision   which libraries stay for whom when a change takes them away
//! elf        what a program or library says to the dynamic linker
//! cache      what is known of the files of a root, so that the next scan reads only what has changed
//! ```

// Unit tests make trees of their own; what is linted is the library as it is built.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod cache;
mod change;
mod changed_needs;
mod comparisons;
mod concerned;
pub mod decision;
mod differences;
pub mod elf;
mod follower;
mod loading;
mod lost_candidates;
mod lost_needs;
mod machine;
mod names;
mod search;
mod settings;
mod staying;
mod tree;

pub use cache::FactsCache;
pub use follower::Follower;
pub use loading::{LoadedObject, Loader, Loading, Need, NeedSource};
pub use settings::{ConfigFiles, LoaderSettings};
pub use tree::{LibraryFile, LibraryTree, Way};

#[cfg(test)]
mod tests;

/// Reports which test is skipped and why, past the capture of test output.
#[cfg(test)]
pub(crate) fn skipped(what: &str) {
    use std::io::Write as _;
    // Nothing depends on it.
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}
