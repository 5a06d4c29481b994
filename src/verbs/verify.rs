//! `patchadm verify`: files against records, undo archives against their digests, and which patches could be backed out.

use std::path::PathBuf;

use serde::Serialize;

use super::options::VerbOptions;
use crate::arguments::parse;
use crate::call::Invocation;
use crate::reply::advice::mending;
use crate::reply::text::finding;
use crate::reply::words::human;
use crate::reply::{CommandReport, Exit, ExitCause, Reply, Stop, failure};
use crate::surroundings::caller::now;
use crate::surroundings::{Output, Zone};
use patchadm_core::database::RecordDamage;
use patchadm_core::database::archive::ArchiveError;
use patchadm_core::operation::check::CheckError;
use patchadm_core::operation::queries::verify::{
    ArchiveState, ArchiveVerdict, UndoDamage, VerifiedPatch, VerifyError, VerifyReport, verify,
};
use patchadm_core::plan::patch::interrupted::Interrupted;
use patchadm_core::plan::refusal::{Command, Wording};
use patchadm_rootfs::Root;

const USAGE: &str = "patchadm [-R root] verify [id|pkg...]";

/// Undo data is damaged or gone, and it is not where the records say: the codes of patchrm(1M).
const DAMAGED: Exit = Exit::new(4, ExitCause::UndoData);
const ELSEWHERE: Exit = Exit::new(12, ExitCause::UndoData);

/// A name that is neither a patch nor a package: the code of patchrm(1M) for a patch that is not applied.
const UNKNOWN: Exit = Exit::new(2, ExitCause::NotFound);

/// Check files against records and undo archives against their digests, and say which patches could be backed out
#[derive(clap::Parser)]
struct VerifyArgs {
    #[command(flatten)]
    common: VerbOptions,
    /// The directory that holds the undo data, when it was moved
    #[arg(long, value_name = "DIR")]
    undo_dir: Option<PathBuf>,
    /// Applied patches and installed packages; everything where none is named
    #[arg(value_name = "ID|PKG")]
    names: Vec<String>,
}

/// The answer of the verb: objects, patches, and what was left half applied.
#[derive(Serialize)]
struct VerifyReply {
    sound: bool,
    /// What is wrong with the records themselves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    records: Vec<DamagedRecord>,
    checked: usize,
    discrepancies: Vec<VerifyDiscrepancy>,
    patches: Vec<PatchState>,
    interrupted: Vec<HalfApplied>,
    /// The number of patches whose undo data is damaged.
    #[serde(skip)]
    damaged: usize,
}

/// A record that is damaged, or that another one contradicts.
#[derive(Serialize)]
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
#[derive(Serialize)]
struct HalfApplied {
    id: String,
    package: String,
    reason: String,
    #[serde(skip)]
    sentence: String,
}

#[derive(Serialize)]
struct VerifyDiscrepancy {
    path: String,
    errors: Vec<String>,
}

#[derive(Serialize)]
struct PatchState {
    id: String,
    removable: bool,
    /// That of patchrm(1M) if it were called now.
    code: u8,
    reason: String,
    undo: Vec<UndoEntry>,
}

#[derive(Serialize)]
struct UndoEntry {
    package: String,
    state: &'static str,
    path: Option<String>,
    bytes: Option<u64>,
    run: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Runs the verb. Exit 0 if all is well, 1 if objects are not as recorded, a record is damaged, or a patch was left half applied, 4 or 12 if undo
/// data is damaged or gone, 2 for a name that is none, 65 while a change is unfinished.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: VerifyArgs = parse(call, USAGE)?;
    let root = args.common.root.open(call)?;
    // Nothing is changed, so a signal may end it at any moment.
    let report = verify(
        &root,
        &args.names,
        args.undo_dir.as_deref(),
        call.surroundings.processors,
        &now(&call.surroundings),
    )
    .map_err(refused)?;
    let exit = exit_of(&report);
    Ok(Reply::about(&root, exit, VerifyReply::of(&report, &root, call.surroundings.zone, exit)))
}

/// Undo data that is gone for good counts more than a file, which a package can bring again.
fn exit_of(report: &VerifyReport) -> Exit {
    let codes: Vec<Exit> = report.patches.iter().filter_map(VerifiedPatch::damage).map(code_of).collect();
    if codes.contains(&DAMAGED) {
        return DAMAGED;
    }
    let is_edited = || report.wrong().next().is_some() || !report.interrupted.is_empty();
    let of_records = || match (report.damage.is_empty(), is_edited()) {
        (false, _) => Exit::failed(ExitCause::DamagedRecord),
        (true, true) => Exit::failed(ExitCause::Edited),
        (true, false) => Exit::OK,
    };
    codes.first().copied().unwrap_or_else(of_records)
}

fn code_of(damage: UndoDamage<'_>) -> Exit {
    match damage {
        UndoDamage::Archive(ArchiveError::Missing { remote: true, .. } | ArchiveError::Outside { .. }) => {
            ELSEWHERE
        }
        _ => DAMAGED,
    }
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
    /// Prints the objects first, then patch by patch, and at the end what it comes to.
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        for DamagedRecord { sentence, advice, .. } in &self.records {
            output.line(sentence)?;
            output.line(format!("  {advice}"))?;
        }
        for VerifyDiscrepancy { path, errors } in &self.discrepancies {
            output.line(path)?;
            errors.iter().try_for_each(|error| output.line(format!("  {error}")))?;
        }
        for PatchState { id, removable, reason, undo, .. } in &self.patches {
            output.line(match removable {
                true => format!("{id}: can be backed out"),
                false => format!("{id}: cannot be backed out: {reason}"),
            })?;
            undo.iter().try_for_each(|undo| output.line(format!("  {}: {}", undo.package, undo.words())))?;
        }
        for half in &self.interrupted {
            if self.patches.iter().all(|one| one.id != half.id) {
                output.line(&half.sentence)?;
            }
        }
        Ok(output.line(self.summary())?)
    }
}

impl VerifyReply {
    fn of(report: &VerifyReport, root: &Root, zone: Zone, exit: Exit) -> Self {
        let wording = Wording::of_verbs(root.prefix());
        let discrepancies = report.wrong().map(|checked| VerifyDiscrepancy {
            path: root.show(&checked.path),
            errors: checked.findings.iter().map(|finding| finding::detail(finding, zone)).collect(),
        });
        Self {
            sound: exit == Exit::OK,
            records: report.damage.iter().map(DamagedRecord::of).collect(),
            checked: report.objects.len(),
            discrepancies: discrepancies.collect(),
            patches: report.patches.iter().map(PatchState::of).collect(),
            interrupted: report.interrupted.iter().map(|half| HalfApplied::of(half, &wording)).collect(),
            damaged: report.patches.iter().filter_map(VerifiedPatch::damage).count(),
        }
    }

    /// The result in one line.
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
        let records = match self.records.len() {
            0 => String::new(),
            1 => "1 record is damaged; ".to_owned(),
            damaged => format!("{damaged} records are damaged; "),
        };
        let half = if self.interrupted.is_empty() { "" } else { "; a patch was left half applied" };
        format!("{records}{objects}; {archives}{half}.")
    }
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
        let (code, reason) = match &patch.backout {
            Ok(()) => (Exit::OK, String::new()),
            Err(failed) => (failure::code(Command::Patchrm, failed), failure::reason(failed)),
        };
        Self {
            id: patch.id.to_string(),
            removable: patch.backout.is_ok(),
            code: code.code(),
            reason,
            undo: patch.archives.iter().map(UndoEntry::of).collect(),
        }
    }
}

impl UndoEntry {
    fn words(&self) -> String {
        let size = human(self.bytes.unwrap_or_default());
        match (&self.error, &self.path, &self.run) {
            (Some(error), ..) => error.clone(),
            (None, None, _) => "no undo data".to_owned(),
            (None, Some(path), Some(_)) => format!("{path} is sound ({size})"),
            (None, Some(path), None) => {
                format!("{path} is sound ({size}; of another program, checked by its pkgmap)")
            }
        }
    }

    fn of(archive: &ArchiveVerdict) -> Self {
        let entry = |state| Self {
            package: archive.package.to_string(),
            state,
            path: None,
            bytes: None,
            run: None,
            error: None,
        };
        match &archive.state {
            ArchiveState::None => entry("none"),
            ArchiveState::Sound { path, bytes, run } => {
                Self { path: Some(path.clone()), bytes: Some(*bytes), run: run.clone(), ..entry("sound") }
            }
            ArchiveState::Unusable(error @ ArchiveError::Missing { path, .. }) => {
                Self { path: Some(path.clone()), error: Some(error.to_string()), ..entry("missing") }
            }
            ArchiveState::Unusable(error) => Self { error: Some(error.to_string()), ..entry("damaged") },
        }
    }
}
