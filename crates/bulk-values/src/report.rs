//! The report of a run: one value, with its text and mail.

mod mail;
mod text;

use std::collections::BTreeMap;

use patchadm_svr4::package::control::visible;
use serde::{Deserialize, Serialize};

use crate::history::RunPackage;
use crate::journal::{FailureCause, PackageState, StateCounts, TreeFault};
use crate::result::{Digest, Key};

pub use mail::{MailInput, report_mail, subject};
pub use text::{MOST_HARMFUL, ReportTextInput, patches_text, report_text};

/// A package of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageReport {
    /// PKGNAME.
    pub package: String,
    /// Its location.
    pub location: String,
    /// Its state.
    pub state: PackageState,
    /// The cause of a failure.
    pub cause: Option<FailureCause>,
    /// The phase in which the build failed.
    pub phase: Option<String>,
    /// The failure, or the reason why it is not built, in words.
    pub detail: Option<String>,
    /// The fault of the tree that prefails it; `None` if its recipe says that it is not to be built.
    #[serde(default)]
    pub fault: Option<TreeFault>,
    /// For an indirect state: the nearest packages that failed by themselves, sorted; of many only the first ones.
    pub because: Vec<String>,
    /// The number of further such packages.
    #[serde(default)]
    pub more_causes: u64,
    /// The number of packages not built because of it ([`RunReport::count_breaks`]).
    pub breaks: u64,
    /// The number of these that wait for nothing else.
    pub breaks_alone: u64,
    /// Its key, if that is known.
    pub key: Option<Key>,
    /// The run in which it was built or failed.
    pub run: Option<u64>,
    /// The slot where that was.
    pub slot: Option<String>,
    /// The number of starts in this run.
    pub tries: u32,
    /// The duration in milliseconds.
    pub ms: Option<u64>,
    /// The CPU time in milliseconds.
    pub cpu_ms: Option<u64>,
    /// The most memory that it used, in bytes.
    pub peak_memory: Option<u64>,
    /// The path of its log in the directory of the run.
    pub log: Option<String>,
    /// MAINTAINER of its record.
    pub maintainer: Option<String>,
    /// The inputs of its key that differ from its last success, the most telling first.
    pub suspects: Vec<String>,
}

/// A library that a set needs and does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnmetLibrary {
    /// The package that needs it.
    pub package: String,
    /// Its SONAME.
    pub library: String,
}

/// The set of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetReport {
    /// Its number: that of its run.
    pub run: u64,
    /// The number of packages.
    pub packages: u64,
    /// Packages kept from the previous set, because they were not built.
    pub kept: Vec<String>,
    /// Missing needs of left-out packages.
    pub unmet: Vec<UnmetLibrary>,
    /// Packages left out of it.
    #[serde(default)]
    pub left_out: Vec<LeftOutPackage>,
}

/// The reason why a package is left out of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeftOutReason {
    /// Another package, or the base, has its name or one of its paths.
    Conflict,
    /// A library or package that it needs is missing.
    Lacking,
    /// The manifest of the set would be too large with its location.
    TooLarge,
}

/// A package left out of a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOutPackage {
    /// PKGNAME.
    pub package: String,
    /// The location of its recipe.
    pub location: String,
    /// The reason.
    pub reason: LeftOutReason,
    /// The shared name, or path in the set; the missing SONAME or PKGNAME; or the file that would be too large.
    pub name: String,
    /// PKGNAME of the one that the set has; only of a conflict.
    pub holder: Option<String>,
    /// The number of direct and indirect dependents in the run.
    pub breaks: u64,
}

impl LeftOutPackage {
    /// Returns the package, and why it is not in the set, in words.
    pub fn words(&self) -> String {
        let Self { package, location, reason, name, holder, breaks } = self;
        let reason = match reason {
            LeftOutReason::Conflict => {
                format!("{name} is that of {}", holder.as_deref().unwrap_or("another package"))
            }
            LeftOutReason::Lacking => format!("it needs {name}, which is neither in the set nor in the base"),
            LeftOutReason::TooLarge => format!("{name} would be too large with the files of its location"),
        };
        format!("{package} ({location}): {reason}; it breaks {breaks}")
    }
}

/// The leftovers of a package after its removal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftoverReport {
    /// The package.
    pub package: String,
    /// Absolute paths.
    pub paths: Vec<String>,
}

/// A path that two packages deliver, and that is no directory of both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedPath {
    /// The first such path.
    pub path: String,
    /// The number of further shared paths.
    pub more: u64,
    /// The package that has it, and the one that is left out for it.
    pub packages: Vec<String>,
}

/// Remarks about a result that are no failures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageRemarks {
    /// PKGNAME.
    pub package: String,
    /// The remarks, each a sentence without its period.
    pub remarks: Vec<String>,
}

/// The machines behind a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineReport {
    /// The name of the slot.
    pub slot: String,
    /// The number of parallel tasks.
    pub count: u32,
    /// The number of failures.
    pub trouble: u64,
    /// The reason why it was left out; `None` if it was not.
    pub left_out: Option<String>,
}

/// The patch of a source, as `delta` tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePatchReport {
    /// The source.
    pub source: String,
    /// The id of its patch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The word of `delta`: `built`, `kept`, `unchanged`, `failed`, `new`, `gone`.
    pub state: String,
    /// The reason for that.
    pub reason: String,
    /// Further fields of `delta`.
    #[serde(flatten)]
    pub others: serde_json::Map<String, serde_json::Value>,
}

/// A library that a patch takes away from packages that were released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenLibrary {
    /// The id of the patch.
    pub id: String,
    /// The SONAME.
    pub library: String,
    /// The released packages that need it.
    pub packages: Vec<String>,
}

/// The patches of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchesReport {
    /// The sources, as `delta` tells of them.
    pub sources: Vec<SourcePatchReport>,
    /// Libraries that are removed, with the packages to patch together.
    pub takes_away: Vec<TakenLibrary>,
    /// Further fields of `delta`.
    #[serde(flatten)]
    pub others: serde_json::Map<String, serde_json::Value>,
}

/// The platform of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunPlatform {
    /// The system in the base, for example `Debian GNU/Linux 12 (bookworm)`.
    pub os: Option<String>,
    /// The compiler, as the driver names it.
    pub compiler: Option<String>,
    /// The base: `host`, or the path of a directory.
    pub base: String,
}

const NAMED_UNREAD: usize = 10;

/// The upload of the packages of a set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadReport {
    /// The directory with the uploaded files.
    pub directory: String,
    /// The number of package files.
    pub packages: u64,
    /// Packages that are not in it, since their binaries must not be handed on.
    pub restricted: Vec<String>,
    /// Files that are not in it, since their names are those of other packages or of files that are made there: their paths in the
    /// set.
    #[serde(default)]
    pub left_out: Vec<String>,
    /// Its packages that `pkg_summary.gz` does not have, since `pkg_info` of the base could not read them in time; empty if it was
    /// there before.
    #[serde(default)]
    pub unread: Vec<String>,
    /// True if the command has uploaded it.
    pub uploaded: bool,
    /// The reason of a failure.
    pub error: Option<String>,
}

/// The report of a run. All times are RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunReport {
    /// The number of the run.
    pub run: u64,
    /// The path of the working directory.
    pub work: String,
    /// The digest of `bulk.conf`.
    pub conf: Digest,
    /// When it began.
    pub began: String,
    /// When it ended.
    pub ended: String,
    /// True if it was continued after an interruption.
    pub continued: bool,
    /// The number of packages in each state; empty states are left out.
    pub counts: StateCounts,
    /// All packages, in byte order of PKGNAME.
    pub packages: Vec<PackageReport>,
    /// The set; `None` if there is none.
    pub set: Option<SetReport>,
    /// The reason why there is no set.
    pub set_refused: Option<String>,
    /// Packages that one key gave other bytes than before, each as `PKGNAME: first differing file`.
    pub not_reproducible: Vec<String>,
    /// Leftovers of packages.
    pub leftovers: Vec<LeftoverReport>,
    /// Paths that several packages deliver.
    #[serde(default)]
    pub shared_paths: Vec<SharedPath>,
    /// Remarks about results that are no failures.
    #[serde(default)]
    pub remarks: Vec<PackageRemarks>,
    /// The machines.
    pub machines: Vec<MachineReport>,
    /// The patches; `None` if none were to be made.
    pub patches: Option<PatchesReport>,
    /// The output of `publish`; `None` if nothing had to be published.
    pub published: Option<serde_json::Value>,
    /// Its platform.
    #[serde(default)]
    pub platform: Option<RunPlatform>,
    /// The upload of its set; `None` if nothing was to be uploaded.
    #[serde(default)]
    pub upload: Option<UploadReport>,
}

impl UploadReport {
    /// Returns the upload in words.
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
    /// Returns how many packages are in a state.
    pub fn count(&self, state: PackageState) -> u64 {
        self.counts.get(&state).copied().unwrap_or_default()
    }

    /// Counts packages by state, and the dependents that each failure breaks: packages whose `because` names it, and
    /// those whose `because` names nothing else. A failed package had all its dependencies, so no broken one is hidden
    /// behind it. Of several with one name only that of the first location has dependents.
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
        let own = |package: &PackageReport| {
            let is_needed = locations.get(package.package.as_str()) == Some(&package.location.as_str());
            breaks.get(package.package.as_str()).filter(|_| is_needed).copied().unwrap_or_default()
        };
        let broken: Vec<(u64, u64)> = self.packages.iter().map(own).collect();
        for (package, broken) in self.packages.iter_mut().zip(broken) {
            (package.breaks, package.breaks_alone) = broken;
        }
        self.counts = counts;
    }

    /// Returns the packages that faults of the tree keep from being built, and those left out of the set for anything but
    /// a conflict, each with the reason.
    pub fn faults(&self) -> Vec<String> {
        let faulty = self.packages.iter().filter(|package| package.fault.is_some());
        let faulty = faulty
            .map(|package| format!("{}: {}", package.package, package.detail.as_deref().unwrap_or_default()));
        let left_out = self.set.iter().flat_map(|set| &set.left_out);
        let left_out =
            left_out.filter(|left| left.reason != LeftOutReason::Conflict).map(LeftOutPackage::words);
        faulty.chain(left_out).map(|words| visible(&words).into_owned()).collect()
    }

    /// Returns the packages in the form for a comparison of runs.
    pub fn run_packages(&self) -> Vec<RunPackage<'_>> {
        let packages = self.packages.iter().map(|package| RunPackage {
            package: &package.package,
            location: &package.location,
            state: package.state,
            ms: package.ms,
        });
        packages.collect()
    }

    /// Returns the number of the run and its directory in words, and whether it was continued.
    pub fn run_words(&self) -> String {
        let continued = if self.continued { ", continued after an interruption" } else { "" };
        format!("{} of {}{continued}", self.run, self.work)
    }

    /// Returns the set in words, or why there is none.
    pub fn set_words(&self) -> String {
        match (&self.set, &self.set_refused) {
            (Some(set), _) => format!("{} ({} packages)", set.run, set.packages),
            (None, Some(reason)) => format!("none: {reason}"),
            (None, None) => "none".to_owned(),
        }
    }

    /// Returns the failures that most packages wait for, at most this many, the most harmful first.
    pub fn most_harmful(&self, most: usize) -> Vec<&PackageReport> {
        let failed = self
            .packages
            .iter()
            .filter(|package| package.state == PackageState::Failed && package.breaks > 0);
        let mut failed: Vec<&PackageReport> = failed.collect();
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

/// Returns the words for how many packages are in a state.
pub fn state_heading(state: PackageState) -> &'static str {
    match state {
        PackageState::Done => "Built",
        PackageState::UpToDate => "Up to date",
        PackageState::Failed => "Failed",
        PackageState::IndirectFailed => "Depending on failed",
        PackageState::Prefailed => "Explicitly broken or masked",
        PackageState::IndirectPrefailed => "Depending on masked",
        PackageState::Deferred => "Deferred",
        PackageState::Open => "Open",
        PackageState::Running => "Running",
    }
}

#[cfg(test)]
mod tests;
