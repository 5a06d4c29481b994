//! Installing a package whose scripts take part: its course, step by step, in one run that is kept or undone as a whole.
//!
//! Before each batch the root is looked at again, since a script may have changed it. What a class script leaves is
//! given the attributes of the pkgmap, and recorded with the size and sum that it has then.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::attendant::Attendant;
use super::content::OneSource;
use super::device::Device;
use super::failure::Failure;
use super::installation::Installation;
use super::scripts::Ending;
use super::scripts::medium::{Medium, member};
use super::scripts::run::{Cast, Halt};
use super::session::Session;
use crate::database::places;
use crate::inventory::{Inventory, Touched};
use crate::operation::patches::back_out::by_pkgadd::Played;
use crate::package::{Line, Live, ObjectPath, Params, PkgInst};
use crate::plan::Plan;
use crate::plan::course::{Batch, ClassStep, Concerned, Course, ListedFile, Outcome, Step};
use crate::plan::refresh::number_object;
use crate::plan::refusal::{Command, Reason};
use crate::root::accounts_of;
use crate::script::Input;
use crate::script::environment::Script;
use crate::transaction::{Held, HeldObject, Receipt, ScriptedRun, Settled};

/// The parameter that names the classes whose scripts want paths relative to the package.
const RELATIVE: &str = "PKG_CAS_PASSRELATIVE";

/// An installation that is about to be carried out.
pub(super) struct Performance<'a, 'p> {
    pub(super) session: &'a Session<'a>,
    pub(super) device: &'a Device,
    /// The place of the package on the device.
    pub(super) index: usize,
    pub(super) installation: &'a Installation,
    pub(super) course: &'a Course,
    pub(super) medium: &'a Medium,
    pub(super) cast: Cast<'a, 'p>,
    pub(super) attendant: &'a mut dyn Attendant,
    /// What the scripts left so far.
    pub(super) outcomes: BTreeMap<ObjectPath, Outcome>,
    /// The objects that class scripts have put there.
    pub(super) left: BTreeMap<ObjectPath, Live>,
}

/// What is restored after the scripts of a backout package, with the lines that its paths had.
type Restored<'a> = (&'a Played, &'a BTreeMap<ObjectPath, Line>);

impl Performance<'_, '_> {
    /// Carries it out, in a run of its own, and restores what the package is the undo archive of. An error leaves the root
    /// as it was before, or says what is left.
    pub(super) fn perform(mut self, restored: Option<Restored<'_>>) -> Result<(Receipt, Ending), Failure> {
        self.unpack(Command::Pkgadd, &self.installation.instance)?;
        let session = self.session;
        let plan = &self.installation.intended.plan;
        let text = format!("\nProcessing package instance <{}>\n\n", self.installation.instance);
        let mut held = held([&self.course.concerned]);
        if let Some((played, _)) = restored {
            played.hold(&mut held);
        }
        let mut ending = Ending::default();
        let receipt = session.perform_scripted(plan, &held, None, text, |mut run| {
            let done = self.within(&mut run);
            ending = self.cast.ending;
            let done = done.and_then(|()| match restored {
                Some((played, lines)) => played.restore(session, &mut run, &self.course.concerned, lines),
                None => Ok(()),
            });
            match done {
                Ok(()) => Ok(run.commit()?),
                Err(halt) => {
                    self.log_failure(&mut run);
                    Err(halt.give_up(run, Command::Pkgadd, &self.installation.instance))
                }
            }
        })?;
        Ok((receipt, ending))
    }

    /// Checks the names and the content of what scripts install, before anything is changed. A refusal is one of
    /// `command` about `subject`.
    pub(super) fn unpack(&self, command: Command, subject: &str) -> Result<(), Failure> {
        self.check_names().map_err(|reason| reason.of(command, &subject))?;
        self.medium.take(self.device, self.index, &self.listed())
    }

    /// Does everything for the package within a run, which may be one of several packages.
    pub(super) fn within(&mut self, run: &mut ScriptedRun<'_>) -> Result<(), Halt> {
        self.steps(run)?;
        self.log_end(run)
    }

    /// The list of a class script has a line for each file and a blank between two paths, and no way to write a name
    /// that has either in it.
    fn check_names(&self) -> Result<(), Reason> {
        let is_plain = |path: &Path| !path.as_os_str().as_bytes().iter().any(u8::is_ascii_whitespace);
        let root = &self.session.ground.root;
        for file in self.listed() {
            let shown = root.show(&file.path);
            for path in [self.source(file), PathBuf::from(&shown)] {
                if !is_plain(&path) {
                    let path = path.display().to_string().escape_debug().to_string();
                    return Err(Reason::ScriptsUnsafe(format!(
                        "a class action script cannot be told of <{path}>, which has white space in it"
                    )));
                }
            }
        }
        Ok(())
    }

    fn listed(&self) -> Vec<&ListedFile> {
        let files = self.course.steps.iter().filter_map(|step| match step {
            Step::Class(class) => Some(&class.files),
            Step::Switch(_) | Step::Procedure(_) => None,
        });
        files.flatten().collect()
    }

    fn steps(&mut self, run: &mut ScriptedRun<'_>) -> Result<(), Halt> {
        run.log(&self.cast.procedures.take_log())?;
        self.cast.briefing.run = Some(run.name());
        let mut begun = false;
        for step in &self.course.steps {
            let is_of_objects = match step {
                Step::Switch(batch) => !batch.portions.is_empty(),
                Step::Class(_) => true,
                Step::Procedure(_) => false,
            };
            if is_of_objects && !std::mem::replace(&mut begun, true) {
                self.attendant.objects_begin();
            }
            match step {
                Step::Switch(batch) if !is_of_objects => self.open(run, batch)?,
                Step::Switch(batch) => self.switch(run, batch)?,
                Step::Procedure(name) => self.procedure(run, name)?,
                Step::Class(class) => self.class(run, class)?,
            }
        }
        self.close(run)
    }

    /// The records that scripts may look at.
    fn open(&mut self, run: &mut ScriptedRun<'_>, batch: &Batch) -> Result<(), Halt> {
        let mut plan = batch.plan.clone();
        self.session.mark_unprivileged(&mut plan)?;
        self.carry_out(run, &plan)
    }

    fn switch(&mut self, run: &mut ScriptedRun<'_>, batch: &Batch) -> Result<(), Halt> {
        let plan = self.cast.fresh(batch.plan.clone(), |path| self.course.line(path).cloned())?;
        self.carry_out(run, &plan)?;
        let paths: Vec<String> = plan.changes.iter().map(|change| format!("{}\n", change.path)).collect();
        run.log(paths.concat().as_bytes())?;
        self.attendant.switched(self.installation, &batch.portions, &plan);
        Ok(())
    }

    fn carry_out(&self, run: &mut ScriptedRun<'_>, plan: &Plan) -> Result<(), Halt> {
        let mut content = OneSource { source: &self.device.source, image: &self.device.image };
        Ok(run.switch(plan, &mut content)?)
    }

    fn procedure(&mut self, run: &mut ScriptedRun<'_>, name: &str) -> Result<(), Halt> {
        let script = if name == "preinstall" { Script::Preinstall } else { Script::Postinstall };
        self.attendant.executing(name);
        let file = self.cast.own_script(name);
        self.cast.run(run, &script, file, Vec::new(), Input::Nothing, self.attendant)
    }

    fn class(&mut self, run: &mut ScriptedRun<'_>, step: &ClassStep) -> Result<(), Halt> {
        let mut files = step.files.clone();
        let ground = &self.session.ground;
        let accounts = accounts_of(&ground.root, &ground.host)?;
        for file in &mut files {
            number_object(&mut file.new, Some(&file.line), &accounts).map_err(|problem| Reason::Object {
                package: self.cast.briefing.instance.clone(),
                path: ground.root.show(&file.path),
                problem,
            })?;
        }
        let script = Script::InstallClass(step.class.clone());
        let file = self.cast.class_script(&script, step.deliverer)?;
        let list = self.list(&step.class, &files);
        let input = if list.is_empty() { Input::Nothing } else { Input::Bytes(list) };
        let arguments = vec!["ENDOFCLASS".into()];
        self.cast.run(run, &script, file, arguments, input, self.attendant)?;
        self.settle(run, &files)?;
        self.attendant.class_done(&step.class);
        Ok(())
    }

    /// What the script of a class reads: source and destination of each file, or where the package wants it, the
    /// package directory and paths relative to it.
    fn list(&self, class: &str, files: &[ListedFile]) -> Vec<u8> {
        if files.is_empty() {
            return Vec::new();
        }
        let relative = self.cast.briefing.package.text(RELATIVE);
        let is_relative = relative.split_whitespace().any(|word| word == class);
        let mut list = Vec::new();
        let mut line = |words: &[&Path]| {
            let words: Vec<&[u8]> = words.iter().map(|word| word.as_os_str().as_bytes()).collect();
            list.extend(words.join(&b' '));
            list.push(b'\n');
        };
        if is_relative {
            line(&[&self.medium.package]);
        }
        for file in files {
            let source = self.source(file);
            match source.strip_prefix(&self.medium.package) {
                Ok(inside) if is_relative => line(&[inside]),
                _ => line(&[&source, Path::new(&self.session.ground.root.show(&file.path))]),
            }
        }
        list
    }

    fn source(&self, file: &ListedFile) -> PathBuf {
        let Some(member) = member(file) else { return PathBuf::from("/dev/null") };
        let package = self.device.image.packages.get(self.index);
        let entry = package.and_then(|package| package.files().find(|entry| entry.path == member.path));
        self.medium.object(entry.map_or(1, |entry| entry.part), &member.path)
    }

    /// Gives the files that a script has put there the attributes of the pkgmap, and notes what they are.
    fn settle(&mut self, run: &mut ScriptedRun<'_>, files: &[ListedFile]) -> Result<(), Halt> {
        let paths = files.iter().map(|file| file.path.clone()).collect();
        let touched = Touched { paths, ..Touched::default() };
        let now = self.session.ground.survey(&touched, None)?;
        let mut settled = Vec::new();
        for file in files {
            let live = now.live.get(&file.path);
            let outcome = ListedFile::outcome(live);
            if outcome == Outcome::Missing {
                self.cast.ending.warned = true;
                let shown = self.session.ground.root.show(&file.path);
                self.attendant.complains(&format!("{shown}\npathname does not exist"));
                self.left.extend(live.map(|live| (file.path.clone(), live.clone())));
            } else {
                let new = &file.new;
                let owners = now.privileged;
                let to = Settled {
                    mode: Some(new.mode),
                    uid: owners.then_some(new.uid),
                    gid: owners.then_some(new.gid),
                    mtime: new.mtime,
                };
                settled.push((file.path.clone(), to));
                self.left.extend(live.map(|live| (file.path.clone(), to.given_to(live))));
            }
            self.outcomes.insert(file.path.clone(), outcome);
        }
        Ok(run.settle(&settled)?)
    }

    /// The records as they stay.
    fn close(&mut self, run: &mut ScriptedRun<'_>) -> Result<(), Halt> {
        let root = &self.session.ground.root;
        let is_there = |path: &ObjectPath| -> bool {
            let physical = root.resolver().locate(path).ok();
            let parent = physical.as_ref().and_then(ObjectPath::parent);
            let dir = parent.and_then(|parent| root.dir_if_there(&parent).ok().flatten());
            let name = physical.as_ref().map(ObjectPath::name).unwrap_or_default();
            dir.is_some_and(|dir| dir.look(name).is_ok_and(|seen| seen.is_some()))
        };
        let packages: BTreeSet<PkgInst> = self.course.saved_package().into_iter().cloned().collect();
        let mut now = Inventory::default();
        if !packages.is_empty() {
            now = self.session.ground.survey(&Touched { packages, ..Touched::default() }, None)?;
        }
        let now = self.course.saved_package().and_then(|package| now.packages.get(package));
        let last = self.course.close(&self.outcomes, &self.left, now, is_there);
        let saves = last.plan.archives().next().is_some();
        let plan = self.cast.with_queue(last.plan)?;
        self.carry_out(run, &plan).map_err(|halt| if saves { halt.while_saving() } else { halt })
    }

    /// The log of a run that is undone is worth nothing in itself, so an error stops nothing.
    pub(super) fn log_failure(&self, run: &mut ScriptedRun<'_>) {
        let text = format!("\nInstallation of <{}> failed.\n", self.installation.instance);
        let _ = run.log(text.as_bytes());
    }

    fn log_end(&self, run: &mut ScriptedRun<'_>) -> Result<(), Halt> {
        let how = if self.cast.ending.warned { "partially failed" } else { "was successful" };
        let text = format!("\nInstallation of <{}> {how}.\n", self.installation.instance);
        Ok(run.log(text.as_bytes())?)
    }
}

/// Everything that scripts of some packages may touch.
pub(super) fn held<'c>(concerned: impl IntoIterator<Item = &'c Concerned>) -> Held {
    let mut all = Concerned::default();
    for one in concerned {
        for (path, editable) in &one.objects {
            *all.objects.entry(path.clone()).or_default() |= editable;
        }
        all.trees.extend(one.trees.iter().cloned());
        all.files
            .extend(one.files.iter().filter(|path| !all.files.contains(path)).cloned().collect::<Vec<_>>());
    }
    let objects = all.objects.into_iter().map(|(path, editable)| HeldObject { path, editable });
    all.files.push(places::unprivileged());
    Held { objects: objects.collect(), trees: all.trees, files: all.files }
}

/// What scripts are told of the package: where it goes, and all else as it is delivered, its own classes among that.
pub(super) fn delivered_as_placed(delivered: &Params, placed: &Params) -> Params {
    let mut package = delivered.clone();
    if let Some(value) = placed.get("BASEDIR") {
        package.set("BASEDIR", value);
    }
    package
}
