//! Patches that were chosen for a root, in their order, and read.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::operands::ApplyOperand;
use super::request::{ApplyOutcome, ApplyRequest};
use super::wanted::{PatchChoice, WantedPatches};
use crate::operation::failure::Failure;
use patchadm_inputs::sign::Demand;
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_planning::resolve::SetVerdict;
use patchadm_rootfs::Interrupt;
use patchadm_svr4::patch::{PatchId, PatchList};

/// Patches in the order in which they are applied.
#[derive(Default)]
pub(in crate::operation::patches) struct ChosenPatches {
    pub(in crate::operation::patches) patches: Vec<ChosenPatch>,
    /// Patches that some of them require and that are not for this root: these requirements count as met.
    pub(in crate::operation::patches) void: PatchList,
    /// For which patch each one is taken that nobody named.
    pub(in crate::operation::patches) because: BTreeMap<String, String>,
    /// All of them are one transaction, or nothing is done.
    pub(in crate::operation::patches) all_or_nothing: bool,
    /// The verdicts on what was not chosen.
    pub(in crate::operation::patches) left_out: Vec<SetVerdict>,
}

/// A patch that was chosen.
pub(in crate::operation::patches) struct ChosenPatch {
    /// The id by which it was chosen; a patch that has another one is refused.
    pub(in crate::operation::patches) id: PatchId,
    pub(in crate::operation::patches) source: ChosenSource,
}

/// Where a patch that was chosen is.
pub(in crate::operation::patches) enum ChosenSource {
    /// The file or directory.
    Path(PathBuf),
    /// It was read before it was chosen.
    Read(Box<ApplyOperand>),
}

impl ChosenPatches {
    /// Reads the patches that were not read before, until a signal comes. A patch that is not the one that was chosen is refused; of those that
    /// are one transaction none is left where one cannot be read.
    pub(in crate::operation::patches) fn read(
        self,
        how: (&ApplyRequest, Interrupt<'_>),
        separator: &str,
        demands: &[Demand],
    ) -> Result<WantedPatches, Failure> {
        let (mut operands, mut unread) = (Vec::new(), Vec::new());
        for ChosenPatch { id, source } in self.patches {
            match source.read(&id, how, separator, demands) {
                Ok(operand) => operands.push(operand),
                Err(failure) if failure.signal().is_some() => return Err(failure),
                Err(failure) => unread.push(ApplyOutcome::refused(id.to_string(), None, failure)),
            }
        }
        let first = unread.first().map(|first| first.id.clone());
        if let Some(first) = first.filter(|_| self.all_or_nothing) {
            unread.extend(operands.iter().map(|operand: &ApplyOperand| operand.not_without(&first)));
            operands.clear();
        }
        let Self { void, because, all_or_nothing, left_out, .. } = self;
        let choice = PatchChoice::InOrder { void, because, all_or_nothing, left_out };
        Ok(WantedPatches { operands, unread, choice })
    }
}

impl ChosenSource {
    fn read(
        self,
        id: &PatchId,
        how: (&ApplyRequest, Interrupt<'_>),
        separator: &str,
        demands: &[Demand],
    ) -> Result<ApplyOperand, Failure> {
        let path = match self {
            Self::Read(operand) => return Ok(*operand),
            Self::Path(path) => path,
        };
        let operand = ApplyOperand::read(&path, separator, demands, how)?;
        if operand.id.as_ref() != Some(id) {
            let reason = format!("the depot calls it {id}, and it is {}", operand.shown_id());
            return Err(Reason::BadPatch(reason).of(Command::Patchadd, id).into());
        }
        Ok(ApplyOperand { id: Some(id.clone()), ..operand })
    }
}
