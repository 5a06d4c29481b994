//! The owner of a root, checked before the superuser changes the root: anyone who can write its records decides what is done
//! there.

use super::failure::Failure;
use patchadm_inputs::database::policy;
use patchadm_rootfs::{ForeignTree, Root};

/// The caller's statement about the owner of a root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaidOfOwner {
    /// The owner may do anything there with the rights of the caller.
    pub is_trusted: bool,
    /// Everything is to be done as the owner.
    pub as_owner: bool,
    /// The answer of the run whose script called, if there is one.
    pub by_run: Option<AnswerOfRun>,
}

/// The answer of an active run when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerOfRun {
    /// The root belongs to the superuser alone.
    Asked,
    /// Its owner is trusted.
    Trusted,
}

/// The user who changes a root.
#[derive(Debug)]
pub enum RootStanding {
    /// The caller does. Where it matters, the root refuses to read records that are not the superuser's.
    Caller(Root),
    /// A process of its owner does everything, and the caller touches nothing in it.
    Owner(Root),
}

/// Returns who changes a root, according to the caller's statement and the policy of `host`, the root of the running system.
/// Only the directory of the root itself is examined.
///
/// An unprivileged caller is not asked, nor is a caller who changes the running system itself.
pub fn standing(root: Root, host: &Root, said: SaidOfOwner) -> Result<RootStanding, Failure> {
    if !root.is_privileged() {
        return Ok(RootStanding::Caller(root));
    }
    let shown = root.prefix().display().to_string();
    if root.is_system_itself()? {
        return if said.as_owner { Err(Failure::OwnedByRoot(shown)) } else { Ok(RootStanding::Caller(root)) };
    }
    if said.is_trusted || said.by_run == Some(AnswerOfRun::Trusted) {
        return Ok(RootStanding::Caller(root.trusted()));
    }
    if said.by_run == Some(AnswerOfRun::Asked) {
        return Ok(RootStanding::Caller(root));
    }
    let (owner, _) = root.owner()?;
    if said.as_owner {
        return if owner == 0 { Err(Failure::OwnedByRoot(shown)) } else { Ok(RootStanding::Owner(root)) };
    }
    let policy = policy::of_host(host)?;
    let path = root.physical_path()?;
    let path = path.as_os_str().as_encoded_bytes();
    if policy.untrusted_roots.name_it_or_above(path) {
        return Ok(RootStanding::Caller(
            root.guarded(patchadm_inputs::database::records(), Some(ForeignTree::Named)),
        ));
    }
    if owner != 0 && policy.as_owner_roots.name(path) {
        return Ok(RootStanding::Owner(root));
    }
    if policy.trusted_roots.name(path) {
        return Ok(RootStanding::Caller(root.trusted()));
    }
    // An object of another user is refused with the owner's name.
    let foreign = if owner == 0 { root.container_tree()? } else { None };
    Ok(RootStanding::Caller(root.guarded(patchadm_inputs::database::records(), foreign)))
}
