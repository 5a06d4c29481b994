//! Checks the owner of a root before the superuser changes it: anyone who can write its records decides what is done
//! there.

use super::failure::Failure;
use patchadm_inputs::database::policy;
use patchadm_rootfs::{ForeignTree, Root};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaidOfOwner {
    /// The owner may do anything there with the caller's rights.
    pub is_trusted: bool,
    pub as_owner: bool,
    /// The answer of the surrounding run.
    pub by_run: Option<AnswerOfRun>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerOfRun {
    /// The root belongs to the superuser alone.
    Asked,
    Trusted,
}

#[derive(Debug)]
pub enum RootStanding {
    /// The root refuses records that are not the superuser's, if that matters.
    Caller(Root),
    /// A process of the owner does everything; the caller touches nothing.
    Owner(Root),
}

/// Decides by the caller's statement and the host's policy; examines only the root directory. Never asks an
/// unprivileged caller, or one who changes the running system. The superuser follows no link of a user into a directory
/// of others, unless the root is trusted.
pub fn standing(root: Root, host: &Root, said: SaidOfOwner) -> Result<RootStanding, Failure> {
    if !root.is_privileged() {
        return Ok(RootStanding::Caller(root));
    }
    let shown = root.prefix().display().to_string();
    let is_trusted = said.is_trusted || said.by_run == Some(AnswerOfRun::Trusted);
    if root.is_system_itself()? {
        if said.as_owner {
            return Err(Failure::OwnedByRoot(shown));
        }
        // Users also own directories of objects there.
        return Ok(RootStanding::Caller(if is_trusted { root } else { root.wary_of_links() }));
    }
    if is_trusted {
        return Ok(RootStanding::Caller(root.trusted()));
    }
    let root = root.wary_of_links();
    if said.by_run == Some(AnswerOfRun::Asked) {
        return Ok(RootStanding::Caller(root));
    }
    let (owner, _) = root.owner()?;
    if said.as_owner {
        return if owner == 0 { Err(Failure::OwnedByRoot(shown)) } else { of_owner(root) };
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
        return of_owner(root);
    }
    if policy.trusted_roots.name(path) {
        return Ok(RootStanding::Caller(root.trusted()));
    }
    // Another user's object is refused with its owner's name.
    let foreign = if owner == 0 { root.container_tree()? } else { None };
    Ok(RootStanding::Caller(root.guarded(patchadm_inputs::database::records(), foreign)))
}

fn of_owner(root: Root) -> Result<RootStanding, Failure> {
    root.look_at_owner()?;
    Ok(RootStanding::Owner(root))
}
