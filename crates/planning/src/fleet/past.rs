//! The report before: what its JSON document tells of hosts.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::reader::short;

/// The schema that is read.
const SCHEMA: &str = "patchadm/1";

/// A report that was made before.
#[derive(Clone, Debug, Default)]
pub struct PastReport {
    /// When it was made.
    pub at: Option<String>,
    /// What its hosts were compared with.
    pub compared_with: String,
    /// Its hosts, by their names.
    pub hosts: BTreeMap<String, PastHost>,
}

/// A host of that report.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct PastHost {
    host: String,
    /// The patches whose changes it had.
    pub patches: Vec<String>,
    /// The patches that it lacked.
    pub lacks: Vec<String>,
    /// What needed attention there.
    #[serde(default)]
    pub findings: Vec<PastFinding>,
}

/// What needed attention.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct PastFinding {
    /// The word for its kind.
    pub kind: String,
    /// What it was about.
    pub about: String,
}

/// The reason a document is no report of before.
#[derive(Debug, thiserror::Error)]
pub enum PastReportError {
    /// No JSON, or cut short, or a field is not what it should be.
    #[error("it is no document of `patchadm report --json`: {0}")]
    Form(#[from] serde_json::Error),
    /// Another schema.
    #[error("its schema is <{0}>, and this program reads {SCHEMA}")]
    Schema(String),
    /// The document of another command.
    #[error("it is a document of <{0}>, not of report")]
    Command(String),
    /// A report that came to no answer.
    #[error("it has no hosts: that report had failed")]
    Failed,
}

#[derive(Deserialize)]
struct Kind {
    schema: Option<String>,
    command: Option<String>,
}

#[derive(Deserialize)]
struct Document {
    at: Option<String>,
    compared_with: Option<ComparedWith>,
    hosts: Option<Vec<PastHost>>,
}

#[derive(Deserialize)]
struct ComparedWith {
    name: Option<String>,
}

impl PastReport {
    /// Parses a document.
    pub fn parse(text: &[u8]) -> Result<Self, PastReportError> {
        let kind: Kind = serde_json::from_slice(text)?;
        if kind.schema.as_deref() != Some(SCHEMA) {
            return Err(PastReportError::Schema(short(&kind.schema.unwrap_or_default())));
        }
        if kind.command.as_deref() != Some("report") {
            return Err(PastReportError::Command(short(&kind.command.unwrap_or_default())));
        }
        let document: Document = serde_json::from_slice(text)?;
        let hosts = document.hosts.ok_or(PastReportError::Failed)?;
        Ok(Self {
            at: document.at,
            compared_with: document.compared_with.and_then(|with| with.name).unwrap_or_default(),
            hosts: hosts.into_iter().map(|host| (host.host.clone(), host)).collect(),
        })
    }
}
