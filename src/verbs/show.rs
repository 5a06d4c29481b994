//! `patchadm show`: everything about an applied patch, of a root or of many, about one that is not applied yet or not any more,
//! or whose a path is.

mod delivered;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::meant::applied_like;
use super::options::VerbOptions;
use super::owner::OwnerReport;
use crate::many_roots::list::ManyRoots;
use crate::many_roots::queries::{RootAnswer, RootsQuery, ask_many};
use crate::many_roots::root_report::RootReport;
use delivered::DeliveredPatch;
use patchadm_changeset::format::history::SignatureRecord;
use patchadm_cli::arguments::parse;
use patchadm_cli::arguments::suggest::did_you_mean;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::advice::damage_remark;
use patchadm_cli::reply::failure::query_refused;
use patchadm_cli::reply::listed_patch::ListedPatch;
use patchadm_cli::reply::merge_entry::MergeEntry;
use patchadm_cli::reply::object_state::differences;
use patchadm_cli::reply::overtaken::{NativeEntries, OvertakenEntry, ending_of};
use patchadm_cli::reply::patch_entry::ChangeCounts;
use patchadm_cli::reply::trial_standing::TrialStanding;
use patchadm_cli::reply::words::{named_value, print_notes, reboot_sentence, unfinished_sentence};
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, Stop};
use patchadm_cli::surroundings::caller::now;
use patchadm_cli::surroundings::{Output, Surroundings};
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::patches::overtaken::NativeOverview;
use patchadm_core::operation::queries::inspect::{InspectedPatch, WantedWords, inspect};
use patchadm_core::operation::queries::patch_objects::{
    ChangedObject, ObjectAction, PatchAction, changed_objects,
};
use patchadm_core::operation::queries::runs::{applied_signature, open_merges};
use patchadm_inputs::source::{self, Extent, Origin};
use patchadm_planning::plan::refusal::Wording;
use patchadm_rootfs::Root;
use patchadm_svr4::patch::PatchId;

const USAGE: &str = "patchadm [-R root] show id|patch|path\npatchadm show --roots file|dir id";

/// A patch that is not applied: the code of patchrm(1M) for it.
const NOT_APPLIED: Exit = Exit::new(2, ExitCause::Unknown);

/// Show everything about an applied patch (its id) or a delivered one (its path), or whose a path of the root is
#[derive(clap::Parser)]
struct ShowArgs {
    #[command(flatten)]
    many: ManyRoots,
    #[command(flatten)]
    common: VerbOptions,
    /// The id of an applied patch, the path of a delivered one, or a path of the root
    #[arg(value_name = "ID|PATCH|PATH")]
    subject: Option<String>,
}

/// Everything about an applied patch.
#[derive(Debug, Serialize)]
struct AppliedReport {
    patch: ShownPatch,
    /// The interrupted run. The output describes the root before it.
    unfinished: Option<String>,
    /// The lines of the text: a name and a value; those with an empty value are not printed.
    #[serde(skip)]
    lines: Vec<(&'static str, String)>,
    #[serde(skip)]
    remarks: Vec<String>,
}

/// An applied patch with what it changed.
#[derive(Debug, Serialize)]
struct ShownPatch {
    #[serde(flatten)]
    listed: ListedPatch,
    /// The reboot that it asks for after installation.
    reboot: Option<&'static str>,
    /// The native versions that have its fix, as it says.
    fixed_in: Option<String>,
    /// What of it is lost, or would be with the next refresh, to dpkg or rpm.
    #[serde(skip_serializing_if = "Option::is_none")]
    overtaken: Option<OvertakenEntry>,
    /// The number of objects by kind of change; null where its undo data does not tell the caller.
    files: Option<ChangeCounts>,
    /// The known facts about its signature when it was applied, if it was examined or an option forbade that.
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<SignatureRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<Vec<ShownChange>>,
    /// The edited files that it left in place and nobody has merged yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    merges: Vec<MergeEntry>,
}

/// A patch that is not applied any more, because dpkg or rpm changed its package.
#[derive(Debug, Serialize)]
struct EndedReport {
    ended: OvertakenEntry,
    #[serde(skip)]
    next: Option<String>,
    #[serde(skip)]
    paths: Vec<(&'static str, String)>,
}

/// An object that the patch changed.
#[derive(Debug, Serialize)]
struct ShownChange {
    package: String,
    path: String,
    action: &'static str,
    /// What it has that became another one, with both values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<String>,
    /// Whether its bytes, or what it leads to, are others.
    #[serde(skip)]
    is_of_content: bool,
}

impl ShownChange {
    fn of(root: &Root, object: &ChangedObject) -> Self {
        let (was, became) = (object.was.as_ref(), object.became.as_ref());
        let is_replaced = object.action == PatchAction::Replace;
        Self {
            package: object.package.to_string(),
            path: root.show(&object.path),
            action: object.action.word(),
            differences: if is_replaced { differences(was, became) } else { Vec::new() },
            is_of_content: ObjectAction::between(was, became) == ObjectAction::Replaced,
        }
    }

    /// Says what the patch did: only a file with other bytes is replaced.
    fn words(&self) -> String {
        let Self { path, action, differences, .. } = self;
        let is_replaced = *action != "replace" || self.is_of_content || differences.is_empty();
        let action = if is_replaced { action } else { "attributes" };
        let differences =
            if differences.is_empty() { String::new() } else { format!(": {}", differences.join(", ")) };
        format!("{action:<8} {path}{differences}")
    }
}

/// Runs the verb.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let ShowArgs { many, common, subject } = parse(call, USAGE)?;
    let is_verbose = call.output.is_verbose();
    let Some(subject) = subject else {
        return Err(Stop::Usage { message: "no patch is named".to_owned(), usage: USAGE }.into());
    };
    if many.are_named() {
        if Path::new(&subject).exists() && PatchId::new(&subject).is_err() {
            let message =
                format!("{subject} is delivered, and the same for every root: show it without --roots");
            return Err(Stop::Usage { message, usage: USAGE }.into());
        }
        let query = RootsQuery { usage: USAGE, answered: "asked", lacking: None };
        let surroundings = call.surroundings.clone();
        return ask_many(call, &many, query, &|root| answer(root, &subject, is_verbose, &surroundings));
    }
    let root = common.root.open(call)?;
    if let Some(report) = applied(&root, &subject, is_verbose, &call.surroundings)? {
        return Ok(Reply::about(&root, Exit::OK, report));
    }
    let delivered = Path::new(&subject)
        .exists()
        .then(|| source::open(Origin::Path(Path::new(&subject)), Extent::Everything));
    if let Some(Ok((_, image))) = &delivered {
        return Ok(Reply::new(Exit::OK, DeliveredPatch::of(image, is_verbose)));
    }
    // What is no patch may be an object of the root.
    if subject.starts_with('/') {
        let report = OwnerReport::of(call, &root, &[PathBuf::from(&subject)])?;
        if report.is_about_something() {
            return Ok(Reply::about(&root, Exit::OK, report));
        }
    }
    if let Some(delivered) = delivered {
        delivered?;
    }
    if let Some(report) = EndedReport::of(&root, &subject) {
        return Ok(Reply::about(&root, Exit::OK, report));
    }
    let meant = applied_like(&root, &subject).map(|meant| format!("\n{}", did_you_mean(&meant)));
    let why = "is not applied, and there is no file or directory of that name";
    let message = format!("patch {subject} {why}{}", meant.unwrap_or_default());
    Err(Stop::Refused { exit: NOT_APPLIED, message }.into())
}

/// Returns the report of one root of many. That it lacks the patch is no answer there, either.
fn answer(
    root: &Root,
    subject: &str,
    is_verbose: bool,
    surroundings: &Surroundings,
) -> RootAnswer<AppliedReport> {
    match applied(root, subject, is_verbose, surroundings) {
        Err(error) => RootAnswer::failed(root, &error),
        Ok(None) => {
            let ended = ending_of(root, subject).map(|(ended, _)| format!(": {ended}")).unwrap_or_default();
            let message = format!("patch {subject} is not applied{ended}");
            RootAnswer::failed(root, &Stop::Refused { exit: NOT_APPLIED, message }.into())
        }
        Ok(Some(report)) => {
            let listed = &report.patch.listed;
            let line = format!("{} {}, {}", listed.id, listed.state_text(), listed.removable.words());
            let stuck = if listed.removable.now { Vec::new() } else { vec![listed.id.clone()] };
            let remarks = report.remarks.iter().map(|remark| format!("note: {remark}"));
            let notes = report.text().chain(remarks).collect();
            RootAnswer { stuck, ..RootReport::of_answer(line, notes, report).into() }
        }
    }
}

fn applied(
    root: &Root,
    subject: &str,
    is_verbose: bool,
    surroundings: &Surroundings,
) -> anyhow::Result<Option<AppliedReport>> {
    let wanted = PatchId::new(subject).ok();
    let inspection = match inspect(root, wanted.as_ref().map_or(WantedWords::None, WantedWords::Of)) {
        // A delivered patch is the same for every root.
        Err(Failure::NoDatabase(_)) if Path::new(subject).exists() => return Ok(None),
        answer => answer.map_err(|failed| query_refused(root, &failed))?,
    };
    let mut patches = inspection.patches.iter();
    let Some(one) = patches.find(|one| Some(&one.patch.id) == wanted.as_ref()) else { return Ok(None) };
    let overview = NativeOverview::as_far_as_known(root, &now(surroundings), inspection.has_native);
    let changed = changed_objects(root, &one.patch)?;
    let changes = changed.as_ref().filter(|_| is_verbose);
    let trial = TrialStanding::of(root, surroundings).map_err(|failed| query_refused(root, &failed))?;
    // The history is no record: where it cannot be read, the rest of the answer stands.
    let (merges, unknown) = match open_merges(root) {
        Ok(open) => (MergeEntry::of_open(root, &open), None),
        Err(failed) => (Vec::new(), Some(format!("open merges are not known: {failed}"))),
    };
    let merges = merges.into_iter().filter(|merge| merge.is_of(one.patch.id.as_str())).collect();
    let patch = ShownPatch {
        listed: ListedPatch::from(one).beside(&overview).on_trial(trial.as_ref()),
        reboot: one.words.reboot,
        fixed_in: one.fixed_in.clone(),
        overtaken: overview.of_patch(one.patch.id.as_str()).map(OvertakenEntry::of),
        files: changed.as_deref().map(ChangeCounts::of_objects),
        signature: applied_signature(root, &one.patch.id),
        merges,
        changes: changes.map(|changes| changes.iter().map(|object| ShownChange::of(root, object)).collect()),
    };
    let unfinished = inspection.unfinished;
    let of_run = unfinished.iter().map(|run| unfinished_sentence(run, root.prefix()));
    let of_copies = inspection.lost_copies.iter().map(damage_remark);
    let remarks =
        of_run.chain(of_copies).chain(NativeEntries::of(&overview).remarks()).chain(unknown).collect();
    let lines = lines(root, &patch, one);
    Ok(Some(AppliedReport { patch, unfinished, lines, remarks }))
}

impl EndedReport {
    fn of(root: &Root, id: &str) -> Option<Self> {
        let overview = NativeOverview::of_ended(root);
        let ended = overview.of_patch(id).map(OvertakenEntry::of)?;
        let next = ended.next_step(&Wording::of_verbs(root.prefix()));
        Some(Self { next, paths: ended.path_lines(root).collect(), ended })
    }
}

impl CommandReport for EndedReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let OvertakenEntry { id, told, time, fixes, fixed_in, .. } = &self.ended;
        let mut lines = vec![("Patch", id.clone()), ("State", format!("not applied, {told}"))];
        lines.extend(self.paths.iter().cloned());
        lines.extend([
            ("Since", time.clone().unwrap_or_default()),
            ("Fixes", fixes.join(", ")),
            ("Fixed in", fixed_in.clone().unwrap_or_default()),
            ("Next", self.next.clone().unwrap_or_default()),
        ]);
        let lines = lines.iter().filter(|(_, value)| !value.is_empty());
        Ok(lines.map(|line| named_value(line.0, &line.1)).try_for_each(|line| output.line(line))?)
    }
}

fn lines(root: &Root, patch: &ShownPatch, one: &InspectedPatch) -> Vec<(&'static str, String)> {
    let listed = &patch.listed;
    let restart = match reboot_sentence(patch.reboot) {
        Some(sentence) => sentence.to_owned(),
        None if one.words.is_told => "none is advised".to_owned(),
        None => String::new(),
    };
    let changed = match &patch.files {
        Some(files) => files.to_string(),
        None => "not known: its undo data does not tell".to_owned(),
    };
    let mut lines = vec![
        ("Patch", listed.id.clone()),
        ("Synopsis", listed.synopsis.clone().unwrap_or_default()),
        ("State", listed.state_or_states()),
        ("Trial", listed.trial.as_ref().map(|trial| trial.sentence.clone()).unwrap_or_default()),
    ];
    if let Some(overtaken) = &patch.overtaken {
        // Else it is the state of the patch.
        let is_told = listed.native.as_ref() == Some(&overtaken.told) && !listed.is_partly_lost();
        lines.extend((!is_told).then(|| ("", overtaken.told.clone())));
        lines.extend(overtaken.path_lines(root));
        let next = overtaken.next_step(&Wording::of_verbs(root.prefix()));
        lines.extend(next.map(|next| ("Next", next)));
    }
    lines.extend(listed.kept_shlibs.sentences().iter().map(|sentence| ("", sentence.clone())));
    lines.extend([
        ("Applied", listed.date_text.clone().unwrap_or_default()),
        ("On", listed.host.clone().unwrap_or_default()),
        ("Packages", listed.packages.join(", ")),
        ("Obsoletes", listed.obsoletes.join(", ")),
        ("Requires", listed.requires.join(", ")),
        ("Incompatible", listed.incompatibles.join(", ")),
        ("Fixes", listed.fixes.join(", ")),
        ("Fixed in", patch.fixed_in.clone().unwrap_or_default()),
        ("Changed", changed),
    ]);
    let changes = patch.changes.iter().flatten();
    lines.extend(changes.map(|change| ("", change.words())));
    lines.extend(patch.merges.iter().map(|merge| ("Merge", merge.sentence())));
    lines.push(("Restart", restart));
    lines.push(("SHA-256", listed.sha256.clone().unwrap_or_default()));
    lines.push(("Signature", patch.signature.as_ref().map(signature_words).unwrap_or_default()));
    lines.extend(listed.undo.iter().map(|undo| ("Undo data", format!("{} {}", undo.package, undo.words()))));
    lines.push(("Removal", listed.removable.words()));
    lines
}

/// Returns a signature in a few words.
fn signature_words(signature: &SignatureRecord) -> String {
    let mut words = signature.state.clone();
    if let Some(key) = &signature.key {
        let _ = write!(words, ", by key {key}");
    }
    if let Some(name) = &signature.name {
        let _ = write!(words, " ({name})");
    }
    if let Some(time) = &signature.time {
        let _ = write!(words, ", {time}");
    }
    words
}

impl AppliedReport {
    fn text(&self) -> impl Iterator<Item = String> + '_ {
        self.lines.iter().filter(|(_, value)| !value.is_empty()).map(|line| named_value(line.0, &line.1))
    }
}

impl CommandReport for AppliedReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(self.text().try_for_each(|line| output.line(line))?)
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(print_notes(output, &self.remarks)?)
    }
}
