//! What the recipes of a tree make: `scan` is called for each location whose files are not as they were.

mod error;
mod reading;
mod sandbox;

pub use error::ScanError;
pub use reading::{ScanRequest, ScanResult, is_as_scanned, scan};
