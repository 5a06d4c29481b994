//! Reads the record of the trial that a root is on.

use super::{RecordView, ViewError, places};
use crate::trial::{LONGEST_TRIAL_RECORD, TrialRecord, TrialRecordError};

/// The reasons why the record of a trial is not believed.
#[derive(Debug, thiserror::Error)]
pub enum TrialFault {
    /// It could not be read.
    #[error(transparent)]
    View(#[from] ViewError),
    /// This program did not write it.
    #[error("{path}: {error}")]
    Record {
        /// The file on the host.
        path: String,
        /// The defect.
        error: TrialRecordError,
    },
    /// It names a patch that another run applied.
    #[error("{path}: it is about run {run}, and patch {patch} was applied by {by}")]
    OtherRun {
        /// The file on the host.
        path: String,
        /// The run that it names.
        run: String,
        /// The patch.
        patch: String,
        /// The run that applied the patch, in words.
        by: String,
    },
}

/// Returns the trial that a root is on, whether or not it is over; `None` if no run is on trial.
pub fn trial(view: &RecordView<'_>) -> Result<Option<TrialRecord>, TrialFault> {
    let place = places::trial_record();
    let Some(text) = view.read(&place, LONGEST_TRIAL_RECORD)? else { return Ok(None) };
    let damaged = |error| TrialFault::Record { path: view.root().show(&place), error };
    TrialRecord::parse(&text).map(Some).map_err(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_without_the_record_is_on_no_trial() {
        let dir = tempfile::tempdir().unwrap();
        let root = patchadm_rootfs::Root::open(dir.path()).unwrap();
        assert!(trial(&RecordView::live(&root)).unwrap().is_none());
    }
}
