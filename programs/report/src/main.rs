//! `patchadm-report`: which hosts have and lack which patches, from the output of `patchadm list --json` on each, as
//! text, pages and documents.
//!
//! | module | content |
//! | --- | --- |
//! | `command` | the command: options, formats, and its work |
//! | `made` | the inputs and content of a report |
//! | `answer`, `text` | the JSON document, and the report for a person |
//! | `document_page` | the page about a document of `list`, `plan`, `missing` or `history` |
//! | `csv`, `page`, `openvex`, `cyclonedx`, `prometheus` | one file per other format |

mod answer;
mod command;
mod csv;
mod cyclonedx;
mod document_page;
mod made;
mod openvex;
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
        verb(Make, REPORT, "show which hosts of many have and lack which patches", command::run),
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
