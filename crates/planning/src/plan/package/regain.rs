//! The parameters of an installed package, computed again from its deliveries: for a pkginfo that was lost.

use crate::plan::clock::Now;
use crate::plan::parameters::{merged, note_update, patch_of_info, speak_for_last_patch};
use crate::plan::target;
use patchadm_svr4::package::{Params, PkgInst};
use patchadm_svr4::patch::{PatchId, PatchMacros, PatchRecords};

/// Tells whether these parameters were delivered by a patch.
pub fn is_of_patch(delivered: &Params) -> bool {
    target::is_patch(delivered)
}

/// Returns the parameters of a package that was installed at `now` and never patched. Its environment, and what its
/// scripts answered, are not known.
pub fn installed_params(package: &PkgInst, delivered: &Params, now: &Now) -> Params {
    merged(package, &Params::new(), delivered, &Params::new(), now)
}

/// Returns the parameters that an undo archive saved, with `PATCH_INFO` of patches that it left out after the first one
/// that it has, where they all stand unless they are moved.
pub fn with_patch_info(found: &Params, left_out: Vec<(String, Vec<u8>)>) -> Params {
    let mut whole = Params::with_room_of(found);
    let mut left_out = left_out.into_iter();
    for (name, value) in found.iter() {
        whole.push(name, value);
        if patch_of_info(name).is_some() {
            left_out.by_ref().for_each(|(name, value)| whole.push(&name, value));
        }
    }
    left_out.for_each(|(name, value)| whole.push(&name, value));
    whole
}

/// Returns the parameters of a package after a patch that was applied at `now`, from those of before; none if the
/// delivered parameters are not those of that patch. What its scripts answered is not known.
pub fn patched_params(
    package: &PkgInst,
    old: &Params,
    delivered: &Params,
    id: &PatchId,
    separator: &str,
    now: &Now,
) -> Option<Params> {
    let macros = PatchMacros::from_params(delivered, separator).ok()??;
    let mut applied = PatchRecords::from_params(package, old, separator).ok()?;
    if macros.id != *id || !applied.record_applied(id, macros.installed(&now.patch_date(), &now.host)) {
        return None;
    }
    let mut new = merged(package, old, delivered, &Params::new(), now);
    note_update(&mut new);
    speak_for_last_patch(&mut new, delivered, id.as_str(), &macros.obsoletes.to_string());
    applied.write(id, &mut new);
    Some(new)
}
