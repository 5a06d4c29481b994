//! `patchadm-bulk upload`: prepares and performs the upload of a set.

use patchadm_building::report_files::tell_report;
use patchadm_building::report_files::{ReportReadError, read_report};
use patchadm_building::run::RunBase;
use patchadm_building::upload::{UploadError, UploadRequest, newest_set, upload};
use patchadm_building::work::BulkWork;
use patchadm_bulk_values::report::UploadReport;
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_cli::surroundings::caller::with_signals;
use patchadm_rootfs::never;
use serde::Serialize;

use crate::ends::{report_failed, root_failed, run_failed, set_failed};
use crate::page::page_of;
use crate::preparation::{LockOption, WorkOperand};

const USAGE: &str = "patchadm-bulk upload WORK [RUN] [--again] [--wait DURATION]";

/// Prepare the packages of a set for upload, and upload them unless already uploaded
#[derive(clap::Parser)]
struct UploadArgs {
    /// Upload again even if the packages were uploaded before
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    wait: LockOption,
    #[command(flatten)]
    work: WorkOperand,
    /// The number of the run that made the set [default: the run of the newest set]
    #[arg(value_name = "RUN")]
    run: Option<u64>,
}

#[derive(Serialize)]
struct UploadedSet {
    run: u64,
    #[serde(flatten)]
    upload: UploadReport,
}

impl CommandReport for UploadedSet {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(output.line(format!("the set of run {}: {}", self.run, self.upload.words()))?)
    }
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "bulk upload";
    let args: UploadArgs = parse(call, USAGE)?;
    let work = args.work.open()?;
    let _lock = args.wait.lock(call, &work)?;
    let run = match args.run {
        Some(run) => run,
        None => newest_set(&work).map_err(|error| upload_failed(&error))?,
    };
    let base = RunBase::prepare(&work, &never).map_err(|error| run_failed(&error))?;
    let again = args.again;
    let uploaded = with_signals(|interrupt| {
        upload(&UploadRequest { work: &work, base: &base.layer, set: run, again, interrupt })
    })?;
    let uploaded = uploaded.map_err(|error| upload_failed(&error))?;
    if work.conf.upload_command.is_some() {
        tell(&work, run, &uploaded)?;
    }
    let exit = if uploaded.error.is_some() { Exit::of_verb(ExitCause::DamagedInput) } else { Exit::OK };
    Ok(Reply::new(exit, UploadedSet { run, upload: uploaded }))
}

/// Adds the upload to the run's report.
fn tell(work: &BulkWork, run: u64, uploaded: &UploadReport) -> anyhow::Result<()> {
    let mut report = match read_report(work, run) {
        Ok(report) => report,
        Err(ReportReadError::None(_)) => return Ok(()),
        Err(error) => return Err(report_failed(&error).into()),
    };
    if report.upload.as_ref() != Some(uploaded) {
        report.upload = Some(uploaded.clone());
        tell_report(work, &report, None, &page_of).map_err(|error| root_failed(&error))?;
    }
    Ok(())
}

fn upload_failed(error: &UploadError) -> Stop {
    let exit = match error {
        UploadError::NoSet(_) => Exit::of_verb(ExitCause::Unknown),
        UploadError::NoSetYet => Exit::of_verb(ExitCause::NotApplicable),
        UploadError::Set(error) => return set_failed(error),
        UploadError::Root(error) => return root_failed(error),
        UploadError::Interrupted(signal) => Exit::by_signal(*signal),
        UploadError::Files(_) | UploadError::Command(_) => Exit::of_verb(ExitCause::DamagedInput),
    };
    Stop::Refused { exit, message: error.to_string() }
}
