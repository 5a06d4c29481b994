//! pkgchk(1M): checks objects against the package database, a pkgmap, or packages on a device.

mod arguments;
mod device;
mod document;
mod lists;

use std::path::Path;

use serde::{Serialize, Serializer};

use arguments::{PkgchkArgs, USAGE};
use document::{CheckDocument, ListDocument};
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::advice::mending;
use patchadm_cli::reply::cause_of::of_database;
use patchadm_cli::reply::text::{finding, object};
use patchadm_cli::reply::words::{print_recovery, recovery_sentence};
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, ResultWord, Stop, failure};
use patchadm_cli::surroundings::{Output, Zone};
use patchadm_core::operation::check::{
    CheckError, CheckReport, CheckRequest, CheckedObject, UnmatchedOperands, check, check_and_fix, recorded,
};
use patchadm_core::operation::mend::MendedRecord;
use patchadm_inputs::database::{DatabaseError, RecordRepair, ViewError};
use patchadm_planning::plan::refusal::Command;
use patchadm_rootfs::Root;
use patchadm_svr4::package::ContentsLine;

const DAMAGED: Exit = Exit::new(DATABASE, ExitCause::DamagedRecord);

/// An unusable package database.
const DATABASE: u8 = 99;

/// Exit 0 if everything is as recorded, 1 if not, 64 if a repair finds the root locked, 65 during an unfinished change,
/// 99 for an unusable database.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: PkgchkArgs = parse(call, USAGE)?;
    let zone = call.surroundings.zone;
    let scope = args.scope()?;
    if let Some(device) = &args.device {
        return device::run(&args, device, scope, zone);
    }
    let root = if args.fix {
        args.owner.open::<PkgchkArgs>(call, &args.root, Command::Pkgadd)?
    } else {
        args.root.open(call)?
    };
    let request = args.request(scope, call.surroundings.processors)?;
    if request.map.is_none() || args.fix {
        failure::must_have_records(&root, DATABASE)?;
    }
    if args.long || args.lines {
        return list(call, &args, &root, &request);
    }
    let report = if args.fix {
        call.output.heedless();
        call.change(&root, "pkgchk", None, |caller| check_and_fix(&root, &request, caller))?
    } else {
        check(call.surroundings.reader(&root), &Root::open(Path::new("/"))?, &request)
    };
    let report = report.map_err(refused)?;
    let is_clean = report.checked.iter().all(|checked| checked.findings.is_empty());
    let exit = match (is_clean, report.damage.is_empty()) {
        (false, _) => Exit::failed(ExitCause::Edited),
        (true, false) => Exit::failed(ExitCause::DamagedRecord),
        (true, true) => Exit::OK,
    };
    let exit = exit_of_repair(&report.mended).unwrap_or(exit);
    Ok(Reply::about(&root.clone(), exit, CheckReply { report, root, zone, args }))
}

struct CheckReply {
    report: CheckReport,
    root: Root,
    zone: Zone,
    args: PkgchkArgs,
}

impl CommandReport for CheckReply {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let found = &self.report.recovered;
        print_recovery(output, recovery_sentence(found).as_deref(), found.notes())?;
        self.report.mended.iter().try_for_each(|mended| print_mended(output, mended))?;
        for damage in &self.report.damage {
            output.error(&format!("{damage}\n{}", mending(damage)))?;
        }
        print_unknown(output, &self.report.unknown, self.args.quiet)?;
        self.report.checked.iter().try_for_each(|checked| self.print_object(output, checked))
    }
}

impl CheckReply {
    /// Prints an object with its errors; `-v` names every existing object.
    fn print_object(&self, output: &mut Output, checked: &CheckedObject) -> anyhow::Result<()> {
        let Self { root, zone, args, .. } = self;
        if checked.findings.is_empty() && !args.verbose {
            return Ok(());
        }
        let path = root.show(&checked.path);
        if !(args.quiet && checked.is_missing()) {
            output.complain(finding::error(&checked.findings, &path, *zone))?;
        }
        if args.verbose && !checked.is_missing() {
            output.complain(format!("{path}\n"))?;
        }
        Ok(())
    }
}

impl Serialize for CheckReply {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        CheckDocument::of(&self.report, &self.root, self.zone, self.args.fix).serialize(serializer)
    }
}

/// Makes the long listing, or finds lines of the database.
fn list(call: &Invocation, args: &PkgchkArgs, root: &Root, request: &CheckRequest) -> anyhow::Result<Reply> {
    let (lines, unknown) = recorded(call.surroundings.reader(root), request).map_err(refused)?;
    let zone = call.surroundings.zone;
    let reply = ListReply { lines, unknown, root: root.clone(), zone, as_lines: args.lines };
    Ok(Reply::about(root, Exit::OK, reply))
}

struct ListReply {
    lines: Vec<ContentsLine>,
    unknown: UnmatchedOperands,
    root: Root,
    zone: Zone,
    /// Print lines of the database as they are.
    as_lines: bool,
}

impl CommandReport for ListReply {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        print_unknown(output, &self.unknown, true)?;
        for line in &self.lines {
            if self.as_lines {
                output.line(line.write())?;
            } else {
                output.print(object::long(line, &self.root.show(&line.path), self.zone))?;
            }
        }
        Ok(())
    }
}

impl Serialize for ListReply {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ListDocument::of(&self.lines, &self.root).serialize(serializer)
    }
}

fn print_mended(output: &mut Output, mended: &MendedRecord) -> anyhow::Result<()> {
    let MendedRecord { damage, is_made, said, .. } = mended;
    if !is_made {
        let lines: Vec<String> = said.iter().map(|line| format!("\n{line}")).collect();
        let lines = lines.concat();
        return Ok(output.error(&format!("{damage}\nnothing was changed{lines}"))?);
    }
    let outcome = match damage.repair {
        RecordRepair::Owner { .. } => "it is taken out of the file",
        _ => "it is rebuilt",
    };
    output.line(format!("{damage}: {outcome}"))?;
    said.iter().try_for_each(|line| Ok(output.line(format!("  {line}"))?))
}

/// 0 if all records are whole again, 1 if something was lost, 99 if a repair was not made.
fn exit_of_repair(mended: &[MendedRecord]) -> Option<Exit> {
    let worst = |mended: &MendedRecord| match (mended.is_made, mended.is_whole) {
        (false, _) => DAMAGED,
        (true, false) => Exit::failed(ExitCause::DamagedRecord),
        (true, true) => Exit::OK,
    };
    mended.iter().map(worst).max_by_key(|exit| exit.code())
}

/// Prints unknown operands, which do not change the exit code.
fn print_unknown(output: &mut Output, unknown: &UnmatchedOperands, no_paths: bool) -> anyhow::Result<()> {
    for word in &unknown.packages {
        output.complain(format!("WARNING: no pathnames were associated with <{word}>\n"))?;
    }
    for word in &unknown.empty {
        output.complain(format!("WARNING: Package <{word}> is installed but empty\n"))?;
    }
    for path in unknown.paths.iter().filter(|_| !no_paths) {
        output.complain(format!("WARNING: no information associated with pathname <{path}>\n"))?;
    }
    Ok(())
}

/// The code of a check that was not made.
fn refused(error: CheckError) -> anyhow::Error {
    let exit = match &error {
        CheckError::Unfinished(_) => Exit::UNFINISHED,
        CheckError::Operation(failed) => {
            let message = match failed.damage() {
                Some(damage) => format!("{failed}\n{}", mending(damage)),
                None => format!("{failed}\n{}", failure::state(failed)),
            };
            let (exit, result) = (failure::code(Command::Pkgadd, failed), ResultWord::of_failure(failed));
            return Stop::Ran { exit, result, message }.into();
        }
        CheckError::Damaged(found) => {
            let lines = found.iter().map(|damage| format!("{damage}\n{}", mending(damage)));
            let message = lines.collect::<Vec<_>>().join("\n");
            return Stop::Refused { exit: DAMAGED, message }.into();
        }
        CheckError::Database(DatabaseError::View(
            ViewError::Journal { .. } | ViewError::Lost { .. } | ViewError::Busy(_),
        ))
        | CheckError::Parameters(_) => return error.into(),
        CheckError::Database(error) => Exit::new(DATABASE, of_database(error)),
        CheckError::Map { .. } => Exit::failed(ExitCause::DamagedInput),
        CheckError::NoCategory(_) => Exit::failed(ExitCause::NotFound),
    };
    Stop::Refused { exit, message: error.to_string() }.into()
}
