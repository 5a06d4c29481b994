//! The one way to run: what a command takes is planned, and then performed or only foreseen, batch after batch.
//!
//! ```text
//! operands, in their order ─► a batch: planned on the projected root, proved,  ─┬─► performed ─┬─► outcomes
//!            ▲                         libraries settled, room found            └─► foreseen ──┤
//!            └──── the next batch, or this one once more without a damaged source ◄────────────┘
//! ```
//! A batch is what one run can do, and its end is one commit. A single patch or package is a list of one.

use super::session::Session;

/// The use of a planned batch.
#[derive(Clone, Copy)]
pub(super) enum Execution<'s> {
    /// Its effects are projected.
    Foresee,
    Perform(&'s Session<'s>),
}

pub(super) enum BatchEnd<O> {
    /// The outcomes of its operands; the next batch follows.
    Done(Vec<O>),
    /// The outcomes of its operands; nothing more is tried.
    Last(Vec<O>),
    /// Nothing was done: one of its operands is not part of it, and the rest is planned again.
    PlanAgain,
}

impl<O> BatchEnd<O> {
    pub(super) fn of_one(outcome: O, goes_on: bool) -> Self {
        if goes_on { Self::Done(vec![outcome]) } else { Self::Last(vec![outcome]) }
    }
}

/// The planner of one command: it knows the operands, in their order, how a batch of them is planned, and what is done with
/// it then.
pub(super) trait RunPlanner {
    type Batch;
    type Outcome;

    fn count(&self) -> usize;

    /// Plans what follows the first `taken` operands: one operand at least.
    fn plan(&mut self, taken: usize) -> Self::Batch;

    /// Performs or projects the batch after the first `taken` operands.
    fn carry_out(&mut self, taken: usize, batch: Self::Batch) -> BatchEnd<Self::Outcome>;

    /// Returns the outcomes of the operands after the `taken` ones, which are not tried.
    fn not_tried(&self, _taken: &[Self::Outcome]) -> Vec<Self::Outcome> {
        Vec::new()
    }
}

/// The outcomes of operands of which none goes without the others: where `failed` names one, those that could go are told
/// by `stays`, with their places, that they stay because of it.
pub(super) fn all_or_none<O>(
    outcomes: Vec<O>,
    failed: impl Fn(&O) -> Option<String>,
    stays: impl Fn(usize, O, &str) -> O,
) -> Vec<O> {
    let Some(first) = outcomes.iter().find_map(&failed) else { return outcomes };
    let told = outcomes.into_iter().enumerate();
    told.map(|(place, one)| if failed(&one).is_some() { one } else { stays(place, one, &first) }).collect()
}

/// Plans and performs batch after batch. Returns the outcomes in the order of the operands.
pub(super) fn run_all<P: RunPlanner>(planner: &mut P) -> Vec<P::Outcome> {
    let mut taken = Vec::with_capacity(planner.count());
    while taken.len() < planner.count() {
        let batch = planner.plan(taken.len());
        match planner.carry_out(taken.len(), batch) {
            BatchEnd::Done(outcomes) => taken.extend(outcomes),
            BatchEnd::PlanAgain => {}
            BatchEnd::Last(outcomes) => {
                taken.extend(outcomes);
                break;
            }
        }
    }
    let left = planner.not_tried(&taken);
    taken.extend(left);
    taken
}
