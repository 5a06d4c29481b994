//! What is demanded of the signatures of patches: by the caller, else by the policy of the root and of the host.

use std::path::{Path, PathBuf};

use crate::operation::failure::Failure;
use crate::operation::session::RootAndPolicy;
use patchadm_inputs::policy::Policy;
use patchadm_inputs::sign::{Demand, DemandWord, KeyDirectory, KeyRing};
use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;

/// What the caller says about signatures; what is not said is as the policy says.
#[derive(Clone, Debug, Default)]
pub struct SignatureRequest {
    /// What is demanded.
    pub word: Option<DemandWord>,
    /// A directory of this machine with the keys that are trusted, instead of those of the root.
    pub keys: Option<PathBuf>,
    /// Whether a plan file says it, and not the caller: it can only make the demand of the policy stricter.
    pub is_of_plan: bool,
}

impl SignatureRequest {
    /// Tells whether the caller wants no signature looked at.
    pub(super) fn is_waiver(&self) -> bool {
        self.word == Some(DemandWord::Off) && !self.is_of_plan
    }
}

/// The demands that a patch must meet, each with its keys: that of the root and, where the host's policy bounds it, that
/// of the host. Keys of a root that cannot be believed are an error unless nobody asks for signatures.
pub fn demands(ground: &RootAndPolicy, request: &SignatureRequest) -> Result<Vec<Demand>, Failure> {
    if request.is_waiver() {
        return Ok(Vec::new());
    }
    if request.is_of_plan {
        return stricter(ground, request);
    }
    let (root, host) = (&ground.root, &ground.host);
    let mut demands = vec![demand(root, &ground.policy, request)?];
    if let Some(bounds) = &ground.bounds {
        demands.push(demand(host, bounds, &of_host(request))?);
    }
    demands.retain(|demand| demand.word != DemandWord::Off);
    Ok(demands)
}

/// The demands of the policy, made stricter by what a plan file says: its word counts where it demands more, and its keys
/// must accept a patch as well.
fn stricter(ground: &RootAndPolicy, of_plan: &SignatureRequest) -> Result<Vec<Demand>, Failure> {
    let mut all = demands(ground, &SignatureRequest::default())?;
    let Some(word) = of_plan.word.or(of_plan.keys.as_ref().map(|_| DemandWord::Warn)) else { return Ok(all) };
    if word == DemandWord::Off {
        return Ok(all);
    }
    if all.is_empty() || of_plan.keys.is_some() {
        let own = SignatureRequest { word: Some(word), is_of_plan: false, ..of_plan.clone() };
        all.push(demand(&ground.root, &ground.policy, &own)?);
        return Ok(all);
    }
    for demand in &mut all {
        demand.word = demand.word.max(word);
    }
    Ok(all)
}

/// The request as far as it is about the host: who requires signatures by the keys of the root asks nothing of those of
/// the host, which may have none. Its policy still decides.
fn of_host(request: &SignatureRequest) -> SignatureRequest {
    let is_about_root = request.word == Some(DemandWord::Require) && request.keys.is_none();
    if is_about_root { SignatureRequest::default() } else { request.clone() }
}

fn demand(root: &Root, policy: &Policy, request: &SignatureRequest) -> Result<Demand, Failure> {
    let word = request.word.or(policy.signature);
    if word == Some(DemandWord::Off) {
        return Ok(Demand { word: DemandWord::Off, keys: KeyRing::default() });
    }
    let keys = match &request.keys {
        Some(directory) => named_keys(directory)?,
        None => KeyDirectory::new(root, &policy.keys).read()?,
    };
    let by_keys = if keys.keys.is_empty() { DemandWord::Off } else { DemandWord::Warn };
    Ok(Demand { word: word.unwrap_or(by_keys), keys })
}

fn named_keys(directory: &Path) -> Result<KeyRing, Failure> {
    Ok(KeyDirectory::new(&Root::open(directory)?, &ObjectPath::root()).of_caller().read()?)
}
