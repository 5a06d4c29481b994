//! `patchadm diff`: what taking a patch out would change.

use std::path::PathBuf;

use serde::Serialize;

use super::meant::refusal_text;
use super::options::BriefVerbOptions;
use patchadm_changeset::format::manifest::RecordedState;
use patchadm_cli::arguments::named_paths::paths_in_root;
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::verb_code;
use patchadm_cli::reply::object_state::state_words;
use patchadm_cli::reply::unified_diff::{print_difference, unified_diff};
use patchadm_cli::reply::words::print_notes;
use patchadm_cli::reply::{CommandReport, Exit, Reply, Stop};
use patchadm_cli::surroundings::caller::now;
use patchadm_cli::surroundings::{Output, Shade};
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::patches::back_out::{BackoutPreview, PreviewedObject, preview_backout};
use patchadm_planning::plan::refusal::Command;
use patchadm_rootfs::Root;

const USAGE: &str = "patchadm [-R root] diff [option...] id [path...]";

/// Show what taking a patch out would change
#[derive(clap::Parser)]
struct DiffArgs {
    #[command(flatten)]
    common: BriefVerbOptions,
    /// The id of an applied patch
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// Only these paths, and what is below them
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
}

/// The changes of taking a patch out.
#[derive(Debug, Serialize)]
struct DiffReport {
    id: String,
    objects: Vec<DiffObject>,
    /// Whether scripts take part, which may change more.
    scripts: bool,
    notes: Vec<String>,
}

/// An object that would change.
#[derive(Debug, Serialize)]
struct DiffObject {
    package: String,
    path: String,
    action: &'static str,
    now: Option<RecordedState>,
    then: Option<RecordedState>,
    diff: Option<String>,
    to: Option<String>,
    #[serde(skip)]
    shown: String,
}

/// Runs the verb.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let DiffArgs { common, id, paths } = parse(call, USAGE)?;
    let Some(id) = id else {
        return Err(Stop::Usage { message: "no patch is named".to_owned(), usage: USAGE }.into());
    };
    let root = common.root.open(call)?;
    let paths = paths_in_root(&root, &paths, USAGE)?;
    // Nothing is changed, so a signal may end it at any moment.
    let preview = preview_backout(&root, &id, &paths, &now(&call.surroundings));
    let preview = preview.map_err(|failed| refused(&root, &id, &failed))?;
    Ok(Reply::about(&root, Exit::OK, DiffReport::of(&root, id, preview)))
}

/// Returns the reason that there is no answer: the one that `remove` would give.
fn refused(root: &Root, id: &str, failed: &Failure) -> Stop {
    let message = refusal_text(root, Command::Patchrm, &format!("patch {id}"), failed);
    Stop::Refused { exit: verb_code(Command::Patchrm, failed), message }
}

impl DiffReport {
    fn of(root: &Root, id: String, preview: BackoutPreview) -> Self {
        let BackoutPreview { objects, mut notes, has_scripts } = preview;
        if has_scripts {
            notes.push("scripts run when it is taken out, and may change more".to_owned());
        }
        let objects = objects.into_iter().map(|object| DiffObject::of(root, object)).collect();
        Self { id, objects, scripts: has_scripts, notes }
    }
}

impl DiffObject {
    fn of(root: &Root, object: PreviewedObject) -> Self {
        let PreviewedObject { package, path, action, now, then, content, to } = object;
        let path_shown = root.show(&path);
        let diff = content.and_then(|content| {
            let (before, after) =
                (now.as_ref().map(|_| &*content.now), then.as_ref().map(|_| &*content.then));
            unified_diff(&path.to_string(), before, after)
        });
        Self {
            package: package.to_string(),
            path: path.to_string(),
            action: action.word(),
            now,
            then,
            diff,
            to,
            shown: path_shown,
        }
    }

    fn print(&self, output: &mut Output) -> anyhow::Result<()> {
        let what = match &self.to {
            Some(to) => format!("the undo data of {to} changes"),
            None => self.action.to_owned(),
        };
        output.shaded(Some(Shade::Id), &self.shown)?;
        output.line(format!(": {what}"))?;
        output.line(format!("  now:  {}", state_words(self.now.as_ref())))?;
        output.line(format!("  then: {}", state_words(self.then.as_ref())))?;
        self.diff.iter().try_for_each(|diff| Ok(print_difference(output, diff)?))
    }
}

impl CommandReport for DiffReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        if self.objects.is_empty() {
            output.line(format!("Taking {} out would change no object here.", self.id))?;
        }
        self.objects.iter().try_for_each(|object| object.print(output))
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(print_notes(output, &self.notes)?)
    }
}
