//! The last pass over a patch: space, scripts, the proof that it can be backed out, and the plan.

use std::collections::BTreeMap;

use super::ApplyPlanner;
use super::packages::Patched;
use super::recording::RecordedPatch;
use crate::plan::patch::backout_proof::must_have_way_back;
use crate::plan::patch::engine::PlannedScript;
use crate::plan::patch::interrupted;
use crate::plan::patch::patch_plan::{self, PackagePlan, PatchListChange, PatchPlan};
use crate::plan::patch::snapshot;
use crate::plan::refusal::{Command, Reason};
use crate::plan::{Plan, UndoArchive, space};
use patchadm_svr4::package::PkgInst;

impl ApplyPlanner<'_> {
    /// Makes the plan of what was placed and recorded.
    pub(super) fn finish(
        &self,
        recorded: RecordedPatch<'_>,
        hooks: Vec<PlannedScript>,
    ) -> Result<PatchPlan, Reason> {
        let RecordedPatch { mut draft, packages, records, undo } = recorded;
        let changes: Vec<_> = draft.changes.into_values().collect();
        let missing = patch_plan::missing(self.inventory, &changes, &mut draft.notes);
        self.refuse_scripts_after_interruption(&packages)?;
        let parts: Vec<PackagePlan> = packages.into_iter().map(Patched::part).collect::<Result<_, _>>()?;
        let has_scripts = parts.iter().any(|part| part.chosen.has_scripts());
        let held = if has_scripts { patch_plan::held(&parts, self.inventory) } else { Vec::new() };
        let snapshots = snapshot::expected(&undo, &parts);
        let archives: Vec<&UndoArchive> = undo.iter().chain(&snapshots).collect();
        let mut space = space::needs(self.inventory, &changes, &records, &archives, &held);
        if has_scripts || !hooks.is_empty() {
            space = space::with_requests(space);
        }
        space::enough(&space)?;
        let last = self.validated.matches.last().map(|found| &found.package);
        let last = last.ok_or(Reason::NotInstalled(Vec::new()))?;
        let plan = Plan {
            command: Command::Patchadd.name(),
            patches: vec![self.id().to_string()],
            packages: self.validated.matches.iter().map(|found| found.package.clone()).collect(),
            changes,
            records,
            contents: draft.lines.into_iter().map(|(path, (_, line))| (path, line)).collect(),
            trailer: self.now.trailer("pkgadd", last),
            undo,
            versions: Vec::new(),
            space,
            discard: Vec::new(),
            notes: draft.notes,
            merges: draft.merges,
            signature: self.image.signature.record(),
            direction: crate::plan::Direction::Forward,
        };
        let context = (&*self.policy.separator, self.now, self.interrupt);
        must_have_way_back(&plan, self.id(), self.inventory, context)?;
        let (no_undo, again) = (self.validated.no_undo, self.validated.again);
        Ok(PatchPlan {
            plan,
            parts,
            hooks,
            no_undo,
            again,
            missing,
            moved: Vec::new(),
            lists: self.lists(),
            libraries: None,
            staying: BTreeMap::new(),
        })
    }

    /// How the lists of patches change. A package that is only registered with the patch has none yet.
    fn lists(&self) -> Vec<PatchListChange> {
        let of = |package: &PkgInst| {
            let records = self.applied.packages().iter().find(|records| records.package == *package);
            let before = records.map(|records| records.list.clone()).unwrap_or_default();
            PatchListChange { package: package.clone(), patch: self.id().clone(), before: Some(before) }
        };
        self.validated.matches.iter().map(|found| of(&found.package)).collect()
    }

    /// Refuses scripts in packages to which another patch was left half applied.
    fn refuse_scripts_after_interruption(&self, packages: &[Patched<'_>]) -> Result<(), Reason> {
        for package in packages.iter().filter(|package| package.chosen.has_scripts()) {
            let (name, installed) = (&package.target.package, package.installed);
            interrupted::refuse_scripts(name, installed, self.id(), &self.policy.separator)?;
        }
        Ok(())
    }
}
