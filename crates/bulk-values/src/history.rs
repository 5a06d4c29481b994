//! How long builds took, and two runs compared.

mod builds;
mod compared;

pub use builds::{BuildEstimates, BuildRecord, name_of, parse_builds};
pub use compared::{RunDifference, RunPackage, SlowerBuild};
