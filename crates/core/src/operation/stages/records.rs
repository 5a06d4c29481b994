//! Records about stages in a root, and records copied into a stage.

use std::collections::{BTreeMap, BTreeSet};

use super::StageError;
use super::own_files::{Stage, StageRecord, other_writer, read_stages, recorded_name};
use crate::operation::content::NoContent;
use crate::operation::failure::Failure;
use crate::operation::session::{STAGE_REFRESH, Session};
use patchadm_changeset::records::root_id_text;
use patchadm_changeset::transaction::Receipt;
use patchadm_inputs::stage::{FIRST_BASE, ListedStage, StageId, StageRights, StagesRecord, stages_record};
use patchadm_planning::plan::{Plan, RecordChange};
use patchadm_rootfs::{Digest, Root};
use patchadm_svr4::package::{Mode, ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchId;
use patchadm_svr4::places;

/// For runs without packages.
const NO_PACKAGE: &str = "patchadm";

const PROGRAM: &str = "patchadm-stage";

const OF_RUNS: [&[u8]; 10] = [
    b"journal",
    b"journal.new",
    b"history",
    b"attempts",
    b"log",
    b"stage",
    b"stages",
    b"contents.stamp",
    b"script.lock",
    b"root-id",
];

pub(super) fn staged_records(path: &ObjectPath) -> bool {
    if places::BESIDE_CONTENTS.iter().any(|file| file.as_bytes() == path.as_bytes()) {
        return false;
    }
    if path.parent_bytes() != Some(places::OWN_DIRECTORY.as_bytes()) {
        return true;
    }
    let name = path.name();
    let is_of_run = [&b"ops-"[..], b"journal.damaged-", b"root-id.damaged-", b"."];
    !OF_RUNS.contains(&name) && !is_of_run.iter().any(|start| name.starts_with(start))
}

/// A run of its own, durable afterwards.
pub(super) fn record_stage(session: &Session<'_>, stage: ListedStage) -> Result<Receipt, StageError> {
    let mut stages = read_stages(&session.ground.root)?;
    stages.add(stage);
    write(session, &stages, session.caller.program)
}

/// A run of its own; `None` if the stage is not listed.
pub fn forget_stage(session: &Session<'_>, id: StageId) -> Result<Option<Receipt>, StageError> {
    let mut stages = read_stages(&session.ground.root)?;
    let is_listed = stages.remove(id);
    if is_listed { write(session, &stages, session.caller.program).map(Some) } else { Ok(None) }
}

/// A run of its own, after a refresh. `sound` are recorded bases. A stage listed by version 0.1 gets its rights if only
/// the superuser can have written it.
pub(super) fn record_bases(
    session: &Session<'_>,
    stage: &Stage,
    sound: &[Vec<u8>],
) -> Result<Option<Receipt>, StageError> {
    let mut rights = match &stage.record {
        StageRecord::None | StageRecord::Elsewhere => return Ok(None),
        StageRecord::Rights(rights) => rights.clone(),
        StageRecord::Earlier => {
            let root = &session.ground.root;
            if !root.is_privileged() || other_writer(&stage.root, true, !root.is_trusted())?.is_some() {
                return Ok(None);
            }
            StageRights { owner: 0, owners: stage.identity.owners, bases: BTreeMap::new() }
        }
    };
    for name in sound {
        if let Some(known_as) = recorded_name(name) {
            rights.bases.insert(known_as, stage.seal(name)?);
        }
    }
    let mut stages = read_stages(&session.ground.root)?;
    let is_new = stages.record(stage.identity.id, rights);
    if is_new { write(session, &stages, STAGE_REFRESH).map(Some) } else { Ok(None) }
}

/// `None` if the root records no bases of the stage. Keeps bases of applied promotions, and the first one.
pub(super) fn promotion_base(
    root: &Root,
    stage: &Stage,
    (id, seal): (&PatchId, Digest),
    applied: &BTreeSet<PatchId>,
) -> Result<Option<RecordChange>, StageError> {
    let StageRecord::Rights(rights) = &stage.record else { return Ok(None) };
    let mut rights = rights.clone();
    let is_needed = |name: &str| name == FIRST_BASE || applied.iter().any(|id| id.as_str() == name);
    rights.bases.retain(|name, _| is_needed(name));
    rights.bases.insert(id.to_string(), seal);
    let mut stages = read_stages(root)?;
    Ok(stages.record(stage.identity.id, rights).then(|| change(&stages)))
}

fn change(stages: &StagesRecord) -> RecordChange {
    let bytes = stages.write();
    if bytes.is_empty() {
        RecordChange::RemoveFile(stages_record())
    } else {
        RecordChange::Write { path: stages_record(), bytes, mode: Mode::of(0o644), mtime: None }
    }
}

fn write(session: &Session<'_>, stages: &StagesRecord, command: &'static str) -> Result<Receipt, StageError> {
    let package = PkgInst::new(NO_PACKAGE).map_err(|error| Failure::BadId(error.to_string()))?;
    let empty = Plan::empty(command, session.caller.now.trailer(command, &package));
    let plan = Plan { records: vec![change(stages)], ..empty };
    Ok(session.perform(&plan, &mut NoContent, None, String::new())?)
}

pub(super) fn put_marker(stage: &Root, marker: &str) -> Result<(), StageError> {
    let place = places::own_directory();
    let above = stage.dir(&place.parent().unwrap_or_else(ObjectPath::root))?;
    let own = match above.make_dir(place.name(), Mode::of(0o755)) {
        Err(error) if error.errno() == Some(rustix::io::Errno::EXIST) => above.dir(place.name())?,
        made => made?,
    };
    own.replace_file(PROGRAM, places::root_id().name(), &root_id_text(marker), Mode::of(0o644))?;
    own.sync()?;
    Ok(above.sync()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_along_and_what_is_about_runs_of_the_root_does_not() {
        let comes = |path: &str| staged_records(&ObjectPath::new(path.as_bytes()).unwrap());
        for path in [
            "/var/sadm/install/contents",
            "/var/sadm/install/admin/default",
            "/var/sadm/pkg/ACMEweb/save/100-01/undo.gz",
            "/var/sadm/patch/100-01/log",
            "/var/sadm/patchadm/ledger/ACMEweb",
            "/var/sadm/patchadm/unprivileged",
            "/var/sadm/pkg/journal",
        ] {
            assert!(comes(path), "{path}");
        }
        for path in [
            "/var/sadm/install/.lockfile",
            "/var/sadm/patchadm/journal",
            "/var/sadm/patchadm/ops-17-9c1d6f20aa31b7e4",
            "/var/sadm/patchadm/history",
            "/var/sadm/patchadm/attempts",
            "/var/sadm/patchadm/log",
            "/var/sadm/patchadm/stage",
            "/var/sadm/patchadm/stages",
            "/var/sadm/patchadm/root-id",
        ] {
            assert!(!comes(path), "{path}");
        }
    }
}
