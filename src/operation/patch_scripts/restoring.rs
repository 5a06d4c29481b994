//! A backout whose scripts keep the records, made exact: when they had their turn, everything of the package is brought
//! back to what it was before the run, and the plan is carried out as if there had been no scripts.
//!
//! What scripts did to anything else stays, as do the files of classes whose script is the package's own: those scripts
//! know better what belongs to the patch. Lines that scripts wrote by installf(1M) for other paths stay too.

use std::collections::BTreeSet;

use super::performing::Act;
use super::{Member, PatchScripts};
use crate::database::places;
use crate::operation::scripts::run::{Halt, fresh};
use crate::package::{LiveKind, ObjectPath, Touched};
use crate::plan::Plan;
use crate::plan::parts::Scripted;
use crate::transaction::{Content, ScriptedRun};

impl PatchScripts<'_> {
    /// Restores a package whose scripts have run as the plan says.
    pub(super) fn restore(
        &self,
        run: &mut ScriptedRun<'_>,
        scripted: &Scripted,
        member: &Member<'_>,
        act: &Act,
        content: &mut dyn Content,
    ) -> Result<(), Halt> {
        let part = &member.part;
        let theirs = part.by_own_scripts();
        let others = scripted.plan.changes.iter().filter(|change| change.package != part.package);
        let others: BTreeSet<&ObjectPath> = others.map(|change| &change.path).collect();
        let mut plan = scripted.intended(part, &self.session.caller.occasion).plan;
        let concerned = act.course.concerned.objects.keys().chain(&part.deletes);
        let changed = plan.changes.iter().map(|change| &change.path);
        let objects =
            concerned.chain(changed).filter(|path| !theirs.contains(*path) && !others.contains(path));
        let objects: BTreeSet<ObjectPath> = objects.cloned().collect();
        run.rewind(&objects, &[places::package(&part.package)])?;
        plan.changes.retain(|change| !theirs.contains(&change.path));
        self.lines_back(&mut plan, act, &objects, &theirs)?;
        let lines = plan.contents.clone();
        let plan = fresh(&self.session.ground, plan, |path| lines.get(path).cloned().flatten())?;
        Ok(run.switch(&plan, content)?)
    }

    /// Puts the lines of paths that the plan does not change, and that scripts changed, into the plan as they were; those
    /// of files that scripts made get the size and sum that these have now.
    fn lines_back(
        &self,
        plan: &mut Plan,
        act: &Act,
        objects: &BTreeSet<ObjectPath>,
        theirs: &BTreeSet<ObjectPath>,
    ) -> Result<(), Halt> {
        let paths = objects.union(theirs).cloned().collect();
        let now = self.session.ground.survey(&Touched { paths, ..Touched::default() }, None)?;
        for path in objects.union(theirs) {
            let before = act.lines.get(path);
            if !plan.contents.contains_key(path) && now.lines.get(path) != before {
                plan.contents.insert(path.clone(), before.cloned());
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
