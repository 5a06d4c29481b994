//! Many patches: a depot of thousands, hundreds in one command, and one that comes out from under later ones; and one of a depot
//! on a web server.

mod depot;
mod fetched;
mod in_one_command;
mod middle;
mod offered;

use anyhow::Result;

use crate::disk::Disk;
use crate::options::Options;
use crate::report::Report;

/// Measures all of it on a disk.
pub(crate) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    depot::run(disk, options, report)?;
    in_one_command::run(disk, options, report)?;
    middle::run(disk, options, report)?;
    fetched::run(disk, options, report)
}
