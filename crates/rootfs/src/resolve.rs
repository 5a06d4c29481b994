//! Resolves client paths to physical paths: symbolic links among the parents are followed inside the root.

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::io::Errno;

use super::calls::MOST_LINKS;
use super::way::strange_directory;
use super::{Distrust, Interrupt, ObjectStatus, Result, Root, RootError, again, optional};
use patchadm_svr4::package::{ObjectPath, rule};

/// Resolves paths of one root; a thousand files of a directory cost one lookup.
///
/// As after chroot(2), an absolute target starts at the root, and `..` stays there. The last component of an object's
/// path is never followed. [`Root::dir`] follows no link at all, so a link swapped in later causes an error.
/// [`Root::wary_of_links`] limits which links are followed.
#[derive(Debug)]
pub struct Resolver<'a> {
    root: &'a Root,
    known: RefCell<HashMap<ObjectPath, ObjectPath>>,
    /// The directory of the last lookup, kept open because the next name is usually in it.
    last: RefCell<Option<(ObjectPath, OwnedFd)>>,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(root: &'a Root) -> Self {
        Self { root, known: RefCell::default(), last: RefCell::default() }
    }

    /// Returns the physical path of an object, existing or not: its directory resolved, its own name unchanged.
    pub fn locate(&self, path: &ObjectPath) -> Result<ObjectPath> {
        let Some(parent) = path.parent_bytes() else { return Ok(path.clone()) };
        match self.known.borrow().get(parent) {
            // Most directories resolve to their own path, and so do the objects in them.
            Some(known) if known.as_bytes() == parent => return Ok(path.clone()),
            Some(known) => return self.join(known, path.name(), path),
            None => {}
        }
        let parent = path.parent().unwrap_or_else(ObjectPath::root);
        match self.locate_dir(&parent)? {
            // If no link leads elsewhere, the two share their bytes.
            same if same == parent => Ok(path.clone()),
            other => self.join(&other, path.name(), path),
        }
    }

    /// For an object whose path a plan may turn from links into directories. A path behind a link in a circle stays as
    /// written: that is its place once a directory replaces the link.
    pub fn locate_object(&self, path: &ObjectPath) -> Result<ObjectPath> {
        match self.locate(path) {
            Err(RootError::Loop(_)) => Ok(path.clone()),
            located => located,
        }
    }

    /// For paths that are only compared with others: one behind a link that is not to be followed stays as written.
    pub fn locate_to_compare(&self, path: &ObjectPath) -> Result<ObjectPath> {
        match self.locate_object(path) {
            Err(RootError::Untrusted(told))
                if matches!(told.why, Distrust::LinkInside | Distrust::AboveLink) =>
            {
                Ok(path.clone())
            }
            located => located,
        }
    }

    /// For loops over many paths: fails with EINTR once a signal came.
    pub fn go_on(&self, interrupt: Interrupt<'_>) -> Result<()> {
        match interrupt() {
            None => Ok(()),
            Some(_) => Err(self.root.error("look at", &ObjectPath::root(), Errno::INTR)),
        }
    }

    /// Follows the own name, too. Missing components stay as written.
    pub fn locate_dir(&self, path: &ObjectPath) -> Result<ObjectPath> {
        self.follow(path, &mut 0)
    }

    /// Returns the directory behind the symbolic link at a path; `None` if it leads to another object, nowhere or in a
    /// circle.
    pub fn directory_behind(&self, path: &ObjectPath) -> Result<Option<(ObjectPath, ObjectStatus)>> {
        let physical = match self.locate_dir(path) {
            Err(RootError::Loop(_)) => return Ok(None),
            located => located?,
        };
        match self.root.dir_if_there(&physical) {
            Err(error) if error.errno() == Some(Errno::NOTDIR) => Ok(None),
            Ok(None) => Ok(None),
            Ok(Some(directory)) => Ok(Some((physical, directory.itself()?))),
            Err(error) => Err(error),
        }
    }

    /// Returns the place to which a link with this target would lead, or `None` for a circle. The last component need
    /// not exist.
    pub fn lead_of(&self, link: &ObjectPath, target: &[u8]) -> Result<Option<ObjectPath>> {
        let from = self.locate(link)?.parent().unwrap_or_else(ObjectPath::root);
        match self.walk(from, target, &mut 0, link) {
            Err(RootError::Loop(_)) => Ok(None),
            led => led.map(Some),
        }
    }

    fn follow(&self, path: &ObjectPath, links: &mut usize) -> Result<ObjectPath> {
        if let Some(known) = self.known.borrow().get(path) {
            return Ok(known.clone());
        }
        let Some(parent) = path.parent() else { return Ok(path.clone()) };
        if self.is_physical(path, &parent) {
            return Ok(path.clone());
        }
        let parent = self.follow(&parent, links)?;
        let here = self.join(&parent, path.name(), path)?;
        let found = match self.link_at(&parent, &here)? {
            None => here,
            Some((target, uid)) => {
                *links += 1;
                if *links > MOST_LINKS {
                    return Err(RootError::Loop(self.root.show(path)));
                }
                if let Some(guard) = self.root.guard() {
                    guard.link(self.root, &here, path)?;
                }
                let led = self.walk(parent.clone(), &target, links, path)?;
                self.must_be_harmless(&here, uid, &led)?;
                led
            }
        };
        self.known.borrow_mut().insert(path.clone(), found.clone());
        Ok(found)
    }

    /// Opens a whole path at once if nothing is known about it: mostly no link is on it.
    fn is_physical(&self, path: &ObjectPath, parent: &ObjectPath) -> bool {
        let mut known = self.known.borrow_mut();
        if known.contains_key(parent) {
            return false;
        }
        let Ok(opened) = self.root.open_place(path) else { return false };
        *self.last.borrow_mut() = Some((path.clone(), opened));
        known.insert(path.clone(), path.clone());
        known.extend(path.ancestors().map(|above| (above.clone(), above)));
        true
    }

    /// Returns target and owner, or `None` if there is no link.
    fn link_at(&self, parent: &ObjectPath, here: &ObjectPath) -> Result<Option<(Vec<u8>, u32)>> {
        let mut last = self.last.borrow_mut();
        if last.as_ref().is_none_or(|(path, _)| path != parent) {
            *last = match self.root.open_place(parent) {
                Ok(opened) => Some((parent.clone(), opened)),
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
                Err(_) => None,
            };
        }
        match &*last {
            Some((_, opened)) if is_no_link(opened, here.name()) => Ok(None),
            _ => self.root.read_link(here),
        }
    }

    /// By such a link, its owner could lead a change of the superuser to any directory. So could whoever owns or may
    /// write to a directory above a link of the superuser: a link can be moved to another name.
    fn must_be_harmless(&self, link: &ObjectPath, uid: u32, led: &ObjectPath) -> Result<()> {
        if !self.root.is_wary_of_links() {
            return Ok(());
        }
        let owner = self.root.owner()?.0;
        let mut user = (uid != 0 && uid != owner).then_some(uid);
        for above in link.ancestors() {
            if user.is_some() {
                break;
            }
            let Some(opened) = optional(self.root.open_directory(&above))? else { continue };
            let shown = self.root.show(&above);
            let strange = strange_directory(&opened, Path::new(&shown), owner)
                .map_err(|errno| self.root.error("look at", &above, errno))?;
            match strange {
                Some(strange) if strange.is_writable => {
                    return Err(self.root.untrusted(strange.path, strange.uid, Distrust::AboveLink));
                }
                strange => user = strange.map(|strange| strange.uid),
            }
        }
        let Some(uid) = user else { return Ok(()) };
        // A missing directory would be made by whoever owns the one above it.
        for at in std::iter::once(led.clone()).chain(led.ancestors()) {
            let Some(of_target) = self.owner_of_directory(&at)? else { continue };
            if rule::holds("root.link.owner", of_target == uid) {
                return Ok(());
            }
            break;
        }
        Err(self.root.untrusted(self.root.show(link), uid, Distrust::LinkInside))
    }

    fn owner_of_directory(&self, at: &ObjectPath) -> Result<Option<u32>> {
        let Some(opened) = optional(self.root.open_directory(at))? else { return Ok(None) };
        let seen = ObjectStatus::of_file(&opened).map_err(|errno| self.root.error("look at", at, errno))?;
        Ok(Some(seen.uid))
    }

    fn walk(
        &self,
        from: ObjectPath,
        target: &[u8],
        links: &mut usize,
        of: &ObjectPath,
    ) -> Result<ObjectPath> {
        let mut at = if target.first() == Some(&b'/') { ObjectPath::root() } else { from };
        for part in target.split(|&b| b == b'/').filter(|part| !part.is_empty() && *part != b".") {
            at = if part == b".." {
                at.parent().unwrap_or_else(ObjectPath::root)
            } else {
                self.follow(&self.join(&at, part, of)?, links)?
            };
        }
        Ok(at)
    }

    fn join(&self, directory: &ObjectPath, name: &[u8], of: &ObjectPath) -> Result<ObjectPath> {
        directory.join(name).map_err(|_| self.root.error("resolve", of, Errno::NAMETOOLONG))
    }
}

/// Returns false if it cannot tell.
fn is_no_link(directory: &OwnedFd, name: &[u8]) -> bool {
    let read = again(|| rustix::fs::readlinkat(directory, name, Vec::new()));
    matches!(read, Err(Errno::INVAL | Errno::NOENT | Errno::NOTDIR))
}

impl Root {
    /// Returns true if the root directory belongs to the caller, so that an unprivileged caller may work on it.
    pub fn is_own(&self) -> Result<bool> {
        self.dir(&ObjectPath::root())?.is_own()
    }

    pub fn resolver(&self) -> Resolver<'_> {
        Resolver::new(self)
    }

    /// Reads at most `limit` bytes; `None` if the file is missing. Links among the parents are followed inside the
    /// root.
    pub fn read(&self, path: &ObjectPath, limit: u64) -> Result<Option<Vec<u8>>> {
        let physical = self.resolver().locate(path)?;
        let Some(parent) = physical.parent() else {
            return Err(self.error("read", path, Errno::ISDIR));
        };
        match self.dir_if_there(&parent)? {
            Some(dir) => dir.read(physical.name(), limit),
            None => Ok(None),
        }
    }

    /// Returns the names in a directory, sorted, or `None` if it is missing.
    pub fn list(&self, path: &ObjectPath) -> Result<Option<Vec<Vec<u8>>>> {
        let physical = self.resolver().locate_dir(path)?;
        self.dir_if_there(&physical)?.map(|dir| dir.names()).transpose()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn at(path: &str) -> ObjectPath {
        ObjectPath::new(path.as_bytes()).unwrap()
    }

    #[test]
    fn links_among_the_parents_are_followed_inside_the_root_and_the_last_name_is_not() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("usr/lib")).unwrap();
        symlink("usr/lib", dir.path().join("lib")).unwrap();
        symlink("/usr", dir.path().join("absolute")).unwrap();
        symlink("../../../../usr", dir.path().join("upward")).unwrap();
        symlink("libx.so.1", dir.path().join("usr/lib/libx.so")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let resolver = root.resolver();
        for (client, physical) in [
            ("/lib/libx.so", "/usr/lib/libx.so"),
            ("/absolute/lib/new", "/usr/lib/new"),
            ("/upward/lib/new", "/usr/lib/new"),
            ("/not/there/yet", "/not/there/yet"),
            ("/lib", "/lib"),
        ] {
            assert_eq!(resolver.locate(&at(client)).unwrap(), at(physical), "{client}");
        }
        assert_eq!(resolver.locate_dir(&at("/lib")).unwrap(), at("/usr/lib"));
    }

    #[test]
    fn a_link_among_neighbours_that_are_directories_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        for made in ["a/b/one", "a/b/two", "c"] {
            std::fs::create_dir_all(dir.path().join(made)).unwrap();
        }
        symlink("/c", dir.path().join("a/b/link")).unwrap();
        std::fs::write(dir.path().join("a/b/file"), "").unwrap();
        let root = Root::open(dir.path()).unwrap();
        let resolver = root.resolver();
        for (client, physical) in [
            ("/a/b/one/x", "/a/b/one/x"),
            ("/a/b/file/x", "/a/b/file/x"),
            ("/a/b/link/x", "/c/x"),
            ("/a/b/missing/deep/x", "/a/b/missing/deep/x"),
            ("/a/b/two/x", "/a/b/two/x"),
            ("/a/b/link/missing/x", "/c/missing/x"),
        ] {
            assert_eq!(resolver.locate(&at(client)).unwrap(), at(physical), "{client}");
            assert_eq!(root.resolver().locate(&at(client)).unwrap(), at(physical), "{client}, alone");
        }
    }

    #[test]
    fn the_directory_behind_a_link_is_found_inside_the_root_only() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("usr/lib")).unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        for (link, target) in
            [("lib", "usr/lib"), ("far", "/usr/lib"), ("up", "../../usr/lib"), ("two", "lib")]
        {
            symlink(target, dir.path().join(link)).unwrap();
        }
        let outside = dir.path().to_str().unwrap();
        for (link, target) in [("text", "file"), ("nowhere", "x"), ("circle", "circle"), ("out", outside)] {
            symlink(target, dir.path().join(link)).unwrap();
        }
        let root = Root::open(dir.path()).unwrap();
        let behind = |link: &str| root.resolver().directory_behind(&at(link)).unwrap().map(|(path, _)| path);
        assert_eq!(["/lib", "/far", "/up", "/two"].map(behind), [(); 4].map(|()| Some(at("/usr/lib"))));
        assert_eq!(["/text", "/nowhere", "/circle", "/out"].map(behind), [None, None, None, None]);
    }

    #[test]
    fn a_link_of_a_user_leads_root_only_to_what_is_of_that_user() {
        use std::fs::{Permissions, set_permissions};
        use std::os::unix::fs::{PermissionsExt as _, chown, lchown};

        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let place = |path: &str| dir.path().join(path);
        for made in ["etc", "opt/app/new", "srv/app"] {
            std::fs::create_dir_all(place(made)).unwrap();
        }
        let links = [
            ("own", "new"),
            ("elsewhere", "/srv/app"),
            ("missing", "new/later"),
            ("etc", "../../etc"),
            ("none", "/etc/none"),
            ("by-own", "etc"),
        ];
        for (link, target) in links {
            symlink(target, place("opt/app").join(link)).unwrap();
            lchown(place("opt/app").join(link), Some(1234), None).unwrap();
        }
        for given in ["opt/app", "opt/app/new", "srv/app"] {
            chown(place(given), Some(1234), None).unwrap();
        }
        let root = Root::open(dir.path()).unwrap();
        let wary = root.clone().wary_of_links();
        let in_app = |link: &str| at(&format!("/opt/app/{link}/x"));
        for link in ["own", "elsewhere", "missing"] {
            let led = root.resolver().locate(&in_app(link)).unwrap();
            assert_eq!(wary.resolver().locate(&in_app(link)).unwrap(), led, "{link}");
        }
        for (link, named) in [("etc", "etc"), ("none", "none"), ("by-own", "etc")] {
            let told = wary.resolver().locate(&in_app(link)).unwrap_err();
            let named = place("opt/app").join(named).display().to_string();
            let is_it = |told: &crate::Untrusted| (told.path.clone(), told.uid) == (named.clone(), 1234);
            assert!(matches!(&told, RootError::Untrusted(told) if is_it(told)), "{link}: {told}");
            assert!(wary.resolver().locate_object(&in_app(link)).is_err(), "{link}");
            assert!(wary.resolver().directory_behind(&in_app(link).parent().unwrap()).is_err(), "{link}");
            assert_eq!(wary.resolver().locate_to_compare(&in_app(link)).unwrap(), in_app(link));
            root.resolver().locate(&in_app(link)).unwrap();
            root.clone().trusted().wary_of_links().resolver().locate(&in_app(link)).unwrap();
        }
        lchown(place("opt/app/etc"), Some(0), None).unwrap();
        assert!(
            wary.resolver().locate(&in_app("etc")).is_err(),
            "the directory's owner can move a link of root"
        );
        chown(place("opt/app"), Some(0), None).unwrap();
        assert_eq!(wary.resolver().locate(&in_app("etc")).unwrap(), at("/etc/x"));
        for (directory, group, bits) in
            [("opt/app", 0, 0o757), ("opt/app", 1234, 0o775), ("opt", 0, 0o777), ("opt", 1234, 0o770)]
        {
            let mode = |bits| set_permissions(place(directory), Permissions::from_mode(bits)).unwrap();
            chown(place(directory), None, Some(group)).unwrap();
            mode(bits);
            let told = wary.resolver().locate(&in_app("etc")).unwrap_err();
            let named = place(directory).display().to_string();
            let is_it = |told: &crate::Untrusted| (told.why, &told.path) == (Distrust::AboveLink, &named);
            assert!(matches!(&told, RootError::Untrusted(told) if is_it(told)), "{bits:o}: {told}");
            assert_eq!(wary.resolver().locate_to_compare(&in_app("etc")).unwrap(), in_app("etc"));
            root.resolver().locate(&in_app("etc")).unwrap();
            mode(bits | 0o1000);
            assert_eq!(wary.resolver().locate(&in_app("etc")).unwrap(), at("/etc/x"), "a sticky one");
            mode(0o755);
        }
        set_permissions(place("opt/app"), Permissions::from_mode(0o1777)).unwrap();
        lchown(place("opt/app/etc"), Some(1234), None).unwrap();
        assert!(wary.resolver().locate(&in_app("etc")).is_err(), "anybody can make a link there");
        set_permissions(place("opt/app"), Permissions::from_mode(0o755)).unwrap();
        chown(dir.path(), Some(1234), None).unwrap();
        assert_eq!(wary.resolver().locate(&in_app("etc")).unwrap(), at("/etc/x"), "the root is theirs");
    }

    #[test]
    fn a_loop_of_links_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert!(matches!(root.resolver().locate(&at("/a/x")), Err(RootError::Loop(_))));
    }

    #[test]
    fn an_object_beyond_a_loop_is_where_it_is_written_and_nothing_is_there() {
        let dir = tempfile::tempdir().unwrap();
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let place = root.resolver().locate_object(&at("/a/x/y")).unwrap();
        assert_eq!(place, at("/a/x/y"));
        assert!(root.dir_of_object(&place.parent().unwrap()).unwrap().is_none());
    }

    #[test]
    fn a_directory_that_became_a_link_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let physical = root.resolver().locate_dir(&at("/etc")).unwrap();
        std::fs::remove_dir(dir.path().join("etc")).unwrap();
        symlink("/tmp", dir.path().join("etc")).unwrap();
        assert!(root.dir(&physical).is_err());
    }
}
