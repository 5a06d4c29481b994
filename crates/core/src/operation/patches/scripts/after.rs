//! The checks and the last records after the scripts of a package that maintain the records themselves.

use super::patch::{PatchPackage, PatchScripts, ScriptDirection};
use crate::operation::failure::Failure;
use crate::operation::scripts::run::RunHalt;
use patchadm_changeset::transaction::Cause;
use patchadm_inputs::database::RecordView;
use patchadm_inputs::database::undo_data::{ArchiveError, OutsideAccess, UndoReader};
use patchadm_inputs::inventory::{Inventory, Touched};
use patchadm_inputs::source::PackageImage;
use patchadm_planning::plan::package::install::IntendedInstall;
use patchadm_planning::plan::patch::patch_plan::PatchPlan;
use patchadm_planning::plan::patch::snapshot;
use patchadm_planning::plan::refusal::Reason;
use patchadm_planning::plan::scripted_records::{
    differing, marks_after_application, marks_after_backout, reconciled, taken_back, unsaved,
};
use patchadm_planning::plan::{Plan, RecordChange, UndoArchive};
use patchadm_rootfs::never;
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::patch::{PatchId, PatchMacros};

/// The remaining changes to the records of a package after its scripts.
pub(super) struct RecordsAfter {
    /// Its changed records.
    pub(super) records: Vec<RecordChange>,
    /// The program's own snapshot of the earlier state, to be written.
    pub(super) snapshot: Option<UndoArchive>,
    /// Sentences for the reader of a report.
    pub(super) notes: Vec<String>,
}

impl RecordsAfter {
    /// Adds the records to the last batch of the run, and the sentences to the notes of the run.
    pub(super) fn add_to(self, last: &mut Plan, notes: &mut Vec<String>) -> Result<(), Reason> {
        notes.extend(self.notes);
        last.records.extend(self.records);
        if let Some(archive) = self.snapshot {
            last.records.push(snapshot::directory(&archive, last.undo.len())?);
            last.undo.push(archive);
        }
        Ok(())
    }
}

impl PatchScripts<'_> {
    /// Reconciles the answers of a package's scripts with what the program knows.
    pub(super) fn reconcile(
        &self,
        member: &PatchPackage<'_>,
        intended: &mut IntendedInstall,
    ) -> Result<(), Failure> {
        let refuse = |reason: Reason| reason.of(self.direction.command(), &self.id);
        let (package, separator) = (&member.part.package, &self.session.ground.policy.separator);
        let id = self.patch_id().map_err(refuse)?;
        let params = match self.direction {
            ScriptDirection::Apply => {
                let (params, notes) =
                    reconciled(package, &id, &intended.params, &member.part.params, separator);
                intended.plan.notes.extend(notes);
                params
            }
            ScriptDirection::BackOut => {
                let wrong = differing(package, &id, &intended.params, &member.part.params, separator);
                if let Some(name) = wrong.first() {
                    let said = intended.params.text(name).into_owned();
                    let right = member.part.params.text(name).into_owned();
                    let reason = format!("its checkinstall says {name}={said}, it has to be <{right}>");
                    return Err(refuse(Reason::BadUndoData { package: package.clone(), reason }).into());
                }
                taken_back(&intended.params, &member.part.params)
            }
        };
        intended.set_params(params).map_err(refuse)?;
        Ok(())
    }

    pub(super) fn patch_id(&self) -> Result<PatchId, Reason> {
        let separator = &self.session.ground.policy.separator;
        PatchId::parse(&self.id, separator).map_err(|error| Reason::BadId(error.to_string()))
    }

    /// Checks what scripts made of a package, and returns the remaining changes to its records.
    pub(super) fn after_scripts(
        &self,
        scripted: &PatchPlan,
        member: &PatchPackage<'_>,
        before: &Inventory,
    ) -> Result<RecordsAfter, RunHalt> {
        let package = &member.part.package;
        let ground = &self.session.ground;
        let mut touched = Touched::default();
        touched.packages.insert(package.clone());
        let changes = scripted.plan.changes.iter().filter(|change| change.package == *package);
        touched.paths.extend(changes.map(|change| change.path.clone()));
        let planned = scripted.plan.undo.iter().find(|archive| archive.package == *package);
        touched.paths.extend(planned.map(snapshot::paths).unwrap_or_default());
        let now = ground.survey(&touched, &never)?;
        let Some(installed) = now.packages.get(package) else {
            return Err(RunHalt::Refused(Reason::NotInstalled(vec![package.to_string()])));
        };
        let (id, separator) = (self.patch_id()?, &ground.policy.separator);
        match self.direction {
            ScriptDirection::Apply => {
                let has_undo = !scripted.no_undo && !scripted.again;
                let notes = if has_undo { self.check_undo(scripted, member, &now)? } else { None };
                let delivered = &member.delivered.image.params;
                let obsoletes = PatchMacros::from_params(delivered, separator);
                let obsoletes = obsoletes.ok().flatten().map(|delivered| delivered.obsoletes);
                let obsoletes = obsoletes.unwrap_or_default();
                let records = marks_after_application(package, installed, &id, &obsoletes, separator)?;
                // If nothing is to be saved, a save directory that scripts have made nevertheless belongs to them.
                let is_theirs = scripted.no_undo && installed.saves.contains_key(id.as_str());
                let planned = planned.filter(|_| !is_theirs);
                let known = planned.zip(before.packages.get(package));
                let snapshot = known.map(|(archive, before)| snapshot::completed(archive, before, &now));
                Ok(RecordsAfter { records, snapshot, notes: notes.into_iter().collect() })
            }
            ScriptDirection::BackOut => {
                let records = marks_after_backout(package, installed, &id, separator)?;
                Ok(RecordsAfter { records, snapshot: None, notes: Vec::new() })
            }
        }
    }

    /// Checks that the undo archive made by scripts, or the program's own snapshot, holds everything that they replaced.
    /// Returns a remark on objects that only the snapshot holds.
    fn check_undo(
        &self,
        scripted: &PatchPlan,
        member: &PatchPackage<'_>,
        now: &Inventory,
    ) -> Result<Option<String>, RunHalt> {
        let package = &member.part.package;
        let bad = |reason: String| {
            let text =
                format!("the undo archive that the scripts of {package} made cannot be used: {reason}");
            RunHalt::Saving(Cause::Script(text))
        };
        let image = self.archive(member).map_err(|failure| bad(failure.to_string()))?;
        let unsaved = unsaved(
            package,
            &scripted.plan.changes,
            &member.part.mapped,
            &image,
            &member.part.params,
            &now.live,
        )?;
        let planned = scripted.plan.undo.iter().find(|archive| archive.package == *package);
        let held = planned.map(snapshot::held).unwrap_or_default();
        let (held, lost): (Vec<_>, Vec<_>) = unsaved.iter().partition(|path| held.contains(path));
        let lacks = |first: &ObjectPath, count: usize| {
            let shown = self.session.ground.root.show(first);
            let others = if count > 1 { format!(" (nor {} others)", count - 1) } else { String::new() };
            format!("it does not hold {shown} as it was{others}")
        };
        if let Some(first) = lost.first() {
            return Err(bad(lacks(first, lost.len())));
        }
        let note = held.first().map(|first| {
            let lacks = lacks(first, held.len());
            format!(
                "the undo archive that the scripts of {package} made is not enough for another tool: {lacks}; \
                 patchrm restores from the snapshot beside it"
            )
        });
        Ok(note)
    }

    fn archive(&self, member: &PatchPackage<'_>) -> Result<PackageImage, Failure> {
        let ground = &self.session.ground;
        let view = RecordView::live(&ground.root);
        let reader = UndoReader { view: &view, host: &ground.host, outside: OutsideAccess::planned() };
        let found = reader.find(&member.part.package, &self.id)?;
        found.verify_unbound(self.session.caller.interrupt)?;
        let path = found.path().to_owned();
        let mut image = found.into_image()?;
        if image.packages.len() == 1 {
            return Ok(image.packages.swap_remove(0));
        }
        let reason = "it does not hold exactly one package".to_owned();
        Err(ArchiveError::Damaged { path, reason }.into())
    }
}
