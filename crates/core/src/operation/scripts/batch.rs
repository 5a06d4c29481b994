//! The batches of changes between scripts, updated before each is carried out.

use super::halt::RunHalt;
use crate::operation::failure::Failure;
use crate::operation::session::RootAndPolicy;
use patchadm_changeset::transaction::read_queue;
use patchadm_inputs::database::contents::paths_of_queue;
use patchadm_inputs::database::{RecordView, open_run};
use patchadm_inputs::inventory::Touched;
use patchadm_planning::plan::refresh::refreshed;
use patchadm_planning::plan::registration::merged;
use patchadm_planning::plan::{Action, Body, Plan};
use patchadm_rootfs::never;
use patchadm_svr4::package::{ContentsLine, ObjectPath};

/// Adapts the changes of a plan to the present root. `line` gives the final line of a path.
pub(crate) fn refresh(
    ground: &RootAndPolicy,
    plan: Plan,
    line: impl Fn(&ObjectPath) -> Option<ContentsLine>,
) -> Result<Plan, RunHalt> {
    let mut touched = Touched::default();
    for change in &plan.changes {
        touched.paths.insert(change.path.clone());
        if let Action::Add(new) | Action::Replace(new) = &change.action
            && let Body::Link(of) | Body::CopyOf(of) = &new.body
        {
            touched.paths.insert(of.clone());
        }
    }
    let now = ground.survey(&touched, &never)?;
    Ok(refreshed(plan, &now, line)?)
}

/// Adds to the last batch of a run what its scripts requested from installf(1M) and removef(1M): lines of `contents` in
/// addition to those of the batch.
pub(crate) fn with_requests(ground: &RootAndPolicy, mut last: Plan) -> Result<Plan, RunHalt> {
    let root = &ground.root;
    let Some(open) = open_run(root).map_err(Failure::from)? else { return Ok(last) };
    let queue = read_queue(root, &open.stage)?;
    if queue.0.is_empty() {
        return Ok(last);
    }
    let paths = paths_of_queue(&RecordView::live(root), &queue).map_err(Failure::from)?;
    let mut now = ground.survey(&Touched { paths, ..Touched::default() }, &never)?;
    for (path, line) in &last.contents {
        match line {
            Some(line) => drop(now.lines.insert(path.clone(), (**line).clone())),
            None => drop(now.lines.remove(path)),
        }
    }
    last.contents.extend(merged(&now, &queue));
    Ok(last)
}
