//! What the recipes of a tree make: `scan` is called for each location whose files are not as they were.

mod agent;
mod reading;
mod sandbox;
pub(crate) mod seen_files;

use crate::base::BaseLayer;
use crate::driver::{Driver, PLATFORM};
use crate::sandbox::BuildUser;
use crate::work::Work;

pub use agent::serve_scan;
pub(crate) use reading::path_in_tree;
pub use reading::{ScanError, ScanRequest, ScanResult, is_as_scanned, scan};

/// The argument that makes the program the process inside a sandbox that calls `scan`.
pub const SCAN_PROCESS: &str = "__bulk-scan";

/// Calls the driver's program that says for and with what packages are built; returns what it printed, or why it failed. An error
/// is the machine's.
pub(crate) fn call_platform(
    work: &Work,
    driver: &Driver,
    base: &BaseLayer,
    user: BuildUser,
) -> std::io::Result<Result<Vec<u8>, String>> {
    sandbox::ScanSandbox::make(work, driver, base, user)?.call_program(PLATFORM, None)
}
