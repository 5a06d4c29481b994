//! Downloads: many small patches, one large patch, and commands on a large depot.

mod depot;
mod fetched;
mod offered;
mod server;
mod update;

use anyhow::Result;

use crate::disk::Disk;
use crate::options::Options;
use crate::report::Report;

/// Runs all measurements of the section on a disk.
pub(crate) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    update::run(disk, options, report)?;
    fetched::run(disk, options, report)?;
    depot::run(disk, options, report)
}
