//! Paths at which no package delivers anything: the records of the packages themselves.
//!
//! A package whose pkgmap names `contents`, the scripts that are kept of another package, an undo archive or our journal
//! would rewrite what every later command believes, behind the back of the run that installs it. The directories that
//! SVR4 systems deliver (`/var/sadm`, `/var/sadm/install`, `/var/sadm/pkg`, …) and `/var/sadm/install/admin` are none of
//! these.

use super::refusal::Problem;
use crate::package::ObjectPath;

/// Below these everything is a record.
const DIRECTORIES: [&[u8]; 3] = [b"/var/sadm/pkg/", b"/var/sadm/patch/", b"/var/sadm/patchadm/"];

/// Records that stand beside what packages deliver: contents(4) with what the classic tools put beside it, and locks.
const FILES: [&[u8]; 6] = [
    b"/var/sadm/patchadm",
    b"/var/sadm/install/contents",
    b"/var/sadm/install/t.contents",
    b"/var/sadm/install/s.contents",
    b"/var/sadm/install/.lockfile",
    b"/var/sadm/install/.pkg.lock",
];

/// Refuses an object at `path`, which is `place` on the disk, where a record is or will be, and one that is the root
/// directory itself.
pub(super) fn check(path: &ObjectPath, place: &ObjectPath) -> Result<(), Problem> {
    if [path, place].into_iter().any(|path| path.relative().is_empty()) {
        return Err(Problem::RootDirectory);
    }
    if [path, place].into_iter().any(is_record) {
        return Err(Problem::Record);
    }
    Ok(())
}

fn is_record(path: &ObjectPath) -> bool {
    let path = path.as_bytes();
    FILES.contains(&path) || DIRECTORIES.iter().any(|directory| path.starts_with(directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_no_objects_and_what_stands_beside_them_may_be() {
        let is_record = |path: &str| is_record(&ObjectPath::new(path.as_bytes()).unwrap());
        for record in [
            "/var/sadm/install/contents",
            "/var/sadm/install/.lockfile",
            "/var/sadm/pkg/SUNWa",
            "/var/sadm/pkg/SUNWa/install/postremove",
            "/var/sadm/patch/900-01/log",
            "/var/sadm/patchadm",
            "/var/sadm/patchadm/journal",
        ] {
            assert!(is_record(record), "{record}");
        }
        for object in [
            "/var/sadm",
            "/var/sadm/pkg",
            "/var/sadm/patch",
            "/var/sadm/install",
            "/var/sadm/install/admin/default",
            "/var/sadm/install/contents.txt",
            "/var/sadm/pkgs",
            "/opt/var/sadm/install/contents",
        ] {
            assert!(!is_record(object), "{object}");
        }
    }
}
