//! Whether anything has changed since the last run that came to its end: the word of the configured command, or else the files
//! that the last scan has read.

use patchadm_bulk_values::journal::RunEnd;
use patchadm_bulk_values::result::Digest;
use patchadm_rootfs::RootError;
use patchadm_svr4::package::Mode;
use serde::{Deserialize, Serialize};

use super::beginning::scan_request;
use super::journal_file::known_runs;
use super::request::{RunError, RunEvent, RunRequest, Tell};
use crate::command_output::output_digest;
use crate::scan::is_as_scanned;
use crate::work::{PROGRAM, SCAN, Work};

/// The file, in the directory of the scan, with what the command printed before the last finished run.
const POLLED: &[u8] = b"polled";

/// The largest such file, in bytes.
const LARGEST: u64 = 4096;

/// What the command printed before a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Polled {
    run: u64,
    poll: Digest,
}

/// Tells whether a run may come to another end than the last one: `None` if it may, else the number of that one. What cannot be
/// found out counts as a change.
pub fn has_changed(request: &RunRequest<'_>, tell: Tell<'_>) -> Result<Option<u64>, RunError> {
    let work = request.work;
    if request.retries || !request.rebuild.is_empty() {
        return Ok(None);
    }
    let known = known_runs(work, request.is_new)?;
    let Some((last, _)) = &known.last else { return Ok(None) };
    let is_same = matches!(last.end, RunEnd::Ended { .. })
        && last.operands == request.operands()
        && last.conf == Digest::of(&work.conf_text);
    if !is_same {
        return Ok(None);
    }
    let is_unchanged = if work.conf.poll.is_some() {
        let now = poll(work, tell).map(|poll| Polled { run: last.run, poll });
        now.is_some() && now == read_polled(work)?
    } else {
        is_as_scanned(&scan_request(request, &request.base.1.to_string(), false))?
    };
    Ok(is_unchanged.then_some(last.run))
}

/// Asks the configured command, before a run looks at the tree.
pub(super) fn poll(work: &Work, tell: Tell<'_>) -> Option<Digest> {
    let words = work.conf.poll.as_deref()?;
    match output_digest("poll", words, Some(&work.path)) {
        Ok(poll) => Some(poll),
        Err(reason) => {
            tell(RunEvent::Note(&format!("{reason}: it counts as a change")));
            None
        }
    }
}

/// Keeps what the command printed, once the run has come to its end.
pub(super) fn keep_polled(work: &Work, run: u64, poll: Option<Digest>) -> Result<(), RootError> {
    let dir = work.directory(SCAN)?;
    match poll.and_then(|poll| serde_json::to_vec(&Polled { run, poll }).ok()) {
        Some(bytes) => dir.replace_file(PROGRAM, POLLED, &bytes, Mode::of(0o644)),
        None => dir.remove(POLLED),
    }
}

fn read_polled(work: &Work) -> Result<Option<Polled>, RootError> {
    let dir = work.directory(SCAN)?;
    let bytes = dir.read_regular(POLLED, LARGEST)?.unwrap_or_default();
    Ok(serde_json::from_slice(&bytes).ok())
}
