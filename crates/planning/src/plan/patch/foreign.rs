//! Backing out with an archive of the classic tools: it has no manifest, so its pkgmap and its `deletes` are all that
//! is known of how things were.
//!
//! Attributes that a pkgmap cannot say (nanoseconds, extended attributes, link groups) do not come back.

use patchadm_inputs::policy::Edited;
use patchadm_svr4::package::{Ftype, PkgInst};
use patchadm_svr4::patch::PatchId;

use super::backout_input::{BackoutArchive, Later};
use super::later::refuse_saved_before;
use crate::plan::edits::{EditChoice, Edits};
use crate::plan::plan_builder::PlanBuilder;
use crate::plan::privileges::{OnRecord, may_be_device, mode};
use crate::plan::refusal::Reason;
use crate::plan::target::{PackageTarget, Wanted};

/// Plans the objects of a classic backout package. `later` are the patches applied after the one that goes: a path that
/// one of them changed again is refused.
pub(super) fn restore(
    draft: &mut PlanBuilder<'_>,
    id: &PatchId,
    package: &PkgInst,
    index: usize,
    archive: &BackoutArchive<'_>,
    later: &Later<'_>,
) -> Result<(), Reason> {
    let image = archive.image;
    let installed = draft.inventory.packages.get(package).ok_or(Reason::NotApplied)?;
    let target = PackageTarget::new(package.clone(), index, image, installed.params.clone())?;
    let mut wanted = target.wanted()?;
    wanted.retain_mut(|each| is_allowed(draft, each, archive.is_bound));
    let choice = EditChoice { general: Edited::Replace, ..EditChoice::default() };
    let mut edits = Edits::new(draft.inventory, choice, id.as_str(), false);
    for each in &wanted {
        refuse_saved_before(&each.path, later, &draft.inventory.patched_by)?;
        edits.consider((package, false), &each.path, Some(&each.object))?;
    }
    for links in [false, true] {
        for each in wanted.iter().filter(|each| (each.object.ftype == Ftype::Link) == links) {
            let handling = edits.handling(&each.path);
            if links {
                draft.link(&target, each, &handling)?;
            } else {
                draft.place(&target, each, &handling)?;
            }
        }
    }
    for path in &image.deletes {
        let path = target.resolve(path)?;
        refuse_saved_before(&path, later, &draft.inventory.patched_by)?;
        draft.delete(package, &path)?;
    }
    Ok(())
}

/// Takes from an object the set-id bits that only the archive knows of; whether it comes back at all, which a device that
/// only the archive knows of does not.
fn is_allowed(draft: &mut PlanBuilder<'_>, each: &mut Wanted<'_>, bound: bool) -> bool {
    let known = OnRecord::of(draft, &each.path);
    let (object, shown) = (&mut each.object, draft.inventory.show(&each.path));
    if matches!(object.ftype, Ftype::Block | Ftype::Character) && !may_be_device(object, bound, known) {
        draft
            .notes
            .push(format!("{shown} does not come back: only the undo archive says that it was this device"));
        return false;
    }
    if let Some(recorded) = object.attributes.mode.filter(|_| object.ftype.is_regular()) {
        let mode = mode(recorded, bound, known);
        if mode != recorded {
            object.set_mode(Some(mode));
            draft.notes.push(format!(
                "{shown} comes back without set-id bits: only the undo archive says that it had them"
            ));
        }
    }
    true
}
