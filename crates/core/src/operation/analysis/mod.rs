//! What an analysis is made of, read from where it is: cross-reference files, the records of a root, and the outputs of
//! commands that were run on a machine that is not here.
//!
//! Nothing is decided here; [`analyze`](patchadm_planning::analyze) does.

mod file;
mod listings;
mod of_root;
mod page_file;

pub use file::{AnalysisError, parse_cross_reference, read_cross_reference};
pub use listings::{HostNames, Listings, read_listings};
pub use of_root::{facts_of, facts_of_root, still_loaded_in};
pub use page_file::write_page;
