//! `patchadm stage enter`: runs a command or shell with the stage in place of the original.

use std::ffi::OsString;
use std::path::PathBuf;

use super::ends::stage_failed;
use patchadm_cli::arguments::{
    ColourOption, HelpOption, QuietOption, RootOption, VerboseOption, VersionOption, one_of, parse,
};
use patchadm_cli::call::Invocation;
use patchadm_cli::program::processes::{exit_of_command, exit_of_enclosure};
use patchadm_cli::reply::{Exit, Reply, Stop};
use patchadm_cli::surroundings::{Output, Surroundings};
use patchadm_core::namespaces::EnclosureNote;
use patchadm_core::operation::stages::{EnterError, EnterRequest, StageView, enter_stage};
use patchadm_inputs::stage::MountWord;
use patchadm_rootfs::Root;

const USAGE: &str = "patchadm [-R root] stage enter [--view root|stage] [--mount [rw:]src[:dst]]... [--mounts file] \
    [--as-root] stage [-- command [argument...]]";

const VIEWS: [(&str, StageView); 2] = [("root", StageView::Root), ("stage", StageView::Stage)];

/// Run a command, or a shell, in a stage
#[derive(clap::Parser)]
struct EnterArgs {
    /// Set the root directory of the command: root (the live root with the stage mounted over its directories) or
    /// stage (only the stage)
    #[arg(long, value_name = "VIEW", value_parser = one_of(&VIEWS), hide_possible_values = true)]
    view: Option<StageView>,
    /// Also mount this file or directory of the host, read-only unless prefixed with `rw:`; repeatable
    #[arg(long = "mount", value_name = "[rw:]SRC[:DST]", action = clap::ArgAction::Append)]
    mounts: Vec<OsString>,
    /// Also mount the files and directories listed in FILE
    #[arg(long = "mounts", value_name = "FILE")]
    mounts_file: Option<PathBuf>,
    /// Run as root in the stage, with the caller's privileges
    #[arg(long)]
    as_root: bool,
    #[command(flatten)]
    root: RootOption,
    #[command(flatten)]
    _quiet: QuietOption,
    #[command(flatten)]
    _verbose: VerboseOption,
    #[command(flatten)]
    _colour: ColourOption,
    #[command(flatten)]
    _help: HelpOption,
    #[command(flatten)]
    _version: VersionOption,
    /// The stage: a directory or a name
    #[arg(value_name = "STAGE")]
    stage: OsString,
    /// The command with its arguments [default: a shell]
    #[arg(value_name = "COMMAND", last = true)]
    command: Vec<OsString>,
}

/// Exits with the command's code.
pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "stage enter";
    let args: EnterArgs = parse(call, USAGE)?;
    let mounts = args.mounts.iter().map(|word| MountWord::parse(word)).collect::<Result<Vec<_>, _>>();
    let mounts = mounts.map_err(|error| Stop::Usage { message: format!("--mount {error}"), usage: USAGE })?;
    let root = args.root.open(call)?;
    let surroundings = &call.surroundings;
    let (shell, directory) = Surroundings::shell_and_directory();
    let request = EnterRequest {
        root: &root,
        stage: &args.stage,
        view: args.view.unwrap_or(StageView::Root),
        mounts,
        mounts_file: args.mounts_file.as_deref(),
        as_root: args.as_root,
        command: args.command,
        shell: shell.as_deref(),
        environment: Surroundings::environment(),
        directory,
        umask: surroundings.umask,
        is_interactive: surroundings.stdin_is_terminal && surroundings.stdout_is_terminal,
    };
    let output = &mut call.output;
    match enter_stage(request, |note| tell_note(output, note)) {
        Ok(end) => Ok(Reply::silent(exit_of_command(end))),
        Err(error) => Err(refused(&root, &error)),
    }
}

fn tell_note(output: &mut Output, note: &EnclosureNote) {
    let program = output.program().to_owned();
    let line = match note {
        EnclosureNote::Link { named, meant } => format!("{named} is a link: mounted at {meant}"),
        EnclosureNote::Made(_) if !output.is_verbose() => return,
        EnclosureNote::Made(place) => format!("made the mount point {place} in the stage"),
        EnclosureNote::HostProcesses => "/proc shows the host, read-only".to_owned(),
    };
    // Without standard error there is nobody to tell.
    let _ = output.complain(format!("{program}: {line}\n"));
}

fn refused(root: &Root, error: &EnterError) -> anyhow::Error {
    let exit = match error {
        EnterError::Stage(error) => return stage_failed(root, "the stage was not entered", error),
        EnterError::Lock(_) => Exit::LOCKED,
        EnterError::Enclosure(error) => exit_of_enclosure(error),
    };
    Stop::Refused { exit, message: error.to_string() }.into()
}
