//! The integration tests: one module per command, one binary for all of them.

/// The program as a whole: names, command lines, output streams.
mod command_line;
/// What the classic tools printed for roots that they made.
mod goldens_of_queries;
mod pkgchk;
mod pkginfo;
mod pkgparam;
/// The stage on which every test plays.
mod scenario;
mod showrev;
