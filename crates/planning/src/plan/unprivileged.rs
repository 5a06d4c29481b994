//! The objects that only root can make: devices, and programs that run as another user or group.

use patchadm_rootfs::{Live, LiveKind};
use patchadm_svr4::package::Mode;

use super::refusal::ObjectProblem;
use super::{AttributeChange, Body, NewObject};

/// Numeric user and group; none if the name is unknown.
type Owner = (Option<u32>, Option<u32>);

/// Refuses a new object that the caller, who is not root, cannot make. `source` is the existing object that it becomes
/// a name of.
pub(super) fn check_new(
    new: &NewObject,
    source: Option<&Live>,
    caller: (u32, u32),
) -> Result<(), ObjectProblem> {
    let is_device = matches!(new.body, Body::Device { .. })
        || source.is_some_and(|live| matches!(live.kind, LiveKind::Device { .. }) && live.uid != caller.0);
    if is_device {
        return Err(ObjectProblem::NotPermitted("a device"));
    }
    let is_directory = matches!(new.body, Body::Directory);
    check_mode(new.mode, (Some(new.uid), Some(new.gid)), is_directory, caller)
}

/// Refuses a mode that the caller, who is not root, cannot give to an object.
pub(super) fn check_attributes(
    new: &AttributeChange,
    old: &Live,
    caller: (u32, u32),
) -> Result<(), ObjectProblem> {
    let Some(mode) = new.mode else { return Ok(()) };
    let owner = (Some(new.uid.unwrap_or(old.uid)), Some(new.gid.unwrap_or(old.gid)));
    check_mode(mode, owner, old.is_directory(), caller)
}

/// Refuses the set-id bits of an object that is another one's.
pub(super) fn check_mode(
    mode: Mode,
    (uid, gid): Owner,
    is_directory: bool,
    caller: (u32, u32),
) -> Result<(), ObjectProblem> {
    let has = |bit: u32| mode.bits() & bit != 0;
    if has(0o4000) && uid != Some(caller.0) || has(0o2000) && gid != Some(caller.1) && !is_directory {
        return Err(ObjectProblem::NotPermitted("a program that runs as another user or group"));
    }
    Ok(())
}

/// Tells whether the caller, who is not root, could create an existing object again.
pub(super) fn can_come_back(live: &Live, caller: (u32, u32)) -> bool {
    !matches!(live.kind, LiveKind::Device { .. })
        && check_mode(live.mode, (Some(live.uid), Some(live.gid)), live.is_directory(), caller).is_ok()
}
