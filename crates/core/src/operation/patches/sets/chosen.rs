//! The chosen and fetched patches, as they are passed on to be applied.

use super::fetch::{FetchedPatch, FetchedPatches};
use crate::operation::patches::apply::{ApplyOperand, ChosenPatch, ChosenPatches, ChosenSource};
use patchadm_planning::resolve::{Offer, Resolution, SetOutcome, SetRequest, SetVerdict};

/// Returns the patches to be applied: those that were fetched, or read before; none if all were requested and one was not
/// fetched. The first offers are those of `operands`.
pub(super) fn chosen(
    offers: &[Offer],
    resolution: &Resolution,
    fetched: &FetchedPatches,
    operands: Vec<ApplyOperand>,
    choices: &SetRequest,
) -> ChosenPatches {
    if choices.all_or_nothing && fetched.iter().any(Result::is_err) {
        return ChosenPatches::default();
    }
    let mut operands: Vec<Option<ApplyOperand>> = operands.into_iter().map(Some).collect();
    let mut patches = Vec::new();
    for (verdict, fetched) in resolution.planned().zip(fetched) {
        let Some(offer) = verdict.offer.and_then(|place| offers.get(place)) else { continue };
        let source = match fetched {
            Err(_) => None,
            Ok(FetchedPatch::Path(path)) => Some(ChosenSource::Path(path.clone())),
            Ok(FetchedPatch::Operand(place)) => {
                let operand = operands.get_mut(*place).and_then(Option::take);
                operand.map(|operand| ChosenSource::Read(Box::new(operand)))
            }
        };
        patches.extend(source.map(|source| ChosenPatch { id: offer.id.clone(), source }));
    }
    let (void, because) = (resolution.void(), resolution.because());
    let is_left_out = |verdict: &&SetVerdict| verdict.outcome != SetOutcome::Planned;
    let left_out = resolution.verdicts.iter().filter(is_left_out).cloned().collect();
    ChosenPatches { patches, void, because, all_or_nothing: choices.all_or_nothing, left_out }
}
