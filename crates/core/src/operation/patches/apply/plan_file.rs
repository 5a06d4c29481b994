//! Makes plan files from the outcomes of a rehearsal.

use std::collections::BTreeSet;

use super::operands::{ApplyOperand, OpenedPatches, OrderedPatches};
use crate::operation::depots::digest_of_patch;
use crate::operation::failure::Failure;
use crate::operation::patches::outcome::PatchOutcome;
use crate::operation::plan_file::{PlanFault, PlanFileRequest};
use crate::operation::session::RootAndPolicy;
use patchadm_changeset::format::manifest::{RecordedState, decode, encode};
use patchadm_inputs::database::marker;
use patchadm_inputs::format::plan_file::{
    FoundObject, PLANNED, PlanFile, PlannedChange, PlannedLibrary, PlannedPatch, PlannedRecord,
    PlannedScriptRun, PlannedState,
};
use patchadm_inputs::sign::{sha256, sha256_text};
use patchadm_planning::plan::kept_libraries::{LibraryReport, ToldConsumer};
use patchadm_planning::plan::patch::engine::PlannedScript;
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_planning::plan::{Action, Body, Change, NewObject, Plan, RecordChange, TreeContent};
use patchadm_planning::resolve::{SetOutcome, SetVerdict};
use patchadm_rootfs::Root;
use patchadm_svr4::package::{Mode, ObjectPath};
use patchadm_svr4::places;

pub(super) fn made_plan(
    ground: &RootAndPolicy,
    request: &PlanFileRequest,
    (opened, ordered): (&OpenedPatches, &OrderedPatches<'_>),
    outcomes: &[PatchOutcome],
) -> Result<PlanFile, Failure> {
    let mut plan = PlanFile::new(request.command.to_owned(), request.options.clone());
    plan.root = marker(&ground.root)?;
    let applied = ground.recorded(&ground.packages()?)?;
    plan.applied = applied.iter().map(|patch| patch.id.to_string()).collect();
    for (operand, outcome) in ordered.operands.iter().zip(outcomes) {
        plan.patches.push(planned_patch(operand, outcome, ordered)?);
    }
    let unread = opened.unread.iter().map(|outcome| left_out(&outcome.id, outcome.result.as_ref().err()));
    plan.patches.extend(unread);
    plan.patches.extend(opened.left_out(ordered).map(of_verdict));
    for outcome in outcomes {
        if let (Some(made), Ok(_)) = (&outcome.plan, &outcome.result) {
            let with = (outcome.scripts.as_slice(), outcome.libraries.as_ref());
            add_changes(&mut plan, &outcome.id, made, with);
        }
    }
    let expected = request.expected.as_ref().map(|expected| &expected.plan);
    let plans: Vec<&Plan> = outcomes.iter().filter_map(|outcome| outcome.plan.as_ref()).collect();
    plan.found = found(&ground.root, &plans, expected)?;
    Ok(plan)
}

fn planned_patch(
    operand: &ApplyOperand,
    outcome: &PatchOutcome,
    ordered: &OrderedPatches<'_>,
) -> Result<PlannedPatch, Failure> {
    let path = operand.device.source.path();
    let sha256 = digest_of_patch(path).map_err(|error| PlanFault::Source { path: path.to_owned(), error })?;
    let source = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let because = ordered.because.get(&outcome.id).map(|by| format!("required by {by}"));
    let planned = match &outcome.result {
        Ok(_) => PlannedPatch {
            id: outcome.id.clone(),
            source: None,
            sha256: None,
            verdict: PLANNED.to_owned(),
            reason: because.unwrap_or_default(),
        },
        Err(failure) => left_out(&outcome.id, Some(failure)),
    };
    Ok(PlannedPatch { source: Some(source.display().to_string()), sha256: Some(sha256), ..planned })
}

pub(in crate::operation) fn left_out(id: &str, failure: Option<&Failure>) -> PlannedPatch {
    let (verdict, reason) = match failure {
        Some(Failure::Refused(refusal)) => (verdict_of(&refusal.reason), refusal.why()),
        Some(failure @ (Failure::NotTried(_) | Failure::NotWithout(_))) => ("not-tried", failure.to_string()),
        Some(failure) => ("failed", failure.to_string()),
        None => (PLANNED, String::new()),
    };
    PlannedPatch { id: id.to_owned(), source: None, sha256: None, verdict: verdict.to_owned(), reason }
}

fn of_verdict(verdict: &SetVerdict) -> PlannedPatch {
    let word = match &verdict.outcome {
        SetOutcome::Planned => PLANNED,
        SetOutcome::LeftOut(reason) => verdict_of(reason),
        SetOutcome::NotTried(_) => "not-tried",
    };
    PlannedPatch {
        id: verdict.id.clone(),
        source: None,
        sha256: None,
        verdict: word.to_owned(),
        reason: verdict.reason(),
    }
}

fn verdict_of(reason: &Reason) -> &'static str {
    reason.verdict(Command::Patchadd)
}

/// Includes scripts and libraries.
pub(in crate::operation) fn add_changes(
    plan: &mut PlanFile,
    id: &str,
    made: &Plan,
    (scripts, libraries): (&[PlannedScript], Option<&LibraryReport>),
) {
    plan.changes.extend(made.changes.iter().map(|change| planned_change(id, change)));
    plan.records.extend(made.records.iter().flat_map(planned_records));
    plan.libraries.extend(planned_libraries(id, libraries));
    plan.scripts.extend(scripts.iter().map(|script| PlannedScriptRun {
        patch: id.to_owned(),
        package: script.package.as_ref().map(ToString::to_string),
        name: script.name.clone(),
    }));
}

pub(in crate::operation) fn planned_change(patch: &str, change: &Change) -> PlannedChange {
    let (action, state) = match &change.action {
        Action::Add(new) => ("add", Some(state_of(new))),
        Action::Replace(new) => ("replace", Some(state_of(new))),
        Action::Delete => ("delete", None),
        Action::RemoveDirectory => ("remove-directory", None),
        Action::Attributes(attributes) => {
            let mode = attributes.mode.map(Mode::bits);
            let (uid, gid) = (attributes.uid, attributes.gid);
            ("attributes", Some(PlannedState { mode, uid, gid, ..PlannedState::default() }))
        }
    };
    PlannedChange {
        patch: patch.to_owned(),
        package: change.package.to_string(),
        path: encode(change.path.as_bytes()),
        action: action.to_owned(),
        state,
    }
}

fn state_of(new: &NewObject) -> PlannedState {
    let (mode, uid, gid) = (Some(new.mode.bits()), Some(new.uid), Some(new.gid));
    let kind = Some(new.body.file_type());
    let state = PlannedState { kind, mode, uid, gid, ..PlannedState::default() };
    match &new.body {
        Body::Member(member) => PlannedState { size: Some(member.size), cksum: Some(member.cksum), ..state },
        Body::CopyOf(path) | Body::Link(path) => {
            PlannedState { target: Some(encode(path.as_bytes())), ..state }
        }
        Body::Symlink(target) => {
            PlannedState { kind, target: Some(encode(target)), ..PlannedState::default() }
        }
        Body::Device { major, minor, .. } => PlannedState { device: Some((*major, *minor)), ..state },
        Body::Directory | Body::Pipe => state,
    }
}

pub(in crate::operation) fn planned_records(record: &RecordChange) -> Vec<PlannedRecord> {
    let path = encode(record.path().as_bytes());
    match record {
        RecordChange::Write { bytes, .. } => vec![PlannedRecord { path, sha256: Some(undated(bytes)) }],
        RecordChange::AddTree { files, .. } => {
            let file = |file: &patchadm_planning::plan::TreeFile| {
                let name = encode(&file.name);
                let sha256 = match &file.content {
                    TreeContent::Bytes(bytes) => Some(undated(bytes)),
                    _ => None,
                };
                PlannedRecord { path: format!("{path}/{name}"), sha256 }
            };
            files.iter().map(file).collect()
        }
        _ => vec![PlannedRecord { path, sha256: None }],
    }
}

pub(in crate::operation) fn planned_libraries(
    patch: &str,
    report: Option<&LibraryReport>,
) -> Vec<PlannedLibrary> {
    let consumers = |all: &[ToldConsumer]| {
        let lasting = all.iter().filter(|consumer| consumer.pid.is_none());
        lasting.map(|consumer| encode(consumer.path.as_bytes())).collect::<Vec<_>>()
    };
    let Some(report) = report else { return Vec::new() };
    let kept = report.kept.iter().map(|kept| PlannedLibrary {
        patch: patch.to_owned(),
        library: kept.library.clone(),
        path: kept.paths.first().map(|path| encode(path.as_bytes())).unwrap_or_default(),
        fate: "kept".to_owned(),
        consumers: consumers(&kept.consumers),
    });
    let lost = report.lost.iter().map(|lost| PlannedLibrary {
        patch: patch.to_owned(),
        library: lost.library.clone(),
        path: encode(lost.path.as_bytes()),
        fate: lost.reason.to_owned(),
        consumers: consumers(&lost.consumers),
    });
    kept.chain(lost).filter(|library| !library.consumers.is_empty()).collect()
}

/// Digest of a record without its dates: `INSTDATE` and `PATCH_INFO_` lines. `UPDATE`, which every run sets, is
/// ignored, because older plans lack it.
fn undated(bytes: &[u8]) -> String {
    let mut blanked = Vec::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        blanked.extend_from_slice(&undated_line(line));
    }
    sha256_text(&sha256(&blanked))
}

fn undated_line(line: &[u8]) -> Vec<u8> {
    const INSTALLED: &[u8] = b"Installed: ";
    const FROM: &[u8] = b" From: ";
    let place = |of: &[u8], word: &[u8]| of.windows(word.len()).position(|found| found == word);
    if line.starts_with(b"INSTDATE=") {
        return b"INSTDATE=\n".to_vec();
    }
    if line == b"UPDATE=yes\n" {
        return Vec::new();
    }
    if !line.starts_with(b"PATCH_INFO_") {
        return line.to_vec();
    }
    let Some(start) = place(line, INSTALLED) else { return line.to_vec() };
    let (before, date) = line.split_at(start + INSTALLED.len());
    let end = place(date, FROM).unwrap_or_default();
    [before, date.get(end..).unwrap_or_default()].concat()
}

/// Describes changed objects, the `pkginfo` of each package, and objects that the expected plan found but this one does
/// not change.
pub(in crate::operation) fn found(
    root: &Root,
    plans: &[&Plan],
    expected: Option<&PlanFile>,
) -> Result<Vec<FoundObject>, Failure> {
    let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
    let plans = || plans.iter().copied();
    // Only the first patch finds the present state of an object.
    for change in plans().flat_map(|plan: &Plan| &plan.changes) {
        if seen.insert(change.path.clone()) {
            let state = change.old.as_deref().map(RecordedState::of);
            found.push(FoundObject { path: encode(change.path.as_bytes()), state });
        }
    }
    let pkginfos = plans().flat_map(|plan: &Plan| &plan.packages).map(places::pkginfo);
    let other = expected.into_iter().flat_map(|plan| &plan.found);
    let other = other.filter_map(|found| ObjectPath::new(&decode(&found.path)).ok());
    for path in pkginfos.chain(other) {
        if seen.insert(path.clone()) {
            found.push(FoundObject { state: live(root, &path)?, path: encode(path.as_bytes()) });
        }
    }
    Ok(found)
}

fn live(root: &Root, path: &ObjectPath) -> Result<Option<RecordedState>, Failure> {
    let physical = root.resolver().locate_object(path)?;
    let Some(above) = physical.parent() else { return Ok(None) };
    let Some(dir) = root.dir_of_object(&above)? else { return Ok(None) };
    Ok(dir.live(path.name())?.as_ref().map(RecordedState::of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_a_record_does_not_depend_on_its_dates() {
        let record = |installed: &str, date: &str, host: &str| {
            undated(
                format!(
                    "PKG=ACMEweb\nINSTDATE={installed}\n\
                     PATCH_INFO_100-01=Installed: {date} From: {host} Obsoletes: Requires: Incompatibles:\n"
                )
                .as_bytes(),
            )
        };
        let one = record("Nov 20 2026 09:27", "Fri Nov 20 09:27:21 UTC 2026", "web1");
        assert_eq!(one, record("Jan 1 2027 10:00", "Sat Jan  2 10:00:00 UTC 2027", "web1"));
        assert_ne!(one, record("Nov 20 2026 09:27", "Fri Nov 20 09:27:21 UTC 2026", "web2"));
    }
}
