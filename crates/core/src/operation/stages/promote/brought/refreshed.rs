//! The records that come into a stage from its root: those of patches that were applied there since, of packages that the
//! stage did not change. Their objects come by the three-way rule.

use std::collections::BTreeSet;

use super::changed_paths::ChangedPaths;
use super::failure::BroughtFailure;
use super::packages::only_live;
use super::source::RecordSource;
use crate::operation::failure::Failure;
use patchadm_planning::plan::promotion::BroughtPatches;
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::patch::PatchId;

impl RecordSource<'_> {
    /// Returns what comes, except for the directories of the patches. `own` are the promotions of the stage. `is_as_live`
    /// says whether the stage has at a path, from now on, what the root has there. A package whose undo data cannot be read
    /// stays as it is.
    pub(in crate::operation::stages) fn refreshed(
        &self,
        own: &BTreeSet<PatchId>,
        is_as_live: &dyn Fn(&ObjectPath) -> bool,
    ) -> Result<BroughtPatches, Failure> {
        let mut brought = BroughtPatches::default();
        let mut changed = ChangedPaths::default();
        for (package, list) in only_live((self.databases.1, &self.databases.0), own) {
            let (of, patches) = match self.package(&package, &list) {
                Ok(found) => found,
                Err(BroughtFailure::Refused(_)) => continue,
                Err(BroughtFailure::Failed(failure)) => return Err(failure),
            };
            let mut paths = ChangedPaths::default();
            for (id, patch) in list.patches.iter().zip(&patches) {
                paths.add(id, &package, patch);
            }
            if !paths.objects().all(is_as_live) {
                continue;
            }
            let new = list.patches.iter().filter(|id| !brought.ids.contains(id));
            let new: Vec<PatchId> = new.cloned().collect();
            brought.ids.extend(new);
            brought.packages.insert(package, of);
            changed.lines.append(&mut paths.lines);
        }
        self.lines(&changed, &mut brought)?;
        Ok(brought)
    }
}
