//! `patchadm undo-data list`: undo data of a root, and the disk space of everything kept for it.

use std::path::Path;

use serde::Serialize;

use crate::verbs::options::BriefVerbOptions;
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::query_refused;
use patchadm_cli::reply::words::{counted_patches, human, print_notes};
use patchadm_cli::reply::{CommandReport, Exit, Reply};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::depot_memory::last_used_depot;
use patchadm_core::operation::patches::undo_states::UndoState;
use patchadm_core::operation::undo_list::{
    AreaSpace, DirectorySpace, FileSystemShare, PatchSpace, SpaceArea, UndoForm, UndoListReport,
    list_undo_data,
};
use patchadm_inputs::database::policy;
use patchadm_planning::plan::refusal::Wording;

const USAGE: &str = "patchadm [-R root] undo-data list [option...]";

/// List undo data and the disk space it uses
#[derive(clap::Parser)]
struct SpaceArgs {
    #[command(flatten)]
    common: BriefVerbOptions,
}

#[derive(Debug, Serialize)]
struct SpaceReply {
    patches: Vec<PatchSpace>,
    areas: Vec<AreaSpace>,
    directories: Vec<DirectorySpace>,
    /// Of all areas.
    bytes: u64,
    /// Bytes in the root that `undo-data drop --superseded` would free.
    freeable: u64,
    file_systems: Vec<FileSystemShare>,
    unread: Vec<String>,
    #[serde(skip)]
    commit: String,
}

pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "undo-data list";
    let SpaceArgs { common } = parse(call, USAGE)?;
    let root = common.root.open(call)?;
    let _busy = call.busy("measuring");
    let cache = policy::of_root(&root).ok().and_then(|policy| policy.cache);
    // The machine's cache has nothing of a root that never fetched anything.
    let fetches = || root.prefix() == Path::new("/") || last_used_depot(&root).is_some();
    let cache = cache.or_else(|| call.surroundings.network.cache().filter(|_| fetches()));
    let report = list_undo_data(&root, cache.as_deref()).map_err(|failed| query_refused(&root, &failed))?;
    let commit = Wording::of_verbs(root.prefix()).verb("undo-data drop --superseded");
    Ok(Reply::about(&root, Exit::OK, SpaceReply::of(report, commit)))
}

impl SpaceReply {
    fn of(report: UndoListReport, commit: String) -> Self {
        let bytes = report.bytes();
        let may_go = report.patches.iter().filter(|patch| patch.may_go.is_some());
        Self {
            bytes,
            freeable: may_go.map(PatchSpace::freeable).sum(),
            patches: report.patches,
            areas: report.areas,
            directories: report.directories,
            file_systems: report.file_systems,
            unread: report.unread,
            commit,
        }
    }
}

/// As every query reports it.
fn size(patch: &PatchSpace) -> u64 {
    let spaces = patch.undo.iter().map(|one| one.space);
    spaces.map(|space| if space.outside > 0 { space.outside } else { space.freeable }).sum()
}

/// Each format once, or why there is no undo data.
fn forms(patch: &PatchSpace) -> String {
    let mut forms: Vec<&str> =
        patch.undo.iter().filter_map(|one| one.space.form).map(UndoForm::word).collect();
    forms.sort_unstable();
    forms.dedup();
    if !forms.is_empty() {
        return forms.join("+");
    }
    let absence = patch.absence.map(|state| match state {
        UndoState::Committed => "dropped",
        state => state.word(),
    });
    absence.unwrap_or("-").to_owned()
}

fn line(patch: &PatchSpace, width: usize) -> String {
    let by = patch.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let why = patch.may_go.map(|why| format!("  {}{by}", why.word())).unwrap_or_default();
    let is_kept = patch.undo.iter().any(|one| one.space.form.is_some());
    let size = if is_kept { human(size(patch)) } else { "-".to_owned() };
    format!("{:width$}  {:8} {size:>11}{why}", patch.id.as_str(), forms(patch))
}

/// Bytes in the root, as in the line of the patch.
fn size_inside(patch: &PatchSpace) -> u64 {
    let inside = patch.undo.iter().map(|one| one.space).filter(|space| space.outside == 0);
    inside.map(|space| space.freeable).sum()
}

fn title(area: SpaceArea) -> &'static str {
    match area {
        SpaceArea::Undo => "undo data",
        SpaceArea::OutsideUndo => "undo data outside",
        SpaceArea::Ledgers => "records of undo data",
        SpaceArea::Runs => "journal",
        SpaceArea::Stages => "stages",
        SpaceArea::History => "history",
        SpaceArea::Logs => "logs",
        SpaceArea::KeptLibraries => "kept libraries",
        SpaceArea::Cache => "cache",
        SpaceArea::Other => "other patchadm files",
    }
}

impl SpaceReply {
    /// Returns the areas with undo data as the sum of the patches: files beside it that stay count as records.
    fn shown_areas(&self) -> impl Iterator<Item = (SpaceArea, u64)> {
        let undo: u64 = self.patches.iter().map(size_inside).sum();
        let in_saves = self.areas.iter().find(|area| area.area == SpaceArea::Undo);
        let beside = in_saves.map_or(0, |area| area.bytes.saturating_sub(undo));
        self.areas.iter().map(move |AreaSpace { area, bytes }| match area {
            SpaceArea::Undo => (*area, bytes - beside),
            SpaceArea::Ledgers => (*area, bytes + beside),
            _ => (*area, *bytes),
        })
    }
}

impl CommandReport for SpaceReply {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let width = self.patches.iter().map(|patch| patch.id.as_str().len()).max().unwrap_or_default();
        self.patches.iter().try_for_each(|patch| output.line(line(patch, width)))?;
        if self.patches.len() > 1 {
            let size = human(self.patches.iter().map(size).sum());
            output.line(format!("{}: {size} of undo data", counted_patches(self.patches.len())))?;
        }
        if !self.patches.is_empty() {
            output.line("")?;
        }
        for (area, bytes) in self.shown_areas().filter(|(_, bytes)| *bytes > 0) {
            output.line(format!("{:20} {:>11}", title(area), human(bytes)))?;
        }
        output.line(format!("{:20} {:>11}", "all", human(self.bytes)))?;
        for FileSystemShare { path, bytes, size, free } in &self.file_systems {
            let (bytes, size, free) = (human(*bytes), human(*size), human(*free));
            output.line(format!("file system {path}: {bytes} of these files; {free} free of {size}"))?;
        }
        if self.freeable > 0 {
            output.line(format!("{} gives {} back", self.commit, human(self.freeable)))?;
        }
        Ok(())
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        let number = self.unread.len();
        let directories =
            if number == 1 { "1 directory".to_owned() } else { format!("{number} directories") };
        let unread = (number > 0).then(|| {
            format!(
                "you do not have permission to read {directories}; they count as empty: {}",
                self.unread.join(", ")
            )
        });
        Ok(print_notes(output, unread.as_slice())?)
    }
}
