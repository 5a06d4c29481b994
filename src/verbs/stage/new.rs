//! `patchadm stage new`: copies directories of a root into a stage.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use serde::Serialize;

use super::ends::stage_failed;
use crate::as_owner::options::OwnerOptions;
use crate::verbs::options::{VerbOptions, WaitOption};
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::words::{counted, human, print_notes, with_recovery};
use patchadm_cli::reply::{CommandReport, Exit, Reply, ResultWord};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::stages::new::{NewStageReport, NewStageRequest, make_stage};
use patchadm_inputs::path_glob::PathGlob;
use patchadm_planning::plan::refusal::Command;

const USAGE: &str = "patchadm [-R root] stage new --path path... [--name name] [--records] [--dir dir]... \
    [--mounts file] [--exclude pattern]... [option...] stage";

/// The name in lock, journal and history.
const NAME: &str = "stage";

/// Copy directories of a root into a stage, and record their state
#[derive(clap::Parser)]
struct NewArgs {
    /// Copy this directory in the root; repeatable
    #[arg(long = "path", value_name = "PATH", required = true, action = clap::ArgAction::Append)]
    paths: Vec<OsString>,
    /// Name the stage and its promotions [default: the last component of STAGE]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Also copy the package database, so that `patchadd -R STAGE` works
    #[arg(long)]
    records: bool,
    /// Create this work directory, in addition to tmp, usr/obj and usr/tmp; repeatable
    #[arg(long = "dir", value_name = "DIR", action = clap::ArgAction::Append)]
    directories: Vec<OsString>,
    /// Keep a copy of FILE, which lists files and directories for `stage enter` to mount
    #[arg(long, value_name = "FILE")]
    mounts: Option<PathBuf>,
    /// Leave out paths that match GLOB, and everything below them; repeatable
    #[arg(long, value_name = "GLOB", value_parser = pattern, action = clap::ArgAction::Append)]
    exclude: Vec<PathGlob>,
    #[command(flatten)]
    wait: WaitOption,
    #[command(flatten)]
    owner: OwnerOptions,
    #[command(flatten)]
    common: VerbOptions,
    /// The directory of the new stage; it must be empty or must not exist
    #[arg(value_name = "STAGE")]
    stage: PathBuf,
}

#[derive(Serialize)]
struct NewReport {
    result: ResultWord,
    changed: bool,
    stage: ShownStage,
    /// Objects of its base.
    objects: u64,
    bytes: u64,
    /// Files that share blocks with the live ones.
    reflinked: u64,
    kept: Vec<KeptEntry>,
    owners: bool,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct ShownStage {
    id: String,
    name: String,
    path: String,
}

#[derive(Serialize)]
struct KeptEntry {
    path: String,
    reason: &'static str,
}

fn pattern(text: &str) -> Result<PathGlob, String> {
    PathGlob::parse(text).map_err(|error| error.to_string())
}

pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "stage new";
    let args: NewArgs = parse(call, USAGE)?;
    let root = args.owner.open::<NewArgs>(call, &args.common.root, Command::Patchadd)?;
    call.output.heedless();
    let bytes = |words: Vec<OsString>| words.into_iter().map(OsString::into_vec).collect();
    let request = NewStageRequest {
        stage: args.stage,
        paths: bytes(args.paths),
        name: args.name,
        records: args.records,
        directories: bytes(args.directories),
        mounts: args.mounts,
        exclude: args.exclude,
    };
    let _busy = call.busy("copying");
    let made = call.change(&root, NAME, args.wait.seconds, |caller| make_stage(&root, &request, caller))?;
    match made {
        Ok(report) => Ok(Reply::about(&root, Exit::OK, NewReport::of(report))),
        Err(error) => Err(stage_failed(&root, "the stage was not made", &error)),
    }
}

impl NewReport {
    fn of(report: NewStageReport) -> Self {
        let notes = with_recovery(&report.recovered, report.notes);
        let left = report.left.iter().map(|(path, reason)| (path, reason.word()));
        let kept = left.chain(report.mounts.iter().map(|path| (path, "mount")));
        let mut kept: Vec<KeptEntry> =
            kept.map(|(path, reason)| KeptEntry { path: path.to_string(), reason }).collect();
        kept.sort_by(|one, other| one.path.cmp(&other.path));
        Self {
            result: ResultWord::Done,
            changed: report.receipt.is_some(),
            stage: ShownStage {
                id: report.id.to_string(),
                name: report.name.to_string(),
                path: report.path.to_string(),
            },
            objects: report.objects,
            bytes: report.bytes,
            reflinked: report.reflinked,
            kept,
            owners: report.owners,
            notes,
        }
    }

    fn left_out(&self) -> Option<String> {
        let words = [
            ("socket", "socket", "sockets"),
            ("volatile", "file of a running process", "files of running processes"),
            ("excluded", "path that is excluded or a record", "paths that are excluded or records"),
            ("mount", "mount point", "mount points"),
        ];
        let counted = words.iter().filter_map(|(reason, one, many)| {
            match self.kept.iter().filter(|entry| entry.reason == *reason).count() {
                0 => None,
                1 => Some(format!("1 {one}")),
                count => Some(format!("{count} {many}")),
            }
        });
        let counted: Vec<String> = counted.collect();
        (!counted.is_empty()).then(|| format!("left out: {}", counted.join(", ")))
    }
}

impl CommandReport for NewReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let ShownStage { name, path, .. } = &self.stage;
        let objects = counted(self.objects, "object");
        let shared = match self.reflinked {
            0 => String::new(),
            count => format!(", {count} of them sharing blocks with the live ones"),
        };
        output.line(format!("stage {name} ({path}): {objects}, {}{shared}", human(self.bytes)))?;
        if let Some(left) = self.left_out() {
            output.line(left)?;
        }
        if output.is_verbose() {
            for entry in &self.kept {
                output.line(format!("  {} {}", entry.path, entry.reason))?;
            }
        }
        if !self.owners {
            output.line("some owners, set-id bits and security attributes could not be copied; the live files keep theirs")?;
        }
        Ok(())
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(print_notes(output, &self.notes)?)
    }
}
