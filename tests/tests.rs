//! The integration tests: one module per command, one binary for all of them.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that cannot go on ends by a panic

/// Real releases, installed and compared with what they must look like.
mod cases;
/// The program as a whole: names, command lines, output streams.
mod command_line;
/// What the classic tools made of packages without scripts.
mod goldens_of_packages;
/// What the classic tools printed for roots that they made.
mod goldens_of_queries;
/// Packages and patches made by a test.
mod packages;
mod pkgadd;
mod pkgchk;
mod pkginfo;
mod pkgparam;
mod pkgrm;
/// The stage on which every test plays.
mod scenario;
mod showrev;
/// A tree of files as text that can be compared.
mod tree;
