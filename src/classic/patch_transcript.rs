//! The common parts of transcripts of patchadd(1M) and patchrm(1M).

use patchadm_cli::reply::patches::PatchesReport;
use patchadm_cli::reply::words::print_recovery;
use patchadm_cli::reply::{CommandReport, Reply, failure};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::failure::Failure;
use patchadm_planning::plan::refusal::Command;
use patchadm_rootfs::Root;
use serde::Serialize;

pub(super) type PrintPatches = fn(&Root, &PatchesReport, &mut Output) -> anyhow::Result<()>;

#[derive(Serialize)]
#[serde(transparent)]
struct Transcript {
    report: PatchesReport,
    #[serde(skip)]
    root: Root,
    #[serde(skip)]
    print: PrintPatches,
}

impl CommandReport for Transcript {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        (self.print)(&self.root, &self.report, output)
    }
}

pub(super) fn transcript(root: &Root, report: PatchesReport, print: PrintPatches) -> Reply {
    Reply::about(root, report.exit, Transcript { report, root: root.clone(), print })
}

/// Prints the checks, then the accepted patches in order.
pub(super) fn print_opening(
    output: &mut Output,
    report: &PatchesReport,
    phases: &[&str],
    approved: &str,
) -> anyhow::Result<()> {
    print_recovery(output, report.recovered.as_deref(), &report.recovery_notes)?;
    for phase in phases {
        output.line(phase)?;
    }
    let ids: Vec<&str> =
        report.patches.iter().filter(|entry| entry.has_plan).map(|entry| entry.id.as_str()).collect();
    if !ids.is_empty() {
        output.line(format!("{approved}\n\n{} \n\n", ids.join(" ")))?;
    }
    Ok(())
}

/// Prints why a patch or the whole command is refused, and the final line.
pub(super) fn print_refusal(
    output: &mut Output,
    (root, command): (&Root, Command),
    patch: Option<&str>,
    failed: &Failure,
) -> anyhow::Result<()> {
    let text = failure::classic(root.prefix(), command, patch, failed);
    let name = if command == Command::Patchadd { "Patchadd" } else { "Patchrm" };
    Ok(output.complain(format!("ERROR: {text}\n{name} is terminating.\n"))?)
}
