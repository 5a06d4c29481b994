//! What the recipes of a tree make: `scan` is called for each location whose files are not as they were.

mod error;
mod reading;
mod sandbox;

use crate::base::BaseLayer;
use crate::driver::{Driver, PLATFORM};
use crate::sandbox::BuildUser;
use crate::work::Work;

pub use error::ScanError;
pub(crate) use reading::repetition_notes;
pub use reading::{ScanRequest, ScanResult, is_as_scanned, scan};

/// Calls the driver's program that says for and with what packages are built. Returns its output, or why it failed.
pub(crate) fn call_platform(
    work: &Work,
    driver: &Driver,
    base: (&BaseLayer, BuildUser),
    interrupt: &(dyn Fn() -> Option<i32> + Sync),
) -> Result<Result<Vec<u8>, String>, ScanError> {
    sandbox::ScanSandbox::make(work, driver, base, interrupt)?.call_program(PLATFORM, None)
}
