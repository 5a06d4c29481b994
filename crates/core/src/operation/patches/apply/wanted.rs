//! The patches that a command is to apply: read, and in their order or still to be put in one.

use std::collections::BTreeMap;

use super::operands::ApplyOperand;
use super::request::ApplyOutcome;
use crate::operation::failure::Failure;
use crate::operation::patches::decision::resolved;
use crate::operation::session::RootAndPolicy;
use patchadm_planning::resolve::{Offer, OfferedPackage, Resolution, SetOutcome, SetRequest, SetVerdict};
use patchadm_svr4::patch::PatchList;

/// Patches that were read.
pub(in crate::operation::patches) struct WantedPatches {
    pub(in crate::operation::patches) operands: Vec<ApplyOperand>,
    /// The outcomes of those that cannot be read.
    pub(in crate::operation::patches) unread: Vec<ApplyOutcome>,
    pub(in crate::operation::patches) choice: PatchChoice,
}

/// Which of the patches are applied, and in which order.
pub(in crate::operation::patches) enum PatchChoice {
    /// All of them, as they stand.
    InOrder {
        /// Patches that some of them require and that are not for this root: these requirements count as met.
        void: PatchList,
        /// For which patch each one is taken that nobody named.
        because: BTreeMap<String, String>,
        /// All of them are one transaction, or nothing is done.
        all_or_nothing: bool,
        /// The verdicts on what was not chosen.
        left_out: Vec<SetVerdict>,
    },
    /// What the resolver takes for the root as it is under its lock. The offers are those of the patches, in their order.
    Resolve { offers: Vec<Offer>, request: SetRequest },
}

/// What is applied of them.
pub(super) struct OrderedPatches<'w> {
    pub(super) operands: Vec<&'w ApplyOperand>,
    pub(super) void: PatchList,
    pub(super) because: BTreeMap<String, String>,
    pub(super) is_together: bool,
    /// The answer of the resolver, if it was asked.
    pub(super) resolution: Option<Resolution>,
}

impl WantedPatches {
    /// One patch that is no set.
    pub(in crate::operation::patches) fn one(operand: ApplyOperand) -> Self {
        let choice = PatchChoice::InOrder {
            void: PatchList::new(),
            because: BTreeMap::new(),
            all_or_nothing: false,
            left_out: Vec::new(),
        };
        Self { operands: vec![operand], unread: Vec::new(), choice }
    }

    /// The packages that the patches are for.
    pub(super) fn packages(&self) -> Vec<OfferedPackage> {
        self.operands.iter().flat_map(ApplyOperand::packages).collect()
    }

    /// Decides for a root as it is now.
    pub(super) fn ordered(&self, ground: &RootAndPolicy) -> Result<OrderedPatches<'_>, Failure> {
        let (offers, request) = match &self.choice {
            PatchChoice::InOrder { void, because, all_or_nothing, .. } => {
                return Ok(OrderedPatches {
                    operands: self.operands.iter().collect(),
                    void: void.clone(),
                    because: because.clone(),
                    is_together: *all_or_nothing,
                    resolution: None,
                });
            }
            PatchChoice::Resolve { offers, request } => (offers, request),
        };
        let resolution = resolved(ground, offers, request)?;
        let operands = resolution.planned().filter_map(|verdict| self.operands.get(verdict.offer?));
        Ok(OrderedPatches {
            operands: operands.collect(),
            void: resolution.void(),
            because: resolution.because(),
            is_together: request.all_or_nothing,
            resolution: Some(resolution),
        })
    }

    /// The verdicts on the patches that do not go in, whether that was decided before the root was locked or after.
    pub(super) fn left_out<'a>(
        &'a self,
        ordered: &'a OrderedPatches<'_>,
    ) -> impl Iterator<Item = &'a SetVerdict> {
        let before: &[SetVerdict] = match &self.choice {
            PatchChoice::InOrder { left_out, .. } => left_out,
            PatchChoice::Resolve { .. } => &[],
        };
        let after = ordered.resolution.iter().flat_map(|resolution| &resolution.verdicts);
        before.iter().chain(after).filter(|verdict| verdict.outcome != SetOutcome::Planned)
    }
}
