//! `patchadm-bulk log`: prints the log of a package.

use std::time::Duration;

use crate::ends::known_tree_failed;
use crate::preparation::WorkOperand;
use patchadm_building::logs::{LogError, LogFollower, LogNews, LogReader, last_run};
use patchadm_building::tree::{ResolvedTree, ResolvedTreeError};
use patchadm_building::work::BulkWork;
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{Exit, ExitCause, Reply, Stop};
use patchadm_cli::surroundings::caller::with_signals;
use patchadm_core::operation::scripts::OutputStream;

const USAGE: &str = "patchadm-bulk log WORK NAME [RUN] [--follow|--phase PHASE]";

const PAUSE: Duration = Duration::from_millis(200);

/// Print the log of a package
#[derive(clap::Parser)]
struct LogArgs {
    /// Follow the log until the package is built or the run ends
    #[arg(long)]
    follow: bool,
    /// Print only this phase of the build, such as configure
    #[arg(long, value_name = "PHASE", conflicts_with = "follow")]
    phase: Option<String>,
    #[command(flatten)]
    work: WorkOperand,
    /// A package, with or without its version, or its location
    #[arg(value_name = "NAME")]
    name: String,
    /// The number of the run [default: the last one with a log of the package]
    #[arg(value_name = "RUN")]
    run: Option<u64>,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "bulk log";
    let args: LogArgs = parse(call, USAGE)?;
    let work = args.work.open()?;
    let package = package_named(&work, &args.name)?;
    if args.follow {
        return follow(call, &work, &package, args.run);
    }
    let mut log = LogReader::of(&work, &package, args.run).map_err(|error| log_failed(&error))?;
    let mut has_printed = false;
    loop {
        let part = log.next_part(args.phase.as_deref()).map_err(|error| log_failed(&error))?;
        if part.is_empty() {
            break;
        }
        call.output.print_piece(OutputStream::Out, &part)?;
        has_printed = true;
    }
    if let Some(phase) = args.phase.filter(|_| !has_printed) {
        let message = format!("the log of {package} has no phase {}", phase.escape_debug());
        return Err(Stop::Refused { exit: Exit::failed(ExitCause::Unknown), message }.into());
    }
    Ok(Reply::silent(Exit::OK))
}

/// An unknown name may still have a log of an earlier run.
fn package_named(work: &BulkWork, name: &str) -> Result<String, Stop> {
    let found = ResolvedTree::read(work).and_then(|tree| Ok(tree.pkgname(tree.only_package(name)?)));
    match found {
        Ok(package) => Ok(package),
        Err(error @ ResolvedTreeError::Several { .. }) => Err(known_tree_failed(&error)),
        Err(_) => Ok(name.to_owned()),
    }
}

fn follow(call: &mut Invocation, work: &BulkWork, package: &str, run: Option<u64>) -> anyhow::Result<Reply> {
    let run = match run {
        Some(run) => Some(run),
        None => last_run(work).map_err(|error| log_failed(&error.into()))?,
    };
    let none = || log_failed(&LogError::None(package.to_owned()));
    let mut follower = LogFollower::of(work, package, run.ok_or_else(none)?);
    let mut has_printed = false;
    with_signals(|interrupt| {
        loop {
            if let Some(signal) = interrupt() {
                return Ok(Reply::silent(Exit::by_signal(signal)));
            }
            match follower.next_news().map_err(|error| log_failed(&error))? {
                LogNews::Bytes(bytes) => {
                    call.output.print_piece(OutputStream::Out, &bytes)?;
                    has_printed = true;
                }
                LogNews::Nothing => {
                    call.output.flush()?;
                    std::thread::sleep(PAUSE);
                }
                LogNews::End if has_printed => return Ok(Reply::silent(Exit::OK)),
                LogNews::End => return Err(none().into()),
            }
        }
    })?
}

fn log_failed(error: &LogError) -> Stop {
    let cause = match error {
        LogError::None(_) => ExitCause::Unknown,
        LogError::Root(error) => patchadm_cli::reply::cause_of::of_root(error),
    };
    Stop::Refused { exit: Exit::failed(cause), message: error.to_string() }
}
