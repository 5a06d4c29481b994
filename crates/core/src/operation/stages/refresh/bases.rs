//! What was brought into the stage is what both sides have from then on: the base in force says so, and every other base
//! that had said the same of the path before.

use std::collections::BTreeMap;

use super::decided::{DecidedRefresh, changes};
use crate::operation::stages::error::StageError;
use crate::operation::stages::own_files::{Stage, put_base};
use crate::stage::{BASE_OF_NEW, BASES, Base, BaseObject, BaseState, base_name};
use crate::three_way::Outcome;
use patchadm_svr4::package::ObjectPath;

/// Writes the states of what was brought into the bases, that in force first.
pub(super) fn write_states(stage: &Stage, decided: &DecidedRefresh) -> Result<(), StageError> {
    let in_force =
        if decided.base_name == "0" { BASE_OF_NEW.to_vec() } else { base_name(&decided.base_name) };
    let before = stage.base(&in_force)?;
    let names = stage.own.names_that_are(|name| name.starts_with(BASES))?;
    let others = names.into_iter().filter(|name| *name != in_force);
    for name in std::iter::once(in_force.clone()).chain(others) {
        // One of a promotion that is long gone may be damaged: nobody needs it.
        let Ok(base) = stage.base(&name) else { continue };
        let is_same = |path: &ObjectPath| name == in_force || base.object(path) == before.object(path);
        let objects = with_states(&base, decided, &is_same);
        if objects != base.objects {
            put_base(&stage.own, &name, &base.header, &objects)?;
        }
    }
    Ok(())
}

/// The objects of a base with what was brought.
fn with_states(
    base: &Base,
    decided: &DecidedRefresh,
    is_same: &dyn Fn(&ObjectPath) -> bool,
) -> Vec<BaseObject> {
    let mut objects: BTreeMap<ObjectPath, BaseState> =
        base.objects.iter().map(|object| (object.path.clone(), object.state.clone())).collect();
    let groups = base.objects.iter().filter_map(|object| object.object()?.group);
    let next = groups.max().unwrap_or(0) + 1;
    let brought = decided.outcomes.iter().filter(|(path, outcome)| changes(outcome) && is_same(path));
    for (path, outcome) in brought {
        if outcome.is_deleted() {
            objects.remove(path);
            continue;
        }
        let Some(live) = decided.live.object(path) else { continue };
        let mut state = live.state();
        state.group = state.group.map(|group| next + group);
        if *outcome == Outcome::TakeTime
            && let Some(BaseState::Object(known)) = objects.get(path)
        {
            state.group = known.group;
        }
        objects.insert(path.clone(), BaseState::Object(Box::new(state)));
    }
    objects.into_iter().map(|(path, state)| BaseObject { path, state }).collect()
}
