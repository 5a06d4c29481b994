//! Patches and packages made: releases read as lists of objects, two of them compared, patches written, looked at, and kept
//! up to date.
//!
//! ```text
//!   trees, archives, packages ──► release ──► build ──► a patch: directory, archive, datastream
//!   two sets of Debian packages ► delta ────► build     make: pkgmk, pkgproto
//!                                                       lint: what is wrong with a patch
//! ```
//! | module | is about | uses of this crate |
//! | --- | --- | --- |
//! | [`release`] | releases of software as lists of objects | nothing |
//! | [`build`] | patches made of two releases | release |
//! | [`delta`] | the patches of a stable branch | build, release |
//! | [`lint`] | what is wrong with a patch, found without applying it | build, release |
//! | [`make`] | packages made from files, as pkgmk and pkgproto do | nothing |

// Unit tests make trees of their own; what is linted is the library as it is built.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod build;
pub mod delta;
#[cfg(test)]
mod elf_files;
pub mod lint;
pub mod make;
pub mod release;

#[cfg(test)]
pub(crate) fn skipped(what: &str) {
    use std::io::Write as _;
    // Nothing depends on it.
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}
