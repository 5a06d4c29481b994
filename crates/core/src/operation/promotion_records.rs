//! The record of a promotion on the root tells other operations a patch's origin.

use patchadm_inputs::database::{RecordView, ViewError};
use patchadm_inputs::stage::{LONGEST_RECORD, PromotionRecord, StageFileError, promotion_record};
use patchadm_svr4::patch::PatchId;

#[derive(Debug)]
pub(in crate::operation) enum PromotionRecordFault {
    View(ViewError),
    Damaged { path: String, error: StageFileError },
}

pub(in crate::operation) fn read_promotion(
    view: &RecordView<'_>,
    id: &PatchId,
) -> Result<Option<PromotionRecord>, PromotionRecordFault> {
    // An applied patch has an id that makes a valid path.
    let Ok(place) = promotion_record(id) else { return Ok(None) };
    let text = view.read(&place, LONGEST_RECORD).map_err(PromotionRecordFault::View)?;
    let record = text.map(|text| PromotionRecord::parse(&text)).transpose();
    let damaged = |error| PromotionRecordFault::Damaged { path: view.root().show(&place), error };
    Ok(record.map_err(damaged)?.filter(|record| record.id == *id))
}
