//! Writes `delivered`: objects unchanged between staging and the check after the switch. The time of change proves that
//! if it is older than the journal, or at most a tick younger than that of the object switched before and no younger
//! than those after. A hint: not synced, may fail.

use std::io::{BufWriter, Write as _};

use crate::format::journal::{Identity, Journal, NotedDigest, Op, OpKind};
use crate::format::undo_sidecars::{DELIVERED, DeliveredIdentity, write_listed};
use crate::plan::Plan;
use crate::transaction::error::Cause;
use crate::transaction::journal::journal_file;
use crate::transaction::switch::op_runner::OpRunner;
use patchadm_rootfs::{ObjectStatus, Root, Timestamp};
use patchadm_svr4::package::ObjectPath;

/// ext4, xfs, btrfs (statfs(2)): the kernel sets a time at each change. Not tmpfs: writes through mappings do not
/// change times.
const LOCAL: [u64; 3] = [0xef53, 0x5846_5342, 0x9123_683e];

/// Fewer objects are read as fast as they are looked up.
const WORTH_IT: usize = 32;

/// Nanoseconds within which two changes may get the same time: twice a kernel's longest tick.
const TICK: u32 = 20_000_000;

const PIECE: usize = 1 << 16;

pub(crate) struct SwitchedObject<'j> {
    op: &'j Op,
    changed: Timestamp,
    is_staged: bool,
    is_in_order: bool,
}

/// Returns unchanged objects by path. `objects` are in switch order; `record` was switched after them.
pub(crate) fn look<'j>(
    runner: &mut OpRunner<'_>,
    objects: &[&'j Op],
    record: Option<&Op>,
) -> Vec<SwitchedObject<'j>> {
    try_look(runner, objects, record).unwrap_or_default()
}

fn try_look<'j>(
    runner: &mut OpRunner<'_>,
    objects: &[&'j Op],
    record: Option<&Op>,
) -> Result<Vec<SwitchedObject<'j>>, Cause> {
    let (Some(record), true) = (record, is_worth_it(runner, objects.len())) else {
        return Ok(Vec::new());
    };
    let staged = journal_file::written(runner.root)?;
    let Some(last) = seen(runner, record)?.map(|seen| seen.ctime) else {
        return Ok(Vec::new());
    };
    let mut switched = Vec::new();
    for &op in objects {
        let (Some(new), Some(seen)) = (&op.new, seen(runner, op)?) else { continue };
        let is_staged = (seen.inode, seen.size, seen.mtime) == (new.inode, new.size, new.mtime);
        switched.push(SwitchedObject { op, changed: seen.ctime, is_staged, is_in_order: false });
    }
    Ok(untouched(switched, staged, last))
}

fn is_worth_it(runner: &OpRunner<'_>, objects: usize) -> bool {
    let has_archive = runner.journal.archives.iter().any(|archive| archive.path.is_some());
    let [stage] = &runner.stages[..] else { return false };
    has_archive && objects >= WORTH_IT && stage.file_system_magic().is_ok_and(|magic| LOCAL.contains(&magic))
}

/// `staged` is the latest staging time, `last` the time of the last switch, which is a record's.
fn untouched(
    mut switched: Vec<SwitchedObject<'_>>,
    staged: Timestamp,
    last: Timestamp,
) -> Vec<SwitchedObject<'_>> {
    let mut latest = last;
    for object in switched.iter_mut().rev() {
        object.is_in_order = object.changed <= latest;
        if object.changed > staged {
            latest = latest.min(object.changed);
        }
    }
    let mut before = staged;
    switched.retain(|object| {
        let is_untouched = object.changed <= staged || object.is_in_order && object.changed <= later(before);
        if object.is_in_order {
            before = before.max(object.changed);
        }
        object.is_staged && is_untouched && object.listed().is_some()
    });
    switched.shrink_to_fit();
    switched.sort_unstable_by(|one, other| one.op.path.cmp(&other.op.path));
    switched
}

impl<'j> SwitchedObject<'j> {
    /// `None` without bytes. The object must be the staged one.
    fn listed(&self) -> Option<(&'j ObjectPath, DeliveredIdentity)> {
        let Identity { inode, b3, .. } = self.op.new.as_deref()?;
        let b3 = b3.as_ref().and_then(NotedDigest::digest)?;
        Some((&self.op.path, DeliveredIdentity { inode: *inode, changed: self.changed, b3 }))
    }
}

fn seen(runner: &mut OpRunner<'_>, op: &Op) -> Result<Option<ObjectStatus>, Cause> {
    if !matches!(op.kind, OpKind::Replace | OpKind::Add) {
        return Ok(None);
    }
    match runner.dirs.parent(&op.path)? {
        Some(dir) => Ok(dir.look(op.path.name())?),
        None => Ok(None),
    }
}

pub(crate) fn write(root: &Root, journal: &Journal, plan: &Plan, objects: &[SwitchedObject<'_>]) {
    if objects.len() < WORTH_IT {
        return;
    }
    for (archive, undo) in journal.archives.iter().zip(&plan.undo) {
        let Some(directory) = archive.path.as_ref().and_then(ObjectPath::parent) else { continue };
        let place = |path: &ObjectPath| objects.binary_search_by(|object| object.op.path.cmp(path)).ok();
        let own = undo.manifest.objects.iter().filter_map(|record| place(&record.object_path()?));
        let mut own: Vec<usize> = own.collect();
        own.sort_unstable();
        own.dedup();
        if own.len() >= WORTH_IT {
            let own = own.into_iter().filter_map(|place| objects.get(place)).collect();
            // Without the list, the backout reads the objects.
            let _ = write_in(root, &directory, own);
        }
    }
}

fn write_in(root: &Root, directory: &ObjectPath, mut objects: Vec<&SwitchedObject<'_>>) -> Result<(), Cause> {
    let physical = root.resolver().locate(directory)?;
    let Some(dir) = root.dir_if_there(&physical)? else { return Ok(()) };
    dir.remove(DELIVERED)?;
    let mut file = dir.create(DELIVERED)?;
    let now = file.look()?.ctime;
    // A change right after the check may have the same time as a very recent switch.
    objects.retain(|object| later(object.changed) <= now);
    let mut pieces = BufWriter::with_capacity(PIECE, &mut file);
    let listed = objects.iter().filter_map(|object| object.listed());
    let written = write_listed(listed, &mut pieces).and_then(|()| pieces.flush());
    drop(pieces);
    Ok(written.map_err(|error| file.write_error(&error))?)
}

/// The first time that a change at `time` cannot have.
fn later(time: Timestamp) -> Timestamp {
    let nanoseconds = time.nanoseconds + TICK;
    Timestamp {
        seconds: time.seconds + i64::from(nanoseconds / 1_000_000_000),
        nanoseconds: nanoseconds % 1_000_000_000,
    }
}
