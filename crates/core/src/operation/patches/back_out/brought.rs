//! The patches that a promotion brought from its stage: who takes the promotion back takes them back as well.

use crate::operation::failure::Failure;
use crate::operation::patches::later_patches::run_of;
use crate::operation::promotion_records::{PromotionRecordFault, read_promotion};
use crate::operation::session::RootAndPolicy;
use patchadm_changeset::format::run::Run;
use patchadm_inputs::database::{RecordView, ledger};
use patchadm_inputs::stage::PromotionRecord;
use patchadm_svr4::patch::{AppliedPatches, PatchId};

/// Adds to patches what the promotions among them brought, as far as it is still applied as they brought it.
pub(super) fn with_brought(
    ground: &RootAndPolicy,
    applied: &AppliedPatches,
    mut ids: Vec<PatchId>,
) -> Result<Vec<PatchId>, Failure> {
    let view = RecordView::live(&ground.root);
    for id in ids.clone() {
        let Some(record) = promotion(&view, &id)? else { continue };
        for brought in &record.brought {
            if !ids.contains(brought) && is_of_run(&view, applied, brought, &record.run)? {
                ids.push(brought.clone());
            }
        }
    }
    Ok(ids)
}

/// Reads the record of a promotion; `None` where the patch is none.
fn promotion(view: &RecordView<'_>, id: &PatchId) -> Result<Option<PromotionRecord>, Failure> {
    read_promotion(view, id).map_err(|fault| match fault {
        PromotionRecordFault::View(error) => error.into(),
        PromotionRecordFault::Damaged { error, .. } => {
            Failure::BadFile(format!("the record of promotion {id}: {error}"))
        }
    })
}

/// Whether a patch is applied, by this run.
fn is_of_run(
    view: &RecordView<'_>,
    applied: &AppliedPatches,
    id: &PatchId,
    run: &str,
) -> Result<bool, Failure> {
    let number = Run::parse(run).map(|run| run.number);
    for package in applied.get(id).map(|patch| patch.packages.as_slice()).unwrap_or_default() {
        let ledger = ledger::counting(view, package)
            .map_err(patchadm_inputs::database::undo_data::ArchiveError::from)?;
        let by = run_of(&ledger, id.as_str());
        if by.is_some() && by == number {
            return Ok(true);
        }
    }
    Ok(false)
}
