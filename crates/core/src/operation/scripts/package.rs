//! The scripts of one package in a run that changes the root, with the consequences of their results.
//!
//! This is the same for installation, removal and patches.

use std::ffi::OsString;
use std::path::PathBuf;

use super::context::ScriptContext;
use super::failure::{LastingResults, ScriptFailure};
use super::halt::{RunHalt, unanswered};
use super::runner::{ScriptOutput, ScriptRunner};
use super::safety::check_place;
use crate::operation::failure::Failure;
use crate::script::environment::{ProcedureScript, ScriptOrigin};
use crate::script::protocol::ScriptOutcome;
use crate::script::{ScriptCall, ScriptEnd, ScriptInput, standard};
use patchadm_changeset::transaction::{Cause, ScriptedRun};
use patchadm_planning::plan::scripts::Deliverer;
use patchadm_rootfs::{Dir, NewTree};
use patchadm_svr4::package::Mode;
use patchadm_svr4::places;

/// The scripts of one package in a run.
pub(crate) struct PackageScripts<'a, 'p> {
    pub(crate) runner: &'a mut ScriptRunner<'p>,
    pub(crate) context: ScriptContext,
    /// The results so far.
    pub(crate) ending: LastingResults,
    pub(crate) failed_requests: FailedRequests,
}

/// The consequence of a failed call of installf(1M) or removef(1M), if the calling script went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailedRequests {
    /// It is told, and has no other consequence: the script of a package knows what it can do without.
    Tell,
    /// The run is given up: patchadd(1M) and patchrm(1M) have no code for a patch that is applied in part.
    GiveUp,
}

impl PackageScripts<'_, '_> {
    /// Runs a script that reads `list`, and gives up if it refuses.
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

    /// Draws the consequence of failed calls of installf(1M) and removef(1M) that a script did not report.
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

    /// Finds the file of a script, as the host has it. A script of this program is written into the private directory.
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
                // A script that was needed before exists already, with the same content.
                dir.remove(name.as_bytes()).map_err(Cause::from)?;
                let written = NewTree::below(dir).write(name.as_bytes(), text.as_ref(), Mode::of(0o644));
                written.map_err(Cause::from)?;
                Ok(private.join(&name))
            }
        }
    }
}
