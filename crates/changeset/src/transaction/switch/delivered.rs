//! Notes which objects the switch has put in place, in the list `delivered` beside the undo archives of the run.
//!
//! An object is listed only if it is certain that nobody has changed it between its staging and the look at it: its time
//! of change is older than the journal, or no younger than that of each object switched after it. The list is a hint, made
//! behind the commit and not synced; a run that cannot write it goes on without.

use crate::format::delivered::{DELIVERED, DeliveredObject, DeliveredObjects};
use crate::format::journal::{Journal, NotedDigest, Op, OpKind};
use crate::transaction::error::Cause;
use crate::transaction::journal::journal_file;
use crate::transaction::switch::op_runner::OpRunner;
use patchadm_rootfs::{ObjectStatus, Root, Timestamp};
use patchadm_svr4::package::ObjectPath;

/// File systems on this machine alone, whose kernel sets each time of change: ext4, xfs, btrfs, tmpfs (statfs(2)).
const LOCAL: [u64; 4] = [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994];

/// Fewer objects are read as fast as they are looked up.
const WORTH_IT: usize = 32;

/// Changes closer to each other may get one time: twice a kernel's longest tick, in nanoseconds.
const TICK: u32 = 20_000_000;

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
    let mut found = DeliveredObjects::default();
    let has_archive = runner.journal.archives.iter().any(|archive| archive.path.is_some());
    let ([stage], Some(record), true) =
        (&runner.stages[..], record, has_archive && objects.len() >= WORTH_IT)
    else {
        return Ok(found);
    };
    if !LOCAL.contains(&stage.file_system_magic()?) {
        return Ok(found);
    }
    let staged = journal_file::written(runner.root)?;
    let Some(mut latest) = seen(runner, record)?.map(|seen| seen.ctime) else { return Ok(found) };
    for op in objects.iter().rev() {
        let (Some(new), Some(seen)) = (&op.new, seen(runner, op)?) else { continue };
        let digest = new.b3.as_ref().and_then(NotedDigest::digest);
        let is_staged = (seen.inode, seen.size, seen.mtime) == (new.inode, new.size, new.mtime);
        let is_untouched = seen.ctime <= staged || seen.ctime <= latest;
        if seen.ctime > staged {
            latest = latest.min(seen.ctime);
        }
        if let Some(b3) = digest.filter(|_| is_staged && is_untouched) {
            let object = DeliveredObject { inode: seen.inode, changed: seen.ctime, b3 };
            found.0.insert(op.path.clone(), object);
        }
    }
    Ok(found)
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

/// Writes the list beside each undo archive of a committed run.
pub(crate) fn write(root: &Root, journal: &Journal, objects: &DeliveredObjects) {
    if objects.0.is_empty() {
        return;
    }
    let places = journal.archives.iter().filter_map(|archive| archive.path.as_ref()?.parent());
    for directory in places {
        // What could not be written is read at the backout.
        let _ = write_in(root, &directory, objects);
    }
}

fn write_in(root: &Root, directory: &ObjectPath, objects: &DeliveredObjects) -> Result<(), Cause> {
    let physical = root.resolver().locate(directory)?;
    let Some(dir) = root.dir_if_there(&physical)? else { return Ok(()) };
    dir.remove(DELIVERED)?;
    let mut file = dir.create(DELIVERED)?;
    let now = file.look()?.ctime;
    // A change right behind the look may have got the same time as the switch, where that was a moment ago.
    let old = objects.0.iter().filter(|(_, object)| later(object.changed) <= now);
    let listed = DeliveredObjects(old.map(|(path, object)| (path.clone(), *object)).collect());
    Ok(file.put(&listed.write())?)
}

/// The first time that no change at this one can have.
fn later(time: Timestamp) -> Timestamp {
    let nanoseconds = time.nanoseconds + TICK;
    Timestamp {
        seconds: time.seconds + i64::from(nanoseconds / 1_000_000_000),
        nanoseconds: nanoseconds % 1_000_000_000,
    }
}
