//! Work after a successful run: undo data beyond the policy's limits is deleted in another run, and little free space
//! is reported. Failures are only reported, because the patches are applied.

use super::undo_drop::{PatchOfDrop, PlannedUndoDrop, UndoLimits, plan_within_limits};
use crate::operation::content::NoContent;
use crate::operation::failure::Failure;
use crate::operation::session::{RootAndPolicy, Session, UNDO_LIMIT};
use patchadm_inputs::source::Image;
use patchadm_rootfs::{FreeSpace, Root, RootError};
use patchadm_svr4::format::patchinfo::PatchinfoFile;
use patchadm_svr4::format::readme::{ReadmeReboot, reboot_request};
use patchadm_svr4::places;

#[derive(Debug, Default)]
pub struct AfterRun {
    /// Irremovable, because their undo data exceeded the limits.
    pub irremovable: Vec<PatchOfDrop>,
    /// Why the limits could not be kept.
    pub failure: Option<Failure>,
    /// The file system of the records, if it has less free space than the policy wants.
    pub low_space: Option<LowSpace>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LowSpace {
    /// Host path of a directory on it.
    pub path: String,
    /// Bytes.
    pub free: u64,
    /// Bytes.
    pub size: u64,
}

pub(in crate::operation) fn after_run(session: &Session<'_>) -> AfterRun {
    let (irremovable, failure) = match keep_limits(session) {
        Ok(irremovable) => (irremovable, None),
        Err(failure) => (Vec::new(), Some(failure)),
    };
    AfterRun { irremovable, failure, low_space: low_space(&session.ground) }
}

fn keep_limits(session: &Session<'_>) -> Result<Vec<PatchOfDrop>, Failure> {
    let policy = &session.ground.policy;
    let most = match policy.undo_max {
        Some(limit) => space_of_records(&session.ground.root)?.map(|(_, space)| limit.bytes(space.size)),
        None => None,
    };
    let limits = UndoLimits { older_than: None, shrink_to: most, keep_newest: policy.undo_keep };
    if limits.is_none() {
        return Ok(Vec::new());
    }
    let PlannedUndoDrop { patches, plan, .. } = plan_within_limits(session, limits)?;
    let Some(mut plan) = plan else { return Ok(Vec::new()) };
    plan.command = UNDO_LIMIT;
    session.perform(&plan, &mut NoContent, None, String::new())?;
    Ok(patches)
}

/// `None` if the free space is unknown.
fn low_space(ground: &RootAndPolicy) -> Option<LowSpace> {
    let (path, FreeSpace { bytes: free, size, .. }) = space_of_records(&ground.root).ok().flatten()?;
    let wanted = u128::from(size) * u128::from(ground.policy.undo_warn);
    (u128::from(free) * 100 < wanted).then_some(LowSpace { path, free, size })
}

fn space_of_records(root: &Root) -> Result<Option<(String, FreeSpace)>, RootError> {
    let place = places::records();
    let records = root.dir_if_there(&root.resolver().locate_dir(&place)?)?;
    records.map(|records| Ok((root.show(&place), records.space()?))).transpose()
}

/// Words of `PATCH_PROPERTIES` that ask for a reboot, strongest first.
const WORDS: [&str; 4] = ["reconfigimmediate", "rebootimmediate", "reconfigafter", "rebootafter"];

/// Prefers `patchinfo` to the README.
pub(super) fn reboot_advice(image: &Image) -> Option<&'static str> {
    reboot_asked_by(image.patchinfo.as_ref(), image.readme.as_ref().map(|(_, text)| text.as_slice()))
}

pub(in crate::operation) fn reboot_asked_by(
    patchinfo: Option<&PatchinfoFile>,
    readme: Option<&[u8]>,
) -> Option<&'static str> {
    if let Some(patchinfo) = patchinfo {
        let asked = |word: &&&str| patchinfo.properties.iter().any(|property| property == **word);
        return WORDS.iter().find(asked).copied();
    }
    Some(match reboot_request(readme?)? {
        ReadmeReboot::ReconfigureImmediately => "reconfigimmediate",
        ReadmeReboot::RebootImmediately => "rebootimmediate",
        ReadmeReboot::ReconfigureAfter => "reconfigafter",
        ReadmeReboot::RebootAfter => "rebootafter",
    })
}
