//! The reports of pkgadd and pkgrm, and the observer that follows the work and answers questions.

use std::collections::{BTreeMap, BTreeSet};

use crate::operation::failure::Failure;
use crate::operation::scripts::failure::LastingResults;
use crate::operation::scripts::run::StayingObjects;
use crate::operation::scripts::runner::{ScriptOutput, base_of};
use crate::script::protocol::ExitMeaning;
use patchadm_changeset::transaction::{Receipt, Recovered, RootCondition};
use patchadm_inputs::database::RecordView;
use patchadm_inputs::inventory::Installed;
use patchadm_inputs::source::PackageImage;
use patchadm_planning::plan::kept_libraries::LibraryReport;
use patchadm_planning::plan::package::install::IntendedInstall;
use patchadm_planning::plan::package::remove::{Fate, IntendedRemoval, RemovalPortion};
use patchadm_planning::plan::script_schedule::steps::Portion;
use patchadm_planning::plan::{Action, Body, Change, Plan};
use patchadm_rootfs::Root;
use patchadm_svr4::format::admin::Admin;
use patchadm_svr4::package::{Mode, ObjectPath, Params, PkgInst};

/// The outcomes of all packages of a command; `T` is the outcome of one.
#[derive(Debug)]
pub struct PackagesReport<T> {
    /// The finding of recovery, before anything else.
    pub recovered: Recovered,
    /// Names in the admin file that admin(4) does not know.
    pub unknown_answers: Vec<String>,
    /// Words that match no package. If there are any, nothing is changed.
    pub missing: Vec<String>,
    /// The outcomes, in the order in which the packages were taken.
    pub packages: Vec<T>,
}

/// The outcome of the installation of one package.
#[derive(Debug)]
pub struct AddedPackage {
    /// The instance, or the name on the device of a package that did not come that far.
    pub name: String,
    /// The plan, or `None` for a package that was refused.
    pub installation: Option<PlannedInstallation>,
    /// The receipt of the run, or the reason why there was none.
    pub result: Result<Receipt, Failure>,
    /// The results of scripts that outlast the run.
    pub ending: LastingResults,
}

/// The planned removal of a package.
#[derive(Clone, Debug)]
pub struct PlannedRemoval {
    /// The instance.
    pub name: String,
    /// The plan, and the scripts that take part.
    pub intended: IntendedRemoval,
    /// True if the dependencies of other packages are checked.
    pub checks_dependencies: bool,
    /// The report on libraries, if the plan concerns any.
    pub libraries: Option<LibraryReport>,
    /// The kept objects that exist before and after.
    pub staying: StayingObjects,
}

/// The outcome of the removal of one package.
#[derive(Debug)]
pub struct RemovedPackage {
    /// The instance.
    pub name: String,
    /// The plan, or `None` for a package that was refused.
    pub removal: Option<PlannedRemoval>,
    /// The receipt of the run, or the reason why there was none.
    pub result: Result<Receipt, Failure>,
    /// The results of scripts that outlast the run.
    pub ending: LastingResults,
}

impl AddedPackage {
    /// Returns whether the root is as it was before, as far as this package goes.
    pub(crate) fn left_nothing(&self) -> bool {
        let left = self.result.as_ref().err().map(Failure::left);
        matches!(left, Some(RootCondition::Unchanged | RootCondition::RolledBack))
    }

    pub(crate) fn refused(name: String, failure: Failure) -> Self {
        Self { name, installation: None, result: Err(failure), ending: LastingResults::default() }
    }
}

/// Returns whether the next package may be tried after a failure.
pub(crate) fn leaves_root_usable(failure: &Failure) -> bool {
    let usable = matches!(failure.left(), RootCondition::Unchanged | RootCondition::RolledBack);
    let enough = match failure {
        Failure::Declined => true,
        Failure::Script(failure) => failure.meaning == ExitMeaning::Interrupted,
        _ => false,
    };
    usable && failure.signal().is_none() && !enough
}

/// The planned installation of a package.
#[derive(Clone, Debug)]
pub struct PlannedInstallation {
    /// The instance that the package goes into.
    pub instance: String,
    /// The parameter NAME of the package.
    pub name: String,
    /// The plan, and the scripts that take part.
    pub intended: IntendedInstall,
    /// The answers of the admin file.
    pub admin: Admin,
    /// The directory of relative paths, or `None` for a package that has only absolute ones.
    pub basedir: Option<ObjectPath>,
    /// True if the same architecture and version is installed already and is overwritten.
    pub is_update: bool,
    /// The number of objects that are installed properly already.
    pub already: usize,
    /// The directories that are made because something lies below them.
    pub implied: BTreeSet<ObjectPath>,
    /// The new objects without a declared mode, each with the default mode that it gets.
    pub usual_modes: BTreeMap<ObjectPath, Mode>,
    /// True if scripts take part while the root is changed.
    pub has_scripts: bool,
    /// The report on libraries, if the plan concerns any.
    pub libraries: Option<LibraryReport>,
    /// The kept objects that exist before and after.
    pub staying: StayingObjects,
}

pub(crate) fn described(
    intended: IntendedInstall,
    package: &PackageImage,
    present: &BTreeMap<PkgInst, Installed>,
    admin: &Admin,
) -> PlannedInstallation {
    let IntendedInstall { plan, params, scripts, mapped, .. } = &intended;
    let chosen = plan.packages.first();
    let own: BTreeSet<&ObjectPath> = mapped.iter().map(|each| &each.path).collect();
    let changed: BTreeSet<&ObjectPath> = plan.changes.iter().map(|change| &change.path).collect();
    let made = plan
        .changes
        .iter()
        .filter(|change| matches!(&change.action, Action::Add(new) if matches!(new.body, Body::Directory)));
    let implied = made.map(|change| change.path.clone()).filter(|path| !own.contains(path)).collect();
    let mut described = PlannedInstallation {
        instance: chosen.map(ToString::to_string).unwrap_or_default(),
        name: package.params.text("NAME").into_owned(),
        admin: admin.clone(),
        basedir: base_of(params).filter(|_| is_relocatable(package)),
        is_update: chosen.is_some_and(|chosen| is_update(package, present.get(chosen))),
        already: own.iter().filter(|path| !changed.contains(*path)).count(),
        implied,
        usual_modes: usual_modes(&intended),
        has_scripts: scripts.take_part(),
        libraries: None,
        staying: StayingObjects::new(),
        intended,
    };
    if !described.has_scripts {
        // Only the course of scripts asks for every object again.
        described.intended.mapped = Vec::new();
    }
    described
}

pub(crate) fn is_update(package: &PackageImage, old: Option<&Installed>) -> bool {
    old.is_some_and(|old| old.params.text("VERSION") == package.params.text("VERSION"))
}

fn usual_modes(intended: &IntendedInstall) -> BTreeMap<ObjectPath, Mode> {
    let open = intended.mapped.iter().filter(|each| each.is_mode_open);
    let open: BTreeSet<&ObjectPath> = open.map(|each| &each.path).collect();
    let changes = intended.plan.changes.iter().map(Box::as_ref).filter(|change| open.contains(&change.path));
    let mode = |change: &Change| match &change.action {
        Action::Add(new) => Some((change.path.clone(), new.mode)),
        _ => None,
    };
    changes.filter_map(mode).collect()
}

fn is_relocatable(package: &PackageImage) -> bool {
    let mut paths = package.pkgmap.entries.iter().filter(|entry| !entry.is_information());
    paths.any(|entry| !entry.path.is_absolute() && !entry.path.as_bytes().starts_with(b"$"))
}

/// An object that a package no longer owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftObject {
    /// The path that it has, or had.
    pub path: ObjectPath,
    /// The reason why it still exists; `None` if it was removed.
    pub stays: Option<StayReason>,
}

/// The reason why an object stays when its package is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StayReason {
    /// Other packages own it as well.
    Shared,
    /// It is a directory that is not empty.
    NotEmpty,
    /// Something is mounted there.
    MountPoint,
}

/// Lists the objects of a class after `plan` was performed, except those that did not exist any more.
pub(crate) fn objects_left(root: &Root, portion: &RemovalPortion, plan: &Plan) -> Vec<LeftObject> {
    let view = RecordView::live(root);
    let gone: BTreeSet<&ObjectPath> = plan.changes.iter().map(|change| &change.path).collect();
    let objects = portion.objects.iter().filter_map(|going| {
        let stays = match going.fate {
            Fate::Shared | Fate::SharedEditable => Some(StayReason::Shared),
            Fate::MountPoint => Some(StayReason::MountPoint),
            Fate::Goes if matches!(view.look(&going.path), Ok(Some(_))) => Some(StayReason::NotEmpty),
            Fate::Goes if gone.contains(&going.path) => None,
            Fate::Goes => return None,
        };
        Some(LeftObject { path: going.path.clone(), stays })
    });
    objects.collect()
}

/// Lists the objects of a class that its script does not get, as far as they are known before the script has run.
pub(crate) fn objects_kept_from_script(portion: &RemovalPortion) -> Vec<LeftObject> {
    let kept = portion.objects.iter().filter(|going| going.fate == Fate::Shared);
    kept.map(|going| LeftObject { path: going.path.clone(), stays: Some(StayReason::Shared) }).collect()
}

/// Receives the events of installations and removals, and answers questions. By default, every method does nothing and agrees
/// to nothing.
pub trait PackageObserver: ScriptOutput {
    /// Called when the installation of a package begins. The name is that on the device.
    fn adding(&mut self, _name: &str, _package: &PackageImage) {}

    /// Called when the instance is known. With `is_update`, this architecture and version is installed already.
    fn placed(&mut self, _instance: &str, _is_update: bool) {}

    /// Called when the installation is planned and nothing has been changed yet.
    fn installing(&mut self, _installation: &PlannedInstallation, _package: &PackageImage) {}

    /// Called in a run with scripts before the objects of the package are installed.
    fn objects_begin(&mut self) {}

    /// Called in a run with scripts when these portions of the package are in place, as `batch` says.
    fn switched(&mut self, _installation: &PlannedInstallation, _portions: &[Portion], _batch: &Plan) {}

    /// Called in a run with scripts when the script of a class has succeeded.
    fn class_done(&mut self, _class: &str) {}

    /// Called when the installation of a package has succeeded or failed.
    fn added(&mut self, _added: &AddedPackage) {}

    /// Called when the removal of an installed package begins.
    fn removing(&mut self, _name: &str, _params: &Params) {}

    /// Called when the removal is planned and confirmed.
    fn removal_agreed(&mut self, _removal: &PlannedRemoval) {}

    /// Called when the objects of a class have been removed, or when the script that runs next will remove them.
    fn class_left(&mut self, _class: &str, _objects: &[LeftObject]) {}

    /// Called when only the records remain to be changed.
    fn objects_gone(&mut self) {}

    /// Called when the removal of a package has succeeded or failed.
    fn removed(&mut self, _removed: &RemovedPackage) {}

    /// Returns whether to continue despite these questions (sentences without a full stop). Called only if the request allows
    /// prompting.
    fn agrees(&mut self, _name: &str, _questions: &[String]) -> bool {
        false
    }
}

/// An observer that ignores all events and agrees to nothing.
#[derive(Clone, Copy, Debug)]
pub struct SilentObserver;

impl ScriptOutput for SilentObserver {}

impl PackageObserver for SilentObserver {}
