//! Runs a patch's hooks and packages, and asks questions before anything is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::hooks::{HookDirectory, kept_script};
use super::must_be_safe;
use crate::operation::content::NoContent;
use crate::operation::device::DeliveredPackage;
use crate::operation::failure::Failure;
use crate::operation::log;
use crate::operation::packages::planning::{AddInput, AddRequest, PackagePlacement};
use crate::operation::packages::report::{PackageObserver, PlannedInstallation, described};
use crate::operation::packages::scripted::{InstallSource, ScriptedPackage, add_objects, safety_copies};
use crate::operation::patches::scripts::PatchScriptRequest;
use crate::operation::scripts::failure::{LastingResults, ScriptFailure};
use crate::operation::scripts::interview::{ScriptAnswers, ScriptQuestions, interview};
use crate::operation::scripts::package_directory::PackageDirectory;
use crate::operation::scripts::run::{
    FailedRequests, PackageScripts, RunHalt, check_staying, end_run, refresh, unanswered,
};
use crate::operation::scripts::runner::{ScriptContext, ScriptRunner};
use crate::operation::scripts::safety::{check_classes, needs_absolute_tools};
use crate::operation::scripts::{OutputStream, ScriptOutput};
use crate::operation::session::Session;
use crate::script::environment::of_patch;
use crate::script::protocol::{PatchMessage, RebootRequest};
use crate::script::{RunAs, ScriptCall, ScriptEnd, ScriptInput, search_path};
use patchadm_changeset::transaction::{
    Cause, ContentSource, ProtectedPaths, Receipt, ScriptRecorder, ScriptedRun,
};
use patchadm_inputs::database::RecordView;
use patchadm_inputs::database::undo_data::{ArchiveError, OutsideAccess, UndoReader};
use patchadm_inputs::inventory::{Inventory, Touched};
use patchadm_inputs::policy::ScriptPolicy;
use patchadm_inputs::source::PackageImage;
use patchadm_planning::plan::package::install::{IntendedInstall, OfPatch};
use patchadm_planning::plan::patch::engine::{Bookkeeping, ScriptChoice};
use patchadm_planning::plan::patch::patch_plan::{PackagePlan, PatchPlan};
use patchadm_planning::plan::patch::snapshot;
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_planning::plan::script_schedule::{ScriptSchedule, kept_packages, ledger_paths};
use patchadm_planning::plan::scripted_records::{
    differing, marks_after_application, marks_after_backout, reconciled, taken_back, unsaved,
};
use patchadm_planning::plan::{Plan, RecordChange, UndoArchive};
use patchadm_rootfs::{Dir, LiveKind, never};
use patchadm_svr4::format::admin::{Admin, CheckAnswer, ConflictAnswer, InstanceAnswer, RequestUser};
use patchadm_svr4::format::response::{UnwritableValue, write};
use patchadm_svr4::package::control::truncated;
use patchadm_svr4::package::{ContentsLine, Mode, ObjectPath, Params};
use patchadm_svr4::patch::{PatchId, PatchMacros};
use patchadm_svr4::places;

pub(crate) struct PatchPackage<'d> {
    pub(crate) part: PackagePlan,
    pub(crate) delivered: DeliveredPackage<'d>,
    pub(super) directory: PackageDirectory,
    pub(super) context: ScriptContext,
    pub(crate) answers: ScriptAnswers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScriptDirection {
    Apply,
    BackOut,
}

impl ScriptDirection {
    pub(super) fn hooks(self) -> [&'static str; 2] {
        match self {
            Self::Apply => ["prepatch", "postpatch"],
            Self::BackOut => ["prebackout", "postbackout"],
        }
    }

    pub(super) fn command(self) -> Command {
        match self {
            Self::Apply => Command::Patchadd,
            Self::BackOut => Command::Patchrm,
        }
    }
}

pub(crate) struct PatchScripts<'a> {
    pub(super) session: &'a Session<'a>,
    pub(super) input: AddInput<'a>,
    pub(super) runner: ScriptRunner<'a>,
    pub(super) output: PatchOutput,
    hooks: HookDirectory,
    hook_names: Vec<String>,
    packages: Vec<String>,
    pub(super) direction: ScriptDirection,
    pub(super) id: String,
    pub(super) ending: LastingResults,
}

impl<'a> PatchScripts<'a> {
    /// Refuses unsafe scripts.
    pub(crate) fn open(
        session: &'a Session<'a>,
        input: AddInput<'a>,
        direction: ScriptDirection,
        patch_plan: &PatchPlan,
        packages: &[DeliveredPackage<'_>],
        hooks: Option<HookDirectory>,
    ) -> Result<Self, Failure> {
        let id = patch_plan.plan.patches.first().cloned().unwrap_or_default();
        let ground = &session.ground;
        let refuse = |reason: Reason| Failure::from(reason.of(direction.command(), &id));
        let absolute = packages.iter().any(|package| needs_absolute_tools(package.image));
        must_be_safe(ground, direction.command(), &id, patch_plan)?;
        let settings = &input.request.scripts;
        let runner = ScriptRunner::open(ground, session.caller.interrupt, settings, absolute, refuse)?;
        let private = runner.shop.directory();
        let hooks = match (hooks, packages.first()) {
            (Some(hooks), _) => hooks,
            (None, Some(DeliveredPackage { device, .. })) => {
                HookDirectory::of(&device.source, &device.image, private)
                    .map_err(|error| unprepared(&error))?
            }
            (None, None) => HookDirectory::at(private.to_owned()),
        };
        hooks
            .must_be_executable(patch_plan.hooks.iter().map(|hook| hook.name.as_str()))
            .map_err(Failure::Script)?;
        let (output, ending) = (PatchOutput::default(), LastingResults::default());
        let hook_names = patch_plan.hooks.iter().map(|hook| hook.name.clone()).collect();
        let packages = patch_plan.parts.iter().map(|part| part.package.to_string()).collect();
        Ok(Self { session, input, runner, output, hooks, hook_names, packages, direction, id, ending })
    }

    pub(crate) fn build_directory(&self) -> Result<PathBuf, Failure> {
        let private = self.runner.shop.directory();
        let made = Dir::of_host(private).and_then(|dir| dir.make_dir(b"build", Mode::of(0o700)));
        made.map_err(|error| unprepared(&error.into())).map(|_| private.join("build"))
    }

    /// Runs prepatch or prebackout, if planned. Returns whether it ran.
    pub(crate) fn before(&mut self) -> Result<bool, Failure> {
        let [name, _] = self.direction.hooks();
        if !self.has_hook(name) {
            return Ok(false);
        }
        match self.hook(name, None) {
            Ok(()) => Ok(true),
            Err(halt) => Err(self.without_run(halt)),
        }
    }

    fn has_hook(&self, name: &str) -> bool {
        self.hook_names.iter().any(|hook| hook == name)
    }

    pub(super) fn hook(&mut self, name: &str, mut run: Option<&mut ScriptedRun<'_>>) -> Result<(), RunHalt> {
        let shop = &self.runner.shop;
        let (root, private) = (self.session.ground.root.prefix(), shop.directory());
        let hooks = match self.direction {
            ScriptDirection::Apply => self.hooks.clone(),
            ScriptDirection::BackOut => {
                // An earlier script may have written it.
                let id = self.patch_id().map_err(RunHalt::Refused)?;
                let kept = kept_script(&self.session.ground, &id, name)?;
                HookDirectory::with(name, &kept.text, private).map_err(|error| unprepared(&error))?
            }
        };
        let file = hooks.file(name, private).map_err(Failure::Script)?;
        let of_run = run.as_deref().map(ScriptedRun::name);
        let path = search_path(shop.tools());
        let call = ScriptCall {
            environment: of_patch(&self.id, root, self.runner.locale, &path, private, of_run.as_deref()),
            directory: self.hooks.directory.clone(),
            ..self.runner.call(name.to_owned(), file)
        };
        let ended = self.runner.run(
            call,
            run.as_deref_mut().map(|run| run as &mut dyn ScriptRecorder),
            &mut self.output,
        )?;
        let mut failed = Vec::new();
        if let Some(run) = run {
            run.script_ended()?;
            failed = run.take_failed_requests()?;
        }
        match (ended, self.runner.interrupted()) {
            (ScriptEnd::Exited(0), _) if failed.is_empty() => Ok(()),
            (ScriptEnd::Exited(0), _) => Err(unanswered(name, &failed).into()),
            (ScriptEnd::Interrupted, Some(signal)) => Err(Cause::Interrupted(signal).into()),
            _ => Err(Failure::Script(ScriptFailure::of_patch(name, ended)).into()),
        }
    }

    /// Runs the planned checkinstall of each package. `response` makes the response file for scripts that maintain
    /// records.
    pub(crate) fn ready<'d>(
        &mut self,
        parts: &[PackagePlan],
        packages: &[DeliveredPackage<'d>],
        response: impl Fn(&PackagePlan, DeliveredPackage<'_>) -> Result<Vec<u8>, UnwritableValue>,
    ) -> Result<Vec<PatchPackage<'d>>, Failure> {
        let mut ready = Vec::new();
        for (part, &delivered) in parts.iter().zip(packages) {
            let placed = self.placed(part, delivered, &Params::new())?;
            let private = self.runner.shop.directory().join(part.package.as_str());
            let (directory, context) = placed.for_scripts(&self.runner, delivered, &private)?;
            let part = part.clone();
            let mut package =
                PatchPackage { part, delivered, directory, context, answers: ScriptAnswers::default() };
            let given = match package.part.chosen.bookkeeping {
                Bookkeeping::Scripts => {
                    response(&package.part, delivered).map_err(|value| unwritable(&value))?
                }
                Bookkeeping::Program => Vec::new(),
            };
            if package.part.chosen.has_scripts() {
                self.ask(&mut package, given)?;
            }
            ready.push(package);
        }
        Ok(ready)
    }

    /// The place follows the known instance.
    pub(super) fn placed(
        &self,
        part: &PackagePlan,
        delivered: DeliveredPackage<'_>,
        response: &Params,
    ) -> Result<PackagePlacement, Failure> {
        let placed = self.input.place(delivered, response)?;
        if placed.instance == part.package {
            return Ok(placed);
        }
        let reason =
            Reason::BadPatch(format!("it would be installed over {}, not {}", placed.instance, part.package));
        Err(reason.of(self.direction.command(), &self.id).into())
    }

    /// `given` is its response file.
    fn ask(&mut self, package: &mut PatchPackage<'_>, given: Vec<u8>) -> Result<(), Failure> {
        let questions = ScriptQuestions {
            request: false,
            checkinstall: package.part.chosen.scripts.checkinstall,
            given,
            input: ScriptInput::Nothing,
            request_user: RunAs::Unprivileged,
        };
        let (runner, output) = (&mut self.runner, &mut self.output);
        match interview(runner, &package.directory, &mut package.context, &questions, output) {
            Ok(answers) => {
                self.ending.warned |= answers.warned;
                package.answers = answers;
                Ok(())
            }
            Err(failure) => Err(self.without_run(RunHalt::from(failure).of_package(&package.part.package))),
        }
    }

    /// Script output goes to the log of runs that changed nothing.
    fn without_run(&mut self, halt: RunHalt) -> Failure {
        let failure = halt.without_run(self.direction.command(), &self.id);
        let subject = format!("{} {}", self.direction.command().name(), self.id);
        let mut text = log::head(&subject, &failure).into_bytes();
        text.extend(self.runner.take_log());
        self.session.log_attempt(&text, &failure, (self.id.as_str(), self.packages.as_slice()));
        self.with_script_output(failure)
    }

    /// Adds the script's last words and the log.
    pub(super) fn with_script_output(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Script(mut failure) => {
                failure.context.message = self.output.message();
                if failure.context.message.is_none() {
                    failure.context.last_lines = self.output.last_lines();
                }
                let log = places::own_directory().join(b"log").ok();
                failure.context.log = log.map(|path| self.session.ground.root.show(&path));
                Failure::Script(failure)
            }
            other => other,
        }
    }
}

fn unwritable(value: &UnwritableValue) -> Failure {
    let UnwritableValue { name, reason, .. } = value;
    Failure::BadFile(format!("the value of {name} cannot be passed to scripts: {reason}"))
}

fn unprepared(error: &std::io::Error) -> Failure {
    crate::script::ScriptError::Preparation(error.to_string()).into()
}

struct PackageTurn<'t> {
    package: &'t PatchPackage<'t>,
    installation: PlannedInstallation,
    course: ScriptSchedule,
    lines: BTreeMap<ObjectPath, ContentsLine>,
}

impl<'a> PatchScripts<'a> {
    /// One run. `patch_plan` was planned with `inventory`. `content` has all objects, for a patch with only its own
    /// scripts.
    pub(crate) fn perform(
        mut self,
        patch_plan: &PatchPlan,
        packages: &[PatchPackage<'_>],
        inventory: &Inventory,
        content: &mut dyn ContentSource,
        log: Option<ObjectPath>,
    ) -> Result<Receipt, Failure> {
        let has_scripts = packages.iter().any(|package| package.part.chosen.has_scripts());
        let session = self.session;
        let patch_plan = &*session.with_trial(patch_plan);
        let plan = &patch_plan.plan;
        let (command, subject) = (self.direction.command(), self.id.clone());
        let mut turns = Vec::new();
        if has_scripts {
            for package in packages {
                turns.push(self.turn(patch_plan, package, inventory)?);
            }
            for turn in &turns {
                self.scripted_package(turn).unpack(command, &subject)?;
            }
        }
        let copies = self.copies(patch_plan, &turns);
        let text = if has_scripts { String::new() } else { self.text(plan) };
        let done = session.perform_scripted(plan, &copies, log, text, |mut run| {
            let done = if has_scripts {
                self.packages(&mut run, patch_plan, inventory, &copies, turns, content)
            } else {
                self.whole(&mut run, plan, content)
            };
            let done = done.and_then(|()| check_staying(&session.ground.root, &patch_plan.staying));
            end_run(run, done, command, &subject)
        });
        let mut receipt = done.map_err(|failure| self.with_script_output(failure))?;
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

    /// Includes all records of the patch.
    fn copies(&self, patch_plan: &PatchPlan, turns: &[PackageTurn<'_>]) -> ProtectedPaths {
        let mut all = safety_copies(turns.iter().map(|turn| &turn.course.concerned));
        let deleted = patch_plan.parts.iter().flat_map(|part| &part.deletes);
        let changed = patch_plan.plan.changes.iter().map(|change| &change.path);
        add_objects(&mut all, deleted.chain(changed).chain(patch_plan.staying.keys()));
        let mut trees: BTreeSet<ObjectPath> = all.trees.into_iter().collect();
        trees.extend(patch_plan.parts.iter().map(|part| places::package(&part.package)));
        trees.extend(places::patches().join(self.id.as_bytes()).ok());
        for record in &patch_plan.plan.records {
            if matches!(record, RecordChange::AddTree { .. } | RecordChange::RemoveTree(_)) {
                trees.insert(record.path().clone());
            }
        }
        let packages: Vec<_> = patch_plan.parts.iter().map(|part| part.package.clone()).collect();
        trees.extend(kept_packages(&patch_plan.plan.records, &packages));
        let outer = trees.clone();
        trees.retain(|path| !path.ancestors_bytes().any(|above| outer.contains(above)));
        all.trees = trees.into_iter().collect();
        all.files.extend(ledger_paths(&patch_plan.plan.records).cloned());
        if !all.files.contains(&places::contents()) {
            all.files.push(places::contents());
        }
        all
    }

    /// For a patch with only its own scripts.
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

    /// Performs the last batch and the closing script: before the batch for a backout, after it for an application.
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

    /// Plans each package on the previous one's result.
    fn packages(
        &mut self,
        run: &mut ScriptedRun<'_>,
        patch_plan: &PatchPlan,
        inventory: &Inventory,
        copies: &ProtectedPaths,
        turns: Vec<PackageTurn<'_>>,
        content: &mut dyn ContentSource,
    ) -> Result<(), RunHalt> {
        run.log(&self.runner.take_log())?;
        let mut last = patch_plan.remainder();
        for (place, mut turn) in turns.into_iter().enumerate() {
            let package = turn.package;
            let by_scripts = package.part.chosen.bookkeeping == Bookkeeping::Scripts;
            if place > 0 && by_scripts {
                turn = self.turn(patch_plan, package, inventory)?;
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
                    Restoration { session, patch_plan, part, concerned, lines }.carry_out(run, content)?;
                }
                let left = self.after_scripts(patch_plan, package, inventory)?;
                left.add_to(&mut last, &mut self.output.notes)?;
            }
        }
        // Content is only read for rewritten undo data.
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

    /// Plans as the program does it, or as pkgadd(1M) if scripts maintain records.
    fn turn<'t>(
        &self,
        patch_plan: &PatchPlan,
        package: &'t PatchPackage<'t>,
        inventory: &Inventory,
    ) -> Result<PackageTurn<'t>, Failure> {
        let PatchPackage { part, delivered, answers, .. } = package;
        if part.chosen.bookkeeping == Bookkeeping::Program {
            let mut intended = patch_plan.intended(part, &self.session.caller.now);
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
        // More may be restored than the scripts' package.
        let mut lines = inventory.lines.clone();
        lines.extend(known.lines.clone());
        self.checked(package, installation, &known, lines)
    }

    /// Refuses unsafe class action scripts.
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

/// Refuses paths that appeared within the run, and have no copy.
fn refuse_uncopied(turn: &PackageTurn<'_>, copies: &ProtectedPaths) -> Result<(), RunHalt> {
    let known: BTreeSet<&ObjectPath> = copies.objects.iter().map(|object| &object.path).collect();
    match turn.course.concerned.objects.keys().find(|path| !known.contains(path)) {
        Some(path) => Err(Cause::Script(format!("{path} appeared after the run had begun")).into()),
        None => Ok(()),
    }
}

/// Explains exit codes to the user.
fn words(ending: LastingResults) -> Vec<String> {
    let warned = ending.warned.then(|| "a script warned; see the log".to_owned());
    let reboot = match ending.reboot {
        RebootRequest::None => None,
        RebootRequest::AfterAll => Some("a script asks for a reboot".to_owned()),
        RebootRequest::Immediate => Some("a script asks for a reboot at once".to_owned()),
    };
    warned.into_iter().chain(reboot).collect()
}

struct ScriptedRecords {
    pub(super) records: Vec<RecordChange>,
    /// The program's own snapshot of the earlier state.
    pub(super) snapshot: Option<UndoArchive>,
    pub(super) notes: Vec<String>,
}

impl ScriptedRecords {
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
    /// Compares answers of scripts with known facts.
    fn reconcile(&self, member: &PatchPackage<'_>, intended: &mut IntendedInstall) -> Result<(), Failure> {
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
                    let reason = format!("its checkinstall says {name}={said}, but it must be <{right}>");
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

    /// Checks the scripts' results, and returns remaining changes of records.
    fn after_scripts(
        &self,
        patch_plan: &PatchPlan,
        member: &PatchPackage<'_>,
        before: &Inventory,
    ) -> Result<ScriptedRecords, RunHalt> {
        let package = &member.part.package;
        let ground = &self.session.ground;
        let mut touched = Touched::default();
        touched.packages.insert(package.clone());
        let changes = patch_plan.plan.changes.iter().filter(|change| change.package == *package);
        touched.paths.extend(changes.map(|change| change.path.clone()));
        let planned = patch_plan.plan.undo.iter().find(|archive| archive.package == *package);
        touched.paths.extend(planned.map(snapshot::paths).unwrap_or_default());
        let now = ground.survey(&touched, &never)?;
        let Some(installed) = now.packages.get(package) else {
            return Err(RunHalt::Refused(Reason::NotInstalled(vec![package.to_string()])));
        };
        let (id, separator) = (self.patch_id()?, &ground.policy.separator);
        match self.direction {
            ScriptDirection::Apply => {
                let has_undo = !patch_plan.no_undo && !patch_plan.again;
                let notes = if has_undo { self.check_undo(patch_plan, member, &now)? } else { None };
                let delivered = &member.delivered.image.params;
                let obsoletes = PatchMacros::from_params(delivered, separator);
                let obsoletes = obsoletes.ok().flatten().map(|delivered| delivered.obsoletes);
                let obsoletes = obsoletes.unwrap_or_default();
                let records = marks_after_application(package, installed, &id, &obsoletes, separator)?;
                // With no undo data requested, a save directory is the scripts' own.
                let is_theirs = patch_plan.no_undo && installed.saves.contains_key(id.as_str());
                let planned = planned.filter(|_| !is_theirs);
                let known = planned.zip(before.packages.get(package));
                let snapshot = known.map(|(archive, before)| snapshot::completed(archive, before, &now));
                Ok(ScriptedRecords { records, snapshot, notes: notes.into_iter().collect() })
            }
            ScriptDirection::BackOut => {
                let records = marks_after_backout(package, installed, &id, separator)?;
                Ok(ScriptedRecords { records, snapshot: None, notes: Vec::new() })
            }
        }
    }

    /// Checks that the scripts' archive, or the snapshot, has everything replaced. Returns a remark on objects in the
    /// snapshot only.
    fn check_undo(
        &self,
        patch_plan: &PatchPlan,
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
            &patch_plan.plan.changes,
            &member.part.mapped,
            &image,
            &member.part.params,
            &now.live,
        )?;
        let planned = patch_plan.plan.undo.iter().find(|archive| archive.package == *package);
        let held = planned.map(snapshot::held).unwrap_or_default();
        let (held, lost): (Vec<_>, Vec<_>) = unsaved.iter().partition(|path| held.contains(path));
        let lacks = |first: &ObjectPath, count: usize| {
            let shown = self.session.ground.root.show(first);
            let others = if count > 1 { format!(" (nor {} others)", count - 1) } else { String::new() };
            format!("it does not contain {shown} as it was{others}")
        };
        if let Some(first) = lost.first() {
            return Err(bad(lacks(first, lost.len())));
        }
        let note = held.first().map(|first| {
            let lacks = lacks(first, held.len());
            format!(
                "the undo archive that the scripts of {package} made cannot be used by other tools: {lacks}; patchrm uses the snapshot instead"
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
        let reason = "it does not contain exactly one package".to_owned();
        Err(ArchiveError::Damaged { path, reason }.into())
    }
}

/// As the classic patchadd(1M): updates the same version, asks nothing.
fn admin() -> Admin {
    Admin {
        instance: InstanceAnswer::Unique,
        partial: CheckAnswer::NoCheck,
        runlevel: CheckAnswer::NoCheck,
        idepend: CheckAnswer::NoCheck,
        rdepend: CheckAnswer::NoCheck,
        space: CheckAnswer::Quit,
        setuid: ConflictAnswer::NoCheck,
        conflict: ConflictAnswer::NoCheck,
        action: CheckAnswer::NoCheck,
        request_user: RequestUser::Root,
        ..Admin::delivered()
    }
}

pub(crate) struct PatchInstall {
    admin: Admin,
    request: AddRequest,
    choice: ScriptChoice,
    patch: OfPatch,
}

impl PatchInstall {
    pub(crate) fn new(request: &PatchScriptRequest, choice: ScriptChoice, patch: OfPatch) -> Self {
        let request = AddRequest { scripts: request.settings.clone(), silent: true, ..AddRequest::default() };
        Self { admin: admin(), request, choice, patch }
    }

    /// Permission to run scripts has been checked.
    pub(crate) fn input<'a>(&'a self, session: &'a Session<'a>) -> AddInput<'a> {
        AddInput {
            is_locked: true,
            ground: &session.ground,
            admin: &self.admin,
            system: &self.choice.system,
            policy: ScriptPolicy::Run,
            request: &self.request,
            caller: session.caller,
            patch: Some(&self.patch),
            mended: &[],
        }
    }
}

/// Bytes at the end of output that are searched for messages.
const KEPT: usize = 1 << 20;

/// Lines of output in the message about a failed script.
const LAST_LINES: usize = 5;

/// Of these, in characters.
const LONGEST_LINE: usize = 200;

#[derive(Debug, Default)]
pub(super) struct PatchOutput {
    said: Vec<u8>,
    /// The start of the last script's output in `said`.
    last: usize,
    /// Problems that are not failures.
    pub(super) notes: Vec<String>,
}

impl PatchOutput {
    pub(super) fn message(&self) -> Option<PatchMessage> {
        PatchMessage::last_in(&self.said)
    }

    /// Returns the last lines of the last script that are not empty.
    fn last_lines(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(self.said.get(self.last..).unwrap_or_default());
        let lines = text.lines().rev().map(str::trim_end).filter(|line| !line.is_empty());
        let lines = lines.take(LAST_LINES).map(|line| truncated(line, LONGEST_LINE).into_owned());
        let mut lines: Vec<String> = lines.collect();
        lines.reverse();
        lines
    }

    fn note(&mut self, text: &str) {
        self.notes.push(text.trim().replace('\n', ": "));
    }
}

impl ScriptOutput for PatchOutput {
    fn begins(&mut self) {
        self.last = self.said.len();
    }

    fn heard(&mut self, _: OutputStream, bytes: &[u8]) {
        self.said.extend_from_slice(bytes);
        if self.said.len() > 2 * KEPT {
            let dropped = self.said.len() - KEPT;
            self.said.drain(..dropped);
            self.last = self.last.saturating_sub(dropped);
        }
    }

    fn complains(&mut self, text: &str) {
        self.note(text);
    }

    fn warns(&mut self, text: &str) {
        self.note(text);
    }
}

impl PackageObserver for PatchOutput {}

/// Corrects a backout by scripts: restores the package to its state before the run, then performs the plan as without
/// scripts. Other effects of scripts stay, as do files of classes with own scripts, and lines from installf(1M) for
/// other paths.
pub(crate) struct Restoration<'a> {
    pub(crate) session: &'a Session<'a>,
    pub(crate) patch_plan: &'a PatchPlan,
    pub(crate) part: &'a PackagePlan,
    /// Everything that the backout package may have changed.
    pub(crate) concerned: BTreeSet<ObjectPath>,
    /// Previous lines of `contents`.
    pub(crate) lines: &'a BTreeMap<ObjectPath, ContentsLine>,
}

impl Restoration<'_> {
    /// Call this after the scripts.
    pub(crate) fn carry_out(
        &self,
        run: &mut ScriptedRun<'_>,
        content: &mut dyn ContentSource,
    ) -> Result<(), RunHalt> {
        let (patch_plan, part) = (self.patch_plan, self.part);
        let theirs = part.by_own_scripts();
        let others = patch_plan.plan.changes.iter().filter(|change| change.package != part.package);
        let others: BTreeSet<&ObjectPath> = others.map(|change| &change.path).collect();
        let mut plan = patch_plan.intended(part, &self.session.caller.now).plan;
        let concerned = self.concerned.iter().chain(&part.deletes);
        let changed = plan.changes.iter().map(|change| &change.path);
        let objects =
            concerned.chain(changed).filter(|path| !theirs.contains(*path) && !others.contains(path));
        let objects: BTreeSet<ObjectPath> = objects.cloned().collect();
        run.rewind(&objects, &[places::package(&part.package)])?;
        plan.changes.retain(|change| !theirs.contains(&change.path));
        self.lines_back(&mut plan, &objects, &theirs)?;
        let lines = plan.contents.clone();
        let plan = refresh(&self.session.ground, plan, |path| lines.get(path)?.as_deref().cloned())?;
        Ok(run.switch(&plan, content)?)
    }

    /// Restores lines that scripts changed and the plan does not. Files made by scripts get their present size and sum.
    fn lines_back(
        &self,
        plan: &mut Plan,
        objects: &BTreeSet<ObjectPath>,
        theirs: &BTreeSet<ObjectPath>,
    ) -> Result<(), RunHalt> {
        let paths = objects.union(theirs).cloned().collect();
        let now = self.session.ground.survey(&Touched { paths, ..Touched::default() }, &never)?;
        for path in objects.union(theirs) {
            let before = self.lines.get(path);
            if !plan.contents.contains_key(path) && now.lines.get(path) != before {
                plan.contents.insert(path.clone(), before.cloned().map(Box::new));
            }
        }
        for path in theirs {
            let Some(Some(line)) = plan.contents.get_mut(path) else { continue };
            if let Some(LiveKind::Regular { size, cksum, .. }) = now.live.get(path).map(|live| &live.kind) {
                line.object.content.size = Some(*size);
                line.object.content.cksum = Some(*cksum);
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ApplyResponse<'a> {
    pub(crate) patch: &'a str,
    pub(crate) obsoletes: &'a str,
    /// Applied patches are applied again.
    pub(crate) unconditional: bool,
    pub(crate) no_undo: bool,
    /// Replaces the save directory.
    pub(crate) undo_dir: Option<&'a Path>,
    /// Private directory for building backout packages.
    pub(crate) build_dir: &'a Path,
    pub(crate) delivered: &'a Params,
    pub(crate) installed: &'a Params,
}

impl ApplyResponse<'_> {
    pub(crate) fn text(&self) -> Result<Vec<u8>, UnwritableValue> {
        let mut params = Params::new();
        let word = |is: bool| if is { "true" } else { "false" };
        params.push("PATCH_PROGRESSIVE", "false");
        params.push("PATCH_UNCONDITIONAL", word(self.unconditional));
        params.push("PATCH_NO_UNDO", if self.no_undo { "true" } else { "" });
        params.push("PATCH_BUILD_DIR", self.build_dir.as_os_str().as_bytes());
        let archive = self.undo_dir.map_or(&b"none"[..], |directory| directory.as_os_str().as_bytes());
        params.push("PATCH_UNDO_ARCHIVE", archive);
        for (name, value) in [("Patch_label", self.patch), ("Obsoletes_label", self.obsoletes)] {
            if self.delivered.get(name).is_none() {
                params.push(name, value);
            }
        }
        // An earlier patch's list must not get into this backout package.
        if self.installed.get("ACTIVE_OBSOLETES").is_some() {
            params.push("ACTIVE_OBSOLETES", "");
        }
        write(&params)
    }
}

/// The present records.
pub(crate) fn of_backout(installed: &Params) -> Result<Vec<u8>, UnwritableValue> {
    let mut params = Params::new();
    params.push("OLDLIST", installed.get("PATCHLIST").unwrap_or_default());
    params.push("PATCH_OBSOLETES", installed.get("PATCH_OBSOLETES").unwrap_or_default());
    write(&params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_found_however_its_bytes_came_and_however_much_is_said() {
        let mut listener = PatchOutput::default();
        listener.heard(OutputStream::Out, &vec![b'x'; 3 * KEPT]);
        listener.heard(OutputStream::Out, b"\nPATCH_MSG 2 it is applied\n");
        assert_eq!(listener.message(), None, "the token is another");
        listener.heard(OutputStream::Err, b"PaTcH_M");
        listener.heard(OutputStream::Err, b"sG 8 it is not\ninstalled\n\n");
        let message = listener.message().unwrap();
        assert_eq!((message.number, message.text.as_str()), (8, "it is not installed"));
        assert!(listener.said.len() <= 2 * KEPT);
    }

    #[test]
    fn the_last_lines_are_few_and_short_and_not_empty() {
        let mut listener = PatchOutput::default();
        assert!(listener.last_lines().is_empty());
        listener.heard(OutputStream::Out, b"1\n2\n3\n\n4\n5 \n");
        listener.heard(OutputStream::Err, &vec![b'x'; 1_000]);
        let lines = listener.last_lines();
        assert_eq!(lines[..4], ["2", "3", "4", "5"]);
        assert_eq!((lines.len(), lines[4].chars().count()), (5, LONGEST_LINE));
    }

    #[test]
    fn the_last_lines_are_those_of_the_last_script_alone() {
        let mut listener = PatchOutput::default();
        listener.begins();
        listener.heard(OutputStream::Out, b"of the first\n");
        listener.begins();
        assert!(listener.last_lines().is_empty());
        listener.heard(OutputStream::Out, b"of the second\n");
        assert_eq!(listener.last_lines(), ["of the second"]);
        listener.heard(OutputStream::Out, &vec![b'\n'; 3 * KEPT]);
        listener.begins();
        listener.heard(OutputStream::Err, b"of the third\n");
        assert_eq!(listener.last_lines(), ["of the third"]);
    }

    #[test]
    fn scripts_are_told_what_their_package_does_not_say() {
        let delivered = Params::from_iter([("Patch_label", "900-01")]);
        let installed = Params::from_iter([("PATCHLIST", "100-01 200-01"), ("ACTIVE_OBSOLETES", "50-01")]);
        let applying = ApplyResponse {
            patch: "900-01",
            obsoletes: "890-02 880-01",
            unconditional: false,
            no_undo: true,
            undo_dir: None,
            build_dir: Path::new("/var/tmp/x"),
            delivered: &delivered,
            installed: &installed,
        };
        assert_eq!(
            String::from_utf8(applying.text().unwrap()).unwrap(),
            "PATCH_PROGRESSIVE=false\nPATCH_UNCONDITIONAL=false\nPATCH_NO_UNDO=true\nPATCH_BUILD_DIR=/var/tmp/x\n\
             PATCH_UNDO_ARCHIVE=none\nObsoletes_label=\"890-02 880-01\"\nACTIVE_OBSOLETES=\n"
        );
        let text = of_backout(&installed).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), "OLDLIST=\"100-01 200-01\"\nPATCH_OBSOLETES=\n");
    }
}
