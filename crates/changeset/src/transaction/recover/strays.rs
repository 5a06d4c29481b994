//! Removes stages of this program that belong to no unfinished run, and skips everything else.
//!
//! A stage can lie on any mount, so others may put something in its place: a file, a link, a directory of theirs, a
//! journal that lies. None of these may stop a command, least of all at boot. [`domains`] recognizes our own
//! stages; anything else is neither read nor removed, and a note names it.
//!
//! [`domains`]: crate::transaction::stage::domains

use rustix::io::Errno;

use crate::format::journal::{Identity, Journal, JournalHead, Op, OpKind};
use crate::format::undo_files::UNDO;
use crate::records::identity::RootId;
use crate::records::journal_head::STAGES;
use crate::stored_file::why_not_ours;
use crate::transaction::error::Cause;
use crate::transaction::journal::{history_file, journal_file, root_id_file};
use crate::transaction::objects::identity::{ObjectState, state_of};
use crate::transaction::stage::domains;
use crate::transaction::stage::domains::{FoundStage, HOLDER, OwnStage, is_on, is_unsupported, open_own};
use patchadm_rootfs::{Dir, FileType, ObjectStatus, Root};
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::package::rule::holds;
use patchadm_svr4::places::own_directory;

const MOST_NAMED: usize = 4;

/// Removes stages that belong to no unfinished run, and an unpublished journal. The directory opened here has the
/// last word on what is unfinished, so that no one can swap it in between. `last` is the journal's head of the last
/// run.
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
        // This is removed last: while it exists, no stage counts as that of a lost journal.
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

/// A stage of a run that is over, which cannot be removed. Every change fails because of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StuckStage {
    /// Its path, with the prefix of the root.
    pub path: String,
    /// The run.
    pub run: String,
    /// Why it cannot be removed.
    pub reason: String,
}

/// Finds a stage of a run that is over and that nobody may remove. Nothing is removed; what the caller may not look
/// at is passed over.
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

/// The stages of runs that ended before they changed anything. The next change and `recover` remove them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftoverStages {
    /// The runs.
    pub runs: Vec<String>,
    /// The space that they take, in bytes.
    pub bytes: u64,
}

/// Finds the stages of runs that ended before they changed anything, as recovery counts them. Nothing is removed; what
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
    for holder in holders_of_stages(root, &own)? {
        let is_first = holder.path().name() == STAGES;
        for name in readable_names(&holder)? {
            let FoundStage::Ours(stage) = open_own(&holder, &name, &name)? else { continue };
            let run = stage.run.to_string();
            if is_first && stage.run.number > last && !readable_names(&stage.dir)?.is_empty() {
                left.runs.push(run.clone());
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

/// Removes the stages of the first domain, each with the local stages noted in it. Runs after the `last` one had no
/// journal yet.
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
                // An empty one is nothing to tell of: its run had only begun to make it, or someone to remove it.
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

/// Opens the topmost directory of a mount if a stage can be there. Mounts that the caller may not enter have none.
fn mounted(root: &Root, mount: &ObjectPath) -> Result<Option<Dir>, Cause> {
    let top = match root.dir_if_there(mount) {
        Err(error) if is_closed(error.errno()) => None,
        opened => opened?,
    };
    match top {
        Some(top) if is_unsupported(&top)?.is_none() => Ok(Some(top)),
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
    // A run may have been interrupted before its first stage was in the directory, or after its last stage was gone;
    // and so it is with the directory of undo data, which is empty then.
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

/// Removes a stage of ours on another file system whose run the journal does not name. Returns the reason if it
/// stays.
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
    format!("{} {reason}: it is left as it is", root.show(path))
}

fn shortened(mut notes: Vec<String>, root: &Root, directory: &Dir) -> Vec<String> {
    let more = notes.len().saturating_sub(MOST_NAMED);
    if more > 0 {
        notes.truncate(MOST_NAMED);
        notes.push(format!("{more} more in {} are left as they are", root.show(directory.path())));
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

/// Returns true if a target is already what the op makes of it. An object that only gets other attributes is
/// recognized by them, if they differ from before.
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
