//! Scripts as a part of a run that changes the root: what follows from how each one ends, and giving the run up.
//!
//! The same for installation, removal and patches.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::database::contents::paths_of_queue;
use crate::database::{View, open_run, places};
use crate::inventory::Touched;
use crate::operation::failure::Failure;
use crate::operation::scripts::briefing::Briefing;
use crate::operation::scripts::failure::{Ending, ScriptFailure};
use crate::operation::scripts::runner::{Procedure, Procedures, Voice};
use crate::operation::scripts::safety::check_place;
use crate::operation::session::Ground;
use crate::package::{Line, Mode, ObjectPath};
use crate::plan::queue::merged;
use crate::plan::refresh::refreshed;
use crate::plan::refusal::{Command, Reason};
use crate::plan::scripts::Deliverer;
use crate::plan::{Action, Body, Plan};
use crate::root::{Dir, NewTree, RootError};
use crate::script::environment::{Origin, Script};
use crate::script::protocol::Outcome;
use crate::script::{As, Ended, Input, ScriptError, standard};
use crate::transaction::{Cause, Left, Phase, ScriptedRun, read_queue};

/// Why a run is given up.
#[derive(Debug)]
pub(in crate::operation) enum Halt {
    /// The transaction cannot go on.
    Cause(Cause),
    /// The undo data cannot be written.
    Saving(Cause),
    /// A script says no.
    Script(ScriptFailure),
    /// What was planned does not fit any more.
    Refused(Reason),
    /// Something else failed.
    Failure(Box<Failure>),
}

impl From<Cause> for Halt {
    fn from(cause: Cause) -> Self {
        Self::Cause(cause)
    }
}

impl From<Reason> for Halt {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason)
    }
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::Failure(Box::new(failure))
    }
}

impl From<ScriptError> for Halt {
    fn from(error: ScriptError) -> Self {
        Self::Cause(match error {
            ScriptError::NotBegun { name, source } => Cause::NotBegun { script: name, source },
            error => Cause::Script(error.to_string()),
        })
    }
}

impl From<RootError> for Halt {
    fn from(error: RootError) -> Self {
        Self::Cause(error.into())
    }
}

impl Halt {
    /// The same, met while undo data was written.
    pub(in crate::operation) fn while_saving(self) -> Self {
        match self {
            Self::Cause(cause) if !matches!(cause, Cause::Interrupted(_)) => Self::Saving(cause),
            other => other,
        }
    }

    /// Puts everything back. `subject` is the package or patch of `command`.
    pub(in crate::operation) fn give_up(
        self,
        run: ScriptedRun<'_>,
        command: Command,
        subject: &str,
    ) -> Failure {
        let (cause, failure) = match self {
            Self::Cause(cause) => return run.roll_back(Phase::Switch, cause).into(),
            Self::Saving(cause) => return run.roll_back(Phase::Snapshot, cause).into(),
            Self::Script(failure) => (Cause::Script(failure.to_string()), Failure::Script(failure)),
            Self::Refused(reason) => {
                let refusal = reason.of(command, &subject);
                (Cause::Script(refusal.to_string()), refusal.into())
            }
            Self::Failure(failure) => (Cause::Script(failure.to_string()), *failure),
        };
        let undone = run.roll_back(Phase::Switch, cause);
        match failure {
            _ if undone.left != Left::RolledBack => undone.into(),
            Failure::Script(mut failure) => {
                failure.left = Left::RolledBack;
                Failure::Script(failure)
            }
            failure => failure,
        }
    }
}

/// The file of a script, and where it comes from.
#[derive(Clone, Debug)]
pub(in crate::operation) struct ScriptFile {
    /// Its path, as the host has it.
    pub(in crate::operation) path: PathBuf,
    /// Whose script it is.
    pub(in crate::operation) origin: Origin,
}

/// Why a run is given up whose script did not tell that calls of installf(1M) or removef(1M) failed.
pub(in crate::operation) fn unanswered(script: &str, failed: &[String]) -> Cause {
    Cause::Script(format!("in script {script}: {}", failed.join("; ")))
}

/// The scripts of one package in a run.
pub(in crate::operation) struct Cast<'a, 'p> {
    pub(in crate::operation) ground: &'a Ground,
    pub(in crate::operation) procedures: &'a mut Procedures<'p>,
    pub(in crate::operation) briefing: Briefing,
    /// What they have to say for the command as a whole, so far.
    pub(in crate::operation) ending: Ending,
    /// What follows when what a script asked installf(1M) or removef(1M) for failed, and the script went on.
    pub(in crate::operation) failed_requests: FailedRequests,
}

/// What a failed call of installf(1M) or removef(1M) means, where the script that made it went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::operation) enum FailedRequests {
    /// The package is installed, or gone, in part: a warning, which pkgadd(1M) and pkgrm(1M) have a code for.
    Warn,
    /// The run is given up: patchadd(1M) and patchrm(1M) have no code for a patch that is applied in part.
    GiveUp,
}

impl Cast<'_, '_> {
    /// Runs a script, and gives up where it says no.
    pub(in crate::operation) fn run(
        &mut self,
        run: &mut ScriptedRun<'_>,
        script: &Script,
        file: ScriptFile,
        arguments: Vec<OsString>,
        input: Input,
        voice: &mut dyn Voice,
    ) -> Result<(), Halt> {
        let procedure = Procedure {
            name: script.name(),
            file: file.path,
            arguments,
            environment: self.briefing.environment(&self.procedures.shop, script, file.origin),
            user: As::Caller,
            directory: self.briefing.working_directory(&self.ground.root),
            input,
        };
        let ended = self.procedures.run(procedure, Some(&mut *run), voice)?;
        run.script_ended()?;
        if let (Ended::Interrupted, Some(signal)) = (ended, self.procedures.interrupted()) {
            return Err(Cause::Interrupted(signal).into());
        }
        let outcome = Outcome::of(ended, false);
        let failure = ScriptFailure::new(script, ended, outcome);
        if !outcome.commits() {
            return Err(Halt::Script(failure));
        }
        self.ending.reboot = self.ending.reboot.max(outcome.reboot);
        if failure.is_warning() {
            self.ending.warned = true;
            voice.complains(&failure.to_string());
        }
        self.judge_requests(run, &script.name(), voice)?;
        if matches!(script, Script::Preinstall | Script::Preremove) {
            self.briefing.has_begun = true;
        }
        Ok(())
    }

    /// Draws the consequence of failed calls of installf(1M) and removef(1M) that a script did not tell of.
    fn judge_requests(
        &mut self,
        run: &ScriptedRun<'_>,
        script: &str,
        voice: &mut dyn Voice,
    ) -> Result<(), Halt> {
        let failed = run.take_failed_requests()?;
        if failed.is_empty() {
            return Ok(());
        }
        if self.failed_requests == FailedRequests::GiveUp {
            return Err(unanswered(script, &failed).into());
        }
        self.ending.warned = true;
        for text in failed {
            voice.complains(&format!("in script {script}: {text}"));
        }
        Ok(())
    }

    /// Where the scripts of the package are.
    fn directory(&self) -> PathBuf {
        self.briefing.installed_scripts(&self.ground.root)
    }

    /// The file of a procedure script of the package.
    pub(in crate::operation) fn own_script(&self, name: &str) -> ScriptFile {
        ScriptFile { path: self.directory().join(name), origin: Origin::Package }
    }

    /// The file of a class action script.
    pub(in crate::operation) fn class_script(
        &self,
        script: &Script,
        deliverer: Deliverer,
    ) -> Result<ScriptFile, Halt> {
        let origin = if deliverer == Deliverer::Package { Origin::Package } else { Origin::Elsewhere };
        Ok(ScriptFile { path: self.class_script_path(script, deliverer)?, origin })
    }

    fn class_script_path(&self, script: &Script, deliverer: Deliverer) -> Result<PathBuf, Halt> {
        let name = script.name();
        let delivered = places::class_scripts();
        match deliverer {
            Deliverer::Package => Ok(self.directory().join(name)),
            Deliverer::Root => {
                check_place(self.ground, &delivered)?;
                Ok(PathBuf::from(self.ground.root.show(&delivered)).join(name))
            }
            Deliverer::Host => Ok(PathBuf::from(self.ground.host.show(&delivered)).join(name)),
            Deliverer::Standard => {
                let text = standard::standard(&name)
                    .ok_or_else(|| Cause::Internal(format!("there is no script {name}")))?;
                let private = self.procedures.shop.directory();
                let dir = Dir::of_host(private).map_err(Cause::from)?;
                // A script that was needed before is there already, and the same.
                dir.remove(name.as_bytes()).map_err(Cause::from)?;
                let written = NewTree::below(dir).write(name.as_bytes(), text.as_ref(), Mode::of(0o644));
                written.map_err(Cause::from)?;
                Ok(private.join(&name))
            }
        }
    }

    /// The changes of a batch as they have to be made now. `line` gives the final line of a path.
    pub(in crate::operation) fn fresh(
        &self,
        plan: Plan,
        line: impl Fn(&ObjectPath) -> Option<Line>,
    ) -> Result<Plan, Halt> {
        fresh(self.ground, plan, line)
    }

    /// The last batch of a run with what its scripts asked installf(1M) and removef(1M) for: lines of `contents` that
    /// come on top of those that the batch has.
    pub(in crate::operation) fn with_queue(&self, mut last: Plan) -> Result<Plan, Halt> {
        let root = &self.ground.root;
        let Some(open) = open_run(root).map_err(Failure::from)? else { return Ok(last) };
        let queue = read_queue(root, &open.stage)?;
        if queue.0.is_empty() {
            return Ok(last);
        }
        let paths = paths_of_queue(&View::live(root), &queue).map_err(Failure::from)?;
        let mut now = self.ground.survey(&Touched { paths, ..Touched::default() }, None)?;
        for (path, line) in &last.contents {
            match line {
                Some(line) => drop(now.lines.insert(path.clone(), line.clone())),
                None => drop(now.lines.remove(path)),
            }
        }
        last.contents.extend(merged(&now, &queue));
        Ok(last)
    }
}

/// A plan whose changes fit the root as it is now. `line` gives the final line of a path.
pub(in crate::operation) fn fresh(
    ground: &Ground,
    plan: Plan,
    line: impl Fn(&ObjectPath) -> Option<Line>,
) -> Result<Plan, Halt> {
    let mut touched = Touched::default();
    for change in &plan.changes {
        touched.paths.insert(change.path.clone());
        if let Action::Add(new) | Action::Replace(new) = &change.action
            && let Body::Link(of) | Body::CopyOf(of) = &new.body
        {
            touched.paths.insert(of.clone());
        }
    }
    let now = ground.survey(&touched, None)?;
    Ok(refreshed(plan, &now, line)?)
}
