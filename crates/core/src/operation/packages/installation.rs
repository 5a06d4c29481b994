//! What installing one package means: the plan with what an attendant wants to know of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::format::admin::Admin;
use crate::inventory::Installed;
use crate::package::{Mode, ObjectPath, Params, PkgInst};
use crate::plan::install::Intended;
use crate::plan::{Action, Body, Change};
use crate::source::PackageImage;

/// What installing a package means.
#[derive(Clone, Debug)]
pub struct Installation {
    /// The instance that it goes into.
    pub instance: String,
    /// Its name for people.
    pub name: String,
    /// What is done, and by which scripts.
    pub intended: Intended,
    /// The answers that were given in advance.
    pub admin: Admin,
    /// Where its relative paths lie; none where it has none.
    pub basedir: Option<ObjectPath>,
    /// Whether the same architecture and version is installed already and is overwritten.
    pub is_update: bool,
    /// How many of its objects are there already, properly installed.
    pub already: usize,
    /// The directories that are made because something lies below them.
    pub implied: BTreeSet<ObjectPath>,
    /// The new objects whose mode is not written anywhere, each with the usual one that it gets.
    pub usual_modes: BTreeMap<ObjectPath, Mode>,
    /// Whether scripts take part while the root is changed.
    pub has_scripts: bool,
}

/// The installation with what an attendant wants to know of it. `present` are the instances that are installed.
pub(crate) fn described(
    intended: Intended,
    package: &PackageImage,
    present: &BTreeMap<PkgInst, Installed>,
    admin: &Admin,
) -> Installation {
    let Intended { plan, params, scripts, mapped, .. } = &intended;
    let chosen = plan.packages.first();
    let own: BTreeSet<&ObjectPath> = mapped.iter().map(|each| &each.path).collect();
    let path = params.get("BASEDIR").map(<[u8]>::trim_ascii).and_then(|path| ObjectPath::new(path).ok());
    let version = |params: &Params| params.text("VERSION").into_owned();
    let is_same = |old: &Installed| version(&old.params) == version(&package.params);
    let changed: BTreeSet<&ObjectPath> = plan.changes.iter().map(|change| &change.path).collect();
    let made = plan
        .changes
        .iter()
        .filter(|change| matches!(&change.action, Action::Add(new) if matches!(new.body, Body::Directory)));
    let implied = made.map(|change| change.path.clone()).filter(|path| !own.contains(path)).collect();
    Installation {
        instance: chosen.map(ToString::to_string).unwrap_or_default(),
        name: package.params.text("NAME").into_owned(),
        admin: admin.clone(),
        basedir: path.filter(|_| is_relocatable(package)),
        is_update: chosen.and_then(|chosen| present.get(chosen)).is_some_and(is_same),
        already: own.iter().filter(|path| !changed.contains(*path)).count(),
        implied,
        usual_modes: usual_modes(&intended),
        has_scripts: scripts.take_part(),
        intended,
    }
}

/// The objects that come where nothing is to take a mode from, with the mode that they get.
fn usual_modes(intended: &Intended) -> BTreeMap<ObjectPath, Mode> {
    let open = intended.mapped.iter().filter(|each| each.is_mode_open);
    let open: BTreeSet<&ObjectPath> = open.map(|each| &each.path).collect();
    let changes = intended.plan.changes.iter().filter(|change| open.contains(&change.path));
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
