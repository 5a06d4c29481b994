//! Releases that an option names, and the ends if one cannot be read.

use std::ffi::OsStr;

use patchadm_cli::reply::Stop;
use patchadm_making::release::{Release, open};
use patchadm_producing::ends::of_release;
use patchadm_rootfs::WorkMeter;

/// Reads a release, or ends with the code of a patch that cannot be read for the same reason; `lost` says what did not
/// happen.
pub(super) fn read_release(
    operand: &OsStr,
    cores: usize,
    meter: &WorkMeter,
    lost: &str,
) -> Result<Release, Stop> {
    open(operand, cores, meter).map_err(|error| {
        let (exit, next) = of_release(&error);
        Stop::Refused { exit, message: format!("{lost}\n{error}.\n{next}") }
    })
}
