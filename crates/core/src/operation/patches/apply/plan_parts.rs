//! The parts of a plan file that are made of a plan: objects, records, and what is there before anything is done.

use std::collections::BTreeSet;

use crate::operation::failure::Failure;
use patchadm_changeset::format::manifest::{RecordedState, decode, encode};
use patchadm_inputs::format::plan_file::{
    FoundObject, PlanFile, PlannedChange, PlannedLibrary, PlannedRecord, PlannedState,
};
use patchadm_inputs::sign::{sha256, sha256_text};
use patchadm_planning::plan::kept_libraries::{LibraryReport, ToldConsumer};
use patchadm_planning::plan::{Action, Body, Change, NewObject, Plan, RecordChange, TreeContent};
use patchadm_rootfs::Root;
use patchadm_svr4::package::{Mode, ObjectPath};
use patchadm_svr4::places;

/// What a change does to its object.
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

/// The files of a record that changes.
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

/// The libraries that a plan is about.
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

/// The digest of a record with its dates blanked: those of `INSTDATE` and of `PATCH_INFO_` lines. `UPDATE`, which every run
/// sets, does not count: plans of earlier versions do not have it.
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

/// What is there now of all that changes, the `pkginfo` of each package concerned, and what an expected plan found where
/// this one changes nothing any more.
pub(in crate::operation) fn found(
    root: &Root,
    plans: &[&Plan],
    expected: Option<&PlanFile>,
) -> Result<Vec<FoundObject>, Failure> {
    let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
    let plans = || plans.iter().copied();
    // A patch behind others is planned against what those leave; what is there is what the first one finds.
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

/// What is at a path.
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
