//! What the recipes of a tree make: `scan` is called for each location whose files are not as they were.

mod reading;
mod sandbox;

pub use reading::{ScanError, ScanRequest, ScanResult, is_as_scanned, scan};
