//! The local package of a base: it owns the promoted paths that no other package owns.

use crate::plan::clock::Now;
use crate::plan::refusal::{PromotionReason, Reason};
use patchadm_inputs::inventory::Inventory;
use patchadm_svr4::package::{Params, PkgInst};
use patchadm_svr4::places;

const LOCAL: &str = "PATCHADM_LOCAL";

pub fn local_name(base: &str) -> Result<PkgInst, Reason> {
    let name = format!("LOCL{}", base.replace('.', "_"));
    PkgInst::new(&name).map_err(|error| Reason::BadId(error.to_string()))
}

/// Returns the base; `None` if the parameters are not of a local package.
pub fn local_package(params: &Params) -> Option<String> {
    Some(params.text(LOCAL).trim().to_owned()).filter(|base| !base.is_empty())
}

pub(super) fn is_installed(name: &PkgInst, base: &str, inventory: &Inventory) -> Result<bool, Reason> {
    let Some(installed) = inventory.packages.get(name) else { return Ok(false) };
    if local_package(&installed.params).as_deref() == Some(base) {
        return Ok(true);
    }
    Err(Reason::Promotion(PromotionReason::OtherPackage { package: name.clone(), base: base.to_owned() }))
}

pub(super) fn parameters(name: &PkgInst, base: &str, stage: &str, now: &Now) -> Params {
    let mut params = Params::new();
    for (key, value) in [
        ("PKG", name.as_str()),
        ("NAME", &format!("Local changes promoted from stage {stage}")),
        ("ARCH", "all"),
        ("VERSION", "1.0"),
        ("CATEGORY", "local"),
        ("BASEDIR", "/"),
        ("CLASSES", "none"),
        (LOCAL, base),
        ("PKGINST", name.as_str()),
        ("PKGSAV", &places::save(name).to_string()),
        ("INSTDATE", &now.instdate()),
    ] {
        params.set(key, value);
    }
    params
}
