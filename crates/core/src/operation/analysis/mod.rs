//! The input of an analysis, read from its sources: cross-reference files, the records of a root, and the outputs of
//! commands that were run on another machine.
//!
//! Nothing is decided here; [`analyze`](patchadm_planning::analyze) does that.

mod file;
mod listings;
mod of_root;
mod page_file;

pub use file::{AnalysisError, parse_cross_reference, read_cross_reference};
pub use listings::{HostNames, Listings, read_listings};
pub use of_root::{facts_of, facts_of_root, still_loaded_in};
pub use page_file::write_page;
