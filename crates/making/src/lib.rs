//! Making patches and packages.
//!
//! | module | is about | uses of this crate |
//! | --- | --- | --- |
//! | [`release`] | releases of software as lists of objects | nothing |
//! | [`build`] | patches made of two releases | release |
//! | [`delta`] | the patches of a stable branch | build, release |
//! | [`lint`] | faults of a patch, found without applying it | build, release |
//! | [`make`] | packages made from files, as pkgmk and pkgproto do | nothing |

#![allow(missing_docs, reason = "used by our programs only, where a name says it all")]
// Unit tests make their own trees; the lint is for the library.
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
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}
