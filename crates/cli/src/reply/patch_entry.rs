//! A patch in the answer of a command, as a document and as text.

use std::collections::{BTreeMap, HashSet};
use std::fmt::{self, Write as _};
use std::ops;

use serde::Serialize;

use super::change_entry::{ChangeEntry, size_of};
use super::exit::{Exit, ExitTable};
use super::failure;
use super::merge_entry::MergeEntry;
use super::result_word::ResultWord;
use super::undo;
use super::words::{counted, human};
use patchadm_changeset::format::history::SignatureRecord;
use patchadm_core::operation::changed_texts::ChangedTexts;
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::patches::outcome::PatchOutcome;
use patchadm_core::operation::patches::undo_states::PackageUndo;
use patchadm_core::operation::queries::patch_objects::{ChangedObject, PatchAction};
use patchadm_core::operation::queries::reasons::{PackageFit, PatchNeed};
use patchadm_core::operation::running::UsingProcess;
use patchadm_inputs::side_file::main_file;
use patchadm_inputs::sign::Verdict;
use patchadm_planning::plan::kept_libraries::{KeptLibrary, LibraryReport};
use patchadm_planning::plan::patch::engine::PlannedScript;
use patchadm_planning::plan::patch::patch_plan::MovedObject;
use patchadm_planning::plan::refusal::Command;
use patchadm_planning::plan::rights::{Grant, grants};
use patchadm_planning::plan::{Action, Plan, SpaceNeed};
use patchadm_rootfs::{Root, human_free, human_needed};
use patchadm_svr4::package::{ObjectPath, PkgInst};

const MOST_EDITS_SHOWN: usize = 10;

/// One patch in the answer and its JSON document.
#[derive(Debug, Serialize)]
pub struct PatchEntry {
    /// The id, or the name of an operand without one.
    pub id: String,
    /// `applied`, `removed`, `planned`, or a refusal.
    pub verdict: &'static str,
    /// The exit code of the patch alone.
    pub code: u8,
    #[serde(skip)]
    pub exit: Exit,
    /// Empty if the patch went well.
    pub reason: String,
    pub packages: Vec<String>,
    /// By kind of change.
    pub files: FileCounts,
    /// The size of new objects.
    pub bytes: u64,
    /// By package.
    pub undo: Vec<PackageUndo>,
    pub reboot: Option<&'static str>,
    /// Programs that run the old version until they are restarted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub in_use: Vec<UsingProcess>,
    /// Set-id programs and devices that the patch makes or changes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub privileged: Vec<Grant>,
    /// In the order of execution.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scripts: Vec<PlannedScript>,
    /// Missing recorded objects that are made again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Locally modified objects that it replaces or deletes, as they are shown.
    #[serde(skip)]
    pub replaced_edits: Vec<String>,
    /// Edited objects whose old version only the undo data of the patch has.
    #[serde(skip)]
    pub saved_edits: Vec<String>,
    /// Objects that undo data of later patches restores from now on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub moved: Vec<MovedObject>,
    /// True if named, false if pulled in; only in a set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub named: Option<bool>,
    /// Patches that pulled it in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depot: Option<String>,
    /// Only if it was examined, or an option forbade that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<SignatureRecord>,
    /// Only if libraries were examined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shlibs: Option<LibraryReport>,
    /// Old libraries kept because running programs still use them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kept_shlibs: Vec<KeptLibrary>,
    /// On each file system.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub space: Vec<SpaceNeed>,
    /// Edited files that stay, each with the version of the patch beside it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub merges: Vec<MergeEntry>,
    /// For people, in sentences.
    pub notes: Vec<String>,
    /// Only of a patch that was not carried out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Vec<ChangeEntry>>,
    /// Changes of a refused patch, if they can be computed; only in a plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_changes: Option<Vec<ChangeEntry>>,
    /// Requirements of a refused patch; only in a plan.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<PatchNeed>,
    /// Packages that a refused patch is for; only in a plan.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fits: Vec<PackageFit>,
    /// Bytes of the objects in undo data before compression; only of a planned patch.
    #[serde(skip)]
    pub saved_bytes: u64,
    #[serde(skip)]
    pub has_plan: bool,
    #[serde(skip)]
    pub carried_out: Option<Plan>,
    /// The run that carried it out.
    #[serde(skip)]
    pub run: Option<String>,
    #[serde(skip)]
    pub failure: Option<Failure>,
}

impl PatchEntry {
    /// Returns true if nothing has to be done: the patch is in force anyway or has no package here.
    pub fn is_idle(&self) -> bool {
        matches!(self.verdict, "already-applied" | "superseded" | "obsoleted" | "not-applicable")
    }

    /// Returns true if another patch of the command kept it from being tried.
    pub fn is_untried(&self) -> bool {
        self.verdict == "not-tried"
    }

    pub fn is_planned(&self) -> bool {
        self.verdict == "planned"
    }

    pub fn merge_sentences(&self) -> impl Iterator<Item = String> {
        let sentence = if self.is_planned() { MergeEntry::plan_sentence } else { MergeEntry::sentence };
        self.merges.iter().map(sentence)
    }

    /// Names locally modified objects that only undo data has from now on, ten at most.
    pub fn edit_sentences(&self) -> impl Iterator<Item = String> {
        let (is, are, restores) = if self.is_planned() {
            ("would be", "would be", "would restore")
        } else {
            ("is", "are", "restores")
        };
        let named = self.saved_edits.iter().take(MOST_EDITS_SHOWN).map(move |path| {
            format!(
                "{path} was edited; the edited version {is} in the undo data, and removing the patch {restores} it"
            )
        });
        let more = self.saved_edits.len().saturating_sub(MOST_EDITS_SHOWN);
        let rest = (more > 0).then(|| format!("the edited versions of {more} more {are} in the undo data"));
        named.chain(rest)
    }

    pub fn result(&self) -> ResultWord {
        match &self.failure {
            // It is not in force, and is not going to be.
            Some(_) if self.verdict == "not-applicable" && self.exit != Exit::OK => ResultWord::Refused,
            _ if self.is_idle() => ResultWord::NothingToDo,
            Some(failed) => ResultWord::of_failure(failed),
            None if self.is_planned() => ResultWord::Planned,
            None => ResultWord::Done,
        }
    }

    /// Returns true if none of its packages is installed here in the version that it is for.
    pub fn is_not_applicable(&self) -> bool {
        self.verdict == "not-applicable"
    }

    pub fn has_failed(&self) -> bool {
        self.exit != Exit::OK && !self.is_idle()
    }

    /// Counts only scripts of the patch itself.
    pub fn runs_script(&self, name: &str) -> bool {
        self.scripts.iter().any(|script| script.package.is_none() && script.name == name)
    }

    pub(super) fn of(
        root: &Root,
        command: Command,
        one: PatchOutcome,
        (code, table): (fn(Command, &Failure) -> Exit, ExitTable),
    ) -> Self {
        let named = one.set.as_ref().map(|set| set.is_named);
        let set = one.set.unwrap_or_default();
        let (needs, packages) =
            one.reasons.map(|reasons| (reasons.needs, reasons.packages)).unwrap_or_default();
        let (receipt, failure) = match one.result {
            Ok(receipt) => (receipt, None),
            Err(failure) => (None, Some(failure)),
        };
        let (verdict, exit, reason) = match &failure {
            Some(failed) => (verdict_of(failed), code(command, failed), failure::reason(failed)),
            None => success(command, receipt.is_some(), &set.because),
        };
        let (owned, receipt) = (one.plan, receipt.as_ref());
        let plan = owned.as_ref();
        let planned = plan.filter(|_| receipt.is_none());
        let written = |at: usize| receipt?.undo.get(&at).copied();
        let notes = plan.iter().flat_map(|plan| &plan.notes);
        let merges = plan.map(|plan| MergeEntry::of_plan(root, &one.id, &plan.merges)).unwrap_or_default();
        Self {
            merges,
            id: one.id,
            verdict,
            code: exit.number(table),
            exit,
            reason,
            packages: plan.iter().flat_map(|plan| plan.packages.iter().map(ToString::to_string)).collect(),
            files: plan.map(FileCounts::of).unwrap_or_default(),
            bytes: plan.map(new_bytes).or_else(|| Some(receipt?.bytes)).unwrap_or_default(),
            undo: plan.map(|plan| undo::of_plan(root, plan, &written)).unwrap_or_default(),
            reboot: one.reboot,
            in_use: one.in_use,
            privileged: plan.iter().flat_map(|plan| grants(plan)).collect(),
            scripts: one.scripts,
            missing: one.missing.iter().map(ToString::to_string).collect(),
            saved_edits: plan
                .filter(|_| command == Command::Patchadd)
                .map(|plan| saved_edits(plan, &one.replaced_edits).map(|path| root.show(path)).collect())
                .unwrap_or_default(),
            replaced_edits: one.replaced_edits.iter().map(|path| root.show(path)).collect(),
            moved: one.moved,
            named,
            because: set.because,
            depot: set.depot,
            signature: one.signature.or_else(|| failure.as_ref()?.refused_signature().map(Verdict::record)),
            shlibs: one.libraries,
            kept_shlibs: one.kept,
            space: planned.iter().flat_map(|plan| plan.space.iter().cloned()).collect(),
            notes: notes.chain(receipt.iter().flat_map(|receipt| &receipt.notes)).cloned().collect(),
            changes: planned.map(|plan| ChangeEntry::of_plan(plan, &one.delivered, &one.texts)),
            needs,
            fits: packages,
            refused_changes: one
                .refused_plan
                .as_ref()
                .map(|plan| ChangeEntry::of_plan(plan, &BTreeMap::new(), &one.texts)),
            saved_bytes: planned.map_or(0, saved_bytes),
            has_plan: plan.is_some(),
            carried_out: owned.filter(|_| receipt.is_some()),
            run: receipt.map(|receipt| receipt.run.clone()),
            failure,
        }
    }
}

/// By kind of change.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct FileCounts {
    replaced: u64,
    added: u64,
    deleted: u64,
    /// Edited files that stay. The version of the patch beside each does not count as added.
    kept: u64,
}

impl fmt::Display for FileCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { replaced, added, deleted, kept } = *self;
        if kept == 0 {
            return write!(f, "{replaced} replaced, {added} added, {deleted} deleted");
        }
        for (number, word) in [(replaced, "replaced"), (added, "added"), (deleted, "deleted")] {
            if number > 0 {
                write!(f, "{number} {word}, ")?;
            }
        }
        write!(f, "{kept} locally modified and kept")
    }
}

impl ops::AddAssign for FileCounts {
    fn add_assign(&mut self, other: Self) {
        self.replaced += other.replaced;
        self.added += other.added;
        self.deleted += other.deleted;
        self.kept += other.kept;
    }
}

impl FileCounts {
    pub fn of_objects(objects: &[ChangedObject]) -> Self {
        let mut counts = Self::default();
        for object in objects {
            match object.action {
                PatchAction::Add => counts.added += 1,
                PatchAction::Replace => counts.replaced += 1,
                PatchAction::Delete => counts.deleted += 1,
                PatchAction::Keep => counts.kept += 1,
            }
        }
        counts
    }

    fn of(plan: &Plan) -> Self {
        let mut counts = Self { kept: plan.merges.len() as u64, ..Self::default() };
        // Files beside others are none of the patch.
        for change in plan.changes.iter().filter(|change| main_file(&change.path).is_none()) {
            match change.action {
                Action::Add(_) => counts.added += 1,
                Action::Replace(_) | Action::Attributes(_) => counts.replaced += 1,
                Action::Delete | Action::RemoveDirectory => counts.deleted += 1,
            }
        }
        counts
    }
}

/// Returns the replaced edits without a copy beside the new object.
fn saved_edits<'p>(plan: &'p Plan, replaced: &'p [ObjectPath]) -> impl Iterator<Item = &'p ObjectPath> {
    let added = plan.changes.iter().filter(|change| matches!(change.action, Action::Add(_)));
    let copied: HashSet<ObjectPath> = added.filter_map(|change| main_file(&change.path)).collect();
    let is_saved = !plan.undo.is_empty();
    replaced.iter().filter(move |path| is_saved && !copied.contains(*path))
}

/// Returns the verdict, the exit code and the reason of a patch that was carried out or planned.
fn success(command: Command, is_done: bool, because: &[String]) -> (&'static str, Exit, String) {
    let required = because.first().map(|by| format!("required by {by}")).unwrap_or_default();
    match command {
        _ if !is_done => ("planned", Exit::OK, required),
        Command::Patchadd | Command::Promote => ("applied", Exit::OK, required),
        _ => ("removed", Exit::OK, String::new()),
    }
}

pub fn verdict_of(failed: &Failure) -> &'static str {
    match failed {
        Failure::Refused(refusal) => refusal.reason.verdict(refusal.command),
        Failure::NotTried(_) | Failure::NotWithout(_) => "not-tried",
        failure => ResultWord::of_failure(failure).word(),
    }
}

pub(super) fn new_bytes(plan: &Plan) -> u64 {
    plan.changes.iter().filter_map(|change| size_of(&change.action)).sum()
}

fn saved_bytes(plan: &Plan) -> u64 {
    plan.undo.iter().map(undo::saved_bytes).sum()
}

/// Returns the effects of a patch, package by package and path by path, and its needs.
pub fn plan_text(root: &Root, entry: &PatchEntry) -> String {
    let mut text = String::new();
    for package in &entry.packages {
        let changes = entry.changes.iter().flatten().filter(|change| change.package.as_str() == package);
        let lines: String = changes.map(|change| change_lines(root, change)).collect();
        let _ = match lines.as_str() {
            "" => writeln!(text, "Package {package}: no changed objects."),
            lines => write!(text, "Package {package}:\n{lines}"),
        };
    }
    let _ = writeln!(text, "Objects: {}.", entry.files);
    if !entry.privileged.is_empty() {
        text.push_str("Set-id programs and devices:\n");
    }
    for grant in &entry.privileged {
        let (kind, path) = (grant.kind, root.show(&grant.path));
        let _ = writeln!(text, "  {kind:<16} {path} ({} {} {})", grant.mode, grant.owner, grant.group);
    }
    for need in &entry.space {
        let (needed, free) = (human_needed(need.bytes), human_free(need.free));
        let _ = writeln!(text, "Space on {}: {needed} needed at most, {free} free.", need.file_system);
    }
    let saved = human(entry.saved_bytes);
    let _ = match entry.undo.iter().filter(|undo| undo.state.is_kept()).count() {
        0 => writeln!(text, "Undo data: none."),
        number => writeln!(text, "Undo data: {} of {saved} before compression.", counted(number, "archive")),
    };
    text.push_str(if entry.scripts.is_empty() { "Scripts: none.\n" } else { "Scripts:\n" });
    for script in &entry.scripts {
        let whose = script.package.as_ref().map_or("the patch", PkgInst::as_str);
        let _ = writeln!(text, "  {:<16} {whose} ({})", script.name, script.why);
    }
    for sentence in entry.merge_sentences() {
        let _ = writeln!(text, "note: {sentence}");
    }
    for note in entry.edit_sentences().chain(entry.notes.iter().cloned()) {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

/// Returns the requirements, the packages and the changes of a refused patch, as far as they are known, below its id.
pub fn refused_text(root: &Root, entry: &PatchEntry) -> String {
    if entry.needs.is_empty() && entry.fits.is_empty() && entry.refused_changes.is_none() {
        return String::new();
    }
    let mut text = format!("{}: would be refused\n", entry.id);
    for need in &entry.needs {
        let _ = writeln!(text, "  Requires: {need}");
    }
    for fit in &entry.fits {
        let _ = writeln!(text, "  For: {fit}");
    }
    let Some(changes) = &entry.refused_changes else { return text };
    text.push_str("If it were not refused, it would make these changes:\n");
    let mut package = None;
    for change in changes {
        if package != Some(&change.package) {
            let _ = writeln!(text, "Package {}:", change.package);
            package = Some(&change.package);
        }
        text.push_str(&change_lines(root, change));
    }
    text
}

fn change_lines(root: &Root, change: &ChangeEntry) -> String {
    let size = change.shown_size().map(|size| format!(" ({})", human(size))).unwrap_or_default();
    let mut text = format!("  {:<16} {}{size}\n", change.shown_action(), root.show(&change.path));
    for difference in change.differences() {
        let _ = writeln!(text, "    {difference}");
    }
    text
}

/// Returns the actions, path by path; empty if there were none.
pub fn done_lines(root: &Root, entry: &PatchEntry) -> String {
    let of_plan = |plan| ChangeEntry::of_plan(plan, &BTreeMap::new(), &ChangedTexts::new());
    entry.carried_out.iter().flat_map(of_plan).map(|change| change_lines(root, &change)).collect()
}

/// Programs that still run the old version, one line each.
pub fn in_use_lines(users: &[UsingProcess]) -> String {
    let mut text = String::new();
    for UsingProcess { process, program, paths } in users {
        let _ = writeln!(
            text,
            "Process {process} ({program}) runs the old {} until it is restarted.",
            paths.join(", ")
        );
    }
    text
}
