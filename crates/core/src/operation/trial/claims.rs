//! What the patches of a trial did to paths that a package manager may have written since: what of it stays when the trial ends.

use std::collections::BTreeMap;

use crate::operation::failure::Failure;
use crate::operation::overtaken_list::overtaken_patches;
use crate::operation::queries::patch_objects::{ObjectAction, patch_files};
use crate::operation::session::RootAndPolicy;
use patchadm_changeset::format::manifest::{RecordedState, StateDifferences};
use patchadm_inputs::database::marker;
use patchadm_inputs::format::overtaken::OvertakenPatch;
use patchadm_inputs::native::NativeOrigin;
use patchadm_inputs::trial::TrialRecord;
use patchadm_svr4::package::ObjectPath;

/// What the patches of a trial found at their paths in adopted packages.
pub(super) struct TrialClaims(BTreeMap<ObjectPath, Found>);

/// What patches found at a path.
enum Found {
    Nothing,
    Object(RecordedState),
    /// It is not known any more.
    Unknown,
}

impl TrialClaims {
    /// Reads what patches on trial did, before any of them ends.
    pub(super) fn read(ground: &RootAndPolicy, record: &TrialRecord) -> Result<Self, Failure> {
        let packages = ground.packages()?;
        let mut found = BTreeMap::new();
        if !packages.values().any(|installed| NativeOrigin::of(&installed.params).is_some()) {
            return Ok(Self(found));
        }
        for id in &record.patches {
            // Undo data that cannot be read is a reason for the backout, which says so.
            let files = patch_files(&ground.root, id).ok().flatten().unwrap_or_default();
            let of_native = files.into_iter().filter(|of| {
                packages.get(&of.package).is_some_and(|one| NativeOrigin::of(&one.params).is_some())
            });
            for object in of_native.flat_map(|of| of.objects) {
                if object.action != Some(ObjectAction::Unchanged) {
                    let was = match (object.action, object.was) {
                        (None, _) => Found::Unknown,
                        (Some(_), None) => Found::Nothing,
                        (Some(_), Some(was)) => Found::Object(was),
                    };
                    found.entry(object.path).or_insert(was);
                }
            }
        }
        let lost = overtaken_patches(&ground.root, &marker(&ground.root)?.unwrap_or_default())?;
        let of_trial = lost.patches.iter().filter(|one| record.patches.contains(&one.patch));
        for path in of_trial.flat_map(OvertakenPatch::lost_paths) {
            found.entry(path).or_insert(Found::Unknown);
        }
        Ok(Self(found))
    }

    /// Returns the paths that a package manager owns, and that are not as the patches found them, with its name.
    pub(super) fn native(
        &self,
        ground: &RootAndPolicy,
    ) -> Result<BTreeMap<ObjectPath, &'static str>, Failure> {
        let (index, resolver) = (ground.native_index(), ground.root.resolver());
        let mut native = BTreeMap::new();
        for (path, was) in &self.0 {
            let place = resolver.locate_object(path)?;
            let Some(owner) = index.owners(&place, &resolver)?.into_iter().next() else { continue };
            let now = ground.root.live_at(&place)?.as_ref().map(RecordedState::of);
            let is_as_found = match (was, &now) {
                (Found::Nothing, None) => true,
                (Found::Object(was), Some(now)) => {
                    let differ = StateDifferences::between(was, now);
                    !differ.is_of_content() && differ.mode == 0
                }
                _ => false,
            };
            if !is_as_found {
                native.insert(path.clone(), owner.origin.manager.name());
            }
        }
        Ok(native)
    }
}
