//! `patchadm-report`: which hosts have and lack which patches, from `patchadm list --json` on each.
//!
//! `command` has the options, `made` the content of a report, and each format its own file.

mod answer;
mod command;
mod csv;
mod document_page;
mod host_documents;
mod made;
mod page;
mod prometheus;
mod text;

use std::process::ExitCode;

use patchadm_cli::call::VerbGroup::Make;
use patchadm_cli::call::{AppletKind, Program};
use patchadm_cli::program;
use patchadm_cli::program::complete::COMPLETE;
use patchadm_cli::program::schema::SCHEMA;
use patchadm_cli::program::{complete, hidden, schema, verb};

const REPORT: &str = "report";

static PATCHADM_REPORT: Program = Program {
    name: "patchadm-report",
    about: env!("CARGO_PKG_DESCRIPTION"),
    usage: command::USAGE,
    ending: "",
    applets: &[
        verb(Make, REPORT, "show which patches each host has and which it is missing", command::run),
        hidden(COMPLETE, AppletKind::Internal, complete::run),
        hidden(SCHEMA, AppletKind::Internal, schema::run),
    ],
    only: Some(REPORT),
    overall: None,
    queries: &[REPORT],
    meant: &[],
    never_suggested: &[],
    schemas: patchadm_cli::schemas!(
        "../../../docs/schema":
            "report"
    ),
};

fn main() -> ExitCode {
    program::main(&PATCHADM_REPORT, std::env::args_os())
}
