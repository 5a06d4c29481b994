//! What a run would do, told and not done: the tree is scanned, nothing is fetched, and nothing of it is kept.

use patchadm_bulk_values::schedule::{PlannedAction, PlannedPackage, RunPlan};

use super::beginning::{expected, read_tree, wanted};
use super::decision::DecisionInput;
use super::foresight::{Fate, Foresight};
use super::journal_file::known_runs;
use super::request::{RunError, RunRequest, Tell};
use crate::pool::Pool;

/// Returns what a run would do; `tell` gets notes.
pub fn plan_run(request: &RunRequest<'_>, tell: Tell<'_>) -> Result<RunPlan, RunError> {
    let known = known_runs(request.work, request.is_new)?;
    let tree = read_tree(request, false, tell)?.tree;
    let wanted = wanted(request, &tree.records, &tree.resolution)?;
    let pool = Pool::open(&request.work.conf.pool)?;
    let input = DecisionInput {
        conf: &request.work.conf,
        records: &tree.records,
        resolution: &tree.resolution,
        pool: &pool,
        known: &known,
        rebuild: request.rebuild,
        retries: request.retries,
    };
    let foresight = Foresight::of(input, (request.driver, request.base.1), wanted.iter().copied())?;
    let mut planned = Vec::with_capacity(wanted.len());
    for (index, fate) in &foresight.fates {
        let action = match fate {
            Fate::Task(_) | Fate::First => PlannedAction::Build,
            Fate::After(_) => PlannedAction::Maybe,
            Fate::Result | Fate::Remembered { .. } | Fate::Stuck(_) => PlannedAction::Nothing,
        };
        let package = tree.pkgname(*index);
        planned.push((*index, PlannedPackage { package, action, why: foresight.why(*index)? }));
    }
    let costs = expected(request.work, &tree.records)?;
    let slots = request.work.conf.slots_on(request.cores, request.jobs);
    let slots: u32 = slots.iter().map(|slot| slot.count).sum();
    Ok(RunPlan::of(tree.resolution.graph(), planned, (&costs.work, costs.is_time), slots as usize))
}
