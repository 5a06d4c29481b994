//! A patch in the answer of a command, as a document and as text.

use std::collections::{BTreeMap, HashSet};
use std::fmt::{self, Write as _};
use std::ops;

use serde::Serialize;

use super::change_entry::{ChangeEntry, size_of};
use super::exit::{Exit, ExitTable};
use super::failure;
use super::json::as_text;
use super::merge_entry::MergeEntry;
use super::result_word::ResultWord;
use super::shlibs::{KeptShlibs, LibrariesEntry};
use super::undo::{self, UndoEntry};
use super::words::{counted, human};
use patchadm_changeset::format::history::SignatureRecord;
use patchadm_core::operation::changed_texts::ChangedTexts;
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::patches::apply::ApplyOutcome;
use patchadm_core::operation::queries::patch_objects::{ChangedObject, PatchAction};
use patchadm_core::operation::queries::reasons::{PackageFit, PatchNeed};
use patchadm_inputs::sign::Verdict;
use patchadm_planning::plan::patch::engine::PlannedScript;
use patchadm_planning::plan::patch::patch_plan::MovedObject;
use patchadm_planning::plan::refusal::Command;
use patchadm_planning::plan::rights::{Grant, grants};
use patchadm_planning::plan::{Action, Plan, SpaceNeed};
use patchadm_rootfs::Root;
use patchadm_svr4::package::{ObjectPath, PkgInst};

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
    pub undo: Vec<UndoEntry>,
    pub reboot: Option<&'static str>,
    /// Programs that run the old version until they are restarted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub in_use: Vec<ProcessEntry>,
    /// Set-id programs and devices that the patch makes or changes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub privileged: Vec<GrantEntry>,
    /// In the order of execution.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scripts: Vec<ScriptEntry>,
    /// Missing recorded objects that are made again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Locally modified objects that it replaces or deletes, as they are shown.
    #[serde(skip)]
    pub replaced_edits: Vec<String>,
    /// Objects that undo data of later patches restores from now on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub moved: Vec<MovedObjectEntry>,
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
    pub shlibs: Option<LibrariesEntry>,
    /// Old libraries kept because running programs still use them.
    #[serde(skip_serializing_if = "KeptShlibs::is_empty")]
    pub kept_shlibs: KeptShlibs,
    /// On each file system.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub space: Vec<SpaceEntry>,
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
    pub needs: Vec<NeedEntry>,
    /// Packages that a refused patch is for; only in a plan.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fits: Vec<FitEntry>,
    /// Bytes of the objects in undo data before compression; only of a planned patch.
    #[serde(skip)]
    pub saved_bytes: u64,
    #[serde(skip)]
    pub has_plan: bool,
    #[serde(skip)]
    pub carried_out: Option<Plan>,
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
        one: ApplyOutcome,
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
        let in_use = one.in_use.into_iter().map(|user| ProcessEntry {
            process: user.process,
            program: user.program,
            paths: user.paths,
        });
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
            bytes: receipt.map_or_else(|| plan.map_or(0, new_bytes), |receipt| receipt.bytes),
            undo: plan.map(|plan| UndoEntry::of_plan(root, plan, &written)).unwrap_or_default(),
            reboot: one.reboot,
            in_use: in_use.collect(),
            privileged: plan.iter().flat_map(|plan| grants(plan)).map(GrantEntry::from).collect(),
            scripts: one.scripts.into_iter().map(ScriptEntry::from).collect(),
            missing: one.missing.iter().map(ToString::to_string).collect(),
            replaced_edits: one.replaced_edits.iter().map(|path| root.show(path)).collect(),
            moved: one.moved.into_iter().map(MovedObjectEntry::from).collect(),
            named,
            because: set.because,
            depot: set.depot,
            signature: one.signature.or_else(|| failure.as_ref()?.refused_signature().map(Verdict::record)),
            shlibs: one.libraries.as_ref().map(LibrariesEntry::from),
            kept_shlibs: KeptShlibs::of(&one.kept),
            space: planned.iter().flat_map(|plan| plan.space.iter().map(SpaceEntry::from)).collect(),
            notes: notes.chain(receipt.iter().flat_map(|receipt| &receipt.notes)).cloned().collect(),
            changes: planned.map(|plan| ChangeEntry::of_plan(plan, &one.delivered, &one.texts)),
            needs: needs.into_iter().map(NeedEntry::from).collect(),
            fits: packages.into_iter().map(FitEntry::from).collect(),
            refused_changes: one
                .refused_plan
                .as_ref()
                .map(|plan| ChangeEntry::of_plan(plan, &BTreeMap::new(), &one.texts)),
            saved_bytes: planned.map_or(0, saved_bytes),
            has_plan: plan.is_some(),
            carried_out: owned.filter(|_| receipt.is_some()),
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
        write!(f, "{kept} kept as modified locally")
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
        let beside: HashSet<&ObjectPath> = plan.merges.iter().map(|merge| &merge.beside).collect();
        for change in &plan.changes {
            match change.action {
                Action::Add(_) if beside.contains(&change.path) => {}
                Action::Add(_) => counts.added += 1,
                Action::Replace(_) | Action::Attributes(_) => counts.replaced += 1,
                Action::Delete | Action::RemoveDirectory => counts.deleted += 1,
            }
        }
        counts
    }
}

#[derive(Debug, Serialize)]
pub struct GrantEntry {
    #[serde(serialize_with = "as_text")]
    package: PkgInst,
    #[serde(serialize_with = "as_text")]
    pub path: ObjectPath,
    pub kind: &'static str,
    /// Octal, four digits.
    pub mode: String,
    pub owner: String,
    pub group: String,
}

impl From<Grant> for GrantEntry {
    fn from(grant: Grant) -> Self {
        let Grant { package, path, kind, mode, owner, group } = grant;
        Self { package, path, kind: kind.words(), mode: mode.to_string(), owner, group }
    }
}

#[derive(Debug, Serialize)]
pub struct ScriptEntry {
    /// `None` for a script of the patch itself.
    pub package: Option<String>,
    pub name: String,
    pub why: &'static str,
}

impl From<PlannedScript> for ScriptEntry {
    fn from(script: PlannedScript) -> Self {
        let package = script.package.map(|package| package.to_string());
        Self { package, name: script.name, why: script.why.words() }
    }
}

/// An object that undo data of a later patch restores from now on.
#[derive(Debug, Serialize)]
pub struct MovedObjectEntry {
    path: String,
    /// The later patch.
    to: String,
}

impl From<MovedObject> for MovedObjectEntry {
    fn from(moved: MovedObject) -> Self {
        Self { path: moved.path.to_string(), to: moved.to.to_string() }
    }
}

/// A process that uses a replaced object.
#[derive(Debug, Serialize)]
pub struct ProcessEntry {
    pub process: u32,
    pub program: String,
    pub paths: Vec<String>,
}

/// In bytes.
#[derive(Clone, Debug, Serialize)]
pub struct SpaceEntry {
    pub file_system: String,
    pub needed: u64,
    pub free: u64,
}

impl From<&SpaceNeed> for SpaceEntry {
    fn from(need: &SpaceNeed) -> Self {
        Self { file_system: need.file_system.clone(), needed: need.bytes, free: need.free }
    }
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
        let _ = writeln!(text, "Package {package}:");
        let changes = entry.changes.iter().flatten().filter(|change| change.package.as_str() == package);
        for change in changes {
            text.push_str(&change_lines(root, change));
        }
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
        let (needed, free) = (human(need.needed), human(need.free));
        let _ = writeln!(text, "Space on {}: {needed} needed at most, {free} free.", need.file_system);
    }
    let saved = human(entry.saved_bytes);
    let _ = match entry.undo.iter().filter(|undo| undo.is_kept()).count() {
        0 => writeln!(text, "Undo data: none."),
        number => writeln!(text, "Undo data: {} of {saved} before compression.", counted(number, "archive")),
    };
    text.push_str(if entry.scripts.is_empty() { "Scripts: none.\n" } else { "Scripts:\n" });
    for script in &entry.scripts {
        let whose = script.package.as_deref().unwrap_or("the patch");
        let _ = writeln!(text, "  {:<16} {whose} ({})", script.name, script.why);
    }
    for merge in &entry.merges {
        let _ = writeln!(text, "note: {}", merge.sentence());
    }
    for note in &entry.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

/// Returns the requirements, the packages and the changes of a refused patch, as far as they are known.
pub fn refused_text(root: &Root, entry: &PatchEntry) -> String {
    let mut text = String::new();
    for need in &entry.needs {
        let _ = writeln!(text, "  Requires: {}", need.words());
    }
    for fit in &entry.fits {
        let _ = writeln!(text, "  For: {}", fit.words());
    }
    let Some(changes) = &entry.refused_changes else { return text };
    let _ = writeln!(text, "{} would make these changes:", entry.id);
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
pub fn in_use_lines(users: &[ProcessEntry]) -> String {
    let mut text = String::new();
    for ProcessEntry { process, program, paths } in users {
        let _ = writeln!(
            text,
            "Process {process} ({program}) runs the old {} until it is restarted.",
            paths.join(", ")
        );
    }
    text
}

#[derive(Debug, Serialize)]
pub struct NeedEntry {
    requirement: String,
    met_by: Option<String>,
    /// The native package with the fix of `met_by`, if that is not applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    contained_in: Option<String>,
}

/// A package that a delivered patch is for.
#[derive(Debug, Serialize)]
pub struct FitEntry {
    wanted: String,
    instance: Option<String>,
    installed: Vec<String>,
}

impl From<PatchNeed> for NeedEntry {
    fn from(need: PatchNeed) -> Self {
        Self {
            requirement: need.requirement.to_string(),
            met_by: need.met_by.map(|id| id.to_string()),
            contained_in: need.contained_in,
        }
    }
}

impl NeedEntry {
    /// Returns the requirement with its state: `100-01 (applied)`.
    pub fn words(&self) -> String {
        let state = match (&self.contained_in, &self.met_by) {
            (Some(package), _) => format!("contained in {package}"),
            (None, None) => "not applied".to_owned(),
            (None, Some(by)) if *by == self.requirement => "applied".to_owned(),
            (None, Some(by)) => format!("met by {by}"),
        };
        format!("{} ({state})", self.requirement)
    }
}

impl From<PackageFit> for FitEntry {
    fn from(fit: PackageFit) -> Self {
        let instance = fit.instance.map(|package| package.to_string());
        Self { wanted: fit.wanted, instance, installed: fit.others }
    }
}

impl FitEntry {
    /// Returns the package with its state: `ACMEweb (i386) 1.0 (installed as ACMEweb)`.
    pub fn words(&self) -> String {
        let state = match (&self.instance, self.installed.as_slice()) {
            (Some(instance), _) => format!("installed as {instance}"),
            (None, []) => "not installed".to_owned(),
            (None, others) => format!("installed: {}", others.join(", ")),
        };
        format!("{} ({state})", self.wanted)
    }
}
