//! `patchadm-bulk report`: rewrites the report of a run.

use std::path::PathBuf;

use patchadm_building::report_files::tell_report;
use patchadm_building::report_files::{REPORT_MAIL, REPORT_PAGE, REPORT_TEXT, read_last_report, read_report};
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, Stop};
use patchadm_cli::surroundings::Output;
use serde::Serialize;

use crate::ends::{report_failed, root_failed};
use crate::page::page_of;
use crate::preparation::{LockOption, WorkOperand};

const USAGE: &str = "patchadm-bulk report WORK [RUN] [-o DIR] [--wait DURATION]";

/// Regenerate the report of a run: text, HTML page and mail
#[derive(clap::Parser)]
struct RunReportArgs {
    /// Write the report to DIR [default: the directory of the run]
    #[arg(short = 'o', long = "output", value_name = "DIR")]
    output: Option<PathBuf>,
    #[command(flatten)]
    wait: LockOption,
    #[command(flatten)]
    work: WorkOperand,
    /// The number of the run [default: the last one with a report]
    #[arg(value_name = "RUN")]
    run: Option<u64>,
}

#[derive(Serialize)]
struct WrittenReport {
    run: u64,
    directory: String,
    files: [&'static str; 3],
}

impl CommandReport for WrittenReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(output.line(format!("run {}: {} in {}", self.run, self.files.join(", "), self.directory))?)
    }
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "bulk report";
    let args: RunReportArgs = parse(call, USAGE)?;
    let work = args.work.open()?;
    // The lock is only needed for writing into the working directory.
    let _lock = if args.output.is_some() { None } else { Some(args.wait.lock(call, &work)?) };
    let report = match args.run {
        Some(run) => Some(read_report(&work, run)),
        None => read_last_report(&work).transpose(),
    };
    let Some(report) = report.transpose().map_err(|error| report_failed(&error))? else {
        let message = "no run has a report yet".to_owned();
        return Err(Stop::Refused { exit: Exit::failed(ExitCause::Unknown), message }.into());
    };
    let output = args.output.as_deref().map(std::path::absolute).transpose()?;
    let written = tell_report(&work, &report, output.as_deref(), &page_of);
    let directory = written.map_err(|error| root_failed(&error))?.display().to_string();
    let files = [REPORT_TEXT, REPORT_PAGE, REPORT_MAIL];
    Ok(Reply::new(Exit::OK, WrittenReport { run: report.run, directory, files }))
}
