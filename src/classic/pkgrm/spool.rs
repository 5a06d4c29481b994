//! `pkgrm -s`: removes packages from a spool directory.

use std::path::Path;

use serde::Serialize;

use crate::classic::pkgtrans;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, ResultWord};
use patchadm_cli::surroundings::{Output, questions};
use patchadm_core::operation::device;
use patchadm_core::operation::translate::remove_spooled;
use patchadm_svr4::package::PkgInst;

/// `asks` confirms each removal.
pub(super) fn run(call: &mut Invocation, spool: &Path, packages: &[String], asks: bool) -> Reply {
    let mut output = Output::new(call.program);
    let mut declined = false;
    let removed = remove_spooled(&device::named(spool), packages, &mut |inst: &PkgInst| {
        let agreed = !asks || agrees(&mut output, inst);
        declined |= !agreed;
        if agreed && !call.in_json {
            // Best effort.
            drop(output.complain(format!("Removing spooled package instance <{inst}>\n")));
        }
        agreed
    });
    let exit = match &removed {
        Err(error) => pkgtrans::code(error),
        Ok(_) if declined => Exit::new(3, ExitCause::Signal),
        Ok(_) => Exit::OK,
    };
    let error = removed.as_ref().err().map(ToString::to_string);
    let removed: Vec<String> = removed.iter().flatten().map(ToString::to_string).collect();
    Reply::new(exit, SpoolReport { result: ResultWord::of_cause(exit.cause()), error, removed })
}

fn agrees(output: &mut Output, inst: &PkgInst) -> bool {
    let spooled = [format!("The following package is currently spooled:\n   {inst}")];
    let help = "Answer y to remove the package, n to leave it in the directory.";
    questions::agreed(output, &spooled, "\nDo you want to remove this package? [y,n,?,q] ", help)
}

#[derive(Serialize)]
struct SpoolReport {
    result: ResultWord,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    removed: Vec<String>,
}

impl CommandReport for SpoolReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(self.error.iter().try_for_each(|error| output.error(error))?)
    }
}
