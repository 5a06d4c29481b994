//! The records of a root about stages, and the records that go into a stage.

use super::error::StageError;
use super::own_files::read_stages;
use crate::operation::content::NoContent;
use crate::operation::failure::Failure;
use crate::operation::session::Session;
use patchadm_changeset::format::root_id;
use patchadm_changeset::transaction::Receipt;
use patchadm_inputs::stage::{ListedStage, StageId, StagesRecord, stages_record};
use patchadm_planning::plan::{Plan, RecordChange};
use patchadm_rootfs::Root;
use patchadm_svr4::package::{Mode, ObjectPath, PkgInst};
use patchadm_svr4::places;

/// The placeholder for a package in the plan of a run without packages.
const NO_PACKAGE: &str = "patchadm";

/// The program name in the private names of files.
const PROGRAM: &str = "patchadm-stage";

/// The files beside the journal about a root's own runs and stages.
const OF_RUNS: [&[u8]; 9] = [
    b"journal",
    b"journal.new",
    b"history",
    b"log",
    b"stage",
    b"stages",
    b"contents.stamp",
    b"script.lock",
    b"root-id",
];

/// Returns whether a path of `var/sadm` is copied into a stage with records.
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

/// Lists a stage in a run of its own. Afterwards, no power cut removes it from the list.
pub(super) fn record_stage(session: &Session<'_>, stage: ListedStage) -> Result<Receipt, StageError> {
    let mut stages = read_stages(&session.ground.root)?;
    stages.add(stage);
    write(session, &stages)
}

/// Deletes a stage from the list of its root in a run of its own; `None` if it is not listed.
pub fn forget_stage(session: &Session<'_>, id: StageId) -> Result<Option<Receipt>, StageError> {
    let mut stages = read_stages(&session.ground.root)?;
    if stages.remove(id) { write(session, &stages).map(Some) } else { Ok(None) }
}

fn write(session: &Session<'_>, stages: &StagesRecord) -> Result<Receipt, StageError> {
    let bytes = stages.write();
    let record = if bytes.is_empty() {
        RecordChange::RemoveFile(stages_record())
    } else {
        RecordChange::Write { path: stages_record(), bytes, mode: Mode::of(0o644), mtime: None }
    };
    let package = PkgInst::new(NO_PACKAGE).map_err(|error| Failure::BadId(error.to_string()))?;
    let empty =
        Plan::empty(session.caller.program, session.caller.now.trailer(session.caller.program, &package));
    let plan = Plan { records: vec![record], ..empty };
    Ok(session.perform(&plan, &mut NoContent, None, String::new())?)
}

/// Gives the copied records of a stage the marker of their root.
pub(super) fn put_marker(stage: &Root, marker: &str) -> Result<(), StageError> {
    let place = places::own_directory();
    let above = stage.dir(&place.parent().unwrap_or_else(ObjectPath::root))?;
    let own = match above.make_dir(place.name(), Mode::of(0o755)) {
        Err(error) if error.errno() == Some(rustix::io::Errno::EXIST) => above.dir(place.name())?,
        made => made?,
    };
    own.replace_file(PROGRAM, places::root_id().name(), &root_id::write(marker), Mode::of(0o644))?;
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
            "/var/sadm/patchadm/log",
            "/var/sadm/patchadm/stage",
            "/var/sadm/patchadm/stages",
            "/var/sadm/patchadm/root-id",
        ] {
            assert!(!comes(path), "{path}");
        }
    }
}
