//! The judge of a trial: the first process of a sandbox, which loads nothing of the tree that packages have filled.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::places::OWN_LOG;
use serde::{Deserialize, Serialize};

use super::comparison::{compare_with_packages, first_change};
use super::error::TrialServeError;
use super::order::{ChangedObject, PACKAGES, TrialOrder, TrialResult, TrialStep};
use super::records::RecordState;
use super::tree::{TreeState, changed_files};
use crate::first_names::first_names;

/// How many bytes of the end of the verbs' log a trial's log quotes.
const NOTED: u64 = 64 << 10;

/// The state of a tree.
#[derive(Serialize, Deserialize)]
struct TrialState {
    tree: TreeState,
    records: RecordState,
}

impl TrialState {
    fn read(root: &Root) -> Result<Self, TrialServeError> {
        Ok(Self { tree: TreeState::read(root)?, records: RecordState::read(root)? })
    }
}

/// Judges as a file orders, and writes what came out behind the order. What keeps the tree from being looked at is an outcome,
/// too: packages alone have written there.
pub fn serve_trial(mut order: File) -> Result<(), TrialServeError> {
    let mut text = Vec::new();
    order.read_to_end(&mut text)?;
    let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    let (line, before) = text.split_at(end);
    let unread = |error: serde_json::Error| TrialServeError::Order(error.to_string());
    let trial: TrialOrder = serde_json::from_slice(line).map_err(unread)?;
    let mut state = Vec::new();
    let lost = |error: &TrialServeError| format!("the tree cannot be looked at: {error}");
    let judged = match trial.step {
        TrialStep::Installed => Root::open(Path::new("/"))
            .map_err(TrialServeError::from)
            .and_then(|root| first_change(&root, Path::new(PACKAGES), &trial))
            .or_else(|error| Ok(Some(ChangedObject { package: None, how: error.to_string() })))
            .map(|changed| TrialResult { failure: None, changed }),
        TrialStep::Before => Root::open(Path::new("/"))
            .map_err(TrialServeError::from)
            .and_then(|root| TrialState::read(&root))
            .and_then(|seen| Ok(serde_json::to_writer(&mut state, &seen).map_err(io::Error::from)?))
            .map(|()| TrialResult::default()),
        TrialStep::Added => failure_of(other_than_packages(&trial)),
        TrialStep::Removed => {
            let before = serde_json::from_slice(before).map_err(unread)?;
            failure_of(other_than_before(&before, trial.layers))
        }
        TrialStep::Failed => failure_of(tell_own_log().map(|()| None)),
    };
    let result = judged.unwrap_or_else(|error| TrialResult { failure: Some(lost(&error)), changed: None });
    // A value of strings: serialising it cannot fail.
    let mut bytes = serde_json::to_vec(&result).unwrap_or_default();
    bytes.push(b'\n');
    bytes.extend(state);
    Ok(order.write_all(&bytes)?)
}

fn failure_of(failure: Result<Option<String>, TrialServeError>) -> Result<TrialResult, TrialServeError> {
    failure.map(|failure| TrialResult { failure, changed: None })
}

/// Returns how the patched tree is not that of the packages that are expected, if it is not.
fn other_than_packages(order: &TrialOrder) -> Result<Option<String>, TrialServeError> {
    let differences = compare_with_packages(&Root::open(Path::new("/"))?, Path::new(PACKAGES), order)?;
    let failed = || format!("the patched tree is not that of the new packages: {}", told(&differences));
    Ok((!differences.is_empty()).then(failed))
}

/// Returns how the tree is not as it was, if it is not.
fn other_than_before(before: &TrialState, layers: usize) -> Result<Option<String>, TrialServeError> {
    let root = Root::open(Path::new("/"))?;
    let mut differences = before.tree.differences(&TreeState::read(&root)?);
    differences.extend(changed_files(&root, &before.tree, layers)?);
    differences.extend(before.records.differences(&RecordState::read(&root)?));
    let failed = || format!("its backout does not restore the tree: {}", told(&differences));
    Ok((!differences.is_empty()).then(failed))
}

/// Adds a line to the log.
fn tell(line: fmt::Arguments<'_>) {
    // If nobody reads the log, the trial goes on.
    let _ = writeln!(io::stdout(), "==> {line}");
}

/// Adds the end of what the verbs have noted, such as the output of scripts, to the log.
fn tell_own_log() -> Result<(), TrialServeError> {
    let path = ObjectPath::new(OWN_LOG.as_bytes())?;
    let Some(dir) =
        Root::open(Path::new("/"))?.dir_of_object(&path.parent().unwrap_or_else(ObjectPath::root))?
    else {
        return Ok(());
    };
    let Some((mut log, seen)) = dir.open_seen(path.name())? else { return Ok(()) };
    log.seek(SeekFrom::Start(seen.size.saturating_sub(NOTED)))?;
    let mut end = Vec::new();
    log.take(NOTED).read_to_end(&mut end)?;
    tell(format_args!("{OWN_LOG} ends with:\n{}", String::from_utf8_lossy(&end).trim_end()));
    Ok(())
}

/// Returns the first differences; the log gets all of them.
fn told(differences: &[String]) -> String {
    for difference in differences {
        tell(format_args!("{difference}"));
    }
    first_names(differences)
}
