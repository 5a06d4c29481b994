//! The clocks by which a trial is judged, as values.

use chrono::{DateTime, Utc};

/// The three clocks by which a trial is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The clock on the wall.
    pub wall: DateTime<Utc>,
    /// The id of the running boot, where the system tells it.
    pub boot: Option<String>,
    /// The milliseconds since that boot, suspension included.
    pub since_boot: u64,
}
