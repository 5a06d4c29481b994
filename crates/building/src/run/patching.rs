//! A run ends with patches from the released set, where they are configured: made, tried, and handed to whoever publishes them.
//!
//! What was there before the run made any patch is noted in its directory. So a run that was cut off behind a patch or a
//! publication tells of both when it is continued.

use std::collections::BTreeSet;
use std::path::Path;

use patchadm_inputs::depot::{DepotIndex, LARGEST_INDEX};
use patchadm_inputs::input_file::read_small;
use patchadm_making::delta::{DeltaError, built_patches};
use patchadm_rootfs::WorkMeter;
use patchadm_svr4::package::Mode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::request::{RunEvent, RunRequest, Tell};
use super::results::RunOutcome;
use crate::patches::{PATCHES, PatchesError, PatchesRequest, make_patches};
use crate::runs::{read_bounded, run_directory};
use crate::work::PROGRAM;

/// The file, in the directory of a run, with what was there before.
const BEFORE: &[u8] = b"before";

/// The largest such file, in bytes.
const LARGEST_BEFORE: u64 = 256 << 20;

/// The index of a depot.
const INDEX: &str = "index.json";

/// The patches that were there before a run made any.
#[derive(Debug, Default, Serialize, Deserialize)]
struct PatchesBefore {
    /// Those of the working directory: id and SHA-256.
    patches: BTreeSet<(String, String)>,
    /// The ids of those of the depot.
    published: BTreeSet<String>,
}

impl PatchesBefore {
    /// Returns what was noted when the run came here for the first time, or notes it now.
    fn of(request: &RunRequest<'_>, run: u64) -> Result<Self, PatchesError> {
        let work = request.work;
        let dir = run_directory(work, run)?;
        if let Ok(Some(text)) = read_bounded(&dir, BEFORE, LARGEST_BEFORE)?
            && let Ok(before) = serde_json::from_slice(&text)
        {
            return Ok(before);
        }
        let before = Self {
            patches: built_patches(&work.path.join(PATCHES))?.into_iter().collect(),
            published: work.conf.depot.as_deref().map(published_ids).unwrap_or_default(),
        };
        // Strings: serialising these cannot fail.
        let text = serde_json::to_vec(&before).unwrap_or_default();
        dir.replace_file(PROGRAM, BEFORE, &text, Mode::of(0o644))?;
        dir.sync()?;
        Ok(before)
    }

    /// Counts as added what the run has published, whenever that was.
    fn tell_as_added(&self, document: &mut Value) {
        let mut ids = BTreeSet::new();
        for field in ["added", "kept"] {
            let listed = document.get(field).and_then(Value::as_array).into_iter().flatten();
            ids.extend(listed.filter_map(Value::as_str).map(str::to_owned));
        }
        let (kept, added): (Vec<String>, Vec<String>) =
            ids.into_iter().partition(|id| self.published.contains(id));
        let Some(fields) = document.as_object_mut() else { return };
        if fields.get("result").and_then(Value::as_str) == Some("nothing-to-do") && !added.is_empty() {
            fields.insert("result".to_owned(), "done".into());
        }
        fields.insert("added".to_owned(), added.into());
        fields.insert("kept".to_owned(), kept.into());
    }
}

/// Returns the ids of the patches in a depot; none if its index cannot be read, which publishing reports.
fn published_ids(depot: &Path) -> BTreeSet<String> {
    let text = read_small(&depot.join(INDEX), LARGEST_INDEX as u64).unwrap_or_default();
    let index = DepotIndex::parse(&text).ok();
    index.iter().flat_map(DepotIndex::patches).map(|patch| patch.id.clone()).collect()
}

/// Makes patches at the end of a run that has a set.
pub(super) fn make_its_patches(request: &RunRequest<'_>, outcome: &mut RunOutcome, tell: Tell<'_>) {
    let ended = &mut outcome.ended;
    let Some(patches) = request.patches.filter(|_| ended.report.set.is_some()) else { return };
    let made = PatchesBefore::of(request, ended.report.run).and_then(|before| {
        let made = make_patches(&PatchesRequest {
            work: request.work,
            base: request.base,
            patch: patches.patch,
            syntax: patches.syntax,
            cores: request.cores as usize,
            is_dry_run: false,
            before: Some(&before.patches),
            interrupt: request.interrupt,
            meter: WorkMeter::default(),
        })?;
        Ok((before, made))
    });
    match made {
        Ok((before, mut made)) => {
            ended.are_patches_whole = made.failed == 0 && made.refused.is_none();
            if let Some(refused) = &made.refused {
                tell(RunEvent::Note(&format!("{refused}; nothing is published")));
            } else {
                match (patches.publish)(&made) {
                    Ok(Some(mut published)) => {
                        before.tell_as_added(&mut published);
                        // What is signed and published does not wait any more.
                        let waits = published.get("to_sign").and_then(Value::as_array).map_or(0, Vec::len);
                        made.report.others.insert("to_sign".to_owned(), waits.into());
                        ended.report.published = Some(published);
                    }
                    Ok(None) => {}
                    Err(reason) => {
                        tell(RunEvent::Note(&reason));
                        ended.are_patches_whole = false;
                    }
                }
            }
            ended.report.patches = Some(made.report);
        }
        Err(PatchesError::NothingReleased) => {
            tell(RunEvent::Note("no set is released: there are no patches"));
        }
        Err(PatchesError::Interrupted(signal) | PatchesError::Delta(DeltaError::Interrupted(signal))) => {
            ended.interrupted = Some(signal);
        }
        Err(error) => {
            tell(RunEvent::Note(&format!("no patches were made: {error}")));
            ended.patches_error = Some(error);
        }
    }
}
