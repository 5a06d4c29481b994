//! The loop of all commands that change packages and patches: operands are planned batch by batch, and each batch is performed or
//! projected.
//!
//! ```text
//! operands, in their order ─► a batch: planned on the projected root, proved,  ─┬─► performed ─┬─► outcomes
//!            ▲                         libraries settled, room found            └─► projected ─┤
//!            └──── the next batch, or this one again without a damaged source ◄─────────────────┘
//! ```
//! A batch is one run with one commit.

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

/// The operands of one command in their order, and how a batch of them is planned and performed.
pub(super) trait RunPlanner {
    type Batch;
    type Outcome;

    fn count(&self) -> usize;

    /// Plans a batch after the first `done` operands: at least one.
    fn plan(&mut self, done: usize) -> Self::Batch;

    /// Performs or projects the batch after the first `done` operands.
    fn carry_out(&mut self, done: usize, batch: Self::Batch) -> BatchEnd<Self::Outcome>;

    /// Returns the outcomes of the operands after the `done` ones, which are not tried.
    fn not_tried(&self, _done: &[Self::Outcome]) -> Vec<Self::Outcome> {
        Vec::new()
    }
}

/// Completes the outcomes of operands that must all succeed: if `failed` names one, `stays` makes the outcomes of the others.
pub(super) fn all_or_none<O>(
    outcomes: Vec<O>,
    failed: impl Fn(&O) -> Option<String>,
    stays: impl Fn(usize, O, &str) -> O,
) -> Vec<O> {
    let Some(first) = outcomes.iter().find_map(&failed) else { return outcomes };
    let all = outcomes.into_iter().enumerate();
    all.map(|(place, one)| if failed(&one).is_some() { one } else { stays(place, one, &first) }).collect()
}

/// Plans and performs batch after batch. Returns the outcomes in the order of the operands.
pub(super) fn run_all<P: RunPlanner>(planner: &mut P) -> Vec<P::Outcome> {
    let mut done = Vec::with_capacity(planner.count());
    while done.len() < planner.count() {
        let batch = planner.plan(done.len());
        match planner.carry_out(done.len(), batch) {
            BatchEnd::Done(outcomes) => done.extend(outcomes),
            BatchEnd::PlanAgain => {}
            BatchEnd::Last(outcomes) => {
                done.extend(outcomes);
                break;
            }
        }
    }
    let left = planner.not_tried(&done);
    done.extend(left);
    done
}
