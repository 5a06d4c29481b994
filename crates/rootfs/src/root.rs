use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::calls::has_account;
use super::mounts::{self, Mounts};
use super::shown_names::ShownNames;
use super::{Distrust, Door, ForeignTree, ObjectStatus, Result, RootError, TreeWay, Untrusted, again, cores};
use patchadm_svr4::package::{Accounts, ObjectPath, unescape};

/// The directory that `-R` names, held open.
#[derive(Clone, Debug)]
pub struct Root {
    fd: Arc<OwnedFd>,
    prefix: Arc<PathBuf>,
    /// The path that was opened.
    way: Arc<PathBuf>,
    door: Arc<Door>,
    privileged: bool,
    guard: Option<Arc<RecordGuard>>,
    trusted: bool,
    wary_of_links: bool,
    for_superuser: bool,
    held_locks: Arc<Vec<ObjectPath>>,
    supplied: Option<Arc<SuppliedFile>>,
    shown: Option<Arc<ShownNames>>,
}

#[derive(Debug)]
struct SuppliedFile {
    place: ObjectPath,
    name: String,
    text: Vec<u8>,
}

impl Root {
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, Door::default())
    }

    /// Like [`open`](Self::open). A path with `..` has the prefix that the kernel resolves it to, because the directory
    /// before `..` may be a link; the links on the way are still those of the path as it was given.
    pub fn open_as_named(path: &Path) -> Result<Self> {
        let root = Self::open(path)?;
        if !path.components().any(|component| component == Component::ParentDir) {
            return Ok(root);
        }
        let resolved = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        Ok(Self { prefix: Arc::new(resolved), ..root })
    }

    pub fn open_with(path: &Path, door: Door) -> Result<Self> {
        let shown = path.display().to_string();
        let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| RootError::Call { action: "open", path: shown.clone(), errno })?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::openat2(&fd, ".", flags, Mode::empty(), ResolveFlags::BENEATH) {
            Err(Errno::NOSYS) => return Err(RootError::NoOpenat2(shown)),
            Err(errno) => return Err(RootError::Call { action: "open", path: shown, errno }),
            Ok(_) => {}
        }
        let privileged = rustix::process::geteuid().is_root();
        Ok(Self {
            fd: Arc::new(fd),
            prefix: Arc::new(path.to_owned()),
            way: Arc::new(path.to_owned()),
            door: Arc::new(door),
            privileged,
            guard: None,
            trusted: false,
            wary_of_links: false,
            for_superuser: false,
            held_locks: Arc::default(),
            supplied: None,
            shown: None,
        })
    }

    /// Refuses records that are not the superuser's alone, before they are read. `foreign` says why the root is not the
    /// superuser's, whatever owners it shows.
    #[must_use]
    pub fn guarded(self, places: RecordPlaces, foreign: Option<ForeignTree>) -> Self {
        Self { guard: Some(Arc::new(RecordGuard::new(places, foreign))), ..self }
    }

    #[must_use]
    pub fn trusted(self) -> Self {
        Self { guard: None, trusted: true, wary_of_links: false, ..self }
    }

    /// Follows a link that a user other than the superuser can replace only into a directory of that user. The root
    /// directory's owner may place any link. No effect for an unprivileged caller or on a [`trusted`](Self::trusted) root.
    #[must_use]
    pub fn wary_of_links(self) -> Self {
        Self { wary_of_links: self.privileged && !self.trusted, ..self }
    }

    pub(crate) fn is_wary_of_links(&self) -> bool {
        self.wary_of_links
    }

    pub fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// Marks that a process of the root's owner acts for the superuser.
    #[must_use]
    pub fn for_superuser(self) -> Self {
        Self { for_superuser: true, ..self }
    }

    /// Marks lock files of other programs as locked for the caller: the program that called it holds their locks.
    #[must_use]
    pub fn with_held_locks(self, files: Vec<ObjectPath>) -> Self {
        Self { held_locks: Arc::new(files), ..self }
    }

    pub(crate) fn is_lock_held(&self, file: &ObjectPath) -> bool {
        self.held_locks.contains(file)
    }

    /// Supplies a text in place of a file, for code that asks for it; errors call it `name`.
    #[must_use]
    pub fn with_text_instead(self, place: ObjectPath, name: String, text: Vec<u8>) -> Self {
        Self { supplied: Some(Arc::new(SuppliedFile { place, name, text })), ..self }
    }

    pub fn text_instead(&self, place: &ObjectPath) -> Option<(&str, &[u8])> {
        let supplied = self.supplied.as_ref().filter(|supplied| supplied.place == *place)?;
        Some((&supplied.name, &supplied.text))
    }

    /// True if the policy of the running system limits that of the root: the caller is the superuser, or acts for it.
    pub fn is_bounded(&self) -> bool {
        self.privileged || self.for_superuser
    }

    pub fn owner(&self) -> Result<(u32, u32)> {
        self.seen().map(|seen| (seen.uid, seen.gid))
    }

    /// Returns true if the root directory is `/` of this process.
    pub fn is_system_itself(&self) -> Result<bool> {
        let (own, system) = (self.seen()?, Self::open(Path::new("/"))?.seen()?);
        let place = |seen: &ObjectStatus| (seen.inode, seen.file_system, seen.mount);
        Ok(place(&own) == place(&system))
    }

    /// Returns the path of the open root directory, with all links resolved.
    pub fn physical_path(&self) -> Result<PathBuf> {
        use std::os::fd::AsRawFd as _;
        let link = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        std::fs::read_link(&link).map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            RootError::Call { action: "find the path of", path: self.shown_prefix(), errno }.through_proc()
        })
    }

    /// Object attributes, mounts and processes are read through `/proc`.
    pub fn must_have_proc(&self) -> Result<()> {
        if super::error::is_proc_mounted() {
            return Ok(());
        }
        Err(RootError::NoProc { action: "change", path: self.shown_prefix() })
    }

    pub(crate) fn seen(&self) -> Result<ObjectStatus> {
        ObjectStatus::of(&*self.fd, || self.shown_prefix())
    }

    pub(crate) fn shown_prefix(&self) -> String {
        self.prefix.display().to_string()
    }

    pub(crate) fn guard(&self) -> Option<&RecordGuard> {
        self.guard.as_deref()
    }

    /// Opens another directory of the host behind the same door.
    pub fn elsewhere(&self, path: &Path) -> Result<Self> {
        let other = Self::open(path)?;
        Ok(Self { door: self.door.clone(), ..other })
    }

    pub(crate) fn of_opened(&self, fd: OwnedFd, physical: &ObjectPath) -> Self {
        let prefix: Arc<PathBuf> = Arc::new(self.show(physical).into());
        Self {
            fd: Arc::new(fd),
            way: prefix.clone(),
            prefix,
            door: self.door.clone(),
            privileged: self.privileged,
            guard: None,
            trusted: false,
            wary_of_links: self.wary_of_links,
            for_superuser: false,
            held_locks: Arc::default(),
            supplied: None,
            shown: None,
        }
    }

    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    pub(crate) fn way(&self) -> &Path {
        &self.way
    }

    pub fn is_system(&self) -> bool {
        self.prefix.as_path() == Path::new("/")
    }

    /// Returns a path as the user would type it, with the prefix of the root.
    pub fn show(&self, path: &ObjectPath) -> String {
        if self.is_system() {
            return path.to_string();
        }
        format!("{}{}", self.prefix.display().to_string().trim_end_matches('/'), path)
    }

    /// Returns true if owners can be set, because the caller is the superuser.
    pub fn is_privileged(&self) -> bool {
        self.privileged
    }

    /// Returns the number of threads that work on the root: one if the order of changes is watched.
    pub fn workers(&self) -> usize {
        if self.door.is_watched() { 1 } else { cores() }
    }

    /// Returns the physical paths of all mount points inside the root, the root directory included.
    pub fn mount_points(&self) -> Result<Vec<ObjectPath>> {
        let text = mounts::table()?;
        let prefix = std::fs::canonicalize(&*self.prefix).map_err(|error| mounts::table_error(&error))?;
        let mut found = vec![ObjectPath::root()];
        for line in text.split(|&b| b == b'\n') {
            let place = line.split(|&b| b == b' ').nth(4).map(unescape).unwrap_or_default();
            let inside = Path::new(OsStr::from_bytes(&place)).strip_prefix(&prefix).map(Path::to_path_buf);
            if let Ok(inside) = inside
                && let Ok(path) = ObjectPath::root().join(inside.as_os_str().as_bytes())
            {
                found.push(path);
            }
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// Opens a directory by its physical path, which contains no symbolic link.
    pub(crate) fn open_directory(&self, physical: &ObjectPath) -> Result<OwnedFd> {
        if self.is_showing() {
            return self.walk(physical);
        }
        self.open_own(physical)
    }

    pub(crate) fn open_own(&self, physical: &ObjectPath) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let relative = if physical.relative().is_empty() { &b"."[..] } else { physical.relative() };
        again(|| rustix::fs::openat2(&*self.fd, relative, flags, Mode::empty(), resolve))
            .map_err(|errno| self.error("open", physical, errno))
    }

    /// Opens a directory to look up names in it. Fails with EOPNOTSUPP if other objects are shown at some names.
    pub(crate) fn open_place(&self, physical: &ObjectPath) -> rustix::io::Result<OwnedFd> {
        if self.is_showing() {
            return Err(Errno::OPNOTSUPP);
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let relative = if physical.relative().is_empty() { &b"."[..] } else { physical.relative() };
        again(|| rustix::fs::openat2(self.fd(), relative, flags, Mode::empty(), resolve))
    }

    /// Returns target and owner, or `None` if there is no link.
    pub(crate) fn read_link(&self, physical: &ObjectPath) -> Result<Option<(Vec<u8>, u32)>> {
        if self.is_showing() {
            return self.shown_link(physical);
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let opened =
            again(|| rustix::fs::openat2(self.fd(), physical.relative(), flags, Mode::empty(), resolve));
        let fd = match opened {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(errno) => return Err(self.error("resolve", physical, errno)),
        };
        let failed = |errno| self.error("resolve", physical, errno);
        let target = match again(|| rustix::fs::readlinkat(&fd, "", Vec::new())) {
            Ok(target) => target.into_bytes(),
            // Not a symbolic link: an O_PATH descriptor of anything else answers so.
            Err(Errno::NOENT | Errno::INVAL) => return Ok(None),
            Err(errno) => return Err(failed(errno)),
        };
        Ok(Some((target, ObjectStatus::of_file(&fd).map_err(failed)?.uid)))
    }

    pub(crate) fn untrusted(&self, path: String, uid: u32, why: Distrust) -> RootError {
        let owner = self.seen().map_or(uid, |seen| seen.uid);
        let (root, has_account) = (self.shown_prefix(), has_account(owner));
        let (record, way) = (None, TreeWay::Named);
        RootError::Untrusted(Box::new(Untrusted { root, owner, path, uid, record, way, why, has_account }))
    }

    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    pub fn is_showing(&self) -> bool {
        self.shown.is_some()
    }

    pub(crate) fn shown(&self) -> Option<&ShownNames> {
        self.shown.as_deref()
    }

    pub(crate) fn with_names(self, names: Arc<ShownNames>, door: Arc<Door>) -> Self {
        Self { shown: Some(names), door, ..self }
    }

    pub(crate) fn door(&self) -> &Door {
        &self.door
    }

    pub(crate) fn error(&self, action: &'static str, path: &ObjectPath, errno: Errno) -> RootError {
        RootError::Call { action, path: self.show(path), errno }
    }
}

/// The places of a root's records, before any link among them is followed.
#[derive(Clone, Debug)]
pub struct RecordPlaces {
    pub tree: ObjectPath,
    /// The directories that every change uses.
    pub used: Vec<ObjectPath>,
    /// Objects two or more levels below these directories may belong to any user.
    pub objects: Vec<ObjectPath>,
    /// Directories and files outside the tree that count as records when they are used.
    pub elsewhere: Vec<ObjectPath>,
}

/// The records of a root, and the objects already found to be the superuser's.
#[derive(Debug)]
pub(crate) struct RecordGuard {
    pub(super) places: RecordPlaces,
    /// Set if the root is not the superuser's, whatever owners it shows.
    pub(super) foreign: Option<ForeignTree>,
    pub(super) areas: OnceLock<Vec<RecordArea>>,
    pub(super) objects: OnceLock<Vec<ObjectPath>>,
    pub(super) linked: RwLock<Vec<ObjectPath>>,
    pub(super) checked: RwLock<HashSet<ObjectPath>>,
    pub(super) mounts: Mutex<Mounts>,
    pub(super) outside_containers: Mutex<HashSet<u64>>,
}

#[derive(Clone, Debug)]
pub(super) struct RecordArea {
    pub(super) place: ObjectPath,
    /// Every directory on the way, including those reached through links.
    pub(super) way: Vec<ObjectPath>,
}

impl RecordGuard {
    pub(crate) fn new(places: RecordPlaces, foreign: Option<ForeignTree>) -> Self {
        Self {
            places,
            foreign,
            areas: OnceLock::new(),
            objects: OnceLock::new(),
            linked: RwLock::default(),
            checked: RwLock::default(),
            mounts: Mutex::default(),
            outside_containers: Mutex::default(),
        }
    }

    pub(crate) fn holds_records(&self, directory: &ObjectPath) -> bool {
        let areas = self.areas.get().map(Vec::as_slice).unwrap_or_default();
        self.is_record(directory) || areas.iter().any(|area| area.place.parent().as_ref() == Some(directory))
    }

    pub(super) fn is_record(&self, physical: &ObjectPath) -> bool {
        if self.objects.get().is_some_and(|places| places.iter().any(|place| is_object(place, physical))) {
            return false;
        }
        let is_in = |place: &ObjectPath| physical == place || physical.is_below(place);
        self.areas.get().is_some_and(|areas| areas.iter().any(|area| is_in(&area.place)))
            || self.linked.read().unwrap_or_else(PoisonError::into_inner).iter().any(is_in)
    }

    pub(super) fn is_known(&self, directory: &ObjectPath) -> bool {
        self.checked.read().unwrap_or_else(PoisonError::into_inner).contains(directory)
    }
}

/// Returns true for a path in the stage or undo directory of a run: objects of all owners, below a private directory.
fn is_object(place: &ObjectPath, physical: &ObjectPath) -> bool {
    physical.is_below(place) && physical.parent().is_some_and(|parent| parent.is_below(place))
}

const LARGEST_ACCOUNTS: u64 = 64 << 20;

/// Reads `etc/passwd` and `etc/group` of the root, or those of `host` (the running system) if it has neither. `root` is
/// always 0. The name service of the host is never asked: it knows nothing about other roots.
pub fn accounts_of(root: &Root, host: &Root) -> Result<Accounts> {
    let own = read_accounts(root)?;
    let accounts = match own {
        Some(accounts) => accounts,
        None => read_accounts(host)?.unwrap_or_default(),
    };
    Ok(accounts.or(&Accounts::default()))
}

fn read_accounts(root: &Root) -> Result<Option<Accounts>> {
    let file = |name: &[u8]| ObjectPath::root().join(name).ok();
    let (Some(passwd), Some(group)) = (file(b"etc/passwd"), file(b"etc/group")) else { return Ok(None) };
    let (passwd, group) = (root.read(&passwd, LARGEST_ACCOUNTS)?, root.read(&group, LARGEST_ACCOUNTS)?);
    if passwd.is_none() && group.is_none() {
        return Ok(None);
    }
    Ok(Some(Accounts::parse(&passwd.unwrap_or_default(), &group.unwrap_or_default())))
}
