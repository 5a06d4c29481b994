//! The requests to a run to exchange directories, and its reports on them.

use crate::transaction::error::Cause;
use patchadm_rootfs::{DirectoryUser, Root};
use patchadm_svr4::package::ObjectPath;

/// A directory whose changes should become visible at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeRequest {
    /// The directory: a physical path.
    pub directory: ObjectPath,
    /// Whether the run is refused if that is not possible; otherwise its objects are renamed one by one.
    pub or_stop: bool,
}

/// How the changes below a directory become visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeWay {
    /// One by one.
    Renames,
    /// All at once.
    Exchange,
    /// Not at all: the run changes nothing there.
    Nothing,
}

/// How the changes below a directory became visible, or would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeReport {
    /// The directory: a physical path.
    pub path: ObjectPath,
    /// The way.
    pub way: ExchangeWay,
    /// Why its objects are renamed one by one.
    pub reason: Option<String>,
    /// The processes that stay in the old directory.
    pub holders: Vec<DirectoryUser>,
}

/// Why a run with procedure scripts renames objects one by one.
const SCRIPTS: &str = "procedure scripts run between the changes";

impl ExchangeReport {
    /// Makes the reports of a run with procedure scripts, which exchanges nothing.
    pub(crate) fn with_scripts(requests: &[ExchangeRequest]) -> Vec<Self> {
        let report = |request: &ExchangeRequest| Self {
            way: ExchangeWay::Renames,
            reason: Some(SCRIPTS.to_owned()),
            ..Self::nothing(&request.directory)
        };
        requests.iter().map(report).collect()
    }

    /// Makes the report on a directory about which nothing is known yet.
    pub(crate) fn nothing(path: &ObjectPath) -> Self {
        Self { path: path.clone(), way: ExchangeWay::Nothing, reason: None, holders: Vec::new() }
    }
}

/// Refuses a run with procedure scripts where a directory must be exchanged.
pub(crate) fn must_allow_scripts(root: &Root, requests: &[ExchangeRequest]) -> Result<(), Cause> {
    let refusal =
        |request: &ExchangeRequest| Cause::no_exchange(root, &request.directory, SCRIPTS.to_owned());
    requests.iter().find(|request| request.or_stop).map_or(Ok(()), |request| Err(refusal(request)))
}
