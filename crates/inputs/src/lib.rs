//! Verified inputs of decisions: patches, packages, records of a root, its policy, signatures, depots. Nothing here
//! decides: higher layers judge faults. Every reader has a limit for each length, and an error that names the place.
//!
//! ```text
//!     operand of a command           the root below -R          a depot
//!            │                             │                     │
//!       ┌────▼────┐                   ┌────▼─────┐          ┌────▼────┐
//!       │ source  │ Image             │ database │ Inventory │  depot  │ Index
//!       └────┬────┘                   └────┬─────┘          └────┬────┘
//!          sign      format            policy, stage          http, cache
//! ```
//!
//! | module | is about | uses of this crate |
//! | --- | --- | --- |
//! | [`database`] | the package database of a root, as before or as after a run, never mixed | inventory, policy, format, sign |
//! | [`source`] | a directory, datastream, tar or zip archive as one kind of thing | format, sign, `program_run` |
//! | [`inventory`] | the facts about a root that a plan needs | format, native |
//! | [`native`] | the records of dpkg and rpm in a root | sha256, `program_run` |
//! | [`program_run`] | other programs in bounded time, and the signal that asks this one to end | nothing |
//! | [`policy`] | the settings of a root's operator | `path_glob`, sign |
//! | [`stage`] | the files of a stage, and the records of a root about its stages | `path_glob` |
//! | [`trial`] | the trial of a run: its duration, its record, and its end | duration |
//! | [`duration`] | durations in options | nothing |
//! | [`depot`] | the index of published patches, and the memory of a root | nothing |
//! | [`http`] | files of web servers | nothing |
//! | [`cache`] | fetched files by their digests | sign |
//! | [`sign`] | manifests, signatures and keys | nothing |
//! | [`mod@format`] | formats of this program: ledgers, plan files, exported undo data | nothing |
//! | [`patch_scripts`] | the scripts in patches and backout packages | nothing |

#![allow(missing_docs, reason = "used by our programs only, where a name says it all")]
// Unit tests make their own trees; the lint is for the library.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod cache;
pub mod database;
pub mod depot;
pub mod duration;
pub mod format;
pub mod http;
pub mod input_file;
pub mod inventory;
pub mod little_endian;
pub mod native;
pub mod password;
pub mod patch_scripts;
pub mod path_glob;
pub mod policy;
pub mod program_run;
pub mod sha256;
pub mod side_file;
pub mod sign;
pub mod source;
pub mod stage;
pub mod trial;

#[cfg(test)]
pub(crate) fn skipped(what: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}
