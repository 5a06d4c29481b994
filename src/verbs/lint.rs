//! `patchadm lint`: finds faults of patches without applying them.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Serialize;

use super::options::RootlessOptions;
use super::releases::read_release;
use crate::arguments::parse;
use crate::call::Invocation;
use crate::reply::failure::source_code;
use crate::reply::{CommandReport, Exit, ExitCause, Reply, Stop};
use crate::surroundings::Output;
use patchadm_inputs::source::SourceError;
use patchadm_making::lint::{DepotPatch, LintCode, LintFinding, LintInput, Severity, depot_patches, lint};
use patchadm_planning::plan::refusal;
use patchadm_rootfs::WorkUnit;

const USAGE: &str = "patchadm lint [--base set] [--depot dir] [--strict] [--allow code]... patch...";

/// Something that has to be put right was found: the code of patchadd(1M) for a package that does not fit.
const FOUND: Exit = Exit::new(10, ExitCause::DamagedInput);

/// Find what is wrong with patches, without applying them
#[derive(clap::Parser)]
struct LintArgs {
    /// Compare with the release that the patches are for, as build takes it
    #[arg(long, value_name = "SET")]
    base: Option<OsString>,
    /// Compare with the patches of this directory: overlaps, and what earlier revisions delivered
    #[arg(long, value_name = "DIR")]
    depot: Option<PathBuf>,
    /// Warnings count as errors
    #[arg(long)]
    strict: bool,
    /// Leave findings of this code out; may be repeated
    #[arg(long, value_name = "CODE", value_parser = code, action = clap::ArgAction::Append)]
    allow: Vec<LintCode>,
    #[command(flatten)]
    _common: RootlessOptions,
    /// The patches: directories, datastreams, tar or zip archives
    #[arg(value_name = "PATCH")]
    patches: Vec<PathBuf>,
}

fn code(name: &str) -> Result<LintCode, String> {
    LintCode::named(name).ok_or_else(|| "there is no finding of this code".to_owned())
}

/// The findings of all patches.
#[derive(Serialize)]
struct LintReport {
    patches: Vec<PatchFindings>,
    errors: usize,
    warnings: usize,
}

/// The findings of one patch.
#[derive(Serialize)]
struct PatchFindings {
    id: Option<String>,
    path: String,
    findings: Vec<LintFinding>,
}

/// Runs the verb. Exit 10 where an error was found, or with `--strict` a warning.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: LintArgs = parse(call, USAGE)?;
    if args.patches.is_empty() {
        return Err(Stop::Usage { message: "no patch is named".to_owned(), usage: USAGE }.into());
    }
    let cores = call.surroundings.processors;
    let busy = call.busy("checking");
    let read = |base| read_release(base, cores, busy.meter(), "nothing was checked");
    let base = args.base.as_deref().map(read).transpose()?;
    let depot: Vec<DepotPatch> = args
        .depot
        .as_deref()
        .map(depot_patches)
        .transpose()
        .map_err(|error| unreadable(&error))?
        .unwrap_or_default();
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

/// Returns the end for a patch that cannot be read at all, with the codes of patchadd(1M).
fn unreadable(error: &SourceError) -> anyhow::Error {
    let exit = source_code(refusal::Command::Patchadd, error);
    Stop::Refused { exit, message: error.to_string() }.into()
}

impl CommandReport for LintReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        for patch in &self.patches {
            for finding in &patch.findings {
                output.line(line_of(patch, finding))?;
            }
        }
        if self.errors + self.warnings > 0 {
            output.line(format!(
                "{} errors, {} warnings; `patchadm explain lint:CODE` says more",
                self.errors, self.warnings
            ))?;
        }
        Ok(())
    }
}

fn line_of(patch: &PatchFindings, finding: &LintFinding) -> String {
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let place = [finding.package.as_deref(), finding.path.as_deref()];
    let place: Vec<&str> = place.into_iter().flatten().collect();
    let place = if place.is_empty() { String::new() } else { format!("{}: ", place.join(": ")) };
    format!("{}: {severity}: {}: {place}{}", patch.path, finding.code, finding.text)
}

/// Has the shell of this machine read a script, which runs nothing of it. A script for another interpreter is not read, and
/// without a shell none is.
pub(super) fn read_by_shell(text: &[u8]) -> Result<(), String> {
    if !is_for_shell(text) {
        return Ok(());
    }
    let shell = Command::new("/bin/sh")
        .arg("-n")
        .env_clear()
        .current_dir(Path::new("/"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut shell) = shell else { return Ok(()) };
    if let Some(mut input) = shell.stdin.take() {
        // A shell that stops reading says why.
        let _ = input.write_all(text);
    }
    let Ok(output) = shell.wait_with_output() else { return Ok(()) };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let reason = said.lines().next().unwrap_or("a shell cannot read it");
    Err(reason.strip_prefix("/bin/sh: ").unwrap_or(reason).to_owned())
}

/// Tells whether a script names a shell, or nothing, as its interpreter.
fn is_for_shell(text: &[u8]) -> bool {
    let first = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let Some(interpreter) = first.strip_prefix(b"#!") else { return true };
    let program = interpreter.trim_ascii().split(u8::is_ascii_whitespace).next().unwrap_or_default();
    program.ends_with(b"sh")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_tells_what_it_cannot_read_and_runs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("ran");
        assert_eq!(read_by_shell(format!("touch {}\n", mark.display()).as_bytes()), Ok(()));
        assert!(!mark.exists());
        assert!(read_by_shell(b"if true; then\n").is_err());
        assert_eq!(read_by_shell(b"#!/usr/bin/perl\nif (\n"), Ok(()));
    }
}
