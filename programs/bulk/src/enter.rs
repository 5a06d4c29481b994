//! `patchadm-bulk enter`: runs a command or a shell in the sandbox of a package.

use std::ffi::OsString;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use chrono::{SecondsFormat, Utc};

use crate::ends::{known_tree_failed, run_failed, work_failed};
use patchadm_building::base::build_user;
use patchadm_building::driver::Driver;
use patchadm_building::run::{EnterBuildRequest, EnterPackageError, RunBase, RunError, enter, enter_failed};
use patchadm_building::task::{EnterSandboxError, EnteringCommand};
use patchadm_building::tree::ResolvedTree;
use patchadm_building::work::BulkWork;
use patchadm_cli::arguments::{ColourOption, HelpOption, QuietOption, VersionOption, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::program::processes::{exit_of_command, exit_of_enclosure};
use patchadm_cli::reply::{Exit, ExitCause, Reply, Stop};
use patchadm_cli::surroundings::Surroundings;
use patchadm_core::namespaces::EnclosureEnd;
use patchadm_rootfs::never;

const USAGE: &str = "patchadm-bulk enter WORK NAME [--failed] [--network] [-- COMMAND [ARGUMENT...]]";

/// The sandbox cannot be made.
const OWN_FAILURE: u8 = 125;

/// Run a command, or a shell, in the build environment of a package
#[derive(clap::Parser)]
struct EnterBuildArgs {
    /// Allow access to the network of this machine
    #[arg(long)]
    network: bool,
    /// Use the environment left by a failed build, if bulk.conf says to keep it
    #[arg(long)]
    failed: bool,
    #[command(flatten)]
    _quiet: QuietOption,
    #[command(flatten)]
    _colour: ColourOption,
    #[command(flatten)]
    _help: HelpOption,
    #[command(flatten)]
    _version: VersionOption,
    /// The directory of the bulk build
    #[arg(value_name = "WORK")]
    work: PathBuf,
    /// A package, with or without its version, or its location
    #[arg(value_name = "NAME")]
    name: String,
    /// The command with its arguments [default: a shell]
    #[arg(value_name = "COMMAND", last = true)]
    command: Vec<OsString>,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "bulk enter";
    let args: EnterBuildArgs = parse(call, USAGE)?;
    let work = BulkWork::open(&args.work).map_err(|error| work_failed(&error))?;
    let input = std::io::stdin();
    let command =
        EnteringCommand { words: args.command, terminal: Surroundings::terminal(), input: input.as_fd() };
    let end = if args.failed {
        entered_failed(&work, (&args.name, args.network), command)
    } else {
        let tree = ResolvedTree::read(&work).map_err(|error| known_tree_failed(&error))?;
        let package = tree.only_package(&args.name).map_err(|error| known_tree_failed(&error))?;
        entered(&work, (&tree, package), args.network, command)
    };
    let end = end.map_err(|error| refused(&error))?;
    Ok(Reply::silent(exit_of_command(end)))
}

fn entered(
    work: &BulkWork,
    (tree, package): (&ResolvedTree, u32),
    has_network: bool,
    command: EnteringCommand<'_>,
) -> Result<EnclosureEnd, EnterPackageError> {
    let driver = Driver::find(work).map_err(RunError::from)?;
    let base = RunBase::prepare(work, &never)?;
    let request = EnterBuildRequest {
        work,
        driver: &driver,
        base: base.with_digest(),
        user: base.user,
        tree,
        package,
        has_network,
        cores: u32::try_from(patchadm_rootfs::cores()).unwrap_or(1),
        time: Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
    };
    enter(&request, command)
}

fn entered_failed(
    work: &BulkWork,
    name: (&str, bool),
    command: EnteringCommand<'_>,
) -> Result<EnclosureEnd, EnterPackageError> {
    let driver = Driver::find(work).map_err(RunError::from)?;
    enter_failed((work, &driver, build_user(&work.conf)), name, command)
}

fn refused(error: &EnterPackageError) -> Stop {
    let exit = match error {
        EnterPackageError::Run(error) => return run_failed(error),
        EnterPackageError::NotReady { .. } => Exit::failed(ExitCause::NotApplicable),
        EnterPackageError::Sandbox(EnterSandboxError::NothingKept(_)) => Exit::failed(ExitCause::NotFound),
        EnterPackageError::Sandbox(EnterSandboxError::Enclosure(error)) => exit_of_enclosure(error),
        EnterPackageError::Sandbox(EnterSandboxError::Package { .. }) => {
            Exit::passed_on(OWN_FAILURE, ExitCause::DamagedInput)
        }
        EnterPackageError::Sandbox(EnterSandboxError::Machine(_)) => {
            Exit::passed_on(OWN_FAILURE, ExitCause::Internal)
        }
    };
    Stop::Refused { exit, message: error.to_string() }
}
