//! Old shared libraries: what a change does to them, and the programs that still use them.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde::{Serialize, Serializer};

use patchadm_planning::plan::kept_libraries::{
    KeptLibrary, LibraryReport, LostLibrary, PackagePaths, ToldConsumer,
};
use patchadm_svr4::package::ObjectPath;

/// Limits the consumers and symbols listed for one library.
const MOST_LISTED: usize = 100;

#[derive(Debug, Serialize)]
pub struct LibrariesEntry {
    policy: Vec<&'static str>,
    scanned: u64,
    not_understood: Vec<NotUnderstoodEntry>,
    skipped: Vec<String>,
    kept: Vec<KeptLibraryEntry>,
    lost: Vec<LostEntry>,
    dropped: Vec<PathsEntry>,
    returned: Vec<PathsEntry>,
}

#[derive(Debug, Serialize)]
struct NotUnderstoodEntry {
    path: String,
    reason: String,
}

#[derive(Debug, Serialize)]
struct KeptLibraryEntry {
    package: String,
    from: String,
    library: String,
    paths: Vec<String>,
    bytes: u64,
    consumers: Vec<ConsumerEntry>,
    consumers_total: usize,
}

#[derive(Debug, Serialize)]
struct LostEntry {
    library: String,
    path: String,
    reason: &'static str,
    versions: Vec<String>,
    symbols: Vec<String>,
    symbols_total: usize,
    consumers: Vec<ConsumerEntry>,
    consumers_total: usize,
}

#[derive(Debug, Serialize)]
struct PathsEntry {
    package: String,
    paths: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct ConsumerEntry {
    path: String,
    packages: Vec<String>,
    how: &'static str,
    pid: Option<u32>,
}

impl fmt::Display for ConsumerEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.path, self.how)?;
        if let Some(process) = self.pid {
            write!(f, " by process {process}")?;
        }
        if !self.packages.is_empty() {
            write!(f, ", {}", self.packages.join(", "))?;
        }
        write!(f, ")")
    }
}

impl From<&LibraryReport> for LibrariesEntry {
    fn from(report: &LibraryReport) -> Self {
        let not_understood = report
            .not_understood
            .iter()
            .map(|(path, reason)| NotUnderstoodEntry { path: path.to_string(), reason: reason.clone() });
        Self {
            policy: report.words.names(),
            scanned: report.scanned,
            not_understood: not_understood.collect(),
            skipped: texts(&report.skipped),
            kept: report.kept.iter().map(kept).collect(),
            lost: report.lost.iter().map(lost).collect(),
            dropped: report.dropped.iter().map(paths).collect(),
            returned: report.returned.iter().map(paths).collect(),
        }
    }
}

fn texts(paths: &[ObjectPath]) -> Vec<String> {
    paths.iter().map(ToString::to_string).collect()
}

fn kept(library: &KeptLibrary) -> KeptLibraryEntry {
    KeptLibraryEntry {
        package: library.package.to_string(),
        from: library.from.clone(),
        library: library.library.clone(),
        paths: texts(&library.paths),
        bytes: library.bytes,
        consumers: consumers(&library.consumers),
        consumers_total: library.consumers.len(),
    }
}

fn lost(library: &LostLibrary) -> LostEntry {
    LostEntry {
        library: library.library.clone(),
        path: library.path.to_string(),
        reason: library.reason,
        versions: library.versions.clone(),
        symbols: library.symbols.iter().take(MOST_LISTED).cloned().collect(),
        symbols_total: library.symbols.len(),
        consumers: consumers(&library.consumers),
        consumers_total: library.consumers.len(),
    }
}

fn paths(package: &PackagePaths) -> PathsEntry {
    PathsEntry { package: package.package.to_string(), paths: texts(&package.paths) }
}

pub fn consumers(all: &[ToldConsumer]) -> Vec<ConsumerEntry> {
    let entry = |consumer: &ToldConsumer| ConsumerEntry {
        path: consumer.path.to_string(),
        packages: consumer.packages.iter().map(ToString::to_string).collect(),
        how: consumer.how,
        pid: consumer.pid,
    };
    all.iter().take(MOST_LISTED).map(entry).collect()
}

const MOST_NAMED: usize = 10;

/// A list in the JSON document.
#[derive(Debug, Default)]
pub struct KeptShlibs {
    entries: Vec<KeptShlibEntry>,
    sentences: Vec<String>,
}

#[derive(Debug, Serialize)]
struct KeptShlibEntry {
    package: String,
    library: String,
    paths: Vec<String>,
    bytes: u64,
    consumers: Vec<ConsumerEntry>,
    consumers_total: usize,
}

impl Serialize for KeptShlibs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.entries.serialize(serializer)
    }
}

impl KeptShlibs {
    pub fn of(libraries: &[KeptLibrary]) -> Self {
        let entry = |library: &KeptLibrary| KeptShlibEntry {
            package: library.package.to_string(),
            library: library.library.clone(),
            paths: library.paths.iter().map(ToString::to_string).collect(),
            bytes: library.bytes,
            consumers: consumers(&library.consumers),
            consumers_total: library.consumers.len(),
        };
        Self { entries: libraries.iter().map(entry).collect(), sentences: sentences(libraries) }
    }

    /// Returns true if the patch is in force for everybody.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// One sentence for all libraries that the same programs load.
    pub fn sentences(&self) -> &[String] {
        &self.sentences
    }
}

fn sentences(libraries: &[KeptLibrary]) -> Vec<String> {
    let mut by_programs: BTreeMap<Vec<String>, Vec<&str>> = BTreeMap::new();
    for library in libraries {
        by_programs.entry(programs(&library.consumers)).or_default().push(&library.library);
    }
    let told = by_programs.into_iter().filter(|(programs, _)| !programs.is_empty());
    told.map(|(programs, mut libraries)| {
        libraries.sort_unstable();
        libraries.dedup();
        sentence(&programs, &libraries)
    })
    .collect()
}

fn sentence(programs: &[String], libraries: &[&str]) -> String {
    let (many, load) = match programs.len() {
        1 => ("1 program".to_owned(), "loads"),
        number => (format!("{number} programs"), "load"),
    };
    let mut named = programs.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join(", ");
    if let Some(more) = programs.len().checked_sub(MOST_NAMED).filter(|more| *more > 0) {
        let _ = write!(named, " and {more} more");
    }
    format!("effective, except for {many} that still {load} {}: {named}", libraries.join(", "))
}

/// Each program once. A library kept by the policy need not have one.
fn programs(consumers: &[ToldConsumer]) -> Vec<String> {
    let loading = consumers.iter().filter(|consumer| consumer.how != "policy");
    let mut paths: Vec<String> = loading.map(|consumer| consumer.path.to_string()).collect();
    paths.sort();
    paths.dedup();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_svr4::package::{ObjectPath, PkgInst};

    fn library(name: &str, programs: &[(&str, &'static str)]) -> KeptLibrary {
        let consumer = |(path, how): &(&str, &'static str)| ToldConsumer {
            path: ObjectPath::new(path.as_bytes()).unwrap(),
            packages: Vec::new(),
            how,
            pid: None,
        };
        KeptLibrary {
            package: PkgInst::new("X-SO").unwrap(),
            from: "X".to_owned(),
            library: name.to_owned(),
            paths: Vec::new(),
            bytes: 0,
            consumers: programs.iter().map(consumer).collect(),
        }
    }

    #[test]
    fn one_sentence_says_who_loads_which_libraries() {
        let both = [("/usr/bin/b", "needed"), ("/usr/bin/a", "needed"), ("/usr/bin/a", "mapped")];
        let all = [
            library("libb.so.1", &both),
            library("liba.so.1", &both),
            library("libc.so.6", &[("/opt/c", "dlopen")]),
            library("libd.so.1", &[("/usr/lib/libd.so.1", "policy")]),
            library("libe.so.1", &[]),
        ];
        assert_eq!(
            KeptShlibs::of(&all).sentences(),
            [
                "effective, except for 1 program that still loads libc.so.6: /opt/c",
                "effective, except for 2 programs that still load liba.so.1, libb.so.1: /usr/bin/a, /usr/bin/b",
            ]
        );
        let names: Vec<String> = (0..12).map(|number| format!("/bin/{number:02}")).collect();
        let many: Vec<(&str, &'static str)> = names.iter().map(|name| (name.as_str(), "needed")).collect();
        let said = KeptShlibs::of(&[library("libx.so.1", &many)]);
        assert!(said.sentences()[0].ends_with("/bin/09 and 2 more"), "{:?}", said.sentences());
    }
}
