//! `patchadm-report`: which hosts of many have and lack which patches, from what `patchadm list --json` printed on each, as text,
//! pages and documents.
//!
//! | module | is about |
//! | --- | --- |
//! | `command` | the one command: its options, its work |
//! | `input` | inventories that are named, standard input, or the root itself |
//! | `made` | a report before it is printed |
//! | `answer`, `text` | the document, and the report for a person |
//! | `csv`, `page`, `openvex`, `cyclonedx`, `prometheus` | a file for each other format |

mod answer;
mod command;
mod csv;
mod cyclonedx;
mod made;
mod openvex;
mod page;
mod prometheus;
mod text;

use std::process::ExitCode;

use patchadm_cli::call::VerbGroup::Ask;
use patchadm_cli::call::{AppletKind, Program};
use patchadm_cli::program;
use patchadm_cli::program::complete::COMPLETE;
use patchadm_cli::program::{complete, hidden, verb};

const REPORT: &str = "report";

static PATCHADM_REPORT: Program = Program {
    name: "patchadm-report",
    about: env!("CARGO_PKG_DESCRIPTION"),
    usage: command::USAGE,
    ending: "",
    applets: &[
        verb(Ask, REPORT, "show which hosts of many have and lack which patches", command::run),
        hidden(COMPLETE, AppletKind::Internal, complete::run),
    ],
    only: Some(REPORT),
    overall: None,
    queries: &[REPORT],
    meant: &[],
    never_suggested: &[],
};

fn main() -> ExitCode {
    program::main(&PATCHADM_REPORT, std::env::args_os())
}
