//! `patchadm verify`: files against records, undo archives against their digests, and which patches could be backed out.

use std::path::PathBuf;

use serde::Serialize;

use super::caller::occasion;
use super::exit::{Exit, Stop};
use super::options::parse;
use super::surroundings::Zone;
use super::text::finding;
use super::verb::Common;
use super::words::human;
use super::{Invocation, failure, json};
use crate::database::archive::ArchiveError;
use crate::operation::check::CheckError;
use crate::operation::failure::Failure;
use crate::operation::queries::verify::{Archive, Damage, Patch, Report, State, VerifyError, verify};
use crate::plan::interrupted::Interrupted;
use crate::plan::refusal::Command;
use crate::root::Root;

const USAGE: &str = "patchadm [-R root] verify [id|pkg...]";

/// Undo data is damaged or gone, and it is not where the records say: the codes of patchrm(1M).
const DAMAGED: Exit = Exit::new(4);
const ELSEWHERE: Exit = Exit::new(12);

/// A name that is neither a patch nor a package: the code of patchrm(1M) for a patch that is not applied.
const UNKNOWN: Exit = Exit::new(2);

/// Check files against records and undo archives against their digests, and say which patches could be backed out
#[derive(clap::Parser)]
struct Args {
    #[command(flatten)]
    common: Common,
    /// The directory that holds the undo data, when it was moved
    #[arg(long, value_name = "DIR")]
    undo_dir: Option<PathBuf>,
    /// Applied patches and installed packages; everything where none is named
    #[arg(value_name = "ID|PKG")]
    names: Vec<String>,
}

/// The document.
#[derive(Serialize)]
struct Body {
    sound: bool,
    checked: usize,
    discrepancies: Vec<Discrepancy>,
    patches: Vec<Entry>,
    interrupted: Vec<Half>,
}

/// A patch that a tool without recovery left half applied.
#[derive(Serialize)]
struct Half {
    id: String,
    package: String,
    reason: String,
}

#[derive(Serialize)]
struct Discrepancy {
    path: String,
    errors: Vec<String>,
}

#[derive(Serialize)]
struct Entry {
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

/// Runs it. Exit 0 if all is well, 1 if objects are not as recorded or a patch was left half applied, 4 or 12 if undo
/// data is damaged or gone, 2 for a name that is none, 65 while a change is unfinished.
pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Exit> {
    let args: Args = parse(call, USAGE)?;
    let root = args.common.root.open(call)?;
    // Nothing is changed, so a signal may end it at any moment.
    let report = verify(
        &root,
        &args.names,
        args.undo_dir.as_deref(),
        call.surroundings.processors,
        &occasion(&call.surroundings),
    )
    .map_err(refused)?;
    let exit = exit_of(&report);
    if args.common.extensions.json {
        let body = Body::of(&report, &root, call.surroundings.zone, exit);
        call.output.print(json::document("verify", Some(&root), exit, body)?)?;
        return Ok(exit);
    }
    tell(call, &root, &report)?;
    Ok(exit)
}

/// Undo data that is gone for good counts more than a file, which a package can bring again.
fn exit_of(report: &Report) -> Exit {
    let codes: Vec<Exit> = report.patches.iter().filter_map(Patch::damage).map(code_of).collect();
    if codes.contains(&DAMAGED) {
        return DAMAGED;
    }
    let is_wrong = || report.wrong().next().is_some() || !report.interrupted.is_empty();
    codes.first().copied().unwrap_or_else(|| if is_wrong() { Exit::FAILED } else { Exit::OK })
}

fn code_of(damage: Damage<'_>) -> Exit {
    match damage {
        Damage::Archive(ArchiveError::Missing { remote: true, .. } | ArchiveError::Outside { .. }) => {
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

/// Objects first, then patch by patch, and at the end what it comes to.
fn tell(call: &mut Invocation, root: &Root, report: &Report) -> anyhow::Result<()> {
    let zone = call.surroundings.zone;
    for checked in report.wrong() {
        call.output.line(root.show(&checked.path))?;
        for finding in &checked.findings {
            call.output.line(format!("  {}", finding::detail(finding, zone)))?;
        }
    }
    for patch in &report.patches {
        call.output.line(match reason(patch) {
            None => format!("{}: can be backed out", patch.id),
            Some(reason) => format!("{}: cannot be backed out: {reason}", patch.id),
        })?;
        for archive in &patch.archives {
            call.output.line(format!("  {}: {}", archive.package, told(archive)))?;
        }
    }
    for half in report.interrupted.iter().filter(|half| report.patches.iter().all(|one| one.id != half.patch))
    {
        call.output.line(half.told())?;
    }
    let (wrong, damaged) = (report.wrong().count(), report.patches.iter().filter_map(Patch::damage).count());
    let objects = match (report.objects.len(), wrong) {
        (all, 0) => format!("{all} objects are as recorded"),
        (all, wrong) => format!("{wrong} of {all} objects {} not as recorded", are(wrong)),
    };
    let archives = match damaged {
        0 => "no undo data is damaged".to_owned(),
        1 => "undo data of 1 patch is damaged".to_owned(),
        damaged => format!("undo data of {damaged} patches is damaged"),
    };
    let half = match report.interrupted.len() {
        0 => "",
        _ => "; a patch was left half applied",
    };
    call.output.line(format!("{objects}; {archives}{half}."))?;
    Ok(())
}

fn are(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

/// Why a patch could not be backed out now.
fn reason(patch: &Patch) -> Option<String> {
    match &patch.backout {
        Ok(()) => None,
        Err(Failure::Refused(refusal)) => Some(refusal.why()),
        Err(failed) => Some(failed.to_string()),
    }
}

fn told(archive: &Archive) -> String {
    match &archive.state {
        State::None => "no undo data".to_owned(),
        State::Sound { path, bytes, run: Some(_) } => format!("{path} is sound ({})", human(*bytes)),
        State::Sound { path, bytes, run: None } => {
            let what = "of another program, checked by its pkgmap";
            format!("{path} is sound ({}; {what})", human(*bytes))
        }
        State::Unusable(error) => error.to_string(),
    }
}

impl Body {
    fn of(report: &Report, root: &Root, zone: Zone, exit: Exit) -> Self {
        let discrepancies = report.wrong().map(|checked| Discrepancy {
            path: root.show(&checked.path),
            errors: checked.findings.iter().map(|finding| finding::detail(finding, zone)).collect(),
        });
        Self {
            sound: exit == Exit::OK,
            checked: report.objects.len(),
            discrepancies: discrepancies.collect(),
            patches: report.patches.iter().map(Entry::of).collect(),
            interrupted: report.interrupted.iter().map(Half::of).collect(),
        }
    }
}

impl Half {
    fn of(half: &Interrupted) -> Self {
        Self { id: half.patch.to_string(), package: half.package.to_string(), reason: half.refusal().why() }
    }
}

impl Entry {
    fn of(patch: &Patch) -> Self {
        let code =
            patch.backout.as_ref().err().map_or(Exit::OK, |failed| failure::code(Command::Patchrm, failed));
        Self {
            id: patch.id.to_string(),
            removable: patch.backout.is_ok(),
            code: code.code(),
            reason: reason(patch).unwrap_or_default(),
            undo: patch.archives.iter().map(UndoEntry::of).collect(),
        }
    }
}

impl UndoEntry {
    fn of(archive: &Archive) -> Self {
        let entry = |state| Self {
            package: archive.package.to_string(),
            state,
            path: None,
            bytes: None,
            run: None,
            error: None,
        };
        match &archive.state {
            State::None => entry("none"),
            State::Sound { path, bytes, run } => {
                Self { path: Some(path.clone()), bytes: Some(*bytes), run: run.clone(), ..entry("sound") }
            }
            State::Unusable(error @ ArchiveError::Missing { path, .. }) => {
                Self { path: Some(path.clone()), error: Some(error.to_string()), ..entry("missing") }
            }
            State::Unusable(error) => Self { error: Some(error.to_string()), ..entry("damaged") },
        }
    }
}
