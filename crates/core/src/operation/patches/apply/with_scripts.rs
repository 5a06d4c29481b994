//! Applies a patch with scripts in a run of its own, from prepatch to postpatch.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::operands::ApplyOperand;
use super::plan::{ApplyInput, PlannedApplication, PlannedOperand, Position, plan, settle_libraries};
use super::request::ApplyOutcome;
use crate::operation::failure::Failure;
use crate::operation::log;
use crate::operation::patches::in_use::in_use;
use crate::operation::patches::scripts::response::ApplyResponse;
use crate::operation::patches::scripts::run::{PatchInstall, PatchScripts, ScriptDirection};
use crate::operation::session::Session;
use patchadm_changeset::transaction::{Receipt, RootCondition};
use patchadm_inputs::inventory::Inventory;
use patchadm_planning::plan::package::install::OfPatch;
use patchadm_planning::plan::patch::engine::Bookkeeping;
use patchadm_planning::plan::patch::patch_plan::{PackagePlan, PatchPlan};
use patchadm_rootfs::Dir;
use patchadm_svr4::format::response::UnwritableValue;
use patchadm_svr4::package::Params;
use patchadm_svr4::patch::PatchMacros;

pub(super) fn apply_with_scripts(
    session: &Session<'_>,
    input: &ApplyInput<'_>,
    one: PlannedOperand<'_>,
) -> ApplyOutcome {
    let operand = one.operand;
    let (mut patch_plan, inventory) = match one.planned.map(PlannedApplication::finished) {
        Ok(planned) => (planned.patch_plan, planned.inventory),
        Err(failure) => return operand.refused(failure),
    };
    // After the switch, the old files have no paths.
    let in_use = in_use(&session.ground.root, &patch_plan.plan);
    let is_saved = !patch_plan.no_undo && !patch_plan.again;
    let patch = OfPatch { id: operand.shown_id(), is_saved, is_applied: true };
    let installing = PatchInstall::new(&input.request.scripts, input.options.scripts.clone(), patch);
    let application = ScriptedApplication { session, input, operand };
    let new = application.new_archives(&patch_plan);
    let done = application.perform(&installing, &mut patch_plan, &mut inventory.unwrap_or_default());
    if let Err(failure) = &done
        && matches!(failure.left(), RootCondition::Unchanged | RootCondition::RolledBack)
    {
        for place in &new {
            remove_archive(place);
        }
    }
    operand.performed(patch_plan, in_use, done)
}

struct ScriptedApplication<'a> {
    session: &'a Session<'a>,
    input: &'a ApplyInput<'a>,
    operand: &'a ApplyOperand,
}

/// Removes an archive that scripts made outside the root, and its directories if empty. Errors are ignored: the archive
/// is only in the way.
fn remove_archive(place: &Path) {
    let Ok(dir) = Dir::of_host(place) else { return };
    for name in ["undo", "undo.Z", "undo.gz"] {
        let _ = dir.remove(name.as_bytes());
    }
    for directory in [Some(place), place.parent()].into_iter().flatten() {
        let (Some(above), Some(name)) = (directory.parent(), directory.file_name()) else { return };
        let _ = Dir::of_host(above).and_then(|above| above.remove_dir(name.as_bytes()));
    }
}

impl ScriptedApplication<'_> {
    fn perform(
        &self,
        installing: &PatchInstall,
        patch_plan: &mut PatchPlan,
        inventory: &mut Inventory,
    ) -> Result<Receipt, Failure> {
        let (session, device) = (self.session, &self.operand.device);
        device.source.verify(&device.image)?;
        let packages = patch_plan.parts.iter().map(|part| device.delivered(part.index));
        let packages = packages.collect::<Result<Vec<_>, _>>()?;
        let add = installing.input(session);
        let mut scripts =
            PatchScripts::open(session, add, ScriptDirection::Apply, patch_plan, &packages, None)?;
        if scripts.before()? {
            (*patch_plan, *inventory) = self.planned(BTreeMap::new())?;
        }
        let build = scripts.build_directory()?;
        let mut ready = scripts.ready(&patch_plan.parts, &packages, |part, delivered| {
            self.response(patch_plan, part, &delivered.image.params, inventory, &build)
        })?;
        let by_program = ready.iter().filter(|one| one.part.chosen.bookkeeping == Bookkeeping::Program);
        let answers: BTreeMap<usize, Params> =
            by_program.map(|one| (one.part.index, one.answers.params.clone())).collect();
        if answers.values().any(|params| params.iter().next().is_some()) {
            (*patch_plan, *inventory) = self.planned(answers)?;
            for (package, part) in ready.iter_mut().zip(&patch_plan.parts) {
                package.part = part.clone();
            }
        }
        let log = log::of_patch(&patch_plan.plan);
        scripts.perform(patch_plan, &ready, inventory, &mut device.content(), log)
    }

    fn planned(&self, answers: BTreeMap<usize, Params>) -> Result<(PatchPlan, Inventory), Failure> {
        let (mut patch_plan, inventory) = plan(self.input, self.operand, answers)?;
        let of = (&patch_plan.plan, &inventory);
        let libraries = settle_libraries(&mut self.input.keeper(), self.operand, of, Position::Alone)?;
        if let Some(libraries) = libraries {
            libraries.apply(&mut patch_plan);
        }
        Ok((patch_plan, inventory))
    }

    /// Skips places where something exists.
    fn new_archives(&self, patch_plan: &PatchPlan) -> Vec<PathBuf> {
        let Some(directory) = &self.input.options.undo_dir else { return Vec::new() };
        let id = patch_plan.plan.patches.first().map(String::as_str).unwrap_or_default();
        let by_scripts = |part: &&PackagePlan| part.chosen.bookkeeping == Bookkeeping::Scripts;
        let places = patch_plan.parts.iter().filter(by_scripts);
        let places = places.map(|part| directory.join(id).join(part.package.as_str()));
        places.filter(|place| place.symlink_metadata().is_err()).collect()
    }

    fn response(
        &self,
        patch_plan: &PatchPlan,
        part: &PackagePlan,
        delivered: &Params,
        inventory: &Inventory,
        build: &Path,
    ) -> Result<Vec<u8>, UnwritableValue> {
        let separator = &self.input.ground.policy.separator;
        let obsoletes = PatchMacros::from_params(delivered, separator).ok().flatten();
        let obsoletes = obsoletes.map(|delivered| delivered.obsoletes.to_string()).unwrap_or_default();
        let none = Params::new();
        let installed = inventory.packages.get(&part.package).map_or(&none, |installed| &installed.params);
        let applying = ApplyResponse {
            patch: patch_plan.plan.patches.first().map(String::as_str).unwrap_or_default(),
            obsoletes: &obsoletes,
            unconditional: self.input.options.unconditional,
            // The present state is no longer that before the patch.
            no_undo: patch_plan.no_undo || patch_plan.again,
            undo_dir: self.input.options.undo_dir.as_deref(),
            build_dir: build,
            delivered,
            installed,
        };
        applying.text()
    }
}
