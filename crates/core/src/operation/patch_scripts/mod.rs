//! Patches whose scripts take part: hooks, questions, and the packages with their scripts, all in one run.
//!
//! ```text
//!   plan ─► prepatch ─► checkinstall of each package ─► plan again ─► run begins
//!        ─► package by package: its course ─► records of the patch ─► postpatch ─► commit
//! ```
//! The same for a backout, with prebackout and postbackout. Whatever fails before the commit, everything that belongs
//! to any of the packages is as before. What a prepatch did to something else stays: it ran before the run.

mod after;
mod hooks;
pub(super) mod kept;
mod listener;
mod performing;
pub(super) mod response;
mod setting;

use std::path::PathBuf;

use super::add_package::Place;
use super::add_package::preparation::Placed;
use super::add_package::staging::base_of;
use super::device::Device;
use super::failure::Failure;
use super::log;
use super::scripts::briefing::Briefing;
use super::scripts::interview::{Answers, Questions, interview};
use super::scripts::medium::Medium;
use super::scripts::procedures::{Procedure, Procedures};
use super::scripts::run::{Halt, unanswered};
use super::scripts::safety::{check_places, check_tools, needs_absolute_tools};
use super::scripts::{Ending, ScriptFailure};
use super::session::Session;
use crate::database::places;
use crate::format::response::UnwritableValue;
use crate::package::{Mode, Params};
use crate::plan::parts::{Part, Scripted};
use crate::plan::refusal::{Command, Reason};
use crate::root::Dir;
use crate::script::environment::of_patch;
use crate::script::{As, Ended, Input, search_path};
use crate::transaction::{Cause, Left, Phase, ScriptedRun, TransactionError};

pub(super) use hooks::HookPlace;
use listener::Listener;
pub(super) use setting::Installing;
pub use setting::PatchScriptRequest;

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
        let private = self.procedures.shop.directory();
        let made = Dir::of_host(private).and_then(|dir| dir.make_dir(b"build", Mode::of(0o700)));
        made.map_err(|error| unprepared(&error.into())).map(|_| private.join("build"))
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

    fn has_hook(&self, name: &str) -> bool {
        self.hook_names.iter().any(|hook| hook == name)
    }

    fn hook(&mut self, name: &str, mut run: Option<&mut ScriptedRun<'_>>) -> Result<(), Halt> {
        if self.way == Way::BackOut {
            // what ran before it may have written it
            let id = self.patch_id().map_err(Halt::Refused)?;
            kept::may_run(&self.session.ground, &id, name)?;
        }
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
        let mut failed = Vec::new();
        if let Some(run) = run {
            run.script_ended()?;
            failed = run.take_failed_requests()?;
        }
        match (ended, self.procedures.interrupted()) {
            (Ended::Exited(0), _) if failed.is_empty() => Ok(()),
            (Ended::Exited(0), _) => Err(unanswered(name, &failed).into()),
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
        let subject = format!("{} {}", self.way.command().name(), self.id);
        let mut text = log::head(&subject, &failure).into_bytes();
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
}

/// A value that cannot be said in a response file.
pub(super) fn untold(value: &UnwritableValue) -> Failure {
    let UnwritableValue { name, reason } = value;
    Failure::BadFile(format!("the value of {name} cannot be told to scripts: {reason}"))
}

fn unprepared(error: &std::io::Error) -> Failure {
    crate::script::ScriptError::Preparation(error.to_string()).into()
}
