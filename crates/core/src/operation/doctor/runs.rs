//! Runs: unfinished ones, the identity of the root that binds them, and records of a later version of the program.

use super::examination::Examination;
use super::finding::Finding;
use patchadm_changeset::format::journal::JournalError;
use patchadm_changeset::records::OpenRun;
use patchadm_changeset::transaction::{ForeseenRecovery, Recovered, foresee_recovery};
use patchadm_inputs::database::{ViewError, identity_fault};

/// An interrupted run, and what recovery would do with it.
pub(super) fn unfinished(examination: &Examination<'_>) -> Vec<Finding> {
    const WHAT: &str = "unfinished";
    vec![match &examination.run {
        Ok(None) => Finding::ok(WHAT, "no run is unfinished"),
        Ok(Some(run)) => of_run(examination, run),
        Err(ViewError::Journal { reason: JournalError::Version(_), .. }) => {
            Finding::unknown(WHAT, "only the version that wrote the journal can tell")
        }
        Err(error @ ViewError::Journal { reason: JournalError::Earlier(_), .. }) => {
            Finding::attention(WHAT, told(error))
                .with_command(examination.wording().verb("recover --keep-stage DIR"))
        }
        Err(error @ ViewError::Journal { .. }) => Finding::attention(WHAT, told(error))
            .with_command(examination.wording().verb("recover --discard-journal")),
        Err(error) if error.is_refused_access() || matches!(error, ViewError::Busy(_)) => {
            Finding::unknown(WHAT, error.to_string())
        }
        Err(error) => {
            Finding::attention(WHAT, error.to_string()).with_command(examination.wording().verb("recover"))
        }
    }]
}

/// Returns an error of the journal without its own advice, which stands beside it as a command.
fn told(error: &ViewError) -> String {
    match error {
        ViewError::Journal { path, reason } => format!("the journal {path} cannot be read: {reason}"),
        error => error.to_string(),
    }
}

fn of_run(examination: &Examination<'_>, run: &OpenRun) -> Finding {
    let OpenRun { name, command, .. } = run;
    match &examination.holder {
        Ok(Some(holder)) => {
            let text = format!("the run {name} ({command}) is under way, by {}", holder.describe());
            return Finding::limited("unfinished", text);
        }
        Err(error) => {
            let text = format!(
                "the run {name} ({command}) is under way or interrupted, which the lock tells: {error}"
            );
            return Finding::attention("unfinished", text);
        }
        Ok(None) => {}
    }
    let foreseen = match foresee_recovery(examination.root, None) {
        Ok(ForeseenRecovery::Root(foreseen)) => Some(foreseen.1),
        // It was recovered, or only a recovery can tell.
        _ => None,
    };
    let next = match foreseen {
        Some(Recovered::Foreseen { is_rolled_back: true, .. }) => ": recovery rolls it back",
        Some(Recovered::Foreseen { .. }) => " after its commit: recovery tidies it up",
        _ => "",
    };
    Finding::attention("unfinished", format!("the run {name} ({command}) was interrupted{next}"))
        .with_command(examination.wording().verb("recover"))
}

/// The marker by which archives and journal belong to this root.
pub(super) fn identity(examination: &Examination<'_>) -> Vec<Finding> {
    vec![match identity_fault(examination.root) {
        Ok(None) => Finding::ok("identity", "journal and root-id name one root"),
        Ok(Some(fault)) => Finding::attention("identity", fault.to_string())
            .with_command(examination.wording().verb("recover --new-identity")),
        Err(ViewError::Journal { .. }) => Finding::unknown("identity", "the journal does not tell"),
        Err(error) => Finding::unknown("identity", error.to_string()),
    }]
}

/// The version of the program. The journal tells its own; no other record of a later version can be told from a damaged one
/// without being read for a change.
pub(super) fn program(examination: &Examination<'_>) -> Vec<Finding> {
    vec![match &examination.run {
        Err(ViewError::Journal { path, reason: reason @ JournalError::Version(_) }) => Finding::attention(
            "program",
            format!("a later version of patchadm works on this root and has to be used: {path}: {reason}"),
        ),
        Err(ViewError::Journal { .. }) => Finding::unknown("program", "the journal does not tell"),
        Err(error) => Finding::unknown("program", error.to_string()),
        Ok(_) => Finding::ok("program", "no later version has made a run in this root"),
    }]
}
