//! Objects that an installation must not change: other packages' records, the operator's settings, and parts of the
//! tree that sandboxes need.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use patchadm_making::release::is_kept_attribute;
use patchadm_rootfs::{Dir, FileType, Inode, ObjectStatus, Root, RootError, Timestamp, Xattrs};
use patchadm_svr4::format::contents::{is_comment, key_of, owner_names, path_of};
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::places;

use crate::base::PLACES;
use crate::object_places::PlacedObject;
use crate::tree_copy::{each_below, is_listable, names_up_to};

const SETTINGS: [&str; 3] = ["/etc/patchadm", "/etc/patchadm/keys", "/var/sadm/install/admin"];

const PRELOAD: &str = "/etc/ld.so.preload";

const TEMPORARY: [&str; 2] = ["tmp", "var/tmp"];

const DIRECTORIES: [&str; 5] = ["install", "patch", "patchadm", "patchadm/stage", "pkg"];

/// Files below `var/sadm` that an installation may write. Files that tools leave for the next writer of `contents`, the
/// next package, are missing here.
const FILES: [&str; 12] = [
    "install/contents",
    "install/.lockfile",
    "patchadm/attempts",
    "patchadm/contents.stamp",
    "patchadm/elf.cache",
    "patchadm/history",
    "patchadm/journal",
    "patchadm/journal.new",
    "patchadm/log",
    "patchadm/root-id",
    "patchadm/script.lock",
    "patchadm/unprivileged",
];

/// Prefix of a run's operation and staged files.
const OF_RUN: &str = "patchadm/ops-";
const STAGED: &str = "patchadm/stage/";

const BELOW_PACKAGES: &str = "pkg/";

/// Maximum size of `contents` in bytes, enough for several million objects. Two are in memory at a time.
const LARGEST_CONTENTS: u64 = 256 << 20;

/// The most objects that are remembered below one directory, and the most bytes of their names: packages choose both.
const MOST_OBJECTS: usize = 500_000;
const MOST_BYTES: usize = 64 << 20;

/// The observed state of an object. For directories only attributes. The file time is ctime, which cannot be set.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ObservedObject {
    file_type: FileType,
    attributes: (u32, u32, u32),
    file: Option<(u64, Timestamp, Inode)>,
    /// Only of directories that no package delivers: those of other objects have the ctime.
    xattrs: Xattrs,
}

impl ObservedObject {
    fn of(seen: &ObjectStatus) -> Self {
        let is_directory = seen.file_type == FileType::Directory;
        Self {
            file_type: seen.file_type,
            attributes: (seen.mode.bits(), seen.uid, seen.gid),
            file: (!is_directory).then_some((seen.size, seen.ctime, seen.inode)),
            xattrs: Xattrs::new(),
        }
    }
}

pub(super) struct GuardedState {
    /// All objects below `var/sadm`, by relative path.
    records: BTreeMap<String, ObservedObject>,
    contents: Vec<u8>,
    settings: BTreeSet<String>,
    preload: Option<ObservedObject>,
    /// An object in the place of something that a sandbox needs.
    in_the_way: Option<String>,
    /// A directory with more objects than are remembered.
    overfull: Option<&'static str>,
}

/// The reason why a walk ended early.
enum WalkStop {
    Failed(RootError),
    Overfull,
}

impl From<RootError> for WalkStop {
    fn from(error: RootError) -> Self {
        Self::Failed(error)
    }
}

impl GuardedState {
    pub(super) fn of(layer: &Path, base: &Path) -> Result<Self, RootError> {
        let root = Root::open(layer)?;
        let (mut settings, mut overfull) = (BTreeSet::new(), None);
        for directory in SETTINGS {
            let Some(dir) = root.dir_if_there(&fixed(directory))? else { continue };
            let Some(names) = names_up_to(&dir, MOST_OBJECTS)? else {
                overfull = Some(directory);
                continue;
            };
            settings
                .extend(names.iter().map(|name| format!("{directory}/{}", String::from_utf8_lossy(name))));
        }
        let mut records = BTreeMap::new();
        if let Some(dir) = root.dir_if_there(&places::records())? {
            let top = dir.path().relative().len() + 1;
            let mut bytes = 0;
            let walked = each_below::<WalkStop>(&dir, |above, name, seen| {
                let path = above.at(name);
                let path = path.relative().get(top..).unwrap_or_default();
                bytes += path.len();
                if records.len() >= MOST_OBJECTS || bytes > MOST_BYTES {
                    return Err(WalkStop::Overfull);
                }
                records.insert(String::from_utf8_lossy(path).into_owned(), ObservedObject::of(seen));
                Ok(true)
            });
            match walked {
                Ok(()) => {}
                Err(WalkStop::Overfull) => overfull = Some(places::RECORDS),
                Err(WalkStop::Failed(error)) => return Err(error),
            }
        }
        let contents = match root.read(&places::contents(), LARGEST_CONTENTS)? {
            None => Root::open(base)?.read(&places::contents(), LARGEST_CONTENTS)?,
            contents => contents,
        };
        let contents = contents.unwrap_or_default();
        let preload = look(&root, &fixed(PRELOAD))?.as_ref().map(ObservedObject::of);
        let in_the_way = in_the_way(&root, &Dir::of_host(base)?, false)?;
        Ok(Self { records, contents, settings, preload, in_the_way, overfull })
    }

    /// Returns a change that a package with these names must not make.
    pub(super) fn forged(&self, after: &Self, own: &BTreeSet<String>) -> Option<String> {
        if let Some(directory) = after.overfull {
            return Some(format!("{directory} has more than {MOST_OBJECTS} objects, or very long names"));
        }
        if let Some(path) = &after.in_the_way {
            return Some(format!("it changes /{path}, which every sandbox needs"));
        }
        if self.preload != after.preload {
            return Some(format!("it changes {PRELOAD}, which affects every program"));
        }
        let changed = self.settings.symmetric_difference(&after.settings).next();
        if let Some(path) = changed {
            return Some(format!("it changes {path}, which belongs to the operator"));
        }
        let paths = self.records.keys().chain(after.records.keys()).collect::<BTreeSet<_>>();
        paths.into_iter().find_map(|path| self.forged_record(after, path, own)).or_else(|| {
            forged_line(&self.contents, &after.contents, own)
                .map(|path| format!("it changes the entry of {path} in {}", places::CONTENTS))
        })
    }

    /// Returns a forbidden change of the records.
    fn forged_record(&self, after: &Self, path: &str, own: &BTreeSet<String>) -> Option<String> {
        let (before, now) = (self.records.get(path), after.records.get(path));
        if before == now {
            return None;
        }
        let is_directory = now.is_some_and(|now| now.file_type == FileType::Directory);
        let is_file = now.is_none_or(|now| now.file_type == FileType::Regular);
        if let Some(below) = path.strip_prefix(BELOW_PACKAGES) {
            let name = below.split('/').next().unwrap_or_default();
            let is_own = own.iter().any(|own| name == own || name.starts_with(&format!("{own}.")));
            return match (before, now) {
                (_, Some(_)) if is_own && (name != below || is_directory) => None,
                (_, None) if is_own && name != below => None,
                (Some(_), None) if name == below => Some(format!("it removes {name}")),
                (None, Some(_)) if name == below => Some(format!("it creates records of a package {name}")),
                _ => Some(format!("it changes {}/{path}", places::RECORDS)),
            };
        }
        let is_well = (DIRECTORIES.contains(&path) && before.is_none() && is_directory)
            || (FILES.contains(&path) && is_file)
            || (path.starts_with(OF_RUN) && is_file)
            || path.starts_with(STAGED);
        (!is_well).then(|| format!("it changes {}/{path}", places::RECORDS))
    }
}

/// The objects of a layer that no package delivers, except records, temporary ones, and directories as in the base.
pub(super) struct UndeliveredObjects(BTreeMap<ObjectPath, ObservedObject>);

impl UndeliveredObjects {
    /// Returns `None` if there are more than are remembered.
    pub(super) fn of(
        layer: &Path,
        base: &Path,
        delivered: &[Vec<PlacedObject>],
    ) -> Result<Option<Self>, RootError> {
        let (root, base) = (Root::open(layer)?, Root::open(base)?);
        let delivered: HashSet<&ObjectPath> =
            delivered.iter().flatten().map(|object| &object.place).collect();
        let left_out = PLACES.iter().chain(&TEMPORARY).map(|place| fixed(&format!("/{place}")));
        let left_out: HashSet<ObjectPath> = left_out.chain([places::records()]).collect();
        let (mut objects, mut bytes) = (BTreeMap::new(), 0);
        let walked = each_below::<WalkStop>(&root.dir(&ObjectPath::root())?, |above, name, seen| {
            let path = above.at(name);
            if left_out.contains(&path) {
                return Ok(false);
            }
            let is_directory = seen.file_type == FileType::Directory;
            let enters = is_directory && is_listable(above, name)?;
            let xattrs = if is_directory { kept_attributes(above, name)? } else { Xattrs::new() };
            let of_base = if is_directory { found(&base, &path)? } else { None };
            let is_usual = match of_base.filter(|(_, of_base)| of_base.file_type == FileType::Directory) {
                Some((dir, of_base)) => {
                    let is_as_there = (of_base.uid, of_base.gid) == (seen.uid, seen.gid)
                        && kept_attributes(&dir, path.name())? == xattrs;
                    of_base.mode == seen.mode
                        && (is_as_there || delivered.contains(&path))
                        && !(enters && is_replaced(above, name)?)
                }
                None => delivered.contains(&path),
            };
            if is_usual {
                return Ok(enters);
            }
            bytes += path.as_bytes().len();
            bytes += xattrs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
            if objects.len() >= MOST_OBJECTS || bytes > MOST_BYTES {
                return Err(WalkStop::Overfull);
            }
            objects.insert(path, ObservedObject { xattrs, ..ObservedObject::of(seen) });
            Ok(enters)
        });
        match walked {
            Ok(()) => Ok(Some(Self(objects))),
            Err(WalkStop::Overfull) => Ok(None),
            Err(WalkStop::Failed(error)) => Err(error),
        }
    }

    /// Returns the first object that is new, gone or another one. `None` stands for more objects than are remembered: they
    /// cannot be compared and count as changed.
    pub(super) fn first_change(before: Option<&Self>, after: Option<&Self>) -> Option<String> {
        let (Some(before), Some(after)) = (before, after) else {
            return Some("one of too many objects to compare".to_owned());
        };
        let paths: BTreeSet<&ObjectPath> = before.0.keys().chain(after.0.keys()).collect();
        let changed = paths.into_iter().find(|path| before.0.get(*path) != after.0.get(*path));
        changed.map(ToString::to_string)
    }
}

/// True if overlayfs hides the directory of the base below this one.
fn is_replaced(above: &Dir, name: &[u8]) -> Result<bool, RootError> {
    let attributes = above.xattrs(name)?;
    Ok(attributes.iter().any(|(name, value)| name.ends_with(b".overlay.opaque") && value == b"y"))
}

fn fixed(path: &str) -> ObjectPath {
    ObjectPath::new(path.as_bytes()).unwrap_or_else(|_| ObjectPath::root())
}

/// Extended attributes that overlayfs copies with a directory.
fn kept_attributes(above: &Dir, name: &[u8]) -> Result<Xattrs, RootError> {
    let mut found = above.xattrs(name)?;
    found.retain(|key, _| is_kept_attribute(key) && !key.starts_with(b"user.overlay."));
    Ok(found)
}

fn look(root: &Root, path: &ObjectPath) -> Result<Option<ObjectStatus>, RootError> {
    Ok(found(root, path)?.map(|(_, seen)| seen))
}

/// Also returns its directory. An object below a non-directory does not exist.
fn found(root: &Root, path: &ObjectPath) -> Result<Option<(Dir, ObjectStatus)>, RootError> {
    let Some(above) = path.parent() else { return Ok(None) };
    match root.dir_if_there(&above) {
        Ok(Some(dir)) => {
            let seen = dir.look(path.name())?;
            Ok(seen.map(|seen| (dir, seen)))
        }
        Err(error) if error.is_refused_access() => Err(error),
        Ok(None) | Err(_) => Ok(None),
    }
}

/// Returns the first object that hides a mount point, a temporary directory, or a top-level entry of the base. After a
/// removal, empty directories of the base may be gone.
pub(super) fn in_the_way(root: &Root, base: &Dir, has_removed: bool) -> Result<Option<String>, RootError> {
    // Overlayfs marks removed objects with a whiteout.
    let counts =
        |seen: &ObjectStatus| !has_removed || seen.file_type != FileType::Character || seen.device != (0, 0);
    for place in PLACES.iter().chain(&TEMPORARY) {
        let seen = look(root, &fixed(&format!("/{place}")))?.filter(counts).map(|seen| seen.file_type);
        let is_expected = |file_type| match *place {
            ".program" => file_type == FileType::Regular,
            _ => file_type == FileType::Directory,
        };
        if seen.is_some_and(|file_type| !is_expected(file_type)) {
            return Ok(Some((*place).to_owned()));
        }
    }
    let top = root.dir(&ObjectPath::root())?;
    for name in base.names()? {
        let (Some(of_base), Some(now)) = (base.look(&name)?, top.look(&name)?.filter(counts)) else {
            continue;
        };
        let is_same_link = || {
            of_base.file_type == FileType::Symlink
                && now.file_type == FileType::Symlink
                && base.read_link(&name).ok() == top.read_link(&name).ok()
        };
        let is_same = || of_base.file_type == now.file_type && of_base.file_type == FileType::Regular;
        if now.file_type != FileType::Directory && !is_same_link() && !is_same()
            || (now.file_type == FileType::Directory && of_base.file_type != FileType::Directory)
        {
            return Ok(Some(String::from_utf8_lossy(&name).into_owned()));
        }
    }
    Ok(None)
}

/// Returns the first line of `contents` that a package added for others, took from them, or made unreadable. Both texts
/// must be sorted; unsorted lines count as changed.
fn forged_line(before: &[u8], after: &[u8], own: &BTreeSet<String>) -> Option<String> {
    let is_own = |name: &&[u8]| {
        let mut ends = own.iter().filter_map(|own| name.strip_prefix(own.as_bytes()));
        ends.any(|end| end.is_empty() || end.starts_with(b"."))
    };
    let is_forged = |had: Option<&[u8]>, has: Option<&[u8]>| {
        let (had, has) = (had.map_or(Some(Vec::new()), owners), has.map_or(Some(Vec::new()), owners));
        match (had, has) {
            (Some(had), Some(has)) => {
                let is_changed = |one: &[&[u8]], other: &[&[u8]]| {
                    one.iter().any(|name| !other.contains(name) && !is_own(name))
                };
                is_changed(&had, &has) || is_changed(&has, &had)
            }
            _ => true,
        }
    };
    let (mut before, mut after) = (lines(before).peekable(), lines(after).peekable());
    loop {
        let pair = match (before.peek().copied(), after.peek().copied()) {
            (None, None) => return None,
            (Some(had), Some(has)) if had == has => {
                before.next();
                after.next();
                continue;
            }
            (Some(had), Some(has)) => match key_of(had).cmp(&key_of(has)) {
                Ordering::Less => (before.next(), None),
                Ordering::Equal => (before.next(), after.next()),
                Ordering::Greater => (None, after.next()),
            },
            (_, _) => (before.next(), after.next()),
        };
        if is_forged(pair.0, pair.1) {
            return pair.1.or(pair.0).map(|line| String::from_utf8_lossy(path_of(line)).into_owned());
        }
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && !is_comment(line))
}

/// `None` if unreadable.
fn owners(line: &[u8]) -> Option<Vec<&[u8]>> {
    owner_names(line).map(Iterator::collect).filter(|names: &Vec<_>| !names.is_empty())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::XattrFlags;

    use super::*;
    use crate::object_places::PathKind;

    fn own() -> BTreeSet<String> {
        BTreeSet::from(["evil".to_owned()])
    }

    #[test]
    fn a_package_changes_its_own_lines_and_no_others() {
        let before = b"/opt d none 0755 root root one\n/opt/one f none 0644 root root 1 1 1 one\n# end\n";
        let with = |lines: &str| forged_line(before, lines.as_bytes(), &own());
        let one = "/opt/one f none 0644 root root 1 1 1 one\n";
        let opt = "/opt d none 0755 root root one evil\n";
        assert_eq!(with(&format!("{opt}/opt/evil f none 0644 root root 1 1 1 evil\n{one}# other\n")), None);
        assert_eq!(with(opt).as_deref(), Some("/opt/one"), "gone");
        let taken = "/opt/one f none 0644 root root 1 1 1 evil\n";
        assert_eq!(with(&format!("{opt}{taken}")).as_deref(), Some("/opt/one"));
        let of_other = "/opt/x f none 0644 root root 1 1 1 two\n";
        assert_eq!(with(&format!("{opt}{one}{of_other}")).as_deref(), Some("/opt/x"));
        assert!(with(&format!("{opt}{one}garbage\n")).is_some());
        let unsorted = format!("{one}{opt}");
        assert_eq!(with(&unsorted).as_deref(), Some("/opt"), "nobody else would find it");
    }

    #[test]
    fn what_a_package_makes_without_end_is_not_remembered_and_its_own_failure() {
        let dir = tempfile::tempdir().unwrap();
        let (layer, base) = (dir.path().join("layer"), dir.path().join("base"));
        fs::create_dir(&base).unwrap();
        // Objects with paths of 3,300 bytes.
        let mut deep = layer.join("var/sadm/pkg/evil");
        for _ in 0..55 {
            deep.push("d".repeat(60));
        }
        fs::create_dir_all(&deep).unwrap();
        let before = GuardedState::of(&layer, &base).unwrap();
        assert_eq!(before.overfull, None);
        for number in 0..25_000 {
            fs::write(deep.join(number.to_string()), "").unwrap();
        }
        let after = GuardedState::of(&layer, &base).unwrap();
        assert!(after.records.len() < 25_000, "{}", after.records.len());
        let says = "/var/sadm has more than 500000 objects, or very long names";
        assert_eq!(before.forged(&after, &own()).as_deref(), Some(says));
    }

    #[test]
    fn what_a_package_does_outside_its_places_is_found_and_what_an_installation_does_is_not() {
        type Change = fn(&Path) -> std::io::Result<()>;
        let changes: [(Change, Option<&str>); 10] = [
            (|_| Ok(()), None),
            (|at| fs::write(at.join("opt/own/a"), "other"), None),
            (
                |at| {
                    fs::create_dir_all(at.join("new/way")).and_then(|()| fs::write(at.join("new/way/a"), ""))
                },
                None,
            ),
            (|at| fs::create_dir_all(at.join("usr/bin")), None),
            (|at| fs::write(at.join("tmp/a"), "").and_then(|()| fs::write(at.join("var/sadm/a"), "")), None),
            (|at| fs::write(at.join("srv"), ""), Some("/srv")),
            (|at| fs::create_dir_all(at.join("usr/more")), Some("/usr/more")),
            (|at| fs::remove_file(at.join("opt/made")), Some("/opt/made")),
            (
                // The same size, and the same time as before.
                |at| {
                    let file = at.join("opt/made");
                    let before = fs::metadata(&file)?.modified()?;
                    fs::write(&file, "2")?;
                    fs::File::options().write(true).open(&file)?.set_modified(before)
                },
                Some("/opt/made"),
            ),
            (
                |at| {
                    fs::create_dir(at.join("usr"))?;
                    fs::set_permissions(at.join("usr"), std::os::unix::fs::PermissionsExt::from_mode(0o700))
                },
                Some("/usr"),
            ),
        ];
        let placed = |path: &str| {
            let kind = if path.ends_with('a') { PathKind::Other } else { PathKind::Directory };
            PlacedObject { place: fixed(path), path: fixed(path), kind }
        };
        let delivered = [["/opt", "/opt/own", "/opt/own/a"], ["/new", "/new/way", "/new/way/a"]]
            .map(|all| all.map(placed).to_vec());
        for (change, expected) in changes {
            let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
            let (layer, base) = (dir.path().join("layer"), dir.path().join("base"));
            for path in ["opt/own", "tmp", "var/sadm"] {
                fs::create_dir_all(layer.join(path)).unwrap();
            }
            fs::create_dir_all(base.join("usr/bin")).unwrap();
            for path in ["opt/own/a", "opt/made"] {
                fs::write(layer.join(path), "1").unwrap();
            }
            let look = || UndeliveredObjects::of(&layer, &base, &delivered).unwrap();
            let before = look().unwrap();
            // Some file systems have coarse times.
            std::thread::sleep(std::time::Duration::from_millis(20));
            change(&layer).unwrap();
            let found = UndeliveredObjects::first_change(Some(&before), look().as_ref());
            assert_eq!(found.as_deref(), expected);
            for (before, after) in [(Some(&before), None), (None, Some(&before)), (None, None)] {
                let told = UndeliveredObjects::first_change(before, after);
                assert_eq!(told.as_deref(), Some("one of too many objects to compare"));
            }
        }
    }

    #[test]
    fn another_owner_or_attribute_of_a_directory_of_the_base_is_a_change_unless_a_package_delivers_it() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let (layer, base) = (dir.path().join("layer"), dir.path().join("base"));
        fs::create_dir(&layer).unwrap();
        fs::create_dir_all(base.join("usr/bin")).unwrap();
        let usr = PlacedObject { place: fixed("/usr"), path: fixed("/usr"), kind: PathKind::Directory };
        let delivered = [vec![usr]];
        let look = |delivered: &[Vec<PlacedObject>]| {
            UndeliveredObjects::of(&layer, &base, delivered).unwrap().unwrap()
        };
        let before = look(&[]);
        let found = |delivered: &[Vec<PlacedObject>]| {
            UndeliveredObjects::first_change(Some(&before), Some(&look(delivered)))
        };
        let place = layer.join("usr");
        fs::create_dir(&place).unwrap();
        assert_eq!(found(&[]), None, "copied up");
        let set = |name: &str| rustix::fs::setxattr(&place, name, b"1", XattrFlags::empty()).is_ok();
        if set("user.overlay.origin") {
            assert_eq!(found(&[]), None, "as overlayfs marks it");
        }
        if set("user.list") {
            assert_eq!(found(&[]).as_deref(), Some("/usr"));
            let as_it_is = look(&[]);
            rustix::fs::setxattr(&place, "user.list", b"2", XattrFlags::empty()).unwrap();
            let changed = UndeliveredObjects::first_change(Some(&as_it_is), Some(&look(&[])));
            assert_eq!(changed.as_deref(), Some("/usr"));
            assert_eq!(found(&delivered), None);
            rustix::fs::removexattr(&place, "user.list").unwrap();
        }
        for (uid, gid) in [(Some(1234), None), (None, Some(1234))] {
            if std::os::unix::fs::chown(&place, uid, gid).is_ok() {
                assert_eq!(found(&[]).as_deref(), Some("/usr"), "{uid:?} {gid:?}");
                assert_eq!(found(&delivered), None);
                std::os::unix::fs::chown(&place, Some(0), Some(0)).unwrap();
            }
        }
    }

    /// A change that a package makes to a layer, and the expected complaint.
    type Forgery = (fn(&Path) -> std::io::Result<()>, Option<&'static str>);

    #[test]
    fn whatever_is_not_its_own_is_named() {
        let forgeries: [Forgery; 13] = [
            (|at| fs::write(at.join("var/sadm/pkg/evil/more"), ""), None),
            (
                |at| {
                    fs::write(at.join("var/sadm/install/pkglog"), "/opt/one f none 0644 root root 1 1 1 evil")
                },
                Some("it changes /var/sadm/install/pkglog"),
            ),
            (
                // The same size, and the same time as before.
                |at| {
                    let file = at.join("var/sadm/pkg/one/pkginfo");
                    let before = fs::metadata(&file)?.modified()?;
                    fs::write(&file, "PKG=two")?;
                    fs::File::options().write(true).open(&file)?.set_modified(before)
                },
                Some("it changes /var/sadm/pkg/one/pkginfo"),
            ),
            (|at| fs::write(at.join("var/sadm/patchadm/history"), "more"), None),
            (
                |at| fs::write(at.join("var/sadm/patchadm/ledger"), ""),
                Some("it changes /var/sadm/patchadm/ledger"),
            ),
            (
                |at| fs::write(at.join("var/sadm/pkg/one/pkginfo"), "PKG=two"),
                Some("it changes /var/sadm/pkg/one/pkginfo"),
            ),
            (|at| fs::remove_dir_all(at.join("var/sadm/pkg/one")), Some("it removes one")),
            (
                |at| fs::create_dir(at.join("var/sadm/pkg/ghost")),
                Some("it creates records of a package ghost"),
            ),
            (
                |at| fs::create_dir_all(at.join("var/sadm/install/admin/default")),
                Some("it changes /var/sadm/install/admin/default, which belongs to the operator"),
            ),
            (
                |at| fs::write(at.join("etc/ld.so.preload"), "/x.so"),
                Some("it changes /etc/ld.so.preload, which affects every program"),
            ),
            (
                |at| fs::write(at.join("packages"), ""),
                Some("it changes /packages, which every sandbox needs"),
            ),
            (
                |at| std::os::unix::fs::symlink("elsewhere", at.join("bin")),
                Some("it changes /bin, which every sandbox needs"),
            ),
            (
                |at| {
                    fs::remove_file(at.join("var/sadm/patchadm/history"))?;
                    std::os::unix::fs::symlink("/etc", at.join("var/sadm/patchadm/history"))
                },
                Some("it changes /var/sadm/patchadm/history"),
            ),
        ];
        for (forge, says) in forgeries {
            let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
            let (layer, base) = (dir.path().join("layer"), dir.path().join("base"));
            for path in
                ["var/sadm/pkg/one", "var/sadm/pkg/evil", "var/sadm/patchadm", "var/sadm/install", "etc"]
            {
                fs::create_dir_all(layer.join(path)).unwrap();
            }
            fs::create_dir(&base).unwrap();
            std::os::unix::fs::symlink("usr/bin", base.join("bin")).unwrap();
            fs::write(layer.join("var/sadm/pkg/one/pkginfo"), "PKG=one").unwrap();
            fs::write(layer.join("var/sadm/patchadm/history"), "").unwrap();
            let before = GuardedState::of(&layer, &base).unwrap();
            forge(&layer).unwrap();
            let after = GuardedState::of(&layer, &base).unwrap();
            assert_eq!(before.forged(&after, &own()).as_deref(), says);
        }
    }

    #[test]
    fn a_link_or_a_file_hides_a_mount_point_after_a_removal_too() {
        type Change = fn(&Path) -> std::io::Result<()>;
        let changes: [(Change, Option<&str>); 5] = [
            (|at| fs::create_dir(at.join("out")), None),
            (|at| std::os::unix::fs::symlink("/", at.join("out")), Some("out")),
            (|at| fs::write(at.join("tree"), ""), Some("tree")),
            (|at| fs::write(at.join("distfiles"), ""), Some("distfiles")),
            (|at| std::os::unix::fs::symlink("/", at.join("bin")), Some("bin")),
        ];
        for (change, hidden) in changes {
            let dir = tempfile::tempdir().unwrap();
            let (layer, base) = (dir.path().join("layer"), dir.path().join("base"));
            fs::create_dir(&layer).unwrap();
            fs::create_dir_all(base.join("bin")).unwrap();
            change(&layer).unwrap();
            let (root, base) = (Root::open(&layer).unwrap(), Dir::of_host(&base).unwrap());
            for has_removed in [false, true] {
                assert_eq!(in_the_way(&root, &base, has_removed).unwrap().as_deref(), hidden);
            }
        }
    }
}
