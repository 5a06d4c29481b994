//! Hooks of the policy: programs of the root that run before and after a promotion or its backout.
//!
//! ```text
//!   policy ─► hook files, checked ─► before ─► plan ─► switch ─► after ─► commit
//! ```
//! A hook runs like a patch script. Failure before the run changes nothing; failure after the switch rolls the run
//! back. Hooks have no undo data: their changes count as edits by a user.

use std::cell::RefCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::operation::failure::Failure;
use crate::operation::log;
use crate::operation::patches::scripts::hooks::HookDirectory;
use crate::operation::scripts::ScriptSettings;
use crate::operation::scripts::failure::ScriptFailure;
use crate::operation::scripts::run::RunHalt;
use crate::operation::scripts::runner::{ScriptOutput, ScriptRunner};
use crate::operation::session::{RootAndPolicy, RunOptions, Session};
use crate::script::environment::of_patch;
use crate::script::{ScriptCall, ScriptEnd, search_path};
use patchadm_changeset::format::journal::PatchRecord;
use patchadm_changeset::transaction::{
    Cause, ContentSource, Receipt, RootCondition, ScriptRecorder, SwitchedRun,
};
use patchadm_inputs::policy::ScriptPolicy;
use patchadm_inputs::stage::StageName;
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::refusal::{Command, HookReason, Reason};
use patchadm_rootfs::{Dir, FileType, ForeignObject, Root, RootError};
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::patch::PatchId;
use patchadm_svr4::places;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HookEnd {
    /// The key of the policy.
    pub name: &'static str,
    /// In the root.
    #[serde(skip)]
    pub path: String,
    /// `None` if it did not run or was killed.
    pub exit: Option<i32>,
}

const EXECUTABLE: u32 = 0o111;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HookDirection {
    Promote,
    BackOut,
}

impl HookDirection {
    fn word(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::BackOut => "backout",
        }
    }

    pub(super) fn refuse(self, reason: HookReason, subject: &impl ToString) -> Failure {
        Reason::Hook(reason).of(self.command(), subject).into()
    }

    fn command(self) -> Command {
        match self {
            Self::Promote => Command::Promote,
            Self::BackOut => Command::Patchrm,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct HookFile {
    key: &'static str,
    path: ObjectPath,
    file: PathBuf,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct HookFiles {
    before: Option<HookFile>,
    after: Option<HookFile>,
}

impl HookFiles {
    /// Fails if the policy forbids scripts, or another user could have written a hook. `scripts` includes the options
    /// of the command.
    pub(super) fn of(
        ground: &RootAndPolicy,
        scripts: ScriptPolicy,
        direction: HookDirection,
    ) -> Result<Self, HookReason> {
        let policy = &ground.policy;
        let named = [("promote_before", &policy.promote_before), ("promote_after", &policy.promote_after)];
        let mut found = named.into_iter().map(|(key, path)| {
            let Some(path) = path.as_ref().filter(|_| scripts != ScriptPolicy::Unwanted) else {
                return Ok(None);
            };
            must_be_allowed((key, path), scripts, direction)?;
            hook_file(&ground.root, key, path).map(Some)
        });
        let mut next = || found.next().transpose().map(Option::flatten);
        Ok(Self { before: next()?, after: next()? })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.before.is_none() && self.after.is_none()
    }

    pub(super) fn ends(&self) -> Vec<HookEnd> {
        self.named().map(|(name, path)| HookEnd { name, path: path.to_string(), exit: None }).collect()
    }

    /// Key and path, in the order of their runs.
    pub(super) fn named(&self) -> impl Iterator<Item = (&'static str, &ObjectPath)> {
        self.before.iter().chain(&self.after).map(|hook| (hook.key, &hook.path))
    }
}

fn must_be_allowed(
    (hook, path): (&'static str, &ObjectPath),
    scripts: ScriptPolicy,
    direction: HookDirection,
) -> Result<(), HookReason> {
    let scripts = match scripts {
        ScriptPolicy::Run | ScriptPolicy::Unwanted => return Ok(()),
        ScriptPolicy::Known => "known",
        ScriptPolicy::None => "none",
    };
    let is_backout = direction == HookDirection::BackOut;
    Err(HookReason::Forbidden { hook, path: path.to_string(), scripts, is_backout })
}

fn hook_file(root: &Root, key: &'static str, path: &ObjectPath) -> Result<HookFile, HookReason> {
    let unfit = |why: String, remedy: String| HookReason::Unfit { hook: key, why, remedy };
    let failed = |error: RootError| unfit(error.to_string(), format!("specify another file with {key}"));
    let shown = root.show(path);
    let physical = root.resolver().locate(path).map_err(failed)?;
    let above = physical.parent().unwrap_or_else(ObjectPath::root);
    let dir = root.dir_if_there(&above).map_err(failed)?;
    let seen = dir.map(|dir| dir.look(physical.name())).transpose().map_err(failed)?.flatten();
    let Some(seen) = seen else {
        return Err(unfit(
            format!("{shown} does not exist"),
            format!("create it, or remove {key} from the policy"),
        ));
    };
    if seen.file_type != FileType::Regular {
        let why = format!("{shown} is not a regular file");
        return Err(unfit(why, format!("specify a file with {key}, not a link to one")));
    }
    if let Some(foreign) = root.others_on_the_way(path).map_err(failed)? {
        let ForeignObject { path, is_writable, .. } = &foreign;
        let remedy = if *is_writable { format!("chmod go-w {path}") } else { format!("chown root {path}") };
        return Err(unfit(foreign.to_string(), remedy));
    }
    if seen.mode.bits() & EXECUTABLE == 0 {
        return Err(unfit(format!("{shown} is not executable"), format!("chmod 0755 {shown}")));
    }
    let file = PathBuf::from(root.show(&physical));
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let directory = HookDirectory::at(file.parent().map(PathBuf::from).unwrap_or_default());
    let runs = directory.must_be_executable([name]);
    runs.map_err(|failure| unfit(failure.detail().unwrap_or_default().to_owned(), format!("fix {shown}")))?;
    Ok(HookFile { key, path: path.clone(), file })
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HookSubject {
    pub(super) id: PatchId,
    pub(super) stage: StageName,
}

pub(super) struct HookRun<'a> {
    session: &'a Session<'a>,
    runner: ScriptRunner<'a>,
    files: HookFiles,
    direction: HookDirection,
    subjects: Vec<HookSubject>,
    ends: Vec<HookEnd>,
    failed: Option<ScriptFailure>,
}

/// Output of hooks goes to the log only.
struct LogOnly;

impl ScriptOutput for LogOnly {}

impl<'a> HookRun<'a> {
    pub(super) fn open(
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

    /// Runs the hook before the run, once per promotion. Returns whether there is one.
    pub(super) fn before(&mut self) -> Result<bool, Failure> {
        let Some(hook) = self.files.before.clone() else { return Ok(false) };
        for subject in self.subjects.clone() {
            self.hook(&hook, &subject, None).map_err(|halt| self.without_run(halt, &subject))?;
        }
        Ok(true)
    }

    /// Runs the hook after the switch, once per promotion.
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

    pub(super) fn ends(&self) -> Vec<HookEnd> {
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
        // Left by the previous promotion, or by the other hook.
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

    /// The output of the hook goes to the log of runs that changed nothing.
    fn without_run(&mut self, halt: RunHalt, subject: &HookSubject) -> Failure {
        let command = self.direction.command();
        let failure = halt.without_run(command, subject.id.as_str());
        let mut text = log::head(&format!("{} {}", command.name(), subject.id), &failure).into_bytes();
        text.extend(self.runner.take_log());
        self.session.log_attempt(&text, &failure, (subject.id.as_str(), &[]));
        failure
    }
}

fn unfit(hook: &HookFile, failure: &ScriptFailure) -> HookReason {
    let why = failure.detail().unwrap_or_default().to_owned();
    HookReason::Unfit { hook: hook.key, why, remedy: format!("fix {}", hook.file.display()) }
}

/// `before_publishing` is that of the session.
pub(super) fn perform_with_hooks(
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
    let options = RunOptions { records, before_publishing, when_switched: &when_switched };
    let done = session.perform_run(plan, content, options);
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
