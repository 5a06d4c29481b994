//! What waits for people with many machines: a report about all of them, and Ansible on many roots.
//!
//! Inventories have the fields that `list --json` prints on a root with one patch, and values of hundreds of patches and
//! packages that a seed decides. A report is measured beside reading the same files, and beside parsing them into nothing, with all
//! cores. Ansible plays the collection of the checkout with the settings that come with
//! it; each host is a local connection with a root of its own.

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

/// Measures all of it on a disk.
pub(crate) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    let patch = FleetPatch::write(disk, PatchSize::SMALL)?;
    reports::run(disk, &patch, options, report)?;
    patch.clear()?;
    ansible::run(disk, options, report)
}
