//! The scripts of one patch at work: its hooks, and the questions of its packages before anything is changed.

use std::path::PathBuf;

use super::hooks::HookDirectory;
use super::kept;
use super::output::PatchOutput;
use super::through_links::{must_not_delete_through_links, must_not_look_through_links};
use crate::operation::device::DeliveredPackage;
use crate::operation::failure::Failure;
use crate::operation::log;
use crate::operation::packages::planning::{AddInput, PackagePlacement};
use crate::operation::scripts::failure::{LastingResults, ScriptFailure};
use crate::operation::scripts::interview::{ScriptAnswers, ScriptQuestions, interview};
use crate::operation::scripts::package_directory::PackageDirectory;
use crate::operation::scripts::run::{RunHalt, unanswered};
use crate::operation::scripts::runner::{ScriptContext, ScriptRunner, base_of};
use crate::operation::scripts::safety::{check_places, needs_absolute_tools};
use crate::operation::session::{RootAndPolicy, Session};
use crate::script::environment::of_patch;
use crate::script::{RunAs, ScriptCall, ScriptEnd, ScriptInput, search_path};
use patchadm_changeset::transaction::{Cause, ScriptRecorder, ScriptedRun};
use patchadm_planning::plan::patch::beyond_scripts::{check_scripts_can, keeps_undo_data};
use patchadm_planning::plan::patch::engine::Bookkeeping;
use patchadm_planning::plan::patch::patch_plan::{PackagePlan, PatchPlan};
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_rootfs::Dir;
use patchadm_svr4::format::response::UnwritableValue;
use patchadm_svr4::package::{Mode, Params};
use patchadm_svr4::places;

/// A package of the patch that is about to be performed.
pub(crate) struct PatchPackage<'d> {
    pub(crate) part: PackagePlan,
    pub(crate) delivered: DeliveredPackage<'d>,
    pub(super) directory: PackageDirectory,
    pub(super) context: ScriptContext,
    pub(crate) answers: ScriptAnswers,
}

/// The two directions of a patch.
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

/// The scripts of one patch at work.
pub(crate) struct PatchScripts<'a> {
    pub(super) session: &'a Session<'a>,
    pub(super) input: AddInput<'a>,
    pub(super) runner: ScriptRunner<'a>,
    pub(super) output: PatchOutput,
    hooks: HookDirectory,
    hook_names: Vec<String>,
    pub(super) direction: ScriptDirection,
    pub(super) id: String,
    pub(super) ending: LastingResults,
}

/// Refuses a patch with scripts if a place that they work in is somewhere else for the host than for this program, or if
/// they cannot do their part of a change.
pub(in crate::operation::patches) fn must_be_safe(
    ground: &RootAndPolicy,
    command: Command,
    id: &str,
    scripted: &PatchPlan,
) -> Result<(), Failure> {
    let parts = scripted.parts.iter().filter(|_| scripted.has_scripts());
    for part in parts {
        check_places(ground, &part.package, base_of(&part.params).as_ref())
            .map_err(|reason| reason.of(command, &id))?;
    }
    check_scripts_can(scripted, command, |path| ground.root.show(path))
        .map_err(|reason| reason.of(command, &id))?;
    if keeps_undo_data(scripted, command) {
        must_not_look_through_links(ground, id, scripted)?;
    }
    must_not_delete_through_links(ground, (command, id), scripted)
}

impl<'a> PatchScripts<'a> {
    /// Prepares the scripts. Refuses them if they would not be safe.
    pub(crate) fn open(
        session: &'a Session<'a>,
        input: AddInput<'a>,
        direction: ScriptDirection,
        scripted: &PatchPlan,
        packages: &[DeliveredPackage<'_>],
        hooks: Option<HookDirectory>,
    ) -> Result<Self, Failure> {
        let id = scripted.plan.patches.first().cloned().unwrap_or_default();
        let ground = &session.ground;
        let refuse = |reason: Reason| Failure::from(reason.of(direction.command(), &id));
        let absolute = packages.iter().any(|package| needs_absolute_tools(package.image));
        must_be_safe(ground, direction.command(), &id, scripted)?;
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
            .must_be_executable(scripted.hooks.iter().map(|hook| hook.name.as_str()))
            .map_err(Failure::Script)?;
        let (output, ending) = (PatchOutput::default(), LastingResults::default());
        let hook_names = scripted.hooks.iter().map(|hook| hook.name.clone()).collect();
        Ok(Self { session, input, runner, output, hooks, hook_names, direction, id, ending })
    }

    /// Returns the private directory in which scripts build backout packages.
    pub(crate) fn build_directory(&self) -> Result<PathBuf, Failure> {
        let private = self.runner.shop.directory();
        let made = Dir::of_host(private).and_then(|dir| dir.make_dir(b"build", Mode::of(0o700)));
        made.map_err(|error| unprepared(&error.into())).map(|_| private.join("build"))
    }

    /// Runs the script of the patch itself that comes before its packages, if it is planned. Returns whether it ran.
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

    pub(super) fn has_hook(&self, name: &str) -> bool {
        self.hook_names.iter().any(|hook| hook == name)
    }

    pub(super) fn hook(&mut self, name: &str, mut run: Option<&mut ScriptedRun<'_>>) -> Result<(), RunHalt> {
        if self.direction == ScriptDirection::BackOut {
            // what ran before it may have written it
            let id = self.patch_id().map_err(RunHalt::Refused)?;
            kept::may_run(&self.session.ground, &id, name)?;
        }
        let shop = &self.runner.shop;
        let (root, private) = (self.session.ground.root.prefix(), shop.directory());
        let file = self.hooks.file(name, private).map_err(Failure::Script)?;
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

    /// Prepares all packages, and runs the planned checkinstall of each. `response` makes the response file for scripts that
    /// maintain the records.
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
                Bookkeeping::Scripts => response(&package.part, delivered).map_err(|value| untold(&value))?,
                Bookkeeping::Program => Vec::new(),
            };
            if package.part.chosen.has_scripts() {
                self.ask(&mut package, given)?;
            }
            ready.push(package);
        }
        Ok(ready)
    }

    /// Finds the place of a package: that of the instance that was found for it.
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
        let reason = Reason::BadPatch(format!("it would go over {}, not {}", placed.instance, part.package));
        Err(reason.of(self.direction.command(), &self.id).into())
    }

    /// Runs the checkinstall of a package, if that is planned. `given` is the response file that it is called with.
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

    /// Returns a failure before there was a run. The output of the scripts goes into the log of runs that changed nothing.
    fn without_run(&mut self, halt: RunHalt) -> Failure {
        let failure = halt.without_run(self.direction.command(), &self.id);
        let subject = format!("{} {}", self.direction.command().name(), self.id);
        let mut text = log::head(&subject, &failure).into_bytes();
        text.extend(self.runner.take_log());
        // the user sees it in any case
        let _ = self.session.log(&text);
        self.told(failure)
    }

    /// Returns a failure of a script, with the words of the script and the place of its output.
    pub(super) fn told(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Script(mut failure) => {
                failure.context.message = self.output.message();
                let log = places::own_directory().join(b"log").ok();
                failure.context.log = log.map(|path| self.session.ground.root.show(&path));
                Failure::Script(failure)
            }
            other => other,
        }
    }
}

/// Returns the failure for a value that cannot be written in a response file.
fn untold(value: &UnwritableValue) -> Failure {
    let UnwritableValue { name, reason } = value;
    Failure::BadFile(format!("the value of {name} cannot be told to scripts: {reason}"))
}

fn unprepared(error: &std::io::Error) -> Failure {
    crate::script::ScriptError::Preparation(error.to_string()).into()
}
