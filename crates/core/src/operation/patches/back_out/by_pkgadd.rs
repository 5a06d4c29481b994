//! A backout package that pkgadd(1M) installs. If it is the root's own archive, the package is restored as by
//! patchrm(1M) with scripts: the SVR4 form lacks absent parameters, records and subsecond times. For others, scripts
//! and pkgmap decide.

use std::collections::{BTreeMap, BTreeSet};

use super::input::BackOutInput;
use super::planning::{later_patches, rules};
use super::request::BackOutRequest;
use super::undo::{StayingUndo, UndoReading, VerifiedUndo, as_later, sources, wait_for};
use crate::operation::failure::Failure;
use crate::operation::packages::scripted::add_objects;
use crate::operation::patches::scripts::run::Restoration;
use crate::operation::scripts::run::RunHalt;
use crate::operation::session::Session;
use patchadm_changeset::transaction::{ProtectedPaths, ScriptedRun};
use patchadm_inputs::database::{RecordView, all, installed};
use patchadm_inputs::inventory::Touched;
use patchadm_inputs::source::PackageImage;
use patchadm_planning::plan::RecordChange;
use patchadm_planning::plan::concern::add_backout;
use patchadm_planning::plan::patch::back_out::back_out_of_package;
use patchadm_planning::plan::patch::backout_input::{BackOutOptions, GoingPatch};
use patchadm_planning::plan::patch::patch_plan::PatchPlan;
use patchadm_planning::plan::patch::taking_over::taking_over;
use patchadm_planning::plan::script_schedule::steps::Concerned;
use patchadm_svr4::package::{ContentsLine, ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchId;
use patchadm_svr4::places;

pub(in crate::operation) struct PlayedBackout {
    undo: VerifiedUndo,
    /// Of patches that stay, and take over parameters or record files.
    later: Vec<StayingUndo>,
    patch_plan: PatchPlan,
    lines: BTreeMap<ObjectPath, ContentsLine>,
}

impl PlayedBackout {
    /// Returns the root's undo data if `package`, installed as `instance`, is its archive.
    pub(in crate::operation) fn of(
        session: &Session<'_>,
        package: &PackageImage,
        instance: &PkgInst,
    ) -> Result<Option<Self>, Failure> {
        let ground = &session.ground;
        let Ok(id) = PatchId::parse(&package.params.text("ACTIVE_PATCH"), &ground.policy.separator) else {
            return Ok(None);
        };
        let (request, now) = (BackOutRequest::default(), &session.caller.now);
        let input = BackOutInput::of(ground, &request, now)?.ended_by(session.caller.interrupt);
        let rules = rules(&input, std::slice::from_ref(&id))?;
        let Some((undo, is_elsewhere)) = own(&input, &id, package, instance, &rules.marker)? else {
            return Ok(None);
        };
        let mut touched = Touched::default();
        undo.manifest.iter().for_each(|manifest| add_backout(&mut touched, instance, manifest));
        let marker = rules.marker.clone();
        let inventory = input.survey(rules.all_packages(), &touched)?;
        let mut options = BackOutOptions { scripts: input.choice.clone(), ..BackOutOptions::default() };
        let going = [GoingPatch { id, packages: vec![instance.clone()] }];
        later_patches(&input, &going, std::slice::from_ref(&undo), &inventory, &mut options)?;
        let Some(archive) = undo.as_archive(0) else { return Ok(None) };
        let policy = &ground.policy;
        let staying = taking_over(&going, &[archive], &inventory, (policy, now), &options)?;
        let later = opened(&input, staying, &marker)?;
        let with = (&*as_later(&later, 1), is_elsewhere);
        let context = (now, session.caller.interrupt);
        let patch_plan = back_out_of_package(&going, archive, with, &inventory, policy, &options, context)?;
        Ok(Some(Self { undo, later, patch_plan, lines: inventory.lines }))
    }

    pub(in crate::operation) fn notes(&self) -> &[String] {
        &self.patch_plan.plan.notes
    }

    pub(in crate::operation) fn hold(&self, held: &mut ProtectedPaths) {
        let deleted = self.patch_plan.parts.iter().flat_map(|part| &part.deletes);
        let changed = self.patch_plan.plan.changes.iter().map(|change| &change.path);
        add_objects(held, deleted.chain(changed).collect::<BTreeSet<_>>());
        let rest = self.patch_plan.remainder().records;
        // The directories of the packages include these.
        let packages = || self.patch_plan.parts.iter().map(|part| places::package(&part.package));
        let others = rest.iter().map(RecordChange::path);
        held.trees.extend(others.filter(|path| !packages().any(|package| path.is_below(&package))).cloned());
    }

    /// Restores the package after its scripts. `concerned` are paths that the installation may have changed, `lines`
    /// their previous lines.
    pub(in crate::operation) fn restore(
        &self,
        session: &Session<'_>,
        run: &mut ScriptedRun<'_>,
        concerned: &Concerned,
        lines: &BTreeMap<ObjectPath, ContentsLine>,
    ) -> Result<(), RunHalt> {
        let patch_plan = &self.patch_plan;
        let lines: BTreeMap<ObjectPath, ContentsLine> =
            lines.iter().chain(&self.lines).map(|(path, line)| (path.clone(), line.clone())).collect();
        let mut content = sources(std::iter::once(&self.undo), &self.later);
        for part in &patch_plan.parts {
            let concerned = concerned.objects.keys().cloned().collect();
            let restoration = Restoration { session, patch_plan, part, concerned, lines: &lines };
            restoration.carry_out(run, &mut content)?;
        }
        Ok(run.switch(&patch_plan.remainder(), &mut content)?)
    }
}

fn opened(
    input: &BackOutInput<'_>,
    staying: BTreeSet<(PkgInst, PatchId)>,
    marker: &str,
) -> Result<Vec<StayingUndo>, Failure> {
    let (mut digesting, outside) = (Vec::new(), input.ground.outside.with(None));
    let mut reading = UndoReading::of(&input.ground.root, outside, marker, &mut digesting, input.interrupt());
    let later: Result<Vec<_>, _> =
        staying.into_iter().map(|of| StayingUndo::open(input, &mut reading, of)).collect();
    wait_for(digesting, input.interrupt())?;
    later
}

/// Returns the undo data if `package` is its archive and the patch is applied; true if the patch is applied to other
/// packages, too.
fn own(
    input: &BackOutInput<'_>,
    id: &PatchId,
    package: &PackageImage,
    instance: &PkgInst,
    marker: &str,
) -> Result<Option<(VerifiedUndo, bool)>, Failure> {
    let view = RecordView::live(&input.ground.root);
    let applied = all::applied(&view, &input.ground.policy.separator)?;
    let packages = applied.get(id).map(|patch| &patch.packages[..]).unwrap_or_default();
    if !packages.contains(instance) {
        return Ok(None);
    }
    let mut digesting = Vec::new();
    let outside = input.ground.outside.with(None);
    let mut reading = UndoReading::of(&input.ground.root, outside, marker, &mut digesting, input.interrupt());
    let found = input.undo_data(instance, &installed::saved_as(&view, instance, id)?);
    let found = found.map_err(Failure::from).and_then(|found| reading.undo((id, instance), found, None));
    let whole = wait_for(digesting, input.interrupt());
    let found = match found.and_then(|found| Ok(whole.map(|()| found)?)) {
        // The installed archive describes itself.
        Err(Failure::Archive(_)) => return Ok(None),
        found => found?,
    };
    let is_same =
        |own: &PackageImage| own.pkgmap_bytes == package.pkgmap_bytes && own.install == package.install;
    let is_restored = found.manifest.is_some() && found.device.image.packages.first().is_some_and(is_same);
    // Data outside the root stays, as with any pkgadd(1M).
    Ok(is_restored.then(|| (found.staying(), packages.len() > 1)))
}
