//! Scripts within a run, between batches of changes; a refusal rolls the run back. Installation, removal and patches
//! share this.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::operation::failure::Failure;
use crate::operation::scripts::failure::{LastingResults, ScriptFailure};
use crate::operation::scripts::runner::{ScriptContext, ScriptOutput, ScriptRunner};
use crate::operation::scripts::safety::check_place;
use crate::operation::session::RootAndPolicy;
use crate::script::environment::{ProcedureScript, ScriptOrigin};
use crate::script::protocol::ScriptOutcome;
use crate::script::{ScriptCall, ScriptEnd, ScriptError, ScriptInput, standard};
use patchadm_changeset::format::manifest::{RecordedState, StateDifferences};
use patchadm_changeset::transaction::{
    Cause, Phase, Receipt, RootCondition, ScriptedRun, TransactionError, read_queue,
};
use patchadm_inputs::database::contents::paths_of_queue;
use patchadm_inputs::database::{RecordView, open_run};
use patchadm_inputs::inventory::Touched;
use patchadm_planning::plan::refresh::refreshed;
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_planning::plan::registration::merged;
use patchadm_planning::plan::scripts::Deliverer;
use patchadm_planning::plan::{Action, Body, Plan};
use patchadm_rootfs::{Dir, Live, LiveKind, NewTree, Root, RootError, never};
use patchadm_svr4::package::{ContentsLine, Mode, ObjectPath, PkgInst};
use patchadm_svr4::places;

pub(crate) struct PackageScripts<'a, 'p> {
    pub(crate) runner: &'a mut ScriptRunner<'p>,
    pub(crate) context: ScriptContext,
    pub(crate) ending: LastingResults,
    pub(crate) failed_requests: FailedRequests,
}

/// Consequence of a failed installf(1M) or removef(1M) if the script went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailedRequests {
    /// Only report it: a package's script knows what it can do without.
    Tell,
    /// Give up: patchadd(1M) and patchrm(1M) have no code for a partly applied patch.
    GiveUp,
}

impl PackageScripts<'_, '_> {
    /// The script reads `list`; a refusal ends the run.
    pub(crate) fn run_script(
        &mut self,
        run: &mut ScriptedRun<'_>,
        script: &ProcedureScript,
        deliverer: Deliverer,
        list: Vec<u8>,
        output: &mut dyn ScriptOutput,
    ) -> Result<(), RunHalt> {
        let origin =
            if deliverer == Deliverer::Package { ScriptOrigin::Package } else { ScriptOrigin::Elsewhere };
        let file = self.file(script, deliverer)?;
        let arguments: Vec<OsString> = match script {
            ProcedureScript::InstallClass(_) => vec!["ENDOFCLASS".into()],
            _ => Vec::new(),
        };
        let call = ScriptCall {
            arguments,
            environment: self.context.environment(self.runner, script, origin),
            directory: self.context.working_directory(self.runner.ground.root.prefix()),
            input: if list.is_empty() { ScriptInput::Nothing } else { ScriptInput::Bytes(list) },
            ..self.runner.call(script.name(), file)
        };
        let ended = self.runner.run(call, Some(&mut *run), output)?;
        run.script_ended()?;
        if let (ScriptEnd::Interrupted, Some(signal)) = (ended, self.runner.interrupted()) {
            return Err(Cause::Interrupted(signal).into());
        }
        let outcome = ScriptOutcome::of(ended, false);
        let failure = ScriptFailure::new(script, ended, outcome);
        if !outcome.commits() {
            return Err(Failure::Script(failure).into());
        }
        self.ending.reboot = self.ending.reboot.max(outcome.reboot);
        if failure.is_warning() {
            self.ending.warned = true;
            output.complains(&failure.to_string());
        }
        self.judge_requests(run, &script.name(), output)?;
        self.context.has_begun |= matches!(script, ProcedureScript::Preinstall | ProcedureScript::Preremove);
        Ok(())
    }

    /// Handles failed installf(1M) and removef(1M) calls that a script did not report.
    fn judge_requests(
        &mut self,
        run: &ScriptedRun<'_>,
        script: &str,
        output: &mut dyn ScriptOutput,
    ) -> Result<(), RunHalt> {
        let failed = run.take_failed_requests()?;
        if failed.is_empty() {
            return Ok(());
        }
        if self.failed_requests == FailedRequests::GiveUp {
            return Err(unanswered(script, &failed).into());
        }
        for text in failed {
            output.complains(&format!("in script {script}: {text}"));
        }
        Ok(())
    }

    fn file(&self, script: &ProcedureScript, deliverer: Deliverer) -> Result<PathBuf, RunHalt> {
        let (name, ground) = (script.name(), self.runner.ground);
        let delivered = places::class_scripts();
        match deliverer {
            Deliverer::Package => Ok(self.context.installed_scripts(ground.root.prefix()).join(name)),
            Deliverer::Root => {
                check_place(ground, &delivered)?;
                Ok(PathBuf::from(ground.root.show(&delivered)).join(name))
            }
            Deliverer::Host => Ok(PathBuf::from(ground.host.show(&delivered)).join(name)),
            Deliverer::Standard => {
                let text = standard::standard(&name)
                    .ok_or_else(|| Cause::Internal(format!("there is no script {name}")))?;
                let private = self.runner.shop.directory();
                let dir = Dir::of_host(private).map_err(Cause::from)?;
                // It exists if it was needed before, with the same content.
                dir.remove(name.as_bytes()).map_err(Cause::from)?;
                let written = NewTree::below(dir).write(name.as_bytes(), text.as_ref(), Mode::of(0o644));
                written.map_err(Cause::from)?;
                Ok(private.join(&name))
            }
        }
    }
}

#[derive(Debug)]
pub(crate) enum RunHalt {
    Cause(Cause),
    /// Undo data cannot be written.
    Saving(Cause),
    /// The plan no longer fits the root.
    Refused(Reason),
    Failure(Box<Failure>),
}

impl From<Cause> for RunHalt {
    fn from(cause: Cause) -> Self {
        Self::Cause(cause)
    }
}

impl From<Reason> for RunHalt {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason)
    }
}

impl From<Failure> for RunHalt {
    fn from(failure: Failure) -> Self {
        Self::Failure(Box::new(failure))
    }
}

impl From<ScriptError> for RunHalt {
    fn from(error: ScriptError) -> Self {
        Self::Cause(match error {
            ScriptError::NotBegun { name, source } => Cause::NotBegun { script: name, source },
            error => Cause::Script(error.to_string()),
        })
    }
}

impl From<RootError> for RunHalt {
    fn from(error: RootError) -> Self {
        Self::Cause(error.into())
    }
}

impl RunHalt {
    pub(crate) fn while_saving(self) -> Self {
        match self {
            Self::Cause(cause) if !matches!(cause, Cause::Interrupted(_)) => Self::Saving(cause),
            other => other,
        }
    }

    pub(crate) fn of_package(mut self, package: &PkgInst) -> Self {
        if let Self::Failure(failure) = &mut self
            && let Failure::Script(failure) = &mut **failure
        {
            failure.context.package = Some(package.to_string());
        }
        self
    }

    /// For a command that has changed nothing. `subject` is its package or patch.
    pub(crate) fn without_run(self, command: Command, subject: &str) -> Failure {
        match self {
            Self::Cause(cause) | Self::Saving(cause) => {
                TransactionError { phase: Phase::Prepare, cause, left: RootCondition::Unchanged }.into()
            }
            Self::Refused(reason) => reason.of(command, &subject).into(),
            Self::Failure(failure) => *failure,
        }
    }

    fn give_up(self, run: ScriptedRun<'_>, command: Command, subject: &str) -> Failure {
        let failure = match self {
            Self::Cause(cause) => return run.roll_back(Phase::Switch, cause).into(),
            Self::Saving(cause) => return run.roll_back(Phase::Snapshot, cause).into(),
            other => other.without_run(command, subject),
        };
        let undone = run.roll_back(Phase::Switch, Cause::Script(failure.to_string()));
        match failure {
            _ if undone.left != RootCondition::RolledBack => undone.into(),
            Failure::Script(mut failure) => {
                failure.left = RootCondition::RolledBack;
                Failure::Script(failure)
            }
            failure => failure,
        }
    }
}

/// Commits a complete run, or gives it up. `subject` is the package or patch.
pub(crate) fn end_run(
    run: ScriptedRun<'_>,
    done: Result<(), RunHalt>,
    command: Command,
    subject: &str,
) -> Result<Receipt, Failure> {
    match done {
        Ok(()) => Ok(run.commit()?),
        Err(halt) => Err(halt.give_up(run, command, subject)),
    }
}

/// For unreported failures of installf(1M) or removef(1M).
pub(crate) fn unanswered(script: &str, failed: &[String]) -> Cause {
    Cause::Script(format!("in script {script}: {}", failed.join("; ")))
}

/// Adapts a plan to the present root. `line` returns the final line of a path.
pub(crate) fn refresh(
    ground: &RootAndPolicy,
    plan: Plan,
    line: impl Fn(&ObjectPath) -> Option<ContentsLine>,
) -> Result<Plan, RunHalt> {
    let mut touched = Touched::default();
    for change in &plan.changes {
        touched.paths.insert(change.path.clone());
        if let Action::Add(new) | Action::Replace(new) = &change.action
            && let Body::Link(of) | Body::CopyOf(of) = &new.body
        {
            touched.paths.insert(of.clone());
        }
    }
    let now = ground.survey(&touched, &never)?;
    Ok(refreshed(plan, &now, line)?)
}

/// Adds queued installf(1M) and removef(1M) requests to the last batch.
pub(crate) fn with_requests(ground: &RootAndPolicy, mut last: Plan) -> Result<Plan, RunHalt> {
    let root = &ground.root;
    let open = open_run(root).map_err(Failure::from)?;
    let Some(stage) = open.and_then(|open| open.stage) else { return Ok(last) };
    let queue = read_queue(root, &stage)?;
    if queue.0.is_empty() {
        return Ok(last);
    }
    let paths = paths_of_queue(&RecordView::live(root), &queue).map_err(Failure::from)?;
    let mut now = ground.survey(&Touched { paths, ..Touched::default() }, &never)?;
    for (path, line) in &last.contents {
        match line {
            Some(line) => drop(now.lines.insert(path.clone(), (**line).clone())),
            None => drop(now.lines.remove(path)),
        }
    }
    last.contents.extend(merged(&now, &queue));
    Ok(last)
}

/// Objects that stay, with their state before the run.
pub(crate) type StayingObjects = BTreeMap<ObjectPath, Live>;

pub(crate) fn check_staying(root: &Root, staying: &StayingObjects) -> Result<(), RunHalt> {
    for (path, before) in staying {
        let now = root.live_at(&root.resolver().locate(path)?)?;
        if now.is_none_or(|now| !is_same(before, &now)) {
            let what = "is kept for programs that need it, and a script changed or removed it";
            return Err(Cause::Script(format!("{} {what}", root.show(path))).into());
        }
    }
    Ok(())
}

fn is_same(before: &Live, now: &Live) -> bool {
    let differ = StateDifferences::between(&RecordedState::of(before), &RecordedState::of(now));
    let is_link = matches!(before.kind, LiveKind::Symlink(_));
    !differ.is_of_content() && (is_link || differ.mode == 0 && !differ.owner && !differ.mtime)
}
