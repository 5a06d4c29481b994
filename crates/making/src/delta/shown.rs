//! The outcome of a source as documents show it.

use std::path::Path;

use serde::Serialize;

use super::report::SourceOutcome;
use crate::build::{ReleaseSide, UnpairedPackage};

/// The outcome of a source: a value of documents, and lines for people.
#[derive(Clone, Debug, Serialize)]
pub struct ShownSource {
    /// Its name.
    pub source: String,
    /// The id of its patch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The word for how it ended.
    pub state: &'static str,
    /// The reason.
    pub reason: String,
    /// The packages in the patch.
    pub packages: Vec<String>,
    /// Its other packages that both directories have.
    pub siblings_unchanged: Vec<String>,
    /// Its packages that one directory lacks.
    pub unpaired: Vec<ShownPackage>,
    /// The scripts that the patch leaves out.
    pub scripts_left_out: Vec<String>,
    /// The key of the patch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The patch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Its log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
}

/// A package that one directory lacks.
#[derive(Clone, Debug, Serialize)]
pub struct ShownPackage {
    /// Its name.
    pub name: String,
    /// Its architecture.
    pub arch: String,
    /// The directory that has it: `from`, the released one, or `to`.
    pub side: &'static str,
}

impl ShownSource {
    /// Shows an outcome.
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

    /// Returns the lines about it: its state, then its packages.
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
