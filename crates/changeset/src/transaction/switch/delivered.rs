//! Notes which objects the switch has put in place, in the list `delivered` beside the undo archives of the run.
//!
//! Each object is looked at right behind its own switch, and listed with the time of change that it has then: whoever
//! changes it later gives it another one. The list is a hint, made behind the commit and not synced; a run that cannot
//! write it goes on without.

use crate::format::delivered::{DELIVERED, DeliveredObject, DeliveredObjects};
use crate::format::journal::{Journal, Op, OpKind};
use crate::transaction::error::Cause;
use crate::transaction::journal::journal_file;
use crate::transaction::switch::op_runner::OpRunner;
use patchadm_rootfs::{Digest, ObjectStatus, Root, Timestamp};
use patchadm_svr4::package::ObjectPath;

/// File systems on this machine alone, whose kernel sets a time at each change: ext4, xfs, btrfs (statfs(2)). A tmpfs is
/// none of them: what is written to it through a mapping leaves its times alone.
const LOCAL: [u64; 3] = [0xef53, 0x5846_5342, 0x9123_683e];

/// Fewer objects are read as fast as they are looked up.
const WORTH_IT: usize = 32;

/// Changes closer to each other may get one time: twice a kernel's longest tick, in nanoseconds.
const TICK: u32 = 20_000_000;

/// The objects that a switch has put in place, and that nobody has changed since they were staged.
pub(crate) struct SwitchedObjects {
    listed: DeliveredObjects,
    /// The time of the last switch; none where no list is made.
    last: Option<Timestamp>,
}

impl SwitchedObjects {
    /// Begins with none, before a switch of so many `objects`.
    pub(crate) fn new(runner: &OpRunner<'_>, objects: usize) -> Self {
        let last = is_worth_it(runner, objects).then(|| journal_file::written(runner.root).ok()).flatten();
        Self { listed: DeliveredObjects::default(), last }
    }

    /// Looks at the target of an op that was carried out a moment ago. A change of that time shows where it was made later
    /// than a tick behind the switch before; what cannot be looked at is not listed.
    pub(crate) fn look(&mut self, runner: &mut OpRunner<'_>, op: &Op) {
        let (Some(last), Some(new)) = (self.last, &op.new) else { return };
        let Ok(Some(seen)) = seen(runner, op) else { return };
        self.last = Some(seen.ctime);
        let digest = new.b3.as_deref().and_then(Digest::from_hex);
        let is_staged = (seen.inode, seen.size, seen.mtime) == (new.inode, new.size, new.mtime);
        if let Some(b3) = digest.filter(|_| is_staged && seen.ctime <= later(last)) {
            let object = DeliveredObject { inode: seen.inode, changed: seen.ctime, b3 };
            self.listed.0.insert(op.path.clone(), object);
        }
    }

    /// Returns the list.
    pub(crate) fn into_list(self) -> DeliveredObjects {
        self.listed
    }
}

fn is_worth_it(runner: &OpRunner<'_>, objects: usize) -> bool {
    let has_archive = runner.journal.archives.iter().any(|archive| archive.path.is_some());
    let [stage] = &runner.stages[..] else { return false };
    has_archive && objects >= WORTH_IT && stage.file_system_magic().is_ok_and(|magic| LOCAL.contains(&magic))
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
