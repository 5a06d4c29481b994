//! The id of a promotion: the name of the stage, and a revision later than any that was ever there.

use patchadm_inputs::database::RecordView;
use patchadm_inputs::database::history::readable_history;
use patchadm_inputs::stage::StageName;
use patchadm_planning::plan::refusal::{PromotionReason, Reason};
use patchadm_svr4::patch::{AppliedPatches, PatchId};

/// Returns the requested id, if it is a new and later one, otherwise the next one.
pub(super) fn next_id(
    asked: Option<&str>,
    name: &StageName,
    view: &RecordView<'_>,
    applied: &AppliedPatches,
) -> Result<PatchId, Reason> {
    let known = known(name.as_str(), view, applied);
    let last = known.iter().max_by(|one, other| {
        if one.is_later_than(other) { std::cmp::Ordering::Greater } else { std::cmp::Ordering::Less }
    });
    let Some(asked) = asked else {
        let revision = last.and_then(|last| last.revision().parse::<u64>().ok()).unwrap_or(0) + 1;
        let text = format!("{name}-{revision:02}");
        return PatchId::new(&text).map_err(|error| Reason::BadId(error.to_string()));
    };
    let id = PatchId::new(asked).map_err(|error| Reason::BadId(error.to_string()))?;
    if id.base() != name.as_str() {
        return Err(Reason::BadId(format!("{id} is not of the base {name}, which is the name of the stage")));
    }
    match last {
        _ if known.contains(&id) => Err(Reason::Promotion(PromotionReason::KnownId)),
        Some(last) if !id.is_later_than(last) => {
            Err(Reason::Promotion(PromotionReason::EarlierId(last.clone())))
        }
        _ => Ok(id),
    }
}

/// Returns every revision of a base that is or was applied, as far as records and history tell.
fn known(base: &str, view: &RecordView<'_>, applied: &AppliedPatches) -> Vec<PatchId> {
    let recorded =
        applied.packages().iter().flat_map(|records| records.list.iter().chain(records.infos.keys()));
    let mut known: Vec<PatchId> = recorded.filter(|id| id.base() == base).cloned().collect();
    // A run that was rolled back does not count.
    let done = readable_history(view).into_iter().filter(|entry| entry.result == "done");
    let told = done.flat_map(|entry| entry.patches);
    known.extend(told.filter_map(|id| PatchId::new(&id).ok()).filter(|id| id.base() == base));
    known
}
