//! How long downloads take: many small patches, one large one, and what a large depot costs.

mod depot;
mod fetched;
mod offered;
mod server;
mod update;

use anyhow::Result;

use crate::disk::Disk;
use crate::options::Options;
use crate::report::Report;

/// Measures all of it on a disk.
pub(crate) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    update::run(disk, options, report)?;
    fetched::run(disk, options, report)?;
    depot::run(disk, options, report)
}
