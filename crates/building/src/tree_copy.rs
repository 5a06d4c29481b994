//! Walks and copies trees. Copies share blocks if the file system supports it.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use patchadm_bulk_values::conf::IdRange;
use patchadm_bulk_values::result::Blake3Digest;
use patchadm_rootfs::{Descent, Dir, FileType, Interrupt, ObjectStatus, Root, RootError};
use patchadm_svr4::package::{Mode, ObjectPath};
use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::space::RoomWatch;

/// The kind of a tree, which decides what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TreeKind {
    /// A base: everything on its file system, except what is in directories that everybody may write to, and where each
    /// can remove only the own files: these count as empty.
    Base,
    /// A layer of the program's own: everything on its file system.
    Layer,
    /// A directory of the host, with everything that is mounted below it.
    Host,
}

/// The most bytes of names that a walk holds at a time: a million of usual length. Builds and scripts of packages choose
/// how many there are, and how long.
const LARGEST_NAMES: usize = 256 << 20;

/// The bytes that a held name takes besides its own, with those for sorting.
const PER_NAME: usize = 96;

/// The bytes that a directory takes on the way down, or on a list, besides its name.
pub(crate) const PER_DIRECTORY: usize = 256;

/// Counts the names that a walk holds.
pub(crate) struct HeldNames {
    bytes: usize,
    most: usize,
}

impl HeldNames {
    pub(crate) fn new() -> Self {
        Self::up_to(LARGEST_NAMES)
    }

    pub(crate) fn up_to(most: usize) -> Self {
        Self { bytes: 0, most }
    }

    /// Returns the names in a directory, sorted, and the bytes to [give back](Self::give_back) for them. Fails if there
    /// are too many, which are not remembered.
    pub(crate) fn read(&mut self, dir: &Dir) -> Result<(Vec<Vec<u8>>, usize), RootError> {
        let (left, taken) = (self.most.saturating_sub(self.bytes), Cell::new(0_usize));
        let names = dir.names_that_are(|name| {
            taken.set(taken.get().saturating_add(name.len() + PER_NAME));
            taken.get() <= left
        })?;
        self.take(taken.get(), dir)?;
        Ok((names, taken.get()))
    }

    /// Counts a directory below `above` that is kept in mind, with this many bytes of its name or path.
    pub(crate) fn take_directory(&mut self, name: usize, above: &Dir) -> Result<usize, RootError> {
        let bytes = name.saturating_add(PER_DIRECTORY);
        self.take(bytes, above).map(|()| bytes)
    }

    fn take(&mut self, bytes: usize, dir: &Dir) -> Result<(), RootError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes <= self.most {
            return Ok(());
        }
        let path = format!("the list of names up to those in {}", dir.root().show(dir.path()));
        Err(RootError::TooLarge { path, limit: self.most as u64 })
    }

    /// Takes bytes if they are within the limit.
    pub(crate) fn try_take(&mut self, bytes: usize) -> bool {
        let taken = self.bytes.saturating_add(bytes);
        if taken <= self.most {
            self.bytes = taken;
        }
        taken <= self.most
    }

    pub(crate) fn give_back(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// A walk through the directories of a tree, each before those in it. Unreadable directories are passed over.
pub(crate) struct TreeWalk {
    root: Root,
    kind: TreeKind,
    file_system: (u32, u32),
    /// Paths, true if everybody may write there, and their part of the held names.
    open: Vec<(ObjectPath, bool, usize)>,
    held: HeldNames,
    /// The part of the names in the current directory.
    here: usize,
    /// The path of the first directory that is left out.
    pub(crate) left_out: Option<String>,
}

/// A directory of a walk.
pub(crate) struct WalkedDirectory {
    pub(crate) dir: Dir,
    pub(crate) path: ObjectPath,
    /// True if everybody may make objects in it, or in a directory above it.
    pub(crate) is_open: bool,
}

impl TreeWalk {
    pub(crate) fn begin(top: &Path, kind: TreeKind) -> Result<Self, RootError> {
        let root = Root::open(top)?;
        let file_system = root.dir(&ObjectPath::root())?.itself()?.file_system;
        let open = vec![(ObjectPath::root(), false, 0)];
        Ok(Self { root, kind, file_system, open, held: HeldNames::new(), here: 0, left_out: None })
    }

    pub(crate) fn next_directory(&mut self) -> Result<Option<WalkedDirectory>, RootError> {
        self.held.give_back(std::mem::take(&mut self.here));
        while let Some((path, is_open, bytes)) = self.open.pop() {
            self.held.give_back(bytes);
            match self.root.dir(&path) {
                // A build cannot read it either.
                Err(error) if error.is_refused_access() => {}
                Err(error) if is_open && is_gone(&error) => {}
                dir => return Ok(Some(WalkedDirectory { dir: dir?, path, is_open })),
            }
        }
        Ok(None)
    }

    /// Returns the names in the current directory, sorted.
    pub(crate) fn names(&mut self, directory: &WalkedDirectory) -> Result<Vec<Vec<u8>>, RootError> {
        let (names, bytes) = self.held.read(&directory.dir)?;
        self.here = self.here.saturating_add(bytes);
        Ok(names)
    }

    /// Continues in a directory, if its content belongs to the tree. Returns false if the directory is left out, because
    /// its path is too long and anybody may have made it.
    pub(crate) fn enter(
        &mut self,
        above: &WalkedDirectory,
        name: &[u8],
        seen: &ObjectStatus,
    ) -> Result<bool, RootError> {
        let mode = seen.mode.bits();
        let is_elsewhere = self.kind != TreeKind::Host && seen.file_system != self.file_system;
        if is_elsewhere || self.kind == TreeKind::Base && mode & 0o1002 == 0o1002 {
            return Ok(true);
        }
        match above.path.join(name) {
            Ok(path) => {
                let bytes = self.held.take_directory(path.as_bytes().len(), &above.dir)?;
                self.open.push((path, above.is_open || mode & 0o002 != 0, bytes));
            }
            Err(_) if above.is_open && self.kind != TreeKind::Layer => {
                self.left_out.get_or_insert_with(|| self.root.show(&above.path));
                return Ok(false);
            }
            Err(_) => {
                let path = self.root.show(&above.path);
                return Err(RootError::Call { action: "look below", path, errno: Errno::NAMETOOLONG });
            }
        }
        Ok(true)
    }
}

/// Returns true if an object was removed or replaced since its name was read.
pub(crate) fn is_gone(error: &RootError) -> bool {
    error.is_not_found() || matches!(error.errno(), Some(Errno::LOOP | Errno::INVAL))
}

/// Copies a tree into an empty directory, with modes and times, and for the superuser with owners, mapped into `range`.
/// Devices, pipes, sockets, other file systems and unreadable objects are left out. Returns the path below which a
/// directory is left out, because its path is too long. Fails with EINTR once a signal comes, and if the names of too
/// many directories would have to be held.
pub(crate) fn copy_tree(
    (from, to): (&Path, &Path),
    kind: TreeKind,
    range: Option<IdRange>,
    interrupt: Interrupt<'_>,
) -> Result<Option<String>, RootError> {
    let owner = |seen: &ObjectStatus| {
        let of = |id: u32| range.map_or(id, |range| range.outside(id));
        rustix::process::geteuid().is_root().then(|| (of(seen.uid), of(seen.gid)))
    };
    // No links below are followed, because the owner of a directory may exchange its content.
    let (mut walk, top) = (TreeWalk::begin(from, kind)?, Root::open(to)?);
    let mut directories = Vec::new();
    while let Some(directory) = walk.next_directory()? {
        let source = &directory.dir;
        let target = top.dir(&directory.path)?;
        for name in walk.names(&directory)? {
            go_on_unless_interrupted("copy", (source, &name), interrupt)?;
            let Some(seen) = source.look(&name)? else { continue };
            match seen.file_type {
                FileType::Directory => {
                    if walk.enter(&directory, &name, &seen)? {
                        // It gets its own mode and time once everything is in it.
                        target.make_dir(&name, Mode::of(0o700))?;
                        let length = directory.path.as_bytes().len() + name.len();
                        walk.held.take_directory(length, source)?;
                        directories.push((directory.path.clone(), name, seen));
                    }
                    continue;
                }
                FileType::Regular => {
                    let goes_on = || go_on_unless_interrupted("copy", (source, &name), interrupt);
                    match copy_file_while((source, &name), (&target, &name), goes_on) {
                        Err(error) if error.is_refused_access() || directory.is_open && is_gone(&error) => {
                            target.remove(&name)?;
                            continue;
                        }
                        other => other?,
                    }
                }
                FileType::Symlink => match source.read_link(&name) {
                    Err(error) if directory.is_open && is_gone(&error) => continue,
                    link => target.make_symlink(&name, &link?)?,
                },
                _ => continue,
            }
            copy_attributes(&target, &name, &seen, owner(&seen))?;
        }
    }
    // Subdirectories come later in the list.
    for (above, name, seen) in directories.iter().rev() {
        copy_attributes(&top.dir(above)?, name, seen, owner(seen))?;
    }
    Ok(walk.left_out)
}

fn copy_attributes(
    target: &Dir,
    name: &[u8],
    seen: &ObjectStatus,
    owner: Option<(u32, u32)>,
) -> Result<(), RootError> {
    if let Some((uid, gid)) = owner {
        target.set_owner(name, Some(uid), Some(gid))?;
    }
    if seen.file_type != FileType::Symlink {
        target.set_mode(name, seen.mode)?;
    }
    target.set_mtime(name, seen.mtime)
}

/// Visits all objects below a directory in byte order. If `visit` returns true for a directory, its content follows.
/// Fails if more names would have to be held than any usual tree has.
pub(crate) fn each_below<E: From<RootError>>(
    top: &Dir,
    visit: impl FnMut(&Dir, &[u8], &ObjectStatus) -> Result<bool, E>,
) -> Result<(), E> {
    each_below_within(top, HeldNames::new(), visit)
}

fn each_below_within<E: From<RootError>>(
    top: &Dir,
    mut held: HeldNames,
    mut visit: impl FnMut(&Dir, &[u8], &ObjectStatus) -> Result<bool, E>,
) -> Result<(), E> {
    let mut descent = Descent::below(top);
    let mut rest = vec![last_first(top, &mut held)?];
    while let Some((names, bytes)) = rest.last_mut() {
        let Some(name) = names.pop() else {
            held.give_back(*bytes);
            rest.pop();
            descent.leave()?;
            continue;
        };
        let here = descent.here();
        let Some(seen) = here.look(&name)? else { continue };
        if visit(here, &name, &seen)? && seen.file_type == FileType::Directory {
            let dir = here.dir(&name)?;
            let way = held.take_directory(name.len(), here)?;
            let (names, bytes) = last_first(&dir, &mut held)?;
            rest.push((names, bytes + way));
            descent.enter(&name, dir)?;
        }
    }
    Ok(())
}

/// Returns the sorted names in a directory; `None` if it has more than `most`, or more than a walk holds, which are not
/// remembered.
pub(crate) fn names_up_to(dir: &Dir, most: usize) -> Result<Option<Vec<Vec<u8>>>, RootError> {
    let (count, bytes) = (Cell::new(0_usize), Cell::new(0_usize));
    let is_within = || count.get() <= most && bytes.get() <= LARGEST_NAMES;
    let names = dir.names_that_are(|name| {
        count.set(count.get() + 1);
        bytes.set(bytes.get().saturating_add(name.len() + PER_NAME));
        is_within()
    })?;
    Ok(is_within().then_some(names))
}

/// Returns true if the names in a directory can be read.
pub(crate) fn is_listable(above: &Dir, name: &[u8]) -> Result<bool, RootError> {
    match above.dir(name).and_then(|dir| names_up_to(&dir, 0)) {
        Err(error) if error.is_refused_access() => Ok(false),
        read => read.map(|_| true),
    }
}

fn last_first(dir: &Dir, held: &mut HeldNames) -> Result<(Vec<Vec<u8>>, usize), RootError> {
    let (mut names, bytes) = held.read(dir)?;
    names.reverse();
    Ok((names, bytes))
}

const PART: usize = 1 << 18;

/// Passes on each part of a file. `failed` words a read error.
pub(crate) fn each_part<E>(
    file: &File,
    failed: impl Fn(&io::Error) -> E,
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    // A large buffer would cost more than most files.
    let size = file.metadata().map_err(|error| failed(&error))?.len();
    let part = usize::try_from(size).unwrap_or(PART).saturating_add(1).min(PART);
    let (mut buffer, mut offset) = (vec![0; part], 0);
    loop {
        let read = file.read_at(&mut buffer, offset).map_err(|error| failed(&error))?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
        each(bytes)?;
        offset += read as u64;
    }
}

/// `failed` words a read error.
pub(crate) fn digest_of_file<E>(file: &File, failed: impl Fn(&io::Error) -> E) -> Result<Blake3Digest, E> {
    let mut hasher = blake3::Hasher::new();
    each_part(file, failed, |bytes| {
        hasher.update(bytes);
        Ok(())
    })?;
    Ok(Blake3Digest::from_bytes(*hasher.finalize().as_bytes()))
}

/// Copies a file, and leaves the reserve of the file system.
pub(crate) fn copy_file(from: &Dir, name: &[u8], to: &Dir, new_name: &[u8]) -> Result<(), RootError> {
    copy_file_while((from, name), (to, new_name), || Ok(()))
}

/// Copies a file with its holes, and leaves the reserve of the file system. Calls `goes_on` before each part.
fn copy_file_while(
    (from, name): (&Dir, &[u8]),
    (to, new_name): (&Dir, &[u8]),
    goes_on: impl Fn() -> Result<(), RootError>,
) -> Result<(), RootError> {
    let source = from.open_regular(name)?;
    let mut copy = to.create(new_name)?;
    if copy.clone_of(&source)? {
        return Ok(());
    }
    let failed = |error: &io::Error| from.read_error(name, error);
    let seen = source.metadata().map_err(|error| failed(&error))?;
    let size = seen.len();
    // Most files have no holes, which their blocks tell.
    let allocated = seen.blocks().saturating_mul(512);
    let is_whole = allocated >= size;
    let mut free = RoomWatch::begin(to, allocated.min(size))?;
    let part = usize::try_from(size).unwrap_or(PART).min(PART);
    let (mut buffer, mut offset, mut written) = (vec![0; part], 0, 0);
    while offset < size {
        let data = if is_whole { Some(offset..size) } else { next_data(&source, offset, size) };
        let Some(data) = data else { break };
        offset = data.start;
        while offset < data.end {
            let most = usize::try_from(data.end - offset).unwrap_or(PART).min(part);
            let Some(room) = buffer.get_mut(..most) else { break };
            let read = source.read_at(room, offset).map_err(|error| failed(&error))?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
                // It has become shorter.
                return Ok(());
            };
            goes_on()?;
            free.add(bytes)?;
            copy.put_at(bytes, offset)?;
            offset += read as u64;
            written = offset;
        }
    }
    if written < size { copy.set_size(size) } else { Ok(()) }
}

/// Returns the next bytes of a file that are no hole, from an offset below its size on. On a file system that knows no
/// holes there are none.
fn next_data(file: &File, offset: u64, size: u64) -> Option<Range<u64>> {
    let begin = match rustix::fs::seek(file, SeekFrom::Data(offset)) {
        Ok(begin) => begin,
        Err(Errno::NXIO) => return None,
        Err(_) => offset,
    };
    if begin >= size {
        return None;
    }
    let end = rustix::fs::seek(file, SeekFrom::Hole(begin)).unwrap_or(size);
    Some(begin..end.clamp(begin + 1, size))
}

pub(crate) fn go_on_unless_interrupted(
    action: &'static str,
    (dir, name): (&Dir, &[u8]),
    interrupt: Interrupt<'_>,
) -> Result<(), RootError> {
    match interrupt() {
        None => Ok(()),
        Some(_) => Err(RootError::Call { action, path: dir.root().show(&dir.at(name)), errno: Errno::INTR }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use patchadm_rootfs::never;

    use super::*;

    #[test]
    fn a_copy_has_what_the_tree_has_with_modes_and_times() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("closed/deep")).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(from.join("closed/deep/file"), "text").unwrap();
        std::os::unix::fs::symlink("closed/deep", from.join("link")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            from.join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        fs::set_permissions(from.join("closed/deep/file"), fs::Permissions::from_mode(0o640)).unwrap();
        fs::set_permissions(from.join("closed"), fs::Permissions::from_mode(0o555)).unwrap();
        copy_tree((&from, &to), TreeKind::Layer, None, &never).unwrap();
        assert_eq!(fs::read_to_string(to.join("link/file")).unwrap(), "text");
        assert!(!to.join("pipe").exists());
        for path in ["closed", "closed/deep", "closed/deep/file", "link"] {
            let [before, after] = [&from, &to].map(|top| fs::symlink_metadata(top.join(path)).unwrap());
            let of = |seen: &fs::Metadata| (seen.mode(), seen.uid(), seen.mtime(), seen.mtime_nsec());
            assert_eq!(of(&before), of(&after), "{path}");
        }
        for top in [from, to] {
            fs::set_permissions(top.join("closed"), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    #[test]
    fn holes_of_a_file_are_holes_of_its_copy() {
        const SIZE: u64 = 8 << 30;
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir(&from).unwrap();
        fs::create_dir(&to).unwrap();
        let file = File::create(from.join("file")).unwrap();
        for offset in [0, 3 << 30, SIZE - (1 << 20)] {
            file.write_all_at(b"text", offset).unwrap();
        }
        file.set_len(SIZE).unwrap();
        File::create(from.join("hole")).unwrap().set_len(SIZE).unwrap();
        copy_tree((&from, &to), TreeKind::Layer, None, &never).unwrap();
        for name in ["file", "hole"] {
            let copied = fs::metadata(to.join(name)).unwrap();
            assert_eq!(copied.len(), SIZE, "{name}");
            assert!(copied.blocks() * 512 < 16 << 20, "{name}: {} blocks", copied.blocks());
        }
        let copy = File::open(to.join("file")).unwrap();
        for (offset, text) in
            [(0, b"text"), (1 << 30, &[0; 4]), (3 << 30, b"text"), (SIZE - (1 << 20), b"text")]
        {
            let mut read = [1; 4];
            copy.read_exact_at(&mut read, offset).unwrap();
            assert_eq!(&read, text, "{offset}");
        }
    }

    /// Makes directories with long names below a directory, until their path is too long for any call.
    fn make_too_deep(at: &Path) {
        let name = "d".repeat(250);
        let mut dir = Dir::of_host(at).unwrap();
        for _ in 0..20 {
            dir = dir.make_dir(name.as_bytes(), Mode::of(0o755)).unwrap();
        }
    }

    #[test]
    fn nothing_of_strangers_gets_into_the_copy_of_a_base_or_stops_it() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        for path in ["from/var/tmp/theirs", "from/shared/deep", "from/usr", "to"] {
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        let set_mode = |path: &str, mode| {
            fs::set_permissions(dir.path().join(path), fs::Permissions::from_mode(mode)).unwrap();
        };
        set_mode("from/var/tmp", 0o1777);
        set_mode("from/shared", 0o777);
        fs::write(from.join("var/tmp/file"), "").unwrap();
        fs::write(from.join("shared/file"), "").unwrap();
        for path in ["var/tmp/theirs", "shared/deep"] {
            make_too_deep(&from.join(path));
        }
        let left_out = copy_tree((&from, &to), TreeKind::Base, None, &never).unwrap();
        assert!(left_out.is_some_and(|path| path.contains("/shared/deep/ddd")));
        assert_eq!(fs::metadata(to.join("var/tmp")).unwrap().mode() & 0o7777, 0o1777);
        assert_eq!(fs::read_dir(to.join("var/tmp")).unwrap().count(), 0);
        assert!(to.join("shared/file").exists() && to.join("shared/deep").exists());

        // The owner of the base has to know.
        make_too_deep(&from.join("usr"));
        Dir::of_host(dir.path()).unwrap().remove_tree(b"to").unwrap();
        fs::create_dir(&to).unwrap();
        let refused = copy_tree((&from, &to), TreeKind::Base, None, &never).unwrap_err();
        assert_eq!(refused.errno(), Some(Errno::NAMETOOLONG));
        assert!(refused.to_string().contains("/usr/ddd"), "{refused}");

        // A layer is copied as it is.
        Dir::of_host(&from).unwrap().remove_tree(b"usr").unwrap();
        Dir::of_host(&from.join("var/tmp")).unwrap().remove_tree(b"theirs").unwrap();
        Dir::of_host(&from).unwrap().remove_tree(b"shared").unwrap();
        Dir::of_host(dir.path()).unwrap().remove_tree(b"to").unwrap();
        fs::create_dir(&to).unwrap();
        copy_tree((&from, &to), TreeKind::Layer, None, &never).unwrap();
        assert!(to.join("var/tmp/file").exists());
    }

    #[test]
    fn a_signal_ends_the_copy_of_a_tree_in_the_middle_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir(&from).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(from.join("file"), vec![b'x'; 40 * PART]).unwrap();
        let calls = std::sync::atomic::AtomicUsize::new(0);
        let interrupt = || (calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 10).then_some(15);
        // With shared blocks, there is no middle.
        let source = File::open(from.join("file")).unwrap();
        let is_cloned = Dir::of_host(&to).unwrap().create(b"clone").unwrap().clone_of(&source).unwrap();
        let copied = copy_tree((&from, &to), TreeKind::Layer, None, &interrupt);
        if !is_cloned {
            assert_eq!(copied.unwrap_err().errno(), Some(Errno::INTR));
            assert!(fs::metadata(to.join("file")).unwrap().len() < 40 * PART as u64);
        }
        let copied = copy_tree((&from, &to), TreeKind::Layer, None, &|| Some(15));
        assert_eq!(copied.unwrap_err().errno(), Some(Errno::INTR), "before a file, too");
    }

    #[test]
    fn no_more_names_than_wanted_are_remembered() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b", "a", "c"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let top = Dir::of_host(dir.path()).unwrap();
        let names = [b"a", b"b", b"c"].map(|name| name.to_vec()).to_vec();
        assert_eq!(names_up_to(&top, 3).unwrap(), Some(names));
        assert_eq!(names_up_to(&top, 2).unwrap(), None);
    }

    #[test]
    fn the_names_of_a_walk_have_one_limit_for_all_directories_on_the_way_down() {
        let dir = tempfile::tempdir().unwrap();
        let mut below = dir.path().to_owned();
        for _ in 0..5 {
            for number in 0..100 {
                fs::write(below.join(format!("{number:0250}")), "").unwrap();
            }
            below.push("z");
            fs::create_dir(&below).unwrap();
        }
        let top = Dir::of_host(dir.path()).unwrap();
        let walk = |most: usize| {
            let mut count = 0;
            let walked = each_below_within::<RootError>(&top, HeldNames::up_to(most), |_, _, _| {
                count += 1;
                Ok(true)
            });
            walked.map(|()| count)
        };
        // The names of all five directories are held at the bottom.
        let of_all = 5 * (100 * (250 + PER_NAME) + (1 + PER_NAME) + (1 + PER_DIRECTORY));
        assert_eq!(walk(of_all).unwrap(), 5 * 101);
        let refused = walk(of_all - 1).unwrap_err();
        assert_eq!(refused.errno(), Some(Errno::FBIG));
        let said = refused.to_string();
        assert!(said.starts_with("the list of names up to those in ") && said.contains("/z/z/z"), "{said}");

        // Names in directories that the walk has left no longer count.
        for number in 0..50 {
            fs::create_dir(dir.path().join(format!("a{number}"))).unwrap();
            for file in 0..20 {
                fs::write(dir.path().join(format!("a{number}/{file:0250}")), "").unwrap();
            }
        }
        assert_eq!(walk(of_all + 50 * (3 + PER_NAME)).unwrap(), 5 * 101 + 50 * 21);
    }

    #[test]
    fn the_directories_of_a_copy_have_a_limit_with_all_names_that_are_held() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..100 {
            fs::create_dir(dir.path().join(format!("{number:0250}"))).unwrap();
        }
        let mut walk = TreeWalk::begin(dir.path(), TreeKind::Layer).unwrap();
        walk.held = HeldNames::up_to(100 * (250 + PER_NAME) + 50 * (251 + PER_DIRECTORY));
        let directory = walk.next_directory().unwrap().unwrap();
        let names = walk.names(&directory).unwrap();
        let entered = names.iter().take_while(|name| {
            let seen = directory.dir.look(name).unwrap().unwrap();
            walk.enter(&directory, name, &seen).is_ok()
        });
        assert_eq!(entered.count(), 50);
        while walk.next_directory().unwrap().is_some() {}
        assert_eq!(walk.held.bytes, PER_DIRECTORY + 251, "the one that was refused");
    }

    #[test]
    fn wide_and_deep_trees_are_walked_in_order_and_what_is_not_wanted_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..3_000 {
            fs::create_dir(dir.path().join(format!("{number:04}"))).unwrap();
        }
        let deep = dir.path().join("0001/".to_owned() + &"d/".repeat(1_000));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("file"), "").unwrap();
        fs::create_dir(dir.path().join("0002/hidden")).unwrap();
        let mut seen_names = Vec::new();
        each_below::<RootError>(&Dir::of_host(dir.path()).unwrap(), |_, name, _| {
            seen_names.push(String::from_utf8(name.to_vec()).unwrap());
            Ok(name != b"0002")
        })
        .unwrap();
        assert_eq!(seen_names.len(), 3_000 + 1_000 + 1);
        assert_eq!((&*seen_names[0], &*seen_names[1], &*seen_names[2]), ("0000", "0001", "d"));
        assert_eq!((&*seen_names[1_002], &*seen_names[1_003]), ("file", "0002"));
        assert_eq!(seen_names[1_004], "0003");
    }
}
