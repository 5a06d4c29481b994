//! The state of a root as facts with names, so that two roots can be compared fact by fact: every attribute of every
//! object, every line of `contents`, every parameter, every record of a package.
//!
//! Facts that always differ between two ways to the same patches are left out or replaced by their meaning: dates,
//! and the names of undo archives, which say how they are compressed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use patchadm_svr4::format::params::ParamFile;
use patchadm_svr4::patch::PatchInfo;

use crate::differences::Difference;
use crate::scenario::Scenario;
use crate::tree::{COLUMNS, Tree};

/// The facts about a root, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State(pub(crate) BTreeMap<String, String>);

/// The change of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Changed {
    /// Anything but its type.
    Else,
    /// Its type, or it is new or gone.
    Type,
}

impl State {
    /// The state of a root with one package.
    pub(crate) fn of(scenario: &Scenario, package: &str) -> Self {
        let mut state = Self(BTreeMap::new());
        for (path, columns) in Tree::of(&scenario.root(), &["var/sadm", "var/tmp", "tmp"]).objects() {
            state.add(&format!("/{path}"), columns, &COLUMNS);
        }
        for line in scenario.lines() {
            let path = line.split([' ', '=']).next().unwrap().to_owned();
            state.0.insert(format!("contents {path}"), line);
        }
        state.add_params(scenario, package);
        state.add_records(scenario, package);
        state
    }

    fn add(&mut self, name: &str, columns: &[String], names: &[&str]) {
        for (column, value) in COLUMNS.iter().zip(columns).filter(|(column, _)| names.contains(column)) {
            self.0.insert(format!("{name} {column}"), value.clone());
        }
    }

    fn add_params(&mut self, scenario: &Scenario, package: &str) {
        let pkginfo = fs::read(scenario.at(&format!("/var/sadm/pkg/{package}/pkginfo"))).unwrap();
        for (name, value) in ParamFile::parse(&pkginfo).unwrap().params().iter() {
            let (what, value) = meaning(name, &String::from_utf8_lossy(value));
            self.0.insert(format!("pkginfo {name}{what}"), value);
        }
    }

    /// The records of the package and of its patches: in full what a backout restores, else the names.
    fn add_records(&mut self, scenario: &Scenario, package: &str) {
        let pkginfo = format!("pkg/{package}/pkginfo");
        let records = Tree::of(&scenario.at("/var/sadm"), &["patchadm", "install", &pkginfo]);
        for (path, columns) in records.objects() {
            let is_restored =
                ["install", "save/pspool"].iter().any(|of| path.contains(&format!("{package}/{of}/")));
            if is_restored {
                let but_time: Vec<&str> = COLUMNS.into_iter().filter(|column| *column != "mtime").collect();
                self.add(&format!("record {path}"), columns, &but_time);
            } else {
                let path = ["undo", "obsolete"].into_iter().fold(path.clone(), |path, word| {
                    path.replace(&format!("/{word}.gz"), &format!("/{word}"))
                        .replace(&format!("/{word}.Z"), &format!("/{word}"))
                        .replace(&format!("/{word}.files"), &format!("/{word}"))
                });
                self.0.insert(format!("record {path}"), "there".to_owned());
            }
        }
    }

    /// The objects below a directory that have changed since `before`, or whose line of `contents` has, by their
    /// paths relative to it.
    pub(crate) fn objects_changed_since(&self, before: &Self, directory: &str) -> BTreeMap<String, Changed> {
        let all: BTreeSet<&String> = before.0.keys().chain(self.0.keys()).collect();
        let mut found = BTreeMap::new();
        for what in all.into_iter().filter(|what| before.0.get(*what) != self.0.get(*what)) {
            let fact = what.strip_prefix("contents ").unwrap_or(what);
            let Some(fact) = fact.strip_prefix(directory).and_then(|fact| fact.strip_prefix('/')) else {
                continue;
            };
            let (path, column) = fact.rsplit_once(' ').unwrap_or((fact, ""));
            let how = if column == "type" { Changed::Type } else { Changed::Else };
            found
                .entry(path.to_owned())
                .and_modify(|known: &mut Changed| *known = how.max(*known))
                .or_insert(how);
        }
        found
    }

    pub(crate) fn has_object(&self, path: &str) -> bool {
        self.0.contains_key(&format!("{path} type"))
    }

    /// The facts in which it differs from `expected`, found in a scenario and a step.
    pub(crate) fn differences(&self, expected: &Self, scenario: &str, step: &str) -> Vec<Difference> {
        let all: BTreeSet<&String> = expected.0.keys().chain(self.0.keys()).collect();
        let different = all.into_iter().filter(|what| expected.0.get(*what) != self.0.get(*what));
        let both =
            |what: &String| format!("expected {:?}, found {:?}", expected.0.get(what), self.0.get(what));
        different.map(|what| (scenario.to_owned(), step.to_owned(), what.clone(), both(what))).collect()
    }
}

/// Returns a note about a parameter, and its meaning without the parts that always differ between two runs.
fn meaning(name: &str, value: &str) -> (&'static str, String) {
    let words = || value.split_whitespace();
    if name.starts_with("PATCH_INFO_") {
        let PatchInfo::Installed(info) = PatchInfo::parse(value, "-") else {
            return (" of a patch that has gone", value.to_owned());
        };
        let (obsoletes, requires) = (&info.obsoletes, &info.requires);
        return (
            "",
            format!("obsoletes {obsoletes} requires {requires} incompatibles {}", info.incompatibles),
        );
    }
    let told = match name {
        "PATCHLIST" => words().collect::<Vec<_>>().join(" "),
        "PATCH_OBSOLETES" => words().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" "),
        _ => return ("", value.to_owned()),
    };
    (if told.is_empty() { " without a patch" } else { "" }, told)
}
