//! The report of `patchadm delta` about the patches that it made.

use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::super::left_out_scripts::left_out_scripts;
use crate::reply::json::milliseconds_since;
use crate::reply::{CommandReport, ResultWord};
use crate::surroundings::Output;
use patchadm_making::build::{ReleaseSide, UnpairedPackage};
use patchadm_making::delta::{DeltaReport, SourceOutcome};

/// The report.
#[derive(Debug, Serialize)]
pub(super) struct DeltaReply {
    result: ResultWord,
    duration_ms: u64,
    sources: Vec<SourceEntry>,
    built: usize,
    kept: usize,
    failed: usize,
    to_sign: usize,
}

#[derive(Debug, Serialize)]
struct SourceEntry {
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    state: &'static str,
    reason: String,
    packages: Vec<String>,
    siblings_unchanged: Vec<String>,
    unpaired: Vec<UnpairedEntry>,
    scripts_left_out: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<String>,
}

#[derive(Debug, Serialize)]
struct UnpairedEntry {
    name: String,
    arch: String,
    side: &'static str,
}

impl DeltaReply {
    /// The report about a run.
    pub(super) fn of(report: &DeltaReport, result: ResultWord, began: Instant) -> Self {
        Self {
            result,
            duration_ms: milliseconds_since(began),
            sources: report.sources.iter().map(SourceEntry::of).collect(),
            built: report.count("built"),
            kept: report.count("kept"),
            failed: report.count("failed"),
            to_sign: report.to_sign,
        }
    }
}

impl SourceEntry {
    fn of(outcome: &SourceOutcome) -> Self {
        let shown = |path: &Path| path.display().to_string();
        Self {
            source: outcome.source.clone(),
            id: outcome.id.clone(),
            state: outcome.end.word(),
            reason: outcome.reason.clone(),
            packages: outcome.packages.clone(),
            siblings_unchanged: outcome.siblings_unchanged.clone(),
            unpaired: outcome.unpaired.iter().map(UnpairedEntry::of).collect(),
            scripts_left_out: outcome.scripts_left_out.clone(),
            key: outcome.key.clone(),
            path: outcome.path.as_deref().map(shown),
            log: outcome.log.as_deref().map(shown),
        }
    }

    /// Returns the lines about it: its state, then its packages.
    fn lines(&self) -> Vec<String> {
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

impl UnpairedEntry {
    fn of(unpaired: &UnpairedPackage) -> Self {
        let side = match unpaired.side {
            ReleaseSide::From => "from",
            ReleaseSide::To => "to",
        };
        Self { name: unpaired.name.clone(), arch: unpaired.arch.clone(), side }
    }
}

impl CommandReport for DeltaReply {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        for source in &self.sources {
            let is_told = match source.state {
                "unchanged" => output.is_verbose(),
                state => state != "failed",
            };
            for line in source.lines().iter().filter(|_| is_told) {
                output.line(line)?;
            }
        }
        let Self { built, kept, failed, to_sign, .. } = self;
        output.line(format!("{built} built, {kept} kept, {failed} failed; {to_sign} to be signed"))?;
        Ok(())
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        for source in &self.sources {
            for UnpairedEntry { name, arch, side } in &source.unpaired {
                let is = if *side == "from" { "no longer maintained" } else { "new" };
                let source = &source.source;
                output.complain(format!("NOTE: {source}: {name} {arch} is {is}, and in no patch\n"))?;
            }
        }
        let left_out = self.sources.iter().flat_map(|source| source.scripts_left_out.iter().cloned());
        if let Some(counts) = left_out_scripts(&left_out.collect::<Vec<_>>()) {
            output.complain(format!("NOTE: {counts}\n"))?;
        }
        for SourceEntry { source, reason, .. } in self.sources.iter().filter(|one| one.state == "failed") {
            output.complain(format!("ERROR: {source}: {reason}.\n"))?;
        }
        Ok(())
    }
}
