//! Patches whose scripts take part: hooks, questions, and the packages with their scripts, all in one run.
//!
//! ```text
//!   plan ─► prepatch ─► checkinstall of each package ─► plan again ─► run begins
//!        ─► package by package: its course ─► records of the patch ─► postpatch ─► commit
//! ```
//! The same for a backout, with prebackout and postbackout. Whatever fails before the commit, everything that belongs
//! to any of the packages is as before. What a prepatch did to something else stays: it ran before the run.

mod after;
pub(super) mod applying;
pub(super) mod backing_out;
mod hooks;
mod listener;
mod response;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;

use super::add_package::preparation::Placed;
use super::add_package::staging::base_of;
use super::add_package::{AddRequest, Place};
use super::device::Device;
use super::failure::Failure;
use super::installation::{Installation, described};
use super::log;
use super::scripted_installation::{Performance, delivered_as_placed, held};
use super::scripts::briefing::Briefing;
use super::scripts::interview::{Answers, Questions, interview};
use super::scripts::medium::Medium;
use super::scripts::procedures::{Procedure, Procedures};
use super::scripts::run::{Cast, Halt};
use super::scripts::safety::{check_places, check_tools, needs_absolute_tools};
use super::scripts::{Ending, Reboot, ScriptFailure, ScriptSettings, system_scripts};
use super::session::{Ground, Session};
use crate::database::places;
use crate::format::admin::{Admin, Alteration, Check, Instance, RequestUser};
use crate::format::response::UnwritableValue;
use crate::package::{Inventory, ObjectPath, Params, ScriptPolicy};
use crate::plan::course::Course;
use crate::plan::engine::{Bookkeeping, Engine, ScriptChoice};
use crate::plan::parts::{Part, Scripted};
use crate::plan::refusal::{Command, Reason};
use crate::plan::{Plan, RecordChange};
use crate::script::environment::of_patch;
use crate::script::{As, Ended, Input, search_path};
use crate::transaction::{Cause, Content, Held, Left, Phase, Receipt, ScriptedRun, TransactionError};

pub(super) use hooks::HookPlace;
use listener::Listener;

/// A plan of a patch, and what it was made with.
type Planned = Result<(Scripted, Inventory), Failure>;

/// What the user of a patch command says about scripts.
#[derive(Clone, Debug, Default)]
pub struct PatchScriptRequest {
    /// How scripts are run.
    pub settings: ScriptSettings,
    /// Who does the work of patch scripts.
    pub engine: Engine,
    /// Whether none may run, whatever the policy of the root says.
    pub none: bool,
    /// Language and time zone, for scripts.
    pub locale: Vec<(String, OsString)>,
}

impl PatchScriptRequest {
    /// What decides about scripts on a root.
    pub(super) fn choice(&self, ground: &Ground) -> Result<ScriptChoice, Failure> {
        let policy = if self.none { ScriptPolicy::None } else { ground.policy.scripts };
        Ok(ScriptChoice { engine: self.engine, policy, system: system_scripts(ground)? })
    }
}

/// What the classic patchadd(1M) answers in advance: an instance of the same version is updated, nothing is asked.
fn admin() -> Admin {
    Admin {
        instance: Instance::Unique,
        partial: Check::NoCheck,
        runlevel: Check::NoCheck,
        idepend: Check::NoCheck,
        rdepend: Check::NoCheck,
        space: Check::Quit,
        setuid: Alteration::NoCheck,
        conflict: Alteration::NoCheck,
        action: Check::NoCheck,
        request_user: RequestUser::Root,
        ..Admin::delivered()
    }
}

/// A package of the patch that is about to be performed.
pub(super) struct Member<'d> {
    pub(super) part: Part,
    /// Where it is read from, and its place there.
    pub(super) device: &'d Device,
    pub(super) index: usize,
    medium: Medium,
    briefing: Briefing,
    pub(super) answers: Answers,
}

/// What one package does in the run.
struct Act {
    installation: Installation,
    course: Course,
}

/// The two ways of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Apply,
    BackOut,
}

impl Way {
    fn hooks(self) -> [&'static str; 2] {
        match self {
            Self::Apply => ["prepatch", "postpatch"],
            Self::BackOut => ["prebackout", "postbackout"],
        }
    }

    fn command(self) -> Command {
        match self {
            Self::Apply => Command::Patchadd,
            Self::BackOut => Command::Patchrm,
        }
    }
}

/// The scripts of one patch at work.
pub(super) struct PatchScripts<'a> {
    pub(super) session: &'a Session<'a>,
    place: Place<'a>,
    procedures: Procedures<'a>,
    listener: Listener,
    hooks: HookPlace,
    hook_names: Vec<String>,
    way: Way,
    id: String,
    ending: Ending,
}

impl<'a> PatchScripts<'a> {
    /// Gets ready; refused where scripts would not be safe. `devices` are what the packages are read from.
    pub(super) fn open<'d>(
        session: &'a Session<'a>,
        place: Place<'a>,
        way: Way,
        scripted: &Scripted,
        devices: &[(&'d Device, usize)],
        hooks: Option<HookPlace>,
    ) -> Result<Self, Failure> {
        let id = scripted.plan.patches.first().cloned().unwrap_or_default();
        let refuse = |reason: Reason| Failure::from(reason.of(way.command(), &id));
        let packages = devices.iter().filter_map(|(device, index)| device.image.packages.get(*index));
        let absolute = packages.clone().any(needs_absolute_tools);
        for part in &scripted.parts {
            check_places(&session.ground, &part.package, base_of(&part.params).as_ref()).map_err(refuse)?;
        }
        let settings = &place.request.scripts;
        let procedures = Procedures::open(&session.ground, session.caller.interrupt, settings, absolute)?;
        if absolute {
            check_tools(&procedures.shop).map_err(refuse)?;
        }
        let private = procedures.shop.directory();
        let hooks = match (hooks, devices.first()) {
            (Some(hooks), _) => hooks,
            (None, Some((device, _))) => {
                HookPlace::of(&device.source, &device.image, private).map_err(|error| unprepared(&error))?
            }
            (None, None) => HookPlace::at(private.to_owned()),
        };
        let (listener, ending) = (Listener::default(), Ending::default());
        let hook_names = scripted.hooks.iter().map(|hook| hook.name.clone()).collect();
        Ok(Self { session, place, procedures, listener, hooks, hook_names, way, id, ending })
    }

    /// The private directory in which scripts build backout packages.
    pub(super) fn build_directory(&self) -> Result<PathBuf, Failure> {
        use std::os::unix::fs::DirBuilderExt;
        let directory = self.procedures.shop.directory().join("build");
        let made = std::fs::DirBuilder::new().mode(0o700).create(&directory);
        made.map_err(|error| unprepared(&error)).map(|()| directory)
    }

    /// Runs the script of the patch itself that comes before its packages, if it is planned. Whether it ran.
    pub(super) fn before(&mut self) -> Result<bool, Failure> {
        let [name, _] = self.way.hooks();
        if !self.has_hook(name) {
            return Ok(false);
        }
        match self.hook(name, None) {
            Ok(()) => Ok(true),
            Err(halt) => Err(self.without_run(halt)),
        }
    }

    fn hook(&mut self, name: &str, mut run: Option<&mut ScriptedRun<'_>>) -> Result<(), Halt> {
        let shop = &self.procedures.shop;
        let file = self.hooks.file(name, shop.directory()).map_err(Halt::Script)?;
        let (root, locale) = (&self.session.ground.root, &self.place.request.locale);
        let of_run = run.as_deref().map(ScriptedRun::name);
        let path = search_path(shop.tools());
        let environment =
            of_patch(&self.id, root.prefix(), locale, &path, shop.directory(), of_run.as_deref());
        let procedure = Procedure {
            name: name.to_owned(),
            file,
            arguments: Vec::new(),
            environment,
            user: As::Caller,
            directory: self.hooks.directory.clone(),
            input: Input::Nothing,
        };
        let ended = self.procedures.run(procedure, run.as_deref_mut(), &mut self.listener)?;
        if let Some(run) = run {
            run.script_ended()?;
        }
        match (ended, self.procedures.interrupted()) {
            (Ended::Exited(0), _) => Ok(()),
            (Ended::Interrupted, Some(signal)) => Err(Cause::Interrupted(signal).into()),
            _ => Err(Halt::Script(ScriptFailure::of_patch(name, ended))),
        }
    }

    /// Gets a package ready: where its scripts find it, and what they are told.
    pub(super) fn member<'d>(
        &self,
        part: &Part,
        device: &'d Device,
        index: usize,
    ) -> Result<Member<'d>, Failure> {
        let package = device.package(index)?;
        let placed = self.placed(part, device, index, &Params::new())?;
        let shop = &self.procedures.shop;
        let private = shop.directory().join(part.package.as_str());
        let (medium, briefing) = self.place.brief(shop, device, package, &placed, &private)?;
        Ok(Member { part: part.clone(), device, index, medium, briefing, answers: Answers::default() })
    }

    /// Where a package goes: over the instance that was found for it.
    fn placed(
        &self,
        part: &Part,
        device: &Device,
        index: usize,
        response: &Params,
    ) -> Result<Placed, Failure> {
        let placed = self.place.place(device, index, response)?;
        if placed.instance == part.package {
            return Ok(placed);
        }
        let reason = Reason::BadPatch(format!("it would go over {}, not {}", placed.instance, part.package));
        Err(reason.of(self.way.command(), &self.id).into())
    }

    /// Runs the checkinstall of a package, if that is planned. `given` is the response file that it is called with.
    pub(super) fn ask(&mut self, member: &mut Member<'_>, given: Vec<u8>) -> Result<(), Failure> {
        let questions = Questions {
            request: false,
            checkinstall: member.part.chosen.scripts.checkinstall,
            given,
            terminal: false,
            request_user: As::Unprivileged,
        };
        let answers = interview(
            &mut self.procedures,
            &member.medium,
            &mut member.briefing,
            &questions,
            &mut self.listener,
        );
        match answers {
            Ok(answers) => {
                self.ending.warned |= answers.warned;
                member.answers = answers;
                Ok(())
            }
            Err(mut failure) => {
                if let Failure::Script(failure) = &mut failure {
                    failure.told.package = Some(member.part.package.to_string());
                }
                Err(self.without_run(Halt::Failure(Box::new(failure))))
            }
        }
    }

    /// A failure before there was a run: what the scripts said goes into the log of runs that changed nothing.
    fn without_run(&mut self, halt: Halt) -> Failure {
        let failure = match halt {
            Halt::Script(failure) => Failure::Script(failure),
            Halt::Failure(failure) => *failure,
            Halt::Refused(reason) => reason.of(self.way.command(), &self.id).into(),
            Halt::Cause(cause) | Halt::Saving(cause) => {
                TransactionError { phase: Phase::Prepare, cause, left: Left::Unchanged }.into()
            }
        };
        let mut text = format!("# {} {}: {failure}\n", self.way.command().name(), self.id).into_bytes();
        text.extend(self.procedures.take_log());
        // it is told to the user in any case
        let _ = self.session.log(&text);
        self.told(failure)
    }

    /// A failure of a script, with what the script has to say and where its output is.
    fn told(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Script(mut failure) => {
                failure.told.message = self.listener.message();
                let log = places::own_directory().join(b"log").ok();
                failure.told.log = log.map(|path| self.session.ground.root.show(&path));
                Failure::Script(failure)
            }
            other => other,
        }
    }

    /// Carries everything out in one run. `inventory` is what `scripted` was planned with, `content` brings the objects
    /// of the plan as a whole, for a patch that has no scripts but its own.
    pub(super) fn perform(
        mut self,
        scripted: &Scripted,
        mut members: Vec<Member<'_>>,
        inventory: &Inventory,
        content: &mut dyn Content,
        log: Option<ObjectPath>,
    ) -> Result<Receipt, Failure> {
        let has_scripts = members.iter().any(|member| member.part.chosen.has_scripts());
        let mut acts = Vec::new();
        if has_scripts {
            for member in &mut members {
                acts.push(self.act(scripted, member, inventory)?);
            }
            for (member, act) in members.iter_mut().zip(&acts) {
                self.performance(member, act).unpack()?;
            }
        }
        let held = self.held(scripted, &members, &acts);
        let (session, command) = (self.session, self.way.command());
        let plan = &scripted.plan;
        let text = if has_scripts { String::new() } else { self.text(plan) };
        let subject = self.id.clone();
        let mut left = None;
        let done = session.perform_scripted(plan, &held, log, text, |mut run| {
            let done = if has_scripts {
                self.packages(&mut run, scripted, &mut members, acts, &held, inventory)
            } else {
                self.whole(&mut run, plan, content)
            };
            let ended = match done {
                Ok(()) => run.commit().map_err(Failure::from),
                Err(halt) => Err(halt.give_up(run, command, &subject)),
            };
            left = Some((std::mem::take(&mut self.listener.notes), self.ending));
            ended.map_err(|failure| self.told(failure))
        });
        let mut receipt = done?;
        if let Some((notes, ending)) = left {
            receipt.notes.extend(notes);
            receipt.notes.extend(words(ending));
        }
        Ok(receipt)
    }

    fn text(&self, plan: &Plan) -> String {
        match self.way {
            Way::Apply => log::of_installation(plan),
            Way::BackOut => log::of_backout(plan),
        }
    }

    /// Everything that the scripts may touch, and all records of the patch.
    fn held(&self, scripted: &Scripted, members: &[Member<'_>], acts: &[Act]) -> Held {
        let mut all = held(acts.iter().map(|act| &act.course.concerned));
        let objects: BTreeSet<ObjectPath> = all.objects.iter().map(|object| object.path.clone()).collect();
        let deleted = members.iter().flat_map(|member| &member.part.deletes);
        let changed = scripted.plan.changes.iter().map(|change| &change.path);
        for path in deleted.chain(changed).filter(|path| !objects.contains(path)) {
            let object = crate::transaction::HeldObject { path: path.clone(), editable: false };
            if !all.objects.contains(&object) {
                all.objects.push(object);
            }
        }
        let mut trees: BTreeSet<ObjectPath> = all.trees.into_iter().collect();
        trees.extend(
            scripted.parts.iter().filter_map(|part| {
                ObjectPath::new(format!("/var/sadm/pkg/{}", part.package).as_bytes()).ok()
            }),
        );
        trees.extend(places::patches().join(self.id.as_bytes()).ok());
        for record in &scripted.plan.records {
            if matches!(record, RecordChange::AddTree { .. } | RecordChange::RemoveTree(_)) {
                trees.insert(record.path().clone());
            }
        }
        let outer = trees.clone();
        trees.retain(|path| !outer.iter().any(|other| path.is_below(other)));
        all.trees = trees.into_iter().collect();
        if !all.files.contains(&places::contents()) {
            all.files.push(places::contents());
        }
        all
    }

    /// A patch with no scripts but its own: everything at once.
    fn whole(
        &mut self,
        run: &mut ScriptedRun<'_>,
        plan: &Plan,
        content: &mut dyn Content,
    ) -> Result<(), Halt> {
        run.log(&self.procedures.take_log())?;
        let mut plan = plan.clone();
        self.session.mark_unprivileged(&mut plan)?;
        if self.way == Way::BackOut {
            self.after_packages(run)?;
        }
        let saves = !plan.undo.is_empty();
        run.switch(&plan, content)
            .map_err(|cause| if saves { Halt::from(cause).while_saving() } else { cause.into() })?;
        if self.way == Way::Apply { self.after_packages(run) } else { Ok(()) }
    }

    fn after_packages(&mut self, run: &mut ScriptedRun<'_>) -> Result<(), Halt> {
        let [_, name] = self.way.hooks();
        if self.has_hook(name) { self.hook(name, Some(run)) } else { Ok(()) }
    }

    fn has_hook(&self, name: &str) -> bool {
        self.hook_names.iter().any(|hook| hook == name)
    }

    /// Package by package, each against what the one before left.
    fn packages(
        &mut self,
        run: &mut ScriptedRun<'_>,
        scripted: &Scripted,
        members: &mut [Member<'_>],
        acts: Vec<Act>,
        held: &Held,
        inventory: &Inventory,
    ) -> Result<(), Halt> {
        run.log(&self.procedures.take_log())?;
        let mut marks = Vec::new();
        for (place, (member, mut act)) in members.iter_mut().zip(acts).enumerate() {
            if place > 0 && member.part.chosen.bookkeeping == Bookkeeping::Scripts {
                act = self.act(scripted, member, inventory)?;
                refuse_unheld(&act, held)?;
            }
            run.log(format!("\nProcessing package instance <{}>\n\n", member.part.package).as_bytes())?;
            let mut performance = self.performance(member, &act);
            let done = performance.within(run);
            let ending = performance.cast.ending;
            if done.is_err() {
                performance.log_failure(run);
            }
            self.ending = ending;
            done.map_err(|halt| match halt {
                Halt::Script(mut failure) => {
                    failure.told.package = Some(member.part.package.to_string());
                    Halt::Script(failure)
                }
                other => other,
            })?;
            if member.part.chosen.bookkeeping == Bookkeeping::Scripts {
                marks.extend(self.after_scripts(scripted, member)?);
            }
        }
        if self.way == Way::BackOut {
            self.after_packages(run)?;
        }
        let mut last = scripted.remainder();
        last.records.extend(marks);
        run.switch(&last, &mut super::content::NoContent)?;
        if self.way == Way::Apply { self.after_packages(run) } else { Ok(()) }
    }

    fn performance<'m>(&'m mut self, member: &'m Member<'_>, act: &'m Act) -> Performance<'m, 'a> {
        let mut briefing = member.briefing.clone();
        if let Ok(package) = member.device.package(member.index) {
            briefing.package = delivered_as_placed(&package.params, &act.installation.intended.params);
        }
        briefing.base = base_of(&act.installation.intended.params);
        briefing.install_date = Some(act.installation.intended.params.text("INSTDATE").into_owned());
        Performance {
            session: self.session,
            device: member.device,
            index: member.index,
            installation: &act.installation,
            course: &act.course,
            medium: &member.medium,
            cast: Cast {
                ground: &self.session.ground,
                procedures: &mut self.procedures,
                briefing,
                ending: self.ending,
            },
            attendant: &mut self.listener,
            outcomes: BTreeMap::new(),
            left: BTreeMap::new(),
        }
    }

    /// What a package does: as the program plans it, or as pkgadd(1M) would, where its scripts keep the records.
    fn act(&self, scripted: &Scripted, member: &Member<'_>, inventory: &Inventory) -> Result<Act, Failure> {
        let package = member.device.package(member.index)?;
        let refuse = |reason: Reason| reason.of(self.way.command(), &self.id);
        if member.part.chosen.bookkeeping == Bookkeeping::Program {
            let mut intended = scripted.intended(&member.part, &self.session.caller.occasion);
            intended.read_from(member.index);
            let course = Course::of_installation(&intended, package, inventory).map_err(refuse)?;
            let installation = described(intended, package, &inventory.packages, self.place.admin);
            return Ok(Act { installation, course });
        }
        let answers = &member.answers.params;
        let placed = self.placed(&member.part, member.device, member.index, answers)?;
        let mut prepared = self.place.prepare(member.device, member.index, &placed, answers, None)?;
        let intended = &mut prepared.installation.intended;
        intended.scripts = member.part.chosen.scripts.clone();
        intended.passing.clone_from(&member.part.chosen.passing);
        self.reconcile(member, intended)?;
        let course = Course::of_installation(intended, package, &prepared.inventory).map_err(refuse)?;
        Ok(Act { installation: prepared.installation, course })
    }
}

/// Refuses what came up only within the run, and is not held.
fn refuse_unheld(act: &Act, held: &Held) -> Result<(), Halt> {
    let known: BTreeSet<&ObjectPath> = held.objects.iter().map(|object| &object.path).collect();
    match act.course.concerned.objects.keys().find(|path| !known.contains(path)) {
        Some(path) => Err(Cause::Script(format!("{path} came up after the run had begun")).into()),
        None => Ok(()),
    }
}

/// What scripts said by their exit codes, for the one who reads the outcome.
fn words(ending: Ending) -> Vec<String> {
    let warned = ending.warned.then(|| "a script warned; the log says more".to_owned());
    let reboot = match ending.reboot {
        Reboot::None => None,
        Reboot::AfterAll => Some("a script asks for a reboot".to_owned()),
        Reboot::Immediate => Some("a script asks for a reboot at once".to_owned()),
    };
    warned.into_iter().chain(reboot).collect()
}

/// A value that cannot be said in a response file.
fn untold(value: &UnwritableValue) -> Failure {
    let UnwritableValue { name, reason } = value;
    Failure::BadFile(format!("the value of {name} cannot be told to scripts: {reason}"))
}

fn unprepared(error: &std::io::Error) -> Failure {
    crate::script::ScriptError::Preparation(error.to_string()).into()
}

/// What packages of a patch are installed with where their scripts keep the records: as pkgadd(1M) would.
pub(super) struct Installing {
    admin: Admin,
    request: AddRequest,
    choice: ScriptChoice,
}

impl Installing {
    pub(super) fn new(request: &PatchScriptRequest, choice: ScriptChoice) -> Self {
        let request = AddRequest {
            scripts: request.settings.clone(),
            locale: request.locale.clone(),
            silent: true,
            ..AddRequest::default()
        };
        Self { admin: admin(), request, choice }
    }

    /// The place of the packages. Which scripts may run has been asked before.
    pub(super) fn place<'a>(&'a self, session: &'a Session<'a>) -> Place<'a> {
        Place {
            ground: &session.ground,
            admin: &self.admin,
            system: &self.choice.system,
            policy: ScriptPolicy::Run,
            request: &self.request,
            caller: session.caller,
        }
    }
}
