//! A path of the root: owner, current version, and patches that changed or deliver it.

use std::path::Path;
use std::slice;

use serde::Serialize;

use super::applied::compared;
use super::objects::PackageObjects;
use super::query::{NOT_FOUND, ShowQuery, USAGE};
use patchadm_changeset::format::manifest::RecordedState;
use patchadm_cli::arguments::paths::paths_in_root;
use patchadm_cli::reply::Stop;
use patchadm_cli::reply::change_entry::{state_words, told_differences};
use patchadm_cli::reply::failure::{hinted, query_refused};
use patchadm_cli::reply::merge_entry::MergeEntry;
use patchadm_cli::reply::overtaken::OvertakenEntry;
use patchadm_cli::reply::patch_list::shown_date;
use patchadm_cli::reply::text::finding;
use patchadm_cli::surroundings::caller::now;
use patchadm_cli::surroundings::{Output, Shade, Zone};
use patchadm_core::operation::object_check::ObjectFinding;
use patchadm_core::operation::patches::overtaken::NativeOverview;
use patchadm_core::operation::queries::inspect::interrupted_run;
use patchadm_core::operation::queries::patch_objects::ObjectAction;
use patchadm_core::operation::queries::path_owners::{PatchOfPath, PathOwners, path_owners};
use patchadm_core::operation::queries::recorded_path::NativeListing;
use patchadm_core::operation::queries::runs::open_merges;
use patchadm_inputs::native::{DivertedPath, VerifierReport};
use patchadm_planning::plan::refusal::Wording;
use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::patch::PatchId;

/// If undo data is not readable.
const NOT_KNOWN: &str = "incomplete: the undo data of some patches cannot be read by this caller, is gone, or was made by \
     another program";

#[derive(Debug, Serialize)]
pub(super) struct PathAnswer {
    path: String,
    /// The letter of its type in `contents`.
    #[serde(rename = "type")]
    ftype: Option<String>,
    packages: Vec<String>,
    current: CurrentVersion,
    patches: Vec<PathPatch>,
    /// True if the list of patches and their changes is complete.
    known: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    native: Vec<NativeOwnerEntry>,
    /// Files listed under this path that dpkg diverts elsewhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    diverted: Vec<DivertedEntry>,
    /// Findings of dpkg's and rpm's verifiers about patched objects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    verifiers: Vec<VerifierReport>,
    /// Patches whose fix was lost here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lost: Vec<OvertakenEntry>,
    /// Unresolved merges, newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    merges: Vec<MergeEntry>,
    /// The change by the last patch, up to the current file; set by --diff.
    #[serde(skip_serializing_if = "Option::is_none")]
    objects: Option<Vec<PackageObjects>>,
    #[serde(skip)]
    place: ObjectPath,
    #[serde(skip)]
    shown: String,
    #[serde(skip)]
    wording: Wording,
}

#[derive(Debug, Serialize)]
struct CurrentVersion {
    state: &'static str,
    /// The patch or package that left it, or whose version was modified.
    by: Option<String>,
    /// Differences from that, in sentences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<String>,
    #[serde(skip)]
    is_of_patch: bool,
    /// An interrupted run may have changed it.
    #[serde(skip)]
    is_in_doubt: bool,
}

#[derive(Debug, Serialize)]
struct NativeOwnerEntry {
    manager: &'static str,
    name: String,
    version: String,
    listed: String,
    #[serde(skip)]
    is_other_name: bool,
}

/// A diverted file of a dpkg package.
#[derive(Debug, Serialize)]
struct DivertedEntry {
    name: String,
    to: String,
    /// The diverting package; null for the administrator.
    by: Option<String>,
    #[serde(skip)]
    shown: String,
}

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
    shown_date: Option<String>,
}

impl PathAnswer {
    /// Takes a path as typed; `None` if nothing is known of it.
    pub(super) fn of(root: &Root, word: &Path, query: &ShowQuery) -> anyhow::Result<Option<Self>> {
        let paths = paths_in_root(root, &[word.to_owned()], USAGE)?;
        let owners = path_owners(root, &paths).map_err(|failed| query_refused(root, &failed))?;
        let has_native = owners.iter().any(|one| !one.native.is_empty() || !one.diverted.is_empty());
        let overview = NativeOverview::as_far_as_known(root, &now(&query.surroundings), has_native);
        let open = open_merges(root).map_err(|failed| query_refused(root, &failed))?;
        let open = MergeEntry::of_open(root, &open);
        let zone = query.surroundings.zone;
        let run = interrupted_run(root).map_err(|failed| query_refused(root, &failed))?;
        let is_in_doubt = run.is_some();
        let of = |one| Self::of_owners(root, one, (&overview, &open), (is_in_doubt, zone));
        let answers = owners.into_iter().map(of);
        Ok(answers.into_iter().find(Self::is_about_something))
    }

    fn is_about_something(&self) -> bool {
        !self.packages.is_empty()
            || !self.patches.is_empty()
            || !self.native.is_empty()
            || !self.diverted.is_empty()
            || !self.lost.is_empty()
            || !self.merges.is_empty()
    }

    fn of_owners(
        root: &Root,
        owners: PathOwners,
        (overview, open): (&NativeOverview, &[MergeEntry]),
        (is_in_doubt, zone): (bool, Zone),
    ) -> Self {
        let current = CurrentVersion { is_in_doubt, ..CurrentVersion::of(&owners, zone) };
        let PathOwners { path, names, line, patches, known, native, diverted, verifiers, .. } = owners;
        let lost = overview.lost().chain(overview.accepted());
        let lost = lost.filter(|one| one.lost_paths().any(|path| names.contains(&path)));
        let packages = line.iter().flat_map(|line| &line.owners).map(|owner| owner.package.to_string());
        Self {
            merges: open.iter().filter(|one| one.is_about(&path, &names)).cloned().collect(),
            shown: root.show(&path),
            wording: Wording::of_verbs(root.prefix()),
            current,
            path: path.to_string(),
            objects: None,
            place: path.clone(),
            packages: packages.collect(),
            ftype: line.map(|line| char::from(line.object.ftype.letter()).to_string()),
            patches: patches.into_iter().map(|one| PathPatch::of(one, zone)).collect(),
            known,
            native: native.into_iter().map(|one| NativeOwnerEntry::of(one, &path)).collect(),
            diverted: diverted.into_iter().map(|one| DivertedEntry::of(root, one)).collect(),
            verifiers,
            lost: lost.map(OvertakenEntry::of).collect(),
        }
    }

    pub(super) fn remark(&self) -> Option<String> {
        (!self.known).then(|| NOT_KNOWN.to_owned())
    }

    /// Returns the patch that changed the path last.
    pub(super) fn newest_patch(&self) -> Option<&str> {
        let unchanged = ObjectAction::Unchanged.word();
        let mut patches = self.patches.iter();
        let newest = patches.find(|patch| patch.action.is_some_and(|action| action != unchanged));
        newest.map(|patch| patch.id.as_str())
    }

    /// Compares the object before the last patch with the current one.
    pub(super) fn compare(&mut self, root: &Root) -> Result<(), Stop> {
        let refused = |why: String| {
            let message = format!("cannot show the changes of {}: {why}", self.shown);
            Stop::Refused { exit: NOT_FOUND, message }
        };
        // A kept file has its own version; that of the patch is beside it.
        let kept = self.merges.iter().find(|merge| merge.is_of_kept());
        let kept = kept.map(|merge| hinted(&merge.sentence(), &format!("`{}`", merge.comparison())));
        let Some(id) = self.newest_patch().and_then(|id| PatchId::new(id).ok()) else {
            let why = if self.known {
                "no applied patch changed it"
            } else {
                "the undo data of some patches is gone or cannot be read"
            };
            return Err(refused(kept.unwrap_or_else(|| why.to_owned())));
        };
        let objects = compared(root, &id, slice::from_ref(&self.place))?.unwrap_or_default();
        if objects.is_empty() {
            return Err(refused(kept.unwrap_or_else(|| format!("{id} kept it as it was"))));
        }
        self.objects = Some(objects);
        Ok(())
    }

    /// Returns the owner in a few words.
    pub(super) fn line(&self) -> String {
        match self.packages.as_slice() {
            [] => format!("{}: no package owns it", self.shown),
            packages => format!("{}: owned by {}", self.shown, packages.join(", ")),
        }
    }

    pub(super) fn text(&self) -> Vec<String> {
        let patches = self.patches.iter().map(PathPatch::words);
        self.current.sentence().into_iter().chain(patches).collect()
    }

    pub(super) fn print(&self, output: &mut Output, is_verbose: bool) -> anyhow::Result<()> {
        let wording = &self.wording;
        output.line(self.line())?;
        if let Some(objects) = &self.objects {
            let id = self.newest_patch().unwrap_or_default();
            output.line(format!("  before patch {id}, and now:"))?;
            return objects.iter().try_for_each(|package| package.print_differences(output));
        }
        for line in self.current.sentence().iter().chain(&self.current.differences) {
            output.line(format!("  {line}"))?;
        }
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
            output.line("  no applied patch changed or delivered it")?;
        }
        let width = self.patches.iter().map(|patch| patch.id.len()).max().unwrap_or_default();
        self.patches.iter().try_for_each(|patch| patch.print(output, width, is_verbose))?;
        for VerifierReport { command, says } in &self.verifiers {
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

impl CurrentVersion {
    fn of(owners: &PathOwners, zone: Zone) -> Self {
        let by = owners
            .patches
            .iter()
            .find(|one| one.action.is_some_and(|action| action != ObjectAction::Unchanged));
        let package = || owners.line.as_ref()?.owners.first().map(|owner| owner.package.to_string());
        let is_of_patch = by.is_some();
        let by = by.map(|patch| patch.id.to_string()).or_else(package);
        let found = owners.differences.as_deref();
        let state = match found {
            None => "unknown",
            Some([]) => "unchanged",
            Some(found) if found.contains(&ObjectFinding::Missing) => "missing",
            Some(_) => "modified",
        };
        let differences = found.unwrap_or_default().iter().filter(|one| **one != ObjectFinding::Missing);
        let differences = differences.map(|one| finding::sentence(one, zone)).collect();
        Self { state, by, differences, is_of_patch, is_in_doubt: false }
    }

    /// `None` if unknown.
    fn sentence(&self) -> Option<String> {
        let whose =
            |by: &String| if self.is_of_patch { format!("patch {by}") } else { format!("package {by}") };
        let whose = self.by.as_ref().map(whose)?;
        match self.state {
            "unchanged" => Some(format!("current version: as {whose} left it")),
            "modified" if self.is_in_doubt => {
                Some(format!("changed since {whose} left it, locally or by the interrupted run:"))
            }
            "modified" => Some(format!("modified locally since {whose} left it:")),
            "missing" => Some(format!("missing, although {whose} left it here")),
            _ => None,
        }
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

impl PathPatch {
    fn of(one: PatchOfPath, zone: Zone) -> Self {
        Self {
            shown_date: shown_date(one.date, one.date_text.as_deref(), zone),
            id: one.id.to_string(),
            state: one.state,
            date: one.date.map(|date| date.to_rfc3339()),
            run: one.run,
            action: one.action.map(ObjectAction::word),
            was: one.was,
            became: one.became,
            saved: one.saved,
        }
    }

    fn words(&self) -> String {
        let Self { id, state, action, .. } = self;
        format!("{id} {}: {}", state.join(", "), action.unwrap_or("unknown change"))
    }

    fn print(&self, output: &mut Output, width: usize, is_verbose: bool) -> anyhow::Result<()> {
        let state = self.state.join(", ");
        let shade = self.state.iter().find_map(|state| Shade::of_state(state));
        output.print("  ")?;
        output.shaded(Some(Shade::Id), &self.id)?;
        output.print(" ".repeat(width.saturating_sub(self.id.len()) + 2))?;
        output.shaded(shade, &state)?;
        let after = " ".repeat(11_usize.saturating_sub(state.len()) + 2);
        let date = self.shown_date.as_deref().unwrap_or("no date recorded");
        let action = self.action.unwrap_or("unknown change");
        let saved = if self.saved { "; the previous version is saved" } else { "" };
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
