//! Whether the undo data of several patches can be used, before any of them is touched.

use super::input::BackOutInput;
use super::request::BackOutOutcome;
use super::undo::must_be_whole;
use crate::database::{RecordView, all, installed};
use crate::inventory::Touched;
use crate::operation::failure::Failure;
use patchadm_svr4::patch::PatchId;

/// The first of several patches whose undo data cannot be used. Of one patch alone, and of one that is not applied, the
/// plan says it.
pub(super) fn first_unusable(
    input: &BackOutInput<'_>,
    ids: &[PatchId],
) -> Result<Option<BackOutOutcome>, Failure> {
    if ids.len() < 2 {
        return Ok(None);
    }
    let rules = input.survey(input.ground.packages()?, &Touched::default())?;
    let view = RecordView::live(&input.ground.root);
    let applied = all::applied(&view, &input.ground.policy.separator)?;
    for id in ids {
        for package in applied.get(id).map(|patch| &patch.packages[..]).unwrap_or_default() {
            let archive = input.archive(package, &installed::saved_as(&view, package, id)?);
            if let Err(error) = archive.and_then(|archive| must_be_whole(&archive, &view, &rules.marker)) {
                return Ok(Some(BackOutOutcome::refused(id, error.into())));
            }
        }
    }
    Ok(None)
}
