//! Kept libraries of changed packages that the native package manager took away, or has again: their keeping ends.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::Facts;
use crate::operation::failure::Failure;
use crate::operation::session::RootAndPolicy;
use patchadm_inputs::inventory::{KEPT_FROM, KeptLibraries};
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::clock::Now;
use patchadm_planning::plan::kept_libraries::{KeepingCause, KeptInput, KeptSettlement};
use patchadm_planning::plan::refusal::Command;
use patchadm_svr4::package::{ObjectPath, PkgInst};

/// Ends in a plan the keeping of what is the native manager's or gone. Returns what is kept besides; `None` if all stays.
pub(super) fn end_keeping(
    ground: &RootAndPolicy,
    (plan, facts): (&mut Plan, &Facts),
    now: &Now,
) -> Result<Option<KeptLibraries>, Failure> {
    let kept = ground.kept_libraries(&facts.inventory.hidden)?;
    let is_of_changed = |path: &ObjectPath| {
        let keeper = kept.keeper(path).and_then(|keeper| kept.packages.get(keeper));
        let from = keeper.and_then(|keeper| PkgInst::new(&keeper.params.text(KEPT_FROM)).ok());
        from.is_some_and(|from| facts.changes.contains_key(&from))
    };
    let of_changed: Vec<&ObjectPath> = kept.paths().filter(|path| is_of_changed(path)).collect();
    let is_gone = |path: &ObjectPath| !kept.live.contains_key(path);
    let is_native = |path: &ObjectPath| facts.inventory.live.contains_key(path);
    let ends = of_changed.into_iter().filter(|path| is_gone(path) || is_native(path));
    let ends: BTreeSet<ObjectPath> = ends.cloned().collect();
    if ends.is_empty() {
        return Ok(None);
    }
    let input = KeptInput {
        plan,
        inventory: &facts.inventory,
        kept: &kept,
        staying: None,
        archived_packages: &BTreeMap::new(),
        archived_directories: &BTreeMap::new(),
        returned: &ends,
        cause: KeepingCause { by: Command::Adopt.name(), is_forced: false },
        now,
    };
    let subject = plan.packages.first().map(ToString::to_string).unwrap_or_default();
    let mut settlement: KeptSettlement = input
        .settle()
        .map_err(|reason| reason.shown(&facts.inventory).of(Command::AdoptRefresh, &subject))?;
    let lines = ends.iter().filter(|path| is_gone(path)).map(|path| (path.clone(), None));
    settlement.contents.extend(lines);
    settlement.apply(plan);
    Ok(Some(settlement.kept))
}
