//! What the recipes of a tree make: `scan` is called for each location whose files are not as they were.

mod agent;
mod reading;
mod sandbox;
pub(crate) mod seen_files;

pub use agent::serve_scan;
pub(crate) use reading::path_in_tree;
pub use reading::{ScanError, ScanRequest, ScanResult, is_as_scanned, scan};

/// The argument that makes the program the process inside a sandbox that calls `scan`.
pub const SCAN_PROCESS: &str = "__bulk-scan";
