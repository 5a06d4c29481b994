//! A private copy of a database of rpm, for a process without rights.
//!
//! rpm expands macros in the path of a database, follows links in it, and makes files beside it. Of a database that
//! anybody but the superuser may have made, it gets a copy of the regular files, below a name that it does not
//! interpret.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use patchadm_rootfs::{
    Dir, FileType, Inode, ObjectStatus, Root, RootError, Timestamp, UnnamedDirectory, WritableFile, random,
    strange_along,
};
use patchadm_svr4::package::{Mode, ObjectPath};

use crate::native::package::{NativeError, NativeManager};

/// Each form of database has one of them.
const MAIN_FILES: [&str; 3] = ["rpmdb.sqlite", "Packages.db", "Packages"];

/// The other files of a database, without those that exist only while it is open.
const OTHER_FILES: [&str; 23] = [
    "rpmdb.sqlite-wal",
    "Index.db",
    "Basenames",
    "Conflictname",
    "Dirnames",
    "Enhancename",
    "Filetriggername",
    "Group",
    "Installtid",
    "Name",
    "Obsoletename",
    "Providename",
    "Provideversion",
    "Pubkeys",
    "Recommendname",
    "Requirename",
    "Requireversion",
    "Sha1header",
    "Sigmd5",
    "Suggestname",
    "Supplementname",
    "Transfiletriggername",
    "Triggername",
];

/// All files together, in bytes.
const LARGEST: u64 = 1 << 30;

/// Copies before a database counts as one that never rests.
const TRIES: usize = 5;

/// Directories for temporary files that may be large.
const PLACES: [&str; 2] = ["/var/tmp", "/tmp"];

const PROGRAM: &str = "patchadm-rpm";
const DATABASE: &str = "db";

/// The user of NFS and of user namespaces, who owns nothing.
const NOBODY: u32 = 65_534;

/// Above numbers of accounts, containers and user namespaces, below the sign bit.
const OWN_GROUPS: std::ops::Range<u32> = 0x7000_0000..0x7fff_fff0;

/// Returns true if rpm takes each byte of a path as it is.
pub(super) fn is_plain(path: &Path) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(byte);
    path.as_os_str().as_bytes().iter().all(is_plain)
}

/// Returns true for a directory without a database: locks are hidden files.
pub(super) fn is_empty(dir: &Dir) -> Result<bool, RootError> {
    for name in dir.names_that_are(|name| !name.starts_with(b"."))? {
        if dir.look(&name)?.is_some_and(|seen| seen.file_type != FileType::Directory) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns the path of the database of the running system if nobody but the superuser and the caller could have made or
/// changed anything there.
pub(super) fn of_system(
    root: &Root,
    place: &ObjectPath,
    physical: &ObjectPath,
) -> Result<Option<PathBuf>, RootError> {
    if root.is_showing() || !root.is_system_itself()? || root.strange_on_the_way(place)?.is_some() {
        return Ok(None);
    }
    let path = Path::new("/").join(std::ffi::OsStr::from_bytes(physical.relative()));
    let dir = root.dir(physical)?;
    let caller = rustix::process::geteuid().as_raw();
    let mut has_database = false;
    for name in MAIN_FILES.into_iter().chain(OTHER_FILES).chain(["rpmdb.sqlite-shm"]) {
        let Some(seen) = dir.look(name.as_bytes())? else { continue };
        let is_own = seen.file_type == FileType::Regular && [0, caller].contains(&seen.uid);
        if !is_own || dir.may_others_write(name.as_bytes(), &seen, seen.gid == 0) {
            return Ok(None);
        }
        has_database |= MAIN_FILES.contains(&name);
    }
    // rpm makes a database where there is none.
    Ok(Some(path).filter(|path| has_database && is_plain(path)))
}

/// Removed with the value. A later copy removes that of a killed process.
#[derive(Debug)]
pub(super) struct DatabaseCopy {
    path: PathBuf,
    /// The user and group for the process of rpm; `None` for a caller without rights to give up.
    user: Option<(u32, u32)>,
    _made: UnnamedDirectory,
}

impl DatabaseCopy {
    pub(super) fn of(root: &Root, physical: &ObjectPath) -> Result<Self, NativeError> {
        let from = root.dir(physical)?;
        let above = place()?;
        // Leftovers of another process do not matter here.
        let _ = above.remove_leftovers(PROGRAM);
        let mut made = UnnamedDirectory::begin(&above, PROGRAM, DATABASE.as_bytes())?;
        let top = made.tree.directory(b"")?;
        let into = top.make_dir(DATABASE.as_bytes(), Mode::of(0o700))?;
        let user = if root.is_privileged() { stranger(&into)? } else { None };
        copy(&from, &into, user)?;
        if user.is_some() {
            into.set_own_mode(Mode::of(0o770))?;
            top.set_own_mode(Mode::of(0o711))?;
        }
        let path = made.private_path().join(DATABASE);
        Ok(Self { path, user, _made: made })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn user(&self) -> Option<(u32, u32)> {
        self.user
    }
}

/// Returns the directory for the copy: nobody else may replace what is made there.
fn place() -> Result<Dir, NativeError> {
    let usable = |path: &str| {
        let path = Path::new(path);
        let dir = Dir::of_host(path).ok().filter(Dir::is_writable)?;
        strange_along(path).ok()?.is_none().then_some(dir)
    };
    PLACES.into_iter().find_map(usable).ok_or_else(|| {
        records("rpm needs a copy of its database, but neither /var/tmp nor /tmp can hold it".to_owned())
    })
}

/// Returns a user in a group of its own, which may use the directory: no other process of this user can see or trace
/// the process, or enter the directory. In a small user namespace the group may be missing, or every other user.
fn stranger(into: &Dir) -> Result<Option<(u32, u32)>, NativeError> {
    let span = u64::from(OWN_GROUPS.end - OWN_GROUPS.start);
    let own = OWN_GROUPS.start + u32::try_from(random()? % span).unwrap_or_default();
    for group in [own, NOBODY] {
        // The kernel refuses numbers that do not exist here.
        if into.set_own_owner(Some(NOBODY), Some(group)).is_ok() {
            into.set_own_owner(Some(0), Some(group))?;
            return Ok(Some((NOBODY, group)));
        }
    }
    Ok(None)
}

/// Copies the files until none of them changed meanwhile.
fn copy(from: &Dir, into: &Dir, user: Option<(u32, u32)>) -> Result<(), NativeError> {
    for _ in 0..TRIES {
        let mut copied = Vec::new();
        let mut left = LARGEST;
        for name in MAIN_FILES.into_iter().chain(OTHER_FILES) {
            into.remove(name.as_bytes())?;
            let opened = from.open_seen(name.as_bytes())?;
            if let Some((file, _)) = &opened {
                let target = into.create(name.as_bytes())?;
                left -= copy_file(file, &target, left, |error| from.read_error(name.as_bytes(), error))?;
                if let Some((_, group)) = user {
                    target.set_owner(0, group)?;
                    target.set_mode(Mode::of(0o660))?;
                }
            }
            copied.push((name, opened.map(|(_, seen)| version(&seen))));
        }
        if !copied.iter().any(|(name, found)| found.is_some() && MAIN_FILES.contains(name)) {
            return Err(records("the database of rpm has an unknown format".to_owned()));
        }
        let is_same = |(name, before): &(&str, Option<Version>)| {
            from.look(name.as_bytes()).map(|now| now.map(|seen| version(&seen)) == *before)
        };
        if copied.iter().map(is_same).collect::<Result<Vec<bool>, _>>()?.into_iter().all(|is_same| is_same) {
            return Ok(());
        }
    }
    Err(records("rpm is changing its database".to_owned()))
}

type Version = (Inode, u64, Timestamp, Timestamp);

fn version(seen: &ObjectStatus) -> Version {
    (seen.inode, seen.size, seen.mtime, seen.ctime)
}

/// Copies at most `left` bytes, and leaves out blocks of zeros. Returns the count.
fn copy_file(
    mut file: &File,
    target: &WritableFile,
    left: u64,
    failed: impl Fn(&std::io::Error) -> RootError,
) -> Result<u64, NativeError> {
    let (mut piece, mut at) = (vec![0; 1 << 17], 0_u64);
    loop {
        let count = match file.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(&error).into()),
        };
        let bytes = piece.get(..count).unwrap_or_default();
        if at + count as u64 > left {
            return Err(records("the database of rpm is larger than 1 GiB".to_owned()));
        }
        if bytes.iter().any(|&byte| byte != 0) {
            target.put_at(bytes, at)?;
        }
        at += count as u64;
    }
    // The last bytes may be zeros.
    if at > 0 && target.size()? < at {
        target.put_at(&[0], at - 1)?;
    }
    Ok(at)
}

fn records(reason: String) -> NativeError {
    NativeError::Records { manager: NativeManager::Rpm, reason }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn database(at: &Path) -> (Root, ObjectPath) {
        (Root::open(at).unwrap(), ObjectPath::new(b"/rpm").unwrap())
    }

    #[test]
    fn the_files_of_a_database_are_copied_and_go_with_the_copy() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("rpm")).unwrap();
        let bytes = [vec![1; 10], vec![0; 300_000]].concat();
        fs::write(dir.path().join("rpm/rpmdb.sqlite"), &bytes).unwrap();
        fs::write(dir.path().join("rpm/other"), "").unwrap();
        let (root, place) = database(dir.path());
        let copy = DatabaseCopy::of(&root, &place).unwrap();
        let path = copy.path().to_owned();
        assert!(is_plain(&path), "{}", path.display());
        assert_eq!(fs::read(path.join("rpmdb.sqlite")).unwrap(), bytes);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o007, 0);
        assert_eq!(copy.user().is_some(), root.is_privileged());
        drop(copy);
        assert!(!path.parent().unwrap().exists());
    }

    #[test]
    fn a_directory_with_locks_has_no_database_and_an_unknown_form_is_not_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("rpm/lua")).unwrap();
        fs::write(dir.path().join("rpm/.rpm.lock"), "").unwrap();
        let (root, place) = database(dir.path());
        assert!(is_empty(&root.dir(&place).unwrap()).unwrap());
        fs::write(dir.path().join("rpm/packages.new"), "").unwrap();
        assert!(!is_empty(&root.dir(&place).unwrap()).unwrap());
        assert!(DatabaseCopy::of(&root, &place).unwrap_err().to_string().contains("unknown format"));
    }

    #[test]
    fn no_link_of_a_database_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("rpm")).unwrap();
        symlink(dir.path().join("new"), dir.path().join("rpm/rpmdb.sqlite")).unwrap();
        let (root, place) = database(dir.path());
        assert!(DatabaseCopy::of(&root, &place).is_err());
        assert!(!dir.path().join("new").exists());
    }

    #[test]
    fn a_path_that_rpm_would_interpret_is_not_plain() {
        assert!(is_plain(Path::new("/var/tmp/.patchadm-rpm-0123456789abcdef/db")));
        for path in ["/%(id)", "/a b", "/a\nb", "/{", "/ü"] {
            assert!(!is_plain(Path::new(path)), "{path:?}");
        }
    }
}
