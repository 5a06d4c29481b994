//! `patchadm-bulk prune`: removes runs, sets and results that nothing needs any more.

use patchadm_building::ids::SandboxIds;
use patchadm_building::prune::{PruneReport, PruneRequest, prune};
use patchadm_cli::arguments::parse;
use patchadm_cli::arguments::verbs::DryRunOption;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{CommandReport, Exit, Reply};
use patchadm_cli::surroundings::Output;
use patchadm_rootfs::LockHolder;
use serde::Serialize;

use crate::ends::{prune_failed, work_failed};
use crate::preparation::{LockOption, WorkOperand};

const USAGE: &str = "patchadm-bulk prune WORK [--keep N] [--dry-run] [--wait DURATION]";

/// Delete runs, sets and results that are no longer needed
#[derive(clap::Parser)]
struct PruneWorkArgs {
    /// Keep the newest N runs [default: bulk.conf]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    #[command(flatten)]
    dry_run: DryRunOption,
    #[command(flatten)]
    wait: LockOption,
    #[command(flatten)]
    work: WorkOperand,
}

#[derive(Serialize)]
struct RemovedReport {
    removed: Removed,
    bytes: u64,
    notes: Vec<String>,
    #[serde(skip)]
    is_dry: bool,
}

#[derive(Serialize)]
struct Removed {
    runs: Vec<u64>,
    sets: Vec<u64>,
    results: Vec<String>,
    installed: Vec<String>,
}

impl CommandReport for RemovedReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let Removed { runs, sets, results, installed } = &self.removed;
        let words = if self.is_dry { "would go" } else { "are gone" };
        output.line(format!(
            "{} runs, {} sets, {} results and {} installed lists {words}: {} bytes",
            runs.len(),
            sets.len(),
            results.len(),
            installed.len(),
            self.bytes
        ))?;
        for note in &self.notes {
            output.line(format!("note: {note}"))?;
        }
        Ok(())
    }
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "bulk prune";
    let args: PruneWorkArgs = parse(call, USAGE)?;
    let work = args.work.open()?;
    // Leftovers of tasks belong to these ids. A caller without further ids can remove everything.
    let _ = SandboxIds::of_task(&work.conf);
    let wait = args.wait.begin(call);
    let _lock = work.lock(|holder| wait.goes_on(holder)).map_err(|error| work_failed(&error))?;
    let mut wait = |holder: &LockHolder| wait.goes_on(holder);
    let mut request = PruneRequest { keep: args.keep, is_dry: args.dry_run.dry_run, wait: &mut wait };
    let pruned = prune(&work, &mut request).map_err(|error| prune_failed(&error))?;
    let PruneReport { runs, sets, results, installed, bytes, notes } = pruned;
    let removed = Removed { runs, sets, results, installed };
    Ok(Reply::new(Exit::OK, RemovedReport { removed, bytes, notes, is_dry: args.dry_run.dry_run }))
}
