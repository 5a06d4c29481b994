//! The programs that run from files that a plan replaces: they keep the old version until they are restarted.
//!
//! They are found in `/proc`, and only for the root of the running system. Only the superuser sees the processes of other
//! users. If there is no answer, the result is empty: it is advice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use patchadm_planning::plan::{Action, Plan};
use patchadm_rootfs::Root;

/// A process with those of its files that change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsingProcess {
    /// Its number.
    pub process: u32,
    /// The name of its program.
    pub program: String,
    /// The paths.
    pub paths: Vec<String>,
}

/// Returns the processes that use a file that the plan replaces or deletes.
pub(in crate::operation) fn in_use(root: &Root, plan: &Plan) -> Vec<UsingProcess> {
    in_use_of_each(root, &[plan]).pop().unwrap_or_default()
}

/// Returns the same for each of several plans, with a single pass over all processes.
pub(super) fn in_use_of_each(root: &Root, plans: &[&Plan]) -> Vec<Vec<UsingProcess>> {
    if !root.is_system() {
        return plans.iter().map(|_| Vec::new()).collect();
    }
    let each: Vec<BTreeSet<Vec<u8>>> = plans.iter().map(|plan| taken_by(plan)).collect();
    let all = users(&each.iter().flatten().cloned().collect());
    let own = |paths: &BTreeSet<Vec<u8>>| {
        let shown: BTreeSet<_> = paths.iter().map(|path| String::from_utf8_lossy(path)).collect();
        let users = all.iter().map(|user| UsingProcess {
            paths: user.paths.iter().filter(|path| shown.contains(path.as_str())).cloned().collect(),
            ..user.clone()
        });
        users.filter(|user| !user.paths.is_empty()).collect()
    };
    each.iter().map(own).collect()
}

/// Returns the paths of the objects that a plan replaces or deletes.
fn taken_by(plan: &Plan) -> BTreeSet<Vec<u8>> {
    let changing =
        plan.changes.iter().filter(|change| matches!(change.action, Action::Replace(_) | Action::Delete));
    changing.map(|change| change.path.as_bytes().to_vec()).collect()
}

/// Returns the processes that use one of these paths.
fn users(paths: &BTreeSet<Vec<u8>>) -> Vec<UsingProcess> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let used: BTreeMap<u32, UsingProcess> = processes
        .filter_map(|entry| {
            let process = entry.file_name().to_str()?.parse().ok()?;
            Some((process, of_process(process, &entry.path(), paths)?))
        })
        .collect();
    used.into_values().collect()
}

fn of_process(process: u32, directory: &Path, changing: &BTreeSet<Vec<u8>>) -> Option<UsingProcess> {
    let maps = fs::read(directory.join("maps")).ok()?;
    let mut paths: BTreeSet<Vec<u8>> = maps.split(|&b| b == b'\n').filter_map(mapped).collect();
    if let Ok(program) = fs::read_link(directory.join("exe")) {
        paths.insert(program.as_os_str().as_bytes().to_vec());
    }
    let used: Vec<String> =
        paths.intersection(changing).map(|path| String::from_utf8_lossy(path).into_owned()).collect();
    if used.is_empty() {
        return None;
    }
    let program = fs::read_to_string(directory.join("comm")).unwrap_or_default().trim().to_owned();
    Some(UsingProcess { process, program, paths: used })
}

/// Returns the path in a line of `/proc/<pid>/maps`: what follows the first slash.
fn mapped(line: &[u8]) -> Option<Vec<u8>> {
    line.iter().position(|&b| b == b'/').map(|slash| line[slash..].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_by_its_own_program() {
        let program = std::env::current_exe().unwrap();
        let changing = BTreeSet::from([program.as_os_str().as_bytes().to_vec()]);
        let own = std::process::id();
        let found = of_process(own, Path::new(&format!("/proc/{own}")), &changing).unwrap();
        assert_eq!(found.paths, [program.display().to_string()]);
        assert!(of_process(own, Path::new(&format!("/proc/{own}")), &BTreeSet::new()).is_none());
    }

    #[test]
    fn a_line_of_maps_has_its_path_behind_the_inode() {
        let line = b"7f00-7f01 r-xp 00000000 fd:00 1234    /usr/lib/with blank.so";
        assert_eq!(mapped(line), Some(b"/usr/lib/with blank.so".to_vec()));
        assert_eq!(mapped(b"7f00-7f01 rw-p 00000000 00:00 0    [heap]"), None);
    }
}
