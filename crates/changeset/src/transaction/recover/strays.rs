//! Removes our stages of no unfinished run. On any mount, others may put something in their place, which must not stop
//! a command: [`domains`](crate::transaction::stage::domains) recognizes ours; anything else is neither read nor
//! removed, but noted.

use rustix::io::Errno;
use serde::Serialize;

use crate::format::journal::{Identity, Journal, JournalHead, Op, OpKind};
use crate::format::undo_files::UNDO;
use crate::records::identity::RootId;
use crate::records::journal_head::STAGES;
use crate::stored_file::why_not_ours;
use crate::transaction::error::Cause;
use crate::transaction::journal::{history_file, journal_file, root_id_file};
use crate::transaction::objects::identity::{ObjectState, state_of};
use crate::transaction::stage::domains;
use crate::transaction::stage::domains::{FoundStage, HOLDER, OwnStage, is_on, open_own};
use patchadm_rootfs::{Dir, FileType, ObjectStatus, Root};
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::package::rule::holds;
use patchadm_svr4::places::own_directory;

const MOST_NAMED: usize = 4;

/// Also removes an unpublished journal. The directory opened here decides what is unfinished, so that nobody can swap
/// it. `last` is the last run's head.
pub(crate) fn remove_strays(root: &Root, last: Option<&JournalHead>) -> Result<RemovedStrays, Cause> {
    let mut strays = RemovedStrays::default();
    let own = root.resolver().locate_dir(&own_directory())?;
    if let Some(own) = root.dir_if_there(&own)? {
        let published = journal_file::head_in(&own)?;
        if published.as_ref().is_some_and(JournalHead::is_open) {
            return Err(Cause::Changed(root.show(own.path())));
        }
        if own.look(STAGES)?.is_some_and(|seen| seen.file_type == FileType::Directory) {
            let last = published.as_ref().and_then(JournalHead::run).map_or(0, |run| run.number);
            of_first_domain(root, (&own, &own.dir(STAGES)?), last, &mut strays)?;
        }
        root_id_file::remove_new(&own)?;
        // Last: while it exists, no stage counts as that of a lost journal.
        journal_file::remove_new_in(&own, published.as_ref())?;
    }
    let last = LastRun::of(root, last)?;
    for mount in root.mount_points()? {
        if let Some(top) = mounted(root, &mount)? {
            of_other_domain(root, &top, &last, &mut strays)?;
        }
    }
    Ok(strays)
}

#[derive(Debug, Default)]
pub(crate) struct RemovedStrays {
    pub(crate) runs: Vec<String>,
    pub(crate) bytes: u64,
    pub(crate) notes: Vec<String>,
}

/// An ended run's stage that cannot be removed, which blocks every change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StuckStage {
    /// With the prefix of the root.
    pub path: String,
    pub run: String,
    pub reason: String,
}

/// Removes nothing; skips unreadable places.
pub fn stuck_stage(root: &Root) -> Result<Option<StuckStage>, Cause> {
    let own = root.resolver().locate_dir(&own_directory())?;
    let Some(own) = root.dir_if_there(&own)? else { return Ok(None) };
    if journal_file::head_in(&own)?.as_ref().is_some_and(JournalHead::is_open) {
        return Ok(None);
    }
    for holder in holders_of_stages(root, &own)? {
        for name in readable_names(&holder)? {
            let FoundStage::Ours(stage) = open_own(&holder, &name, &name)? else { continue };
            if let Err(error) = holder.must_be_removable(&name) {
                let (path, reason) = (root.show(&holder.at(&name)), error.to_string());
                return Ok(Some(StuckStage { path, run: stage.run.to_string(), reason }));
            }
        }
    }
    Ok(None)
}

/// The stages of runs that ended before they changed anything, and that of the last run if it was ended before it tidied
/// up. The next change and `recover` remove them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LeftoverStages {
    /// The runs.
    pub runs: Vec<String>,
    /// The space that they take, in bytes.
    pub bytes: u64,
    /// The last run, which is over, is among them: the root is as after it.
    #[serde(skip)]
    pub has_last_run: bool,
}

/// Finds the stages of runs that ended before they changed anything or before they tidied up. Nothing is removed; what
/// the caller may not look at is passed over. While a command changes the root, its own stage is among them.
pub fn leftover_stages(root: &Root) -> Result<LeftoverStages, Cause> {
    let mut left = LeftoverStages::default();
    let own = root.resolver().locate_dir(&own_directory())?;
    let Some(own) = root.dir_if_there(&own)? else { return Ok(left) };
    let published = journal_file::head_in(&own)?;
    if published.as_ref().is_some_and(JournalHead::is_open) {
        return Ok(left);
    }
    let last = published.as_ref().and_then(JournalHead::run).map_or(0, |run| run.number);
    let untidied = published.as_ref().filter(|head| !head.done).and_then(JournalHead::run);
    for holder in holders_of_stages(root, &own)? {
        let is_first = holder.path().name() == STAGES;
        for name in readable_names(&holder)? {
            let FoundStage::Ours(stage) = open_own(&holder, &name, &name)? else { continue };
            let run = stage.run.to_string();
            let is_last = untidied.as_ref().is_some_and(|last| last.number == stage.run.number);
            let is_left = is_last || stage.run.number > last;
            if is_first && is_left && !readable_names(&stage.dir)?.is_empty() {
                left.runs.push(run.clone());
                left.has_last_run |= is_last;
            }
            if left.runs.contains(&run) {
                left.bytes += holder.allocated_below(&name).unwrap_or_default();
            }
        }
    }
    Ok(left)
}

/// Returns the directories that hold the stages of runs: that of the first domain, then those of other mounts.
fn holders_of_stages(root: &Root, own: &Dir) -> Result<Vec<Dir>, Cause> {
    let is_there = own.look(STAGES)?.is_some_and(|seen| seen.file_type == FileType::Directory);
    let mut holders = if is_there { vec![own.dir(STAGES)?] } else { Vec::new() };
    for mount in root.mount_points()? {
        let Some(top) = mounted(root, &mount)? else { continue };
        let Some(seen) = top.look(HOLDER)? else { continue };
        holders.extend(open_holder(&top, &seen)?.ok());
    }
    Ok(holders)
}

/// Returns the names in a directory; none if the caller may not look at them.
fn readable_names(dir: &Dir) -> Result<Vec<Vec<u8>>, Cause> {
    match dir.names() {
        Err(error) if is_closed(error.errno()) => Ok(Vec::new()),
        names => Ok(names?),
    }
}

struct LastRun {
    marker: Option<String>,
    number: u64,
}

impl LastRun {
    fn of(root: &Root, head: Option<&JournalHead>) -> Result<Self, Cause> {
        let header = head.map(|head| head.header.root.clone());
        Ok(Self {
            marker: header.or(RootId::of(root)?.marker()),
            number: journal_file::last_run_number(root, head)?,
        })
    }
}

/// Includes local stages noted there. Runs after `last` had no journal yet.
fn of_first_domain(
    root: &Root,
    (own, stages): (&Dir, &Dir),
    last: u64,
    strays: &mut RemovedStrays,
) -> Result<(), Cause> {
    let mut passed = Vec::new();
    for name in stages.names()? {
        match open_own(stages, &name, &name)? {
            FoundStage::Nothing => {}
            FoundStage::Theirs(reason) => passed.push(left(root, &stages.at(&name), &reason)),
            FoundStage::Ours(stage) => {
                // An empty stage is not reported.
                if stage.run.number > last && !stage.dir.names()?.is_empty() {
                    history_file::keep_interrupted_attempt(own, &stage.dir, &stage.run);
                    strays.bytes += stages.allocated_below(&name).unwrap_or_default();
                    strays.runs.push(stage.run.to_string());
                }
                strays.notes.extend(domains::remove_noted_stages(root, &stage.dir)?);
                stages.remove_tree(&name)?;
            }
        }
    }
    strays.notes.extend(shortened(passed, root, stages));
    Ok(())
}

/// Mounts that the caller may not enter have no stages.
fn mounted(root: &Root, mount: &ObjectPath) -> Result<Option<Dir>, Cause> {
    let top = match root.dir_if_there(mount) {
        Err(error) if is_closed(error.errno()) => None,
        opened => opened?,
    };
    match top {
        Some(top) if top.unsupported()?.is_none() => Ok(Some(top)),
        _ => Ok(None),
    }
}

fn is_closed(errno: Option<Errno>) -> bool {
    matches!(errno, Some(Errno::ACCESS | Errno::PERM | Errno::NOTCONN | Errno::LOOP | Errno::STALE))
}

fn of_other_domain(root: &Root, top: &Dir, last: &LastRun, strays: &mut RemovedStrays) -> Result<(), Cause> {
    let Some(seen) = top.look(HOLDER)? else { return Ok(()) };
    let holder = match open_holder(top, &seen)? {
        Ok(holder) => holder,
        Err(reason) => {
            strays.notes.push(left(root, &top.at(HOLDER), &reason));
            return Ok(());
        }
    };
    let mut passed = Vec::new();
    for name in holder.names()?.into_iter().filter(|name| name != UNDO) {
        let reason = match open_own(&holder, &name, &name)? {
            FoundStage::Nothing => None,
            FoundStage::Theirs(reason) => Some(reason),
            FoundStage::Ours(stage) => {
                let bytes = holder.allocated_below(&name).unwrap_or_default();
                let reason = stray_of_other_domain(root, &holder, &stage, last)?;
                if reason.is_none() && strays.runs.contains(&stage.run.to_string()) {
                    strays.bytes += bytes;
                }
                reason
            }
        };
        passed.extend(reason.map(|reason| left(root, &holder.at(&name), &reason)));
    }
    strays.notes.extend(shortened(passed, root, &holder));
    // An interrupted run may leave these directories empty.
    for (above, name) in [(&holder, UNDO), (top, HOLDER)] {
        match above.remove_dir(name) {
            Err(error) if error.errno() == Some(Errno::ROFS) => {}
            removed => drop(removed?),
        }
    }
    Ok(())
}

fn open_holder(top: &Dir, seen: &ObjectStatus) -> Result<Result<Dir, String>, Cause> {
    if let Some(reason) = why_not_ours(top.root(), seen)? {
        return Ok(Err(reason));
    }
    let holder = match top.dir(HOLDER) {
        Err(error) => return Ok(Err(format!("cannot be opened ({error})"))),
        Ok(holder) => holder,
    };
    let seen = holder.itself()?;
    if let Some(reason) = why_not_ours(top.root(), &seen)? {
        return Ok(Err(reason));
    }
    let is_mount = !is_on(&seen, &top.itself()?);
    Ok(if is_mount { Err("is a mount point".to_owned()) } else { Ok(holder) })
}

/// For a run that the journal does not name. Returns the reason if it stays.
fn stray_of_other_domain(
    root: &Root,
    holder: &Dir,
    stage: &OwnStage,
    last: &LastRun,
) -> Result<Option<String>, Cause> {
    if let Some(copy) = journal_file::read_copy(&stage.dir)? {
        let header = &copy.head.header;
        if !holds("stray.root", last.marker.as_ref().is_none_or(|marker| *marker == header.root)) {
            return Ok(Some(format!("is a stage of the root {}", header.root)));
        }
        if stage.run.number > last.number && was_switched(root, &stage.dir, &copy)? {
            return Err(Cause::LaterStage { stage: root.show(stage.dir.path()) });
        }
    }
    let name = stage.dir.path().name();
    match holder.remove_tree(name) {
        Err(error) if error.errno() == Some(Errno::ROFS) => return Ok(Some(error.to_string())),
        removed => removed?,
    }
    let stays = holder.look(name)?.is_some();
    Ok(stays.then(|| "holds something that is mounted".to_owned()))
}

fn left(root: &Root, path: &ObjectPath, reason: &str) -> String {
    format!("{} {reason}: it is left unchanged", root.show(path))
}

fn shortened(mut notes: Vec<String>, root: &Root, directory: &Dir) -> Vec<String> {
    let more = notes.len().saturating_sub(MOST_NAMED);
    if more > 0 {
        notes.truncate(MOST_NAMED);
        notes.push(format!("{more} more in {} are left unchanged", root.show(directory.path())));
    }
    notes
}

fn was_switched(root: &Root, stage: &Dir, copy: &Journal) -> Result<bool, Cause> {
    for op in &copy.ops {
        let in_stage = copy.domains.get(op.domain).is_some_and(|domain| domain.stage == *stage.path());
        let parent = op.path.parent().unwrap_or_else(ObjectPath::root);
        if let Some(dir) = root.dir_if_there(&parent)?.filter(|_| in_stage)
            && is_as_after(&dir, op)?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Recognizes attribute changes only if the attributes differ from before.
fn is_as_after(dir: &Dir, op: &Op) -> Result<bool, Cause> {
    if op.kind == OpKind::Protect {
        let seen = dir.look(op.path.name())?;
        return Ok(match (seen, &op.old) {
            (Some(seen), Some(old)) => seen.inode != old.inode || op.touched.as_deref() != Some(&seen.ctime),
            (seen, old) => seen.is_some() != old.is_some(),
        });
    }
    if op.kind == OpKind::Attr {
        let Some(seen) = dir.look(op.path.name())? else { return Ok(false) };
        let has = |identity: &Identity| {
            (identity.mode, identity.uid, identity.gid) == (seen.mode.bits(), seen.uid, seen.gid)
        };
        return Ok(op.new.as_deref().is_some_and(has) && !op.old.as_deref().is_some_and(has));
    }
    let found = state_of(dir, op.path.name(), op)?;
    Ok(matches!(found, ObjectState::New | ObjectState::NewTouched))
}
