//! The answer of a command about patches. All forms of the answer are made from these values, for applications and
//! backouts alike.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use super::advice::hint;
use super::cause::ExitCause;
use super::exchange_entry::ExchangeEntry;
use super::exit::{Exit, ExitTable};
use super::failure::{code, text_of_plan, verb_code};
use super::json::milliseconds_since;
use super::patch_entry::{FileCounts, PatchEntry};
use super::preparation::PreparationEntries;
use super::result_word::ResultWord;
use super::trial::TrialEntry;
use super::verb_codes;
use super::words::{counted, counted_patches, human, recovery_sentence};
use patchadm_changeset::plan::{BALLAST, SpaceNeed};
use patchadm_changeset::transaction::{Receipt, RootCondition};
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::patches::after_run::AfterRun;
use patchadm_core::operation::patches::apply::ApplyReport;
use patchadm_core::operation::patches::back_out::BackOutReport;
use patchadm_core::operation::patches::outcome::PatchOutcome;
use patchadm_core::operation::patches::undo::number_of;
use patchadm_planning::plan::refusal::{Command, Wording};
use patchadm_rootfs::{DirectoryUser, Root, human_free, human_needed};
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::{PatchId, PatchList};

#[derive(Debug, Serialize)]
pub struct PatchesReport {
    #[serde(skip)]
    pub command: Command,
    pub result: ResultWord,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<u64>,
    /// Work before the patches.
    #[serde(flatten)]
    pub preparation: PreparationEntries,
    /// In the order in which they were taken.
    pub patches: Vec<PatchEntry>,
    /// Lists of patches of packages; only of a plan, but not of a promotion.
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_lists: Option<Vec<PatchListEntry>>,
    /// How changes below directories to be exchanged became visible; only if one was named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<ExchangeEntry>,
    /// Processes that stay in an old directory.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<DirectoryUser>,
    /// The trial that began with the run, and its end if it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialEntry>,
    /// The root differs now.
    pub changed: bool,
    /// Only of a plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_change: Option<bool>,
    /// As a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovered: Option<String>,
    /// The reason for an end before the first patch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Each next step once, in the order of the patches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub advice: Vec<String>,
    /// Patches that can no longer be backed out, because the policy limits undo data.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    irremovable: Vec<String>,
    /// Effects of the run, in sentences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    duration_ms: u64,
    #[serde(skip)]
    pub exit: Exit,
    #[serde(skip)]
    pub recovery_notes: Vec<String>,
    #[serde(skip)]
    pub failure: Option<Failure>,
}

impl PatchesReport {
    /// Makes the report; the command began at `began`.
    pub fn of(
        root: &Root,
        command: Command,
        result: Result<ApplyReport, Failure>,
        face: PatchFace,
        began: Instant,
    ) -> Self {
        let (mut patches, mut run, mut recovered, mut recovery_notes) = (Vec::new(), None, None, Vec::new());
        let (mut preparation, mut is_recovered) = (PreparationEntries::default(), false);
        let (mut paths, mut holders, mut trial, mut patch_lists) = (Vec::new(), Vec::new(), None, None);
        let mut after = AfterRunEntries::default();
        let failure = match result {
            Err(failure) => Some(failure),
            Ok(report) => {
                recovered = recovery_sentence(&report.recovered);
                is_recovered = report.recovered.has_changed();
                recovery_notes = report.recovered.notes().to_vec();
                run = report.patches.iter().filter_map(|one| run_of(&one.result)).next_back();
                paths = report.exchanges.iter().map(|exchange| ExchangeEntry::of(root, exchange)).collect();
                holders =
                    report.exchanges.iter().flat_map(|exchange| exchange.holders.iter().cloned()).collect();
                after = AfterRunEntries::of(root, followed(&report), matches!(face, PatchFace::Classic));
                after.notes.extend(report.empty_depot);
                preparation = PreparationEntries::of(root, report.preparation, &mut recovery_notes);
                trial = report.trial.map(|outcome| TrialEntry::of(root, command, outcome));
                patch_lists = PatchListEntry::all(command, &report.patches);
                let entry = |one| PatchEntry::of(root, command, one, (face.code(), face.table()));
                patches = report.patches.into_iter().map(entry).collect();
                report.refused
            }
        };
        let decisive = match (&failure, face) {
            (Some(failure), _) => face.code()(command, failure),
            (None, PatchFace::Classic) => exit(&patches),
            (None, PatchFace::Verb) => first_failure_or_stranger(&patches),
            (None, PatchFace::VerbOnRoots) => first_failure(&patches),
        };
        let exit = match face {
            PatchFace::Classic => decisive,
            // A planned patch is no success if the whole command failed.
            PatchFace::Verb | PatchFace::VerbOnRoots
                if failure.is_some() && patches.iter().any(PatchEntry::is_planned) =>
            {
                decisive
            }
            PatchFace::Verb | PatchFace::VerbOnRoots => partly_or(decisive, &patches),
        };
        let is_half_done = failure.as_ref().is_some_and(is_half_done);
        Self {
            command,
            result: result_of(failure.as_ref(), decisive, &patches),
            run,
            patches,
            patch_lists,
            paths,
            holders,
            trial: None,
            changed: run.is_some() || is_recovered || preparation.has_changed || is_half_done,
            preparation,
            would_change: None,
            recovered,
            error: failure.as_ref().map(ToString::to_string),
            advice: Vec::new(),
            irremovable: after.irremovable,
            notes: after.notes,
            duration_ms: milliseconds_since(began),
            exit,
            recovery_notes,
            failure,
        }
        .with_trial(trial)
        .with_advice(&face.wording(root))
    }

    /// A trial that ended at once determines the end of the command.
    fn with_trial(self, trial: Option<TrialEntry>) -> Self {
        let Some((exit, result)) = trial.as_ref().and_then(TrialEntry::exit) else {
            return Self { trial, ..self };
        };
        let is_as_before = result == ResultWord::RolledBack;
        let changed = !is_as_before || self.preparation.has_changed || self.recovered.is_some();
        Self { result, trial, changed, exit, ..self }
    }

    /// With the options of the command that asked.
    fn with_advice(self, wording: &Wording) -> Self {
        let failed = self.patches.iter().filter(|patch| patch.has_failed());
        let failures = self.failure.iter().chain(failed.filter_map(|patch| patch.failure.as_ref()));
        let mut advice = Vec::new();
        for step in failures.map(|failure| hint(wording, self.command, failure)) {
            if !step.is_empty() && !advice.contains(&step) {
                advice.push(step);
            }
        }
        Self { advice, ..self }
    }

    #[must_use]
    pub fn of_plan(mut self, is_plan: bool) -> Self {
        let would_change = self.failure.is_none() && self.patches.iter().any(PatchEntry::is_planned);
        self.would_change = is_plan.then_some(would_change);
        if is_plan {
            self.error = self.failure.as_ref().map(text_of_plan);
        }
        self.patch_lists = self.patch_lists.filter(|_| is_plan);
        self
    }

    /// Adds what a report about missing patches does not show: the trial that the root was on before, and a depot of its policy
    /// that is not used. A failure that says the same is enough.
    #[must_use]
    pub fn with_reminders(mut self, trial: Option<String>, ignored_depot: Option<String>) -> Self {
        let failures = || {
            let of_patches = self.patches.iter().filter_map(|patch| patch.failure.as_ref());
            self.failure.iter().chain(of_patches)
        };
        let is_on_trial = failures().any(|failure| matches!(failure, Failure::OnTrial { .. }));
        let is_without_depot = failures().any(|failure| matches!(failure, Failure::NoDepot { .. }));
        self.notes.extend(ignored_depot.filter(|_| !is_without_depot));
        self.notes.extend(trial.filter(|_| !is_on_trial));
        self
    }

    /// Tells whether it is the report of a plan.
    pub fn is_plan(&self) -> bool {
        self.would_change.is_some()
    }

    /// Returns the lines that close a report about several patches; none about one.
    pub fn closing_lines(&self) -> Vec<String> {
        if self.patches.len() < 2 {
            return Vec::new();
        }
        let ends = ends_of(&self.patches, self.exit) + &runs_of_removal(self.command, &self.patches);
        if self.is_plan() {
            let is_any_planned = self.patches.iter().any(PatchEntry::is_planned);
            let totals = is_any_planned.then(|| plan_totals(&self.patches));
            return std::iter::once(ends).chain(totals.into_iter().flatten()).collect();
        }
        vec![format!("{ends}; {}", seconds(self.duration_ms))]
    }

    #[must_use]
    pub fn ending_with(mut self, codes: EndCodes) -> Self {
        let is_missing = |entry: &PatchEntry| !entry.is_idle();
        let wants_reboot = |entry: &PatchEntry| entry.verdict == "applied" && entry.reboot.is_some();
        if codes.is_check && self.failure.is_none() {
            self.exit = if self.patches.iter().any(is_missing) { Exit::MISSING } else { Exit::OK };
        } else if codes.tells_reboot && self.exit == Exit::OK && self.patches.iter().any(wants_reboot) {
            self.exit = REBOOT;
        }
        self
    }
}

/// Exit codes for schedulers, on request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndCodes {
    /// A missing patch is a finding; otherwise only a failed command has a code.
    pub is_check: bool,
    /// Success has its own code if an applied patch asks for a reboot.
    pub tells_reboot: bool,
}

const REBOOT: Exit = Exit::of_verb(ExitCause::Reboot);

/// The codes and words of the classic command, or of the verb that does the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchFace {
    Classic,
    Verb,
    /// Each root takes the patches that are for it.
    VerbOnRoots,
}

impl PatchFace {
    fn wording(self, root: &Root) -> Wording {
        match self {
            Self::Classic => Wording::of_classic(root.prefix()),
            Self::Verb | Self::VerbOnRoots => Wording::of_verbs(root.prefix()),
        }
    }

    fn table(self) -> ExitTable {
        match self {
            Self::Classic => ExitTable::Classic,
            Self::Verb | Self::VerbOnRoots => ExitTable::Verbs,
        }
    }

    fn code(self) -> fn(Command, &Failure) -> Exit {
        match self {
            Self::Classic => code,
            Self::Verb | Self::VerbOnRoots => verb_code,
        }
    }
}

/// Returns true if a failure left something of its run behind.
fn is_half_done(failure: &Failure) -> bool {
    !matches!(failure.left(), RootCondition::Unchanged | RootCondition::RolledBack)
}

/// Returns a backout in the form of an application.
pub fn as_applied(report: BackOutReport) -> ApplyReport {
    let BackOutReport { recovered, preparation, patches, exchanges, plan_file, refused } = report;
    ApplyReport { recovered, preparation, patches, exchanges, plan_file, refused, ..ApplyReport::default() }
}

/// During a trial the policy's limits wait; they follow when its check has confirmed it.
fn followed(report: &ApplyReport) -> &AfterRun {
    report.trial.as_ref().map_or(&report.after, |trial| &trial.after)
}

/// Returns the word of the patch that determines the exit code.
fn result_of(failure: Option<&Failure>, exit: Exit, entries: &[PatchEntry]) -> ResultWord {
    if let Some(failure) = failure {
        return ResultWord::of_failure(failure);
    }
    if exit != Exit::OK {
        let decisive = entries.iter().find(|entry| entry.exit == exit);
        if decisive.is_some_and(PatchEntry::is_not_applicable) {
            return ResultWord::Refused;
        }
        return decisive.map_or(ResultWord::Failed, PatchEntry::result);
    }
    let words = || entries.iter().map(PatchEntry::result);
    [ResultWord::Done, ResultWord::Planned]
        .into_iter()
        .find(|word| words().any(|one| one == *word))
        .unwrap_or(ResultWord::NothingToDo)
}

fn run_of(result: &Result<Option<Receipt>, Failure>) -> Option<u64> {
    let receipt = result.as_ref().ok()?.as_ref()?;
    receipt.run.split('-').next()?.parse().ok()
}

/// One patch: its own code. Several: the first failure; a patch that is in force anyway is none.
fn exit(entries: &[PatchEntry]) -> Exit {
    if let [only] = entries {
        return only.exit;
    }
    first_failure(entries)
}

/// Returns the code of the first failure; if no named patch has a package here, that of the first patch.
fn first_failure_or_stranger(entries: &[PatchEntry]) -> Exit {
    match entries.first() {
        Some(first) if entries.iter().all(PatchEntry::is_not_applicable) => first.exit,
        _ => first_failure(entries),
    }
}

/// Returns the exit code of a verb on many roots, and of a classic command with several patches. A patch that is in
/// force anyway, or has no package here, is no failure.
fn first_failure(entries: &[PatchEntry]) -> Exit {
    entries.iter().find(|entry| entry.has_failed()).map_or(Exit::OK, |entry| entry.exit)
}

/// Partly done if others succeeded, unless the root needs `recover` or a signal ended the command.
fn partly_or(failed: Exit, entries: &[PatchEntry]) -> Exit {
    let has_succeeded = |entry: &PatchEntry| entry.exit == Exit::OK && !entry.is_untried();
    let decides =
        |exit: &Exit| exit.cause() == ExitCause::Signal || exit.verb_code() == verb_codes::UNFINISHED;
    let decisive = std::iter::once(failed).chain(entries.iter().map(|entry| entry.exit)).find(decides);
    match decisive {
        Some(decisive) => decisive,
        None if failed != Exit::OK && entries.iter().any(has_succeeded) => Exit::PARTLY,
        None => failed,
    }
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct PatchListEntry {
    package: String,
    before: Vec<String>,
    after: Vec<String>,
}

impl PatchListEntry {
    /// Sorted by package; `None` for a promotion, which makes its patches itself.
    pub(super) fn all(command: Command, outcomes: &[PatchOutcome]) -> Option<Vec<Self>> {
        if command == Command::Promote {
            return None;
        }
        let mut lists: BTreeMap<&PkgInst, (&PatchList, PatchList)> = BTreeMap::new();
        for change in outcomes.iter().flat_map(|outcome| &outcome.lists) {
            if let Some(before) = &change.before {
                lists.entry(&change.package).or_insert_with(|| (before, before.clone()));
            }
        }
        let planned = outcomes.iter().filter(|outcome| outcome.result.is_ok());
        for change in planned.flat_map(|outcome| &outcome.lists) {
            let Some((_, after)) = lists.get_mut(&change.package) else { continue };
            match command {
                Command::Patchrm => after.remove(&change.patch),
                _ => after.push(change.patch.clone()),
            };
        }
        let changed = lists.into_iter().filter(|(_, (before, after))| *before != after);
        let entry = |(package, (before, after)): (&PkgInst, (&PatchList, PatchList))| Self {
            package: package.to_string(),
            before: words(before),
            after: words(&after),
        };
        Some(changed.map(entry).collect())
    }
}

fn words(list: &PatchList) -> Vec<String> {
    list.iter().map(PatchId::to_string).collect()
}

/// In the order of the total.
const ENDS: [&str; 7] = ["applied", "removed", "planned", "skipped", "refused", "failed", "not tried"];

/// Returns how many patches ended in which way: `300 patches: 298 applied, 2 refused`. `exit` is the end of the
/// command: a patch with nothing to do was skipped, unless it is the reason for that end.
pub fn ends_of(entries: &[PatchEntry], exit: Exit) -> String {
    let is_skipped = |entry: &PatchEntry| entry.failure.is_some() && entry.is_idle() && entry.exit != exit;
    let end = |entry| if is_skipped(entry) { "skipped" } else { end(entry) };
    let ends: Vec<&str> = entries.iter().map(end).collect();
    let count = |word: &str| ends.iter().filter(|end| **end == word).count();
    let counts = ENDS.iter().map(|word| (count(word), word)).filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, word)| format!("{count} {word}")).collect();
    format!("{}: {}", counted_patches(entries.len()), counts.join(", "))
}

/// Names the runs that a removal became, if several: `undo` reverses each by itself.
fn runs_of_removal(command: Command, entries: &[PatchEntry]) -> String {
    let mut runs: Vec<&str> = entries.iter().filter_map(|entry| entry.run.as_deref()).collect();
    runs.dedup();
    match &*runs {
        [first, .., last] if command == Command::Patchrm => {
            let (count, first, last) = (runs.len(), number_of(first), number_of(last));
            format!(" in {count} runs ({first} to {last}), which `undo` reverses one by one")
        }
        _ => String::new(),
    }
}

/// Objects, space and undo data of all planned patches together.
pub fn plan_totals(entries: &[PatchEntry]) -> Vec<String> {
    let planned = || entries.iter().filter(|entry| entry.is_planned());
    let mut files = FileCounts::default();
    planned().for_each(|entry| files += entry.files);
    let mut space: Vec<SpaceNeed> = Vec::new();
    for need in planned().flat_map(|entry| &entry.space) {
        match space.iter_mut().find(|known| known.file_system == need.file_system) {
            // Space for a rollback is reserved once.
            Some(known) => known.bytes += need.bytes.saturating_sub(BALLAST),
            None => space.push(need.clone()),
        }
    }
    let archives = planned().flat_map(|entry| &entry.undo).filter(|undo| undo.state.is_kept()).count();
    let saved: u64 = planned().map(|entry| entry.saved_bytes).sum();
    let undo = match archives {
        0 => "Undo data: none.".to_owned(),
        count => format!("Undo data: {} of {} before compression.", counted(count, "archive"), human(saved)),
    };
    let space = space.into_iter().map(|need| {
        let (needed, free) = (human_needed(need.bytes), human_free(need.free));
        format!("Space on {}: {needed} needed at most, {free} free.", need.file_system)
    });
    std::iter::once(format!("Objects: {files}.")).chain(space).chain([undo]).collect()
}

/// Returns a time in seconds, with tenths.
pub fn seconds(milliseconds: u64) -> String {
    let tenths = milliseconds.saturating_add(50) / 100;
    format!("{}.{} s", tenths / 10, tenths % 10)
}

fn end(entry: &PatchEntry) -> &'static str {
    match entry.result() {
        ResultWord::Done | ResultWord::Planned => entry.verdict,
        ResultWord::NothingToDo => "skipped",
        ResultWord::Refused => "refused",
        _ if entry.is_untried() => "not tried",
        _ => "failed",
    }
}

#[derive(Debug, Default)]
pub struct AfterRunEntries {
    /// Patches that can no longer be backed out.
    pub irremovable: Vec<String>,
    /// Sentences about these patches, about limits that were not kept, and about free space.
    pub notes: Vec<String>,
}

impl AfterRunEntries {
    /// Classic commands say nothing of free space: scripts know their output.
    pub fn of(root: &Root, after: &AfterRun, is_classic: bool) -> Self {
        let wording = Wording::of_verbs(root.prefix());
        let gone = after.irremovable.iter().filter(|patch| !patch.packages.is_empty());
        let mut notes: Vec<String> = gone
            .clone()
            .map(|patch| {
                let freed = human(patch.freed);
                format!(
                    "patch {} can no longer be removed, because the policy limits undo data; {freed} freed",
                    patch.id
                )
            })
            .collect();
        notes.extend(after.failure.as_ref().map(|failure| {
            format!("undo data beyond the limits of the policy could not be deleted: {failure}")
        }));
        notes.extend(after.low_space.as_ref().filter(|_| !is_classic).map(|low| {
            let percent = u128::from(low.free) * 100 / u128::from(low.size.max(1));
            format!(
                "the file system of {} has {percent} % free ({}): {} shows disk usage, {} deletes undo data",
                low.path,
                human_free(low.free),
                wording.verb("undo-data list"),
                wording.verb("undo-data drop --superseded")
            )
        }));
        Self { irremovable: gone.map(|patch| patch.id.to_string()).collect(), notes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_core::operation::patches::after_run::LowSpace;

    fn entry(verdict: &'static str, exit: Exit) -> PatchEntry {
        PatchEntry {
            id: "1-01".to_owned(),
            verdict,
            code: exit.code(),
            exit,
            reason: String::new(),
            packages: Vec::new(),
            files: FileCounts::default(),
            bytes: 0,
            undo: Vec::new(),
            reboot: None,
            in_use: Vec::new(),
            privileged: Vec::new(),
            scripts: Vec::new(),
            missing: Vec::new(),
            replaced_edits: Vec::new(),
            saved_edits: Vec::new(),
            moved: Vec::new(),
            named: None,
            because: Vec::new(),
            depot: None,
            signature: None,
            shlibs: None,
            kept_shlibs: Vec::new(),
            space: Vec::new(),
            merges: Vec::new(),
            refused_changes: None,
            needs: Vec::new(),
            fits: Vec::new(),
            notes: Vec::new(),
            changes: None,
            saved_bytes: 0,
            has_plan: false,
            carried_out: None,
            run: None,
            failure: None,
        }
    }

    #[test]
    fn one_patch_keeps_its_code_and_of_several_only_a_real_failure_counts() {
        let applied = Exit::new(2, ExitCause::AlreadyApplied);
        let (later, refused) = (Exit::new(35, ExitCause::Superseded), Exit::new(25, ExitCause::Dependency));
        assert_eq!(exit(&[entry("already-applied", applied)]), applied);
        assert_eq!(exit(&[entry("already-applied", applied), entry("applied", Exit::OK)]), Exit::OK);
        let failed = entry("failed", Exit::new(5, ExitCause::Internal));
        assert_eq!(exit(&[entry("superseded", later), entry("refused", refused), failed]), refused);
    }

    #[test]
    fn several_patches_are_counted_by_their_ends() {
        let refusal = || Failure::OnTrial { run: "1".to_owned(), until: "now".to_owned() };
        let with = |failure, one| PatchEntry { failure: Some(failure), ..one };
        let entries = [
            entry("applied", Exit::OK),
            with(refusal(), entry("already-applied", Exit::OK)),
            with(refusal(), entry("refused", Exit::LOCKED)),
            with(Failure::NotWithout("1-01".to_owned()), entry("not-tried", Exit::LOCKED)),
            entry("applied", Exit::OK),
        ];
        assert_eq!(
            ends_of(&entries, Exit::LOCKED),
            "5 patches: 2 applied, 1 skipped, 1 refused, 1 not tried"
        );
    }

    #[test]
    fn a_removal_that_became_several_runs_names_them() {
        let of = |run: &str| PatchEntry { run: Some(run.to_owned()), ..entry("removed", Exit::OK) };
        let told = |entries: &[PatchEntry]| runs_of_removal(Command::Patchrm, entries);
        assert_eq!(
            told(&[of("16-a"), of("17-b")]),
            " in 2 runs (16 to 17), which `undo` reverses one by one"
        );
        assert_eq!(told(&[of("16-a"), of("16-a")]), "");
        assert_eq!(told(&[of("16-a"), entry("refused", Exit::LOCKED)]), "");
        assert_eq!(runs_of_removal(Command::Patchadd, &[of("16-a"), of("17-b")]), "");
    }

    #[test]
    fn a_verb_of_which_one_patch_succeeded_and_another_did_not_is_partly_done() {
        let end = |entries: &[PatchEntry]| partly_or(first_failure(entries), entries);
        let done = || entry("applied", Exit::OK);
        let idle = || entry("already-applied", Exit::new(2, ExitCause::AlreadyApplied));
        let refused = || entry("refused", Exit::new(25, ExitCause::Dependency));
        assert_eq!(end(&[done(), refused()]), Exit::PARTLY);
        assert_eq!(end(&[idle(), refused(), entry("not-tried", Exit::OK)]), refused().exit);
        assert_eq!(end(&[done(), idle()]), Exit::OK);
        let in_doubt = Exit::new(65, ExitCause::InDoubt);
        assert_eq!(end(&[done(), refused(), entry("failed", in_doubt)]), in_doubt);
    }

    #[test]
    fn a_time_is_rounded_to_tenths_of_a_second() {
        let shown = [0, 49, 50, 4_149, 75_000].map(seconds);
        assert_eq!(shown, ["0.0 s", "0.0 s", "0.1 s", "4.1 s", "75.0 s"]);
    }

    #[test]
    fn little_space_is_one_line_that_names_what_helps() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::open(place.path()).unwrap();
        let low_space = Some(LowSpace { path: "/mnt/var/sadm".to_owned(), free: 5 << 20, size: 100 << 20 });
        let said = AfterRunEntries::of(&root, &AfterRun { low_space, ..AfterRun::default() }, false);
        let [note] = &said.notes[..] else { panic!("{said:?}") };
        assert!(note.contains("/mnt/var/sadm has 5 % free (5.0 MiB)"), "{note}");
        assert!(note.contains("undo-data list`") && note.contains("undo-data drop --superseded`"), "{note}");
        let none = AfterRunEntries::of(&root, &AfterRun::default(), false);
        assert!(none.notes.is_empty() && none.irremovable.is_empty());
    }
}
