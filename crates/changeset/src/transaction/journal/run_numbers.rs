//! The number of the last run of a root, even if no journal states it any more. Numbering never restarts, so a stage or
//! an undo archive that comes back later is never mistaken for that of another run.

use crate::format::history;
use crate::format::journal::JournalHead;
use crate::format::run::{LAST_NUMBER, Run};
use crate::records::lost_journal::STAGES;
use crate::transaction::error::Cause;
use patchadm_rootfs::{Dir, FileType, Root};
use patchadm_svr4::places::own_directory;
use serde::Deserialize;

/// The largest history or ledger that is read, in bytes. A larger one is skipped: it is only a hint here.
const LARGEST: u64 = 64 << 20;

/// The part of a ledger line that matters here.
#[derive(Deserialize)]
struct OfRun {
    run: String,
}

/// Returns the number of the last run, or 0 if there was none: the number in the journal, or the highest in history,
/// ledgers and stages.
pub(crate) fn last(root: &Root, head: Option<&JournalHead>) -> Result<u64, Cause> {
    if let Some(run) = head.and_then(JournalHead::run) {
        return Ok(run.number);
    }
    let directory = root.resolver().locate_dir(&own_directory())?;
    root.dir_if_there(&directory)?.map_or(Ok(0), |own| highest(&own))
}

fn highest(own: &Dir) -> Result<u64, Cause> {
    let history = own.read_regular(b"history", LARGEST).ok().flatten().unwrap_or_default();
    let entries =
        history.split(|&byte| byte == b'\n').filter_map(|line| history::HistoryEntry::parse(line).ok());
    let mut highest = entries.filter_map(|entry| number(&entry.run)).max().unwrap_or(0);
    for name in names(own, b"ledger")? {
        let Ok(Some(ledger)) = own.dir(b"ledger")?.read_regular(&name, LARGEST) else { continue };
        let lines = ledger.split(|&byte| byte == b'\n');
        let runs = lines.filter_map(|line| serde_json::from_slice::<OfRun>(line).ok());
        highest = runs.filter_map(|of| number(&of.run)).fold(highest, u64::max);
    }
    let stages = names(own, STAGES)?;
    let stages = stages.iter().filter_map(|name| number(std::str::from_utf8(name).ok()?));
    Ok(stages.fold(highest, u64::max))
}

/// Returns the number of a run if another run can follow it.
fn number(run: &str) -> Option<u64> {
    Run::parse(run).map(|run| run.number).filter(|number| *number < LAST_NUMBER)
}

fn names(own: &Dir, name: &[u8]) -> Result<Vec<Vec<u8>>, Cause> {
    match own.look(name)? {
        Some(seen) if seen.file_type == FileType::Directory => Ok(own.dir(name)?.names()?),
        _ => Ok(Vec::new()),
    }
}
