//! `patchadm-bulk`: all packages of a tree from their sources; a file for each action.
//!
//! | module | is about |
//! | --- | --- |
//! | `command` | the one command, and which action it is asked for |
//! | `init`, `run`, `scan`, `patches`, `release`, `upload`, `prune` | actions that make or change something |
//! | `status`, `why`, `log`, `history`, `diff`, `report`, `enter` | actions that tell or show something |
//! | `processes` | the processes that it starts itself |
//! | `installer` | the `patchadm` that installs packages and patches in sandboxes |
//! | `ends` | how actions end that failed |

mod command;
mod diff;
mod ends;
mod enter;
mod history;
mod init;
mod installer;
mod log;
#[cfg(not(feature = "sign"))]
mod no_publishing;
mod page;
mod patches;
mod patches_ends;
mod processes;
mod prune;
#[cfg(feature = "sign")]
mod publishing;
mod release;
mod report;
mod run;
mod run_display;
mod run_face;
mod run_patches;
mod scan;
mod status;
mod upload;
mod waiting;
mod why;

#[cfg(not(feature = "sign"))]
use no_publishing as publishing;

use std::process::ExitCode;

use patchadm_building::run::TASK_PROCESS;
use patchadm_building::sources::FETCH_PROCESS;
use patchadm_building::task::PROBE_PROCESS;
use patchadm_cli::call::VerbGroup::Stage;
use patchadm_cli::call::{AppletKind, Program};
use patchadm_cli::program::complete::{self, COMPLETE};
use patchadm_cli::program::{self, enclosed, hidden, verb};
use patchadm_core::namespaces::{ENCLOSING_PROCESS, FIRST_PROCESS, SEGMENTS_PROCESS};

/// The name of the command, in its documents too.
const BULK: &str = "bulk";

/// The program.
static PATCHADM_BULK: Program = Program {
    name: "patchadm-bulk",
    about: env!("CARGO_PKG_DESCRIPTION"),
    usage: command::USAGE,
    ending: "",
    applets: &[
        verb(Stage, BULK, "build all packages of a tree from their sources", command::bulk),
        hidden(COMPLETE, AppletKind::Internal, complete::run),
        hidden(FIRST_PROCESS, AppletKind::Internal, processes::run_first),
        hidden(ENCLOSING_PROCESS, AppletKind::Internal, enclosed::run_enclosure),
        hidden(SEGMENTS_PROCESS, AppletKind::Internal, enclosed::run_segments),
        hidden(PROBE_PROCESS, AppletKind::Internal, processes::run_probe),
        hidden(TASK_PROCESS, AppletKind::Internal, processes::run_task),
        hidden(FETCH_PROCESS, AppletKind::Internal, processes::run_fetch),
    ],
    only: Some(BULK),
    overall: None,
    queries: &["bulk diff", "bulk history", "bulk log", "bulk status", "bulk why"],
    meant: &[],
    never_suggested: &[],
};

fn main() -> ExitCode {
    program::main(&PATCHADM_BULK, std::env::args_os())
}
