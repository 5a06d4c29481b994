//! Demands on signatures: by the caller, else by the policies of root and host.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::operation::depots::is_on_network;
use crate::operation::failure::Failure;
use crate::operation::session::RootAndPolicy;
use patchadm_inputs::password::without_password;
use patchadm_inputs::policy::Policy;
use patchadm_inputs::sign::{Demand, DemandWord, KeyDirectory, KeyDirectoryError, KeyRing};
use patchadm_rootfs::{Root, strange_above};
use patchadm_svr4::package::ObjectPath;

/// Missing demands come from the policy.
#[derive(Clone, Debug, Default)]
pub struct SignatureRequest {
    pub word: Option<DemandWord>,
    /// A host directory with trusted keys, instead of the root's.
    pub keys: Option<PathBuf>,
    /// Demanded by a plan file, so it can only make the policy stricter.
    pub is_of_plan: bool,
    /// Allow patches without a trusted signature, even from a network (`--allow-unsigned`).
    pub allows_unsigned: bool,
}

impl SignatureRequest {
    /// A bad signature is refused nevertheless.
    #[must_use]
    pub fn allowing_unsigned(self, allows_unsigned: bool) -> Self {
        let word = if allows_unsigned { Some(DemandWord::Warn) } else { self.word };
        Self { word, allows_unsigned, ..self }
    }

    pub(super) fn is_waiver(&self) -> bool {
        self.word == Some(DemandWord::Off) && !self.is_of_plan
    }
}

/// Returns the root's demand, and the host's if its policy bounds the root. Untrustworthy keys are an error, unless
/// nobody asks for signatures.
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
        // The host's keys concern its own patches, unless its policy includes other roots.
        if bounds.signature.is_some() {
            demands.push(demand(host, bounds, &of_host(request))?);
        }
    }
    demands.retain(|demand| demand.word != DemandWord::Off);
    Ok(demands)
}

/// A plan file's word counts if it is stricter, and its keys must accept the patch, too.
fn stricter(ground: &RootAndPolicy, of_plan: &SignatureRequest) -> Result<Vec<Demand>, Failure> {
    let mut all = demands(ground, &SignatureRequest::default().allowing_unsigned(of_plan.allows_unsigned))?;
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

/// Requests for signatures by the root's keys do not apply to the host, which may have none. Its policy still decides.
fn of_host(request: &SignatureRequest) -> SignatureRequest {
    let is_about_root = request.word == Some(DemandWord::Require) && request.keys.is_none();
    if is_about_root { SignatureRequest::default() } else { request.clone() }
}

/// Refuses sources on a network if the root trusts no key, unless caller or policy waive signatures.
pub fn must_be_vouched_for(
    ground: &RootAndPolicy,
    demands: &[Demand],
    request: &SignatureRequest,
    address: &str,
) -> Result<(), Failure> {
    let is_said =
        request.allows_unsigned || request.is_waiver() || ground.policy.signature == Some(DemandWord::Off);
    if is_said || is_vouched_for(demands) {
        return Ok(());
    }
    Err(Failure::Unvouched(without_password(address)))
}

/// A demand without keys rejects everything.
fn is_vouched_for(demands: &[Demand]) -> bool {
    demands.iter().any(|demand| demand.word == DemandWord::Require || !demand.keys.keys.is_empty())
}

pub fn lacks_trust(ground: &RootAndPolicy) -> Result<bool, Failure> {
    let Some(depot) = ground.policy.depot.as_deref() else { return Ok(false) };
    is_unverified(ground, &SignatureRequest::default(), depot)
}

/// Returns true if a depot is on a network, and the root neither trusts a key for it nor waives signatures.
pub fn is_unverified(
    ground: &RootAndPolicy,
    request: &SignatureRequest,
    depot: &str,
) -> Result<bool, Failure> {
    if !is_on_network(depot.as_ref()) {
        return Ok(false);
    }
    Ok(must_be_vouched_for(ground, &demands(ground, request)?, request, depot).is_err())
}

fn demand(root: &Root, policy: &Policy, request: &SignatureRequest) -> Result<Demand, Failure> {
    let word = request.word.or(policy.signature);
    if word == Some(DemandWord::Off) {
        return Ok(Demand { word: DemandWord::Off, keys: KeyRing::default() });
    }
    let keys = match &request.keys {
        Some(directory) => named_keys(directory)?,
        None => KeyDirectory::new(root, &policy.keys).read_for_verdict(policy.names_keys)?,
    };
    let by_keys = if keys.keys.is_empty() { DemandWord::Off } else { DemandWord::Require };
    Ok(Demand { word: word.unwrap_or(by_keys), keys })
}

fn named_keys(directory: &Path) -> Result<KeyRing, Failure> {
    let root = match Root::open(directory) {
        Err(error) if error.errno() == Some(Errno::NOTDIR) => {
            return Err(KeyDirectoryError::NotADirectory(directory.display().to_string()).into());
        }
        Err(error) if error.is_not_found() => {
            return Err(KeyDirectoryError::Absent(directory.display().to_string()).into());
        }
        root => root?,
    };
    if let Some(strange) = strange_above(directory)? {
        let (path, whose) = (directory.display().to_string(), "the caller's");
        return Err(KeyDirectoryError::NotTheRoots { path, whose, reason: strange.to_string() }.into());
    }
    Ok(KeyDirectory::new(&root, &ObjectPath::root()).of_caller().read_for_verdict(true)?)
}
