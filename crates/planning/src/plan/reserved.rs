//! Paths at which no package may deliver an object: records of packages, and settings of this program. A package could
//! rewrite trusted data there, unnoticed by its own run. Directories that SVR4 systems deliver (`/var/sadm`,
//! `/var/sadm/pkg`, …) and `/var/sadm/install/admin` are free.

use patchadm_svr4::places;

use super::refusal::ObjectProblem;
use patchadm_svr4::package::ObjectPath;

const DEFAULT_ADMIN: &[u8] = b"/var/sadm/install/admin/default";

pub(super) fn check(path: &ObjectPath, place: &ObjectPath) -> Result<(), ObjectProblem> {
    if [path, place].into_iter().any(|path| path.relative().is_empty()) {
        return Err(ObjectProblem::RootDirectory);
    }
    if [path, place].into_iter().any(places::is_record) {
        return Err(ObjectProblem::Record);
    }
    if [path, place].into_iter().any(|path| places::is_setting(path) || path.as_bytes() == DEFAULT_ADMIN) {
        return Err(ObjectProblem::Settings);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_no_objects_by_whatever_path() {
        let path = |path: &str| ObjectPath::new(path.as_bytes()).unwrap();
        for setting in [
            "/etc/patchadm",
            "/etc/patchadm/policy",
            "/etc/patchadm/keys/a",
            "/var/sadm/install/admin/default",
        ] {
            let (setting, other) = (path(setting), path("/opt/x"));
            for (path, place) in [(&setting, &setting), (&other, &setting), (&setting, &other)] {
                assert!(matches!(check(path, place), Err(ObjectProblem::Settings)), "{path} {place}");
            }
        }
        for object in
            ["/etc", "/etc/patchadm.conf", "/opt/etc/patchadm/policy", "/var/sadm/install/admin/other"]
        {
            assert!(check(&path(object), &path(object)).is_ok(), "{object}");
        }
    }

    #[test]
    fn records_are_no_objects_and_what_stands_beside_them_may_be() {
        let is_record = |path: &str| places::is_record(&ObjectPath::new(path.as_bytes()).unwrap());
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
