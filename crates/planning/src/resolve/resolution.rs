//! The answer of the resolver.

use std::collections::BTreeMap;

use patchadm_svr4::patch::{PatchId, PatchList};

use crate::plan::refusal::Reason;

/// The verdicts on all patches that were named or pulled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// First the patches that go in, in the order in which they are applied; then the others, by id.
    pub verdicts: Vec<SetVerdict>,
}

/// The verdict on one patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetVerdict {
    /// The id, or the word that was named where it is no patch of the depot.
    pub id: String,
    /// The place of the patch among the offers, or `None` if it is not offered.
    pub offer: Option<usize>,
    /// Whether it was named.
    pub is_named: bool,
    /// The patches for which it is pulled in, in order; empty for one that was named.
    pub because: Vec<PatchId>,
    /// Patches that it requires and that are not for this root: these requirements count as met.
    pub void: Vec<PatchId>,
    /// Its outcome.
    pub outcome: SetOutcome,
}

/// The outcome for a patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetOutcome {
    /// It goes in.
    Planned,
    /// It does not go in, or need not.
    LeftOut(Reason),
    /// It could go in, but this one cannot, and without it nothing is done.
    NotTried(String),
}

impl Resolution {
    /// Returns the verdicts on what goes in, in the order in which it is applied.
    pub fn planned(&self) -> impl Iterator<Item = &SetVerdict> {
        self.verdicts.iter().filter(|verdict| verdict.outcome == SetOutcome::Planned)
    }

    /// Returns, for each patch that goes in without being named, the patch that it goes in for.
    pub fn because(&self) -> BTreeMap<String, String> {
        let first = |verdict: &SetVerdict| Some((verdict.id.clone(), verdict.because.first()?.to_string()));
        self.planned().filter_map(first).collect()
    }

    /// Returns the patches that some of what goes in requires and that are not for this root.
    pub fn void(&self) -> PatchList {
        let mut void = PatchList::new();
        void.extend(self.planned().flat_map(|verdict| verdict.void.iter().cloned()));
        void
    }
}

impl SetVerdict {
    /// Returns the reason in words; empty if the patch goes in because it was named.
    pub fn reason(&self) -> String {
        match (&self.outcome, self.because.first()) {
            (SetOutcome::Planned, Some(by)) => format!("required by {by}"),
            (SetOutcome::Planned, None) => String::new(),
            (SetOutcome::LeftOut(reason), _) => reason.sentence(),
            (SetOutcome::NotTried(by), _) => format!("{by} cannot go in"),
        }
    }
}
