//! The root as plans will have left it: the basis for the next patch of a rehearsal, and for patches before which something
//! else is done in the same run.
//!
//! Nothing is carried out, so the root is computed: each survey of the present root gets the changes of the earlier plans.
//! Other effects of scripts are not known.

use std::collections::BTreeMap;

use patchadm_inputs::inventory::{Installed, Inventory, Touched};
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::patch::projected_root::ProjectedRoot;
use patchadm_rootfs::{Digest, Timestamp};
use patchadm_svr4::package::{ObjectPath, PkgInst};

/// The plans so far, in their order, each with the digests of what it delivers, if a later one needs them. Without plans, it
/// is the root as it is.
#[derive(Debug, Default)]
pub(in crate::operation) struct ForeseenRoot {
    plans: Vec<(Plan, BTreeMap<ObjectPath, Digest>)>,
    when: Timestamp,
}

impl ForeseenRoot {
    /// Returns the root before the first patch; `when` is the time of the command.
    pub(in crate::operation) fn at(when: Timestamp) -> Self {
        Self { plans: Vec::new(), when }
    }

    /// Returns whether it is the present root.
    pub(in crate::operation) fn is_as_it_is(&self) -> bool {
        self.plans.is_empty()
    }

    /// Adds the changes of a patch.
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

    /// Returns a survey of the present root with all future changes.
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
