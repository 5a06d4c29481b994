//! Removing a package whose scripts take part: its course, step by step, in one run that is kept or undone as a whole.
//!
//! Before each batch the root is looked at again, since a script may have changed it: what a script has removed itself
//! need not be removed any more.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::inventory::Inventory;
use crate::operation::content::NoContent;
use crate::operation::failure::Failure;
use crate::operation::packages::observer::Attendant;
use crate::operation::packages::remove::{Removal, how_it_left, what_scripts_get};
use crate::operation::packages::scripted::held;
use crate::operation::scripts::briefing::Briefing;
use crate::operation::scripts::package::{Cast, FailedRequests, Halt};
use crate::operation::scripts::runner::Procedures;
use crate::operation::scripts::safety::{
    check_places, check_removal, check_tools, needs_absolute_tools_to_go,
};
use crate::operation::scripts::{Ending, ScriptSettings};
use crate::operation::session::Session;
use crate::package::{ObjectPath, Params, PkgInst};
use crate::plan::Plan;
use crate::plan::course::removal::{RemovalCourse, RemovalStep};
use crate::plan::refusal::{Command, Reason};
use crate::plan::remove::Portion;
use crate::script::Input;
use crate::script::environment::Script;
use crate::transaction::{Receipt, ScriptedRun};

/// How the scripts of a removal are run.
#[derive(Clone, Copy)]
pub(in crate::operation) struct Manner<'a> {
    pub(in crate::operation) settings: &'a ScriptSettings,
    /// Language and time zone of the caller.
    pub(in crate::operation) locale: &'a [(String, std::ffi::OsString)],
}

/// Removes a package with its scripts. An error leaves the root as it was before, or says what is left.
pub(in crate::operation) fn remove_with_scripts(
    session: &Session<'_>,
    manner: Manner<'_>,
    package: &PkgInst,
    removal: &Removal,
    inventory: &Inventory,
    attendant: &mut dyn Attendant,
) -> Result<(Receipt, Ending), Failure> {
    let refuse = |reason: Reason| Failure::from(reason.of(Command::Pkgrm, package));
    let installed = inventory.packages.get(package).ok_or_else(|| refuse(Reason::NoSuchPackage))?;
    let base = installed.params.get("BASEDIR").map(<[u8]>::trim_ascii);
    let base = base.and_then(|path| ObjectPath::new(path).ok());
    check_places(&session.ground, package, base.as_ref()).map_err(refuse)?;
    let absolute = needs_absolute_tools_to_go(installed);
    let mut procedures =
        Procedures::open(&session.ground, session.caller.interrupt, manner.settings, absolute)?;
    if absolute {
        check_tools(&procedures.shop).map_err(refuse)?;
    }
    let briefing = Briefing {
        package: installed.params.clone(),
        installed: None,
        response: Params::new(),
        instance: package.clone(),
        root: session.ground.root.prefix().to_owned(),
        base,
        data_directory: None,
        install_date: None,
        has_begun: false,
        locale: manner.locale.to_vec(),
        run: None,
    };
    let course = RemovalCourse::of(&removal.intended, inventory).map_err(refuse)?;
    check_removal(&session.ground, &course).map_err(refuse)?;
    let cast = Cast {
        ground: &session.ground,
        procedures: &mut procedures,
        briefing,
        ending: Ending::default(),
        failed_requests: FailedRequests::Warn,
    };
    Withdrawal { session, package, course: &course, cast, attendant }.perform(&removal.intended.plan)
}

/// A removal that is about to be carried out.
struct Withdrawal<'a, 'p> {
    session: &'a Session<'a>,
    package: &'a PkgInst,
    course: &'a RemovalCourse,
    cast: Cast<'a, 'p>,
    attendant: &'a mut dyn Attendant,
}

impl Withdrawal<'_, '_> {
    fn perform(mut self, plan: &Plan) -> Result<(Receipt, Ending), Failure> {
        let package = self.package;
        let text = format!("\n## Removing installed package instance <{package}>\n");
        let mut ending = Ending::default();
        let held = held([&self.course.concerned]);
        let receipt = self.session.perform_scripted(plan, &held, None, text, |mut run| {
            let done = self.within(&mut run);
            ending = self.cast.ending;
            match done {
                Ok(()) => Ok(run.commit()?),
                Err(halt) => {
                    // The log of a run that is undone is worth nothing in itself, so an error stops nothing.
                    let _ = run.log(format!("\nRemoval of <{package}> failed.\n").as_bytes());
                    Err(halt.give_up(run, Command::Pkgrm, package.as_str()))
                }
            }
        })?;
        Ok((receipt, ending))
    }

    fn within(&mut self, run: &mut ScriptedRun<'_>) -> Result<(), Halt> {
        self.cast.briefing.run = Some(run.name());
        for step in &self.course.steps {
            match step {
                RemovalStep::Records(plan) => {
                    let mut plan = Plan::clone(plan);
                    self.session.mark_unprivileged(&mut plan)?;
                    run.switch(&plan, &mut NoContent)?;
                }
                RemovalStep::Procedure(name) => self.procedure(run, name)?,
                RemovalStep::Objects(plan, portions) => self.objects(run, plan, portions)?,
                RemovalStep::Class(portion) => self.class(run, portion)?,
            }
        }
        self.attendant.left();
        self.close(run)?;
        let how = if self.cast.ending.warned { "partially failed" } else { "was successful" };
        Ok(run.log(format!("\nRemoval of <{}> {how}.\n", self.package).as_bytes())?)
    }

    fn procedure(&mut self, run: &mut ScriptedRun<'_>, name: &str) -> Result<(), Halt> {
        let script = if name == "preremove" { Script::Preremove } else { Script::Postremove };
        self.attendant.executing(name);
        let file = self.cast.own_script(name);
        self.cast.run(run, &script, file, Vec::new(), Input::Nothing, self.attendant)
    }

    fn objects(&mut self, run: &mut ScriptedRun<'_>, plan: &Plan, portions: &[Portion]) -> Result<(), Halt> {
        let plan = self.cast.fresh(plan.clone(), |_| None)?;
        run.switch(&plan, &mut NoContent)?;
        let changes = plan.changes.iter().rev();
        let paths: Vec<String> = changes.map(|change| format!("{}\n", change.path)).collect();
        run.log(paths.concat().as_bytes())?;
        for portion in portions {
            let left = how_it_left(&self.session.ground.root, portion, &plan);
            self.attendant.class_left(&portion.class, &left);
        }
        Ok(())
    }

    /// The script of a class reads one path a line, as the host has it, in the order in which they are to go.
    fn class(&mut self, run: &mut ScriptedRun<'_>, portion: &Portion) -> Result<(), Halt> {
        self.attendant.class_left(&portion.class, &what_scripts_get(portion));
        let Some(deliverer) = portion.deliverer else { return Ok(()) };
        let script = Script::RemoveClass(portion.class.clone());
        let file = self.cast.class_script(&script, deliverer)?;
        let mut list = Vec::new();
        for path in portion.listed() {
            list.extend(Path::new(&self.session.ground.root.show(path)).as_os_str().as_bytes());
            list.push(b'\n');
        }
        let input = if list.is_empty() { Input::Nothing } else { Input::Bytes(list) };
        self.cast.run(run, &script, file, Vec::new(), input, self.attendant)
    }

    /// The records without the package, whatever its scripts have registered for it.
    fn close(&mut self, run: &mut ScriptedRun<'_>) -> Result<(), Halt> {
        let mut plan = self.cast.with_queue(self.course.closing.clone())?;
        for line in plan.contents.values_mut() {
            if let Some(kept) = line {
                kept.owners.retain(|owner| owner.package != *self.package);
            }
            if line.as_ref().is_some_and(|line| line.owners.is_empty()) {
                *line = None;
            }
        }
        Ok(run.switch(&plan, &mut NoContent)?)
    }
}
