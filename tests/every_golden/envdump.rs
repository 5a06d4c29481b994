//! The environment of scripts: the dumps that they left in `/envdump` of the root.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::seen::Seen;
use super::words::stable;

/// Parts of a dump that are not compared: descriptors, ids, and directories and names that each installer has for
/// itself.
const APART: [&str; 6] = ["argv0=", "fd ", "total ", "id=", "PATH=", "TMPDIR="];

/// The order of the dumps in a directory.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    /// By process id, which ends their names: the classic dumps have lost their times.
    Process,
    /// By time: process ids may wrap around while ours are made.
    Time,
}

/// Adds the dumps of a directory, in order for each script. `places` replaces the paths of this machine.
pub(super) fn dumps(seen: &mut Seen, directory: &Path, order: Order, places: &dyn Fn(&str) -> String) {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort_by_key(|file| match order {
        Order::Process => (file.extension().unwrap().to_str().unwrap().parse().unwrap(), 0),
        Order::Time => fs::metadata(file).map(|made| (made.mtime(), made.mtime_nsec())).unwrap(),
    });
    let mut counts = BTreeMap::new();
    for file in files {
        let name = file.file_stem().unwrap().to_str().unwrap();
        // The checkinstall of a new package runs under a name of its own.
        let script = if name.starts_with("checkinstall") { "checkinstall" } else { name };
        let count: &mut u32 = counts.entry(script.to_owned()).or_default();
        *count += 1;
        let text = fs::read_to_string(&file).unwrap();
        for line in text.lines().filter(|line| !APART.iter().any(|apart| line.starts_with(apart))) {
            let (variable, value) = line.split_once('=').unwrap_or((line, ""));
            seen.insert(format!("env {script}.{count} {variable}"), stable(&places(value)));
        }
    }
}
