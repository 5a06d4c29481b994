//! `patchadm undo-data export` moves undo archives to a file outside the root, and `undo-data import` restores them.

use std::path::PathBuf;

use serde::Serialize;

use crate::as_owner::options::OwnerOptions;
use crate::verbs::options::{BriefVerbOptions, NoteOption, UndoDirOption, WaitOption};
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::change_failed;
use patchadm_cli::reply::words::{human, print_notes, with_recovery};
use patchadm_cli::reply::{CommandReport, Exit, Reply, ResultWord, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::patches::undo_transfer::{
    MoveVerdict, MovedArchive, UndoExportReport, UndoExportRequest, UndoImportReport, UndoImportRequest,
    export_undo, import_undo,
};
use patchadm_core::operation::session::Caller;
use patchadm_planning::plan::refusal::Command;

const EXPORT_USAGE: &str = "patchadm [-R root] undo-data export -o file [option...] id...";

/// Move undo archives to a file outside the root
#[derive(clap::Parser)]
struct UndoExportArgs {
    /// Write the output to FILE
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    undo_dir: UndoDirOption,
    #[command(flatten)]
    wait: WaitOption,
    #[command(flatten)]
    note: NoteOption,
    #[command(flatten)]
    owner: OwnerOptions,
    #[command(flatten)]
    common: BriefVerbOptions,
    /// The ids of the patches
    #[arg(value_name = "ID")]
    ids: Vec<String>,
}

#[derive(Debug, Serialize)]
struct UndoExportReply {
    result: ResultWord,
    changed: bool,
    run: Option<String>,
    file: String,
    size: u64,
    archives: Vec<MovedArchive>,
    notes: Vec<String>,
}

pub(super) fn export(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "undo-data export";
    let args: UndoExportArgs = parse(call, EXPORT_USAGE)?;
    let wrong = |message: &str| Stop::Usage { message: message.to_owned(), usage: EXPORT_USAGE };
    let file = args.output.ok_or_else(|| wrong("no file specified: -o FILE"))?;
    if args.ids.is_empty() {
        return Err(wrong("no patch specified").into());
    }
    let root = args.owner.open::<UndoExportArgs>(call, &args.common.root, Command::UndoExport)?;
    call.output.heedless();
    let (wait, note) = (args.wait.seconds, args.note);
    let request = UndoExportRequest { ids: args.ids, file, undo_dir: args.undo_dir.undo_dir };
    let export = |caller: &Caller<'_>| export_undo(&root, &request, &caller.noting(note.text.as_deref()));
    let _busy = call.busy("exporting");
    match call.change(&root, Command::UndoExport.name(), wait, export)? {
        Ok(report) => Ok(Reply::about(&root, Exit::OK, UndoExportReply::of(&report, &request))),
        Err(failed) => Err(change_failed(&root, Command::UndoExport, &failed).into()),
    }
}

impl UndoExportReply {
    fn of(report: &UndoExportReport, request: &UndoExportRequest) -> Self {
        let notes = report.receipt.iter().flat_map(|receipt| receipt.notes.iter().cloned());
        Self {
            result: ResultWord::Done,
            changed: report.receipt.is_some(),
            run: report.receipt.as_ref().map(|receipt| receipt.run.clone()),
            file: request.file.display().to_string(),
            size: report.size,
            archives: report.archives.clone(),
            notes: with_recovery(&report.recovered, notes),
        }
    }
}

fn line(archive: &MovedArchive) -> String {
    let MovedArchive { id, package, verdict, format, bytes } = archive;
    let what = match verdict {
        MoveVerdict::Exported => "exported",
        MoveVerdict::Imported => "imported",
        MoveVerdict::Unchanged => "there already",
    };
    format!("{id} {package}: {what}, {} ({})", human(*bytes), format.word())
}

impl CommandReport for UndoExportReply {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        self.archives.iter().try_for_each(|archive| output.line(line(archive)))?;
        output.line(format!(
            "{} has them, {}; `undo-data import` restores them",
            self.file,
            human(self.size)
        ))?;
        Ok(())
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(print_notes(output, &self.notes)?)
    }
}

const IMPORT_USAGE: &str = "patchadm [-R root] undo-data import [option...] file [id...]";

/// Restore undo archives from a file written by `undo-data export`
#[derive(clap::Parser)]
struct UndoImportArgs {
    #[command(flatten)]
    wait: WaitOption,
    #[command(flatten)]
    note: NoteOption,
    #[command(flatten)]
    owner: OwnerOptions,
    #[command(flatten)]
    common: BriefVerbOptions,
    /// The exported file
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The ids of patches [default: all in the file]
    #[arg(value_name = "ID")]
    ids: Vec<String>,
}

#[derive(Debug, Serialize)]
struct UndoImportReply {
    result: ResultWord,
    changed: bool,
    run: Option<String>,
    file: String,
    archives: Vec<MovedArchive>,
    notes: Vec<String>,
}

pub(super) fn import(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "undo-data import";
    let args: UndoImportArgs = parse(call, IMPORT_USAGE)?;
    let no_file = || Stop::Usage { message: "no file specified".to_owned(), usage: IMPORT_USAGE };
    let file = args.file.ok_or_else(no_file)?;
    let root = args.owner.open::<UndoImportArgs>(call, &args.common.root, Command::UndoImport)?;
    call.output.heedless();
    let (wait, note) = (args.wait.seconds, args.note);
    let request = UndoImportRequest { file, ids: args.ids };
    let import = |caller: &Caller<'_>| import_undo(&root, &request, &caller.noting(note.text.as_deref()));
    let _busy = call.busy("importing");
    match call.change(&root, Command::UndoImport.name(), wait, import)? {
        Ok(report) => Ok(Reply::about(&root, Exit::OK, UndoImportReply::of(&report, &request))),
        Err(failed) => Err(change_failed(&root, Command::UndoImport, &failed).into()),
    }
}

impl UndoImportReply {
    fn of(report: &UndoImportReport, request: &UndoImportRequest) -> Self {
        let is_done = report.receipt.is_some();
        let notes = report.receipt.iter().flat_map(|receipt| receipt.notes.iter().cloned());
        Self {
            result: if is_done { ResultWord::Done } else { ResultWord::NothingToDo },
            changed: is_done,
            run: report.receipt.as_ref().map(|receipt| receipt.run.clone()),
            file: request.file.display().to_string(),
            archives: report.archives.clone(),
            notes: with_recovery(&report.recovered, notes),
        }
    }
}

impl CommandReport for UndoImportReply {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        self.archives.iter().try_for_each(|archive| output.line(line(archive)))?;
        if self.archives.is_empty() {
            output.line(format!("nothing to do: {} has no undo archive", self.file))?;
        }
        Ok(())
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(print_notes(output, &self.notes)?)
    }
}
