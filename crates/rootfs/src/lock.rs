//! Locks of a root (one writer at a time), and of other programs over files of a root, such as the frontend lock of
//! dpkg.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::places;
use rustix::fs::{FlockOperation, Mode as Bits, OFlags, flock};
use rustix::io::Errno;

use crate::{Dir, FileType, Root, RootError, again, optional};

/// Shared with the classic tools.
const NAME: &[u8] = b".lockfile";

const RECORD: usize = 128;

const LONGEST_PROGRAM: usize = 32;

/// The attempts to lock a directory, and the pause between them, before its lock counts as held.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(5);

/// The lock of a root, held until it is dropped or the process ends.
///
/// An open-file-description lock (fcntl(2), `F_OFD_SETLK`) over the whole file conflicts with the fcntl locks of the
/// classic tools, unlike flock(2), and survives closing the file elsewhere in this process. The lock also covers the
/// directory of the stages (flock(2)), so replacing the lock file does not admit a second writer. Only its owner may
/// open that directory, and the lock file is private: no other user can block writers. Before the first run, and where
/// directories cannot be locked (NFS), the file alone counts.
#[derive(Debug)]
pub struct Lock {
    file: File,
    stages: Option<Dir>,
}

/// The holder according to the record in the file, or to the system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockHolder {
    process: Option<u32>,
    /// Only of a known process.
    program: Option<String>,
    /// The moment at which the record of the process was written, in seconds since 1970.
    since: Option<i64>,
    is_of_stranger: bool,
    /// The run whose probe decides; it holds no lock.
    probed: Option<String>,
}

impl LockHolder {
    /// Returns the probe of a run, for which other commands wait as for a lock.
    pub fn of_probe(run: &str) -> Self {
        Self { probed: Some(run.to_owned()), ..Self::default() }
    }

    pub(super) fn of_process(process: u32) -> Self {
        let name = std::fs::read(format!("/proc/{process}/comm")).unwrap_or_default();
        Self { process: Some(process), program: program_name(&name), ..Self::default() }
    }

    /// Returns the number of the process, if it is known.
    pub fn process(&self) -> Option<u32> {
        self.process
    }

    /// Returns the name of the program, if it is known, at most 32 letters; for `patchadm` with its verb.
    pub fn program(&self) -> Option<&str> {
        self.program.as_deref()
    }

    /// Returns the moment at which it took the lock, in seconds since 1970, if it is known.
    pub fn since(&self) -> Option<i64> {
        self.since
    }

    /// Returns true if the record is of a user other than the caller and the superuser, who may write anything.
    pub fn is_of_stranger(&self) -> bool {
        self.is_of_stranger
    }

    /// Describes the holder: `process 1234 (patchadd)`, `process 1234`, or `another process`.
    pub fn describe(&self) -> String {
        if let Some(run) = &self.probed {
            return format!("the probe of run {run}");
        }
        match (self.process, &self.program) {
            (Some(pid), Some(program)) => format!("process {pid} ({program})"),
            (Some(pid), None) => format!("process {pid}"),
            _ => "another process".to_owned(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("{path} is locked by {}", .holder.describe())]
    Held { path: String, holder: LockHolder },
    #[error(transparent)]
    Root(#[from] RootError),
}

impl Drop for Lock {
    /// Unlocks explicitly: a process being started may share the open file for a moment longer.
    fn drop(&mut self) {
        // Errors do not matter: the end of the last process with the file releases it. The directory comes first: the
        // next holder of the file must not find it locked.
        if let Some(stages) = &self.stages {
            let _ = flock(stages.fd(), FlockOperation::Unlock);
        }
        let _ = set(&self.file, libc::F_UNLCK);
    }
}

impl Lock {
    /// Takes the lock of `root`, whose `var/sadm/install` must exist. While another process holds it, `wait` is called
    /// with the holder; it waits and decides whether to try again.
    pub fn take(
        root: &Root,
        program: &str,
        mut wait: impl FnMut(&LockHolder) -> bool,
    ) -> Result<Self, LockError> {
        let mut attempts = 0;
        loop {
            let dir = root.dir(&root.resolver().locate_dir(&places::install())?)?;
            let mut lock = Self::take_file(&dir, NAME, program, &mut wait)?;
            let Some(stages) = private_stages(root)? else { return Ok(lock) };
            if lock_directory(&stages)? {
                lock.stages = Some(stages);
                return Ok(lock);
            }
            // The end of a process releases its locks one after another.
            attempts += 1;
            if attempts < ATTEMPTS {
                std::thread::sleep(PAUSE);
            } else if !wait(&LockHolder::default()) {
                return Err(LockError::Held { path: dir.show(NAME), holder: LockHolder::default() });
            }
        }
    }

    /// Takes the lock file `name` of a directory in the same way. It is made if missing, and stays.
    pub fn take_file(
        dir: &Dir,
        name: &[u8],
        program: &str,
        mut wait: impl FnMut(&LockHolder) -> bool,
    ) -> Result<Self, LockError> {
        loop {
            let file = open(dir, name)?;
            match set(&file, libc::F_WRLCK) {
                Ok(()) if is_current(dir, name, &file)? => {
                    let lock = Self { file, stages: None };
                    lock.write_holder(program);
                    return Ok(lock);
                }
                // The file was replaced between open and lock: the lock is on a file that is no longer there.
                Ok(()) => {}
                Err(Errno::AGAIN | Errno::ACCESS) => {
                    let holder = holder(&file);
                    if !wait(&holder) {
                        let path = dir.show(name);
                        return Err(LockError::Held { path, holder });
                    }
                }
                Err(errno) => return Err(dir.error("lock", name, errno).into()),
            }
        }
    }

    /// Shares the lock file `name` with other processes, so that none takes it alone. It is made if missing, and stays.
    pub fn share_file(dir: &Dir, name: &[u8]) -> Result<Self, LockError> {
        loop {
            let file = open(dir, name)?;
            match set(&file, libc::F_RDLCK) {
                Ok(()) if is_current(dir, name, &file)? => return Ok(Self { file, stages: None }),
                // The file was replaced between open and lock, as above.
                Ok(()) => {}
                Err(Errno::AGAIN | Errno::ACCESS) => {
                    return Err(LockError::Held { path: dir.show(name), holder: holder(&file) });
                }
                Err(errno) => return Err(dir.error("lock", name, errno).into()),
            }
        }
    }

    /// Does not take the lock even briefly.
    pub fn is_held(root: &Root) -> Result<bool, RootError> {
        let Some(dir) = root.dir_if_there(&root.resolver().locate_dir(&places::install())?)? else {
            return Ok(false);
        };
        Self::is_file_held(&dir, NAME)
    }

    /// Does not take the lock even briefly.
    pub fn holder(root: &Root) -> Result<Option<LockHolder>, RootError> {
        let Some(dir) = root.dir_if_there(&root.resolver().locate_dir(&places::install())?)? else {
            return Ok(None);
        };
        let file = match dir.open_regular(NAME) {
            Err(error) if error.is_not_found() => return Ok(None),
            opened => opened?,
        };
        let is_held = held_by_others(&file).map_err(|errno| dir.error("ask for the lock of", NAME, errno))?;
        Ok(is_held.then(|| holder(&file)))
    }

    /// Returns true if another process holds the lock file `name` of a directory, alone or with others.
    pub fn is_file_held(dir: &Dir, name: &[u8]) -> Result<bool, RootError> {
        match dir.open_regular(name) {
            Ok(file) => held_by_others(&file).map_err(|errno| dir.error("ask for the lock of", name, errno)),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// For messages only. A file with several names may belong to someone else and is not written.
    fn write_holder(&self, program: &str) {
        use std::os::unix::fs::FileExt;
        if rustix::fs::fstat(&self.file).map_or(true, |seen| seen.st_nlink > 1) {
            return;
        }
        let mut record = format!("{} {program} - change 0\n", std::process::id()).into_bytes();
        record.resize(RECORD, 0);
        // The record is a courtesy to a reader; the lock is held whether or not it can be written.
        let _ = self.file.write_all_at(&record, 0);
    }
}

/// Refuses anything but a regular file, unopened.
fn open(dir: &Dir, name: &[u8]) -> Result<File, RootError> {
    let wrong = || dir.error("lock", name, Errno::INVAL);
    if dir.look(name)?.is_some_and(|seen| seen.file_type != FileType::Regular) {
        return Err(wrong());
    }
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd: OwnedFd = again(|| rustix::fs::openat(dir.fd(), name, flags, Bits::RUSR | Bits::WUSR))
        .map_err(|errno| dir.error("open", name, errno))?;
    dir.look_at_record(name, &fd)?;
    let seen = rustix::fs::fstat(&fd).map_err(|errno| dir.error("look at", name, errno))?;
    match rustix::fs::FileType::from_raw_mode(seen.st_mode) {
        rustix::fs::FileType::RegularFile => Ok(File::from(fd)),
        _ => Err(wrong()),
    }
}

pub(super) fn set(file: &File, kind: libc::c_int) -> Result<(), Errno> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(kind)?)).map(drop).map_err(errno_of)
}

fn held_by_others(file: &File) -> Result<bool, Errno> {
    let mut lock = whole_file(libc::F_WRLCK)?;
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock)).map_err(errno_of)?;
    Ok(libc::c_int::from(lock.l_type) != libc::F_UNLCK)
}

fn errno_of(errno: nix::errno::Errno) -> Errno {
    Errno::from_raw_os_error(errno as i32)
}

fn whole_file(kind: libc::c_int) -> Result<libc::flock, Errno> {
    let l_type = libc::c_short::try_from(kind).map_err(|_| Errno::INVAL)?;
    Ok(libc::flock { l_type, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 })
}

/// Opens the directory of the stages if it exists and only its owner may open it.
fn private_stages(root: &Root) -> Result<Option<Dir>, RootError> {
    let Some(dir) = root.dir_if_there(&root.resolver().locate_dir(&places::stages())?)? else {
        return Ok(None);
    };
    let is_private = dir.itself()?.mode.bits() & 0o044 == 0;
    Ok(is_private.then_some(dir))
}

/// Returns false if another process holds it, and true if directories cannot be locked.
fn lock_directory(dir: &Dir) -> Result<bool, RootError> {
    match again(|| flock(dir.fd(), FlockOperation::NonBlockingLockExclusive)) {
        Err(Errno::WOULDBLOCK) => Ok(false),
        Ok(()) | Err(Errno::BADF | Errno::NOLCK | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => Ok(true),
        Err(errno) => Err(dir.error("lock", b"", errno)),
    }
}

fn is_current(dir: &Dir, name: &[u8], file: &File) -> Result<bool, RootError> {
    let held = rustix::fs::fstat(file).map_err(|errno| dir.error("look at", name, errno))?;
    Ok(dir.look(name)?.is_some_and(|seen| seen.inode.number == held.st_ino))
}

fn holder(file: &File) -> LockHolder {
    use std::os::unix::fs::FileExt;
    let mut record = [0; RECORD];
    let length = file.read_at(&mut record, 0).unwrap_or(0);
    let is_blank = |byte: &u8| *byte == 0 || byte.is_ascii_whitespace();
    let mut words = record[..length].split(is_blank).filter(|word| !word.is_empty());
    let process: Option<u32> = words.next().and_then(|word| std::str::from_utf8(word).ok()?.parse().ok());
    let mut program = words.next().filter(|_| process.is_some()).and_then(program_name);
    if let Some(name) = program.as_mut().filter(|name| *name == "patchadm")
        && let Some(verb) = words.next().and_then(program_name)
    {
        *name = format!("{name} {verb}");
    }
    let seen = rustix::fs::fstat(file).ok();
    let own = [0, rustix::process::geteuid().as_raw()];
    let is_of_stranger = seen.as_ref().is_none_or(|seen| !own.contains(&seen.st_uid));
    let since = seen.filter(|_| process.is_some()).map(|seen| seen.st_mtime);
    LockHolder { process, program, since, is_of_stranger, probed: None }
}

/// A process chooses its name itself, and whoever may write the lock file chooses its words.
fn program_name(word: &[u8]) -> Option<String> {
    let letters = word.iter().filter(|letter| letter.is_ascii_graphic());
    let name: String = letters.take(LONGEST_PROGRAM).copied().map(char::from).collect();
    (!name.is_empty()).then_some(name)
}

/// The lock file of another program, locked for writing until the value is dropped. An open-file-description lock over
/// the whole file conflicts with such programs' fcntl locks. The file is neither made nor written.
#[derive(Debug)]
pub struct ForeignLock {
    file: File,
}

impl Drop for ForeignLock {
    /// Unlocks explicitly: a process being started may share the open file for a moment longer.
    fn drop(&mut self) {
        let _ = set(&self.file, libc::F_UNLCK);
    }
}

impl ForeignLock {
    pub fn is_there(root: &Root, path: &ObjectPath) -> Result<bool, RootError> {
        let Some(directory) = directory_of(root, path)? else { return Ok(false) };
        Ok(directory.look(path.name())?.is_some())
    }

    /// Locks without waiting. `None` if the file is missing, not writable, or locked for the caller
    /// ([`Root::with_held_locks`]). Refuses anything but a regular file, unopened.
    pub fn take(root: &Root, path: &ObjectPath) -> Result<Option<Self>, LockError> {
        if root.is_lock_held(path) {
            return Ok(None);
        }
        let Some(directory) = directory_of(root, path)? else { return Ok(None) };
        let name = path.name();
        loop {
            let Some(file) = open_foreign(&directory, name)? else { return Ok(None) };
            match set(&file, libc::F_WRLCK) {
                Ok(()) if is_current(&directory, name, &file)? => return Ok(Some(Self { file })),
                // The file was replaced between open and lock: the lock is on a file that is no longer there.
                Ok(()) => {}
                Err(Errno::AGAIN | Errno::ACCESS) => {
                    return Err(LockError::Held {
                        path: directory.show(name),
                        holder: holder_by_system(&file),
                    });
                }
                Err(errno) => return Err(directory.error("lock", name, errno).into()),
            }
        }
    }
}

fn directory_of(root: &Root, path: &ObjectPath) -> Result<Option<Dir>, RootError> {
    let Some(above) = path.parent() else { return Ok(None) };
    root.dir_if_there(&root.resolver().locate_dir(&above)?)
}

/// Returns `None` if it is missing or not writable for the caller.
fn open_foreign(directory: &Dir, name: &[u8]) -> Result<Option<File>, RootError> {
    let wrong = || directory.error("lock", name, Errno::INVAL);
    match directory.look(name)? {
        None => return Ok(None),
        Some(seen) if seen.file_type != FileType::Regular => return Err(wrong()),
        Some(_) => {}
    }
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd: OwnedFd = match again(|| rustix::fs::openat(directory.fd(), name, flags, Bits::empty())) {
        Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => return Ok(None),
        opened => match optional(opened.map_err(|errno| directory.error("open", name, errno)))? {
            Some(fd) => fd,
            None => return Ok(None),
        },
    };
    let seen = rustix::fs::fstat(&fd).map_err(|errno| directory.error("look at", name, errno))?;
    match rustix::fs::FileType::from_raw_mode(seen.st_mode) {
        rustix::fs::FileType::RegularFile => Ok(Some(File::from(fd))),
        _ => Err(wrong()),
    }
}

fn holder_by_system(file: &File) -> LockHolder {
    let Ok(mut lock) = whole_file(libc::F_WRLCK) else { return LockHolder::default() };
    let queried = fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock)).map_err(errno_of);
    let is_held = queried.is_ok() && libc::c_int::from(lock.l_type) != libc::F_UNLCK;
    // A holder in another PID namespace, or of an open-file-description lock, has no number.
    match u32::try_from(lock.l_pid) {
        Ok(process) if is_held && process > 0 => LockHolder::of_process(process),
        _ => LockHolder::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_svr4::package::ObjectPath;

    #[test]
    fn a_second_writer_is_told_who_has_the_lock_and_gets_it_when_it_is_free() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("var/sadm/install")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let first = Lock::take(&root, "patchadd", |_| false).unwrap();
        assert!(Lock::is_held(&root).unwrap());
        let held_by = Lock::holder(&root).unwrap().unwrap();
        assert_eq!(held_by.describe(), format!("process {} (patchadd)", std::process::id()));
        let Err(LockError::Held { holder, .. }) = Lock::take(&root, "pkgadd", |_| false) else {
            panic!("two writers at once");
        };
        assert_eq!(holder.describe(), format!("process {} (patchadd)", std::process::id()));
        let mut first = Some(first);
        let second = Lock::take(&root, "pkgadd", |_| first.take().is_some());
        assert!(second.is_ok());
        drop(second);
        let _verb = Lock::take(&root, "patchadm add", |_| false).unwrap();
        let holder = Lock::holder(&root).unwrap().unwrap();
        assert_eq!(holder.describe(), format!("process {} (patchadm add)", std::process::id()));
    }

    #[test]
    fn a_lock_file_with_any_words_names_a_program_in_a_short_plain_word() {
        let dir = tempfile::tempdir().unwrap();
        let install = dir.path().join("var/sadm/install");
        std::fs::create_dir_all(&install).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let _lock = Lock::take(&root, "patchadd", |_| false).unwrap();
        let process = std::process::id();
        let long = "x".repeat(100);
        for (record, described) in [
            (
                format!("{process} \u{1b}[2Jpatch\u{202e}add\u{9b} - change 0\n"),
                format!("process {process} ([2Jpatchadd)"),
            ),
            (format!("{process} {long}\n"), format!("process {process} ({})", &long[..LONGEST_PROGRAM])),
            (format!("{process} \u{202e}\n"), format!("process {process}")),
            (format!("{process}\0\0\0"), format!("process {process}")),
            ("everybody \u{1b}[2J".to_owned(), "another process".to_owned()),
            (String::new(), "another process".to_owned()),
        ] {
            std::fs::write(install.join(".lockfile"), &record).unwrap();
            assert_eq!(Lock::holder(&root).unwrap().unwrap().describe(), described, "{record:?}");
        }
    }

    #[test]
    fn a_record_of_another_user_is_of_a_stranger() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let install = dir.path().join("var/sadm/install");
        std::fs::create_dir_all(&install).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let _lock = Lock::take(&root, "patchadd", |_| false).unwrap();
        assert!(!Lock::holder(&root).unwrap().unwrap().is_of_stranger());
        std::os::unix::fs::chown(install.join(".lockfile"), Some(1004), None).unwrap();
        assert!(Lock::holder(&root).unwrap().unwrap().is_of_stranger());
    }

    #[test]
    fn those_who_share_a_lock_keep_out_who_wants_it_alone() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Dir::of_host(dir.path()).unwrap();
        let (first, second) =
            (Lock::share_file(&dir, b"inside").unwrap(), Lock::share_file(&dir, b"inside").unwrap());
        drop(first);
        assert!(matches!(Lock::take_file(&dir, b"inside", "drop", |_| false), Err(LockError::Held { .. })));
        drop(second);
        let alone = Lock::take_file(&dir, b"inside", "drop", |_| false).unwrap();
        let Err(LockError::Held { holder, .. }) = Lock::share_file(&dir, b"inside") else { panic!("shared") };
        assert_eq!(holder.describe(), format!("process {} (drop)", std::process::id()));
        drop(alone);
    }

    #[test]
    fn a_lock_file_of_somebody_is_not_written_to_and_a_pipe_is_no_lock_file() {
        let dir = tempfile::tempdir().unwrap();
        let install = dir.path().join("var/sadm/install");
        std::fs::create_dir_all(&install).unwrap();
        std::fs::write(dir.path().join("theirs"), "theirs\n").unwrap();
        std::fs::hard_link(dir.path().join("theirs"), install.join(".lockfile")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        drop(Lock::take(&root, "patchadd", |_| false).unwrap());
        assert_eq!(std::fs::read_to_string(dir.path().join("theirs")).unwrap(), "theirs\n");
        std::fs::remove_file(install.join(".lockfile")).unwrap();
        let directory = root.dir(&ObjectPath::new(b"/var/sadm/install").unwrap()).unwrap();
        directory.make_node(NAME, FileType::Pipe, (0, 0)).unwrap();
        assert!(matches!(Lock::take(&root, "patchadd", |_| false), Err(LockError::Root(_))));
        assert!(Lock::is_held(&root).is_err());
    }

    fn stages(root: &std::path::Path, mode: u32) -> std::path::PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let stages = root.join("var/sadm/patchadm/stage");
        std::fs::create_dir_all(&stages).unwrap();
        std::fs::set_permissions(&stages, std::fs::Permissions::from_mode(mode)).unwrap();
        stages
    }

    #[test]
    fn a_directory_that_others_can_open_and_lock_holds_no_writer_up() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("var/sadm/install")).unwrap();
        let theirs = File::open(stages(dir.path(), 0o755)).unwrap();
        flock(&theirs, FlockOperation::LockExclusive).unwrap();
        assert!(Lock::take(&Root::open(dir.path()).unwrap(), "a", |_| false).is_ok());
    }

    #[test]
    fn who_removes_or_replaces_the_lock_file_lets_no_second_writer_in() {
        let dir = tempfile::tempdir().unwrap();
        let install = dir.path().join("var/sadm/install");
        std::fs::create_dir_all(&install).unwrap();
        stages(dir.path(), 0o711);
        let root = Root::open(dir.path()).unwrap();
        let first = Lock::take(&root, "a", |_| false).unwrap();
        std::fs::remove_file(install.join(".lockfile")).unwrap();
        let Err(LockError::Held { holder, .. }) = Lock::take(&root, "b", |_| false) else {
            panic!("two writers at once");
        };
        assert_eq!(holder.describe(), "another process");
        std::fs::write(install.join("other"), "").unwrap();
        std::fs::rename(install.join("other"), install.join(".lockfile")).unwrap();
        let mut first = Some(first);
        let mut queried = 0;
        let second = Lock::take(&root, "c", |_| {
            queried += 1;
            first.take().is_some()
        });
        assert!(second.is_ok() && queried == 1);
        assert!(Lock::is_held(&root).unwrap());
    }
}

#[cfg(test)]
mod foreign_lock_tests {
    use super::*;

    fn stage() -> (tempfile::TempDir, Root, ObjectPath) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("var/lib/other")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, root, ObjectPath::new(b"/var/lib/other/lock").unwrap())
    }

    #[test]
    fn a_lock_file_that_is_not_there_is_not_made_and_one_that_is_held_for_the_caller_not_locked() {
        let (dir, root, path) = stage();
        let file = dir.path().join("var/lib/other/lock");
        assert!(ForeignLock::take(&root, &path).unwrap().is_none());
        assert!(!ForeignLock::is_there(&root, &path).unwrap() && !file.exists());
        std::fs::write(&file, "theirs\n").unwrap();
        let first = ForeignLock::take(&root, &path).unwrap();
        assert!(first.is_some() && ForeignLock::is_there(&root, &path).unwrap());
        let Err(LockError::Held { path: told, holder }) = ForeignLock::take(&root, &path) else {
            panic!("two at once");
        };
        assert_eq!((told, holder.describe().as_str()), (root.show(&path), "another process"));
        let called = root.clone().with_held_locks(vec![path.clone()]);
        assert!(ForeignLock::take(&called, &path).unwrap().is_none());
        drop(first);
        assert!(ForeignLock::take(&root, &path).unwrap().is_some());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "theirs\n");
    }

    #[test]
    fn a_link_a_pipe_and_a_directory_are_no_lock_files() {
        let (dir, root, path) = stage();
        let file = dir.path().join("var/lib/other/lock");
        std::fs::write(dir.path().join("secret"), "").unwrap();
        std::os::unix::fs::symlink("/secret", &file).unwrap();
        assert!(matches!(ForeignLock::take(&root, &path), Err(LockError::Root(_))));
        std::fs::remove_file(&file).unwrap();
        let directory = root.dir(&path.parent().unwrap()).unwrap();
        directory.make_node(b"lock", FileType::Pipe, (0, 0)).unwrap();
        assert!(matches!(ForeignLock::take(&root, &path), Err(LockError::Root(_))));
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert!(matches!(ForeignLock::take(&root, &path), Err(LockError::Root(_))));
    }
}
