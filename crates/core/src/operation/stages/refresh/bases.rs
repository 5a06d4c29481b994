//! The bases after a refresh: what was brought into the stage is common to both sides from then on. Every base that agrees
//! with the base in force on a path records it, and last the base in force itself.

use std::collections::{BTreeMap, BTreeSet};

use super::decided::DecidedRefresh;
use crate::operation::stages::error::StageError;
use crate::operation::stages::own_files::{Stage, put_base};
use crate::three_way::{Outcome, of_recorded};
use patchadm_inputs::stage::{
    BASE_OF_NEW, Base, BaseObject, BaseObjects, BaseState, ComparedAttributes, base_name,
};
use patchadm_releases::ReleaseObject;
use patchadm_releases::{CompareOptions, compare};
use patchadm_svr4::package::{ObjectPath, PkgInst};

/// Writes the states of what was brought into the bases of these names. Until the base in force has them, it is known which others agreed
/// with it before.
pub(super) fn write_states(
    stage: &Stage,
    decided: &DecidedRefresh,
    sound: &[Vec<u8>],
) -> Result<(), StageError> {
    let in_force =
        if decided.base_name == "0" { BASE_OF_NEW.to_vec() } else { base_name(&decided.base_name) };
    let before = stage.base(&in_force)?;
    for name in sound.iter().filter(|name| **name != in_force) {
        // The base of a promotion that is long gone may be damaged: nothing needs it.
        let Ok(base) = stage.base(name) else { continue };
        put_states(stage, name, &base, decided, &Apart::of(&before, &base))?;
    }
    put_states(stage, &in_force, &before, decided, &Apart::default())
}

/// Records in the bases of these names which packages both sides have from now on. If another base differs from the base in force on a
/// package, it still does so afterwards.
pub(super) fn write_packages(
    stage: &Stage,
    decided: &DecidedRefresh,
    sound: &[Vec<u8>],
) -> Result<(), StageError> {
    let changes = &decided.packages.in_bases;
    if changes.is_empty() {
        return Ok(());
    }
    let in_force =
        if decided.base_name == "0" { BASE_OF_NEW.to_vec() } else { base_name(&decided.base_name) };
    let before = stage.base(&in_force)?;
    for name in sound.iter().filter(|name| **name != in_force) {
        let Ok(base) = stage.base(name) else { continue };
        put_packages(stage, name, base, changes, &before.header.packages)?;
    }
    let packages = before.header.packages.clone();
    put_packages(stage, &in_force, before, changes, &packages)
}

fn put_packages(
    stage: &Stage,
    name: &[u8],
    base: Base,
    changes: &BTreeMap<PkgInst, Option<String>>,
    in_force: &BTreeMap<PkgInst, String>,
) -> Result<(), StageError> {
    let mut header = base.header;
    let known = header.packages.clone();
    let is_as_in_force = |(package, _): &(&PkgInst, &_)| known.get(*package) == in_force.get(*package);
    header.packages = with_packages(header.packages, changes.iter().filter(is_as_in_force));
    if header.packages == known {
        return Ok(());
    }
    put_base(&stage.own, name, &header, &BaseObjects::new(base.objects))
}

/// Returns packages with their versions after these changes; a package without a version is removed.
pub(super) fn with_packages<'a>(
    mut packages: BTreeMap<PkgInst, String>,
    changes: impl IntoIterator<Item = (&'a PkgInst, &'a Option<String>)>,
) -> BTreeMap<PkgInst, String> {
    for (package, version) in changes {
        match version {
            Some(version) => drop(packages.insert(package.clone(), version.clone())),
            None => drop(packages.remove(package)),
        }
    }
    packages
}

fn put_states(
    stage: &Stage,
    name: &[u8],
    base: &Base,
    decided: &DecidedRefresh,
    apart: &Apart,
) -> Result<(), StageError> {
    let objects = with_states(base, decided, apart);
    if objects == base.objects {
        return Ok(());
    }
    put_base(&stage.own, name, &base.header, &BaseObjects::new(objects))
}

/// The paths at which a base differs from the base in force.
#[derive(Default)]
struct Apart {
    states: BTreeSet<ObjectPath>,
    /// The mount points, about which no base says anything.
    mounts: BTreeSet<ObjectPath>,
}

impl Apart {
    fn of(in_force: &Base, other: &Base) -> Self {
        let options = CompareOptions { mtimes: false, every_type: true };
        let changes = compare(&compared(in_force), &compared(other), options).changes;
        let mounts = other.objects.iter().filter(|object| object.state == BaseState::Mount);
        Self {
            states: changes.into_iter().map(|change| change.path).collect(),
            mounts: mounts.map(|object| object.path.clone()).collect(),
        }
    }

    fn has(&self, path: &ObjectPath) -> bool {
        self.states.contains(path)
            || self.mounts.contains(path)
            || !self.mounts.is_empty() && path.ancestors().any(|above| self.mounts.contains(&above))
    }
}

/// Returns the objects of a base as trees are compared: by which objects are names of one, not by the number of that group.
fn compared(base: &Base) -> Vec<ReleaseObject> {
    let owners = ComparedAttributes { owners: true };
    base.objects.iter().filter_map(|one| of_recorded(&one.path, one.object()?, owners)).collect()
}

/// Returns the objects of the base in force with what was brought.
pub(super) fn with_states_of(base: &Base, decided: &DecidedRefresh) -> Vec<BaseObject> {
    with_states(base, decided, &Apart::default())
}

/// Returns the objects of a base with what was brought.
fn with_states(base: &Base, decided: &DecidedRefresh, apart: &Apart) -> Vec<BaseObject> {
    let mut objects: BTreeMap<ObjectPath, BaseState> =
        base.objects.iter().map(|object| (object.path.clone(), object.state.clone())).collect();
    let groups = base.objects.iter().filter_map(|object| object.object()?.group);
    let next = groups.max().unwrap_or(0) + 1;
    let settled = decided.brought().chain(&decided.left_to_stage);
    for path in settled.filter(|path| !apart.has(path) && base.header.paths.contains(path)) {
        let Some(live) = decided.live.object(path) else {
            objects.remove(path);
            continue;
        };
        let mut state = live.state();
        state.group = state.group.map(|group| next + group);
        if decided.outcomes.get(path) == Some(&Outcome::TakeTime)
            && let Some(BaseState::Object(known)) = objects.get(path)
        {
            state.group = known.group;
        }
        objects.insert(path.clone(), BaseState::Object(Box::new(state)));
    }
    objects.into_iter().map(|(path, state)| BaseObject { path, state }).collect()
}
