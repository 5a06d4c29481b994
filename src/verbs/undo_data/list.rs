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
    FileSystemShare, MayGo, PatchSpace, UndoForm, UndoListReport, list_undo_data,
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
    patches: Vec<PatchUndoEntry>,
    areas: Vec<AreaEntry>,
    directories: Vec<DirectoryEntry>,
    /// Of all areas.
    bytes: u64,
    /// Bytes in the root that `undo-data drop --superseded` would free.
    freeable: u64,
    file_systems: Vec<FileSystemShare>,
    unread: Vec<String>,
    #[serde(skip)]
    commit: String,
}

#[derive(Debug, Serialize)]
struct PatchUndoEntry {
    id: String,
    may_go: Option<&'static str>,
    by: Option<String>,
    bytes: u64,
    /// As every query reports it.
    #[serde(skip)]
    size: u64,
    freeable: u64,
    undo: Vec<PackageUndoEntry>,
    /// Why there is none.
    #[serde(skip)]
    absence: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct PackageUndoEntry {
    package: String,
    form: Option<&'static str>,
    bytes: u64,
    freeable: u64,
    outside: u64,
}

#[derive(Debug, Serialize)]
struct AreaEntry {
    area: &'static str,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct DirectoryEntry {
    path: String,
    bytes: u64,
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
            patches: report.patches.iter().map(PatchUndoEntry::of).collect(),
            areas: report
                .areas
                .into_iter()
                .map(|(area, bytes)| AreaEntry { area: area.word(), bytes })
                .collect(),
            directories: report
                .directories
                .into_iter()
                .map(|(path, bytes)| DirectoryEntry { path, bytes })
                .collect(),
            file_systems: report.file_systems,
            unread: report.unread,
            commit,
        }
    }
}

impl PatchUndoEntry {
    fn of(patch: &PatchSpace) -> Self {
        let undo = patch.undo.iter().map(|(package, undo)| PackageUndoEntry {
            package: package.to_string(),
            form: undo.form.map(UndoForm::word),
            bytes: undo.bytes,
            freeable: undo.freeable,
            outside: undo.outside,
        });
        Self {
            id: patch.id.to_string(),
            may_go: patch.may_go.map(MayGo::word),
            by: patch.by.as_ref().map(ToString::to_string),
            bytes: patch.bytes(),
            size: patch
                .undo
                .iter()
                .map(|(_, undo)| if undo.outside > 0 { undo.outside } else { undo.freeable })
                .sum(),
            freeable: patch.freeable(),
            undo: undo.collect(),
            absence: patch.absence.map(|state| match state {
                UndoState::Committed => "dropped",
                state => state.word(),
            }),
        }
    }

    /// Each format once, or why there is no undo data.
    fn forms(&self) -> String {
        let mut forms: Vec<&str> = self.undo.iter().filter_map(|undo| undo.form).collect();
        forms.sort_unstable();
        forms.dedup();
        if forms.is_empty() { self.absence.unwrap_or("-").to_owned() } else { forms.join("+") }
    }

    fn line(&self, width: usize) -> String {
        let by = self.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        let why = self.may_go.map(|word| format!("  {word}{by}")).unwrap_or_default();
        let is_kept = self.undo.iter().any(|undo| undo.form.is_some());
        let size = if is_kept { human(self.size) } else { "-".to_owned() };
        format!("{:width$}  {:8} {size:>11}{why}", self.id, self.forms())
    }
}

fn title(area: &str) -> &str {
    match area {
        "undo" => "undo data",
        "undo-outside" => "undo data outside",
        "ledgers" => "records of undo data",
        "runs" => "unfinished runs",
        "kept-libraries" => "kept libraries",
        other => other,
    }
}

impl CommandReport for SpaceReply {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let width = self.patches.iter().map(|patch| patch.id.len()).max().unwrap_or_default();
        self.patches.iter().try_for_each(|patch| output.line(patch.line(width)))?;
        if self.patches.len() > 1 {
            let size = human(self.patches.iter().map(|patch| patch.size).sum());
            output.line(format!("{}: {size} of undo data", counted_patches(self.patches.len())))?;
        }
        if !self.patches.is_empty() {
            output.line("")?;
        }
        for area in self.areas.iter().filter(|area| area.bytes > 0) {
            output.line(format!("{:20} {:>11}", title(area.area), human(area.bytes)))?;
        }
        output.line(format!("{:20} {:>11}", "all", human(self.bytes)))?;
        for FileSystemShare { path, bytes, size, free } in &self.file_systems {
            output.line(format!("{path}: {} of {}; {} free", human(*bytes), human(*size), human(*free)))?;
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
            format!("you may not read {directories}; they count as empty: {}", self.unread.join(", "))
        });
        Ok(print_notes(output, unread.as_slice())?)
    }
}
