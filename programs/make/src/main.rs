//! `patchadm-make`: makes, checks, signs and publishes packages and patches; one file per verb and command.

mod build;
mod delta;
#[cfg(feature = "sign")]
mod depot;
mod help;
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

use patchadm_cli::call::VerbGroup::{Learn, Make};
use patchadm_cli::call::{AppletKind, Program};
use patchadm_cli::program;
use patchadm_cli::program::complete::COMPLETE;
use patchadm_cli::program::schema::SCHEMA;
use patchadm_cli::program::{classic, complete, hidden, processes, schema, verb};
use patchadm_inputs::native::rpm::RPM_PROCESS;

static PATCHADM_MAKE: Program = Program {
    name: "patchadm-make",
    about: env!("CARGO_PKG_DESCRIPTION"),
    usage: "patchadm-make VERB [OPTION...] [ARGUMENT...]",
    ending: "`patchadm-make help VERB` explains a verb.",
    applets: &[
        verb(Make, "build", "Make a patch from two releases", build::run),
        verb(Make, "delta", "Make patches for a stable branch", delta::run),
        verb(Make, "lint", "Check patches for mistakes", lint::run),
        #[cfg(feature = "sign")]
        verb(Make, "keygen", "Make a key pair", keygen::run),
        #[cfg(feature = "sign")]
        verb(Make, "sign", "Sign patches", sign::run),
        #[cfg(feature = "sign")]
        verb(Make, "publish", "Add patches to a depot", publish::run),
        #[cfg(feature = "sign")]
        verb(Make, "depot", "Index a directory of patches, or check a depot", depot::run),
        verb(Make, "order", "Put packages or patches in order, requirements first", order::run),
        verb(Learn, "help", "Explain a verb, a command or a lint finding", help::run),
        classic("pkgproto", "print prototype entries for existing objects", pkgproto::run),
        classic("pkgmk", "make a package from a prototype", pkgmk::run),
        hidden(COMPLETE, AppletKind::Internal, complete::run),
        hidden(SCHEMA, AppletKind::Internal, schema::run),
        hidden(RPM_PROCESS, AppletKind::Internal, processes::run_rpm),
    ],
    only: None,
    overall: None,
    queries: &["order", "lint", "help", "pkgproto"],
    meant: &[],
    never_suggested: &["publish"],
    schemas: patchadm_cli::schemas!(
        "../../../docs/schema":
            "build" "delta" "depot" "help" "keygen" "lint" "order" "pkgmk" "pkgproto" "publish"
            "sign"
    ),
};

fn main() -> ExitCode {
    program::main(&PATCHADM_MAKE, std::env::args_os())
}
