//! `patchadm-bulk scan`: scans the recipes of a tree and resolves their dependencies.

use std::path::{Path, PathBuf};

use chrono::Utc;
use patchadm_building::driver::Driver;
use patchadm_building::name_list::read_names;
use patchadm_building::run::{RunBase, RunError};
use patchadm_building::scan::TreeScanRequest;
use patchadm_building::tree::{ScannedTree, import_tree, scan_tree};
use patchadm_building::work::BulkWork;
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{CommandReport, Exit, Reply};
use patchadm_cli::surroundings::Output;
use patchadm_cli::surroundings::caller::with_signals;
use patchadm_rootfs::WorkMeter;
use serde::Serialize;

use crate::ends::{import_failed, list_failed, run_failed};
use crate::preparation::{LockOption, WorkOperand};

const USAGE: &str = "patchadm-bulk scan WORK [--full] [--import FILE] [--wait DURATION]";

/// Read the recipes of a tree, and find the requirements of each package
#[derive(clap::Parser)]
struct ScanArgs {
    /// Scan all recipes, even unchanged ones
    #[arg(long)]
    full: bool,
    /// Import the records in FILE, in the format of pbulk's pscan, instead of scanning
    #[arg(long, value_name = "FILE", conflicts_with = "full")]
    import: Option<PathBuf>,
    #[command(flatten)]
    wait: LockOption,
    #[command(flatten)]
    work: WorkOperand,
}

#[derive(Serialize)]
struct ScanReport {
    locations: u64,
    scanned: u64,
    reused: u64,
    records: u64,
    prefailed: Vec<PrefailedPackage>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct PrefailedPackage {
    package: String,
    reason: String,
}

impl ScanReport {
    fn of(scanned: ScannedTree) -> Self {
        let prefailed = scanned.tree.prefailed().into_iter();
        Self {
            locations: scanned.locations as u64,
            scanned: scanned.scanned as u64,
            reused: scanned.reused as u64,
            records: scanned.tree.records.len() as u64,
            prefailed: prefailed.map(|(package, reason)| PrefailedPackage { package, reason }).collect(),
            notes: scanned.notes,
        }
    }
}

impl CommandReport for ScanReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let Self { locations, scanned, reused, records, .. } = self;
        output.line(format!(
            "{locations} locations ({scanned} scanned, {reused} as they were), {records} packages"
        ))?;
        for PrefailedPackage { package, reason } in &self.prefailed {
            output.line(format!("{package}: {reason}"))?;
        }
        Ok(())
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(self.notes.iter().try_for_each(|note| output.warning(note))?)
    }
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "bulk scan";
    let args: ScanArgs = parse(call, USAGE)?;
    let work = args.work.open()?;
    let _lock = args.wait.lock(call, &work)?;
    let scanned = if let Some(file) = &args.import {
        import_tree(&work, file).map_err(|error| import_failed(&error))?
    } else {
        let names = names_of(work.conf.list.as_deref())?;
        let busy = call.busy("scanning");
        let scanned = with_signals(|interrupt| scan(&work, &names, args.full, interrupt, busy.meter()))?;
        scanned.map_err(|error| run_failed(&error))?
    };
    Ok(Reply::new(Exit::OK, ScanReport::of(scanned)))
}

fn names_of(list: Option<&Path>) -> anyhow::Result<Vec<String>> {
    Ok(list.map(read_names).transpose().map_err(|error| list_failed(&error))?.unwrap_or_default())
}

fn scan(
    work: &BulkWork,
    names: &[String],
    is_full: bool,
    interrupt: &(dyn Fn() -> Option<i32> + Sync),
    meter: &WorkMeter,
) -> Result<ScannedTree, RunError> {
    let driver = Driver::find(work)?;
    let base = RunBase::prepare(work, interrupt)?;
    let cores = u32::try_from(patchadm_rootfs::cores()).unwrap_or(1);
    let request = TreeScanRequest {
        work,
        driver: &driver,
        base: (&base.layer, &base.digest.to_string()),
        user: base.user,
        names,
        is_full,
        is_kept: true,
        slots: work.conf.local_tasks_on(cores, None) as usize,
        now: Utc::now().timestamp_nanos_opt().unwrap_or_default(),
        interrupt,
        meter: meter.clone(),
    };
    Ok(scan_tree(&request)?)
}
