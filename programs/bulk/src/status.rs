//! `patchadm-bulk status`: the progress of a run.

use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;

use crate::ends::run_failed;
use crate::preparation::WorkOperand;
use patchadm_building::run::{InterruptedRun, RunStatus, RunningPackage, read_status};
use patchadm_building::work::BulkWork;
use patchadm_bulk_values::journal::StateCounts;
use patchadm_bulk_values::report::RunPlatform;
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::words::human;
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, Stop};
use patchadm_cli::surroundings::caller::with_signals;
use patchadm_cli::surroundings::{Output, Zone};
use patchadm_planning::plan::refusal::Wording;

const USAGE: &str = "patchadm-bulk status WORK [RUN] [--watch]";

const PAUSE: Duration = Duration::from_millis(500);

/// Show the progress of a run
#[derive(clap::Parser)]
struct RunStatusArgs {
    /// Show each change of the status until the run ends
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    work: WorkOperand,
    /// The number of the run [default: the last one]
    #[arg(value_name = "RUN")]
    run: Option<u64>,
}

#[derive(Serialize)]
struct RunStatusReport {
    run: u64,
    began: String,
    ended: Option<String>,
    counts: StateCounts,
    running: Vec<RunningPackage>,
    expected_end: Option<String>,
    platform: Option<RunPlatform>,
    interrupted: Option<InterruptedReport>,
}

#[derive(Serialize)]
struct InterruptedReport {
    packages: Vec<String>,
    resume: String,
}

impl InterruptedReport {
    fn of(run: InterruptedRun, work: &Path) -> Self {
        let words = ["patchadm", "bulk", "run"].into_iter().map(str::to_owned);
        let words = words.chain([work.display().to_string()]).chain(run.operands);
        let words: Vec<String> = words.map(|word| Wording::quoted(&word)).collect();
        Self { packages: run.packages, resume: words.join(" ") }
    }

    fn lines(&self) -> Vec<String> {
        let built = self.packages.join(" ");
        let built = (!built.is_empty()).then(|| format!("it was building {built}"));
        let resume = format!("`{}` continues it: nothing is built twice", self.resume);
        built.into_iter().chain([resume]).collect()
    }
}

impl RunStatusReport {
    fn of(status: RunStatus, work: &Path) -> Self {
        let expected_end = status.expected.and_then(|(at, left_ms)| end_after(&at, left_ms));
        let RunStatus { run, began, ended, counts, running, interrupted, platform, .. } = status;
        let interrupted = interrupted.map(|run| InterruptedReport::of(run, work));
        Self { run, began, ended, counts, running, expected_end, platform, interrupted }
    }

    fn lines(&self, zone: Zone) -> Vec<String> {
        let end = match (&self.ended, &self.expected_end) {
            (Some(end), _) => format!("ended {}", zone.minute_of(end)),
            (None, Some(end)) => format!("expected to end {}", zone.minute_of(end)),
            (None, None) if self.interrupted.is_some() => "interrupted: no process is running it".to_owned(),
            (None, None) => "not ended".to_owned(),
        };
        let mut lines = vec![format!("run {}: began {}, {end}", self.run, zone.minute_of(&self.began))];
        if let Some(platform) = &self.platform {
            let known = [("OS", &platform.os), ("compiler", &platform.compiler)];
            let known =
                known.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value.as_ref()?)));
            let parts: Vec<String> = [format!("base {}", platform.base)].into_iter().chain(known).collect();
            lines.push(parts.join(", "));
        }
        lines.extend(self.counts.iter().map(|(state, count)| format!("{count:>8} {state}")));
        lines.extend(self.running.iter().map(|running| running_line(running, zone)));
        lines.extend(self.interrupted.iter().flat_map(InterruptedReport::lines));
        lines
    }
}

fn end_after(at: &str, left_ms: u64) -> Option<String> {
    let at = DateTime::parse_from_rfc3339(at).ok()?.with_timezone(&Utc);
    let end = at.checked_add_signed(TimeDelta::try_milliseconds(i64::try_from(left_ms).ok()?)?)?;
    Some(end.to_rfc3339_opts(SecondsFormat::Secs, true))
}

fn running_line(running: &RunningPackage, zone: Zone) -> String {
    let mut line = format!("  {} on {}", running.package, running.slot);
    let phase = running.phase.as_ref().map(|phase| format!("phase {phase}"));
    let since = running.since.as_ref().map(|since| format!("since {}", zone.minute_of(since)));
    let memory = (running.memory > 0).then(|| human(running.memory));
    for part in [running.host.clone(), phase, since, memory].into_iter().flatten() {
        line.push_str(", ");
        line.push_str(&part);
    }
    line
}

impl CommandReport for RunStatusReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        for line in self.lines(output.zone()) {
            output.line(line)?;
        }
        Ok(())
    }
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "bulk status";
    let args: RunStatusArgs = parse(call, USAGE)?;
    let work = args.work.open()?;
    if args.watch {
        return with_signals(|interrupt| watch(call, &work, args.run, interrupt))?;
    }
    Ok(Reply::new(Exit::OK, RunStatusReport::of(status_of(&work, args.run)?, &work.path)))
}

fn status_of(work: &BulkWork, run: Option<u64>) -> anyhow::Result<RunStatus> {
    let status = read_status(work, run).map_err(|error| run_failed(&error))?;
    let message = || "there is no such run".to_owned();
    status.ok_or_else(|| Stop::Refused { exit: Exit::failed(ExitCause::Unknown), message: message() }.into())
}

/// Prints the status at each change, until the run ends or a signal comes.
fn watch(
    call: &mut Invocation,
    work: &BulkWork,
    run: Option<u64>,
    interrupt: &(dyn Fn() -> Option<i32> + Sync),
) -> anyhow::Result<Reply> {
    let run = Some(status_of(work, run)?.run);
    let is_drawn = call.surroundings.stdout_is_terminal;
    let mut shown: Vec<String> = Vec::new();
    loop {
        let status = status_of(work, run)?;
        let goes_on = status.goes_on;
        let report = RunStatusReport::of(status, &work.path);
        let lines = report.lines(call.surroundings.zone);
        if !call.in_json && (lines != shown || !goes_on) {
            if is_drawn && !shown.is_empty() {
                // Move to the first line and clear all of them.
                call.output.raw(format!("\x1b[{}A\x1b[J", shown.len()))?;
            }
            if goes_on {
                report.print_text(&mut call.output)?;
                call.output.flush()?;
            }
            shown = lines;
        }
        if !goes_on {
            return Ok(Reply::new(Exit::OK, report));
        }
        std::thread::sleep(PAUSE);
        if let Some(signal) = interrupt() {
            return Ok(Reply::silent(Exit::by_signal(signal)));
        }
    }
}
