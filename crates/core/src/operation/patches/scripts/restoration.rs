//! Corrects a backout by scripts: restores the package to its state before the run, then performs the plan as without
//! scripts. Other effects of scripts stay, as do files of classes with own scripts, and lines from installf(1M) for
//! other paths.

use std::collections::{BTreeMap, BTreeSet};

use crate::operation::scripts::run::{RunHalt, refresh};
use crate::operation::session::Session;
use patchadm_changeset::transaction::{ContentSource, ScriptedRun};
use patchadm_inputs::inventory::Touched;
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::patch::patch_plan::{PackagePlan, PatchPlan};
use patchadm_rootfs::{LiveKind, never};
use patchadm_svr4::package::{ContentsLine, ObjectPath};
use patchadm_svr4::places;

pub(crate) struct Restoration<'a> {
    pub(crate) session: &'a Session<'a>,
    pub(crate) patch_plan: &'a PatchPlan,
    pub(crate) part: &'a PackagePlan,
    /// Everything that the backout package may have changed.
    pub(crate) concerned: BTreeSet<ObjectPath>,
    /// Previous lines of `contents`.
    pub(crate) lines: &'a BTreeMap<ObjectPath, ContentsLine>,
}

impl Restoration<'_> {
    /// Call this after the scripts.
    pub(crate) fn carry_out(
        &self,
        run: &mut ScriptedRun<'_>,
        content: &mut dyn ContentSource,
    ) -> Result<(), RunHalt> {
        let (patch_plan, part) = (self.patch_plan, self.part);
        let theirs = part.by_own_scripts();
        let others = patch_plan.plan.changes.iter().filter(|change| change.package != part.package);
        let others: BTreeSet<&ObjectPath> = others.map(|change| &change.path).collect();
        let mut plan = patch_plan.intended(part, &self.session.caller.now).plan;
        let concerned = self.concerned.iter().chain(&part.deletes);
        let changed = plan.changes.iter().map(|change| &change.path);
        let objects =
            concerned.chain(changed).filter(|path| !theirs.contains(*path) && !others.contains(path));
        let objects: BTreeSet<ObjectPath> = objects.cloned().collect();
        run.rewind(&objects, &[places::package(&part.package)])?;
        plan.changes.retain(|change| !theirs.contains(&change.path));
        self.lines_back(&mut plan, &objects, &theirs)?;
        let lines = plan.contents.clone();
        let plan = refresh(&self.session.ground, plan, |path| lines.get(path)?.as_deref().cloned())?;
        Ok(run.switch(&plan, content)?)
    }

    /// Restores lines that scripts changed and the plan does not. Files made by scripts get their present size and sum.
    fn lines_back(
        &self,
        plan: &mut Plan,
        objects: &BTreeSet<ObjectPath>,
        theirs: &BTreeSet<ObjectPath>,
    ) -> Result<(), RunHalt> {
        let paths = objects.union(theirs).cloned().collect();
        let now = self.session.ground.survey(&Touched { paths, ..Touched::default() }, &never)?;
        for path in objects.union(theirs) {
            let before = self.lines.get(path);
            if !plan.contents.contains_key(path) && now.lines.get(path) != before {
                plan.contents.insert(path.clone(), before.cloned().map(Box::new));
            }
        }
        for path in theirs {
            let Some(Some(line)) = plan.contents.get_mut(path) else { continue };
            if let Some(LiveKind::Regular { size, cksum, .. }) = now.live.get(path).map(|live| &live.kind) {
                line.object.content.size = Some(*size);
                line.object.content.cksum = Some(*cksum);
            }
        }
        Ok(())
    }
}
