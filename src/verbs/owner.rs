//! `patchadm owner`: shows the owner of a path, and the patches that changed or deliver it.

use std::path::PathBuf;

use serde::Serialize;

use super::named_paths::paths_in_root;
use super::options::VerbOptions;
use crate::arguments::parse;
use crate::call::Invocation;
use crate::reply::failure::query_refused;
use crate::reply::object_state::state_words;
use crate::reply::words::print_notes;
use crate::reply::{CommandReport, Exit, Reply, Stop};
use crate::surroundings::{Output, Shade};
use patchadm_changeset::format::manifest::RecordedState;
use patchadm_core::operation::queries::path_owners::{PatchOfPath, PathOwners, path_owners};
use patchadm_rootfs::Root;

const USAGE: &str = "patchadm [-R root] owner [option...] path...";

/// The note if undo data may not be read.
const NOT_KNOWN: &str = "not everything is known: the undo data of some patches cannot be read by this caller, is gone, or was made by \
     another program";

/// Show whose paths are: their packages, and the patches that changed or deliver them
#[derive(clap::Parser)]
struct OwnerArgs {
    #[command(flatten)]
    common: VerbOptions,
    /// The paths, with or without that of the root
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
}

/// The owners of paths.
#[derive(Debug, Serialize)]
struct OwnerReport {
    paths: Vec<OwnedPath>,
    #[serde(skip)]
    is_verbose: bool,
}

/// A path.
#[derive(Debug, Serialize)]
struct OwnedPath {
    path: String,
    /// The letter of its type in `contents`.
    #[serde(rename = "type")]
    ftype: Option<String>,
    packages: Vec<String>,
    patches: Vec<PathPatch>,
    /// Whether these are all patches, with what each did.
    known: bool,
    #[serde(skip)]
    shown: String,
}

/// A patch of the path.
#[derive(Debug, Serialize)]
struct PathPatch {
    id: String,
    state: Vec<&'static str>,
    date: Option<String>,
    run: Option<String>,
    action: Option<&'static str>,
    was: Option<RecordedState>,
    became: Option<RecordedState>,
    saved: bool,
    #[serde(skip)]
    date_text: Option<String>,
}

/// Runs the verb.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let OwnerArgs { common, paths } = parse(call, USAGE)?;
    if paths.is_empty() {
        return Err(Stop::Usage { message: "no path is named".to_owned(), usage: USAGE }.into());
    }
    let root = common.root.open(call)?;
    let paths = paths_in_root(&root, &paths, USAGE)?;
    let owners = path_owners(&root, &paths).map_err(|failed| query_refused(&root, &failed))?;
    let paths = owners.into_iter().map(|one| OwnedPath::of(&root, one)).collect();
    let is_verbose = call.output.is_verbose();
    Ok(Reply::about(&root, Exit::OK, OwnerReport { paths, is_verbose }))
}

impl OwnedPath {
    fn of(root: &Root, owners: PathOwners) -> Self {
        let PathOwners { path, line, patches, known } = owners;
        let packages = line.iter().flat_map(|line| &line.owners).map(|owner| owner.package.to_string());
        Self {
            shown: root.show(&path),
            path: path.to_string(),
            packages: packages.collect(),
            ftype: line.map(|line| char::from(line.object.ftype.letter()).to_string()),
            patches: patches.into_iter().map(PathPatch::from).collect(),
            known,
        }
    }

    fn print(&self, output: &mut Output, is_verbose: bool) -> anyhow::Result<()> {
        let whose = match self.packages.as_slice() {
            [] => "no package has it now".to_owned(),
            packages => format!("of {}", packages.join(", ")),
        };
        output.line(format!("{}: {whose}", self.shown))?;
        if self.patches.is_empty() && self.known {
            output.line("  no applied patch changed or delivers it")?;
        }
        let width = self.patches.iter().map(|patch| patch.id.len()).max().unwrap_or_default();
        self.patches.iter().try_for_each(|patch| patch.print(output, width, is_verbose))
    }
}

impl From<PatchOfPath> for PathPatch {
    fn from(one: PatchOfPath) -> Self {
        Self {
            id: one.id.to_string(),
            state: one.state,
            date: one.date.map(|date| date.to_rfc3339()),
            run: one.run,
            action: one.action.map(patchadm_core::operation::queries::object_action::ObjectAction::word),
            was: one.was,
            became: one.became,
            saved: one.saved,
            date_text: one.date_text,
        }
    }
}

impl PathPatch {
    fn print(&self, output: &mut Output, width: usize, is_verbose: bool) -> anyhow::Result<()> {
        let state = self.state.join(", ");
        let shade = self.state.iter().find_map(|state| Shade::of_state(state));
        output.print("  ")?;
        output.shaded(Some(Shade::Id), &self.id)?;
        output.print(" ".repeat(width.saturating_sub(self.id.len()) + 2))?;
        output.shaded(shade, &state)?;
        let after = " ".repeat(11_usize.saturating_sub(state.len()) + 2);
        let date = self.date_text.as_deref().unwrap_or("no date recorded");
        let action = self.action.unwrap_or("what it did is not known");
        let saved = if self.saved { ", the version before is saved" } else { "" };
        output.line(format!("{after}{date}  {action}{saved}"))?;
        if is_verbose && self.action.is_some() {
            output.line(format!("    run:    {}", self.run.as_deref().unwrap_or("not known")))?;
            output.line(format!("    was:    {}", state_words(self.was.as_ref())))?;
            output.line(format!("    became: {}", state_words(self.became.as_ref())))?;
        }
        Ok(())
    }
}

impl CommandReport for OwnerReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        self.paths.iter().try_for_each(|path| path.print(output, self.is_verbose))
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        let note = self.paths.iter().any(|path| !path.known).then(|| NOT_KNOWN.to_owned());
        Ok(print_notes(output, note.as_slice())?)
    }
}
