//! The root as the patches of a command will have left it: what the next patch of a rehearsal is planned against.
//!
//! Nothing is done, so it is computed: each survey of the root as it is gets what the plans before it change. What scripts
//! would do beside that is not known.

use std::collections::BTreeMap;

use patchadm_inputs::inventory::{Installed, Inventory, Touched};
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::patch::projected_root::ProjectedRoot;
use patchadm_rootfs::{Digest, Timestamp};
use patchadm_svr4::package::{ObjectPath, PkgInst};

/// The plans so far, in their order, each with the digests of what it delivers where a later one asks for them. Without
/// any it is the root as it is.
#[derive(Debug, Default)]
pub(super) struct ForeseenRoot {
    plans: Vec<(Plan, BTreeMap<ObjectPath, Digest>)>,
    when: Timestamp,
}

impl ForeseenRoot {
    /// The root before the first patch; `when` is the time of the command.
    pub(super) fn at(when: Timestamp) -> Self {
        Self { plans: Vec::new(), when }
    }

    /// Whether it is the root as it is.
    pub(super) fn is_as_it_is(&self) -> bool {
        self.plans.is_empty()
    }

    /// Adds what a patch will have done.
    pub(super) fn add(&mut self, plan: Plan, digests: BTreeMap<ObjectPath, Digest>) {
        self.plans.push((plan, digests));
    }

    /// The packages, as they are, with the parameters that they will have.
    pub(super) fn packages(&self, packages: BTreeMap<PkgInst, Installed>) -> BTreeMap<PkgInst, Installed> {
        if self.plans.is_empty() {
            return packages;
        }
        self.onto(Inventory { packages, ..Inventory::default() }).packages
    }

    /// A survey of the root as it is, with everything as it will be.
    pub(super) fn onto(&self, inventory: Inventory) -> Inventory {
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
