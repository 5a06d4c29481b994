//! The integration tests: one module per command, one binary for all of them.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that cannot go on ends by a panic

/// The program as a whole: names, command lines, output streams.
mod command_line;
mod demo;
/// Running the program as an ordinary user.
mod everyman;
/// Every kind of change at once.
mod everything;
/// What the classic tools printed for roots that they made.
mod goldens_of_queries;
mod pkgchk;
mod pkginfo;
mod pkgparam;
/// The stage on which every test plays.
mod scenario;
mod showrev;
