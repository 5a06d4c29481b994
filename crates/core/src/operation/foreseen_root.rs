//! The root for which a plan is shown: as it is, or as the recovery of an interrupted run would leave it.

use std::collections::BTreeMap;

use super::failure::Failure;
use super::system_managers::SystemManagers;
use patchadm_changeset::transaction::{ForeseenRecovery, Recovered, foresee_recovery};
use patchadm_inputs::database::{last_run, open_run};
use patchadm_inputs::inventory::{Installed, Inventory, Touched};
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::patch::projected_root::ProjectedRoot;
use patchadm_rootfs::{Digest, Lock, Root, Timestamp};
use patchadm_svr4::package::{ObjectPath, PkgInst};

/// The plans so far, with digests of delivered files that a later one needs. Without plans, the root as it is.
#[derive(Clone, Debug, Default)]
pub(in crate::operation) struct ForeseenRoot {
    plans: Vec<(Plan, BTreeMap<ObjectPath, Digest>)>,
    when: Timestamp,
}

impl ForeseenRoot {
    /// `when` is the time of the command.
    pub(in crate::operation) fn at(when: Timestamp) -> Self {
        Self { plans: Vec::new(), when }
    }

    pub(in crate::operation) fn is_as_it_is(&self) -> bool {
        self.plans.is_empty()
    }

    pub(in crate::operation) fn add(&mut self, plan: Plan, digests: BTreeMap<ObjectPath, Digest>) {
        self.plans.push((plan, digests));
    }

    /// Returns the present packages with their future parameters.
    pub(in crate::operation) fn packages(
        &self,
        packages: BTreeMap<PkgInst, Installed>,
    ) -> BTreeMap<PkgInst, Installed> {
        if self.plans.is_empty() {
            return packages;
        }
        self.onto(Inventory { packages, ..Inventory::default() }).packages
    }

    pub(in crate::operation) fn onto(&self, inventory: Inventory) -> Inventory {
        if self.plans.is_empty() {
            return inventory;
        }
        let mut ahead = ProjectedRoot::new(inventory, Touched::default(), self.when);
        for (plan, digests) in &self.plans {
            ahead.go_on(plan, digests);
        }
        ahead.inventory
    }
}

/// Plans for the root after the recovery of an interrupted run, whose effects are reported, too. If the run is active
/// or its recovery cannot be foreseen, plans for the present root, which is refused in the middle of a run.
pub(super) fn plan_on_foreseen_root<T>(
    root: &Root,
    plan: impl FnOnce(&Root) -> Result<T, Failure>,
) -> Result<(T, Recovered), Failure> {
    let is_at_work = || Lock::is_held(root).unwrap_or(true);
    let foreseen = match foresee_recovery(root, Some(&SystemManagers::of(root))) {
        Ok(ForeseenRecovery::Root(foreseen)) if !is_at_work() => Some(foreseen),
        // The plan reports defects of the journal.
        _ => None,
    };
    let Some(foreseen) = foreseen else { return Ok((plan(root)?, Recovered::Nothing)) };
    let state = || Ok::<_, Failure>((open_run(root)?, last_run(root)?));
    let before = state()?;
    let (shown, recovered) = *foreseen;
    let planned = plan(&shown)?;
    // Another command may have recovered the root meanwhile.
    if is_at_work() || state()? != before {
        return Err(Failure::DuringRun(root.prefix().display().to_string()));
    }
    Ok((planned, recovered))
}
