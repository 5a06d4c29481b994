//! Many machines: a report about all of them, and Ansible on many roots.
//!
//! Inventories have the fields that `list --json` prints on a root with one patch. Their values, hundreds of patches
//! and packages, follow from a seed. A report is measured beside programs that read the same files, or parse them and
//! discard the result, with all cores. Ansible runs the collection of the checkout with its own settings; each host is
//! a local connection with its own root.

mod ansible;
mod fleet_patch;
mod inventories;
mod inventory;
mod reports;

use anyhow::Result;

use crate::disk::Disk;
use crate::options::Options;
use crate::report::Report;
use fleet_patch::{FleetPatch, PatchSize};

/// Runs all measurements of the section on a disk.
pub(crate) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    let patch = FleetPatch::write(disk, PatchSize::SMALL)?;
    reports::run(disk, &patch, options, report)?;
    patch.clear()?;
    ansible::run(disk, options, report)
}
