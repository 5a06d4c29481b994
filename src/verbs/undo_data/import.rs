//! `patchadm undo-data import`: restores undo archives from a file that `undo-data export` wrote.

use std::path::PathBuf;

use serde::Serialize;

use super::export::MovedEntry;
use crate::as_owner::options::OwnerOptions;
use crate::verbs::options::{BriefVerbOptions, NoteOption, WaitOption};
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::change_failed;
use patchadm_cli::reply::words::{print_notes, with_recovery};
use patchadm_cli::reply::{CommandReport, Exit, Reply, ResultWord, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::patches::undo_transfer::{UndoImportReport, UndoImportRequest, import_undo};
use patchadm_core::operation::session::Caller;
use patchadm_planning::plan::refusal::Command;

const USAGE: &str = "patchadm [-R root] undo-data import [option...] file [id...]";

/// Restore undo archives from a file that `undo-data export` wrote
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
    /// The file
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The ids of patches; without one, all that are in the file
    #[arg(value_name = "ID")]
    ids: Vec<String>,
}

#[derive(Debug, Serialize)]
struct UndoImportReply {
    result: ResultWord,
    changed: bool,
    run: Option<String>,
    file: String,
    archives: Vec<MovedEntry>,
    notes: Vec<String>,
}

pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "undo-data import";
    let args: UndoImportArgs = parse(call, USAGE)?;
    let no_file = || Stop::Usage { message: "no file is named".to_owned(), usage: USAGE };
    let file = args.file.ok_or_else(no_file)?;
    let root = args.owner.open::<UndoImportArgs>(call, &args.common.root, Command::UndoImport)?;
    call.output.heedless();
    let (wait, note) = (args.wait.seconds, args.note);
    let request = UndoImportRequest { file, ids: args.ids };
    let import = |caller: &Caller<'_>| import_undo(&root, &request, &caller.noting(note.text.as_deref()));
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
            archives: report.archives.iter().map(|archive| MovedEntry::of(archive, "imported")).collect(),
            notes: with_recovery(&report.recovered, notes),
        }
    }
}

impl CommandReport for UndoImportReply {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        self.archives.iter().try_for_each(|archive| output.line(archive.line()))?;
        if self.archives.is_empty() {
            output.line(format!("nothing to do: {} has no undo archive", self.file))?;
        }
        Ok(())
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(print_notes(output, &self.notes)?)
    }
}
