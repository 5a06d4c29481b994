//! What comes live from a stage: the patches that follow on those of the root, compared with both trees, and new packages.

use std::collections::{BTreeMap, BTreeSet};

use super::changed_paths::{ChangedPaths, ComparedSides};
use super::failure::BroughtFailure;
use super::packages::{OnlyStaged, only_staged};
use super::records::BroughtRecords;
use super::source::RecordSource;
use crate::database::contents::lines_of_package;
use crate::database::{DatabaseError, RecordView, marker};
use crate::operation::failure::Failure;
use crate::operation::stages::kept_objects::without_kept;
use crate::plan::promotion::NewPackage;
use crate::plan::refusal::BroughtReason;
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::PatchId;

impl RecordSource<'_> {
    /// Says what comes live. `base` are the packages of the base in force, and `own` the promotions of this stage that the
    /// root has.
    pub(in crate::operation::stages) fn brought(
        &self,
        base: Option<&BTreeMap<PkgInst, String>>,
        own: &BTreeSet<PatchId>,
        sides: &ComparedSides<'_>,
    ) -> Result<BroughtRecords, BroughtFailure> {
        let (of_stage, live) = (&self.databases.0, self.databases.1);
        let only = only_staged((of_stage, live), base, own)?;
        if !only.patched.is_empty() && marker(&self.from.root)? != marker(self.to)? {
            return Err(BroughtReason::OtherMarker.into());
        }
        let mut brought = BroughtRecords { versions: of_stage.versions(), ..BroughtRecords::default() };
        let mut order = Vec::new();
        for (package, list) in &only.patched {
            let (of, patches) = self.package(package, list)?;
            for (place, (id, patch)) in list.patches.iter().zip(patches).enumerate() {
                order.push((patch.run, place, id, package, patch));
            }
            brought.patches.packages.insert(package.clone(), of);
        }
        order.sort_by(|one, other| (one.0, one.1, one.2).cmp(&(other.0, other.1, other.2)));
        let mut changed = ChangedPaths::default();
        for (_, _, id, package, patch) in &order {
            changed.add(id, package, patch);
            if !brought.patches.ids.contains(id) {
                brought.patches.ids.push(PatchId::clone(id));
            }
        }
        brought.patches.objects = changed.compared(sides)?;
        self.lines(&changed, &mut brought.patches)?;
        self.directories(&mut brought.patches)?;
        brought.new_packages = self.new_packages(&only)?;
        Ok(brought)
    }

    fn new_packages(&self, only: &OnlyStaged) -> Result<BTreeMap<PkgInst, NewPackage>, Failure> {
        let view = RecordView::live(&self.from.root);
        let new = |package: &PkgInst| {
            let lines = lines_of_package(&view, package).map_err(DatabaseError::from)?;
            let own = lines
                .into_iter()
                .filter_map(|(path, line)| Some((path, without_kept(line, &self.databases.0.kept)?)));
            let lines = own.collect();
            Ok((package.clone(), NewPackage { staged: self.installed(package)?, lines }))
        };
        only.new.iter().map(new).collect()
    }
}
