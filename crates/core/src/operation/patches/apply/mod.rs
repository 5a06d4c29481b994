//! `patchadd`: one patch after another, planned against what the one before left. Patches without scripts of their own
//! that follow one another are one run (`run`); one with scripts is a run of its own.

mod run;
mod with_scripts;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::inventory::{Inventory, Touched};
use crate::operation::content::OneSource;
use crate::operation::device::Device;
use crate::operation::failure::Failure;
use crate::operation::identical::mark_identical;
use crate::operation::patch_scripts::{Installing, PatchScriptRequest};
use crate::operation::patches::in_use::{InUse, in_use};
use crate::operation::patches::order::in_order;
use crate::operation::patches::undo_directory;
use crate::operation::session::{Caller, Ground, Session, may_change, must_have_database, without_lock};
use crate::package::{Edited, ObjectPath, Params, Policy, UndoFormat};
use crate::patch::{Delivered, PatchId, PatchList, Requirement};
use crate::plan::Plan;
use crate::plan::apply::{ApplyOptions, apply};
use crate::plan::concern::delivered_files;
use crate::plan::edits::EditChoice;
use crate::plan::engine::{PlannedScript, ScriptChoice};
use crate::plan::install::OfPatch;
use crate::plan::parts::Scripted;
use crate::root::Root;
use crate::source::Source;
use crate::transaction::{Receipt, Recovered};
use with_scripts::Application;

/// What patchadd(1M) was asked for; unset choices are those of the root's policy.
#[derive(Clone, Debug, Default)]
pub struct ApplyRequest {
    /// The patches, as they were named.
    pub patches: Vec<PathBuf>,
    /// Keep no undo data.
    pub no_undo: bool,
    /// Keep undo data below this directory of the host.
    pub undo_dir: Option<PathBuf>,
    /// How undo data is compressed.
    pub undo_format: Option<UndoFormat>,
    /// What happens to edited files.
    pub edited: Option<Edited>,
    /// Edited files that are replaced in any case.
    pub overridden: Vec<ObjectPath>,
    /// Edited files that are kept in any case.
    pub preserved: Vec<ObjectPath>,
    /// A patch that is applied already is applied again (`-u`).
    pub unconditional: bool,
    /// Plan only; nothing is changed.
    pub dry_run: bool,
    /// Whether the caller can be asked something.
    pub conversation: bool,
    /// Which scripts run, and how.
    pub scripts: PatchScriptRequest,
}

/// What became of one patch.
#[derive(Debug)]
pub struct Applied {
    /// Its id, or the name of the operand where it has none.
    pub id: String,
    /// The plan; none where it was refused.
    pub plan: Option<Plan>,
    /// The scripts that run.
    pub scripts: Vec<PlannedScript>,
    /// What it asks for after installation, from patchinfo or README.
    pub reboot: Option<&'static str>,
    /// Programs that run from, or have mapped, what it replaces: they run the old version until they are restarted.
    pub in_use: Vec<InUse>,
    /// What was done, or why not. With `dry_run` a plan without a receipt is a success.
    pub result: Result<Option<Receipt>, Failure>,
}

/// What became of all of them.
#[derive(Debug)]
pub struct ApplyReport {
    /// What recovery found before anything else.
    pub recovered: Recovered,
    /// Patch by patch, in the order in which they were taken.
    pub patches: Vec<Applied>,
}

/// A patch that was read.
struct Operand {
    device: Device,
    id: Option<PatchId>,
}

/// What all patches of a command are planned with.
struct Circumstances<'a> {
    request: &'a ApplyRequest,
    caller: &'a Caller<'a>,
    not_applicable: PatchList,
    choice: ScriptChoice,
}

/// Applies patches. An error is one of the root as a whole; what is wrong with one patch is in its part of the report.
pub fn apply_patches(
    root: &Root,
    request: &ApplyRequest,
    caller: &Caller<'_>,
) -> Result<ApplyReport, Failure> {
    if !request.dry_run {
        may_change(root)?;
    }
    let ground = Ground::of(root)?;
    let separator = &ground.policy.separator;
    let read = request.patches.iter().map(|path| (path.clone(), read(path, separator)));
    let (mut operands, mut report) = (Vec::new(), Vec::new());
    for (path, operand) in read.collect::<Vec<_>>() {
        match operand {
            Ok(operand) => operands.push(operand),
            Err(failure) => {
                report.push(Applied {
                    id: name(&path),
                    plan: None,
                    scripts: Vec::new(),
                    reboot: None,
                    in_use: Vec::new(),
                    result: Err(failure),
                });
            }
        }
    }
    if operands.is_empty() {
        return Ok(ApplyReport { recovered: Recovered::Nothing, patches: report });
    }
    must_have_database(root)?;
    let operands = in_order(operands, |operand| needs(operand, separator));
    if request.dry_run {
        let circumstances = Circumstances::of(&ground, request, caller, &operands)?;
        report.extend(without_lock(root, || Ok(plan_all(&ground, &circumstances, &operands)))?);
        return Ok(ApplyReport { recovered: Recovered::Nothing, patches: report });
    }
    let undo_dir = request.undo_dir.clone().or_else(|| ground.policy.undo_dir.clone());
    let session = Session::begin(ground.naming(undo_dir.as_deref()), caller)?;
    let circumstances = Circumstances::of(&session.ground, request, caller, &operands)?;
    report.extend(run::apply_all(&session, &circumstances, &operands));
    Ok(ApplyReport { recovered: session.recovered, patches: report })
}

fn read(path: &Path, separator: &str) -> Result<Operand, Failure> {
    let source = Source::open(path)?;
    let image = source.scan()?;
    source.check_room_to_plan(&image)?;
    let ids = image
        .packages
        .iter()
        .filter_map(|package| Delivered::from_params(&package.params, separator).ok()?);
    let id = ids.map(|delivered| delivered.id).next();
    Ok(Operand { device: Device::whole(source, image), id })
}

fn name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// The id of an operand and what it requires: for their order.
fn needs(operand: &Operand, separator: &str) -> (Option<PatchId>, Vec<PatchId>) {
    let delivered = operand.device.image.packages.iter();
    let delivered =
        delivered.filter_map(|package| Delivered::from_params(&package.params, separator).ok()?);
    let requirements: Vec<_> = delivered.map(|one| one.requires).collect();
    let ids = requirements.iter().flat_map(|one| one.iter()).flat_map(Requirement::ids).cloned().collect();
    (operand.id.clone(), ids)
}

/// Operands of which no package is installed: a requirement on one of them counts as met.
fn not_applicable(ground: &Ground, operands: &[Operand]) -> Result<PatchList, Failure> {
    let mut list = PatchList::new();
    if operands.len() < 2 {
        return Ok(list);
    }
    let installed = ground.packages()?;
    for operand in operands {
        let touched = Touched::by_patch(&operand.device.image, "none", &installed);
        if let Some(id) = operand.id.clone().filter(|_| touched.packages.is_empty()) {
            list.push(id);
        }
    }
    Ok(list)
}

/// Plans without a lock and without changing anything; the sums of all files are compared as a real run would.
fn plan_all(ground: &Ground, circumstances: &Circumstances<'_>, operands: &[Operand]) -> Vec<Applied> {
    let mut planned = Vec::new();
    for operand in operands {
        let device = &operand.device;
        let result = circumstances
            .plan(ground, operand, &BTreeMap::new())
            .and_then(|(plan, _)| device.source.verify(&device.image).map(|()| plan).map_err(Failure::from));
        planned.push(match result {
            Ok(scripted) => {
                let in_use = in_use(&ground.root, &scripted.plan);
                report_on(operand, Some(scripted), in_use, Ok(None))
            }
            Err(failure) => report_on(operand, None, Vec::new(), Err(failure)),
        });
    }
    planned
}

/// The log of a patch.
fn log_of(plan: &Plan) -> Option<ObjectPath> {
    let id = plan.patches.first()?;
    ObjectPath::new(format!("/var/sadm/patch/{id}/log").as_bytes()).ok()
}

impl Operand {
    /// Its id as messages have it; the name of the source where it has none.
    fn shown_id(&self) -> String {
        self.id.as_ref().map_or_else(|| self.device.image.name.clone(), ToString::to_string)
    }

    /// The name of the patch's directory in the database; one without an id has none.
    fn name_of_directory(&self) -> String {
        self.id.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string)
    }
}

fn report_on(
    operand: &Operand,
    scripted: Option<Scripted>,
    in_use: Vec<InUse>,
    result: Result<Option<Receipt>, Failure>,
) -> Applied {
    let image = &operand.device.image;
    let id = operand.shown_id();
    let scripts = scripted.as_ref().map(Scripted::scripts).unwrap_or_default();
    let plan = scripted.map(|scripted| scripted.plan);
    Applied { id, plan, scripts, reboot: crate::operation::patches::reboot::advice(image), in_use, result }
}

fn apply_one(session: &Session<'_>, circumstances: &Circumstances<'_>, operand: &Operand) -> Applied {
    let (scripted, inventory) = match circumstances.plan(&session.ground, operand, &BTreeMap::new()) {
        Ok(planned) => planned,
        Err(failure) => return report_on(operand, None, Vec::new(), Err(failure)),
    };
    let plan = &scripted.plan;
    let log = log_of(plan);
    // Before the switch: afterwards the old files have no path any more.
    let in_use = in_use(&session.ground.root, plan);
    if scripted.has_scripts() {
        let (scripted, result) = circumstances.apply_with_scripts(session, operand, log, scripted, inventory);
        return report_on(operand, Some(scripted), in_use, result.map(Some));
    }
    drop(inventory);
    let text = crate::operation::log::of_installation(plan);
    let mut content = OneSource { source: &operand.device.source, image: &operand.device.image };
    let result = session.perform(plan, &mut content, log, text).map(Some);
    report_on(operand, Some(scripted), in_use, result)
}

impl<'a> Circumstances<'a> {
    fn of(
        ground: &Ground,
        request: &'a ApplyRequest,
        caller: &'a Caller<'a>,
        operands: &[Operand],
    ) -> Result<Self, Failure> {
        let not_applicable = not_applicable(ground, operands)?;
        Ok(Self { request, caller, not_applicable, choice: request.scripts.choice(ground)? })
    }

    fn plan(
        &self,
        ground: &Ground,
        operand: &Operand,
        answers: &BTreeMap<usize, Params>,
    ) -> Result<(Scripted, Inventory), Failure> {
        let installed = ground.packages()?;
        let touched = Touched::by_patch(&operand.device.image, &operand.name_of_directory(), &installed);
        let mut inventory = ground.survey_with(installed, &touched, None)?;
        let scripted = self.plan_against(ground, operand, &mut inventory, answers)?;
        Ok((scripted, inventory))
    }

    /// Plans with an inventory that holds all that the operand touches.
    fn plan_against(
        &self,
        ground: &Ground,
        operand: &Operand,
        inventory: &mut Inventory,
        answers: &BTreeMap<usize, Params>,
    ) -> Result<Scripted, Failure> {
        let Device { source, image, .. } = &operand.device;
        let files = delivered_files(image, &inventory.packages);
        inventory.identical.clear();
        mark_identical(source, image, files, inventory)?;
        let options = ApplyOptions {
            scripts: self.choice.clone(),
            answers: answers.clone(),
            ..options(self.request, &ground.policy, &self.not_applicable)
        };
        if let Some(directory) = &options.undo_dir {
            undo_directory::must_be_usable(&ground.host, directory)?;
        }
        Ok(apply(image, inventory, &ground.policy, &options, &self.caller.occasion)?)
    }

    fn apply_with_scripts(
        &self,
        session: &Session<'_>,
        operand: &Operand,
        log: Option<ObjectPath>,
        scripted: Scripted,
        inventory: Inventory,
    ) -> (Scripted, Result<Receipt, Failure>) {
        let undo_dir = self.request.undo_dir.clone().or_else(|| session.ground.policy.undo_dir.clone());
        let is_saved = !scripted.no_undo && !scripted.again;
        let patch = OfPatch { id: operand.shown_id(), is_saved, is_applied: true };
        let installing = Installing::new(&self.request.scripts, self.choice.clone(), patch);
        let application = Application {
            device: &operand.device,
            unconditional: self.request.unconditional,
            undo_dir: undo_dir.as_deref().filter(|_| !self.request.no_undo),
            plan: &|answers| self.plan(&session.ground, operand, answers),
            log,
        };
        with_scripts::apply(session, &installing, &application, scripted, inventory)
    }
}

/// What was asked for, and the policy where nothing was.
fn options(request: &ApplyRequest, policy: &Policy, not_applicable: &PatchList) -> ApplyOptions {
    let edited = if request.unconditional { Some(Edited::Replace) } else { request.edited };
    let undo_dir = request.undo_dir.clone().or_else(|| policy.undo_dir.clone());
    ApplyOptions {
        no_undo: request.no_undo,
        undo_dir: undo_dir.filter(|_| !request.no_undo),
        undo_format: request.undo_format.unwrap_or(policy.undo_format),
        edits: EditChoice {
            general: edited.unwrap_or(policy.edited),
            overridden: request.overridden.iter().cloned().collect(),
            preserved: request.preserved.iter().cloned().collect(),
        },
        unconditional: request.unconditional,
        conversation: request.conversation,
        not_applicable: not_applicable.clone(),
        ..ApplyOptions::default()
    }
}
