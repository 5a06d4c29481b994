//! Undo data as files: an old file that a process can still write to is copied before the commit.
//!
//! After the switch nobody can open an old file by its name any more, but who had opened it for writing before can still
//! write, and would change the undo data. Such files are found in /proc; their copies take their places in the undo
//! directory. Processes that the caller may not look into are not seen: what they write is found by the digest when the
//! undo data is used.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::format::journal::{Identity, Journal, NotedDigest, Op};
use crate::format::undo_files::StoredName;
use crate::transaction::error::Cause;
use crate::transaction::objects::summed_copy::copy_summed;
use crate::transaction::switch::op_runner::OpRunner;

/// How the name begins of the copy of a stored object that may still be written to.
pub(crate) const LATE: &[u8] = b"late-";

/// The access modes of open(2) in `flags` of `proc_pid_fdinfo(5)`, and those that can write.
const ACCESS_MODE: u32 = 0o3;

/// Makes a switched run durable, with copies of the stored objects that processes can still write to.
pub(crate) fn sync_with_copies(journal: &Journal, runner: &mut OpRunner<'_>) -> Result<(), Cause> {
    let stored = journal.stored_names();
    if stored.is_empty() {
        return runner.sync();
    }
    let old = journal.ops.iter().filter(|op| !op.db).filter_map(|op| op.old.as_deref());
    let wanted: HashSet<u64> = old.map(|old| old.inode.number).collect();
    // One waits for the disk, the other for the processor.
    let open = std::thread::scope(|scope| {
        let looking = scope.spawn(|| open_for_writing(Path::new("/proc"), &wanted));
        let synced = runner.sync();
        let open = looking.join().map_err(|_| Cause::Internal("a thread failed".to_owned()));
        synced.and(open)
    })?;
    let is_any = !open.is_empty() && copy_open(journal, runner, &stored, &open)?;
    if is_any { runner.sync() } else { Ok(()) }
}

/// Copies the stored objects with these inodes; tells whether there were any.
fn copy_open(
    journal: &Journal,
    runner: &mut OpRunner<'_>,
    stored: &BTreeSet<StoredName>,
    open: &HashSet<u64>,
) -> Result<bool, Cause> {
    let mut any = false;
    for op in journal.ops.iter().filter(|op| !op.db) {
        let Some(old) = op.old.as_deref().filter(|old| open.contains(&old.inode.number)) else { continue };
        let staged = [op.stage.clone(), op.old_stage()];
        let staged = staged.iter().filter_map(|stage| stage.strip_prefix("o/"));
        let mut staged = staged.map(|name| StoredName { directory: op.domain, name: name.to_owned() });
        if let Some(name) = staged.find(|name| stored.contains(name)) {
            runner.unchanged.remove(&name);
            copy(runner, op, (&name, old))?;
            any = true;
        }
    }
    Ok(any)
}

/// Copies one stored object beside itself.
fn copy(runner: &mut OpRunner<'_>, op: &Op, (name, old): (&StoredName, &Identity)) -> Result<(), Cause> {
    let (objects, _) = runner.staged(op)?;
    let changed = || Cause::Changed(op.path.to_string());
    let (from, seen) = objects.open_seen(name.name.as_bytes())?.ok_or_else(changed)?;
    let late = [LATE, name.name.as_bytes()].concat();
    objects.remove(&late)?;
    let mut to = objects.create(&late)?;
    to.reserve(seen.size)?;
    let copied = copy_summed(from, &mut to)?.map_err(|_| changed())?;
    // A write that came before the copy is an edit that the undo data must not have.
    let is_same = old.b3.as_ref().and_then(NotedDigest::digest).is_none_or(|b3| b3 == copied.b3);
    if is_same && old.size == copied.size { Ok(()) } else { Err(changed()) }
}

/// Returns the `wanted` inode numbers that any process has open for writing, or mapped so. A number may be that of another
/// file on another file system: then a file is copied in vain.
fn open_for_writing(proc: &Path, wanted: &HashSet<u64>) -> HashSet<u64> {
    let mut found = HashSet::new();
    let processes = fs::read_dir(proc).into_iter().flatten().flatten();
    for process in processes.filter(|process| is_number(&process.file_name().to_string_lossy())) {
        let process = process.path();
        for descriptor in fs::read_dir(process.join("fd")).into_iter().flatten().flatten() {
            let Some(inode) = fs::metadata(descriptor.path()).ok().map(|of| of.ino()) else { continue };
            let info = || fs::read_to_string(process.join("fdinfo").join(descriptor.file_name()));
            if wanted.contains(&inode) && info().is_ok_and(|info| can_write(&info)) {
                found.insert(inode);
            }
        }
        let maps = fs::read_to_string(process.join("maps")).unwrap_or_default();
        found.extend(maps.lines().filter_map(shared_and_written).filter(|inode| wanted.contains(inode)));
    }
    found
}

fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// Tells whether a text of `proc_pid_fdinfo(5)` is that of a descriptor that can write.
fn can_write(info: &str) -> bool {
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    flags
        .and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok())
        .is_some_and(|flags| flags & ACCESS_MODE != 0)
}

/// Returns the inode of a line of `proc_pid_maps(5)`, if what is written there goes to the file.
fn shared_and_written(line: &str) -> Option<u64> {
    let mut words = line.split_ascii_whitespace();
    let permissions = words.nth(1).filter(|permissions| permissions.as_bytes().get(1) == Some(&b'w'));
    permissions.filter(|permissions| permissions.ends_with('s'))?;
    words.nth(2)?.parse().ok().filter(|inode| *inode != 0)
}
