//! The package database, which a backout must restore.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use patchadm_svr4::format::params::ParamFile;

use crate::scenario::Scenario;
use crate::tree::Tree;

/// Paths that are never compared: the lock, which every changing command takes, and journal, history and log.
pub(crate) const OWN: [&str; 2] = ["var/sadm/patchadm", "var/sadm/install/.lockfile"];

/// Software and records of a root before a patch, to be compared with those after its backout.
pub(crate) struct Before {
    software: Tree,
    records: BTreeMap<String, String>,
}

impl Before {
    /// Records the current state of a root.
    pub(crate) fn of(stage: &Scenario) -> Self {
        Self { software: Tree::of(&stage.root(), &["var/sadm"]), records: records(&stage.root()) }
    }

    /// Asserts that the root is in this state again, except for what a backout may leave.
    #[track_caller]
    pub(crate) fn assert_again(&self, stage: &Scenario, when: &str) {
        let difference = self.software.difference(&Tree::of(&stage.root(), &["var/sadm"]));
        assert!(difference.is_empty(), "{when}\n{difference}");
        let now = records(&stage.root());
        let paths: Vec<&String> = self.records.keys().chain(now.keys()).collect();
        for path in paths {
            assert_eq!(self.records.get(path), now.get(path), "{when}: {path}");
        }
    }
}

/// The records of a root by path, each reduced to the parts that must be the same again. The parts that a backout may
/// leave behind are omitted: an emptied PATCHLIST and `PATCH_OBSOLETES`, `backed out`, the lines that close
/// `contents`. The times of the files that a run rewrites, the first two and `obsoleted_by`, mean nothing; those of
/// the others come back in whole seconds, as archives of records have them.
pub(crate) fn records(root: &Path) -> BTreeMap<String, String> {
    let tree = Tree::of(root, &OWN);
    let paths = tree.paths();
    let paths = paths.split(' ').filter(|path| path.starts_with("var/sadm/"));
    let record = |path: &str| {
        let read = || fs::read(root.join(path)).unwrap();
        if path.ends_with("/pkginfo") && !path.contains("/pspool/") {
            said(&read())
        } else if path == "var/sadm/install/contents" {
            let text = String::from_utf8_lossy(&read()).into_owned();
            text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
        } else {
            let mut columns: Vec<String> = tree.line(path).split('\t').map(str::to_owned).collect();
            columns[6].truncate(if path.ends_with("/obsoleted_by") { 0 } else { 10 });
            columns.join("\t")
        }
    };
    paths.map(|path| (path.to_owned(), record(path))).collect()
}

/// A pkginfo without remains of patches that were backed out.
fn said(pkginfo: &[u8]) -> String {
    let params = ParamFile::parse(pkginfo).unwrap().params();
    let is_left = |name: &str, value: &[u8]| {
        (value.is_empty() && (name == "PATCHLIST" || name == "PATCH_OBSOLETES"))
            || (name.starts_with("PATCH_INFO_") && value == b"backed out")
    };
    let kept = params.iter().filter(|(name, value)| !is_left(name, value));
    kept.map(|(name, value)| format!("{name}={}\n", String::from_utf8_lossy(value))).collect()
}
