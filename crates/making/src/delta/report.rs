//! The outcome of a run, and its form in documents.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::error::SourceFailure;
use super::request::TogetherReport;
use super::state::BuiltNews;
use crate::build::{ReleaseSide, UnpairedPackage};

/// The outcome of a run, source by source.
#[derive(Debug)]
pub struct DeltaReport {
    /// The sources, sorted by name.
    pub sources: Vec<SourceOutcome>,
    /// The number of patches that wait for a signature.
    pub to_sign: usize,
    /// The trial of all patches together, this time or, if they are the same, earlier.
    pub together: Option<TogetherReport>,
}

/// The outcome of one source.
#[derive(Debug)]
pub struct SourceOutcome {
    /// Its name, or that of a file of no known source.
    pub source: String,
    pub end: SourceEnd,
    /// A sentence without its period.
    pub reason: String,
    /// The id of its patch.
    pub id: Option<String>,
    /// The packages in the patch; for an existing patch, those whose files differ.
    pub packages: Vec<String>,
    /// Other packages of both directories.
    pub siblings_unchanged: Vec<String>,
    /// Packages that one directory lacks.
    pub unpaired: Vec<UnpairedPackage>,
    /// Scripts of other package formats that are left out, each as `PACKAGE: SCRIPT`.
    pub scripts_left_out: Vec<String>,
    /// The key of the patch.
    pub key: Option<String>,
    pub path: Option<PathBuf>,
    /// The log of the patch.
    pub log: Option<PathBuf>,
    /// The digest of an existing patch, and the report of its build.
    pub sha256: Option<String>,
    /// See `sha256`.
    pub news: Option<BuiltNews>,
}

/// How a source ended.
#[derive(Debug)]
pub enum SourceEnd {
    /// Its patch was built, or would be.
    Built,
    /// Its patch is there already.
    Kept,
    /// Equal in both directories, and without a patch.
    Unchanged,
    /// Only in the maintained directory.
    New,
    /// Only in the released directory, or in neither.
    Gone,
    /// It has no current patch.
    Failed(Box<SourceFailure>),
}

impl SourceEnd {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Built => "built",
            Self::Kept => "kept",
            Self::Unchanged => "unchanged",
            Self::New => "new",
            Self::Gone => "gone",
            Self::Failed(_) => "failed",
        }
    }
}

impl SourceOutcome {
    pub(super) fn new(source: &str, end: SourceEnd, reason: impl Into<String>) -> Self {
        Self {
            source: source.to_owned(),
            end,
            reason: reason.into(),
            id: None,
            packages: Vec::new(),
            siblings_unchanged: Vec::new(),
            unpaired: Vec::new(),
            scripts_left_out: Vec::new(),
            key: None,
            path: None,
            log: None,
            sha256: None,
            news: None,
        }
    }

    /// Reports an existing patch as when it was built.
    pub fn tell_as_built(&mut self) {
        let Some(news) = self.news.take().filter(|_| matches!(self.end, SourceEnd::Kept)) else { return };
        self.end = SourceEnd::Built;
        self.reason = news.reason;
        self.packages = news.packages;
        self.siblings_unchanged = news.siblings_unchanged;
        self.scripts_left_out = news.scripts_left_out;
    }

    pub(super) fn failed(source: &str, failure: SourceFailure) -> Self {
        let reason = failure.to_string();
        Self::new(source, SourceEnd::Failed(Box::new(failure)), reason)
    }
}

impl DeltaReport {
    /// Counts the sources that ended with this word.
    pub fn count(&self, word: &str) -> usize {
        self.sources.iter().filter(|outcome| outcome.end.word() == word).count()
    }

    /// Returns the first failure.
    pub fn first_failure(&self) -> Option<&SourceFailure> {
        self.sources.iter().find_map(|outcome| match &outcome.end {
            SourceEnd::Failed(failure) => Some(&**failure),
            _ => None,
        })
    }
}

/// The outcome of a source for documents and people.
#[derive(Clone, Debug, Serialize)]
pub struct ShownSource {
    pub source: String,
    /// The id of its patch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The word for how it ended.
    pub state: &'static str,
    pub reason: String,
    /// The packages in the patch.
    pub packages: Vec<String>,
    /// Other packages of both directories.
    pub siblings_unchanged: Vec<String>,
    /// Packages that one directory lacks.
    pub unpaired: Vec<ShownPackage>,
    /// Scripts that the patch leaves out.
    pub scripts_left_out: Vec<String>,
    /// The key of the patch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
}

/// A package that one directory lacks.
#[derive(Clone, Debug, Serialize)]
pub struct ShownPackage {
    pub name: String,
    pub arch: String,
    /// The directory that has it: `from`, the released one, or `to`.
    pub side: &'static str,
}

impl ShownSource {
    pub fn of(outcome: &SourceOutcome) -> Self {
        let shown = |path: &Path| path.display().to_string();
        Self {
            source: outcome.source.clone(),
            id: outcome.id.clone(),
            state: outcome.end.word(),
            reason: outcome.reason.clone(),
            packages: outcome.packages.clone(),
            siblings_unchanged: outcome.siblings_unchanged.clone(),
            unpaired: outcome.unpaired.iter().map(ShownPackage::of).collect(),
            scripts_left_out: outcome.scripts_left_out.clone(),
            key: outcome.key.clone(),
            path: outcome.path.as_deref().map(shown),
            log: outcome.log.as_deref().map(shown),
        }
    }

    /// Returns its state and packages as lines.
    pub fn lines(&self) -> Vec<String> {
        let Self { source, id, state, reason, .. } = self;
        let id = id.as_ref().map(|id| format!(" {id}")).unwrap_or_default();
        let mut lines = vec![format!("{source}: {state}{id}: {reason}")];
        lines.extend(self.path.iter().map(|path| format!("  {path}")));
        for (what, names) in [("packages", &self.packages), ("without a change", &self.siblings_unchanged)] {
            if !names.is_empty() && self.state != "unchanged" {
                lines.push(format!("  {what}: {}", names.join(" ")));
            }
        }
        lines
    }
}

impl ShownPackage {
    fn of(unpaired: &UnpairedPackage) -> Self {
        let side = match unpaired.side {
            ReleaseSide::From => "from",
            ReleaseSide::To => "to",
        };
        Self { name: unpaired.name.clone(), arch: unpaired.arch.clone(), side }
    }
}
