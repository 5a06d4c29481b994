//! The outcome of a run.

use std::path::PathBuf;

use super::error::SourceFailure;
use super::state::BuiltNews;
use super::trial::TogetherReport;
use crate::build::UnpairedPackage;

/// The outcome of a run, source by source.
#[derive(Debug)]
pub struct DeltaReport {
    /// The sources, sorted by name.
    pub sources: Vec<SourceOutcome>,
    /// The patches that wait for a signature.
    pub to_sign: usize,
    /// The trial of all patches together, this time or, if they are the same, an earlier time; `None` if there was none.
    pub together: Option<TogetherReport>,
}

/// The outcome of one source.
#[derive(Debug)]
pub struct SourceOutcome {
    /// Its name; the name of a file that belongs to no known source.
    pub source: String,
    /// How it ended.
    pub end: SourceEnd,
    /// The reason, as a sentence without its period.
    pub reason: String,
    /// The id of its patch.
    pub id: Option<String>,
    /// The packages in the patch, by their own names; of a patch that was there already those whose files differ.
    pub packages: Vec<String>,
    /// Its other packages that both directories have.
    pub siblings_unchanged: Vec<String>,
    /// Its packages that one directory lacks.
    pub unpaired: Vec<UnpairedPackage>,
    /// The scripts of other package formats that a patch built now leaves out, each as `PACKAGE: SCRIPT`.
    pub scripts_left_out: Vec<String>,
    /// The key of the patch.
    pub key: Option<String>,
    /// The patch.
    pub path: Option<PathBuf>,
    /// The log of the patch.
    pub log: Option<PathBuf>,
    /// The digest of a patch that was there already, and what was told when it was built.
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
    /// It is the same in both directories, and has no patch.
    Unchanged,
    /// Only the maintained directory has it.
    New,
    /// Only the released directory has it, or neither.
    Gone,
    /// It has no patch of what lies there.
    Failed(Box<SourceFailure>),
}

impl SourceEnd {
    /// Returns the word for it.
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
    /// Begins an outcome with only its end known.
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

    /// Tells of a patch that was there already what was told when it was built.
    pub fn tell_as_built(&mut self) {
        let Some(news) = self.news.take().filter(|_| matches!(self.end, SourceEnd::Kept)) else { return };
        self.end = SourceEnd::Built;
        self.reason = news.reason;
        self.packages = news.packages;
        self.siblings_unchanged = news.siblings_unchanged;
        self.scripts_left_out = news.scripts_left_out;
    }

    /// The outcome of a source that failed.
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

    /// Returns the failure of the first source that failed.
    pub fn first_failure(&self) -> Option<&SourceFailure> {
        self.sources.iter().find_map(|outcome| match &outcome.end {
            SourceEnd::Failed(failure) => Some(&**failure),
            _ => None,
        })
    }
}
