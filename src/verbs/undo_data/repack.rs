//! `patchadm undo-data repack`: rewrites undo archives in another format.

use serde::Serialize;

use crate::as_owner::options::OwnerOptions;
use crate::verbs::options::{BriefVerbOptions, DryRunOption, NoteOption, UndoDirOption, WaitOption};
use patchadm_changeset::plan::UndoFormat;
use patchadm_cli::arguments::{age, parse, undo_format};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::change_or_plan_failed;
use patchadm_cli::reply::words::{human, print_notes, with_recovery};
use patchadm_cli::reply::{CommandReport, Exit, Reply, ResultWord, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::patches::undo_repack::{
    RepackReport, RepackRequest, RepackVerdict, RepackedArchive, repack_undo,
};
use patchadm_core::operation::session::Caller;
use patchadm_planning::plan::refusal::Command;

const USAGE: &str = "patchadm [-R root] undo-data repack --undo-format gz|Z|none|zst|xz [--older-than age] [--dry-run] [option...] [id...]";

/// Recompress undo archives in another format
#[derive(clap::Parser)]
struct RepackArgs {
    /// Recompress undo data in this format: gz, Z, none, zst, or xz
    #[arg(long, value_name = "FORM", value_parser = undo_format(&UndoFormat::ARCHIVES), hide_possible_values = true)]
    undo_format: Option<UndoFormat>,
    /// Select patches applied longer ago than this (90d, 12w, 1y)
    #[arg(long, value_name = "DURATION", value_parser = age)]
    older_than: Option<u64>,
    #[command(flatten)]
    undo_dir: UndoDirOption,
    #[command(flatten)]
    dry_run: DryRunOption,
    #[command(flatten)]
    wait: WaitOption,
    #[command(flatten)]
    note: NoteOption,
    #[command(flatten)]
    owner: OwnerOptions,
    #[command(flatten)]
    common: BriefVerbOptions,
    /// The ids of the patches [default: all, or those selected by --older-than]
    #[arg(value_name = "ID")]
    ids: Vec<String>,
}

#[derive(Debug, Serialize)]
struct RepackReply {
    result: ResultWord,
    changed: bool,
    /// Of a plan: the root would differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    would_change: Option<bool>,
    run: Option<String>,
    format: &'static str,
    archives: Vec<RepackedArchive>,
    notes: Vec<String>,
}

pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "undo-data repack";
    let args: RepackArgs = parse(call, USAGE)?;
    let wrong = |message: &str| Stop::Usage { message: message.to_owned(), usage: USAGE };
    let format = args
        .undo_format
        .ok_or_else(|| wrong("no format specified: use --undo-format gz, Z, none, zst, or xz"))?;
    let root = args.owner.open::<RepackArgs>(call, &args.common.root, Command::Repack)?;
    if !args.dry_run.dry_run {
        call.output.heedless();
    }
    let RepackArgs { ids, older_than: cold, note, .. } = args;
    let (undo_dir, dry_run) = (args.undo_dir.undo_dir, args.dry_run.dry_run);
    let request = RepackRequest { ids, cold, format, undo_dir, dry_run };
    let repack = |caller: &Caller<'_>| repack_undo(&root, &request, &caller.noting(note.text.as_deref()));
    let _busy = call.busy("repacking");
    match call.change(&root, Command::Repack.name(), args.wait.seconds, repack)? {
        Ok(report) => Ok(Reply::about(&root, Exit::OK, RepackReply::of(&report, &request))),
        Err(failed) => Err(change_or_plan_failed(&root, Command::Repack, &failed, dry_run).into()),
    }
}

impl RepackReply {
    fn of(report: &RepackReport, request: &RepackRequest) -> Self {
        let is_something = report.archives.iter().any(|archive| archive.verdict.is_rewritten());
        let result = match (is_something, request.dry_run) {
            (false, _) => ResultWord::NothingToDo,
            (true, true) => ResultWord::Planned,
            (true, false) => ResultWord::Done,
        };
        let notes = report.receipt.iter().flat_map(|receipt| receipt.notes.iter().cloned());
        let is_only_ours = is_something && request.format.is_read_by_this_program_only();
        Self {
            result,
            changed: report.receipt.is_some(),
            would_change: request.dry_run.then_some(is_something),
            run: report.receipt.as_ref().map(|receipt| receipt.run.clone()),
            format: request.format.word(),
            archives: report.archives.clone(),
            notes: with_recovery(
                &report.recovered,
                notes.chain(is_only_ours.then(|| only_ours(request.format))),
            ),
        }
    }
}

/// Further actions for archives in a format that classic tools do not know.
fn only_ours(format: UndoFormat) -> String {
    format!(
        "only patchadm can read {} archives; `undo-data repack --undo-format gz` makes archives that any pkgadd can read",
        format.word()
    )
}

fn line(archive: &RepackedArchive, format: &str) -> String {
    let from = archive.from.word();
    let what = match (archive.verdict, archive.after) {
        (RepackVerdict::Unchanged, _) => format!("already has this format: {format}"),
        (RepackVerdict::Foreign, _) => "not repacked: another tool made it".to_owned(),
        (RepackVerdict::ByScripts, _) => "not repacked: the scripts of the patch made it".to_owned(),
        (RepackVerdict::Planned | RepackVerdict::Repacked, Some(after)) => {
            format!("{from} to {format}: {} instead of {}", human(after), human(archive.before))
        }
        (RepackVerdict::Planned | RepackVerdict::Repacked, None) => format!("{from} would become {format}"),
    };
    format!("{} {}: {what}", archive.id, archive.package)
}

impl CommandReport for RepackReply {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        for archive in &self.archives {
            output.line(line(archive, self.format))?;
        }
        if self.archives.is_empty() {
            output.line("nothing to do: there is no undo archive to write")?;
        }
        Ok(())
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(print_notes(output, &self.notes)?)
    }
}
