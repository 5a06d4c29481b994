//! An applied patch: summary, origin, objects and differences; and an ended one.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use super::objects::PackageObjects;
use super::query::ShowQuery;
use patchadm_changeset::format::history::SignatureRecord;
use patchadm_cli::reply::advice::damage_remark;
use patchadm_cli::reply::failure::{query_refused, reason, verb_code};
use patchadm_cli::reply::merge_entry::MergeEntry;
use patchadm_cli::reply::overtaken::{NativeEntries, OvertakenEntry};
use patchadm_cli::reply::patch_entry::FileCounts;
use patchadm_cli::reply::patch_list::AppliedPatchEntry;
use patchadm_cli::reply::shlibs;
use patchadm_cli::reply::trial::TrialStanding;
use patchadm_cli::reply::undo::undo_words;
use patchadm_cli::reply::words::{named_value, reboot_sentence};
use patchadm_cli::reply::{ExitCause, Stop};
use patchadm_cli::surroundings::caller::now;
use patchadm_cli::surroundings::{Output, Zone};
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::patches::overtaken::NativeOverview;
use patchadm_core::operation::patches::undo_states::PackageUndo;
use patchadm_core::operation::queries::inspect::{InspectedPatch, WantedWords, inspect};
use patchadm_core::operation::queries::patch_difference::patch_difference;
use patchadm_core::operation::queries::patch_objects::{changed_objects, patch_files};
use patchadm_core::operation::queries::reasons::{PatchAtHand, PatchNeed, PatchReasons, patch_reasons};
use patchadm_core::operation::queries::recorded_path::is_within;
use patchadm_core::operation::queries::runs::{applied_signature, open_merges};
use patchadm_planning::plan::refusal::{Command, Wording};
use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::patch::PatchId;
use patchadm_svr4::places;

#[derive(Debug, Serialize)]
pub(super) struct AppliedPatch {
    #[serde(flatten)]
    listed: AppliedPatchEntry,
    #[serde(flatten)]
    origin: PatchOrigin,
    reboot: Option<&'static str>,
    /// Native versions with its fix, as it says.
    fixed_in: Option<String>,
    /// Lost to dpkg or rpm, now or with the next refresh.
    #[serde(skip_serializing_if = "Option::is_none")]
    overtaken: Option<OvertakenEntry>,
    /// Objects by kind of change; null if the caller cannot read undo data.
    files: Option<FileCounts>,
    /// Facts about its signature at application, if it was examined or an option forbade that.
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<SignatureRecord>,
    /// Edited files left in place and not merged yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    merges: Vec<MergeEntry>,
    /// Set by --files or --diff.
    #[serde(rename = "objects", skip_serializing_if = "Option::is_none")]
    packages_with_objects: Option<Vec<PackageObjects>>,
    #[serde(skip)]
    has_files: bool,
    #[serde(skip)]
    has_diff: bool,
    #[serde(skip)]
    is_verbose: bool,
    /// Names and values of the text, without empty values.
    #[serde(skip)]
    lines: Vec<(&'static str, String)>,
    /// The interrupted run. The output describes the root before it.
    #[serde(skip)]
    pub(super) unfinished: Option<String>,
    #[serde(skip)]
    pub(super) remarks: Vec<String>,
}

#[derive(Debug, Serialize)]
struct PatchOrigin {
    /// The run that applied it, if the history has it.
    run: Option<String>,
    /// It was named on application; null if the history does not tell.
    named: Option<bool>,
    /// `update` chose it.
    #[serde(skip)]
    is_chosen: bool,
    /// The patches that required it on application.
    because: Vec<String>,
    note: Option<String>,
    needs: Vec<PatchNeed>,
    needed_by: Vec<String>,
    superseded_by: Option<String>,
    obsoleted_by: Option<String>,
}

/// No longer applied, because dpkg or rpm changed its package.
#[derive(Debug, Serialize)]
pub(super) struct EndedPatch {
    ended: OvertakenEntry,
    #[serde(skip)]
    next: Option<String>,
    #[serde(skip)]
    paths: Vec<(&'static str, String)>,
    #[serde(skip)]
    since: Option<String>,
}

impl From<PatchReasons> for PatchOrigin {
    fn from(found: PatchReasons) -> Self {
        let text = |id: PatchId| id.to_string();
        Self {
            named: found.run.is_some().then_some(found.because.is_empty() && !found.is_chosen),
            is_chosen: found.is_chosen,
            run: found.run,
            because: found.because,
            note: found.note,
            needs: found.needs,
            needed_by: found.needed_by.into_iter().map(text).collect(),
            superseded_by: found.superseded_by.map(text),
            obsoleted_by: found.obsoleted_by.map(text),
        }
    }
}

impl PatchOrigin {
    /// Empty if the history does not tell.
    fn words(&self) -> String {
        match (self.named, self.because.as_slice()) {
            (None, _) => String::new(),
            (_, []) if self.is_chosen => "chosen by `update`".to_owned(),
            (_, []) => "named by the user".to_owned(),
            (_, by) => format!("required by {}", by.join(", ")),
        }
    }
}

impl AppliedPatch {
    /// `None` if a word is no applied id.
    pub(super) fn of(root: &Root, word: &str, query: &ShowQuery) -> anyhow::Result<Option<Self>> {
        let refused = |failed| query_refused(root, &failed);
        let wanted = PatchId::new(word).ok();
        let inspection = match inspect(root, wanted.as_ref().map_or(WantedWords::None, WantedWords::Of)) {
            // A delivered patch is the same for every root.
            Err(Failure::NoDatabase(_)) if Path::new(word).exists() => return Ok(None),
            answer => answer.map_err(refused)?,
        };
        let mut patches = inspection.patches.iter();
        let Some(one) = patches.find(|one| Some(&one.patch.id) == wanted.as_ref()) else { return Ok(None) };
        let moment = now(&query.surroundings);
        let overview = NativeOverview::as_far_as_known(root, &moment, inspection.has_native);
        let changed = changed_objects(root, &one.patch)?;
        let trial = TrialStanding::of(root, &query.surroundings).map_err(refused)?;
        // The history is no record: without it, the rest of the answer stands.
        let (merges, unknown) = match open_merges(root) {
            Ok(open) => (MergeEntry::of_open(root, &open), None),
            Err(failed) => (Vec::new(), Some(format!("open merges are unknown: {failed}"))),
        };
        let merges = merges.into_iter().filter(|merge| merge.is_of(one.patch.id.as_str())).collect();
        let found = patch_reasons(root, word, PatchAtHand::Nothing).map_err(refused)?;
        let Some(found) = found else { return Ok(None) };
        let packages_with_objects = objects(root, &one.patch.id, query)?;
        let missing = packages_with_objects.iter().flatten().filter_map(|package| package.remark(word));
        let of_copies = inspection.lost_copies.iter().map(damage_remark);
        let native = NativeEntries::of(root, &overview);
        let remarks = of_copies.chain(native.remarks()).chain(unknown).chain(missing);
        let mut patch = Self {
            listed: AppliedPatchEntry::of(one, query.surroundings.zone)
                .beside(&overview)
                .on_trial(trial.as_ref()),
            origin: PatchOrigin::from(found),
            reboot: one.words.reboot,
            fixed_in: one.fixed_in.clone(),
            overtaken: overview.of_patch(one.patch.id.as_str()).map(OvertakenEntry::of),
            files: changed.as_deref().map(FileCounts::of_objects),
            signature: applied_signature(root, &one.patch.id),
            merges,
            has_files: query.has_files,
            has_diff: query.has_diff,
            is_verbose: query.is_verbose,
            lines: Vec::new(),
            unfinished: inspection.unfinished.clone(),
            remarks: remarks.collect(),
            packages_with_objects,
        };
        patch.lines = patch.lines(root, one, query.surroundings.zone);
        Ok(Some(patch))
    }

    pub(super) fn line(&self) -> String {
        let Self { listed, .. } = self;
        format!("{} {}, {}", listed.id, listed.state_text(), listed.removable.words())
    }

    /// Its id if it cannot be backed out.
    pub(super) fn stuck(&self) -> Option<String> {
        (!self.listed.removable.now).then(|| self.listed.id.clone())
    }

    /// Returns the facts and, with --files, the objects.
    pub(super) fn text(&self) -> impl Iterator<Item = String> + '_ {
        let facts = self.lines.iter().filter(|(_, value)| !value.is_empty());
        let packages = self.packages_with_objects.iter().flatten().filter(move |_| self.has_files);
        facts
            .map(|line| named_value(line.0, &line.1))
            .chain(packages.flat_map(move |package| package.lines(self.is_verbose)))
    }

    pub(super) fn print(&self, output: &mut Output) -> anyhow::Result<()> {
        self.text().try_for_each(|line| output.line(line))?;
        let mut compared = self.packages_with_objects.iter().flatten().filter(|_| self.has_diff);
        compared.try_for_each(|package| package.print_differences(output))
    }

    fn lines(&self, root: &Root, one: &InspectedPatch, zone: Zone) -> Vec<(&'static str, String)> {
        let (listed, patch) = (&self.listed, self);
        let restart = match reboot_sentence(patch.reboot) {
            Some(sentence) => sentence.to_owned(),
            None if one.words.is_told => "none needed".to_owned(),
            None => String::new(),
        };
        let changed = match &patch.files {
            Some(files) => files.to_string(),
            None => "unknown: its undo data does not record it".to_owned(),
        };
        let unknown_run = || format!("unknown: {} does not name it", root.show(&places::history()));
        let mut lines = vec![
            ("Patch", listed.id.clone()),
            ("Synopsis", listed.synopsis.clone().unwrap_or_default()),
            ("State", listed.state_or_states()),
            ("Trial", listed.trial.as_ref().map(|trial| trial.sentence.clone()).unwrap_or_default()),
        ];
        if let Some(overtaken) = &patch.overtaken {
            // Otherwise it is the state of the patch.
            let is_told = listed.native.as_ref() == Some(&overtaken.told) && !listed.is_partly_lost();
            lines.extend((!is_told).then(|| ("", overtaken.told.clone())));
            lines.extend(overtaken.path_lines(root));
            let next = overtaken.next_step(&Wording::of_verbs(root.prefix()));
            lines.extend(next.map(|next| ("Next", next)));
        }
        lines.extend(shlibs::sentences(&listed.kept_shlibs).into_iter().map(|sentence| ("", sentence)));
        lines.extend([
            ("Applied", listed.shown_date.clone().unwrap_or_default()),
            ("On", listed.host.clone().unwrap_or_default()),
            ("Run", patch.origin.run.clone().unwrap_or_else(unknown_run)),
            ("Why", patch.origin.words()),
            ("Note", patch.origin.note.clone().unwrap_or_default()),
            ("Packages", listed.packages.join(", ")),
            ("Obsoletes", listed.obsoletes.join(", ")),
        ]);
        lines.extend(patch.origin.needs.iter().map(|need| ("Requires", need.to_string())));
        lines.extend([
            ("Required by", patch.origin.needed_by.join(", ")),
            ("Incompatible", listed.incompatibles.join(", ")),
            ("Fixes", listed.fixes.join(", ")),
            ("Fixed in", patch.fixed_in.clone().unwrap_or_default()),
            ("Changed", changed),
        ]);
        lines.extend(patch.merges.iter().map(|merge| ("Merge", merge.sentence())));
        lines.push(("Restart", restart));
        lines.push(("SHA-256", listed.sha256.clone().unwrap_or_default()));
        let signature = patch.signature.as_ref().map(|signature| signature_words(signature, zone));
        lines.push(("Signature", signature.unwrap_or_default()));
        let undo = |undo: &PackageUndo| format!("{} {}", undo.package, undo_words(undo));
        lines.extend(listed.undo.iter().map(|one| ("Undo data", undo(one))));
        let mut removal = listed.removable.words();
        if !listed.removable.hint.is_empty() {
            let wording = Wording::of_verbs(root.prefix());
            removal = format!("{removal}; {}", wording.completed(&listed.removable.hint));
        }
        lines.push(("Removal", removal));
        lines
    }
}

fn objects(root: &Root, id: &PatchId, query: &ShowQuery) -> anyhow::Result<Option<Vec<PackageObjects>>> {
    let paths = query.paths_in(root)?;
    if query.has_diff {
        return Ok(compared(root, id, &paths)?);
    }
    if !query.has_files {
        return Ok(None);
    }
    let files = patch_files(root, id.as_str()).map_err(|failed| query_refused(root, &failed))?;
    let is_wanted = is_within(root, &paths);
    let of = |package| PackageObjects::of(root, package, &is_wanted);
    Ok(files.map(|files| files.into_iter().map(of).collect()))
}

/// Compares the objects at `paths` before and after a patch. Missing undo data is a finding.
pub(super) fn compared(
    root: &Root,
    id: &PatchId,
    paths: &[ObjectPath],
) -> Result<Option<Vec<PackageObjects>>, Stop> {
    let difference = patch_difference(root, id, paths).map_err(|failed| {
        let exit = verb_code(Command::Patchrm, &failed);
        let exit = if exit.cause() == ExitCause::UndoData { exit.as_finding() } else { exit };
        Stop::Refused { exit, message: format!("cannot show the changes of {id}: {}", reason(&failed)) }
    })?;
    Ok(difference.map(|objects| PackageObjects::of_differences(root, objects)))
}

fn signature_words(signature: &SignatureRecord, zone: Zone) -> String {
    let mut words = signature.state.clone();
    if let Some(key) = &signature.key {
        let _ = write!(words, ", by key {key}");
    }
    if let Some(name) = &signature.name {
        let _ = write!(words, " ({name})");
    }
    if let Some(time) = &signature.time {
        let _ = write!(words, ", {}", zone.minute_of(time));
    }
    words
}

impl EndedPatch {
    pub(super) fn of(root: &Root, id: &str, zone: Zone) -> Option<Self> {
        let overview = NativeOverview::of_ended(root);
        let ended = overview.of_patch(id).map(OvertakenEntry::of)?;
        let next = ended.next_step(&Wording::of_verbs(root.prefix()));
        let since = ended.time.as_ref().map(|time| zone.minute_of(time));
        Some(Self { next, paths: ended.path_lines(root).collect(), since, ended })
    }

    pub(super) fn line(&self) -> String {
        format!("{} not applied, {}", self.ended.id, self.ended.told)
    }

    pub(super) fn text(&self) -> Vec<String> {
        let OvertakenEntry { id, told, fixes, fixed_in, .. } = &self.ended;
        let mut lines = vec![("Patch", id.clone()), ("State", format!("not applied, {told}"))];
        lines.extend(self.paths.iter().cloned());
        lines.extend([
            ("Since", self.since.clone().unwrap_or_default()),
            ("Fixes", fixes.join(", ")),
            ("Fixed in", fixed_in.clone().unwrap_or_default()),
            ("Next", self.next.clone().unwrap_or_default()),
        ]);
        let lines = lines.iter().filter(|(_, value)| !value.is_empty());
        lines.map(|(name, value)| named_value(name, value)).collect()
    }

    pub(super) fn print(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(self.text().iter().try_for_each(|line| output.line(line))?)
    }
}
