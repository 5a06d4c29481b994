//! Everything in a directory of a root as a list of paths.
//!
//! The walk stays on the file system of the directory and follows no link. Records and settings of this program, and the
//! stages of its runs, are not software and are left out.

use super::software_list::SoftwareList;
use crate::operation::failure::Failure;
use patchadm_rootfs::{Dir, FileType, Root};
use patchadm_svr4::package::{Ftype, ObjectPath};
use patchadm_svr4::places;

/// The settings of this program.
const SETTINGS: &[u8] = b"/etc/patchadm";

/// The prefix of the names of the stages of runs.
const STAGE: &[u8] = b".patchadm";

/// The most objects of a tree: as many as a pkgmap may have.
const MOST_OBJECTS: usize = patchadm_svr4::format::pkgmap::MOST_ENTRIES;

/// Lists the contents of a directory, and the directory itself unless it is the base directory, which no package delivers.
pub(super) fn listed(root: &Root, top: &ObjectPath, basedir: &ObjectPath) -> Result<SoftwareList, Failure> {
    let physical = root.resolver().locate_dir(top)?;
    let no_tree = || Failure::BadFile(format!("{} is no directory", root.show(top)));
    let Some(dir) = root.dir_if_there(&physical)? else { return Err(no_tree()) };
    let mut list = SoftwareList { adopted: "tree", ..SoftwareList::default() };
    if !top.relative().is_empty() && top != basedir {
        list.paths.insert(top.clone(), Ftype::File);
    }
    let mount = dir.itself()?.mount;
    let mut open = vec![top.clone()];
    while let Some(path) = open.pop() {
        let directory = root.dir(&physical_of(&physical, top, &path)?)?;
        for name in directory.names()? {
            let inner = path.join(&name).map_err(|error| Failure::BadFile(error.to_string()))?;
            if is_own(&inner) {
                continue;
            }
            if list.paths.len() == MOST_OBJECTS {
                return Err(Failure::BadFile(format!("{} has too many objects", root.show(top))));
            }
            match entered(&directory, &name, mount)? {
                Some(true) => open.push(inner.clone()),
                Some(false) => {}
                None => list.notes.push(format!(
                    "{} is the top of another file system; what is in it is left out",
                    root.show(&inner)
                )),
            }
            list.paths.insert(inner, Ftype::File);
        }
    }
    Ok(list)
}

/// Returns whether the walk enters an object; `None` if another file system begins there.
fn entered(directory: &Dir, name: &[u8], mount: u64) -> Result<Option<bool>, Failure> {
    Ok(match directory.look(name)? {
        Some(seen) if seen.file_type == FileType::Directory => (seen.mount == mount).then_some(true),
        _ => Some(false),
    })
}

/// Returns the place of a path of the tree on the disk: the way to the top may lead through links, the rest does not.
fn physical_of(physical: &ObjectPath, top: &ObjectPath, path: &ObjectPath) -> Result<ObjectPath, Failure> {
    let below = path.as_bytes().strip_prefix(top.as_bytes()).unwrap_or_default();
    let below = below.strip_prefix(b"/").unwrap_or(below);
    if below.is_empty() {
        return Ok(physical.clone());
    }
    physical.join(below).map_err(|error| Failure::BadFile(error.to_string()))
}

/// Returns whether a path belongs to this program.
fn is_own(path: &ObjectPath) -> bool {
    path.as_bytes() == places::RECORDS.as_bytes()
        || path.as_bytes() == SETTINGS
        || path.name().starts_with(STAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_listed_without_its_records_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["opt/acme/bin", "var/sadm/pkg", "etc/patchadm"] {
            std::fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        std::fs::write(dir.path().join("opt/acme/bin/tool"), "tool").unwrap();
        std::os::unix::fs::symlink("bin", dir.path().join("opt/acme/link")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let at = |text: &str| ObjectPath::new(text.as_bytes()).unwrap();
        let names = |top: &str, basedir: &str| -> Vec<String> {
            let list = listed(&root, &at(top), &at(basedir)).unwrap();
            list.paths.keys().map(ToString::to_string).collect()
        };
        let inside = ["/opt/acme/bin", "/opt/acme/bin/tool", "/opt/acme/link"];
        assert_eq!(names("/opt/acme", "/opt/acme"), inside);
        assert_eq!(names("/opt/acme", "/"), [&["/opt/acme"], &inside[..]].concat());
        let all = names("/", "/");
        assert!(all.contains(&"/var".to_owned()) && !all.iter().any(|path| path.contains("sadm")), "{all:?}");
        assert!(!all.iter().any(|path| path.contains("patchadm")), "{all:?}");
        assert!(listed(&root, &at("/nowhere"), &at("/")).is_err());
    }
}
