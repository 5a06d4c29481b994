//! Who may change the root, and who does so at this moment.

use super::examination::Examination;
use super::finding::Finding;
use crate::operation::whose_root::RootStanding;

/// The lock of the root.
pub(super) fn lock(examination: &Examination<'_>) -> Vec<Finding> {
    let wait = format!("{} --wait SECONDS", examination.wording().verb("VERB").trim_matches('`'));
    vec![match &examination.holder {
        Ok(None) => Finding::ok("lock", "no command is changing the root"),
        Ok(Some(holder)) => {
            Finding::limited("lock", format!("held by {}", holder.describe())).with_command(wait)
        }
        Err(error) if error.is_refused_access() => Finding::unknown("lock", error.to_string()),
        Err(error) => Finding::attention("lock", error.to_string()),
    }]
}

/// The rights of the caller.
pub(super) fn rights(examination: &Examination<'_>) -> Vec<Finding> {
    let failure = match &examination.changes {
        Ok(RootStanding::Caller(_)) => return vec![Finding::ok("rights", "you may change the root")],
        Ok(RootStanding::Owner(_)) => {
            return vec![Finding::ok(
                "rights",
                "the root is changed as its owner, by the policy of this host",
            )];
        }
        Err(failure) => failure,
    };
    let finding = Finding::limited("rights", format!("you may only look: {failure}"));
    vec![match failure.untrusted() {
        Some(_) => finding.with_command(examination.wording().verb("VERB --as-owner")),
        None => finding,
    }]
}

/// The policy of the root.
pub(super) fn policy(examination: &Examination<'_>) -> Vec<Finding> {
    vec![match &examination.policy {
        Ok(_) => Finding::ok("policy", "every setting makes sense"),
        Err(reason) => {
            Finding::attention("policy", format!("no command changes the root before it is mended: {reason}"))
        }
    }]
}
