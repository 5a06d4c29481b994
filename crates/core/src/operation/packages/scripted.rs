//! Performs a package with scripts, step by step, in one run. The root is examined again before each batch, because
//! scripts may have changed it. Files installed by class action scripts get the attributes of the pkgmap; their actual
//! size and sum are recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::operation::content::NoContent;
use crate::operation::device::DeliveredPackage;
use crate::operation::failure::Failure;
use crate::operation::packages::report::{
    PackageObserver, PlannedInstallation, objects_kept_from_script, objects_left,
};
use crate::operation::scripts::failure::LastingResults;
use crate::operation::scripts::package_directory::{PackageDirectory, member};
use crate::operation::scripts::run::{PackageScripts, RunHalt, end_run, refresh, with_requests};
use crate::operation::session::Session;
use crate::script::environment::ProcedureScript;
use patchadm_changeset::plan::AttributeChange;
use patchadm_changeset::transaction::{
    Cause, ProtectedObject, ProtectedPaths, Receipt, ScriptRecorder as _, ScriptedRun,
};
use patchadm_inputs::inventory::{Inventory, Touched};
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::given::with_given;
use patchadm_planning::plan::package::remove::RemovalPortion;
use patchadm_planning::plan::refresh::number_object;
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_planning::plan::script_schedule::ScriptSchedule;
use patchadm_planning::plan::script_schedule::steps::{
    ClassStep, Concerned, ListedFile, Outcome, PackageStep,
};
use patchadm_planning::plan::scripts::Deliverer;
use patchadm_rootfs::{CAPABILITY, Live, Root, accounts_of, never};
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::places;

/// Names classes whose scripts want paths relative to the package.
const RELATIVE: &str = "PKG_CAS_PASSRELATIVE";

const SET_ID: u32 = 0o6000;

pub(crate) struct ScriptedPackage<'a, 'p> {
    session: &'a Session<'a>,
    course: &'a ScriptSchedule,
    source: Option<InstallSource<'a>>,
    pub(crate) scripts: PackageScripts<'a, 'p>,
    observer: &'a mut dyn PackageObserver,
    /// Results of class action scripts by file.
    outcomes: BTreeMap<ObjectPath, Outcome>,
    /// Installed by class action scripts.
    left: BTreeMap<ObjectPath, Live>,
}

#[derive(Clone, Copy)]
pub(crate) struct InstallSource<'a> {
    pub(crate) delivered: DeliveredPackage<'a>,
    pub(crate) directory: &'a PackageDirectory,
    pub(crate) installation: &'a PlannedInstallation,
}

impl<'a, 'p> ScriptedPackage<'a, 'p> {
    pub(crate) fn new(
        session: &'a Session<'a>,
        course: &'a ScriptSchedule,
        source: Option<InstallSource<'a>>,
        scripts: PackageScripts<'a, 'p>,
        observer: &'a mut dyn PackageObserver,
    ) -> Self {
        Self { session, course, source, scripts, observer, outcomes: BTreeMap::new(), left: BTreeMap::new() }
    }

    /// Uses a run of its own; `finish` is called before the commit. After an error, the root is as before, or the error
    /// says what is left.
    pub(crate) fn perform(
        mut self,
        plan: &Plan,
        copies: &ProtectedPaths,
        finish: impl FnOnce(&mut ScriptedRun<'_>) -> Result<(), RunHalt>,
    ) -> Result<(Receipt, LastingResults), Failure> {
        let package = &self.course.package;
        let (command, text) = if self.course.is_removal {
            (Command::Pkgrm, format!("\n## Removing installed package instance <{package}>\n"))
        } else {
            (Command::Pkgadd, format!("\nProcessing package instance <{package}>\n\n"))
        };
        self.unpack(command, package.as_str())?;
        let mut ending = LastingResults::default();
        let receipt = self.session.perform_scripted(plan, copies, None, text, |mut run| {
            let done = self.carry_out(&mut run, finish);
            ending = self.scripts.ending;
            end_run(run, done, command, package.as_str())
        })?;
        Ok((receipt, ending))
    }

    /// Checks files for scripts before anything is changed. A refusal names `command` and `subject`.
    pub(crate) fn unpack(&self, command: Command, subject: &str) -> Result<(), Failure> {
        let Some(source) = self.source else { return Ok(()) };
        self.check_names().map_err(|reason| reason.of(command, &subject))?;
        source.directory.take(source.delivered, &self.listed())
    }

    /// Refuses names with white space: class action scripts get two paths per line, separated by a blank, without
    /// quoting.
    fn check_names(&self) -> Result<(), Reason> {
        let is_plain = |path: &Path| !path.as_os_str().as_bytes().iter().any(u8::is_ascii_whitespace);
        let root = &self.session.ground.root;
        for file in self.listed() {
            let shown = root.show(&file.path);
            for path in [self.source(file), PathBuf::from(&shown)] {
                if !is_plain(&path) {
                    let path = path.display().to_string().escape_debug().to_string();
                    return Err(Reason::ScriptsUnsafe(format!(
                        "<{path}> contains white space and cannot be passed to a class action script"
                    )));
                }
            }
        }
        Ok(())
    }

    fn listed(&self) -> Vec<&'a ListedFile> {
        let files = self.course.steps.iter().filter_map(|step| match step {
            PackageStep::InstallClass(class) => Some(&class.files),
            _ => None,
        });
        files.flatten().collect()
    }

    /// The run may have several packages. `finish` is called at the end.
    pub(crate) fn carry_out(
        &mut self,
        run: &mut ScriptedRun<'_>,
        finish: impl FnOnce(&mut ScriptedRun<'_>) -> Result<(), RunHalt>,
    ) -> Result<(), RunHalt> {
        let what = if self.course.is_removal { "Removal" } else { "Installation" };
        let what = format!("{what} of <{}>", self.course.package);
        let done = self.steps(run).and_then(|()| {
            let how = if self.scripts.ending.warned { "partially failed" } else { "was successful" };
            run.log(format!("\n{what} {how}.\n").as_bytes())?;
            finish(run)
        });
        if done.is_err() {
            // Logging is optional for a run that is undone.
            let _ = run.log(format!("\n{what} failed.\n").as_bytes());
        }
        done
    }

    fn steps(&mut self, run: &mut ScriptedRun<'_>) -> Result<(), RunHalt> {
        run.log(&self.scripts.runner.take_log())?;
        self.scripts.context.run = Some(run.name());
        let mut begun = false;
        for step in &self.course.steps {
            let installs = matches!(step, PackageStep::Install(_) | PackageStep::InstallClass(_));
            if installs && !std::mem::replace(&mut begun, true) {
                self.observer.objects_begin();
            }
            self.step(run, step)?;
        }
        self.close(run)
    }

    fn step(&mut self, run: &mut ScriptedRun<'_>, step: &PackageStep) -> Result<(), RunHalt> {
        match step {
            PackageStep::Records(plan) => {
                let mut plan = Plan::clone(plan);
                self.session.mark_unprivileged(&mut plan)?;
                self.switch(run, &plan)?;
            }
            PackageStep::Procedure(name) => {
                self.observer.executing(name);
                let script = procedure(name);
                self.scripts.run_script(run, &script, Deliverer::Package, Vec::new(), self.observer)?;
            }
            PackageStep::Install(batch) => {
                let plan = self.objects(run, &batch.plan, "")?;
                if let Some(source) = self.source {
                    self.observer.switched(source.installation, &batch.portions, &plan);
                }
            }
            PackageStep::InstallClass(class) => self.install_class(run, class)?,
            PackageStep::Remove(plan, portions) => {
                let marker = if self.course.is_removal { "" } else { " <removed>" };
                let plan = self.objects(run, plan, marker)?;
                for portion in portions {
                    let left = objects_left(&self.session.ground.root, portion, &plan);
                    self.observer.class_left(&portion.class, &left);
                }
            }
            PackageStep::RemoveClass(portion) => self.remove_class(run, portion)?,
        }
        Ok(())
    }

    fn switch(&self, run: &mut ScriptedRun<'_>, plan: &Plan) -> Result<(), RunHalt> {
        match self.source {
            Some(source) => run.switch(plan, &mut source.delivered.device.content())?,
            None => run.switch(plan, &mut NoContent)?,
        }
        Ok(())
    }

    fn objects(&self, run: &mut ScriptedRun<'_>, plan: &Plan, marker: &str) -> Result<Plan, RunHalt> {
        let line = |path: &ObjectPath| self.course.line(path).cloned();
        let plan = refresh(&self.session.ground, plan.clone(), line)?;
        self.switch(run, &plan)?;
        let mut paths: Vec<String> =
            plan.changes.iter().map(|change| format!("{}{marker}\n", change.path)).collect();
        if self.course.is_removal {
            paths.reverse();
        }
        run.log(paths.concat().as_bytes())?;
        Ok(plan)
    }

    fn install_class(&mut self, run: &mut ScriptedRun<'_>, step: &ClassStep) -> Result<(), RunHalt> {
        let mut files = step.files.clone();
        let ground = &self.session.ground;
        let accounts = accounts_of(&ground.root, &ground.host)?;
        for file in &mut files {
            number_object(&mut file.new, Some(&file.line), &accounts).map_err(|problem| Reason::Object {
                package: self.course.package.clone(),
                path: ground.root.show(&file.path),
                problem,
            })?;
        }
        let list = self.list(&step.class, &files);
        let script = ProcedureScript::InstallClass(step.class.clone());
        self.scripts.run_script(run, &script, step.deliverer, list, self.observer)?;
        self.settle(run, &files)?;
        self.observer.class_done(&step.class);
        Ok(())
    }

    fn remove_class(&mut self, run: &mut ScriptedRun<'_>, portion: &RemovalPortion) -> Result<(), RunHalt> {
        self.observer.class_left(&portion.class, &objects_kept_from_script(portion));
        let Some(deliverer) = portion.deliverer else { return Ok(()) };
        let script = ProcedureScript::RemoveClass(portion.class.clone());
        let root = &self.session.ground.root;
        let list: Vec<String> = portion.listed().map(|path| format!("{}\n", root.show(path))).collect();
        self.scripts.run_script(run, &script, deliverer, list.concat().into_bytes(), self.observer)
    }

    /// Writes the input of a class script: source and destination of each file, or, on request, the package directory
    /// and relative paths.
    fn list(&self, class: &str, files: &[ListedFile]) -> Vec<u8> {
        let relative = self.scripts.context.package.text(RELATIVE);
        let is_relative = relative.split_whitespace().any(|word| word == class);
        let package = self.source.map(|source| source.directory.package.as_path());
        let package = package.filter(|_| is_relative && !files.is_empty());
        let mut list = Vec::new();
        let mut line = |words: &[&Path]| {
            let words: Vec<&[u8]> = words.iter().map(|word| word.as_os_str().as_bytes()).collect();
            list.extend(words.join(&b' '));
            list.push(b'\n');
        };
        if let Some(package) = package {
            line(&[package]);
        }
        for file in files {
            let source = self.source(file);
            match package.and_then(|package| source.strip_prefix(package).ok()) {
                Some(inside) => line(&[inside]),
                None => line(&[&source, Path::new(&self.session.ground.root.show(&file.path))]),
            }
        }
        list
    }

    fn source(&self, file: &ListedFile) -> PathBuf {
        let Some((member, install)) = member(file).zip(self.source) else {
            return PathBuf::from("/dev/null");
        };
        let entry = install.delivered.image.files().find(|entry| entry.path == member.path);
        install.directory.object(entry.map_or(1, |entry| entry.part), &member.path)
    }

    fn settle(&mut self, run: &mut ScriptedRun<'_>, files: &[ListedFile]) -> Result<(), RunHalt> {
        let paths = files.iter().map(|file| file.path.clone()).collect();
        let touched = Touched { paths, ..Touched::default() };
        let now = self.session.ground.survey(&touched, &never)?;
        let mut settled = Vec::new();
        for file in files {
            let live = now.live.get(&file.path);
            let outcome = ListedFile::outcome(live);
            if outcome == Outcome::Missing {
                self.scripts.ending.warned = true;
                let shown = self.session.ground.root.show(&file.path);
                self.observer.complains(&format!("{shown}\npathname does not exist"));
                self.left.extend(live.map(|live| (file.path.clone(), live.clone())));
            } else {
                let new = &file.new;
                let owners = now.privileged;
                let to = AttributeChange {
                    mode: Some(new.mode),
                    uid: owners.then_some(new.uid),
                    gid: owners.then_some(new.gid),
                    mtime: new.mtime,
                    xattrs: live.and_then(|live| with_given(live, &new.xattrs)),
                };
                must_be_of_script(&self.session.ground.root, &file.path, &to)?;
                self.left.extend(live.map(|live| (file.path.clone(), to.given_to(live))));
                settled.push((file.path.clone(), to));
            }
            self.outcomes.insert(file.path.clone(), outcome);
        }
        Ok(run.set_attributes_after_script(&settled)?)
    }

    /// Writes the final records. A removed package leaves none, whatever its scripts have registered.
    fn close(&mut self, run: &mut ScriptedRun<'_>) -> Result<(), RunHalt> {
        let course = self.course;
        if course.is_removal {
            self.observer.objects_gone();
        }
        let packages: BTreeSet<PkgInst> = course.saved_package().into_iter().cloned().collect();
        let mut now = Inventory::default();
        if !packages.is_empty() {
            now = self.session.ground.survey(&Touched { packages, ..Touched::default() }, &never)?;
        }
        let now = course.saved_package().and_then(|package| now.packages.get(package));
        let last = course.close(&self.outcomes, &self.left, now, |path| self.is_there(path));
        let saves = last.archives().next().is_some();
        let mut plan = with_requests(&self.session.ground, last)?;
        course.disown(&mut plan);
        self.switch(run, &plan).map_err(|halt| if saves { halt.while_saving() } else { halt })
    }

    fn is_there(&self, path: &ObjectPath) -> bool {
        let root = &self.session.ground.root;
        let physical = root.resolver().locate(path).ok();
        let parent = physical.as_ref().and_then(ObjectPath::parent);
        let dir = parent.and_then(|parent| root.dir_if_there(&parent).ok().flatten());
        let name = physical.as_ref().map(ObjectPath::name).unwrap_or_default();
        dir.is_some_and(|dir| dir.look(name).is_ok_and(|seen| seen.is_some()))
    }
}

/// Refuses set-id bits and capabilities for a file that others could have put in the place of the script's: nothing says
/// which bytes a script installs.
fn must_be_of_script(root: &Root, path: &ObjectPath, to: &AttributeChange) -> Result<(), RunHalt> {
    let is_set_id = to.mode.is_some_and(|mode| mode.bits() & SET_ID != 0);
    let has_capabilities = to.xattrs.as_ref().is_some_and(|xattrs| xattrs.contains_key(CAPABILITY));
    let Some(owner) = to.uid.filter(|_| (is_set_id || has_capabilities) && !root.is_trusted()) else {
        return Ok(());
    };
    match root.strange_beside(path, owner)? {
        None => Ok(()),
        Some(strange) => {
            let what = "is a set-id program that a script installed, and could be another file";
            Err(Cause::Script(format!("{} {what}: {strange}", root.show(path))).into())
        }
    }
}

fn procedure(name: &str) -> ProcedureScript {
    match name {
        "preinstall" => ProcedureScript::Preinstall,
        "postinstall" => ProcedureScript::Postinstall,
        "preremove" => ProcedureScript::Preremove,
        _ => ProcedureScript::Postremove,
    }
}

pub(crate) fn safety_copies<'c>(concerned: impl IntoIterator<Item = &'c Concerned>) -> ProtectedPaths {
    let mut all = Concerned::default();
    for one in concerned {
        for (path, editable) in &one.objects {
            *all.objects.entry(path.clone()).or_default() |= editable;
        }
        all.trees.extend(one.trees.iter().cloned());
        for file in &one.files {
            if !all.files.contains(file) {
                all.files.push(file.clone());
            }
        }
    }
    let objects = all.objects.into_iter().map(|(path, editable)| ProtectedObject { path, editable });
    all.files.push(places::unprivileged());
    ProtectedPaths { objects: objects.collect(), trees: all.trees, files: all.files }
}

/// Skips objects with a copy.
pub(crate) fn add_objects<'p>(copies: &mut ProtectedPaths, paths: impl IntoIterator<Item = &'p ObjectPath>) {
    let mut known: BTreeSet<ObjectPath> = copies.objects.iter().map(|object| object.path.clone()).collect();
    for path in paths {
        if known.insert(path.clone()) {
            copies.objects.push(ProtectedObject { path: path.clone(), editable: false });
        }
    }
}
