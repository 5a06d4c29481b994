//! The user of unprivileged scripts: an account that owns nothing (pkginfo(4)). The classic failure is a package below
//! a directory that this account cannot search.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::ScriptError;
use patchadm_rootfs::{Root, accounts_of, proc_text, random};
use patchadm_svr4::package::Accounts;

/// Accounts for unprivileged scripts; the first existing one is used.
pub const CANDIDATES: [&str; 3] = ["install", "noaccess", "nobody"];

const GROUP: &str = "other";

/// Its number since System V, for systems without the name.
const GROUP_NUMBER: u32 = 1;

/// Without supplementary groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptUser {
    pub uid: u32,
    pub gid: u32,
}

impl ScriptUser {
    /// Returns the account of unprivileged scripts: the first of [`CANDIDATES`], in a group of its own, else in group
    /// `other`, else in group 1. `None` if the caller is not root; scripts then run as the caller.
    ///
    /// Its own group protects a script from other processes of its user: the kernel checks both numbers for
    /// `/proc/PID/fd` and ptrace.
    pub fn unprivileged() -> Result<Option<Self>, ScriptError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let host = Root::open(Path::new("/"))?;
        let accounts = accounts_of(&host, &host)?;
        let uid = CANDIDATES.iter().find_map(|name| accounts.uid(name)).ok_or(ScriptError::NoUser)?;
        let gid = own_group(&accounts)?.or_else(|| accounts.gid(GROUP)).unwrap_or(GROUP_NUMBER);
        Ok(Some(Self { uid, gid }))
    }
}

/// Private groups for scripts: above numbers of accounts, containers and user namespaces, below the sign bit.
const OWN_GROUPS: std::ops::Range<u32> = 0x7000_0000..0x7fff_fff0;

/// Tries before giving up.
const DRAWS: usize = 16;

/// Returns a group without accounts and processes that this process may assign; `None` for example in a small user
/// namespace.
fn own_group(accounts: &Accounts) -> Result<Option<u32>, ScriptError> {
    let Ok(map) = std::fs::read_to_string("/proc/self/gid_map") else { return Ok(None) };
    for _ in 0..DRAWS {
        let span = u64::from(OWN_GROUPS.end - OWN_GROUPS.start);
        let Ok(offset) = u32::try_from(random()? % span) else { continue };
        let gid = OWN_GROUPS.start + offset;
        let is_of_account = accounts.group(gid) != gid.to_string();
        if is_mapped(&map, gid) && !is_of_account && !is_in_use(gid) {
            return Ok(Some(gid));
        }
    }
    Ok(None)
}

fn is_mapped(map: &str, gid: u32) -> bool {
    map.lines().any(|line| {
        let mut fields = line.split_ascii_whitespace().map(|field| field.parse::<u64>().ok());
        let (first, count) = (fields.next().flatten(), fields.nth(1).flatten());
        let gid = u64::from(gid);
        first.zip(count).is_some_and(|(first, count)| gid >= first && gid - first < count)
    })
}

/// Skips processes whose groups cannot be read.
fn is_in_use(gid: u32) -> bool {
    let has_it = |status: String| {
        let groups = status.lines().filter(|line| line.starts_with("Gid:") || line.starts_with("Groups:"));
        groups.flat_map(str::split_ascii_whitespace).any(|word| word.parse() == Ok(gid))
    };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| proc_text(&entry.path().join("status")).ok()).any(has_it)
}

/// Returns the first directory on the way to `path` that `user` cannot search, or the object itself if the user cannot
/// read it (or it is missing). Follows symbolic links as the caller sees them. Checks permission bits only, no access
/// lists.
pub fn unreadable_by(user: ScriptUser, path: &Path) -> Option<PathBuf> {
    let Ok(physical) = std::fs::canonicalize(path) else { return Some(path.to_owned()) };
    let mut ancestors: Vec<&Path> = physical.ancestors().skip(1).collect();
    ancestors.reverse();
    let blocked = ancestors.into_iter().find(|directory| !allows(user, directory, 0o1));
    let is_directory = physical.is_dir();
    let needed = if is_directory { 0o5 } else { 0o4 };
    blocked.map(Path::to_owned).or_else(|| (!allows(user, &physical, needed)).then(|| physical.clone()))
}

fn allows(user: ScriptUser, path: &Path, bits: u32) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| user.uid == 0 || granted(user, &metadata) & bits == bits)
}

fn granted(user: ScriptUser, metadata: &Metadata) -> u32 {
    let mode = metadata.mode();
    if metadata.uid() == user.uid {
        mode >> 6 & 0o7
    } else if metadata.gid() == user.gid {
        mode >> 3 & 0o7
    } else {
        mode & 0o7
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const STRANGER: ScriptUser = ScriptUser { uid: 54_321, gid: 54_321 };

    #[test]
    fn the_first_directory_that_cannot_be_searched_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        fs::create_dir_all(top.join("closed/open")).unwrap();
        let file = top.join("closed/open/checkinstall");
        fs::write(&file, "exit 0\n").unwrap();
        mode(&top, 0o755);
        mode(&file, 0o644);
        mode(&top.join("closed"), 0o700);
        assert_eq!(unreadable_by(STRANGER, &file), Some(top.join("closed")));
        mode(&top.join("closed"), 0o711);
        assert_eq!(unreadable_by(STRANGER, &file), None);
        assert_eq!(unreadable_by(STRANGER, &top.join("closed")), Some(top.join("closed")));
        mode(&file, 0o600);
        assert_eq!(unreadable_by(STRANGER, &file), Some(file.clone()));
        assert_eq!(unreadable_by(ScriptUser { uid: 0, gid: 0 }, &file), None);
        let missing = top.join("missing");
        assert_eq!(unreadable_by(STRANGER, &missing), Some(missing));
    }

    #[test]
    fn a_group_is_had_where_the_map_has_it_and_nobody_is_in_it() {
        assert!(is_mapped("         0          0 4294967295\n", 0x7000_0000));
        assert!(!is_mapped("0 1000 1\n1 100000 65536\n", 0x7000_0000) && !is_mapped("", 0x7000_0000));
        assert!(is_in_use(rustix::process::getegid().as_raw()) && !is_in_use(0x7fff_fff3));
        if let Some(user) = ScriptUser::unprivileged().unwrap() {
            let map = fs::read_to_string("/proc/self/gid_map").unwrap();
            assert_eq!(is_mapped(&map, 0x7000_0000), OWN_GROUPS.contains(&user.gid));
        }
    }

    #[test]
    fn owner_and_group_have_their_own_bits() {
        let dir = tempfile::tempdir().unwrap();
        let own = fs::metadata(dir.path()).unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o077)).unwrap();
        let metadata = fs::metadata(dir.path()).unwrap();
        assert_eq!(granted(ScriptUser { uid: own.uid(), gid: own.gid() }, &metadata), 0);
        assert_eq!(granted(ScriptUser { uid: 54_321, gid: own.gid() }, &metadata), 7);
    }
}
