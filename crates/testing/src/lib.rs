//! The test harness of the programs of patchadm: roots, packages and patches made by a test, and assertions about
//! documents, trees and pages.
//!
//! Nothing here knows the path of a program: a test gives that of its own program, and the others are beside it.

#![allow(missing_docs, reason = "used by our tests only, where a name says it all")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test that cannot go on ends by a panic
#![allow(clippy::missing_panics_doc)] // a test that fails does so by a panic
#![allow(clippy::must_use_candidate, clippy::return_self_not_must_use)] // what a test makes, it uses
#![allow(clippy::needless_for_each, clippy::format_collect, clippy::format_push_string)] // a test need not be fast
#![allow(clippy::disallowed_methods)] // a test makes its own trees, beside the door

use std::path::Path;

/// Pages in a browser.
pub mod browser;
/// Patches made by a test, in every form of delivery.
pub mod delivery;
/// Running the program as an ordinary user.
pub mod everyman;
/// Directories in memory.
pub mod in_memory;
/// Packages made by a test.
pub mod packages;
/// Processes of a test.
pub mod processes;
/// The programs of a build.
pub mod programs;
/// Pseudo-random numbers.
pub mod random;
/// The stage on which every test plays.
pub mod scenario;
/// The JSON documents that the suite sees, against `docs/schema`.
pub mod schema;
/// Tools that tests use if they are installed.
pub mod tools;
/// Trees, to be compared attribute by attribute.
pub mod tree;

/// Returns the directory of the repository.
pub fn checkout() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own)
}
