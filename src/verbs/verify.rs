//! `patchadm verify`: files against records, undo archives against their digests, and which patches could be backed out.

mod kept_finding;

use std::path::PathBuf;

use serde::Serialize;

use super::options::VerbOptions;
use crate::many_roots::list::ManyRoots;
use crate::many_roots::queries::{RootAnswer, RootsQuery, ask_many};
use crate::many_roots::root_report::{RootBody, RootClass, RootReport, failure_line};
use kept_finding::KeptFindingEntry;
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::advice::mending;
use patchadm_cli::reply::kept_shlibs::KeptShlibs;
use patchadm_cli::reply::overtaken::NativeEntries;
use patchadm_cli::reply::removable::RemovableEntry;
use patchadm_cli::reply::text::finding;
use patchadm_cli::reply::undo::UndoEntry;
use patchadm_cli::reply::words::{human, print_notes};
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, Stop, failure};
use patchadm_cli::surroundings::caller::now;
use patchadm_cli::surroundings::{Output, Zone};
use patchadm_core::operation::check::CheckError;
use patchadm_core::operation::patches::overtaken::NativeOverview;
use patchadm_core::operation::patches::undo_states::UndoState;
use patchadm_core::operation::queries::verify::{
    ArchiveState, ArchiveVerdict, UndoDamage, VerifiedPatch, VerifyError, VerifyReport, verify,
};
use patchadm_inputs::database::RecordDamage;
use patchadm_inputs::database::agreement::ForeignChange;
use patchadm_inputs::database::undo_data::ArchiveError;
use patchadm_planning::plan::patch::interrupted::Interrupted;
use patchadm_planning::plan::refusal::{Command, Wording};
use patchadm_rootfs::{Root, WorkMeter};

const USAGE: &str = "patchadm [-R root] verify [option...] [id|pkg...]\npatchadm verify [option...] --roots file|dir [id|pkg...]";

/// Undo data is damaged or gone, or it is not where the records say.
const DAMAGED: Exit = Exit::finding(ExitCause::UndoData);

/// The caller may not read undo data or its records.
const CLOSED: Exit = Exit::of_verb(ExitCause::NoRights);

/// A name that is neither a patch nor a package.
const UNKNOWN: Exit = Exit::of_verb(ExitCause::Unknown);

/// Check files against records and undo archives against their digests, and say which patches could be backed out
#[derive(clap::Parser)]
struct VerifyArgs {
    #[command(flatten)]
    many: ManyRoots,
    #[command(flatten)]
    common: VerbOptions,
    /// The directory that holds the undo data, when it was moved
    #[arg(long, value_name = "DIR")]
    undo_dir: Option<PathBuf>,
    /// End with 4 if nothing is damaged, and the fix of a patch is lost to an upgrade by dpkg or rpm or a registration is
    /// stale
    #[arg(long)]
    check: bool,
    /// Applied patches and installed packages; everything where none is named
    #[arg(value_name = "ID|PKG")]
    names: Vec<String>,
}

/// The answer of the verb: objects, patches, and what was left half applied.
#[derive(Debug, Serialize)]
struct VerifyReply {
    sound: bool,
    #[serde(flatten)]
    native: NativeEntries,
    /// The faults of the records themselves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    records: Vec<DamagedRecord>,
    /// Changes that others made to the records since a run left them; no damage.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changed_records: Vec<ChangedRecord>,
    checked: usize,
    discrepancies: Vec<VerifyDiscrepancy>,
    patches: Vec<PatchState>,
    interrupted: Vec<HalfApplied>,
    /// The faults of kept libraries.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kept_libraries: Vec<KeptFindingEntry>,
    /// The number of patches whose undo data is damaged or lost.
    #[serde(skip)]
    damaged: usize,
    /// The number of patches whose undo data an earlier form of the program made.
    #[serde(skip)]
    earlier: usize,
    /// The number of patches whose undo data the caller may not read.
    #[serde(skip)]
    closed: usize,
    /// The command to type, and as whom, if something could not be read.
    #[serde(skip)]
    way_on: String,
    /// The objects that are as recorded, where each path is wanted.
    #[serde(skip)]
    sound_paths: Vec<String>,
}

/// A record that is not as a run left it.
#[derive(Debug, Serialize)]
struct ChangedRecord {
    path: String,
    /// The number of the run that wrote it last.
    run: u64,
}

impl ChangedRecord {
    fn of(change: &ForeignChange) -> Self {
        Self { path: change.file.clone(), run: change.run }
    }

    fn sentence(&self) -> String {
        let Self { path, run } = self;
        format!("{path}: changed since run {run}, not by this program")
    }
}

/// A record that is damaged, or that another one contradicts.
#[derive(Debug, Serialize)]
struct DamagedRecord {
    path: String,
    line: Option<u64>,
    reason: String,
    advice: String,
    #[serde(skip)]
    sentence: String,
}

impl DamagedRecord {
    fn of(damage: &RecordDamage) -> Self {
        Self {
            path: damage.file.clone(),
            line: damage.line,
            reason: damage.reason.clone(),
            advice: mending(damage),
            sentence: damage.to_string(),
        }
    }
}

/// A patch that a tool without recovery left half applied.
#[derive(Debug, Serialize)]
struct HalfApplied {
    id: String,
    package: String,
    reason: String,
    #[serde(skip)]
    sentence: String,
}

#[derive(Debug, Serialize)]
struct VerifyDiscrepancy {
    path: String,
    errors: Vec<String>,
}

#[derive(Debug, Serialize)]
struct PatchState {
    id: String,
    removable: RemovableEntry,
    /// Whether undo data and objects could be read for that.
    checked: bool,
    undo: Vec<VerifiedUndoEntry>,
    /// The libraries from before it that stay for those who still load them.
    #[serde(skip_serializing_if = "KeptShlibs::is_empty")]
    kept_shlibs: KeptShlibs,
}

/// The undo data of a patch in one package, and what was found in it.
#[derive(Debug, Serialize)]
struct VerifiedUndoEntry {
    #[serde(flatten)]
    undo: UndoEntry,
    /// The run that wrote it.
    run: Option<String>,
    error: Option<String>,
}

/// Runs the verb.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: VerifyArgs = parse(call, USAGE)?;
    let (processors, now, zone) =
        (call.surroundings.processors, now(&call.surroundings), call.surroundings.zone);
    let is_verbose = call.output.is_verbose();
    // Nothing is changed, so a signal may end it at any moment.
    let ask = |root: &Root, workers: usize, meter: Option<&WorkMeter>| {
        let report = verify(root, &args.names, args.undo_dir.as_deref(), workers, &now, meter);
        let report = report.map_err(refused)?;
        let native = NativeEntries::of(&NativeOverview::as_far_as_known(root, &now, report.has_native));
        let exit = exit_of(&report, args.check.then_some(&native));
        Ok::<_, anyhow::Error>((exit, VerifyReply::of(&report, native, root, zone, exit, is_verbose)))
    };
    if args.many.are_named() {
        let query = RootsQuery { usage: USAGE, answered: "sound", lacking: None };
        return ask_many(call, &args.many, query, &|root| match ask(root, 1, None) {
            Err(error) => RootAnswer::failed(root, &error),
            Ok((exit, reply)) => reply.answer(root, exit, is_verbose),
        });
    }
    let root = args.common.root.open(call)?;
    let busy = call.busy("verifying");
    let (exit, reply) = ask(&root, processors, busy.watched())?;
    Ok(Reply::about(&root, exit, reply))
}

/// Undo data that is gone for good counts more than a file, which a package can bring again. `native` is what `--check` asks
/// for besides.
fn exit_of(report: &VerifyReport, native: Option<&NativeEntries>) -> Exit {
    if report.patches.iter().any(|patch| patch.damage().is_some()) {
        return DAMAGED;
    }
    let is_edited =
        || report.wrong().next().is_some() || !report.interrupted.is_empty() || !report.kept.is_empty();
    let of_records = || match (report.damage.is_empty(), is_edited()) {
        (false, _) => Exit::finding(ExitCause::DamagedRecord),
        (true, true) => Exit::finding(ExitCause::Edited),
        (true, false) => Exit::OK,
    };
    let found = of_records();
    let found = native.map_or(found, |native| native.checked(found));
    let is_unread = found == Exit::OK && report.patches.iter().any(VerifiedPatch::is_closed);
    if is_unread { CLOSED } else { found }
}

fn is_earlier(damage: &UndoDamage<'_>) -> bool {
    matches!(damage, UndoDamage::Archive(ArchiveError::Earlier { .. }))
}

fn refused(error: VerifyError) -> anyhow::Error {
    let exit = match &error {
        VerifyError::Check(CheckError::Unfinished(_)) => Exit::UNFINISHED,
        VerifyError::Check(CheckError::Operation(failed)) | VerifyError::Failure(failed) => {
            failure::verb_code(Command::Patchrm, failed)
        }
        VerifyError::Unknown(_) => UNKNOWN,
        // Its code is that of its cause.
        VerifyError::Check(_) => return unwrapped(error),
    };
    Stop::Refused { exit, message: error.to_string() }.into()
}

fn unwrapped(error: VerifyError) -> anyhow::Error {
    match error {
        VerifyError::Check(error) => error.into(),
        error => error.into(),
    }
}

impl CommandReport for VerifyReply {
    /// Prints the lost fixes and the objects first, then patch by patch, and at the end the summary. Problems are printed
    /// as errors if only errors are wanted.
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        if output.is_quiet() && !self.sound {
            let lines: Vec<String> = self.lines(true).into_iter().chain(self.native.remarks()).collect();
            return Ok(output.error(&lines.join("\n"))?);
        }
        let mut lines = self.lines(false).into_iter().chain([self.summary()]);
        Ok(lines.try_for_each(|line| output.line(line))?)
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(print_notes(output, &self.native.remarks().collect::<Vec<_>>())?)
    }
}

impl VerifyReply {
    fn of(
        report: &VerifyReport,
        native: NativeEntries,
        root: &Root,
        zone: Zone,
        exit: Exit,
        is_verbose: bool,
    ) -> Self {
        let wording = Wording::of_verbs(root.prefix());
        let discrepancies = report.wrong().map(|checked| VerifyDiscrepancy {
            path: root.show(&checked.path),
            errors: checked.findings.iter().map(|finding| finding::detail(finding, zone)).collect(),
        });
        let damages = || report.patches.iter().filter_map(VerifiedPatch::damage);
        let sound = report.objects.iter().filter(|checked| is_verbose && checked.findings.is_empty());
        Self {
            sound: exit == Exit::OK,
            native,
            records: report.damage.iter().map(DamagedRecord::of).collect(),
            changed_records: report.changed.iter().map(ChangedRecord::of).collect(),
            checked: report.objects.len(),
            discrepancies: discrepancies.collect(),
            patches: report.patches.iter().map(PatchState::of).collect(),
            interrupted: report.interrupted.iter().map(|half| HalfApplied::of(half, &wording)).collect(),
            kept_libraries: report
                .kept
                .iter()
                .map(|finding| KeptFindingEntry::of(finding, &wording))
                .collect(),
            damaged: damages().filter(|damage| !is_earlier(damage)).count(),
            earlier: damages().filter(is_earlier).count(),
            closed: report.patches.iter().filter(|patch| patch.is_closed()).count(),
            way_on: who_may_read(&wording),
            sound_paths: sound.map(|checked| format!("{}: as recorded", root.show(&checked.path))).collect(),
        }
    }

    /// Returns the lines about lost fixes, objects and patches; `only_wrong` leaves out what is sound.
    fn lines(&self, only_wrong: bool) -> Vec<String> {
        let mut lines: Vec<String> = self.native.lost_lines().collect();
        lines.extend(self.sound_paths.iter().cloned());
        for DamagedRecord { sentence, advice, .. } in &self.records {
            lines.extend([sentence.clone(), format!("  {advice}")]);
        }
        lines.extend(self.changed_records.iter().filter(|_| !only_wrong).map(ChangedRecord::sentence));
        for VerifyDiscrepancy { path, errors } in &self.discrepancies {
            lines.push(path.clone());
            lines.extend(errors.iter().map(|error| format!("  {error}")));
        }
        lines.extend(self.kept_libraries.iter().map(|one| one.sentence.clone()));
        for PatchState { id, removable, undo, kept_shlibs, .. } in &self.patches {
            let is_wrong = |one: &&VerifiedUndoEntry| !only_wrong || one.error.is_some();
            let undo: Vec<&VerifiedUndoEntry> = undo.iter().filter(is_wrong).collect();
            if !only_wrong || !undo.is_empty() {
                lines.push(format!("{id}: {}", removable.words()));
            }
            if !only_wrong {
                lines.extend(kept_shlibs.sentences().iter().map(|sentence| format!("  {sentence}")));
            }
            lines.extend(undo.iter().map(|one| format!("  {}: {}", one.undo.package, one.words())));
        }
        let is_told = |half: &&HalfApplied| only_wrong || self.patches.iter().all(|one| one.id != half.id);
        lines.extend(self.interrupted.iter().filter(is_told).map(|half| half.sentence.clone()));
        lines.extend((self.closed > 0).then(|| self.way_on.clone()));
        lines
    }

    /// Returns the report of one root of many: what is wrong; with `is_verbose` everything.
    fn answer(self, root: &Root, exit: Exit, is_verbose: bool) -> RootAnswer<Self> {
        let remarks = self.native.remarks().map(|remark| format!("note: {remark}"));
        let (summary, notes) = (self.summary(), self.lines(!is_verbose).into_iter().chain(remarks).collect());
        let stuck = self.patches.iter().filter(|one| !one.removable.now).map(|one| one.id.clone()).collect();
        let report = if matches!(exit.cause(), ExitCause::Ok | ExitCause::NativeChanged) {
            RootReport { exit, ..RootReport::of_answer(summary, notes, self) }
        } else {
            let line = failure_line(exit, summary.trim_end_matches('.'));
            let body = RootBody::Worked(self);
            RootReport { notes, ..RootReport::of_line(RootClass::Failed, exit, line, root.prefix(), body) }
        };
        RootAnswer { stuck, ..report.into() }
    }

    /// Returns the result in one line.
    fn summary(&self) -> String {
        let objects = match (self.checked, self.discrepancies.len()) {
            (all, 0) => format!("{all} objects are as recorded"),
            (all, 1) => format!("1 of {all} objects is not as recorded"),
            (all, wrong) => format!("{wrong} of {all} objects are not as recorded"),
        };
        let archives = match self.damaged {
            0 => "no undo data is damaged".to_owned(),
            1 => "undo data of 1 patch is damaged".to_owned(),
            damaged => format!("undo data of {damaged} patches is damaged"),
        };
        let earlier = match self.earlier {
            0 => String::new(),
            1 => ", and that of 1 patch is of an earlier form".to_owned(),
            earlier => format!(", and that of {earlier} patches is of an earlier form"),
        };
        let closed = match self.closed {
            0 => String::new(),
            1 => ", that of 1 patch could not be read".to_owned(),
            closed => format!(", that of {closed} patches could not be read"),
        };
        let records = match self.records.len() {
            0 => String::new(),
            1 => "1 record is damaged; ".to_owned(),
            damaged => format!("{damaged} records are damaged; "),
        };
        let kept = match self.kept_libraries.len() {
            0 => String::new(),
            1 => "; something is wrong with 1 kept library".to_owned(),
            wrong => format!("; {wrong} findings about kept libraries"),
        };
        let half = if self.interrupted.is_empty() { "" } else { "; a patch was left half applied" };
        format!("{records}{objects}; {archives}{earlier}{closed}{kept}{half}.")
    }
}

/// Returns the command to type if the caller may not read undo data.
fn who_may_read(wording: &Wording) -> String {
    format!(
        "You may not read all undo data: run {} as root, or as the owner of the root directory.",
        wording.verb("verify")
    )
}

impl HalfApplied {
    fn of(half: &Interrupted, wording: &Wording) -> Self {
        Self {
            id: half.patch.to_string(),
            package: half.package.to_string(),
            reason: half.refusal().why(),
            sentence: half.told(wording),
        }
    }
}

impl PatchState {
    fn of(patch: &VerifiedPatch) -> Self {
        let removable = RemovableEntry::checked(&patch.backout);
        Self {
            id: patch.id.to_string(),
            checked: removable.checked,
            removable,
            undo: patch.archives.iter().map(VerifiedUndoEntry::of).collect(),
            kept_shlibs: KeptShlibs::of(&patch.kept),
        }
    }
}

impl VerifiedUndoEntry {
    fn words(&self) -> String {
        let UndoEntry { state, bytes, path, .. } = &self.undo;
        let size = human(*bytes);
        match (&self.error, path) {
            (Some(error), _) => error.clone(),
            (None, Some(path)) if *state == UndoState::Classic.word() => {
                format!("{path} is sound ({size}; of another program, checked by its pkgmap)")
            }
            (None, Some(path)) => format!("{path} is sound ({size})"),
            (None, None) if *state == UndoState::Committed.word() => "its undo data was given up".to_owned(),
            (None, None) if *state == UndoState::Exported.word() => "its undo data was exported".to_owned(),
            (None, None) => "no undo data".to_owned(),
        }
    }

    fn of(archive: &ArchiveVerdict) -> Self {
        let undo = UndoEntry {
            package: archive.package.to_string(),
            state: archive.state.of_undo().word(),
            bytes: 0,
            path: None,
        };
        match &archive.state {
            ArchiveState::None(_) => Self { undo, run: None, error: None },
            ArchiveState::Sound { path, bytes, run, .. } => {
                let undo = UndoEntry { bytes: *bytes, path: Some(path.clone()), ..undo };
                Self { undo, run: run.clone(), error: None }
            }
            ArchiveState::Unusable(error) => {
                let path = match error {
                    ArchiveError::Missing { path, .. } | ArchiveError::Lost { path, .. } => {
                        Some(path.clone())
                    }
                    _ => None,
                };
                Self { undo: UndoEntry { path, ..undo }, run: None, error: Some(error.to_string()) }
            }
        }
    }
}
