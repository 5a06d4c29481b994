//! A tree before and after: every object with its type, its attributes and its size, and the bytes of what was touched.

use std::collections::BTreeMap;
use std::path::Path;

use patchadm_bulk_values::result::Digest;
use patchadm_making::release::is_kept_attribute;
use patchadm_rootfs::{Dir, FileType, ObjectStatus, Root, RootError, Timestamp};
use patchadm_svr4::package::{ObjectPath, PathError};
use serde::{Deserialize, Serialize};

use crate::base::PLACES;
use crate::file_copy::digest_of_file;

/// Where the layer of the trial is visible, and those below it, by their numbers, the uppermost first.
pub(in crate::patches) const TOUCHED: &str = ".touched";
pub(in crate::patches) const LOWER: &str = ".lower";

/// What is not compared: what is temporary, and the records, which are compared by what they say.
const LEFT_OUT: [&str; 3] = ["tmp", "var/tmp", "var/sadm"];

/// The objects of a tree by their paths.
#[derive(Clone, Serialize, Deserialize)]
#[serde(into = "SeenObjects", try_from = "SeenObjects")]
pub(super) struct TreeState(BTreeMap<ObjectPath, SeenObject>);

/// The same as a list, as it is written down.
type SeenObjects = Vec<(Vec<u8>, SeenObject)>;

impl From<TreeState> for SeenObjects {
    fn from(state: TreeState) -> Self {
        state.0.into_iter().map(|(path, object)| (path.as_bytes().to_vec(), object)).collect()
    }
}

impl TryFrom<SeenObjects> for TreeState {
    type Error = PathError;

    fn try_from(objects: SeenObjects) -> Result<Self, PathError> {
        let objects = objects.into_iter().map(|(path, object)| Ok((ObjectPath::new(&path)?, object)));
        objects.collect::<Result<_, _>>().map(Self)
    }
}

/// Extended attributes by their names.
type ExtendedAttributes = Vec<(Vec<u8>, Vec<u8>)>;

/// What is known of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SeenObject {
    file_type: FileType,
    owner: (u32, u32),
    /// The permission bits; of a link there are none.
    mode: Option<u32>,
    /// Size and time of a file.
    file: Option<(u64, Timestamp)>,
    /// The target of a link.
    target: Option<Vec<u8>>,
    device: (u32, u32),
    /// The extended attributes, but for those of the machine.
    attributes: ExtendedAttributes,
}

impl TreeState {
    /// Reads a tree: what is mounted in it is not.
    pub(super) fn read(root: &Root) -> Result<Self, RootError> {
        let mut objects = BTreeMap::new();
        let mount = root.dir(&ObjectPath::root())?.itself()?.mount;
        each_object(root, &mut |dir, name, seen| {
            if seen.mount != mount {
                return Ok(());
            }
            let (is_file, is_link) =
                (seen.file_type == FileType::Regular, seen.file_type == FileType::Symlink);
            let object = SeenObject {
                file_type: seen.file_type,
                owner: (seen.uid, seen.gid),
                mode: (!is_link).then_some(seen.mode.bits()),
                file: is_file.then_some((seen.size, seen.mtime)),
                target: if is_link { Some(dir.read_link(name)?) } else { None },
                device: seen.device,
                attributes: attributes(dir, name)?,
            };
            objects.insert(dir.at(name), object);
            Ok(())
        })?;
        Ok(Self(objects))
    }

    /// Returns the paths at which another state differs, with the difference.
    pub(super) fn differences(&self, after: &Self) -> Vec<String> {
        let mut found = Vec::new();
        for (path, before) in &self.0 {
            match after.0.get(path) {
                None => found.push(format!("{path} is missing")),
                Some(now) if now != before => found.push(format!("{path} is not as it was")),
                Some(_) => {}
            }
        }
        let new = after.0.keys().filter(|path| !self.0.contains_key(*path));
        found.extend(new.map(|path| format!("{path} is new")));
        found
    }

    fn is_file(&self, path: &ObjectPath) -> bool {
        self.0.get(path).is_some_and(|object| object.file_type == FileType::Regular)
    }
}

/// Returns the extended attributes that belong to an object and not to the machine.
fn attributes(dir: &Dir, name: &[u8]) -> Result<ExtendedAttributes, RootError> {
    Ok(dir.xattrs(name)?.into_iter().filter(|(name, _)| is_kept_attribute(name)).collect())
}

/// Returns the files that were touched since, and have other bytes than before. What was not touched has the bytes of the
/// layers below, which nobody changes.
pub(super) fn changed_files(
    root: &Root,
    before: &TreeState,
    layers: usize,
) -> Result<Vec<String>, RootError> {
    let (touched, mut paths) = (Root::open(&Path::new("/").join(TOUCHED))?, Vec::new());
    each_object(&touched, &mut |dir, name, _| {
        let path = dir.at(name);
        if before.is_file(&path) {
            paths.push(path);
        }
        Ok(())
    })?;
    let lower = (0..layers).map(|number| Root::open(&Path::new("/").join(LOWER).join(number.to_string())));
    let lower = lower.collect::<Result<Vec<_>, _>>()?;
    let mut changed = Vec::new();
    for path in paths {
        for layer in &lower {
            let Some(was) = digest_at(layer, &path)? else { continue };
            if digest_at(root, &path)? != Some(was) {
                changed.push(format!("{path} has other bytes"));
            }
            break;
        }
    }
    Ok(changed)
}

/// Returns the digest of a regular file; `None` where there is none.
fn digest_at(root: &Root, path: &ObjectPath) -> Result<Option<Digest>, RootError> {
    let Some(parent) = path.parent() else { return Ok(None) };
    let dir = match root.dir_if_there(&parent) {
        // Something else may be in the place of the directory.
        Err(error) if !error.is_refused_access() => return Ok(None),
        dir => dir?,
    };
    let Some(dir) = dir else { return Ok(None) };
    if dir.look(path.name())?.is_none_or(|seen| seen.file_type != FileType::Regular) {
        return Ok(None);
    }
    let file = dir.open_regular(path.name())?;
    digest_of_file(&file, |error| dir.read_error(path.name(), error)).map(Some)
}

/// What is done with an object: its directory, its name, and what is seen of it.
type VisitObject<'v> = dyn FnMut(&Dir, &[u8], &ObjectStatus) -> Result<(), RootError> + 'v;

/// Visits the objects of a tree, but for what is not compared. Directories of other file systems are not entered.
fn each_object(root: &Root, visit: &mut VisitObject<'_>) -> Result<(), RootError> {
    let mount = root.dir(&ObjectPath::root())?.itself()?.mount;
    let mut open = vec![ObjectPath::root()];
    while let Some(path) = open.pop() {
        let dir = match root.dir(&path) {
            // What even root of the sandbox may not see, no package can change.
            Err(error) if error.is_refused_access() => continue,
            dir => dir?,
        };
        for name in dir.names()? {
            let at = dir.at(&name);
            if is_left_out(&at) {
                continue;
            }
            let Some(seen) = dir.look(&name)? else { continue };
            visit(&dir, &name, &seen)?;
            if seen.file_type == FileType::Directory && seen.mount == mount {
                open.push(at);
            }
        }
    }
    Ok(())
}

fn is_left_out(path: &ObjectPath) -> bool {
    let shown = path.relative();
    let names = PLACES.iter().chain(&LEFT_OUT).chain(&[TOUCHED, LOWER]);
    names.into_iter().any(|name| shown == name.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_differs_is_named_and_what_is_temporary_is_not() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["opt/a", "tmp", "var/sadm/pkg"] {
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        fs::write(dir.path().join("opt/a/gone"), "1").unwrap();
        fs::write(dir.path().join("opt/a/longer"), "1").unwrap();
        let root = Root::open(dir.path()).unwrap();
        let before = TreeState::read(&root).unwrap();
        fs::write(dir.path().join("tmp/new"), "1").unwrap();
        fs::write(dir.path().join("var/sadm/pkg/new"), "1").unwrap();
        assert_eq!(before.differences(&TreeState::read(&root).unwrap()), Vec::<String>::new());
        fs::remove_file(dir.path().join("opt/a/gone")).unwrap();
        fs::write(dir.path().join("opt/a/longer"), "22").unwrap();
        fs::write(dir.path().join("opt/new"), "1").unwrap();
        assert_eq!(
            before.differences(&TreeState::read(&root).unwrap()),
            ["/opt/a/gone is missing", "/opt/a/longer is not as it was", "/opt/new is new"]
        );
    }

    #[test]
    fn an_attribute_that_is_gone_or_another_is_a_difference() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "1").unwrap();
        let set =
            |value: &[u8]| rustix::fs::setxattr(&file, "user.origin", value, rustix::fs::XattrFlags::empty());
        if set(b"here").is_err() {
            return; // a file system without attributes
        }
        let root = Root::open(dir.path()).unwrap();
        let before = TreeState::read(&root).unwrap();
        assert_eq!(before.differences(&TreeState::read(&root).unwrap()), Vec::<String>::new());
        set(b"there").unwrap();
        assert_eq!(before.differences(&TreeState::read(&root).unwrap()), ["/file is not as it was"]);
        rustix::fs::removexattr(&file, "user.origin").unwrap();
        assert_eq!(before.differences(&TreeState::read(&root).unwrap()), ["/file is not as it was"]);
    }
}
