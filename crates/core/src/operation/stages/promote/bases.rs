//! The bases of a stage: the one in force, and those that nothing needs any more.

use std::collections::BTreeSet;

use crate::operation::failure::Failure;
use crate::operation::promotion_records::read_promotion;
use crate::operation::stages::error::StageError;
use crate::operation::stages::own_files::{Stage, StageRecord};
use patchadm_changeset::format::run::Run;
use patchadm_inputs::database::RecordView;
use patchadm_inputs::stage::{BASE_OF_NEW, BASES, Base, FIRST_BASE, PromotionRecord, base_name};
use patchadm_svr4::patch::{AppliedPatches, PatchId};

/// A base, and its name.
#[derive(Debug)]
pub(in crate::operation::stages) struct BaseInForce {
    pub(in crate::operation::stages) base: Base,
    /// `0`, or the id of a promotion.
    pub(in crate::operation::stages) name: String,
}

/// Reads the base in force: that of the newest promotion of the stage that is still applied, otherwise the initial one.
pub(in crate::operation::stages) fn in_force(
    stage: &Stage,
    view: &RecordView<'_>,
    applied: &AppliedPatches,
) -> Result<BaseInForce, StageError> {
    let newest = promotions(stage, view, applied)?.into_iter().max_by_key(|(number, _)| *number);
    let Some((_, record)) = newest else {
        let (base, seal) = stage.sealed_base(BASE_OF_NEW)?;
        stage.must_be_recorded(BASE_OF_NEW, seal)?;
        return Ok(BaseInForce { base, name: FIRST_BASE.to_owned() });
    };
    let name = base_name(&record.id);
    let (base, seal) = stage.sealed_base(&name)?;
    let is_its = base.header.promotion == Some((record.id.clone(), record.run.clone()));
    if !is_its {
        let path = stage.root.show(&stage.own.at(&name));
        return Err(StageError::OtherPromotion { path, id: record.id.to_string() });
    }
    stage.must_be_recorded(&name, seal)?;
    Ok(BaseInForce { base, name: record.id.to_string() })
}

/// Returns the applied promotions of a stage, with the numbers of their runs.
pub(super) fn promotions(
    stage: &Stage,
    view: &RecordView<'_>,
    applied: &AppliedPatches,
) -> Result<Vec<(u64, PromotionRecord)>, StageError> {
    // The promotions with this id are those of another stage.
    if stage.record == StageRecord::Elsewhere {
        return Ok(Vec::new());
    }
    let ids: BTreeSet<&PatchId> = applied.packages().iter().flat_map(|records| records.list.iter()).collect();
    let mut found = Vec::new();
    for id in ids.into_iter().filter(|id| id.base() == stage.identity.name.as_str()) {
        let Some(record) = read_promotion(view, id)? else { continue };
        if record.stage == Some(stage.identity.id) {
            let number = Run::parse(&record.run).map_or(0, |run| run.number);
            found.push((number, record));
        }
    }
    Ok(found)
}

/// Returns the ids of the applied promotions of a stage.
pub(in crate::operation::stages) fn own_promotions(
    stage: &Stage,
    view: &RecordView<'_>,
    applied: &AppliedPatches,
) -> Result<BTreeSet<PatchId>, Failure> {
    let all = promotions(stage, view, applied).map_err(StageError::into_failure)?;
    Ok(all.into_iter().map(|(_, record)| record.id).collect())
}

/// Removes the bases of promotions that are no longer applied. What cannot be removed now is removed another time.
pub(super) fn remove_old_bases(stage: &Stage, view: &RecordView<'_>) {
    let names = stage.own.names_that_are(|name| name.starts_with(BASES)).unwrap_or_default();
    for name in names.iter().filter(|name| name.as_slice() != BASE_OF_NEW) {
        let id = name.strip_prefix(BASES).and_then(|id| std::str::from_utf8(id).ok());
        let id = id.and_then(|id| PatchId::new(id).ok());
        let is_needed = id.is_some_and(|id| !matches!(read_promotion(view, &id), Ok(None)));
        if !is_needed {
            let _ = stage.own.remove(name);
        }
    }
}
