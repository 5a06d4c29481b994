//! Copies objects with every attribute. Files are cloned if possible.

use std::io;
use std::io::Read;

use crate::format::journal::Identity;
use crate::transaction::error::Cause;
use patchadm_rootfs::{
    Descent, Digest, Dir, FileType, Hashing, Interrupt, InterruptibleRead, ObjectStatus, Root, RootError,
    Sums, WritableFile, Xattrs, never,
};
use patchadm_svr4::package::Mode;

pub(crate) fn digest_of(dir: &Dir, name: &[u8], interrupt: Interrupt<'_>) -> Result<Option<Digest>, Cause> {
    let mut hashing = Hashing::new(io::sink());
    let file = dir.open_regular(name)?;
    io::copy(&mut InterruptibleRead::new(file, interrupt), &mut hashing)
        .map_err(|error| dir.read_error(name, &error))?;
    Ok(Some(hashing.finish().1))
}

/// Not for directories. Returns the digest of a regular file.
pub(crate) fn copy_object(from: &Dir, name: &[u8], to: &Dir, copy: &[u8]) -> Result<Option<Digest>, Cause> {
    copy_object_until(from, name, (to, copy), &never)
}

/// A signal makes reading fail.
pub(crate) fn copy_object_until(
    from: &Dir,
    name: &[u8],
    (to, copy): (&Dir, &[u8]),
    interrupt: Interrupt<'_>,
) -> Result<Option<Digest>, Cause> {
    let Some(seen) = from.look(name)? else { return Err(Cause::Changed(from.root().show(&from.at(name)))) };
    let mut digest = None;
    match seen.file_type {
        FileType::Regular => digest = Some(copy_bytes((from, name, seen.size), (to, copy), interrupt)?),
        FileType::Symlink => to.make_symlink(copy, &from.read_link(name)?)?,
        FileType::Pipe | FileType::Block | FileType::Character => {
            to.make_node(copy, seen.file_type, seen.device)?;
        }
        FileType::Directory | FileType::Socket => {
            let reason = "is of a type that cannot be copied, so it could not be restored";
            return Err(Cause::Unsupported { path: from.root().show(&from.at(name)), reason });
        }
    }
    copy_attributes(&seen, &from.xattrs(name)?, to, copy)?;
    Ok(digest)
}

/// Copies the bytes of a file of this size; callers notice changes.
fn copy_bytes(
    (from, name, size): (&Dir, &[u8], u64),
    (to, copy): (&Dir, &[u8]),
    interrupt: Interrupt<'_>,
) -> Result<Digest, Cause> {
    let source = from.open_regular(name)?;
    let mut file = to.create(copy)?;
    if file.clone_of(&source)? {
        drop(file);
        return digest_of(to, copy, interrupt)?
            .ok_or_else(|| Cause::Internal("a copy has no digest".to_owned()));
    }
    let mut hashing = Hashing::new(&mut file);
    let copied = io::copy(&mut InterruptibleRead::new(source.take(size), interrupt), &mut hashing);
    let (_, digest) = hashing.finish();
    copied.map_err(|error| file.write_error(&error))?;
    Ok(digest)
}

/// In an order in which none resets another.
fn copy_attributes(seen: &ObjectStatus, xattrs: &Xattrs, to: &Dir, copy: &[u8]) -> Result<(), Cause> {
    if to.root().is_privileged() {
        to.set_owner(copy, Some(seen.uid), Some(seen.gid))?;
    }
    set_xattrs(to, copy, xattrs)?;
    if seen.file_type != FileType::Symlink {
        to.set_mode(copy, seen.mode)?;
    }
    to.set_mtime(copy, seen.mtime)?;
    Ok(())
}

pub(crate) fn copy_tree(from: &Dir, name: &[u8], to: &Dir, copy: &[u8]) -> Result<(), Cause> {
    copy_tree_until(from, name, (to, copy), &never)
}

/// A signal ends it.
pub(crate) fn copy_tree_until(
    from: &Dir,
    name: &[u8],
    (to, copy): (&Dir, &[u8]),
    interrupt: Interrupt<'_>,
) -> Result<(), Cause> {
    let (from, to) = (Descent::below(from), Descent::below(to));
    let mut tree = TreeCopy { from, to, rest: Vec::new(), interrupt };
    tree.enter(name, copy)?;
    while let Some(rest) = tree.rest.last_mut() {
        if let Some(signal) = interrupt() {
            return Err(Cause::Interrupted(signal));
        }
        match rest.pop() {
            Some(entry) => tree.copy(&entry)?,
            None => tree.leave()?,
        }
    }
    Ok(())
}

struct TreeCopy<'a> {
    from: Descent<'a>,
    to: Descent<'a>,
    rest: Vec<Vec<Vec<u8>>>,
    interrupt: Interrupt<'a>,
}

impl TreeCopy<'_> {
    fn copy(&mut self, entry: &[u8]) -> Result<(), Cause> {
        let (from, to) = (self.from.here(), self.to.here());
        let Some(seen) = from.look(entry)? else { return Ok(()) };
        match seen.file_type {
            FileType::Directory => return self.enter(entry, entry),
            FileType::Regular if is_archive(entry) && to.make_link(entry, from, entry).is_ok() => {}
            _ => drop(copy_object_until(from, entry, (to, entry), self.interrupt)?),
        }
        Ok(())
    }

    fn enter(&mut self, name: &[u8], copy: &[u8]) -> Result<(), Cause> {
        let source = self.from.here().dir(name)?;
        let target = self.to.here().make_dir(copy, Mode::of(0o700))?;
        let mut rest = source.names()?;
        rest.reverse();
        self.from.enter(name, source)?;
        self.to.enter(copy, target)?;
        self.rest.push(rest);
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Cause> {
        self.rest.pop();
        let source = self.from.here();
        let (seen, xattrs) = (source.itself()?, source.xattrs(b"")?);
        self.from.leave()?;
        let Some(copy) = self.to.leave()? else { return Ok(()) };
        copy_attributes(&seen, &xattrs, self.to.here(), &copy)
    }
}

fn is_archive(name: &[u8]) -> bool {
    [&b"undo"[..], b"obsolete"]
        .iter()
        .any(|stem| name.strip_prefix(*stem).is_some_and(|rest| rest.is_empty() || rest.starts_with(b".")))
}

pub(crate) fn make_again(stage: &Dir, name: &[u8], old: &Identity) -> Result<(), Cause> {
    stage.remove_tree(name)?;
    let dir = stage.make_dir(name, Mode::of(0o700))?;
    if stage.root().is_privileged() {
        dir.set_own_owner(Some(old.uid), Some(old.gid))?;
    }
    for (key, value) in old.xattrs.as_deref().into_iter().flatten() {
        dir.set_xattr(b"", &crate::format::manifest::decode(key), &crate::format::manifest::decode(value))?;
    }
    dir.set_own_mode(Mode::of(old.mode))?;
    Ok(())
}

pub(crate) fn copy_summed(data: impl Read, file: &mut WritableFile) -> Result<io::Result<Sums>, RootError> {
    let mut reading = CopyingReader { data, file, failed: None };
    let sums = Sums::of(&mut reading);
    reading.failed.map_or(Ok(sums), Err)
}

struct CopyingReader<'a, R> {
    data: R,
    file: &'a mut WritableFile,
    failed: Option<RootError>,
}

impl<R: Read> Read for CopyingReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.data.read(buffer)?;
        match self.file.put(buffer.get(..count).unwrap_or_default()) {
            Ok(()) => Ok(count),
            Err(error) => {
                self.failed = Some(error);
                Err(io::ErrorKind::WriteZero.into())
            }
        }
    }
}

/// Without privileges, skips those reserved to root. Backwards: only the superuser could set `user.*` once an access
/// list forbids the owner to write.
pub(crate) fn set_xattrs(dir: &Dir, name: &[u8], xattrs: &Xattrs) -> Result<(), Cause> {
    for (key, value) in xattrs.iter().rev() {
        match dir.set_xattr(name, key, value) {
            Err(error) if may_be_left_out(dir.root(), &error) => {}
            other => other?,
        }
    }
    Ok(())
}

pub(crate) fn may_be_left_out(root: &Root, error: &RootError) -> bool {
    !root.is_privileged() && error.errno() == Some(rustix::io::Errno::PERM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_svr4::package::ObjectPath;

    /// Exceeds the limit of open files, and the stack for recursive calls.
    const DEPTH: usize = 3_000;

    #[test]
    fn a_signal_ends_the_safety_copy_of_a_file_that_would_take_hours() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        std::fs::File::create(dir.path().join("d/sparse")).unwrap().set_len(1 << 40).unwrap();
        let top = Root::open(dir.path()).unwrap().dir(&ObjectPath::root()).unwrap();
        let calls = std::sync::atomic::AtomicUsize::new(0);
        let interrupt = || (calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 100).then_some(15);
        assert!(copy_tree_until(&top, b"d", (&top, b"copy"), &interrupt).is_err());
        assert!(matches!(
            copy_tree_until(&top, b"d", (&top, b"again"), &interrupt),
            Err(Cause::Interrupted(15))
        ));
    }

    #[test]
    fn deeply_nested_directories_are_copied_with_few_descriptors() {
        let dir = tempfile::tempdir().unwrap();
        let top = Root::open(dir.path()).unwrap().dir(&ObjectPath::root()).unwrap();
        let mut way = Descent::below(&top);
        for _ in 0..DEPTH {
            let dir = way.here().make_dir(b"d", Mode::of(0o750)).unwrap();
            way.enter(b"d", dir).unwrap();
        }
        drop(way.here().create(b"file").unwrap());
        drop(way);
        let copied = std::thread::Builder::new().stack_size(128 << 10).spawn(move || {
            copy_tree(&top, b"d", &top, b"copy").unwrap();
            let mut way = Descent::below(&top);
            for level in 0..DEPTH {
                let name = if level == 0 { &b"copy"[..] } else { b"d" };
                let dir = way.here().dir(name).unwrap();
                assert_eq!(dir.itself().unwrap().mode, Mode::of(0o750));
                way.enter(name, dir).unwrap();
            }
            assert_eq!(way.here().names().unwrap(), [b"file".to_vec()]);
            drop(way);
            top.remove_tree(b"d").unwrap();
            top.remove_tree(b"copy").unwrap();
        });
        copied.unwrap().join().unwrap();
    }
}
