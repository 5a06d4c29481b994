//! `patchadm-make lint`: finds faults of patches without applying them.

use std::ffi::OsString;
use std::path::PathBuf;

use serde::Serialize;

use crate::releases::read_release;
use patchadm_cli::arguments::options::VerboseOption;
use patchadm_cli::arguments::parse;
use patchadm_cli::arguments::verbs::RootlessOptions;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::source_code;
use patchadm_cli::reply::words::counted;
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_inputs::source::SourceError;
use patchadm_making::lint::{
    ComparedPatch, LintCode, LintFinding, LintInput, Severity, compared_patch, depot_patches, lint,
};
use patchadm_planning::plan::refusal;
use patchadm_producing::patch_options::read_by_shell;
use patchadm_rootfs::WorkUnit;

const USAGE: &str = "patchadm-make lint [--base set] [--depot dir] [--strict] [--allow code]... patch...";

/// The code of patchadd(1M) for a package that does not fit.
const FOUND: Exit = Exit::finding(ExitCause::DamagedInput);

/// Check patches for mistakes, without applying them
#[derive(clap::Parser)]
struct LintArgs {
    /// Compare with SET, the release that the patches are for, in any form that `build --from` accepts
    #[arg(long, value_name = "SET")]
    base: Option<OsString>,
    /// Check for overlaps with the patches in DIR, and for files that only earlier revisions contain
    #[arg(long, value_name = "DIR")]
    depot: Option<PathBuf>,
    /// Treat warnings as errors
    #[arg(long)]
    strict: bool,
    /// Ignore findings with this code; repeatable
    #[arg(long, value_name = "CODE", value_parser = code, action = clap::ArgAction::Append)]
    allow: Vec<LintCode>,
    #[command(flatten)]
    _verbose: VerboseOption,
    #[command(flatten)]
    _common: RootlessOptions,
    /// The patches: directories, datastreams, or tar or zip archives
    #[arg(value_name = "PATCH")]
    patches: Vec<PathBuf>,
}

fn code(name: &str) -> Result<LintCode, String> {
    LintCode::named(name).ok_or_else(|| "there is no finding with this code".to_owned())
}

#[derive(Serialize)]
struct LintReport {
    patches: Vec<PatchFindings>,
    errors: usize,
    warnings: usize,
}

#[derive(Serialize)]
struct PatchFindings {
    id: Option<String>,
    path: String,
    findings: Vec<LintFinding>,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: LintArgs = parse(call, USAGE)?;
    if args.patches.is_empty() {
        return Err(Stop::Usage { message: "no patch specified".to_owned(), usage: USAGE }.into());
    }
    let cores = call.surroundings.processors;
    let busy = call.busy("checking");
    let read = |base| read_release(base, cores, busy.meter(), "nothing was checked");
    let base = args.base.as_deref().map(read).transpose()?;
    let mut depot: Vec<ComparedPatch> = args
        .depot
        .as_deref()
        .map(depot_patches)
        .transpose()
        .map_err(|error| unreadable(&error))?
        .unwrap_or_default();
    if let [_, _, ..] = &args.patches[..] {
        for given in args.patches.iter().filter_map(|path| compared_patch(path)) {
            if depot.iter().all(|other| other.id != given.id) {
                depot.push(given);
            }
        }
    }
    let input = LintInput { base: base.as_ref(), depot: &depot, syntax: &read_by_shell };
    let mut patches = Vec::new();
    let step = busy.meter().begin(WorkUnit::Patches, args.patches.len() as u64);
    for path in &args.patches {
        let mut linted = lint(path, &input).map_err(|error| unreadable(&error))?;
        linted.findings.retain(|finding| !args.allow.contains(&finding.code));
        let path = path.display().to_string();
        patches.push(PatchFindings { id: linted.id, path, findings: linted.findings });
        step.advance(1);
    }
    let count = |severity| {
        let findings = patches.iter().flat_map(|patch| &patch.findings);
        findings.filter(|finding| finding.severity == severity).count()
    };
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let exit = if errors > 0 || args.strict && warnings > 0 { FOUND } else { Exit::OK };
    Ok(Reply::new(exit, LintReport { patches, errors, warnings }))
}

fn unreadable(error: &SourceError) -> anyhow::Error {
    let exit = source_code(refusal::Command::Patchadd, error);
    Stop::Refused { exit, message: error.to_string() }.into()
}

impl CommandReport for LintReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        for patch in &self.patches {
            let is_shown = |finding: &&LintFinding| finding.severity != Severity::Note || output.is_verbose();
            let shown: Vec<&LintFinding> = patch.findings.iter().filter(is_shown).collect();
            for finding in shown {
                output.line(format!("{}: {finding}", patch.path))?;
            }
        }
        if self.errors + self.warnings > 0 {
            output.line(format!(
                "{}, {}; `patchadm help lint:CODE` explains a finding",
                counted(self.errors, "error"),
                counted(self.warnings, "warning")
            ))?;
        }
        Ok(())
    }
}
