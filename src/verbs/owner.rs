//! `patchadm owner`: shows the owner of a path, and the patches that changed or deliver it.

use std::path::PathBuf;

use serde::Serialize;

use super::options::VerbOptions;
use patchadm_changeset::format::manifest::RecordedState;
use patchadm_cli::arguments::named_paths::paths_in_root;
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::query_refused;
use patchadm_cli::reply::merge_entry::MergeEntry;
use patchadm_cli::reply::object_state::{state_words, told_differences};
use patchadm_cli::reply::overtaken::OvertakenEntry;
use patchadm_cli::reply::words::print_notes;
use patchadm_cli::reply::{CommandReport, Exit, Reply, Stop};
use patchadm_cli::surroundings::caller::now;
use patchadm_cli::surroundings::{Output, Shade};
use patchadm_core::operation::patches::overtaken::NativeOverview;
use patchadm_core::operation::queries::patch_objects::ObjectAction;
use patchadm_core::operation::queries::path_owners::{PatchOfPath, PathOwners, path_owners};
use patchadm_core::operation::queries::recorded_path::NativeListing;
use patchadm_core::operation::queries::runs::open_merges;
use patchadm_inputs::native::{DivertedPath, VerifierReport};
use patchadm_planning::plan::refusal::Wording;
use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;

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
pub(super) struct OwnerReport {
    paths: Vec<OwnedPath>,
    #[serde(skip)]
    is_verbose: bool,
    #[serde(skip)]
    wording: Wording,
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
    /// The packages of dpkg and rpm that own it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    native: Vec<NativeOwnerEntry>,
    /// The files of packages of dpkg that are listed under this path and lie elsewhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    diverted: Vec<DivertedEntry>,
    /// What the verifiers of dpkg and rpm say of what patches changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    verifiers: Vec<VerifierEntry>,
    /// The patches whose fix was lost here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lost: Vec<OvertakenEntry>,
    /// The merges of the path that are not resolved, newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    merges: Vec<MergeEntry>,
    #[serde(skip)]
    shown: String,
}

/// A package of dpkg or rpm that owns the path.
#[derive(Debug, Serialize)]
struct NativeOwnerEntry {
    manager: &'static str,
    name: String,
    version: String,
    /// The path as the package lists it.
    listed: String,
    #[serde(skip)]
    is_other_name: bool,
}

/// A file of a package of dpkg that lies elsewhere.
#[derive(Debug, Serialize)]
struct DivertedEntry {
    /// The package.
    name: String,
    /// Where its file lies.
    to: String,
    /// The package that diverts it; null for the administrator.
    by: Option<String>,
    #[serde(skip)]
    shown: String,
}

/// What a verifier says.
#[derive(Debug, Serialize)]
struct VerifierEntry {
    command: String,
    says: String,
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
    let report = OwnerReport::of(call, &root, &paths)?;
    Ok(Reply::about(&root, Exit::OK, report))
}

impl OwnerReport {
    /// Returns the owners of paths as a user typed them.
    pub(super) fn of(call: &Invocation, root: &Root, words: &[PathBuf]) -> anyhow::Result<Self> {
        let paths = paths_in_root(root, words, USAGE)?;
        let owners = path_owners(root, &paths).map_err(|failed| query_refused(root, &failed))?;
        let has_native = owners.iter().any(|one| !one.native.is_empty() || !one.diverted.is_empty());
        let overview = NativeOverview::as_far_as_known(root, &now(&call.surroundings), has_native);
        let open = open_merges(root).map_err(|failed| query_refused(root, &failed))?;
        let open = MergeEntry::of_open(root, &open);
        let paths = owners.into_iter().map(|one| OwnedPath::of(root, one, &overview, &open)).collect();
        let (is_verbose, wording) = (call.output.is_verbose(), Wording::of_verbs(root.prefix()));
        Ok(Self { paths, is_verbose, wording })
    }

    /// Tells whether anything at all is known of a path.
    pub(super) fn is_about_something(&self) -> bool {
        self.paths.iter().any(|path| {
            !path.packages.is_empty()
                || !path.patches.is_empty()
                || !path.native.is_empty()
                || !path.diverted.is_empty()
                || !path.lost.is_empty()
                || !path.merges.is_empty()
        })
    }
}

impl OwnedPath {
    fn of(root: &Root, owners: PathOwners, overview: &NativeOverview, open: &[MergeEntry]) -> Self {
        let PathOwners { path, names, line, patches, known, native, diverted, verifiers } = owners;
        let lost = overview.lost().chain(overview.accepted());
        let lost = lost.filter(|one| one.lost_paths().any(|path| names.contains(&path)));
        let packages = line.iter().flat_map(|line| &line.owners).map(|owner| owner.package.to_string());
        Self {
            merges: open.iter().filter(|one| one.is_about(&path, &names)).cloned().collect(),
            shown: root.show(&path),
            path: path.to_string(),
            packages: packages.collect(),
            ftype: line.map(|line| char::from(line.object.ftype.letter()).to_string()),
            patches: patches.into_iter().map(PathPatch::from).collect(),
            known,
            native: native.into_iter().map(|one| NativeOwnerEntry::of(one, &path)).collect(),
            diverted: diverted.into_iter().map(|one| DivertedEntry::of(root, one)).collect(),
            verifiers: verifiers.into_iter().map(VerifierEntry::from).collect(),
            lost: lost.map(OvertakenEntry::of).collect(),
        }
    }

    fn print(&self, output: &mut Output, is_verbose: bool, wording: &Wording) -> anyhow::Result<()> {
        let whose = match self.packages.as_slice() {
            [] => "no package has it now".to_owned(),
            packages => format!("of {}", packages.join(", ")),
        };
        output.line(format!("{}: {whose}", self.shown))?;
        for line in self.native.iter().map(NativeOwnerEntry::words) {
            output.line(format!("  {line}"))?;
        }
        for line in self.diverted.iter().map(DivertedEntry::words) {
            output.line(format!("  {line}"))?;
        }
        for merge in &self.merges {
            output.line(format!("  {}", merge.sentence()))?;
        }
        if self.patches.is_empty() && self.known {
            output.line("  no applied patch changed or delivers it")?;
        }
        let width = self.patches.iter().map(|patch| patch.id.len()).max().unwrap_or_default();
        self.patches.iter().try_for_each(|patch| patch.print(output, width, is_verbose))?;
        for VerifierEntry { command, says } in &self.verifiers {
            output.line(format!("  `{command}` says: {says}"))?;
        }
        for lost in &self.lost {
            output.line(format!("  {}: {}", lost.id, lost.told))?;
            if let Some(next) = lost.next_step(wording) {
                output.line(format!("    {next}"))?;
            }
        }
        Ok(())
    }
}

impl NativeOwnerEntry {
    fn of(listing: NativeListing, path: &ObjectPath) -> Self {
        let NativeListing { owner, listed, .. } = listing;
        Self {
            manager: owner.origin.manager.name(),
            name: owner.origin.queried(),
            version: owner.version,
            is_other_name: listed != *path,
            listed: listed.to_string(),
        }
    }

    fn words(&self) -> String {
        let Self { manager, name, version, listed, .. } = self;
        let blank = if version.is_empty() { "" } else { " " };
        let listed = if self.is_other_name { format!(" as {listed}") } else { String::new() };
        format!("{name}{blank}{version} ({manager}) lists it{listed}")
    }
}

impl DivertedEntry {
    fn of(root: &Root, diverted: DivertedPath) -> Self {
        let DivertedPath { package, place, by, .. } = diverted;
        Self { name: package, to: place.to_string(), by, shown: root.show(&place) }
    }

    fn words(&self) -> String {
        let by = self.by.as_deref().unwrap_or("the administrator");
        format!("the file of {} is {}: {by} diverts it (dpkg-divert)", self.name, self.shown)
    }
}

impl From<VerifierReport> for VerifierEntry {
    fn from(report: VerifierReport) -> Self {
        Self { command: report.command, says: report.says }
    }
}

impl From<PatchOfPath> for PathPatch {
    fn from(one: PatchOfPath) -> Self {
        Self {
            id: one.id.to_string(),
            state: one.state,
            date: one.date.map(|date| date.to_rfc3339()),
            run: one.run,
            action: one.action.map(ObjectAction::word),
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
        let is_attributes = self.action == Some(ObjectAction::Attributes.word());
        let (was, became) = (self.was.as_ref(), self.became.as_ref());
        let told = if is_attributes { told_differences(was, became) } else { String::new() };
        output.line(format!("{after}{date}  {action}{told}{saved}"))?;
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
        self.paths.iter().try_for_each(|path| path.print(output, self.is_verbose, &self.wording))
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        let note = self.paths.iter().any(|path| !path.known).then(|| NOT_KNOWN.to_owned());
        Ok(print_notes(output, note.as_slice())?)
    }
}
