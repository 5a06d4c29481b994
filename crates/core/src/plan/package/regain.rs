//! The parameters of an installed package, computed again from what was delivered to it: for a pkginfo that was lost.

use crate::plan::clock::Now;
use crate::plan::parameters::{merged, speak_for_last_patch};
use crate::plan::target;
use patchadm_svr4::package::{Params, PkgInst};
use patchadm_svr4::patch::{PatchId, PatchMacros, PatchRecords};

/// Whether these parameters were delivered by a patch.
pub fn is_of_patch(delivered: &Params) -> bool {
    target::is_patch(delivered)
}

/// The parameters of a package that was installed at `now` and never patched. Its environment, and what its scripts
/// answered, are not known.
pub fn installed_params(package: &PkgInst, delivered: &Params, now: &Now) -> Params {
    merged(package, &Params::new(), delivered, &Params::new(), now)
}

/// The parameters of a package after a patch that was applied at `now`, from those of before; none where the delivered
/// parameters are not those of that patch. What its scripts answered is not known.
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
    speak_for_last_patch(&mut new, delivered, id.as_str(), &macros.obsoletes.to_string());
    applied.write(id, &mut new);
    Some(new)
}
