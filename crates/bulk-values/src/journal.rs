//! The journal of a run: the states of its packages, as they are written down.
//!
//! JSON lines, each appended whole. The reader folds them into a [`RunState`], which says whether the run ended, was given
//! up for another one, or is to be continued. A last line torn by a power cut is dropped; any other damage is an error,
//! since a state that is lost would be built or told wrongly.

mod line;
mod remembered;
mod run_state;
mod state;

pub use line::{JournalLine, PackageOutcome, RunStart, StateCounts};
pub use remembered::is_tried_again;
pub use run_state::{JournalDamage, RunEnd, RunState};
pub use state::{FailureCause, PackageState, TreeFault};
