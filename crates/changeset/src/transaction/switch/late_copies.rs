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

/// An inode that somebody has open: its number, and its file system if that is known.
type OpenInode = (u64, Option<FileSystemId>);

/// Major and minor number of a file system.
type FileSystemId = (u32, u32);

/// Copies the stored objects with these inodes; tells whether there were any.
fn copy_open(
    journal: &Journal,
    runner: &mut OpRunner<'_>,
    stored: &BTreeSet<StoredName>,
    open: &HashSet<OpenInode>,
) -> Result<bool, Cause> {
    let numbers: HashSet<u64> = open.iter().map(|(number, _)| *number).collect();
    let mut any = false;
    for op in journal.ops.iter().filter(|op| !op.db) {
        let Some(old) = op.old.as_deref().filter(|old| numbers.contains(&old.inode.number)) else { continue };
        let staged = [op.stage.clone(), op.old_stage()];
        let staged = staged.iter().filter_map(|stage| stage.strip_prefix("o/"));
        let mut staged = staged.map(|name| StoredName { directory: op.domain, name: name.to_owned() });
        if let Some(name) = staged.find(|name| stored.contains(name))
            && copy(runner, op, (&name, old), open)?
        {
            runner.unchanged.remove(&name);
            any = true;
        }
    }
    Ok(any)
}

/// Copies one stored object beside itself, if it is one of those that are open. The number alone may be that of an object on
/// another file system.
fn copy(
    runner: &mut OpRunner<'_>,
    op: &Op,
    (name, old): (&StoredName, &Identity),
    open: &HashSet<OpenInode>,
) -> Result<bool, Cause> {
    let (objects, _) = runner.staged(op)?;
    let changed = || Cause::Changed(op.path.to_string());
    let (from, seen) = objects.open_seen(name.name.as_bytes())?.ok_or_else(changed)?;
    let number = seen.inode.number;
    if !open.contains(&(number, None)) && !open.contains(&(number, Some(seen.file_system))) {
        return Ok(false);
    }
    let late = [LATE, name.name.as_bytes()].concat();
    objects.remove(&late)?;
    let mut to = objects.create(&late)?;
    to.reserve(seen.size)?;
    let copied = copy_summed(from, &mut to)?.map_err(|_| changed())?;
    // A write that came before the copy is an edit that the undo data must not have.
    let is_same = old.b3.as_ref().and_then(NotedDigest::digest).is_none_or(|b3| b3 == copied.b3);
    if is_same && old.size == copied.size { Ok(true) } else { Err(changed()) }
}

/// Returns the inodes with `wanted` numbers that any process has open for writing, or mapped so. Of those that are mapped the
/// file system is not told: some file systems name another one there than to whoever looks at the file.
fn open_for_writing(proc: &Path, wanted: &HashSet<u64>) -> HashSet<OpenInode> {
    let mut found = HashSet::new();
    let processes = fs::read_dir(proc).into_iter().flatten().flatten();
    for process in processes.filter(|process| is_number(&process.file_name().to_string_lossy())) {
        let process = process.path();
        for descriptor in fs::read_dir(process.join("fd")).into_iter().flatten().flatten() {
            let Ok(seen) = fs::metadata(descriptor.path()) else { continue };
            let info = || fs::read_to_string(process.join("fdinfo").join(descriptor.file_name()));
            if wanted.contains(&seen.ino()) && info().is_ok_and(|info| can_write(&info)) {
                let device = seen.dev();
                let file_system = (rustix::fs::major(device), rustix::fs::minor(device));
                found.insert((seen.ino(), Some(file_system)));
            }
        }
        let maps = fs::read_to_string(process.join("maps")).unwrap_or_default();
        let mapped = maps.lines().filter_map(shared_and_written).filter(|inode| wanted.contains(inode));
        found.extend(mapped.map(|inode| (inode, None)));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inode_is_known_by_its_number_and_its_file_system_and_only_if_it_can_be_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let process = dir.path().join("123");
        for below in ["fd", "fdinfo"] {
            fs::create_dir_all(process.join(below)).unwrap();
        }
        let mut wanted = HashSet::new();
        for (descriptor, flags) in [("3", "0100001"), ("4", "0100002"), ("5", "0100000")] {
            let file = dir.path().join(descriptor);
            fs::write(&file, "").unwrap();
            std::os::unix::fs::symlink(&file, process.join("fd").join(descriptor)).unwrap();
            fs::write(process.join("fdinfo").join(descriptor), format!("pos:\t0\nflags:\t{flags}\n"))
                .unwrap();
            wanted.insert(fs::metadata(&file).unwrap().ino());
        }
        let mapped = "7f00-7f01 rw-s 00000000 00:1f 77 /a\n7f02-7f03 r--s 00000000 00:1f 78 /b\n";
        fs::write(process.join("maps"), mapped).unwrap();
        wanted.extend([77, 78]);
        let expected: HashSet<OpenInode> = ["3", "4"]
            .map(|name| fs::metadata(dir.path().join(name)).unwrap())
            .map(|seen| (seen.ino(), Some((rustix::fs::major(seen.dev()), rustix::fs::minor(seen.dev())))))
            .into_iter()
            .chain([(77, None)])
            .collect();
        assert_eq!(open_for_writing(dir.path(), &wanted), expected);
    }
}
