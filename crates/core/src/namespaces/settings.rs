//! The kernel settings that forbid namespaces.

use std::path::Path;

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capabilities};

use super::failure::EnclosureError;

/// The directory in which the kernel shows its settings.
const SETTINGS: &str = "/proc/sys";

/// The settings that can forbid namespaces, each with the value that does. Those about user namespaces count for
/// unprivileged users only.
const FORBIDDING: [(&str, &str, bool); 5] = [
    ("kernel.unprivileged_userns_clone", "0", true),
    ("user.max_user_namespaces", "0", true),
    ("user.max_mnt_namespaces", "0", false),
    ("user.max_pid_namespaces", "0", false),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", true),
];

/// Returns the error of a call that the kernel refused: with the setting that forbids it, if one is found.
pub(super) fn refusal(call: &str, errno: Errno, is_superuser: bool) -> EnclosureError {
    let is_about_rights =
        [Errno::PERM, Errno::ACCESS, Errno::NOSPC, Errno::INVAL, Errno::NOSYS].contains(&errno);
    if !is_about_rights {
        return EnclosureError::Failed(format!("{call}: {errno}"));
    }
    let reason = forbidding_setting(Path::new(SETTINGS), is_superuser).unwrap_or_else(|| {
        if is_superuser && errno == Errno::PERM {
            return format!("{call}: {errno} (root needs the capability CAP_SYS_ADMIN for it)");
        }
        format!("{call}: {errno}")
    });
    EnclosureError::NotAllowed(reason)
}

/// Returns why this machine allows the caller no namespaces, as far as its settings tell; `None` if none of them forbids it.
/// Nothing is tried: a filter of system calls may still refuse them.
pub fn namespaces_forbidden() -> Option<String> {
    let is_superuser = rustix::process::geteuid().is_root();
    if !Path::new("/proc/self/ns/user").exists() {
        return Some("the kernel has no user namespaces".to_owned());
    }
    let has_rights = !is_superuser
        || capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN));
    if !has_rights {
        return Some("root has not the capability CAP_SYS_ADMIN here".to_owned());
    }
    forbidding_setting(Path::new(SETTINGS), is_superuser)
}

/// Returns the setting that forbids namespaces, with its value.
fn forbidding_setting(settings: &Path, is_superuser: bool) -> Option<String> {
    FORBIDDING.iter().filter(|(.., is_for_users)| !is_superuser || !is_for_users).find_map(
        |(name, value, _)| {
            let text = std::fs::read_to_string(settings.join(name.replace('.', "/"))).ok()?;
            (text.trim() == *value).then(|| format!("the setting {name} is {value}"))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_that_forbids_is_named_and_one_for_users_does_not_concern_root() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("kernel")).unwrap();
        std::fs::create_dir_all(dir.path().join("user")).unwrap();
        assert_eq!(forbidding_setting(dir.path(), false), None);
        std::fs::write(dir.path().join("kernel/apparmor_restrict_unprivileged_userns"), "1\n").unwrap();
        std::fs::write(dir.path().join("user/max_mnt_namespaces"), "4711\n").unwrap();
        let said = forbidding_setting(dir.path(), false).unwrap();
        assert_eq!(said, "the setting kernel.apparmor_restrict_unprivileged_userns is 1");
        assert_eq!(forbidding_setting(dir.path(), true), None);
        std::fs::write(dir.path().join("user/max_pid_namespaces"), "0\n").unwrap();
        assert_eq!(forbidding_setting(dir.path(), true).unwrap(), "the setting user.max_pid_namespaces is 0");
    }

    #[test]
    fn what_has_nothing_to_do_with_rights_is_another_failure() {
        assert!(matches!(refusal("unshare", Errno::NOMEM, true), EnclosureError::Failed(_)));
        assert!(matches!(refusal("unshare", Errno::PERM, true), EnclosureError::NotAllowed(_)));
    }
}
