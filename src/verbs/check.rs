//! `patchadm check`: the records of a root, recorded objects, and the system around it, a line for each section.

use std::path::PathBuf;

use serde::Serialize;

use super::options::VerbOptions;
use crate::many_roots::list::ManyRoots;
use crate::many_roots::queries::{RootAnswer, RootsQuery, ask_many};
use crate::many_roots::root_report::{RootBody, RootReport, failure_class, failure_line};
use patchadm_cli::arguments::parse;
use patchadm_cli::call::{AppletKind, Invocation, PROGRAM};
use patchadm_cli::reply::advice::mending;
use patchadm_cli::reply::overtaken::NativeEntries;
use patchadm_cli::reply::patch_list::RemovableEntry;
use patchadm_cli::reply::shlibs;
use patchadm_cli::reply::text::finding;
use patchadm_cli::reply::words::{LONGEST_VALUE, counted_patches, human, print_notes};
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, Stop, failure};
use patchadm_cli::surroundings::caller::now;
use patchadm_cli::surroundings::{Output, Shade, Surroundings, Zone};
use patchadm_core::operation::check::software::{
    ArchiveState, ArchiveVerdict, CheckedPatch, KeptFault, KeptFinding, SoftwareCheckError,
    SoftwareCheckReport, SoftwareCheckRequest, UndoDamage, check_software,
};
use patchadm_core::operation::check::{
    FindingState, RootCheckRequest, RootFinding, check_root, check_root_records, finding_of_unopened,
};
use patchadm_core::operation::object_check::ObjectCheckError;
use patchadm_core::operation::patches::overtaken::NativeOverview;
use patchadm_core::operation::patches::undo_states::{PackageUndo, UndoState};
use patchadm_core::operation::queries::runs::open_merges;
use patchadm_core::operation::session::RootAndPolicy;
use patchadm_inputs::database::RecordDamage;
use patchadm_inputs::database::agreement::ForeignChange;
use patchadm_inputs::database::undo_data::ArchiveError;
use patchadm_inputs::http::{HttpSettings, Patience};
use patchadm_planning::plan::kept_libraries::KeptLibrary;
use patchadm_planning::plan::patch::interrupted::Interrupted;
use patchadm_planning::plan::refusal::{Command, Wording};
use patchadm_rootfs::{Root, WorkMeter};
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::package::control::truncated;

const USAGE: &str = "patchadm [-R root] check [option...] [id|pkg...]\npatchadm check [option...] --roots file|dir [id|pkg...]";

/// Undo data is damaged, missing or elsewhere.
const DAMAGED: Exit = Exit::finding(ExitCause::UndoData);

const CLOSED: Exit = Exit::of_verb(ExitCause::NoRights);

const UNKNOWN: Exit = Exit::of_verb(ExitCause::Unknown);

const TO_DO: Exit = Exit::finding(ExitCause::Attention);

/// Check the root: records, files, undo data, and the system around it
#[derive(clap::Parser)]
struct CheckArgs {
    /// Also read every file and every undo archive
    #[arg(long)]
    contents: bool,
    /// Look in DIR for undo data that was moved there
    #[arg(long, value_name = "DIR")]
    undo_dir: Option<PathBuf>,
    /// Do not use the network
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    many: ManyRoots,
    #[command(flatten)]
    common: VerbOptions,
    /// Applied patches and installed packages to check [default: all, plus the host]
    #[arg(value_name = "ID|PKG")]
    names: Vec<String>,
}

#[derive(Debug, Serialize)]
struct CheckReport {
    sound: bool,
    /// Files and undo archives were read.
    contents: bool,
    findings: Vec<Section>,
    #[serde(flatten)]
    native: NativeEntries,
    /// `None` while a run is unfinished, and if the records do not allow it.
    #[serde(flatten)]
    comparison: Option<Comparison>,
}

#[derive(Debug, Serialize)]
struct Section {
    what: &'static str,
    state: &'static str,
    text: String,
    command: Option<String>,
    #[serde(skip)]
    details: Vec<String>,
    #[serde(skip)]
    shade: Option<Shade>,
}

/// Compared objects, undo data and records.
#[derive(Debug, Serialize)]
struct Comparison {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    records: Vec<DamagedRecord>,
    /// Changes by others since a run; no damage.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changed_records: Vec<ChangedRecord>,
    checked: usize,
    /// Editable files, which may be modified.
    #[serde(skip)]
    edited: usize,
    #[serde(skip)]
    open_merges: usize,
    discrepancies: Vec<ObjectDiscrepancy>,
    patches: Vec<PatchState>,
    interrupted: Vec<HalfApplied>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kept_libraries: Vec<KeptFindingEntry>,
    /// Patches with damaged or lost undo data.
    #[serde(skip)]
    damaged: usize,
    /// Patches with undo data in an earlier format.
    #[serde(skip)]
    earlier: usize,
    /// Patches with undo data that the caller may not read.
    #[serde(skip)]
    closed: usize,
    /// The command to type, and as whom, if something could not be read.
    #[serde(skip)]
    way_on: String,
    /// The command that shows an object that differs from its record.
    #[serde(skip)]
    show: Option<String>,
    /// Objects that are as recorded, if each path is shown.
    #[serde(skip)]
    sound_paths: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ChangedRecord {
    path: String,
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

/// Damaged, or contradicted by another record.
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

#[derive(Debug, Serialize)]
struct HalfApplied {
    id: String,
    package: String,
    reason: String,
    #[serde(skip)]
    sentence: String,
}

#[derive(Debug, Serialize)]
struct ObjectDiscrepancy {
    path: String,
    errors: Vec<String>,
}

#[derive(Debug, Serialize)]
struct PatchState {
    id: String,
    /// Absent if contents were not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    removable: Option<RemovableEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checked: Option<bool>,
    undo: Vec<VerifiedUndoEntry>,
    /// Old libraries kept because running programs still use them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kept_shlibs: Vec<KeptLibrary>,
    #[serde(skip)]
    is_damaged: bool,
    /// True if the caller may not read its undo data, or its records.
    #[serde(skip)]
    is_closed: bool,
}

#[derive(Debug, Serialize)]
struct VerifiedUndoEntry {
    #[serde(flatten)]
    undo: PackageUndo,
    run: Option<String>,
    error: Option<String>,
    #[serde(skip)]
    is_read: bool,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: CheckArgs = parse(call, USAGE)?;
    let surroundings = call.surroundings.clone();
    let is_verbose = call.output.is_verbose();
    let classic = call.of.applets.iter().filter(|applet| applet.kind == AppletKind::Classic);
    let commands: Vec<&'static str> =
        std::iter::once(PROGRAM).chain(classic.map(|applet| applet.name)).collect();
    // Nothing is changed, so a signal may end it at any moment.
    let ask = |root: &Root, workers: usize, meter: Option<&WorkMeter>| {
        checked(root, &args, (&surroundings, &commands), (workers, is_verbose), meter)
    };
    if args.many.are_named() {
        let query = RootsQuery { usage: USAGE, answered: "sound", lacking: None };
        return ask_many(call, &args.many, query, &|root| match ask(root, 1, None) {
            Err(error) => RootAnswer::failed(root, &error),
            Ok((exit, report)) => report.answer(root, exit, is_verbose),
        });
    }
    let root = match args.common.root.open(call) {
        Ok(root) => root,
        Err(error) => {
            let Some(finding) = error.downcast_ref().and_then(finding_of_unopened) else { return Err(error) };
            return Ok(Reply::new(TO_DO, CheckReport::of_findings(vec![finding], &args)));
        }
    };
    let busy = call.busy("checking");
    let (exit, report) = ask(&root, surroundings.processors, busy.watched())?;
    Ok(Reply::about(&root, exit, report))
}

/// Compares records, then examines the root and the system around it.
fn checked(
    root: &Root,
    args: &CheckArgs,
    (surroundings, commands): (&Surroundings, &[&'static str]),
    (workers, is_verbose): (usize, bool),
    meter: Option<&WorkMeter>,
) -> anyhow::Result<(Exit, CheckReport)> {
    if surroundings.policy.is_some() {
        // A fault of the caller's own policy is none of the root.
        RootAndPolicy::of(root).map_err(|failed| failure::query_refused(root, &failed))?;
    }
    let moment = now(surroundings);
    let undo_dir = args.undo_dir.as_deref();
    let request = SoftwareCheckRequest { words: &args.names, contents: args.contents, undo_dir, workers };
    let verified = check_software(root, request, &moment, meter);
    let damage = verified.as_ref().ok().map(|report| report.damage.as_slice());
    let of_root = examination(surroundings, commands, args.offline, damage);
    let findings =
        if args.names.is_empty() { check_root(root, &of_root) } else { check_root_records(root, &of_root) };
    let has_attention = findings.iter().any(|finding| finding.state == FindingState::Attention);
    let mut report = CheckReport::of_findings(findings, args);
    let verified = match verified {
        Ok(verified) => verified,
        Err(error) => {
            let text = format!("not compared: {error}");
            let is_unfinished = matches!(error, SoftwareCheckError::Check(ObjectCheckError::Unfinished(_)));
            let error = refused(error);
            if !args.names.is_empty() || !(has_attention || is_unfinished) {
                return Err(error);
            }
            let exit = Exit::of(&error);
            let is_open = matches!(exit.cause(), ExitCause::Unfinished | ExitCause::InDoubt);
            // The section about the run says what to do.
            let text =
                if is_open { "not compared: a run is unfinished or in doubt".to_owned() } else { text };
            report.findings.push(Section::new("files", FindingState::Unknown, text));
            return Ok((if is_open { exit } else { TO_DO }, report));
        }
    };
    let overview = NativeOverview::as_far_as_known(root, &moment, verified.has_native);
    report.native = NativeEntries::of(root, &overview);
    let found = report.native.checked(exit_of(&verified));
    let exit = match found {
        Exit::OK if has_attention => TO_DO,
        Exit::OK if args.contents && verified.patches.iter().any(CheckedPatch::is_closed) => CLOSED,
        Exit::OK => Exit::OK,
        found => found.as_finding(),
    };
    report.sound = exit == Exit::OK;
    let comparison = Comparison::of(&verified, root, surroundings.zone, (is_verbose, args.names.is_empty()));
    for section in report.findings.iter_mut().filter(|section| section.what == "records") {
        let of = comparison.records.iter().filter(|record| section.text.starts_with(&record.sentence));
        section.details.extend(of.map(|record| record.advice.clone()));
    }
    report.findings.extend(comparison.sections(args.contents, is_verbose));
    report.comparison = Some(comparison);
    Ok((exit, report))
}

/// Examines the system around a root. `damage` is that of its records, if known.
fn examination<'a>(
    Surroundings { now, binary, network, .. }: &'a Surroundings,
    commands: &[&'static str],
    is_offline: bool,
    damage: Option<&'a [RecordDamage]>,
) -> RootCheckRequest<'a> {
    RootCheckRequest {
        now: *now,
        path: Surroundings::search_path(),
        program: binary.as_deref(),
        names: commands.to_vec(),
        http: HttpSettings {
            authorities: None,
            certificate_file: network.certificate_file.clone(),
            certificate_directories: network.certificate_directories.clone(),
            proxies: network.proxies.clone(),
            local_hosts: None,
            patience: Patience::default(),
        },
        is_offline,
        damage,
    }
}

/// Lost undo data counts more than a file, which a package can restore.
fn exit_of(report: &SoftwareCheckReport) -> Exit {
    if report.patches.iter().any(|patch| patch.damage().is_some()) {
        return DAMAGED;
    }
    let is_edited =
        || report.wrong().next().is_some() || !report.interrupted.is_empty() || !report.kept.is_empty();
    match (report.damage.is_empty(), is_edited()) {
        (false, _) => Exit::finding(ExitCause::DamagedRecord),
        (true, true) => Exit::finding(ExitCause::Edited),
        (true, false) => Exit::OK,
    }
}

fn is_earlier(damage: &UndoDamage<'_>) -> bool {
    matches!(damage, UndoDamage::Archive(ArchiveError::Earlier { .. }))
}

fn refused(error: SoftwareCheckError) -> anyhow::Error {
    let exit = match &error {
        SoftwareCheckError::Check(ObjectCheckError::Unfinished(_)) => Exit::UNFINISHED,
        SoftwareCheckError::Check(ObjectCheckError::Operation(failed))
        | SoftwareCheckError::Failure(failed) => failure::verb_code(Command::Patchrm, failed),
        SoftwareCheckError::Unknown(_) => UNKNOWN,
        // Its code is that of its cause.
        SoftwareCheckError::Check(_) => return unwrapped(error),
    };
    Stop::Refused { exit, message: error.to_string() }.into()
}

fn unwrapped(error: SoftwareCheckError) -> anyhow::Error {
    match error {
        SoftwareCheckError::Check(error) => error.into(),
        error => error.into(),
    }
}

impl CommandReport for CheckReport {
    /// Prints a line for each section, with details. If only errors are wanted, prints the findings as one.
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        if output.is_quiet() {
            let lines: Vec<String> = self.attention().collect();
            return if lines.is_empty() { Ok(()) } else { Ok(output.error(&lines.join("\n"))?) };
        }
        let width = |text: fn(&Section) -> &'static str| {
            self.findings.iter().map(|section| text(section).len()).max().unwrap_or_default()
        };
        let of_what = width(|section| section.what);
        let of_state =
            FindingState::ALL.map(|state| state.word().len()).into_iter().max().unwrap_or_default();
        for section in &self.findings {
            output.print(format!("{:<of_what$}  ", section.what))?;
            output.shaded(section.shade, section.state)?;
            let blanks = of_state - section.state.len();
            output.line(format!("{:blanks$}  {}", "", truncated(&section.sentence(), LONGEST_VALUE)))?;
            for line in &section.details {
                output.line(format!("  {}", truncated(line, LONGEST_VALUE)))?;
            }
        }
        Ok(())
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(print_notes(output, &self.native.remarks().collect::<Vec<_>>())?)
    }
}

impl CheckReport {
    fn of_findings(findings: Vec<RootFinding>, args: &CheckArgs) -> Self {
        Self {
            sound: false,
            contents: args.contents,
            findings: findings.into_iter().map(Section::of).collect(),
            native: NativeEntries::default(),
            comparison: None,
        }
    }

    fn attention(&self) -> impl Iterator<Item = String> + '_ {
        self.findings.iter().filter(|section| section.is_to_do()).flat_map(|section| {
            let details = section.details.iter().map(|line| format!("  {line}"));
            std::iter::once(format!("{}: {}", section.what, section.sentence())).chain(details)
        })
    }

    /// The report of one root of many: findings, or every section with `is_verbose`.
    fn answer(self, root: &Root, exit: Exit, is_verbose: bool) -> RootAnswer<Self> {
        let is_shown = |section: &&Section| is_verbose || section.is_to_do();
        let sections = self.findings.iter().filter(is_shown).flat_map(|section| {
            let details = section.details.iter().map(|line| format!("  {line}"));
            std::iter::once(format!("{}: {}", section.what, section.sentence())).chain(details)
        });
        let remarks = self.native.remarks().map(|remark| format!("note: {remark}"));
        let notes = sections.chain(remarks).collect();
        let compared = self.comparison.iter().flat_map(|comparison| &comparison.patches);
        let is_stuck = |one: &&PatchState| one.removable.as_ref().is_some_and(|removable| !removable.now);
        let stuck = compared.filter(is_stuck).map(|one| one.id.clone()).collect();
        let summary = self.summary();
        let report = if matches!(exit.cause(), ExitCause::Ok | ExitCause::NativeChanged) {
            RootReport { exit, ..RootReport::of_answer(summary, notes, self) }
        } else {
            let line = failure_line(exit, &summary);
            let body = RootBody::Worked(self);
            let class = failure_class(exit);
            RootReport { notes, ..RootReport::of_line(class, exit, line, root.prefix(), body) }
        };
        RootAnswer { stuck, ..report.into() }
    }

    fn summary(&self) -> String {
        let of_files = self.findings.iter().find(|section| section.what == "files");
        let wrong: Vec<&str> =
            self.findings.iter().filter(|section| section.is_to_do()).map(|section| section.what).collect();
        let files = of_files.map(|section| section.text.clone()).unwrap_or_default();
        if wrong.is_empty() { files } else { format!("{files}; findings: {}", wrong.join(", ")) }
    }
}

impl Section {
    fn new(what: &'static str, state: FindingState, text: impl Into<String>) -> Self {
        Self::of(RootFinding { what, state, text: text.into(), command: None })
    }

    fn of(RootFinding { what, state, text, command }: RootFinding) -> Self {
        let shade = match state {
            FindingState::Ok => Some(Shade::Effective),
            FindingState::Unknown => None,
            FindingState::Limited => Some(Shade::Replaced),
            FindingState::Attention => Some(Shade::Bad),
        };
        Self { what, state: state.word(), text, command, details: Vec::new(), shade }
    }

    fn is_to_do(&self) -> bool {
        self.state == FindingState::Attention.word()
    }

    fn sentence(&self) -> String {
        let command = self.command.as_ref().map(|command| format!("; `{command}`")).unwrap_or_default();
        format!("{}{command}", self.text)
    }
}

impl Comparison {
    /// `is_whole` if nothing was named.
    fn of(
        report: &SoftwareCheckReport,
        root: &Root,
        zone: Zone,
        (is_verbose, is_whole): (bool, bool),
    ) -> Self {
        let wording = Wording::of_verbs(root.prefix());
        let discrepancies = report.wrong().map(|checked| ObjectDiscrepancy {
            path: root.show(&checked.path),
            errors: checked.findings.iter().map(|finding| finding::sentence(finding, zone)).collect(),
        });
        let damages = || report.patches.iter().filter_map(CheckedPatch::damage);
        let sound = report.objects.iter().filter(|checked| is_verbose && checked.findings.is_empty());
        Self {
            records: report.damage.iter().map(DamagedRecord::of).collect(),
            changed_records: report.changed.iter().map(ChangedRecord::of).collect(),
            checked: report.objects.len(),
            edited: report.objects.iter().filter(|checked| checked.is_edited).count(),
            // Damage of the history is in the section of records.
            open_merges: open_merges(root).map_or(0, |open| {
                let is_checked =
                    |path: &ObjectPath| report.objects.iter().any(|checked| checked.path == *path);
                open.iter().filter(|open| is_whole || is_checked(&open.merge.path)).count()
            }),
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
            show: show_differing(report.wrong().map(|checked| &checked.path), &wording),
            sound_paths: sound
                .map(|checked| {
                    let state = if checked.is_edited { "modified (editable)" } else { "ok" };
                    format!("{}: {state}", root.show(&checked.path))
                })
                .collect(),
        }
    }

    /// Continues the sentence about compared objects.
    fn local_changes(&self) -> String {
        let edited = match self.edited {
            0 => String::new(),
            1 => "; 1 editable file is modified".to_owned(),
            edited => format!("; {edited} editable files are modified"),
        };
        match self.open_merges {
            0 => edited,
            1 => format!("{edited}; 1 merge is open"),
            open => format!("{edited}; {open} merges are open"),
        }
    }

    /// Sections about compared objects. `is_verbose` adds sound ones to the details.
    fn sections(&self, contents: bool, is_verbose: bool) -> Vec<Section> {
        use FindingState::{Attention, Limited, Ok, Unknown};
        let changed =
            self.changed_records.iter().map(|one| Section::new("changed-records", Limited, one.sentence()));
        let mut sections: Vec<Section> = changed.collect();
        let (state, text) = match (self.checked, self.discrepancies.len()) {
            (all, 0) => match all.saturating_sub(self.edited) {
                1 => (Ok, "1 object matches its record".to_owned()),
                matching => (Ok, format!("{matching} objects match their records")),
            },
            (all, 1) => (Attention, format!("1 of {all} objects differs from its record")),
            (all, wrong) => (Attention, format!("{wrong} of {all} objects differ from their records")),
        };
        let files = Section::new("files", state, text + &self.local_changes());
        let mut details = self.sound_paths.clone();
        for ObjectDiscrepancy { path, errors } in &self.discrepancies {
            details.push(path.clone());
            details.extend(errors.iter().map(|error| format!("  {error}")));
        }
        sections.push(Section { command: self.show.clone(), details, ..files });
        let archives =
            self.patches.iter().flat_map(|one| &one.undo).filter(|one| one.undo.state.is_kept()).count();
        let good = if contents { "intact" } else { "present, with the recorded size" };
        let undo = match (self.damaged, self.earlier, self.closed) {
            (0, 0, 0) if archives == 0 => Section::new("undo-data", Ok, "no undo data"),
            (0, 0, 0) => {
                let is_kept = |one: &VerifiedUndoEntry| one.undo.state.is_kept();
                let kept = self.patches.iter().filter(|one| one.undo.iter().any(is_kept));
                let of = counted_patches(kept.count());
                Section::new("undo-data", Ok, format!("undo data of {of} is {good}"))
            }
            (0, 0, closed) => Section::new(
                "undo-data",
                Unknown,
                format!("undo data of {} could not be read", counted_patches(closed)),
            ),
            (0, earlier, _) => {
                let text = format!("undo data of {} has an earlier format", counted_patches(earlier));
                Section::new("undo-data", Attention, text)
            }
            (damaged, ..) => Section::new(
                "undo-data",
                Attention,
                format!("undo data of {} is damaged or missing", counted_patches(damaged)),
            ),
        };
        let mut details = Vec::new();
        for PatchState { id, removable, undo, kept_shlibs, is_damaged, is_closed, .. } in &self.patches {
            let undo: Vec<&VerifiedUndoEntry> =
                undo.iter().filter(|one| is_verbose || one.error.is_some()).collect();
            if is_verbose || *is_damaged || *is_closed || !undo.is_empty() || !kept_shlibs.is_empty() {
                let words = removable.as_ref().map(RemovableEntry::words);
                details.push(words.map_or_else(|| id.clone(), |words| format!("{id}: {words}")));
            }
            details.extend(shlibs::sentences(kept_shlibs).iter().map(|sentence| format!("  {sentence}")));
            details.extend(undo.iter().map(|one| format!("  {}: {}", one.undo.package, one.words())));
        }
        details.extend((self.closed > 0).then(|| self.way_on.clone()));
        sections.push(Section { details, ..undo });
        if !self.interrupted.is_empty() {
            let half = Section::new("patches", Attention, "a patch was left half applied");
            let details = self.interrupted.iter().map(|half| half.sentence.clone()).collect();
            sections.push(Section { details, ..half });
        }
        if !self.kept_libraries.is_empty() {
            let text = match self.kept_libraries.len() {
                1 => "1 kept library has a problem".to_owned(),
                wrong => format!("kept libraries have {wrong} problems"),
            };
            let details = self.kept_libraries.iter().map(|one| one.sentence.clone()).collect();
            sections.push(Section { details, ..Section::new("libraries", Attention, text) });
        }
        sections
    }
}

fn show_differing<'p>(mut paths: impl Iterator<Item = &'p ObjectPath>, wording: &Wording) -> Option<String> {
    let word = match (paths.next()?, paths.next()) {
        (only, None) => Wording::quoted(&only.to_string()),
        _ => "PATH".to_owned(),
    };
    Some(wording.verb(&format!("show {word}")).trim_matches('`').to_owned())
}

/// The command to type if the caller may not read undo data.
fn who_may_read(wording: &Wording) -> String {
    format!(
        "you do not have permission to read all undo data; run {} as root, or as the owner of the root directory",
        wording.verb("check --contents")
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
    fn of(patch: &CheckedPatch) -> Self {
        let removable = patch.backout.as_ref().map(RemovableEntry::checked);
        Self {
            id: patch.id.to_string(),
            checked: removable.as_ref().map(|removable| removable.checked),
            removable,
            undo: patch
                .archives
                .iter()
                .map(|archive| VerifiedUndoEntry::of(archive, patch.backout.is_some()))
                .collect(),
            is_damaged: patch.damage().is_some(),
            is_closed: patch.is_closed(),
            kept_shlibs: patch.kept.clone(),
        }
    }
}

impl VerifiedUndoEntry {
    fn words(&self) -> String {
        let PackageUndo { state, bytes, path, .. } = &self.undo;
        let size = human(*bytes);
        match (&self.error, path) {
            (Some(error), _) => error.clone(),
            (None, Some(path)) if *state == UndoState::Classic => {
                format!("{path} is sound ({size}; made by another program, checked against its pkgmap)")
            }
            (None, Some(path)) if self.is_read => format!("{path} is sound ({size})"),
            (None, Some(path)) => format!("{path} ({size})"),
            (None, None) if *state == UndoState::Committed => "its undo data was dropped".to_owned(),
            (None, None) if *state == UndoState::Exported => "its undo data was exported".to_owned(),
            (None, None) => "no undo data".to_owned(),
        }
    }

    fn of(archive: &ArchiveVerdict, is_read: bool) -> Self {
        let (package, state) = (archive.package.clone(), archive.state.of_undo());
        let undo = PackageUndo { package, state, bytes: 0, path: None };
        match &archive.state {
            ArchiveState::None(_) => Self { undo, run: None, error: None, is_read },
            ArchiveState::Sound { path, bytes, run, .. } => {
                let undo = PackageUndo { bytes: *bytes, path: Some(path.clone()), ..undo };
                Self { undo, run: run.clone(), error: None, is_read }
            }
            ArchiveState::Unusable(error) => {
                let path = match error {
                    ArchiveError::Missing { path, .. } | ArchiveError::Lost { path, .. } => {
                        Some(path.clone())
                    }
                    _ => None,
                };
                let error = Some(error.to_string());
                Self { undo: PackageUndo { path, ..undo }, run: None, error, is_read }
            }
        }
    }
}

#[derive(Debug, Serialize)]
struct KeptFindingEntry {
    package: String,
    library: String,
    paths: Vec<String>,
    finding: &'static str,
    /// Programs that find it instead of a newer one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    misled: Vec<String>,
    #[serde(skip)]
    sentence: String,
}

impl KeptFindingEntry {
    fn of(finding: &KeptFinding, wording: &Wording) -> Self {
        let KeptFinding { package, library, paths, fault } = finding;
        let misled = match fault {
            KeptFault::Shadows(paths) => paths.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        };
        let what = match fault {
            KeptFault::Changed => "changed since it was kept".to_owned(),
            KeptFault::Missing => "no longer exists".to_owned(),
            KeptFault::Unneeded => {
                format!("is no longer needed; {} removes it", wording.verb("libs prune"))
            }
            KeptFault::Shadows(_) => {
                format!("is loaded instead of a newer one by {}", misled.join(", "))
            }
        };
        let paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
        Self {
            package: package.to_string(),
            library: library.clone(),
            sentence: format!("kept library {library} ({package}: {}) {what}", paths.join(", ")),
            paths,
            finding: fault.word(),
            misled,
        }
    }
}
