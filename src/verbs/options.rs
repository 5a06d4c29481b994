//! What the verbs of `patchadm` have in common: their options, and how they speak.
//!
//! A change is one line per patch; a refusal is three: what did not happen, why, and what to type next. Nothing is
//! ever prompted.

use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use crate::applets::Invocation;
use crate::arguments::options::{Extensions, RootOption};
use crate::arguments::scripts::ScriptOptions;
use crate::as_owner::options::OwnerOptions;
use crate::many_roots::ManyRoots;
use crate::operation::failure::Failure;
use crate::package::{Edited, ObjectPath, UndoFormat};
use crate::plan::engine::PlannedScript;
use crate::plan::refusal::Command;
use crate::reply::exit::Exit;
use crate::reply::failure;
use crate::reply::report::PatchEntry;
use crate::reply::words;
use crate::root::Root;

/// Options of every verb.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Common {
    #[command(flatten)]
    pub(crate) root: RootOption,
    #[command(flatten)]
    pub(crate) extensions: Extensions,
}

/// Options of the verbs that change a root.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Changing {
    /// Print the plan, change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Wait this many seconds for another command to finish
    #[arg(long, value_name = "SECONDS")]
    pub(crate) wait: Option<u64>,
    #[command(flatten)]
    pub(crate) scripts: ScriptOptions,
    /// Refuse what needs a procedure script to be run
    #[arg(long)]
    pub(crate) no_scripts: bool,
    #[command(flatten)]
    pub(crate) many: ManyRoots,
    #[command(flatten)]
    pub(crate) owner: OwnerOptions,
}

/// Options that say where undo data goes and what happens to edited files.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Choices {
    /// Keep no undo data: the patch cannot be backed out
    #[arg(long, conflicts_with = "undo_dir")]
    pub(crate) no_undo: bool,
    /// Keep undo data below this directory instead of the package database
    #[arg(long, value_name = "DIR")]
    pub(crate) undo_dir: Option<PathBuf>,
    /// How undo data is compressed
    #[arg(long, value_name = "FORMAT", value_parser = undo_format)]
    pub(crate) undo_format: Option<UndoFormat>,
    /// What happens to files that were edited: stop, replace or keep
    #[arg(long, value_name = "CHOICE", value_parser = edited)]
    pub(crate) edited: Option<Edited>,
    /// Replace this edited file or symbolic link to a directory in any case; may be repeated
    #[arg(long = "override", value_name = "PATH", value_parser = object_path, action = clap::ArgAction::Append)]
    pub(crate) overridden: Vec<ObjectPath>,
    /// Keep this edited file in any case; may be repeated
    #[arg(long = "preserve", value_name = "PATH", value_parser = object_path, action = clap::ArgAction::Append)]
    pub(crate) preserved: Vec<ObjectPath>,
}

fn undo_format(text: &str) -> Result<UndoFormat, String> {
    match text {
        "gz" => Ok(UndoFormat::Gzip),
        "Z" => Ok(UndoFormat::Compress),
        "none" => Ok(UndoFormat::Plain),
        _ => Err("it is gz, Z or none".to_owned()),
    }
}

fn edited(text: &str) -> Result<Edited, String> {
    match text {
        "stop" => Ok(Edited::Stop),
        "replace" => Ok(Edited::Replace),
        "keep" => Ok(Edited::Keep),
        _ => Err("it is stop, replace or keep".to_owned()),
    }
}

/// A path of a root, as an argument.
pub(crate) fn object_path(text: &str) -> Result<ObjectPath, String> {
    ObjectPath::new(text.as_bytes()).map_err(|error| error.to_string())
}

/// Paths of a root, whether they were typed as its packages have them or as messages show them, with its prefix.
pub(crate) fn inside(root: &Root, paths: &[ObjectPath]) -> Vec<ObjectPath> {
    let prefix = ObjectPath::new(root.prefix().as_os_str().as_bytes()).ok().filter(|_| !root.is_system());
    let strip = |path: ObjectPath| match &prefix {
        Some(prefix) if path.is_below(prefix) => {
            ObjectPath::new(&path.as_bytes()[prefix.as_bytes().len()..]).unwrap_or(path)
        }
        _ => path,
    };
    paths.iter().cloned().map(strip).collect()
}

/// One line about a patch that went well.
pub(crate) fn line(entry: &PatchEntry) -> String {
    let files = entry.files;
    format!(
        "{}: {} ({}; {files}; {})\n",
        entry.id,
        entry.verdict,
        entry.packages.join(", "),
        words::human(entry.bytes)
    )
}

/// The three lines of a refusal.
pub(crate) fn refuse(
    call: &mut Invocation,
    command: Command,
    subject: &str,
    failed: &Failure,
) -> anyhow::Result<Exit> {
    let lines = failure::modern(command, subject, failed);
    let lines: Vec<String> = lines.into_iter().filter(|line| !line.is_empty()).collect();
    call.output.error(&lines.join("\n"))?;
    Ok(failure::verb_code(command, failed))
}

/// What is printed of one patch: its line or its refusal, its notes, its plan where it is only planned.
pub(crate) fn tell(
    call: &mut Invocation,
    root: &Root,
    command: Command,
    entry: &PatchEntry,
    plan: Option<(&crate::plan::Plan, &[PlannedScript])>,
    failed: Option<&Failure>,
) -> anyhow::Result<()> {
    if let Some(failed) = failed {
        refuse(call, command, &format!("patch {}", entry.id), failed)?;
        return Ok(());
    }
    call.output.print(line(entry))?;
    if let Some((plan, scripts)) = plan.filter(|_| entry.verdict == "planned") {
        call.output.print(words::plan_text(root, plan, scripts))?;
    } else {
        for note in &entry.notes {
            call.output.line(format!("  note: {note}"))?;
        }
    }
    call.output.print(words::in_use_lines(&entry.in_use))?;
    if let Some(sentence) = words::reboot_sentence(entry.reboot) {
        call.output.line(format!("  {sentence}"))?;
    }
    Ok(())
}
