//! Reads objects without changing them: one statx(2), or everything down to the digest.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, OFlags, ResolveFlags, SeekFrom};
use rustix::io::Errno;

use super::{Dir, FileType, ObjectStatus, Result, Root, RootError, again, optional};
use crate::{Interrupt, InterruptibleRead, KnownFile, Live, LiveKind, Sums, WorkStep, Xattrs, never};
use patchadm_svr4::package::ObjectPath;

/// `XATTR_SIZE_MAX` and `XATTR_LIST_MAX`.
const LONGEST_XATTR: usize = 65_536;

/// Limits the memory reserved for an announced size. The spare bytes let one more read show the end.
const LARGEST_HINT: usize = 1 << 20;
const SPARE: usize = 64;

/// Limits the sum of the bytes that one reader of many files reads, dropped or not: hard links and holes make any number
/// of large files out of nothing. Make one for each query.
#[derive(Debug)]
pub struct ReadBudget {
    limit: u64,
    spent: AtomicU64,
}

impl ReadBudget {
    pub fn of(limit: u64) -> Self {
        Self { limit, spent: AtomicU64::new(0) }
    }

    /// Reads a file by `read`, which gets `limit` or the bytes that are left. Threads may exceed the sum by a file each.
    pub fn read(
        &self,
        limit: u64,
        read: impl FnOnce(u64) -> Result<Option<Vec<u8>>>,
    ) -> Result<Option<Vec<u8>>> {
        let left = self.limit.saturating_sub(self.spent.load(Ordering::Relaxed));
        match read(limit.min(left)) {
            Err(RootError::TooLarge { path, .. }) if left < limit => {
                Err(RootError::SumTooLarge { path, limit: self.limit })
            }
            Ok(Some(bytes)) => {
                self.spent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                Ok(Some(bytes))
            }
            read => read,
        }
    }
}

/// A file that was regular a moment ago. The second read checks it again, so that no read is endless.
#[derive(Debug)]
pub struct StillFile {
    file: File,
    is_begun: bool,
    is_known: bool,
}

impl StillFile {
    /// For reads at positions, which end whatever the file is now: a pipe has none.
    pub fn positioned(&self) -> &File {
        &self.file
    }
}

impl Read for StillFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_begun && !self.is_known {
            if ObjectStatus::of_file(&self.file)?.file_type != FileType::Regular {
                return Err(Errno::INVAL.into());
            }
            self.is_known = true;
        }
        self.is_begun = true;
        self.file.read(buffer)
    }
}

/// Smaller files are read without looking for holes.
const LARGE: u64 = 1 << 20;

/// Returns true if at least half of a large file is holes: its owner needs no space for it, and its reader much. The
/// position stays.
pub fn is_hollow(file: &File) -> bool {
    let Ok(seen) = ObjectStatus::of_file(file) else { return false };
    if seen.size < LARGE || seen.allocated > seen.size / 2 {
        return false;
    }
    // File systems that compress allocate less without holes.
    let Ok(position) = rustix::fs::tell(file) else { return false };
    let hole = rustix::fs::seek(file, SeekFrom::Hole(0));
    rustix::fs::seek(file, SeekFrom::Start(position)).is_ok() && hole.is_ok_and(|hole| hole < seen.size)
}

/// Holes of fewer bytes are read like data, without asking the file system for them.
const LARGE_HOLES: u64 = 1 << 30;

/// Gives the bytes of a file. Zeros stand for its holes, which would fill the cache of the kernel if they were read.
struct WithoutHoles<'f> {
    file: &'f File,
    size: u64,
    at: u64,
    /// The next data, or what is left of it.
    data: Range<u64>,
}

impl<'f> WithoutHoles<'f> {
    fn of(file: &'f File, size: u64) -> Self {
        Self { file, size, at: 0, data: 0..0 }
    }

    fn next_data(&self) -> Range<u64> {
        match rustix::fs::seek(self.file, SeekFrom::Data(self.at)) {
            Ok(begin) => {
                let end = rustix::fs::seek(self.file, SeekFrom::Hole(begin)).unwrap_or(self.size);
                begin..end.max(begin.saturating_add(1))
            }
            Err(Errno::NXIO) => self.size..u64::MAX,
            // The file system knows no holes.
            Err(_) => self.at..u64::MAX,
        }
    }
}

impl Read for WithoutHoles<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.size {
            return Ok(0);
        }
        if self.at >= self.data.end {
            self.data = self.next_data();
        }
        let is_hole = self.at < self.data.start;
        let end = if is_hole { self.data.start } else { self.data.end };
        let most = usize::try_from(end.min(self.size).saturating_sub(self.at))
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let Some(bytes) = buffer.get_mut(..most) else { return Ok(0) };
        let count = if is_hole {
            bytes.fill(0);
            most
        } else {
            self.file.read_at(bytes, self.at)?
        };
        self.at = self.at.saturating_add(count as u64);
        Ok(count)
    }
}

impl Root {
    /// `place` comes from [`Resolver::locate_object`](super::Resolver::locate_object). `None` if nothing is there.
    pub fn live_at(&self, place: &ObjectPath) -> Result<Option<Live>> {
        self.live_at_until(place, &never)
    }

    /// Fails once a signal came.
    pub fn live_at_until(&self, place: &ObjectPath, interrupt: Interrupt<'_>) -> Result<Option<Live>> {
        match self.dir_of_object(&place.parent().unwrap_or_else(ObjectPath::root))? {
            Some(directory) => directory.live_until(&mut vec![0; 1 << 16], place.name(), None, interrupt),
            None => Ok(None),
        }
    }

    /// Like [`Dir::open_still`], by the whole *physical* path.
    pub fn open_still(&self, physical: &ObjectPath) -> Result<StillFile> {
        let above = physical.parent().unwrap_or_else(ObjectPath::root);
        if self.is_showing() || self.guard().is_some_and(|guard| guard.holds_records(&above)) {
            return self.dir(&above)?.open_still(physical.name());
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let opened = again(|| {
            rustix::fs::openat2(self.fd(), physical.relative(), flags, rustix::fs::Mode::empty(), resolve)
        });
        let fd = opened.map_err(|errno| self.error("open", physical, errno))?;
        Ok(StillFile { file: File::from(fd), is_begun: false, is_known: false })
    }
}

impl Dir {
    pub fn itself(&self) -> Result<ObjectStatus> {
        self.statx(b"", AtFlags::EMPTY_PATH).map_err(|errno| self.error("look at", b"", errno))
    }

    pub fn is_own(&self) -> Result<bool> {
        Ok(self.itself()?.uid == rustix::process::geteuid().as_raw())
    }

    /// Returns the status of `name`, or of this directory for `.`; `None` if it is missing.
    pub fn look(&self, name: &[u8]) -> Result<Option<ObjectStatus>> {
        self.must_be_single(name)?;
        match self.statx(name, AtFlags::SYMLINK_NOFOLLOW) {
            // Thousands of lookups find no file, so no error text is built for them.
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            seen => seen.map(Some).map_err(|errno| self.error("look at", name, errno)),
        }
    }

    fn look_either(&self, name: &[u8]) -> Result<Option<ObjectStatus>> {
        if name.is_empty() { self.itself().map(Some) } else { self.look(name) }
    }

    fn statx(&self, name: &[u8], flags: AtFlags) -> rustix::io::Result<ObjectStatus> {
        let (directory, there) = self.place(name)?;
        Ok(self.with_shown_attributes(ObjectStatus::at(directory, there, flags)?))
    }

    /// Reads everything about `name`: attributes, extended attributes, and sums of a regular file. `None` if it is
    /// missing. Fails with EAGAIN if the file changes three times in a row meanwhile.
    pub fn live(&self, name: &[u8]) -> Result<Option<Live>> {
        self.live_through(&mut vec![0; 1 << 16], name, None)
    }

    /// Reads through a buffer shared by many files. An empty name means this directory. The bytes of a file that is
    /// exactly the `known` one are not read.
    pub fn live_through(
        &self,
        buffer: &mut [u8],
        name: &[u8],
        known: Option<&KnownFile>,
    ) -> Result<Option<Live>> {
        let read = |file: &mut dyn Read| Sums::through(buffer, file);
        self.live_with(name, known, read)
    }

    /// Fails once a signal came.
    pub fn live_until(
        &self,
        buffer: &mut [u8],
        name: &[u8],
        known: Option<&KnownFile>,
        interrupt: Interrupt<'_>,
    ) -> Result<Option<Live>> {
        let read = |file: &mut dyn Read| Sums::through(buffer, &mut InterruptibleRead::new(file, interrupt));
        self.live_with(name, known, read)
    }

    /// Without a known file. Bytes read advance a step of a [`WorkMeter`](crate::WorkMeter).
    pub fn live_counted(&self, buffer: &mut [u8], name: &[u8], step: &WorkStep) -> Result<Option<Live>> {
        let read = |file: &mut dyn Read| Sums::through(buffer, &mut step.counting(file));
        self.live_with(name, None, read)
    }

    /// `read` passes on the bytes of a file that is not the `known` one; it may be asked up to three times.
    pub fn live_with(
        &self,
        name: &[u8],
        known: Option<&KnownFile>,
        mut read: impl FnMut(&mut dyn Read) -> io::Result<Sums>,
    ) -> Result<Option<Live>> {
        if let Some(live) = known.and_then(|known| self.live_known(name, known)) {
            return Ok(Some(live));
        }
        for _ in 0..3 {
            let Some(seen) = self.look_either(name)? else { return Ok(None) };
            let live = match seen.file_type {
                FileType::Regular => self.live_file(name, &seen, &mut read)?,
                _ => self.live_other(name, &seen)?,
            };
            if live.is_some() {
                return Ok(live);
            }
        }
        Err(self.error("get a consistent view of", name, Errno::AGAIN))
    }

    /// Does not open the file: its status shows that its bytes and its name are those of the time when it became known,
    /// and its attributes those that were read just before. `None` if it is another one.
    fn live_known(&self, name: &[u8], known: &KnownFile) -> Option<Live> {
        let xattrs = self.xattrs(name).ok().filter(|_| !self.has_records())?;
        let seen = self.look(name).ok()??;
        let is_it = seen.file_type == FileType::Regular && known.is(&seen);
        is_it.then(|| live(regular(known.sums), &seen, xattrs))
    }

    /// Reads a regular file; `None` if it changes meanwhile.
    fn live_file(
        &self,
        name: &[u8],
        seen: &ObjectStatus,
        read: &mut dyn FnMut(&mut dyn Read) -> io::Result<Sums>,
    ) -> Result<Option<Live>> {
        let Some((mut file, _)) = optional(self.open_at_once(name))? else { return Ok(None) };
        // The open file is compared with `seen` only after it is read, so every read must be bounded.
        let sums = if seen.size.saturating_sub(seen.allocated) >= LARGE_HOLES {
            read(&mut WithoutHoles::of(&file, seen.size))
        } else {
            read(&mut (&mut file).take(seen.size))
        };
        let xattrs = xattrs(
            |names| rustix::fs::flistxattr(&file, names),
            |key, value| rustix::fs::fgetxattr(&file, key, value),
        )
        .map_err(|(action, errno)| self.error(action, name, errno))?;
        // Shows that nothing was appended meanwhile, either.
        let later = ObjectStatus::of_file(&file).map_err(|errno| self.error("look at", name, errno))?;
        if !seen.is_untouched(&self.with_shown_attributes(later)) {
            return Ok(None);
        }
        let sums = sums.map_err(|error| self.io_error("read", name, &error))?;
        Ok(Some(live(regular(sums), seen, xattrs)))
    }

    fn live_other(&self, name: &[u8], seen: &ObjectStatus) -> Result<Option<Live>> {
        let kind = self.kind(name, seen)?;
        let xattrs = self.xattrs(name)?;
        let is_steady = self.look_either(name)?.is_some_and(|later| seen.is_untouched(&later));
        Ok(is_steady.then(|| live(kind, seen, xattrs)))
    }

    fn kind(&self, name: &[u8], seen: &ObjectStatus) -> Result<LiveKind> {
        Ok(match seen.file_type {
            // It was of another type a moment ago.
            FileType::Regular => return Err(self.error("get a consistent view of", name, Errno::AGAIN)),
            FileType::Directory => LiveKind::Directory,
            FileType::Symlink => LiveKind::Symlink(self.read_link(name)?),
            FileType::Pipe => LiveKind::Pipe,
            FileType::Socket => LiveKind::Socket,
            FileType::Block | FileType::Character => LiveKind::Device {
                block: seen.file_type == FileType::Block,
                major: seen.device.0,
                minor: seen.device.1,
            },
        })
    }

    /// Of this directory for `.` or an empty name. Empty if the file system has none.
    pub fn xattrs(&self, name: &[u8]) -> Result<Xattrs> {
        if !matches!(name, b"" | b".") {
            self.must_be_single(name)?;
        }
        let path = self.magic_path(name);
        xattrs(
            |names| rustix::fs::llistxattr(path.as_slice(), names),
            |key, value| rustix::fs::lgetxattr(path.as_slice(), key, value),
        )
        .map_err(|(action, errno)| self.error(action, name, errno).through_proc())
    }

    /// Returns false if the file system has none.
    pub fn has_xattr(&self, name: &[u8], key: &[u8]) -> Result<bool> {
        let (path, mut nothing) = (self.magic_path(name), [0u8; 0]);
        match again(|| rustix::fs::lgetxattr(path.as_slice(), key, &mut nothing[..])) {
            Ok(_) => Ok(true),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
            Err(errno) => match self.error("read an extended attribute of", name, errno).through_proc() {
                error if error.is_not_found() => Ok(false),
                error => Err(error),
            },
        }
    }

    /// Goes through `/proc/self/fd`: calls on extended attributes of an object itself take only paths.
    pub(crate) fn magic_path(&self, name: &[u8]) -> Vec<u8> {
        use std::os::fd::AsRawFd as _;
        // For a hidden name, an earlier call has already reported that no object is there.
        let (directory, name) = self.place(name).unwrap_or((self.fd(), name));
        let mut path = format!("/proc/self/fd/{}/", directory.as_fd().as_raw_fd()).into_bytes();
        path.extend_from_slice(if name.is_empty() { b"." } else { name });
        path
    }

    /// Refuses anything else unopened: opening a device may have effects.
    pub fn open_regular(&self, name: &[u8]) -> Result<File> {
        match self.open_seen(name)? {
            Some((file, _)) => Ok(file),
            None => Err(self.error("open", name, Errno::NOENT)),
        }
    }

    /// Returns `None` if the name is missing. Refuses anything but a regular file, unopened.
    pub fn open_seen(&self, name: &[u8]) -> Result<Option<(File, ObjectStatus)>> {
        match self.look(name)? {
            Some(seen) if seen.file_type == FileType::Regular => optional(self.open_file(name)),
            Some(seen) if seen.file_type == FileType::Symlink => Err(self.error("open", name, Errno::LOOP)),
            Some(_) => Err(self.error("read", name, Errno::INVAL)),
            None => Ok(None),
        }
    }

    /// Opens without waiting; refuses anything but a regular file.
    pub fn open_file(&self, name: &[u8]) -> Result<(File, ObjectStatus)> {
        let (file, seen) = self.open_at_once(name)?;
        let seen = match seen {
            Some(seen) => seen,
            None => ObjectStatus::of_file(&file).map_err(|errno| self.error("look at", name, errno))?,
        };
        let seen = self.with_shown_attributes(seen);
        if seen.file_type != FileType::Regular {
            return Err(self.error("read", name, Errno::INVAL));
        }
        Ok((file, seen))
    }

    /// For a caller that reads most files with one call and does not look at them again.
    pub fn open_still(&self, name: &[u8]) -> Result<StillFile> {
        Ok(StillFile { file: self.open_at_once(name)?.0, is_begun: false, is_known: false })
    }

    fn open_at_once(&self, name: &[u8]) -> Result<(File, Option<ObjectStatus>)> {
        self.must_be_single(name)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let opened = self.place(name).and_then(|(directory, there)| {
            again(|| rustix::fs::openat(directory, there, flags, rustix::fs::Mode::empty()))
        });
        let fd = opened.map_err(|errno| self.error("open", name, errno))?;
        let seen = self.look_at_record(name, &fd)?;
        Ok((File::from(fd), seen))
    }

    pub fn read_error(&self, name: &[u8], error: &io::Error) -> RootError {
        self.io_error("read", name, error)
    }

    /// Reads a file of at most `limit` bytes; `None` if it is missing.
    pub fn read(&self, name: &[u8], limit: u64) -> Result<Option<Vec<u8>>> {
        match self.read_regular(name, limit)? {
            Some(bytes) => Ok(Some(bytes)),
            // An existing object that is not a file is an error with its reason.
            None => optional(self.open_regular(name)).map(|_| None),
        }
    }

    /// Reads like [`read`](Self::read), and also returns `None` for anything but a regular file.
    pub fn read_regular(&self, name: &[u8], limit: u64) -> Result<Option<Vec<u8>>> {
        if self.look(name)?.is_none_or(|seen| seen.file_type != FileType::Regular) {
            return Ok(None);
        }
        let Some((file, seen)) = optional(self.open_file(name))? else { return Ok(None) };
        let too_large = || RootError::TooLarge { path: self.show(name), limit };
        if seen.size > limit {
            return Err(too_large());
        }
        if seen.size >= LARGE && is_hollow(&file) {
            return Err(RootError::Hollow(self.show(name)));
        }
        // The size is a hint; a file that grows is read to its end.
        let capacity = usize::try_from(seen.size).unwrap_or_default().min(LARGEST_HINT);
        let mut bytes = Vec::with_capacity(capacity + SPARE);
        read_whole(&file, seen.size, limit, &mut bytes)
            .map_err(|error| self.io_error("read", name, &error))?;
        if bytes.len() as u64 > limit {
            return Err(too_large());
        }
        Ok(Some(bytes))
    }
}

impl Dir {
    /// Like [`read_regular`](Self::read_regular), within a budget.
    pub fn read_within(&self, name: &[u8], limit: u64, budget: &ReadBudget) -> Result<Option<Vec<u8>>> {
        budget.read(limit, |limit| self.read_regular(name, limit))
    }
}

/// Reads to the end, or to one byte more than `limit`. A first call that returns exactly `size` bytes with room to
/// spare shows the end.
fn read_whole(file: &File, size: u64, limit: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
    let room = bytes.capacity() as u64;
    if size < room && size <= limit {
        let count = again(|| rustix::io::read(file, spare_capacity(bytes)))? as u64;
        if count == size {
            return Ok(());
        }
    }
    let rest = (limit + 1).saturating_sub(bytes.len() as u64);
    file.take(rest).read_to_end(bytes).map(drop)
}

fn regular(Sums { size, cksum, b3 }: Sums) -> LiveKind {
    LiveKind::Regular { size, b3, cksum }
}

fn live(kind: LiveKind, seen: &ObjectStatus, xattrs: Xattrs) -> Live {
    Live {
        kind,
        mode: seen.mode,
        uid: seen.uid,
        gid: seen.gid,
        mtime: seen.mtime,
        ctime: seen.ctime,
        inode: seen.inode,
        links: seen.links,
        xattrs,
        obstacle: seen.obstacle,
    }
}

fn xattrs(
    list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    get: impl Fn(&[u8], &mut [u8]) -> rustix::io::Result<usize>,
) -> std::result::Result<Xattrs, (&'static str, Errno)> {
    let names = match filled(list) {
        Ok(names) => names,
        Err(Errno::OPNOTSUPP | Errno::ACCESS) => return Ok(Xattrs::new()),
        Err(errno) => return Err(("list the extended attributes of", errno)),
    };
    let mut found = Xattrs::new();
    for key in names.split(|&b| b == 0).filter(|key| !key.is_empty()) {
        match filled(|value| get(key, value)) {
            Ok(value) => found.insert(key.to_vec(), value),
            Err(Errno::NODATA | Errno::ACCESS | Errno::PERM | Errno::OPNOTSUPP) => None,
            Err(errno) => return Err(("read an extended attribute of", errno)),
        };
    }
    Ok(found)
}

/// Begins with a small buffer: most objects have no extended attributes.
fn filled(call: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut small = [0u8; 256];
    match again(|| call(&mut small)) {
        Ok(length) => return Ok(small.get(..length).unwrap_or_default().to_vec()),
        Err(Errno::RANGE) => {}
        Err(errno) => return Err(errno),
    }
    let mut large = vec![0u8; LONGEST_XATTR];
    let length = again(|| call(&mut large))?;
    large.truncate(length);
    Ok(large)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_became_a_device_meanwhile_is_not_read_without_end() {
        let devices = Dir::of_host(Path::new("/dev")).unwrap();
        let mut file = devices.open_still(b"zero").unwrap();
        let mut buffer = [1; 100];
        assert_eq!(file.read(&mut buffer).unwrap(), 100);
        let errno = file.read(&mut buffer).map_err(|error| Errno::from_io_error(&error));
        assert_eq!(errno.unwrap_err(), Some(Errno::INVAL));
    }

    #[test]
    fn files_read_within_a_budget_are_bounded_in_sum() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("one"), b"12345").unwrap();
        std::fs::hard_link(dir.path().join("one"), dir.path().join("two")).unwrap();
        let place = Dir::of_host(dir.path()).unwrap();
        let budget = ReadBudget::of(9);
        let read = |name: &[u8], limit| place.read_within(name, limit, &budget);
        assert!(matches!(read(b"one", 4), Err(RootError::TooLarge { limit: 4, .. })), "the file alone");
        assert_eq!(read(b"one", 100).unwrap().as_deref(), Some(&b"12345"[..]));
        assert!(matches!(read(b"two", 4), Err(RootError::TooLarge { .. })), "the file alone");
        let error = read(b"two", 100).unwrap_err();
        assert!(
            matches!(&error, RootError::SumTooLarge { path, limit: 9 } if path.ends_with("two")),
            "{error}"
        );
        assert_eq!(read(b"three", 100).unwrap(), None);
    }

    #[test]
    fn a_large_file_that_is_mostly_holes_is_refused_by_name_and_any_other_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let place = Dir::of_host(dir.path()).unwrap();
        let made = |size: u64, data: usize| {
            let file = File::create(dir.path().join("file")).unwrap();
            file.write_all_at(&vec![b'x'; data], 0).unwrap();
            file.set_len(size).unwrap();
            place.read_regular(b"file", 1 << 30)
        };
        let error = made(8 << 20, 1 << 20).unwrap_err();
        assert!(matches!(&error, RootError::Hollow(path) if path.ends_with("/file")), "{error}");
        for (size, data) in [(8 << 20, 7 << 20), (8 << 20, 8 << 20), (LARGE - 1, 1), (0, 0)] {
            assert_eq!(made(size, data).unwrap().unwrap().len() as u64, size, "{data}");
        }
        drop(made(8 << 20, 1));
        let mut file = File::open(dir.path().join("file")).unwrap();
        file.read_exact(&mut [0; 5]).unwrap();
        assert!(is_hollow(&file));
        assert_eq!(rustix::fs::tell(&file).unwrap(), 5);
    }

    #[test]
    fn a_file_with_holes_has_the_same_bytes_whether_they_are_read_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sparse");
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        let all = |file: &File, size: u64| {
            let mut bytes = Vec::new();
            WithoutHoles::of(file, size).read_to_end(&mut bytes).unwrap();
            bytes
        };
        assert!(all(&file, 0).is_empty());
        for at in [3_u64 << 20, (5 << 20) + 17] {
            file.write_all_at(b"data", at).unwrap();
            assert!(all(&file, at + 4) == std::fs::read(&path).unwrap(), "data at the end");
            file.set_len(at + (1 << 20)).unwrap();
            assert!(all(&file, at + (1 << 20)) == std::fs::read(&path).unwrap(), "a hole at the end");
        }
        assert_eq!(all(&file, 3 << 20).len(), 3 << 20, "no more than was announced");
    }

    #[test]
    fn the_bytes_of_a_known_file_are_read_when_anything_of_it_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), b"abc").unwrap();
        let place = Dir::of_host(dir.path()).unwrap();
        let seen = place.look(b"file").unwrap().unwrap();
        // The stated facts about the bytes are wrong: a result that repeats them shows that the bytes were not read.
        let sums = Sums { cksum: 1, ..Sums::of(&mut &b"xyz"[..]).unwrap() };
        let known = KnownFile { inode: seen.inode, mtime: seen.mtime, ctime: seen.ctime, sums };
        let digest = |known: &KnownFile| {
            let live = place.live_through(&mut [0; 9], b"file", Some(known)).unwrap().unwrap();
            let LiveKind::Regular { b3, .. } = live.kind else { panic!("a regular file") };
            b3
        };
        assert_eq!(digest(&known), sums.b3);
        let read = crate::Digest::of(b"abc");
        let other = crate::Inode { number: seen.inode.number + 1, ..seen.inode };
        let later = crate::Timestamp { nanoseconds: seen.ctime.nanoseconds ^ 1, ..seen.ctime };
        assert_eq!(digest(&KnownFile { inode: other, ..known }), read);
        assert_eq!(digest(&KnownFile { ctime: later, ..known }), read);
        assert_eq!(digest(&KnownFile { mtime: later, ..known }), read);
        assert_eq!(digest(&KnownFile { sums: Sums { size: 4, ..sums }, ..known }), read);
    }

    #[test]
    fn a_file_that_still_is_one_is_read_to_its_end_and_a_pipe_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), [b'x'; 1000]).unwrap();
        let place = Dir::of_host(dir.path()).unwrap();
        let mut bytes = Vec::new();
        place.open_still(b"file").unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, [b'x'; 1000]);
        let mode = rustix::fs::Mode::RUSR;
        rustix::fs::mknodat(place.fd(), "pipe", rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert_eq!(place.open_still(b"pipe").unwrap().read(&mut [0; 100]).unwrap(), 0);
        std::os::unix::fs::symlink("file", dir.path().join("link")).unwrap();
        assert_eq!(place.open_still(b"link").unwrap_err().errno(), Some(Errno::LOOP));
        std::os::unix::fs::symlink(".", dir.path().join("here")).unwrap();
        let open = |path: &[u8]| place.root().open_still(&ObjectPath::new(path).unwrap());
        let mut read = Vec::new();
        open(b"/file").unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, bytes);
        for path in [&b"/link"[..], b"/here/file"] {
            assert_eq!(open(path).unwrap_err().errno(), Some(Errno::LOOP));
        }
    }
}
