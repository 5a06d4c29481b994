//! The objects that are a package's no more, and why some of them stay.

use std::collections::BTreeSet;

use patchadm_inputs::database::RecordView;
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::package::remove::{Fate, RemovalPortion};
use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;

/// An object that is the package's no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftObject {
    /// The path that it has, or had.
    pub path: ObjectPath,
    /// The reason for which it is there still, if it is.
    pub stays: Option<StayReason>,
}

/// The reason for which an object stays when its package goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StayReason {
    /// Other packages own it too.
    Shared,
    /// It is a directory with something in it.
    NotEmpty,
    /// Something is mounted there.
    MountPoint,
}

/// Lists what became of the objects of a class, after the engine has done with them what `plan` says. Objects that were
/// not there any more are left out.
pub(crate) fn objects_left(root: &Root, portion: &RemovalPortion, plan: &Plan) -> Vec<LeftObject> {
    let view = RecordView::live(root);
    let gone: BTreeSet<&ObjectPath> = plan.changes.iter().map(|change| &change.path).collect();
    let objects = portion.objects.iter().filter_map(|going| {
        let stays = match going.fate {
            Fate::Shared | Fate::SharedEditable => Some(StayReason::Shared),
            Fate::MountPoint => Some(StayReason::MountPoint),
            Fate::Goes if matches!(view.look(&going.path), Ok(Some(_))) => Some(StayReason::NotEmpty),
            Fate::Goes if gone.contains(&going.path) => None,
            Fate::Goes => return None,
        };
        Some(LeftObject { path: going.path.clone(), stays })
    });
    objects.collect()
}

/// Lists the objects of a class that its script does not get, as far as that is known before the script has run.
pub(crate) fn objects_kept_from_script(portion: &RemovalPortion) -> Vec<LeftObject> {
    let kept = portion.objects.iter().filter(|going| going.fate == Fate::Shared);
    kept.map(|going| LeftObject { path: going.path.clone(), stays: Some(StayReason::Shared) }).collect()
}
