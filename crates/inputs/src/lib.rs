//! The verified inputs of a decision about patches: patches and packages as sources, the records of a root and its
//! policy, signatures, depots.
//!
//! ```text
//!   what the user named            the root below -R          a depot
//!          │                             │                     │
//!     ┌────▼────┐                   ┌────▼─────┐          ┌────▼────┐
//!     │ source  │ Image             │ database │ Inventory │  depot  │ Index
//!     └────┬────┘                   └────┬─────┘          └────┬────┘
//!        sign      format            policy, stage          http, cache
//! ```
//! Nothing here decides: a fault of a patch, a record or a signature is a value, and higher layers draw the
//! consequences. Every reader has a limit for each length, and an error that names the place.
//!
//! | module | is about | uses of this crate |
//! | --- | --- | --- |
//! | [`database`] | the package database of a root, as before or as after a run, never mixed | inventory, policy, format, sign |
//! | [`source`] | a directory, datastream, tar or zip archive as one kind of thing | format, sign |
//! | [`inventory`] | what a root holds, as far as a plan needs to know | format, native |
//! | [`native`] | what dpkg or rpm has recorded in a root | sha256 |
//! | [`policy`] | what the operator of a root decided | `path_glob`, sign |
//! | [`stage`] | the files of a stage, and what a root knows of its stages | `path_glob` |
//! | [`trial`] | the trial of a run: how long, its record, and whether it is over | nothing |
//! | [`depot`] | the index of published patches, and what a root remembers of it | nothing |
//! | [`http`] | files of web servers, read once and in order | nothing |
//! | [`cache`] | what was fetched, kept under its digest | sign |
//! | [`password`] | addresses as they may be shown | nothing |
//! | [`sign`] | who made a patch, by its manifest and signature | nothing |
//! | [`mod@format`] | the formats of our own: ledgers, what is handed down between patches | nothing |
//! | [`patch_scripts`] | the texts of the scripts that patches and backout packages of ours carry | nothing |

// Unit tests make trees of their own; what is linted is the library as it is built.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod cache;
pub mod database;
pub mod depot;
pub mod format;
pub mod http;
pub mod input_file;
pub mod inventory;
pub mod little_endian;
pub mod native;
pub mod patch_scripts;
pub mod path_glob;
pub mod policy;
pub mod sha256;
pub mod sign;
pub mod source;
pub mod stage;
pub mod trial;

#[cfg(test)]
pub(crate) fn skipped(what: &str) {
    use std::io::Write as _;
    // Nothing depends on it.
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}
