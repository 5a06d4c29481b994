//! Carrying out a patch with scripts: the packages one after another, the parts of the patch as a whole, the commit.

use std::collections::{BTreeMap, BTreeSet};

use super::patch::{PatchPackage, PatchScripts, ScriptDirection};
use super::restoration::Restoration;
use crate::operation::content::NoContent;
use crate::operation::failure::Failure;
use crate::operation::log;
use crate::operation::packages::installation::{PlannedInstallation, described};
use crate::operation::packages::safety_copies::{add_objects, safety_copies};
use crate::operation::packages::scripted::{InstallSource, ScriptedPackage};
use crate::operation::scripts::failure::LastingResults;
use crate::operation::scripts::halt::{RunHalt, end_run};
use crate::operation::scripts::package::{FailedRequests, PackageScripts};
use crate::operation::scripts::safety::check_classes;
use crate::operation::scripts::staying_libraries::check_staying;
use crate::script::protocol::RebootRequest;
use patchadm_changeset::transaction::{
    Cause, ContentSource, ProtectedPaths, Receipt, ScriptRecorder as _, ScriptedRun,
};
use patchadm_inputs::inventory::Inventory;
use patchadm_planning::plan::ledger;
use patchadm_planning::plan::patch::engine::Bookkeeping;
use patchadm_planning::plan::patch::patch_plan::PatchPlan;
use patchadm_planning::plan::refusal::Reason;
use patchadm_planning::plan::script_schedule::{ScriptSchedule, kept_packages};
use patchadm_planning::plan::{Plan, RecordChange};
use patchadm_svr4::package::{ContentsLine, ObjectPath};
use patchadm_svr4::places;

/// The turn of one package in the run.
struct PackageTurn<'t> {
    package: &'t PatchPackage<'t>,
    installation: PlannedInstallation,
    course: ScriptSchedule,
    /// The earlier lines of `contents` at its paths.
    lines: BTreeMap<ObjectPath, ContentsLine>,
}

impl<'a> PatchScripts<'a> {
    /// Carries everything out in one run. `scripted` was planned with `inventory`. `content` has the objects of the plan as
    /// a whole, for a patch with no scripts but its own.
    pub(crate) fn perform(
        mut self,
        scripted: &PatchPlan,
        packages: &[PatchPackage<'_>],
        inventory: &Inventory,
        content: &mut dyn ContentSource,
        log: Option<ObjectPath>,
    ) -> Result<Receipt, Failure> {
        let has_scripts = packages.iter().any(|package| package.part.chosen.has_scripts());
        let session = self.session;
        let scripted = &*session.with_trial(scripted);
        let plan = &scripted.plan;
        let (command, subject) = (self.direction.command(), self.id.clone());
        let mut turns = Vec::new();
        if has_scripts {
            for package in packages {
                turns.push(self.turn(scripted, package, inventory)?);
            }
            for turn in &turns {
                self.scripted_package(turn).unpack(command, &subject)?;
            }
        }
        let copies = self.copies(scripted, &turns);
        let text = if has_scripts { String::new() } else { self.text(plan) };
        let done = session.perform_scripted(plan, &copies, log, text, |mut run| {
            let done = if has_scripts {
                self.packages(&mut run, scripted, inventory, &copies, turns, content)
            } else {
                self.whole(&mut run, plan, content)
            };
            let done = done.and_then(|()| check_staying(&session.ground.root, &scripted.staying));
            end_run(run, done, command, &subject)
        });
        let mut receipt = done.map_err(|failure| self.told(failure))?;
        receipt.notes.extend(self.output.notes);
        receipt.notes.extend(words(self.ending));
        Ok(receipt)
    }

    fn text(&self, plan: &Plan) -> String {
        match self.direction {
            ScriptDirection::Apply => log::of_installation(plan),
            ScriptDirection::BackOut => log::of_backout(plan),
        }
    }

    /// Returns everything that the scripts may touch, and all records of the patch.
    fn copies(&self, scripted: &PatchPlan, turns: &[PackageTurn<'_>]) -> ProtectedPaths {
        let mut all = safety_copies(turns.iter().map(|turn| &turn.course.concerned));
        let deleted = scripted.parts.iter().flat_map(|part| &part.deletes);
        let changed = scripted.plan.changes.iter().map(|change| &change.path);
        add_objects(&mut all, deleted.chain(changed).chain(scripted.staying.keys()));
        let mut trees: BTreeSet<ObjectPath> = all.trees.into_iter().collect();
        trees.extend(scripted.parts.iter().map(|part| places::package(&part.package)));
        trees.extend(places::patches().join(self.id.as_bytes()).ok());
        for record in &scripted.plan.records {
            if matches!(record, RecordChange::AddTree { .. } | RecordChange::RemoveTree(_)) {
                trees.insert(record.path().clone());
            }
        }
        let packages: Vec<_> = scripted.parts.iter().map(|part| part.package.clone()).collect();
        trees.extend(kept_packages(&scripted.plan.records, &packages));
        let outer = trees.clone();
        trees.retain(|path| !outer.iter().any(|other| path.is_below(other)));
        all.trees = trees.into_iter().collect();
        all.files.extend(ledger::paths(&scripted.plan.records).cloned());
        if !all.files.contains(&places::contents()) {
            all.files.push(places::contents());
        }
        all
    }

    /// Carries out a patch with no scripts but its own, all at once.
    fn whole(
        &mut self,
        run: &mut ScriptedRun<'_>,
        plan: &Plan,
        content: &mut dyn ContentSource,
    ) -> Result<(), RunHalt> {
        run.log(&self.runner.take_log())?;
        let mut plan = plan.clone();
        self.session.mark_unprivileged(&mut plan)?;
        self.last(run, &plan, content)
    }

    /// Carries out the last batch of the run, and the script of the patch itself that comes after its packages: for a
    /// backout before the batch, for an application after it.
    fn last(
        &mut self,
        run: &mut ScriptedRun<'_>,
        plan: &Plan,
        content: &mut dyn ContentSource,
    ) -> Result<(), RunHalt> {
        let [_, name] = self.direction.hooks();
        if self.direction == ScriptDirection::BackOut && self.has_hook(name) {
            self.hook(name, Some(run))?;
        }
        let saves = plan.archives().next().is_some();
        run.switch(plan, content)
            .map_err(|cause| if saves { RunHalt::from(cause).while_saving() } else { cause.into() })?;
        if self.direction == ScriptDirection::Apply && self.has_hook(name) {
            self.hook(name, Some(run))
        } else {
            Ok(())
        }
    }

    /// Carries out package by package, each on what the previous one left.
    fn packages(
        &mut self,
        run: &mut ScriptedRun<'_>,
        scripted: &PatchPlan,
        inventory: &Inventory,
        copies: &ProtectedPaths,
        turns: Vec<PackageTurn<'_>>,
        content: &mut dyn ContentSource,
    ) -> Result<(), RunHalt> {
        run.log(&self.runner.take_log())?;
        let mut last = scripted.remainder();
        for (place, mut turn) in turns.into_iter().enumerate() {
            let package = turn.package;
            let by_scripts = package.part.chosen.bookkeeping == Bookkeeping::Scripts;
            if place > 0 && by_scripts {
                turn = self.turn(scripted, package, inventory)?;
                refuse_uncopied(&turn, copies)?;
            }
            run.log(format!("\nProcessing package instance <{}>\n\n", package.part.package).as_bytes())?;
            let mut scripted_package = self.scripted_package(&turn);
            let done = scripted_package.carry_out(run, |_| Ok(()));
            self.ending = scripted_package.scripts.ending;
            done.map_err(|halt| halt.of_package(&package.part.package))?;
            if by_scripts {
                if package.part.restores {
                    let concerned = turn.course.concerned.objects.keys().cloned().collect();
                    let (session, part, lines) = (self.session, &package.part, &turn.lines);
                    Restoration { session, scripted, part, concerned, lines }.carry_out(run, content)?;
                }
                let left = self.after_scripts(scripted, package, inventory)?;
                left.add_to(&mut last, &mut self.output.notes)?;
            }
        }
        // Content is only read for undo data that is written anew.
        if last.versions.is_empty() && last.changes.is_empty() {
            self.last(run, &last, &mut NoContent)
        } else {
            self.last(run, &last, content)
        }
    }

    fn scripted_package<'m>(&'m mut self, turn: &'m PackageTurn<'_>) -> ScriptedPackage<'m, 'a> {
        let PackageTurn { package, installation, course, .. } = turn;
        let mut context = package.context.clone();
        context.settle(&package.delivered.image.params, &installation.intended.params);
        let delivered = package.delivered;
        let source = InstallSource { delivered, directory: &package.directory, installation };
        let scripts = PackageScripts {
            runner: &mut self.runner,
            context,
            ending: self.ending,
            failed_requests: FailedRequests::GiveUp,
        };
        ScriptedPackage::new(self.session, course, Some(source), scripts, &mut self.output)
    }

    /// Plans the work of a package: as the program does it, or, if its scripts maintain the records, as pkgadd(1M) would.
    fn turn<'t>(
        &self,
        scripted: &PatchPlan,
        package: &'t PatchPackage<'t>,
        inventory: &Inventory,
    ) -> Result<PackageTurn<'t>, Failure> {
        let PatchPackage { part, delivered, answers, .. } = package;
        if part.chosen.bookkeeping == Bookkeeping::Program {
            let mut intended = scripted.intended(part, &self.session.caller.now);
            intended.read_from(delivered.index);
            let installation = described(intended, delivered.image, &inventory.packages, self.input.admin);
            return self.checked(package, installation, inventory, inventory.lines.clone());
        }
        let placed = self.placed(part, *delivered, &answers.params)?;
        let prepared = self.input.prepare(*delivered, &placed, &answers.params, None)?;
        let (mut installation, known) = (prepared.installation, prepared.inventory);
        let intended = &mut installation.intended;
        intended.scripts = part.chosen.scripts.clone();
        intended.passing.clone_from(&part.chosen.passing);
        self.reconcile(package, intended)?;
        // more may be restored than the package that the scripts install
        let mut lines = inventory.lines.clone();
        lines.extend(known.lines.clone());
        self.checked(package, installation, &known, lines)
    }

    /// Makes the course of a package, and refuses class action scripts that could not be run safely.
    fn checked<'t>(
        &self,
        package: &'t PatchPackage<'t>,
        installation: PlannedInstallation,
        inventory: &Inventory,
        lines: BTreeMap<ObjectPath, ContentsLine>,
    ) -> Result<PackageTurn<'t>, Failure> {
        let refuse = |reason: Reason| reason.of(self.direction.command(), &self.id);
        let image = package.delivered.image;
        let course =
            ScriptSchedule::of_installation(&installation.intended, image, inventory).map_err(refuse)?;
        check_classes(&self.session.ground, &course).map_err(refuse)?;
        Ok(PackageTurn { package, installation, course, lines })
    }
}

/// Refuses paths that came up only within the run, and are not copied.
fn refuse_uncopied(turn: &PackageTurn<'_>, copies: &ProtectedPaths) -> Result<(), RunHalt> {
    let known: BTreeSet<&ObjectPath> = copies.objects.iter().map(|object| &object.path).collect();
    match turn.course.concerned.objects.keys().find(|path| !known.contains(path)) {
        Some(path) => Err(Cause::Script(format!("{path} came up after the run had begun")).into()),
        None => Ok(()),
    }
}

/// Returns the words for the exit codes of scripts, for the reader of the outcome.
fn words(ending: LastingResults) -> Vec<String> {
    let warned = ending.warned.then(|| "a script warned; the log says more".to_owned());
    let reboot = match ending.reboot {
        RebootRequest::None => None,
        RebootRequest::AfterAll => Some("a script asks for a reboot".to_owned()),
        RebootRequest::Immediate => Some("a script asks for a reboot at once".to_owned()),
    };
    warned.into_iter().chain(reboot).collect()
}
