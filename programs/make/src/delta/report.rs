//! The report of `patchadm-make delta` about the patches that it made.

use std::time::Instant;

use serde::Serialize;

use crate::left_out_scripts::left_out_scripts;
use patchadm_cli::reply::json::milliseconds_since;
use patchadm_cli::reply::{CommandReport, ResultWord};
use patchadm_cli::surroundings::Output;
use patchadm_making::delta::{DeltaReport, ShownPackage, ShownSource};

/// The report.
#[derive(Debug, Serialize)]
pub(super) struct DeltaReply {
    result: ResultWord,
    duration_ms: u64,
    sources: Vec<ShownSource>,
    built: usize,
    kept: usize,
    failed: usize,
    to_sign: usize,
}

impl DeltaReply {
    /// The report about a run.
    pub(super) fn of(report: &DeltaReport, result: ResultWord, began: Instant) -> Self {
        Self {
            result,
            duration_ms: milliseconds_since(began),
            sources: report.sources.iter().map(ShownSource::of).collect(),
            built: report.count("built"),
            kept: report.count("kept"),
            failed: report.count("failed"),
            to_sign: report.to_sign,
        }
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
            for ShownPackage { name, arch, side } in &source.unpaired {
                let is = if *side == "from" { "no longer maintained" } else { "new" };
                let source = &source.source;
                output.complain(format!("NOTE: {source}: {name} {arch} is {is}, and in no patch\n"))?;
            }
        }
        let left_out = self.sources.iter().flat_map(|source| source.scripts_left_out.iter().cloned());
        if let Some(counts) = left_out_scripts(&left_out.collect::<Vec<_>>()) {
            output.complain(format!("NOTE: {counts}\n"))?;
        }
        for ShownSource { source, reason, .. } in self.sources.iter().filter(|one| one.state == "failed") {
            output.complain(format!("ERROR: {source}: {reason}.\n"))?;
        }
        Ok(())
    }
}
