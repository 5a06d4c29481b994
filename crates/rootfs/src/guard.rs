//! Guards the records of a root: each belongs to uid 0, and nobody else may write to it or exchange it. [`RecordGuard`]
//! checks once, by fstat(2) on the descriptor in use. Mounts among the records are checked for container trees.
//! Directories of objects are not checked: users may own parts of a root.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::PoisonError;

use rustix::io::Errno;

use super::calls::MOST_LINKS;
use super::containers::container_tree;
use super::mounts::{AccessListKind, Mounts};
use super::root::{RecordArea, RecordGuard};
use super::way::{is_of_other_namespace, look_at_links};
use super::{Distrust, ForeignTree, ObjectStatus, Result, Root, RootError, TreeWay, optional};
use patchadm_svr4::package::{ObjectPath, rule};

impl Root {
    /// Does nothing unless the root is [`guarded`](Self::guarded).
    pub fn look_at_records(&self) -> Result<()> {
        self.guard().map_or(Ok(()), |guard| guard.begin(self))
    }

    /// Refuses a root for whose owner no process may work: another user decides by a link which root it is, or by a mount
    /// who its owner is.
    pub fn look_at_owner(&self) -> Result<()> {
        look_at_links(self)?;
        let (top, seen) = (ObjectPath::root(), self.seen()?);
        match Mounts::default().distrust(&seen)? {
            // The owner may show an own directory.
            Some((uid, why)) if why != Distrust::ForeignMount || uid != seen.uid => {
                Err(refusal(self, &top, &ObjectStatus { uid, ..seen }, why))
            }
            None if is_of_other_namespace(seen.uid) => {
                Err(refusal(self, &top, &seen, Distrust::OtherNamespace))
            }
            _ => Ok(()),
        }
    }

    /// The root directory as no other one is: its file system, inode and birth.
    pub fn identity(&self) -> Result<String> {
        let seen = self.seen()?;
        let (major, minor) = seen.file_system;
        let born = seen.inode.born.map(|born| born.to_string()).unwrap_or_default();
        Ok(format!("{major}:{minor}:{}:{born}", seen.inode.number))
    }

    /// Requires the path of the root to lead to the directory with this identity.
    pub fn must_be(&self, identity: &str) -> Result<()> {
        let is_same = self.identity()? == identity;
        if is_same {
            Ok(())
        } else {
            Err(self.error("follow the path to", &ObjectPath::root(), Errno::STALE))
        }
    }

    /// Refuses a root whose directory, or that of records at `place`, is neither the caller's nor the superuser's,
    /// guarded or not, unless the root is [`trusted`](Self::trusted).
    pub fn must_not_be_foreign(&self, place: &ObjectPath) -> Result<()> {
        self.look_at_records()?;
        if self.is_trusted() {
            return Ok(());
        }
        let caller = rustix::process::geteuid().as_raw();
        for directory in [ObjectPath::root(), self.resolver().locate_dir(place)?] {
            let Some(dir) = self.dir_if_there(&directory)? else { continue };
            let seen = dir.itself()?;
            if seen.uid != 0 && seen.uid != caller {
                return Err(refusal(self, &directory, &seen, Distrust::Owner));
            }
        }
        Ok(())
    }
}

impl RecordGuard {
    /// Checks the records that every change uses, once.
    pub(crate) fn begin(&self, root: &Root) -> Result<()> {
        if self.areas.get().is_some() {
            return Ok(());
        }
        if let Some(foreign) = &self.foreign {
            return Err(container_refusal(root, root.seen()?.uid, foreign, None));
        }
        look_at_links(root)?;
        let tree = trace(root, &self.places.tree)?;
        self.check_all(root, &tree.way).map_err(|error| prefer_records(root, &tree, error))?;
        for used in &self.places.used {
            self.check_all(root, &trace_in(root, &self.places.tree, &tree, used)?.way)?;
        }
        // From here on, no one else can change its location.
        let objects = self.places.objects.iter();
        let objects = objects.map(|place| Ok(trace_in(root, &self.places.tree, &tree, place)?.place));
        let _ = self.objects.set(objects.collect::<Result<_>>()?);
        let mut areas = vec![tree];
        for place in &self.places.elsewhere {
            areas.push(trace(root, place)?);
        }
        let _ = self.areas.set(areas);
        Ok(())
    }

    /// Checks an opened directory and the directories above it.
    pub(crate) fn directory(&self, root: &Root, fd: &OwnedFd, physical: &ObjectPath) -> Result<()> {
        self.begin(root)?;
        if self.is_known(physical) || !self.is_record(physical) {
            return Ok(());
        }
        self.way_to(root, physical)?;
        self.check_directory(root, physical, fd)
    }

    /// Returns the status if that was needed.
    pub(crate) fn file(
        &self,
        root: &Root,
        physical: &ObjectPath,
        file: impl AsFd,
    ) -> Result<Option<ObjectStatus>> {
        self.begin(root)?;
        if !self.is_record(physical) {
            return Ok(None);
        }
        self.way_to(root, physical)?;
        self.check(root, physical, file).map(Some)
    }

    /// Adds the target of a symbolic link among the records to the records.
    pub(crate) fn link(&self, root: &Root, physical: &ObjectPath, link: &ObjectPath) -> Result<()> {
        self.begin(root)?;
        if !self.is_record(physical) {
            return Ok(());
        }
        let led = trace(root, link)?;
        self.check_all(root, &led.way)?;
        self.linked.write().unwrap_or_else(PoisonError::into_inner).push(led.place);
        Ok(())
    }

    /// Checks every directory above a record, including those behind links on the way.
    fn way_to(&self, root: &Root, physical: &ObjectPath) -> Result<()> {
        let areas = self.areas.get().map(Vec::as_slice).unwrap_or_default();
        // Objects in a checked directory of records have the same way; there may be thousands.
        let is_place = || areas.iter().any(|area| area.place == *physical);
        if physical.parent().is_some_and(|above| self.is_known(&above) && self.is_record(&above))
            && !is_place()
        {
            return Ok(());
        }
        for area in areas {
            if *physical == area.place || physical.is_below(&area.place) {
                self.check_all(root, area.way.get(..area.way.len().saturating_sub(1)).unwrap_or_default())?;
            }
        }
        let mut above: Vec<ObjectPath> = physical.ancestors().collect();
        above.sort();
        above.retain(|directory| directory != physical);
        self.check_all(root, &above)
    }

    fn check_all(&self, root: &Root, directories: &[ObjectPath]) -> Result<()> {
        for directory in directories {
            if !self.is_known(directory)
                && let Some(fd) = optional(root.open_directory(directory))?
            {
                self.check_directory(root, directory, &fd)?;
            }
        }
        Ok(())
    }

    /// Remembers a good directory.
    fn check_directory(&self, root: &Root, physical: &ObjectPath, fd: &OwnedFd) -> Result<()> {
        self.check(root, physical, fd)?;
        self.checked.write().unwrap_or_else(PoisonError::into_inner).insert(physical.clone());
        Ok(())
    }

    fn check(&self, root: &Root, physical: &ObjectPath, fd: impl AsFd) -> Result<ObjectStatus> {
        let failed = |errno| root.error("look at", physical, errno);
        let seen = ObjectStatus::of_file(&fd).map_err(failed)?;
        let mut mounts = self.mounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((uid, why)) = mounts.distrust(&seen)? {
            return Err(refusal(root, physical, &ObjectStatus { uid, ..seen }, why));
        }
        if let Some(why) = distrust(&seen, || mounts.has_list(&seen, &fd)) {
            return Err(refusal(root, physical, &seen, why));
        }
        if let Some(foreign) = self.tree_of_mount(root, physical, &seen, &fd)? {
            return Err(container_refusal(root, seen.uid, &foreign, Some(physical)));
        }
        Ok(seen)
    }

    /// Returns the container tree of a record on another mount than the root. Each mount is checked once.
    fn tree_of_mount(
        &self,
        root: &Root,
        physical: &ObjectPath,
        seen: &ObjectStatus,
        fd: impl AsFd,
    ) -> Result<Option<ForeignTree>> {
        let mut outside_containers = self.outside_containers.lock().unwrap_or_else(PoisonError::into_inner);
        if outside_containers.is_empty() {
            outside_containers.insert(root.seen()?.mount);
        }
        if outside_containers.contains(&seen.mount) {
            return Ok(None);
        }
        let found = container_tree(&fd, root.show(physical).as_bytes())?;
        if found.is_none() {
            outside_containers.insert(seen.mount);
        }
        Ok(found)
    }
}

fn refusal(root: &Root, physical: &ObjectPath, seen: &ObjectStatus, why: Distrust) -> RootError {
    let path = if *physical == ObjectPath::root() { root.shown_prefix() } else { root.show(physical) };
    root.untrusted(path, seen.uid, why)
}

fn container_refusal(
    root: &Root,
    owner: u32,
    foreign: &ForeignTree,
    record: Option<&ObjectPath>,
) -> RootError {
    let (path, why, way) = match foreign {
        ForeignTree::Named => (root.shown_prefix(), Distrust::Named, TreeWay::Named),
        ForeignTree::Engine { directory, way } => (directory.clone(), Distrust::Engine, way.clone()),
        ForeignTree::Overlay { mount_point } => (mount_point.clone(), Distrust::Overlay, TreeWay::Named),
    };
    match root.untrusted(path, owner, why) {
        RootError::Untrusted(mut untrusted) => {
            untrusted.record = record.map(|record| root.show(record));
            untrusted.way = way;
            RootError::Untrusted(untrusted)
        }
        error => error,
    }
}

/// If a directory above the records is refused and the records belong to the same user, names the records instead.
fn prefer_records(root: &Root, tree: &RecordArea, error: RootError) -> RootError {
    let RootError::Untrusted(untrusted) = error else { return error };
    let opened = root.open_directory(&tree.place).ok();
    let seen = opened.and_then(|fd| ObjectStatus::of_file(&fd).ok());
    match seen.filter(|seen| untrusted.why == Distrust::Owner && seen.uid == untrusted.uid) {
        Some(seen) => refusal(root, &tree.place, &seen, Distrust::Owner),
        None => RootError::Untrusted(untrusted),
    }
}

/// Returns why an object is not under the superuser's sole control. `has_list` returns the kind of its access list.
pub(crate) fn distrust(seen: &ObjectStatus, has_list: impl FnOnce() -> AccessListKind) -> Option<Distrust> {
    let bits = seen.mode.bits();
    let may_group_write = bits & 0o020 != 0;
    if !rule::holds("root.record.owner", seen.uid == 0) {
        return Some(Distrust::Owner);
    }
    if !rule::holds("root.record.others", bits & 0o002 == 0) {
        return Some(Distrust::Others);
    }
    if !rule::holds("root.record.group", !may_group_write || seen.gid == 0) {
        return Some(Distrust::Group);
    }
    let is_shown = match has_list() {
        AccessListKind::None => true,
        AccessListKind::Posix => !may_group_write,
        AccessListKind::Other => false,
    };
    (!rule::holds("root.record.list", is_shown)).then_some(Distrust::AccessList)
}

/// Follows a path inside the root and collects the directories on the way. Missing components stay as written.
fn trace(root: &Root, path: &ObjectPath) -> Result<RecordArea> {
    let top = RecordArea { place: ObjectPath::root(), way: vec![ObjectPath::root()] };
    trace_from(root, top, path.as_bytes(), path)
}

/// Like [`trace`], for a path below `tree`, whose own way has been checked and cannot change any more.
fn trace_in(root: &Root, tree: &ObjectPath, found: &RecordArea, path: &ObjectPath) -> Result<RecordArea> {
    match path.as_bytes().strip_prefix(tree.as_bytes()) {
        Some(below) if path.is_below(tree) => trace_from(root, found.clone(), below, path),
        _ => trace(root, path),
    }
}

/// Goes on from a known place to `below`; `path` is the whole path.
fn trace_from(root: &Root, found: RecordArea, below: &[u8], path: &ObjectPath) -> Result<RecordArea> {
    let (RecordArea { mut place, mut way }, mut links) = (found, 0);
    let mut rest: VecDeque<Vec<u8>> = parts(below).collect();
    while let Some(part) = rest.pop_front() {
        if part == b".." {
            place = place.parent().unwrap_or_else(ObjectPath::root);
            continue;
        }
        let here = place.join(&part).map_err(|_| root.error("resolve", path, Errno::NAMETOOLONG))?;
        let Some((target, _)) = root.read_link(&here)? else {
            way.push(here.clone());
            place = here;
            continue;
        };
        links += 1;
        if links > MOST_LINKS {
            return Err(RootError::Loop(root.show(path)));
        }
        if target.first() == Some(&b'/') {
            place = ObjectPath::root();
        }
        for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
            rest.push_front(part);
        }
    }
    Ok(RecordArea { place, way })
}

fn parts(path: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    path.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".").map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use rustix::fs::{Mode, OFlags};

    use super::*;
    use patchadm_svr4::package::Mode as Bits;

    #[test]
    fn a_record_is_the_superusers_alone_by_owner_bits_and_access_list() {
        let some = ObjectStatus::of_file(open_root()).unwrap();
        let seen = |uid, gid, bits| ObjectStatus { uid, gid, mode: Bits::of(bits), ..some.clone() };
        for (seen, list, why) in [
            (seen(0, 7, 0o644), AccessListKind::None, None),
            (seen(0, 0, 0o664), AccessListKind::None, None),
            (seen(0, 7, 0o644), AccessListKind::Posix, None),
            (seen(7, 0, 0o644), AccessListKind::None, Some(Distrust::Owner)),
            (seen(0, 0, 0o646), AccessListKind::None, Some(Distrust::Others)),
            (seen(0, 7, 0o664), AccessListKind::None, Some(Distrust::Group)),
            (seen(0, 0, 0o664), AccessListKind::Posix, Some(Distrust::AccessList)),
            (seen(0, 0, 0o644), AccessListKind::Other, Some(Distrust::AccessList)),
        ] {
            assert_eq!(distrust(&seen, || list), why, "{seen:?} {list:?}");
        }
    }

    #[test]
    fn a_root_is_foreign_if_it_or_its_records_belong_to_another_user_and_it_is_not_trusted() {
        use std::os::unix::fs::chown;

        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("own")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let [own, missing] = ["/own", "/missing"].map(|path| ObjectPath::new(path.as_bytes()).unwrap());
        root.must_not_be_foreign(&own).unwrap();
        root.must_not_be_foreign(&missing).unwrap();
        // Only the superuser can give a directory away.
        for given in ["", "own"].iter().filter(|_| root.is_privileged()) {
            let given = dir.path().join(given);
            if chown(&given, Some(54_321), None).is_err() {
                continue;
            }
            let error = root.must_not_be_foreign(&own).unwrap_err();
            assert!(matches!(&error, RootError::Untrusted(found) if found.uid == 54_321), "{error}");
            root.clone().trusted().must_not_be_foreign(&own).unwrap();
            chown(&given, Some(0), None).unwrap();
        }
    }

    #[test]
    fn a_directory_that_is_exchanged_is_another_root() {
        let dir = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| dir.path().join(name));
        std::fs::create_dir(&one).unwrap();
        std::fs::create_dir(&other).unwrap();
        let identity = Root::open(&one).unwrap().identity().unwrap();
        Root::open(&one).unwrap().must_be(&identity).unwrap();
        std::fs::rename(&one, dir.path().join("away")).unwrap();
        std::os::unix::fs::symlink(&other, &one).unwrap();
        let error = Root::open(&one).unwrap().must_be(&identity).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::STALE), "{error}");
    }

    #[test]
    fn the_owner_of_a_root_is_not_asked_for_by_a_link_of_another_user() {
        let dir = tempfile::tempdir().unwrap();
        let (place, link) = (dir.path().join("root"), dir.path().join("link"));
        std::fs::create_dir(&place).unwrap();
        std::os::unix::fs::symlink(&place, &link).unwrap();
        if !Root::open(&place).unwrap().is_privileged() {
            return;
        }
        Root::open(&link).unwrap().look_at_owner().unwrap();
        if std::os::unix::fs::lchown(&link, Some(54_321), None).is_ok() {
            let error = Root::open(&link).unwrap().look_at_owner().unwrap_err();
            let RootError::Untrusted(found) = &error else { panic!("{error}") };
            assert_eq!((found.why, found.uid), (Distrust::Link, 54_321));
        }
    }

    fn open_root() -> OwnedFd {
        rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }
}
