//! An installation as it is planned, with what an observer wants to know of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::operation::scripts::context::base_of;
use crate::operation::scripts::staying_libraries::StayingObjects;
use patchadm_inputs::inventory::Installed;
use patchadm_inputs::source::PackageImage;
use patchadm_planning::plan::kept_libraries::LibraryReport;
use patchadm_planning::plan::package::install::IntendedInstall;
use patchadm_planning::plan::{Action, Body, Change};
use patchadm_svr4::format::admin::Admin;
use patchadm_svr4::package::{Mode, ObjectPath, PkgInst};

/// The installation of a package as it is planned.
#[derive(Clone, Debug)]
pub struct PlannedInstallation {
    /// The instance that the package goes into.
    pub instance: String,
    /// The parameter NAME of the package.
    pub name: String,
    /// What is done, and by which scripts.
    pub intended: IntendedInstall,
    /// The answers that were given in advance.
    pub admin: Admin,
    /// The directory of relative paths, or `None` for a package that has only absolute ones.
    pub basedir: Option<ObjectPath>,
    /// Whether the same architecture and version is installed already and is overwritten.
    pub is_update: bool,
    /// The number of objects that are there already, properly installed.
    pub already: usize,
    /// The directories that are made because something lies below them.
    pub implied: BTreeSet<ObjectPath>,
    /// The new objects whose mode is not written anywhere, each with the usual one that it gets.
    pub usual_modes: BTreeMap<ObjectPath, Mode>,
    /// Whether scripts take part while the root is changed.
    pub has_scripts: bool,
    /// What is told of libraries, where somebody looked for them.
    pub libraries: Option<LibraryReport>,
    /// The kept objects that are there before and after.
    pub staying: StayingObjects,
}

/// Adds to a plan what an observer wants to know of it. `present` are the instances that are installed.
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

/// Whether a package has the architecture and version of the installed instance that it goes over.
pub(crate) fn is_update(package: &PackageImage, old: Option<&Installed>) -> bool {
    old.is_some_and(|old| old.params.text("VERSION") == package.params.text("VERSION"))
}

/// The objects that come where nothing is to take a mode from, with the mode that they get.
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

/// Whether some of its paths are relative to BASEDIR.
fn is_relocatable(package: &PackageImage) -> bool {
    let mut paths = package.pkgmap.entries.iter().filter(|entry| !entry.is_information());
    paths.any(|entry| !entry.path.is_absolute() && !entry.path.as_bytes().starts_with(b"$"))
}
