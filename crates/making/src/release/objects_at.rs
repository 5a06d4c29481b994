//! Objects at known paths of a tree, as a release would list them.

use std::collections::BTreeMap;

use super::error::{ReleaseError, ReleaseProblem};
use super::tree::{MetObject, read_met};
use patchadm_releases::ReleaseObject;
use patchadm_rootfs::{Root, WorkMeter, accounts_of};
use patchadm_svr4::package::ObjectPath;

/// Reads what a root has at some paths, sorted by path, each under the path that was given. Links above an object are
/// followed within the root. What is not there is left out.
pub fn objects_at(root: &Root, paths: &[ObjectPath]) -> Result<Vec<ReleaseObject>, ReleaseError> {
    let failed = |problem| ReleaseError { path: root.prefix().to_owned(), problem };
    read(root, paths).map_err(failed)
}

fn read(root: &Root, paths: &[ObjectPath]) -> Result<Vec<ReleaseObject>, ReleaseProblem> {
    let accounts = accounts_of(root, root)?;
    let resolver = root.resolver();
    let (mut met, mut asked) = (BTreeMap::new(), Vec::with_capacity(paths.len()));
    for path in paths {
        let physical = resolver.locate(path)?;
        let Some(parent) = physical.parent() else { continue };
        let Some(directory) = root.dir_if_there(&parent)? else { continue };
        if let Some(status) = directory.look(physical.name())? {
            met.insert(physical.clone(), status);
            asked.push((path.clone(), physical));
        }
    }
    let met: Vec<MetObject> = met.into_iter().map(|(path, status)| MetObject { path, status }).collect();
    let read = read_met(root, &accounts, &met, 1, &WorkMeter::default())?;
    let by_place: BTreeMap<&ObjectPath, &ReleaseObject> =
        read.iter().map(|object| (&object.path, object)).collect();
    let mut objects: Vec<ReleaseObject> = asked
        .into_iter()
        .filter_map(|(path, physical)| Some(ReleaseObject { path, ..(*by_place.get(&physical)?).clone() }))
        .collect();
    objects.sort_by(|one, other| one.path.cmp(&other.path));
    objects.dedup_by(|one, other| one.path == other.path);
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_there_is_read_under_the_path_that_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("usr/bin")).unwrap();
        fs::write(dir.path().join("usr/bin/one"), "1").unwrap();
        fs::hard_link(dir.path().join("usr/bin/one"), dir.path().join("usr/bin/two")).unwrap();
        symlink("usr/bin", dir.path().join("bin")).unwrap();
        let paths = ["/bin/two", "/bin/one", "/bin/three", "/no/such", "/bin"];
        let paths: Vec<ObjectPath> =
            paths.iter().map(|path| ObjectPath::new(path.as_bytes()).unwrap()).collect();
        let found = objects_at(&Root::open(dir.path()).unwrap(), &paths).unwrap();
        let names: Vec<String> = found.iter().map(|object| object.path.to_string()).collect();
        assert_eq!(names, ["/bin", "/bin/one", "/bin/two"]);
        let groups: Vec<_> = found.iter().map(ReleaseObject::link_group).collect();
        assert!(groups[0].is_none() && groups[1].is_some() && groups[1] == groups[2]);
    }
}
