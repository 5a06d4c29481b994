//! `patchadm-make`: makes, checks, signs and publishes packages and patches; one file per verb and command.

mod build;
mod delta;
#[cfg(feature = "sign")]
mod depot;
mod explain;
#[cfg(feature = "sign")]
mod keygen;
mod lint;
mod order;
mod pkgmk;
mod pkgproto;
#[cfg(feature = "sign")]
mod publish;
mod releases;
#[cfg(feature = "sign")]
mod sign;

use std::process::ExitCode;

use patchadm_cli::call::VerbGroup::{Ask, Learn, Make};
use patchadm_cli::call::{AppletKind, Program};
use patchadm_cli::program;
use patchadm_cli::program::complete::COMPLETE;
use patchadm_cli::program::schema::SCHEMA;
use patchadm_cli::program::{classic, complete, help, hidden, schema, verb};

static PATCHADM_MAKE: Program = Program {
    name: "patchadm-make",
    about: env!("CARGO_PKG_DESCRIPTION"),
    usage: "patchadm-make [OPTION...] VERB [ARGUMENT...]\npatchadm-make COMMAND [ARGUMENT...]\npatchadm-make help [VERB|COMMAND]",
    ending: "\n`patchadm-make help VERB` explains a verb, patchadm(8) all.\n",
    applets: &[
        verb(Ask, "order", "put packages or patches in order, each after what it needs", order::run),
        verb(Make, "build", "make a patch of two releases", build::run),
        verb(Make, "delta", "make the patches of a stable branch", delta::run),
        verb(Make, "lint", "find what is wrong with patches", lint::run),
        #[cfg(feature = "sign")]
        verb(Make, "keygen", "make a pair of keys", keygen::run),
        #[cfg(feature = "sign")]
        verb(Make, "sign", "sign patches", sign::run),
        #[cfg(feature = "sign")]
        verb(Make, "publish", "put patches into a depot", publish::run),
        #[cfg(feature = "sign")]
        verb(Make, "depot", "index a directory of patches, or check a depot", depot::run),
        verb(Learn, "help", "explain a verb or command", help::run),
        verb(Learn, "explain", "explain a finding of lint", explain::run),
        classic("pkgproto", "print prototype entries for objects of this machine", pkgproto::run),
        classic("pkgmk", "make a package from a prototype", pkgmk::run),
        hidden(COMPLETE, AppletKind::Internal, complete::run),
        hidden(SCHEMA, AppletKind::Internal, schema::run),
    ],
    only: None,
    overall: None,
    queries: &["order", "lint", "explain", "help", "pkgproto"],
    meant: &[],
    never_suggested: &["publish"],
    schemas: patchadm_cli::schemas!(
        "../../../docs/schema":
            "build" "delta" "depot" "explain" "help" "keygen" "lint" "order" "pkgmk" "pkgproto" "publish"
            "sign"
    ),
};

fn main() -> ExitCode {
    program::main(&PATCHADM_MAKE, std::env::args_os())
}
