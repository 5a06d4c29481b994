use std::path::{Path, PathBuf};

use serde::Serialize;

use super::error::SourceFailure;
use super::request::TogetherReport;
use super::state::BuiltNews;
use crate::build::{ReleaseSide, UnpairedPackage};

#[derive(Debug)]
pub struct DeltaReport {
    /// Sorted by name.
    pub sources: Vec<SourceOutcome>,
    /// Patches that wait for a signature.
    pub to_sign: usize,
    /// The trial of all patches, now or earlier if they are the same.
    pub together: Option<TogetherReport>,
}

#[derive(Debug)]
pub struct SourceOutcome {
    /// A source, or a file of no known source.
    pub source: String,
    pub end: SourceEnd,
    /// A sentence without its period.
    pub reason: String,
    pub id: Option<String>,
    /// Packages in the patch; for an existing patch, those with other files.
    pub packages: Vec<String>,
    /// Other packages of both directories.
    pub siblings_unchanged: Vec<String>,
    /// Packages that one directory lacks.
    pub unpaired: Vec<UnpairedPackage>,
    /// Scripts of other package formats, as `PACKAGE: SCRIPT`.
    pub scripts_left_out: Vec<String>,
    pub key: Option<String>,
    pub path: Option<PathBuf>,
    pub log: Option<PathBuf>,
    /// Set for an existing patch, with the report of its build.
    pub sha256: Option<String>,
    /// See `sha256`.
    pub news: Option<BuiltNews>,
}

#[derive(Debug)]
pub enum SourceEnd {
    /// Built, or to be built in a dry run.
    Built,
    /// The existing patch is current.
    Kept,
    /// Equal in both directories, without a patch.
    Unchanged,
    /// Only in the maintained directory.
    New,
    /// Only in the released directory, or in neither.
    Gone,
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
    pub fn count(&self, word: &str) -> usize {
        self.sources.iter().filter(|outcome| outcome.end.word() == word).count()
    }

    pub fn first_failure(&self) -> Option<&SourceFailure> {
        self.sources.iter().find_map(|outcome| match &outcome.end {
            SourceEnd::Failed(failure) => Some(&**failure),
            _ => None,
        })
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct ShownSource {
    pub source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// How it ended, in one word.
    pub state: &'static str,
    pub reason: String,
    pub packages: Vec<String>,
    /// Other packages of both directories.
    pub siblings_unchanged: Vec<String>,
    /// Packages that one directory lacks.
    pub unpaired: Vec<ShownPackage>,
    pub scripts_left_out: Vec<String>,
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
