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

#[derive(Debug)]
pub struct PackagesReport<T> {
    pub recovered: Recovered,
    /// Names in the admin file, unknown to admin(4).
    pub unknown_answers: Vec<String>,
    /// Words that match no package. If there are any, nothing is changed.
    pub missing: Vec<String>,
    /// In order of processing.
    pub packages: Vec<T>,
}

#[derive(Debug)]
pub struct AddedPackage {
    /// The instance, or the device's name for a package that failed early.
    pub name: String,
    /// `None` if refused.
    pub installation: Option<PlannedInstallation>,
    pub result: Result<Receipt, Failure>,
    pub ending: LastingResults,
}

#[derive(Clone, Debug)]
pub struct PlannedRemoval {
    pub name: String,
    pub intended: IntendedRemoval,
    pub checks_dependencies: bool,
    /// `None` if no libraries are concerned.
    pub libraries: Option<LibraryReport>,
    /// Kept objects that exist before and after.
    pub staying: StayingObjects,
}

#[derive(Debug)]
pub struct RemovedPackage {
    pub name: String,
    /// `None` if refused.
    pub removal: Option<PlannedRemoval>,
    pub result: Result<Receipt, Failure>,
    pub ending: LastingResults,
}

impl AddedPackage {
    /// The root is as before, as far as this package goes.
    pub(crate) fn left_nothing(&self) -> bool {
        let left = self.result.as_ref().err().map(Failure::left);
        matches!(left, Some(RootCondition::Unchanged | RootCondition::RolledBack))
    }

    pub(crate) fn refused(name: String, failure: Failure) -> Self {
        Self { name, installation: None, result: Err(failure), ending: LastingResults::default() }
    }
}

pub(crate) fn leaves_root_usable(failure: &Failure) -> bool {
    let usable = matches!(failure.left(), RootCondition::Unchanged | RootCondition::RolledBack);
    let enough = match failure {
        Failure::Declined => true,
        Failure::Script(failure) => failure.meaning == ExitMeaning::Interrupted,
        _ => false,
    };
    usable && failure.signal().is_none() && !enough
}

#[derive(Clone, Debug)]
pub struct PlannedInstallation {
    pub instance: String,
    /// The parameter NAME.
    pub name: String,
    pub intended: IntendedInstall,
    pub admin: Admin,
    /// `None` for a package with absolute paths only.
    pub basedir: Option<ObjectPath>,
    /// The same architecture and version is overwritten.
    pub is_update: bool,
    /// Objects that are installed properly already.
    pub already: usize,
    /// Directories that are made for paths below them.
    pub implied: BTreeSet<ObjectPath>,
    /// New objects without a declared mode, with their default modes.
    pub usual_modes: BTreeMap<ObjectPath, Mode>,
    /// Scripts take part while the root is changed.
    pub has_scripts: bool,
    /// `None` if no libraries are concerned.
    pub libraries: Option<LibraryReport>,
    /// Kept objects that exist before and after.
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
        // Only the course of scripts needs them.
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftObject {
    pub path: ObjectPath,
    /// `None` if it was removed.
    pub stays: Option<LeftObjectReason>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftObjectReason {
    Shared,
    NotEmpty,
    MountPoint,
}

/// Excludes objects that were missing before.
pub(crate) fn objects_left(root: &Root, portion: &RemovalPortion, plan: &Plan) -> Vec<LeftObject> {
    let view = RecordView::live(root);
    let gone: BTreeSet<&ObjectPath> = plan.changes.iter().map(|change| &change.path).collect();
    let objects = portion.objects.iter().filter_map(|going| {
        let stays = match going.fate {
            Fate::Shared | Fate::SharedEditable => Some(LeftObjectReason::Shared),
            Fate::MountPoint => Some(LeftObjectReason::MountPoint),
            Fate::Goes if matches!(view.look(&going.path), Ok(Some(_))) => Some(LeftObjectReason::NotEmpty),
            Fate::Goes if gone.contains(&going.path) => None,
            Fate::Goes => return None,
        };
        Some(LeftObject { path: going.path.clone(), stays })
    });
    objects.collect()
}

/// Lists the objects known before the script runs.
pub(crate) fn objects_kept_from_script(portion: &RemovalPortion) -> Vec<LeftObject> {
    let kept = portion.objects.iter().filter(|going| going.fate == Fate::Shared);
    kept.map(|going| LeftObject { path: going.path.clone(), stays: Some(LeftObjectReason::Shared) }).collect()
}

/// Default methods do nothing and agree to nothing.
pub trait PackageObserver: ScriptOutput {
    /// The name is that on the device.
    fn adding(&mut self, _name: &str, _package: &PackageImage) {}

    /// `is_update`: this architecture and version is installed already.
    fn placed(&mut self, _instance: &str, _is_update: bool) {}

    /// Called when the installation is planned and nothing has been changed yet.
    fn installing(&mut self, _installation: &PlannedInstallation, _package: &PackageImage) {}

    /// Only for runs with scripts.
    fn objects_begin(&mut self) {}

    /// Only for runs with scripts, after these portions are in place.
    fn switched(&mut self, _installation: &PlannedInstallation, _portions: &[Portion], _batch: &Plan) {}

    /// Only for runs with scripts, after the class script has succeeded.
    fn class_done(&mut self, _class: &str) {}

    /// Called after success or failure.
    fn added(&mut self, _added: &AddedPackage) {}

    fn removing(&mut self, _name: &str, _params: &Params) {}

    /// Called when the removal is planned and confirmed.
    fn removal_agreed(&mut self, _removal: &PlannedRemoval) {}

    /// Called when the objects of a class have been removed, or the next script will remove them.
    fn class_left(&mut self, _class: &str, _objects: &[LeftObject]) {}

    /// Only the records remain to be changed.
    fn objects_gone(&mut self) {}

    /// Called after success or failure.
    fn removed(&mut self, _removed: &RemovedPackage) {}

    /// The questions are sentences without a period. Called only if prompting is allowed.
    fn agrees(&mut self, _name: &str, _questions: &[String]) -> bool {
        false
    }
}

#[derive(Clone, Copy, Debug)]
pub struct SilentObserver;

impl ScriptOutput for SilentObserver {}

impl PackageObserver for SilentObserver {}
