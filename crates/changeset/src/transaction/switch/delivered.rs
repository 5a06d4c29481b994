//! Notes which objects the switch has put in place, in the list `delivered` beside the undo archives of the run.
//!
//! An object is listed only if nobody has changed it between its staging and the look at it behind the switch: its time of
//! change is older than the journal; or it is at most a tick younger than that of the object switched before it, and no
//! younger than that of each one switched after it. The list is a hint, made behind the commit and not synced; a run that
//! cannot write it goes on without.

use crate::format::delivered::{DELIVERED, DeliveredObject, DeliveredObjects};
use crate::format::journal::{Journal, NotedDigest, Op, OpKind};
use crate::plan::Plan;
use crate::transaction::error::Cause;
use crate::transaction::journal::journal_file;
use crate::transaction::switch::op_runner::OpRunner;
use patchadm_rootfs::{Inode, ObjectStatus, Root, Timestamp};
use patchadm_svr4::package::ObjectPath;

/// File systems on this machine alone, whose kernel sets a time at each change: ext4, xfs, btrfs (statfs(2)). A tmpfs is
/// none of them: what is written to it through a mapping leaves its times alone.
const LOCAL: [u64; 3] = [0xef53, 0x5846_5342, 0x9123_683e];

/// Fewer objects are read as fast as they are looked up.
const WORTH_IT: usize = 32;

/// Changes closer to each other may get one time: twice a kernel's longest tick, in nanoseconds.
const TICK: u32 = 20_000_000;

/// An object in place behind the switch.
struct SwitchedObject<'a> {
    op: &'a Op,
    inode: Inode,
    changed: Timestamp,
    /// Whether size and modification time are those of the staged object, and it is that object.
    is_staged: bool,
    /// Whether it was changed no later than each object that was switched after it.
    is_in_order: bool,
}

/// Looks at the objects in place behind the switch, and returns those that are as they were staged. `objects` are in the
/// order of the switch, and `record` was switched behind them.
pub(crate) fn look(runner: &mut OpRunner<'_>, objects: &[&Op], record: Option<&Op>) -> DeliveredObjects {
    try_look(runner, objects, record).unwrap_or_default()
}

fn try_look(
    runner: &mut OpRunner<'_>,
    objects: &[&Op],
    record: Option<&Op>,
) -> Result<DeliveredObjects, Cause> {
    let (Some(record), true) = (record, is_worth_it(runner, objects.len())) else {
        return Ok(DeliveredObjects::default());
    };
    let staged = journal_file::written(runner.root)?;
    let Some(last) = seen(runner, record)?.map(|seen| seen.ctime) else {
        return Ok(DeliveredObjects::default());
    };
    let mut switched = Vec::new();
    for op in objects {
        let (Some(new), Some(seen)) = (&op.new, seen(runner, op)?) else { continue };
        let is_staged = (seen.inode, seen.size, seen.mtime) == (new.inode, new.size, new.mtime);
        let (inode, changed) = (seen.inode, seen.ctime);
        switched.push(SwitchedObject { op, inode, changed, is_staged, is_in_order: false });
    }
    Ok(untouched(switched, staged, last))
}

fn is_worth_it(runner: &OpRunner<'_>, objects: usize) -> bool {
    let has_archive = runner.journal.archives.iter().any(|archive| archive.path.is_some());
    let [stage] = &runner.stages[..] else { return false };
    has_archive && objects >= WORTH_IT && stage.file_system_magic().is_ok_and(|magic| LOCAL.contains(&magic))
}

/// Returns those of the objects that nobody has changed: all were `staged` at the latest then, and the `last` switch was
/// that of a record.
fn untouched(mut switched: Vec<SwitchedObject<'_>>, staged: Timestamp, last: Timestamp) -> DeliveredObjects {
    let mut latest = last;
    for object in switched.iter_mut().rev() {
        object.is_in_order = object.changed <= latest;
        if object.changed > staged {
            latest = latest.min(object.changed);
        }
    }
    let (mut found, mut before) = (DeliveredObjects::default(), staged);
    for object in &switched {
        let is_untouched = object.changed <= staged || object.is_in_order && object.changed <= later(before);
        if object.is_in_order {
            before = before.max(object.changed);
        }
        let digest = object.op.new.as_ref().and_then(|new| new.b3.as_ref()).and_then(NotedDigest::digest);
        if let Some(b3) = digest.filter(|_| object.is_staged && is_untouched) {
            let listed = DeliveredObject { inode: object.inode, changed: object.changed, b3 };
            found.0.insert(object.op.path.clone(), listed);
        }
    }
    found
}

/// Returns what is at the target of an op that puts an object there.
fn seen(runner: &mut OpRunner<'_>, op: &Op) -> Result<Option<ObjectStatus>, Cause> {
    if !matches!(op.kind, OpKind::Replace | OpKind::Add) {
        return Ok(None);
    }
    match runner.dirs.parent(&op.path)? {
        Some(dir) => Ok(dir.look(op.path.name())?),
        None => Ok(None),
    }
}

/// Writes the list beside each undo archive that a committed run of this plan has made: the objects of its own manifest, where
/// these are so many that it is worth it.
pub(crate) fn write(root: &Root, journal: &Journal, plan: &Plan, objects: &DeliveredObjects) {
    if objects.0.len() < WORTH_IT {
        return;
    }
    for (archive, undo) in journal.archives.iter().zip(&plan.undo) {
        let Some(directory) = archive.path.as_ref().and_then(ObjectPath::parent) else { continue };
        let own = undo.manifest.objects.iter().filter_map(|record| {
            let path = record.object_path()?;
            let object = *objects.0.get(&path)?;
            Some((path, object))
        });
        let own = DeliveredObjects(own.collect());
        if own.0.len() >= WORTH_IT {
            // What could not be written is read at the backout.
            let _ = write_in(root, &directory, own);
        }
    }
}

fn write_in(root: &Root, directory: &ObjectPath, mut objects: DeliveredObjects) -> Result<(), Cause> {
    let physical = root.resolver().locate(directory)?;
    let Some(dir) = root.dir_if_there(&physical)? else { return Ok(()) };
    dir.remove(DELIVERED)?;
    let mut file = dir.create(DELIVERED)?;
    let now = file.look()?.ctime;
    // A change right behind the look may have got the same time as the switch, where that was a moment ago.
    objects.0.retain(|_, object| later(object.changed) <= now);
    Ok(file.put(&objects.write())?)
}

/// The first time that no change at this one can have.
fn later(time: Timestamp) -> Timestamp {
    let nanoseconds = time.nanoseconds + TICK;
    Timestamp {
        seconds: time.seconds + i64::from(nanoseconds / 1_000_000_000),
        nanoseconds: nanoseconds % 1_000_000_000,
    }
}
