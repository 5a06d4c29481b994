//! The report of `patchadm publish` about the new index.

use std::path::Path;
use std::time::Instant;

use chrono::SecondsFormat;
use serde::Serialize;

use patchadm_cli::reply::json::milliseconds_since;
use patchadm_cli::reply::{CommandReport, ResultWord};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::publish::{PublishReport, PublishState};

/// The report.
#[derive(Debug, Serialize)]
pub struct PublicationReport {
    result: ResultWord,
    duration_ms: u64,
    depot: Option<String>,
    version: u64,
    index_sha256: Option<String>,
    expires: Option<String>,
    added: Vec<String>,
    kept: Vec<String>,
    to_sign: Vec<String>,
    #[serde(skip)]
    state: PublishState,
    #[serde(skip)]
    place: String,
}

impl PublicationReport {
    /// The report about a publication.
    pub fn of(published: &PublishReport, place: &Path, began: Instant) -> Self {
        Self {
            result: match published.state {
                PublishState::Published | PublishState::Waiting => ResultWord::Done,
                PublishState::Unchanged => ResultWord::NothingToDo,
                PublishState::Planned => ResultWord::Planned,
                PublishState::Unsigned => ResultWord::Refused,
            },
            duration_ms: milliseconds_since(began),
            depot: published.depot.clone(),
            version: published.version,
            index_sha256: published.index_sha256.clone(),
            expires: published.expires.map(|expires| expires.to_rfc3339_opts(SecondsFormat::Secs, true)),
            added: published.added.clone(),
            kept: published.kept.clone(),
            to_sign: published.to_sign.iter().map(|path| path.display().to_string()).collect(),
            state: published.state,
            place: place.display().to_string(),
        }
    }

    /// Returns the lines for people: what was published, and what is to be signed.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.summary()];
        lines.extend(self.added.iter().map(|id| format!("  added {id}")));
        if !self.kept.is_empty() {
            lines.push(format!("  there already: {}", self.kept.len()));
        }
        lines.extend(self.to_sign.iter().map(|path| format!("  to sign: {path}")));
        lines
    }

    fn summary(&self) -> String {
        let Self { place, version, .. } = self;
        match self.state {
            PublishState::Unsigned => return "nothing was published: there are no signatures yet".to_owned(),
            PublishState::Unchanged => return format!("{place}: version {version} stays, nothing is new"),
            PublishState::Published | PublishState::Waiting | PublishState::Planned => {}
        }
        let until = match &self.expires {
            Some(moment) => format!("believed until {moment}"),
            None => "believed for ever".to_owned(),
        };
        let what = match self.state {
            PublishState::Waiting => "waits to be signed",
            PublishState::Planned => "would be published",
            _ => "is published",
        };
        format!("{place}: version {version} {what}, {until}")
    }

    /// Returns what is to be done next.
    pub fn advice(&self) -> Option<String> {
        match self.state {
            PublishState::Waiting => Some(format!(
                "Sign it with `patchadm sign` or minisign, then type `patchadm publish --finish {}`.",
                self.place
            )),
            PublishState::Unsigned => {
                Some("Sign them with `patchadm sign`, or use --unsigned to publish without.".to_owned())
            }
            _ => None,
        }
    }
}

impl CommandReport for PublicationReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        self.lines().iter().try_for_each(|line| output.line(line))?;
        Ok(self.advice().map_or(Ok(()), |advice| output.line(advice))?)
    }
}
