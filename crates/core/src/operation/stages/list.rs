//! `stage list`: the stages of a root, their state, commands inside, and promotions.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde::Serialize;

use super::StageError;
use super::own_files::{Stage, own_directory, read_stages};
use crate::operation::promotion_records::{PromotionRecordFault, read_promotion};
use patchadm_changeset::format::escaped::each_as_text;
use patchadm_inputs::database::{RecordView, read_consistently};
use patchadm_inputs::stage::{INSIDE, ListedStage, PromotionRecord, StageId, StagesRecord};
use patchadm_rootfs::{Dir, Lock, Root};
use patchadm_svr4::patch::PatchId;
use patchadm_svr4::places;

const LOCKS: &str = "/proc/locks";

/// Anybody can hold locks without number; further ones do not count.
const LONGEST_TABLE: u64 = 4 << 20;

#[derive(Clone, Debug, Serialize)]
pub struct StageEntry {
    #[serde(flatten)]
    pub listed: ListedStage,
    pub state: StageState,
    /// Commands inside, if the system tells; at least 1 if any.
    pub inside: u64,
    /// Oldest first.
    #[serde(serialize_with = "each_as_text")]
    pub promotions: Vec<PatchId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StageState {
    Ok,
    /// Never completed, or half removed.
    Unfinished,
    /// Identity or first base is damaged or missing.
    Damaged,
    /// Moved or replaced.
    Missing,
}

/// In order of creation. Changes and locks nothing.
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

/// Skips damaged records.
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
        // Only the owner may read a stage's own files; for others, it just exists.
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
    let holders = File::open(LOCKS).map_or(0, |table| holders_in(table, &place));
    // Each command has two holders: the supervisor and the first process.
    holders.div_ceil(2).max(1)
}

/// Returns the number of locks of a file in a table in the format of `proc_locks`(5).
fn holders_in(table: impl Read, place: &str) -> u64 {
    let lines = BufReader::new(table.take(LONGEST_TABLE)).lines().map_while(Result::ok);
    // `->` marks a waiting process.
    let holds = |line: &String| line.split_whitespace().any(|word| word == place) && !line.contains("->");
    lines.filter(holds).count() as u64
}

impl StageState {
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unfinished => "unfinished",
            Self::Damaged => "damaged",
            Self::Missing => "missing",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_of_a_file_are_counted_in_as_much_of_the_table_as_is_read() {
        let table = "1: OFDLCK ADVISORY  READ -1 fe:00:77 0 EOF\n\
            2: FLOCK  ADVISORY  WRITE 9 fe:00:770 0 EOF\n\
            3: POSIX  ADVISORY  READ 8 fe:00:77 0 EOF\n\
            3: -> POSIX  ADVISORY  WRITE 7 fe:00:77 0 EOF\n";
        assert_eq!(holders_in(table.as_bytes(), "fe:00:77"), 2);
        assert_eq!(holders_in(table.as_bytes(), "fe:00:78"), 0);
        let endless = table.as_bytes().chain(std::io::repeat(b'x'));
        assert_eq!(holders_in(endless, "fe:00:77"), 2);
    }
}
