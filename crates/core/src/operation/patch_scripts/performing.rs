//! Carrying a patch with scripts out: the packages one after another, what belongs to the patch as a whole, the commit.

use std::collections::{BTreeMap, BTreeSet};

use super::{Member, PatchScripts, Way};
use crate::database::places;
use crate::inventory::Inventory;
use crate::operation::add_package::staging::base_of;
use crate::operation::content::NoContent;
use crate::operation::failure::Failure;
use crate::operation::installation::{Installation, described};
use crate::operation::log;
use crate::operation::scripted_installation::{Performance, delivered_as_placed, held};
use crate::operation::scripted_restoration::Restoration;
use crate::operation::scripts::run::{Cast, FailedRequests, Halt};
use crate::operation::scripts::safety::check_classes;
use crate::operation::scripts::{Ending, Reboot};
use crate::package::{Line, ObjectPath};
use crate::plan::course::Course;
use crate::plan::engine::Bookkeeping;
use crate::plan::ledger;
use crate::plan::parts::Scripted;
use crate::plan::refusal::Reason;
use crate::plan::{Plan, RecordChange};
use crate::transaction::{Cause, Content, Held, HeldObject, Receipt, ScriptedRun};

/// What one package does in the run.
pub(super) struct Act {
    installation: Installation,
    pub(super) course: Course,
    /// The lines of `contents` that its paths had.
    pub(super) lines: BTreeMap<ObjectPath, Line>,
}

/// What a run of packages is about.
#[derive(Clone, Copy)]
struct Task<'t> {
    scripted: &'t Scripted,
    held: &'t Held,
    /// What `scripted` was planned with.
    inventory: &'t Inventory,
}

impl<'a> PatchScripts<'a> {
    /// Carries everything out in one run. `inventory` is what `scripted` was planned with, `content` brings the objects
    /// of the plan as a whole, for a patch that has no scripts but its own.
    pub(in crate::operation) fn perform(
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
            let (command, id) = (self.way.command(), self.id.clone());
            for (member, act) in members.iter().zip(&acts) {
                self.performance(member, act).unpack(command, &id)?;
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
                self.packages(
                    &mut run,
                    Task { scripted, held: &held, inventory },
                    &mut members,
                    acts,
                    content,
                )
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
            let object = HeldObject { path: path.clone(), editable: false };
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
        all.files.extend(ledger::paths(&scripted.plan.records).cloned());
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
        let saves = plan.archives().next().is_some();
        run.switch(&plan, content)
            .map_err(|cause| if saves { Halt::from(cause).while_saving() } else { cause.into() })?;
        if self.way == Way::Apply { self.after_packages(run) } else { Ok(()) }
    }

    fn after_packages(&mut self, run: &mut ScriptedRun<'_>) -> Result<(), Halt> {
        let [_, name] = self.way.hooks();
        if self.has_hook(name) { self.hook(name, Some(run)) } else { Ok(()) }
    }

    /// Package by package, each against what the one before left.
    fn packages(
        &mut self,
        run: &mut ScriptedRun<'_>,
        task: Task<'_>,
        members: &mut [Member<'_>],
        acts: Vec<Act>,
        content: &mut dyn Content,
    ) -> Result<(), Halt> {
        let Task { scripted, held, inventory } = task;
        run.log(&self.procedures.take_log())?;
        let mut last = scripted.remainder();
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
                if member.part.restores {
                    let concerned = act.course.concerned.objects.keys().cloned().collect();
                    let (session, part, lines) = (self.session, &member.part, &act.lines);
                    Restoration { session, scripted, part, concerned, lines }.carry_out(run, content)?;
                }
                let left = self.after_scripts(scripted, member, inventory)?;
                left.add_to(&mut last, &mut self.listener.notes)?;
            }
        }
        if self.way == Way::BackOut {
            self.after_packages(run)?;
        }
        let saves = last.archives().next().is_some();
        run.switch(&last, &mut NoContent)
            .map_err(|cause| if saves { Halt::from(cause).while_saving() } else { cause.into() })?;
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
                failed_requests: FailedRequests::GiveUp,
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
            check_classes(&self.session.ground, &course).map_err(refuse)?;
            let installation = described(intended, package, &inventory.packages, self.place.admin);
            return Ok(Act { installation, course, lines: inventory.lines.clone() });
        }
        let answers = &member.answers.params;
        let placed = self.placed(&member.part, member.device, member.index, answers)?;
        let mut prepared = self.place.prepare(member.device, member.index, &placed, answers, None)?;
        let intended = &mut prepared.installation.intended;
        intended.scripts = member.part.chosen.scripts.clone();
        intended.passing.clone_from(&member.part.chosen.passing);
        self.reconcile(member, intended)?;
        let course = Course::of_installation(intended, package, &prepared.inventory).map_err(refuse)?;
        check_classes(&self.session.ground, &course).map_err(refuse)?;
        // what is restored may be more than the package that the scripts install
        let mut lines = inventory.lines.clone();
        lines.extend(prepared.inventory.lines);
        Ok(Act { installation: prepared.installation, course, lines })
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
