//! The report of a run: one value, with its text and mail.

mod mail;
mod text;

use std::collections::BTreeMap;

use patchadm_svr4::package::control::visible;
use serde::{Deserialize, Serialize};

use crate::history::RunPackage;
use crate::journal::{BuildState, FailureCause, StateCounts, TreeFault};
use crate::result::{Blake3Digest, ResultKey};

pub use mail::{MailInput, report_mail, subject};
pub use text::{MOST_HARMFUL, ReportTextInput, patches_text, report_text};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedPackage {
    pub package: String,
    pub location: String,
    pub state: BuildState,
    pub cause: Option<FailureCause>,
    pub phase: Option<String>,
    /// The failure, or why it is not built.
    pub detail: Option<String>,
    /// `None` if the recipe excludes it.
    #[serde(default)]
    pub fault: Option<TreeFault>,
    /// Nearest packages that failed by themselves, sorted; of many only the first ones.
    pub because: Vec<String>,
    /// Number of further ones.
    #[serde(default)]
    pub more_causes: u64,
    /// Packages not built because of it ([`RunReport::count_breaks`]).
    pub breaks: u64,
    /// Packages that wait for nothing else.
    pub breaks_alone: u64,
    /// If known.
    pub key: Option<ResultKey>,
    /// The run in which it was built or failed.
    pub run: Option<u64>,
    pub slot: Option<String>,
    /// Starts in this run.
    pub tries: u32,
    /// Milliseconds.
    pub ms: Option<u64>,
    /// Milliseconds.
    pub cpu_ms: Option<u64>,
    /// Bytes.
    pub peak_memory: Option<u64>,
    /// In the directory of the run.
    pub log: Option<String>,
    pub maintainer: Option<String>,
    /// Inputs that differ from its last success, most telling first.
    pub suspects: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnmetLibrary {
    pub package: String,
    pub library: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedSet {
    /// Also the number of its run.
    pub run: u64,
    pub packages: u64,
    /// From the previous set, because they were not built.
    pub kept: Vec<String>,
    /// Missing needs of left-out packages.
    pub unmet: Vec<UnmetLibrary>,
    #[serde(default)]
    pub left_out: Vec<LeftOutPackage>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeftOutReason {
    /// Another package, or the base, has its name or path.
    Conflict,
    /// It lacks a library or package.
    Lacking,
    /// The manifest would be too large with its location.
    TooLarge,
    /// A file of it is damaged, or above the limits.
    Unusable,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOutPackage {
    pub package: String,
    pub location: String,
    pub reason: LeftOutReason,
    /// The shared name or path, the missing SONAME or PKGNAME, the file that would be too large, or the fault of a file.
    pub name: String,
    /// The other package of a conflict, by PKGNAME.
    pub holder: Option<String>,
    /// Direct and indirect dependents in the run.
    pub breaks: u64,
}

impl LeftOutPackage {
    /// Says why the package is not in the set.
    pub fn words(&self) -> String {
        let Self { package, location, reason, name, holder, breaks } = self;
        let reason = match reason {
            LeftOutReason::Conflict => {
                format!("{name} belongs to {}", holder.as_deref().unwrap_or("another package"))
            }
            LeftOutReason::Lacking => format!("it needs {name}, which is neither in the set nor in the base"),
            LeftOutReason::TooLarge => format!("{name} would be too large with the files of its location"),
            LeftOutReason::Unusable => format!("it cannot be used: {name}"),
        };
        format!("{package} ({location}): {reason}; it breaks {breaks}")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftoverReport {
    pub package: String,
    /// Absolute.
    pub paths: Vec<String>,
}

/// A path of two packages that is not a directory of both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedPath {
    /// The first such path.
    pub path: String,
    /// Number of further ones.
    pub more: u64,
    /// The owner, and the package left out for it.
    pub packages: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageRemarks {
    pub package: String,
    /// Sentences without their periods.
    pub remarks: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineReport {
    pub slot: String,
    /// Parallel tasks.
    pub count: u32,
    /// Failures.
    pub trouble: u64,
    /// `None` if it was not left out.
    pub left_out: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePatchReport {
    pub source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// As in `delta`: `built`, `kept`, `unchanged`, `failed`, `new`, `gone`.
    pub state: String,
    pub reason: String,
    /// Further fields of `delta`.
    #[serde(flatten)]
    pub others: serde_json::Map<String, serde_json::Value>,
}

/// A library that a patch removes although released packages need it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenLibrary {
    pub id: String,
    pub library: String,
    /// Released packages that need it.
    pub packages: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedPatches {
    /// As in `delta`.
    pub sources: Vec<SourcePatchReport>,
    /// Removed libraries, with packages to patch together.
    pub takes_away: Vec<TakenLibrary>,
    /// Further fields of `delta`.
    #[serde(flatten)]
    pub others: serde_json::Map<String, serde_json::Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunPlatform {
    /// Such as `Debian GNU/Linux 12 (bookworm)`.
    pub os: Option<String>,
    /// As the driver names it.
    pub compiler: Option<String>,
    /// `host`, or the path of a directory.
    pub base: String,
}

const NAMED_UNREAD: usize = 10;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadReport {
    /// With the uploaded files.
    pub directory: String,
    pub packages: u64,
    /// Left out because their binaries must not be distributed.
    pub restricted: Vec<String>,
    /// Left out because other packages or generated files have their names: paths in the set.
    #[serde(default)]
    pub left_out: Vec<String>,
    /// Missing in `pkg_summary.gz`, because the base's `pkg_info` could not read them in time.
    #[serde(default)]
    pub unread: Vec<String>,
    /// True if the command has uploaded it.
    pub uploaded: bool,
    /// Why it failed.
    pub error: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunReport {
    pub run: u64,
    /// Working directory.
    pub work: String,
    /// Digest of `bulk.conf`.
    pub conf: Blake3Digest,
    /// RFC 3339.
    pub began: String,
    /// RFC 3339.
    pub ended: String,
    /// Continued after an interruption.
    pub continued: bool,
    /// Without empty states.
    pub counts: StateCounts,
    /// In byte order of PKGNAME.
    pub packages: Vec<ReportedPackage>,
    pub set: Option<ReportedSet>,
    pub set_refused: Option<String>,
    /// Packages with other bytes for the same key, as `PKGNAME: first differing file`.
    pub not_reproducible: Vec<String>,
    pub leftovers: Vec<LeftoverReport>,
    #[serde(default)]
    pub shared_paths: Vec<SharedPath>,
    #[serde(default)]
    pub remarks: Vec<PackageRemarks>,
    pub machines: Vec<MachineReport>,
    /// `None` if none were requested.
    pub patches: Option<ReportedPatches>,
    /// Output of `publish`; `None` if nothing was published.
    pub published: Option<serde_json::Value>,
    #[serde(default)]
    pub platform: Option<RunPlatform>,
    /// `None` if nothing was to be uploaded.
    #[serde(default)]
    pub upload: Option<UploadReport>,
}

impl UploadReport {
    pub fn words(&self) -> String {
        let restricted = match self.restricted.len() {
            0 => String::new(),
            count => format!(", {count} restricted left out"),
        };
        let others = match self.left_out.as_slice() {
            [] => String::new(),
            names => format!(", left out for their names: {}", names.join(" ")),
        };
        let unread = match self.unread.as_slice() {
            [] => String::new(),
            names => {
                let named: Vec<&str> = names.iter().take(NAMED_UNREAD).map(String::as_str).collect();
                let more = match names.len() - named.len() {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                format!(", not in pkg_summary.gz: {}{more}", named.join(" "))
            }
        };
        let packages = format!("{} packages{restricted}{others}{unread}", self.packages);
        match (&self.error, self.uploaded) {
            (Some(error), _) => format!("failed: {error}"),
            (None, true) => format!("{packages}, from {}", self.directory),
            (None, false) => format!("{packages} in {}, not uploaded", self.directory),
        }
    }
}

impl RunReport {
    pub fn count(&self, state: BuildState) -> u64 {
        self.counts.get(&state).copied().unwrap_or_default()
    }

    /// Counts packages by state, and the dependents that each failure breaks: those whose `because` names it, and those
    /// where it names nothing else. A failed package had all its dependencies, so it hides no broken one. Of several
    /// with one name only the first location's has dependents.
    pub fn count_breaks(&mut self) {
        let mut breaks: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        let mut locations: BTreeMap<&str, &str> = BTreeMap::new();
        let mut counts = StateCounts::new();
        for package in &self.packages {
            *counts.entry(package.state).or_default() += 1;
            let first = locations.entry(&package.package).or_insert(&package.location);
            *first = (*first).min(&package.location);
            for cause in &package.because {
                let (all, alone) = breaks.entry(cause).or_default();
                *all += 1;
                *alone += u64::from(package.because.len() == 1 && package.more_causes == 0);
            }
        }
        let own = |package: &ReportedPackage| {
            let is_needed = locations.get(package.package.as_str()) == Some(&package.location.as_str());
            breaks.get(package.package.as_str()).filter(|_| is_needed).copied().unwrap_or_default()
        };
        let broken: Vec<(u64, u64)> = self.packages.iter().map(own).collect();
        for (package, broken) in self.packages.iter_mut().zip(broken) {
            (package.breaks, package.breaks_alone) = broken;
        }
        self.counts = counts;
    }

    /// Lists packages not built because of faults of the tree, and those left out of the set for more than a conflict.
    pub fn faults(&self) -> Vec<String> {
        let faulty = self.packages.iter().filter(|package| package.fault.is_some());
        let faulty = faulty
            .map(|package| format!("{}: {}", package.package, package.detail.as_deref().unwrap_or_default()));
        let left_out = self.set.iter().flat_map(|set| &set.left_out);
        let left_out =
            left_out.filter(|left| left.reason != LeftOutReason::Conflict).map(LeftOutPackage::words);
        faulty.chain(left_out).map(|words| visible(&words).into_owned()).collect()
    }

    /// Prepares the comparison of runs.
    pub fn run_packages(&self) -> Vec<RunPackage<'_>> {
        let packages = self.packages.iter().map(|package| RunPackage {
            package: &package.package,
            location: &package.location,
            state: package.state,
            ms: package.ms,
        });
        packages.collect()
    }

    /// Names the run and its directory, and says if it was continued.
    pub fn run_words(&self) -> String {
        let continued = if self.continued { ", continued after an interruption" } else { "" };
        format!("{} of {}{continued}", self.run, self.work)
    }

    /// Describes the set, or why there is none.
    pub fn set_words(&self) -> String {
        match (&self.set, &self.set_refused) {
            (Some(set), _) => format!("{} ({} packages)", set.run, set.packages),
            (None, Some(reason)) => format!("none: {reason}"),
            (None, None) => "none".to_owned(),
        }
    }

    /// Returns at most this many failures, those first that most packages wait for.
    pub fn most_harmful(&self, most: usize) -> Vec<&ReportedPackage> {
        let failed =
            self.packages.iter().filter(|package| package.state == BuildState::Failed && package.breaks > 0);
        let mut failed: Vec<&ReportedPackage> = failed.collect();
        failed.sort_by(|one, other| {
            (other.breaks, other.breaks_alone, &one.package).cmp(&(
                one.breaks,
                one.breaks_alone,
                &other.package,
            ))
        });
        failed.truncate(most);
        failed
    }
}

/// Heads the count of packages in a state.
pub fn state_heading(state: BuildState) -> &'static str {
    match state {
        BuildState::Done => "Built",
        BuildState::UpToDate => "Up to date",
        BuildState::Failed => "Failed",
        BuildState::IndirectFailed => "Depending on failed",
        BuildState::Prefailed => "Explicitly broken or masked",
        BuildState::IndirectPrefailed => "Depending on masked",
        BuildState::Deferred => "Deferred",
        BuildState::Open => "Open",
        BuildState::Running => "Running",
    }
}

#[cfg(test)]
mod tests;
