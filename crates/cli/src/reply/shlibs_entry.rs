use std::fmt;

use serde::Serialize;

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
