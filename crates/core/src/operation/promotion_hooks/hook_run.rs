//! Running the hooks: one before anything is changed, one after everything is switched.

use std::cell::RefCell;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use super::hook_end::HookEnd;
use super::hook_files::{HookDirection, HookFile, HookFiles};
use crate::operation::failure::Failure;
use crate::operation::log;
use crate::operation::patches::scripts::hooks::HookDirectory;
use crate::operation::scripts::ScriptSettings;
use crate::operation::scripts::failure::ScriptFailure;
use crate::operation::scripts::run::RunHalt;
use crate::operation::scripts::runner::{ScriptOutput, ScriptRunner};
use crate::operation::session::Session;
use crate::script::environment::of_patch;
use crate::script::{ScriptCall, ScriptEnd, search_path};
use patchadm_changeset::format::journal::PatchRecord;
use patchadm_changeset::transaction::{
    Cause, ContentSource, Receipt, RootCondition, ScriptRecorder, SwitchedRun,
};
use patchadm_inputs::stage::StageName;
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::refusal::{HookReason, Reason};
use patchadm_rootfs::Dir;
use patchadm_svr4::patch::PatchId;
use patchadm_svr4::places;

/// A promotion that goes live or comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::operation) struct HookSubject {
    /// Its id.
    pub(in crate::operation) id: PatchId,
    /// The name of its stage.
    pub(in crate::operation) stage: StageName,
}

/// The hooks of a run, and what runs them.
pub(in crate::operation) struct HookRun<'a> {
    session: &'a Session<'a>,
    runner: ScriptRunner<'a>,
    files: HookFiles,
    direction: HookDirection,
    subjects: Vec<HookSubject>,
    ends: Vec<HookEnd>,
    /// The reason why the run is rolled back, if a hook demands it.
    failed: Option<ScriptFailure>,
}

/// Hooks talk to the log alone.
struct LogOnly;

impl ScriptOutput for LogOnly {}

impl<'a> HookRun<'a> {
    /// Prepares the hooks of promotions that are one run; `None` if there are none.
    pub(in crate::operation) fn open(
        session: &'a Session<'a>,
        settings: &'a ScriptSettings,
        files: &HookFiles,
        (direction, subjects): (HookDirection, &[HookSubject]),
    ) -> Result<Option<RefCell<Self>>, Failure> {
        let Some(first) = subjects.first().filter(|_| !files.is_empty()) else { return Ok(None) };
        let refuse = |reason: Reason| Failure::from(reason.of(direction.command(), &first.id));
        let runner = ScriptRunner::open(&session.ground, session.caller.interrupt, settings, false, refuse)?;
        let (files, subjects, ends) = (files.clone(), subjects.to_vec(), files.ends());
        Ok(Some(RefCell::new(Self { session, runner, files, direction, subjects, ends, failed: None })))
    }

    /// Runs the hook that comes before anything is changed, for each promotion. Returns whether there is one.
    pub(in crate::operation) fn before(&mut self) -> Result<bool, Failure> {
        let Some(hook) = self.files.before.clone() else { return Ok(false) };
        for subject in self.subjects.clone() {
            self.hook(&hook, &subject, None).map_err(|halt| self.without_run(halt, &subject))?;
        }
        Ok(true)
    }

    /// Runs the hook that comes after everything is switched, for each promotion.
    fn after(&mut self, run: &mut SwitchedRun<'_>) -> Result<(), Cause> {
        run.log(&self.runner.take_log())?;
        let Some(hook) = self.files.after.clone() else { return Ok(()) };
        for subject in self.subjects.clone() {
            match self.hook(&hook, &subject, Some(&mut *run)) {
                Ok(()) => {}
                Err(RunHalt::Cause(cause) | RunHalt::Saving(cause)) => return Err(cause),
                Err(halt) => match halt.without_run(self.direction.command(), subject.id.as_str()) {
                    Failure::Script(failure) => {
                        let cause = Cause::Script(failure.to_string());
                        self.failed = Some(failure);
                        return Err(cause);
                    }
                    failure => return Err(Cause::Script(failure.to_string())),
                },
            }
        }
        Ok(())
    }

    /// Returns how the hooks ended so far.
    pub(in crate::operation) fn ends(&self) -> Vec<HookEnd> {
        self.ends.clone()
    }

    fn hook(
        &mut self,
        hook: &HookFile,
        subject: &HookSubject,
        mut run: Option<&mut SwitchedRun<'_>>,
    ) -> Result<(), RunHalt> {
        let of_run = run.as_deref().map(SwitchedRun::name);
        let call = self.call(hook, subject, of_run.as_deref())?;
        let recorder = run.as_deref_mut().map(|run| run as &mut dyn ScriptRecorder);
        let ended = self.runner.run(call, recorder, &mut LogOnly)?;
        if let (ScriptEnd::Exited(code), Some(end)) =
            (ended, self.ends.iter_mut().find(|end| end.name == hook.key))
        {
            end.exit = Some(code);
        }
        let answered = run.map(SwitchedRun::script_ended).transpose();
        match (ended, self.runner.interrupted()) {
            (ScriptEnd::Exited(0), _) => Ok(answered.map(drop)?),
            (ScriptEnd::Interrupted, Some(signal)) => Err(Cause::Interrupted(signal).into()),
            _ => {
                let is_before = Some(hook) == self.files.before.as_ref();
                let mut failure = ScriptFailure::of_hook(hook.key, &hook.file, ended, is_before);
                let log = places::own_directory().join(b"log").ok();
                failure.context.log = log.map(|path| self.session.ground.root.show(&path));
                Err(Failure::Script(failure).into())
            }
        }
    }

    fn call(&self, hook: &HookFile, subject: &HookSubject, run: Option<&str>) -> Result<ScriptCall, Failure> {
        let HookSubject { id, stage } = subject;
        let (root, shop) = (self.session.ground.root.prefix(), &self.runner.shop);
        let name = hook.file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let directory = hook.file.parent().unwrap_or(Path::new("/")).to_owned();
        // It is that of the previous promotion, or of the other hook.
        let _ = Dir::of_host(shop.directory()).and_then(|dir| dir.remove(format!("{name}.start").as_bytes()));
        let started = HookDirectory::at(directory.clone()).file(name, shop.directory());
        let file = started.map_err(|failure| self.direction.refuse(unfit(hook, &failure), id))?;
        let path = search_path(shop.tools());
        let (locale, private) = (self.runner.locale, shop.directory());
        let mut environment = of_patch(id.as_str(), root, locale, &path, private, run);
        let own = [
            ("PATCHADM_ID", id.to_string()),
            ("PATCHADM_STAGE", stage.to_string()),
            ("PATCHADM_DIRECTION", self.direction.word().to_owned()),
        ];
        environment.extend(own.map(|(name, value)| (OsString::from(name), OsString::from(value))));
        Ok(ScriptCall { environment, directory, ..self.runner.call(hook.key.to_owned(), file) })
    }

    /// Returns a failure before there was a run: the output of the hook goes into the log of runs that changed nothing.
    fn without_run(&mut self, halt: RunHalt, subject: &HookSubject) -> Failure {
        let command = self.direction.command();
        let failure = halt.without_run(command, subject.id.as_str());
        let mut text = log::head(&format!("{} {}", command.name(), subject.id), &failure).into_bytes();
        text.extend(self.runner.take_log());
        // the user sees it in any case
        let _ = self.session.log(&text);
        failure
    }
}

/// Returns the reason against a hook that cannot be read, or whose interpreter does not exist.
fn unfit(hook: &HookFile, failure: &ScriptFailure) -> HookReason {
    let why = failure.detail().unwrap_or_default().to_owned();
    HookReason::Unfit { hook: hook.key, why, remedy: format!("put {} right", hook.file.display()) }
}

/// Carries a plan out with the hook that comes after everything is switched, if there is one. `before_publishing` is that of
/// the session.
pub(in crate::operation) fn perform_with_hooks(
    session: &Session<'_>,
    hooks: Option<&RefCell<HookRun<'_>>>,
    (plan, content): (&Plan, &mut dyn ContentSource),
    records: Vec<PatchRecord>,
    before_publishing: &dyn Fn(&str) -> Result<(), Cause>,
) -> Result<Receipt, Failure> {
    let when_switched = |run: &mut SwitchedRun<'_>| match hooks {
        Some(hooks) => hooks.borrow_mut().after(run),
        None => Ok(()),
    };
    let done = session.perform_watched(plan, content, records, (before_publishing, &when_switched));
    let failed = hooks.and_then(|hooks| hooks.borrow_mut().failed.take());
    match (done, failed) {
        (Err(Failure::Transaction(error)), Some(mut failure)) if is_rolled_back(&error) => {
            failure.left = RootCondition::RolledBack;
            Err(Failure::Script(failure))
        }
        (done, _) => done,
    }
}

fn is_rolled_back(error: &Arc<patchadm_changeset::transaction::TransactionError>) -> bool {
    error.left == RootCondition::RolledBack
}
