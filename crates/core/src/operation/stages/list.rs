//! `stage list`: the stages of a root, whether each can be used, how many commands are inside, and its promotions.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::error::StageError;
use super::own_files::{Stage, own_directory, read_stages};
use crate::operation::promotion_records::{PromotionRecordFault, read_promotion};
use patchadm_inputs::database::{RecordView, read_consistently};
use patchadm_inputs::stage::{INSIDE, ListedStage, PromotionRecord, StageId, StagesRecord};
use patchadm_rootfs::{Dir, Lock, Root};
use patchadm_svr4::patch::PatchId;
use patchadm_svr4::places;

const LOCKS: &str = "/proc/locks";

/// A stage of a root, as it is now.
#[derive(Clone, Debug)]
pub struct StageEntry {
    /// The entry of the stage in the list of the root.
    pub listed: ListedStage,
    /// Its state.
    pub state: StageState,
    /// The number of commands inside, as far as the system tells; at least 1 if there is any.
    pub inside: u64,
    /// Its applied promotions, the oldest first.
    pub promotions: Vec<PatchId>,
}

/// State of a listed stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageState {
    /// It can be used.
    Ok,
    /// It was never completed, or is half removed.
    Unfinished,
    /// Its identity or the base of its making is damaged or missing.
    Damaged,
    /// It is not where it was, or another stage is there.
    Missing,
}

/// Lists the stages of a root, in the order in which they were made. Nothing is changed or locked.
pub fn list_stages(root: &Root) -> Result<Vec<StageEntry>, StageError> {
    let (stages, promotions) = read_consistently(root, |view| {
        let listed = read_stages(root)?;
        let promotions = promotions(root, view)?;
        Ok::<(StagesRecord, Vec<PromotionRecord>), StageError>((listed, promotions))
    })?;
    let entries = stages.stages().iter().map(|listed| {
        let of_stage = promotions.iter().filter(|record| record.stage == Some(listed.id));
        let promotions = of_stage.map(|record| record.id.clone()).collect();
        let (state, inside) = seen(root, listed);
        StageEntry { listed: listed.clone(), state, inside, promotions }
    });
    Ok(entries.collect())
}

/// Returns the applied promotions by their runs. Skips damaged records.
fn promotions(root: &Root, view: &RecordView<'_>) -> Result<Vec<PromotionRecord>, StageError> {
    let mut found = Vec::new();
    for name in root.list(&places::patches())?.unwrap_or_default() {
        let Some(id) = std::str::from_utf8(&name).ok().and_then(|id| PatchId::new(id).ok()) else { continue };
        match read_promotion(view, &id) {
            Ok(record) => found.extend(record),
            Err(PromotionRecordFault::Damaged { .. }) => {}
            Err(PromotionRecordFault::View(error)) => return Err(error.into()),
        }
    }
    let number = |record: &PromotionRecord| patchadm_changeset::format::run::Run::parse(&record.run);
    found.sort_by_key(|record| number(record).map(|run| run.number));
    Ok(found)
}

fn seen(root: &Root, listed: &ListedStage) -> (StageState, u64) {
    let path = Path::new(OsStr::from_bytes(listed.path.as_bytes()));
    let Ok(tree) = root.elsewhere(path) else { return (StageState::Missing, 0) };
    let inside = own_directory(&tree).ok().flatten().map_or(0, |own| count_inside(&own));
    let state = match Stage::of_tree(tree).map(|stage| stage.recorded_in(listed)) {
        Err(StageError::NoStage(_)) => StageState::Missing,
        Err(StageError::Unfinished(_)) => StageState::Unfinished,
        // Only the owner may read the stage's own files. To another user, the stage just exists.
        Err(StageError::Root(error)) if error.errno() == Some(rustix::io::Errno::ACCESS) => StageState::Ok,
        Err(_) => StageState::Damaged,
        Ok(stage) if !is(listed.id, &stage) => StageState::Missing,
        Ok(stage) if stage.must_have_first_base().is_err() => StageState::Damaged,
        Ok(_) => StageState::Ok,
    };
    (state, inside)
}

fn is(id: StageId, stage: &Stage) -> bool {
    stage.identity.id == id
}

fn count_inside(own: &Dir) -> u64 {
    if !Lock::is_file_held(own, INSIDE).unwrap_or(false) {
        return 0;
    }
    let Ok(Some(seen)) = own.look(INSIDE) else { return 1 };
    let (major, minor) = seen.file_system;
    let place = format!("{major:02x}:{minor:02x}:{}", seen.inode.number);
    let table = std::fs::read_to_string(LOCKS).unwrap_or_default();
    let is_of_file = |line: &&str| line.split_whitespace().any(|word| word == place);
    // A process that waits for a lock has an arrow before it.
    let holders = table.lines().filter(is_of_file).filter(|line| !line.contains("->")).count() as u64;
    // For each command inside, the supervisor and the first process have the lock.
    holders.div_ceil(2).max(1)
}

impl StageState {
    /// Returns the word in JSON documents.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unfinished => "unfinished",
            Self::Damaged => "damaged",
            Self::Missing => "missing",
        }
    }
}
