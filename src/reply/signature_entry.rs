//! The signature of a patch in the answer of a command.

use chrono::{DateTime, SecondsFormat};
use serde::Serialize;

use patchadm_core::operation::failure::Failure;
use patchadm_core::sign::Verdict;
use patchadm_core::source::SourceProblem;

/// What is known of a signature; its fields are those of the JSON document.
#[derive(Debug, Serialize)]
pub(crate) struct SignatureEntry {
    /// The word for what was found out.
    state: &'static str,
    /// The id of the key that signed.
    key: Option<String>,
    /// The name that the key has in the root.
    name: Option<String>,
    /// The time of signing, where the signature covers one.
    time: Option<String>,
    /// What the manifest covers.
    form: Option<&'static str>,
    /// What was demanded.
    policy: &'static str,
}

impl SignatureEntry {
    /// The entry of a verdict.
    pub(crate) fn of(verdict: &Verdict) -> Self {
        let moment = verdict.time.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        Self {
            state: verdict.state.word(),
            key: verdict.key.map(|key| key.to_string()),
            name: verdict.name.clone(),
            time: moment.map(|moment| moment.to_rfc3339_opts(SecondsFormat::Secs, true)),
            form: verdict.form.map(|form| form.word()),
            policy: verdict.policy.word(),
        }
    }
}

/// The verdict for which a patch was refused, if it was refused for one.
pub(crate) fn refused_signature(failure: &Failure) -> Option<&Verdict> {
    match failure {
        Failure::Source(error) => match &error.problem {
            SourceProblem::Signature(verdict) => Some(verdict),
            _ => None,
        },
        _ => None,
    }
}
