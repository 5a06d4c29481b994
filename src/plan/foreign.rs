//! Backing out with an archive of the classic tools: it has no manifest, so its pkgmap and its `deletes` are all that
//! is known of how things were.
//!
//! Attributes that a pkgmap cannot say (nanoseconds, extended attributes, link groups) do not come back.

use crate::package::{Edited, Ftype, ObjectPath, PkgInst};
use crate::patch::PatchId;
use crate::source::PackageImage;

use super::draft::Draft;
use super::edits::{EditChoice, Edits};
use super::refusal::Reason;
use super::restore::Later;
use super::target::Target;

/// Plans the objects of a classic backout package. `later` are the patches applied after the one that goes: a path that
/// one of them changed again is refused.
pub(super) fn restore(
    draft: &mut Draft<'_>,
    id: &PatchId,
    package: &PkgInst,
    index: usize,
    image: &PackageImage,
    later: &Later<'_>,
) -> Result<(), Reason> {
    let installed = draft.inventory.packages.get(package).ok_or(Reason::NotApplied)?;
    let target = Target::new(package.clone(), index, image, installed.params.clone())?;
    let wanted = target.wanted()?;
    let choice = EditChoice { general: Edited::Replace, ..EditChoice::default() };
    let mut edits = Edits::new(draft.inventory, choice, id.as_str(), false);
    for each in &wanted {
        refuse_changed_later(draft, &each.path, later)?;
        edits.consider(&each.path, Some(&each.object))?;
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
        refuse_changed_later(draft, &path, later)?;
        draft.delete(package, &path)?;
    }
    Ok(())
}

/// What is saved here is older than what a later patch has put there.
fn refuse_changed_later(draft: &Draft<'_>, path: &ObjectPath, later: &Later<'_>) -> Result<(), Reason> {
    let Some(patches) = draft.inventory.patched_by.get(path) else { return Ok(()) };
    let mut later = later.iter().map(|(id, _)| id.to_string());
    match later.find(|id| patches.contains(id)) {
        Some(by) => Err(Reason::ChangedLater { path: path.clone(), by: Some(by) }),
        None => Ok(()),
    }
}
