//! Applying a patch whose scripts take part.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::batch::{PlannedOperand, PlannedPatch};
use super::input::ApplyInput;
use super::libraries::{Position, settle};
use super::operands::ApplyOperand;
use super::planning::plan;
use super::request::ApplyOutcome;
use crate::operation::failure::Failure;
use crate::operation::log;
use crate::operation::patches::in_use::in_use;
use crate::operation::patches::scripts::PatchScriptRequest;
use crate::operation::patches::scripts::install::PatchInstall;
use crate::operation::patches::scripts::patch::{PatchScripts, ScriptDirection};
use crate::operation::patches::scripts::response::ApplyResponse;
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

/// Applies a patch whose scripts take part.
pub(super) fn apply_with_scripts(
    session: &Session<'_>,
    input: &ApplyInput<'_>,
    request: &PatchScriptRequest,
    one: PlannedOperand<'_>,
) -> ApplyOutcome {
    let operand = one.operand;
    let (mut scripted, inventory) = match one.planned.map(PlannedPatch::finished) {
        Ok(planned) => (planned.scripted, planned.inventory),
        Err(failure) => return operand.refused(failure),
    };
    // Before the switch: afterwards the old files have no path any more.
    let in_use = in_use(&session.ground.root, &scripted.plan);
    let is_saved = !scripted.no_undo && !scripted.again;
    let patch = OfPatch { id: operand.shown_id(), is_saved, is_applied: true };
    let installing = PatchInstall::new(request, input.options.scripts.clone(), patch);
    let application = ScriptedApplication { session, input, operand };
    let new = application.new_archives(&scripted);
    let done = application.carry_out(&installing, &mut scripted, &mut inventory.unwrap_or_default());
    if let Err(failure) = &done
        && matches!(failure.left(), RootCondition::Unchanged | RootCondition::RolledBack)
    {
        for place in &new {
            remove_archive(place);
        }
    }
    operand.carried_out(scripted, in_use, done)
}

/// A patch to be applied.
struct ScriptedApplication<'a> {
    session: &'a Session<'a>,
    input: &'a ApplyInput<'a>,
    operand: &'a ApplyOperand,
}

/// Removes an undo archive that scripts made outside the root, with the directories for package and patch where those
/// are empty then. What cannot be removed is in nobody's way.
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
    fn carry_out(
        &self,
        installing: &PatchInstall,
        scripted: &mut PatchPlan,
        inventory: &mut Inventory,
    ) -> Result<Receipt, Failure> {
        let (session, device) = (self.session, &self.operand.device);
        device.source.verify(&device.image)?;
        let packages = scripted.parts.iter().map(|part| device.delivered(part.index));
        let packages = packages.collect::<Result<Vec<_>, _>>()?;
        let add = installing.input(session);
        let mut scripts =
            PatchScripts::open(session, add, ScriptDirection::Apply, scripted, &packages, None)?;
        if scripts.before()? {
            (*scripted, *inventory) = self.planned(BTreeMap::new())?;
        }
        let build = scripts.build_directory()?;
        let mut ready = scripts.ready(&scripted.parts, &packages, |part, delivered| {
            self.response(scripted, part, &delivered.image.params, inventory, &build)
        })?;
        let by_program = ready.iter().filter(|one| one.part.chosen.bookkeeping == Bookkeeping::Program);
        let answers: BTreeMap<usize, Params> =
            by_program.map(|one| (one.part.index, one.answers.params.clone())).collect();
        if answers.values().any(|params| params.iter().next().is_some()) {
            (*scripted, *inventory) = self.planned(answers)?;
            for (package, part) in ready.iter_mut().zip(&scripted.parts) {
                package.part = part.clone();
            }
        }
        let log = log::of_patch(&scripted.plan);
        scripts.perform(scripted, &ready, inventory, &mut device.content(), log)
    }

    /// The plan once more, after scripts have said or done something.
    fn planned(&self, answers: BTreeMap<usize, Params>) -> Result<(PatchPlan, Inventory), Failure> {
        let (mut scripted, inventory) = plan(self.input, self.operand, answers)?;
        let of = (&scripted.plan, &inventory);
        if let Some(settled) = settle(&mut self.input.keeper(), self.operand, of, Position::Alone)? {
            settled.apply(&mut scripted);
        }
        Ok((scripted, inventory))
    }

    /// Where scripts will make undo archives outside the root, and nothing is yet.
    fn new_archives(&self, scripted: &PatchPlan) -> Vec<PathBuf> {
        let Some(directory) = &self.input.options.undo_dir else { return Vec::new() };
        let id = scripted.plan.patches.first().map(String::as_str).unwrap_or_default();
        let by_scripts = |part: &&PackagePlan| part.chosen.bookkeeping == Bookkeeping::Scripts;
        let places = scripted.parts.iter().filter(by_scripts);
        let places = places.map(|part| directory.join(id).join(part.package.as_str()));
        places.filter(|place| place.symlink_metadata().is_err()).collect()
    }

    /// The response file for the scripts of a package.
    fn response(
        &self,
        scripted: &PatchPlan,
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
            patch: scripted.plan.patches.first().map(String::as_str).unwrap_or_default(),
            obsoletes: &obsoletes,
            unconditional: self.input.options.unconditional,
            // what is there now is no longer what was there before the patch
            no_undo: scripted.no_undo || scripted.again,
            undo_dir: self.input.options.undo_dir.as_deref(),
            build_dir: build,
            delivered,
            installed,
        };
        applying.text()
    }
}
