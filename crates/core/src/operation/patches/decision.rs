//! The choice among offers for a root as it is now.

use crate::operation::failure::Failure;
use crate::operation::session::RootAndPolicy;
use patchadm_planning::resolve::{InstalledPackages, Offer, Resolution, ResolverInput, SetRequest, resolve};

/// Decides which of the offers are applied to a root as it is now.
pub(super) fn resolved(
    ground: &RootAndPolicy,
    offers: &[Offer],
    choices: &SetRequest,
) -> Result<Resolution, Failure> {
    let packages = ground.packages()?;
    let applied = ground.recorded(&packages)?;
    let installed =
        InstalledPackages::of(packages.iter().map(|(instance, installed)| (instance, &installed.params)));
    Ok(resolve(&ResolverInput {
        offers,
        applied: &applied,
        installed: &installed,
        policy: &ground.policy,
        request: choices,
    }))
}
