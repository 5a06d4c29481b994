//! The loop of all commands that change packages and patches. A batch is one run with one commit.
//!
//! ```text
//! operands, in their order ─► a batch: planned on the projected root, proved,  ─┬─► performed ─┬─► outcomes
//!            ▲                         libraries settled, room found            └─► projected ─┤
//!            └──── the next batch, or this one again without a damaged source ◄─────────────────┘
//! ```

use super::session::Session;

#[derive(Clone, Copy)]
pub(super) enum Execution<'s> {
    Foresee,
    Perform(&'s Session<'s>),
}

pub(super) enum BatchEnd<O> {
    /// The next batch follows.
    Done(Vec<O>),
    /// Nothing more is tried.
    Last(Vec<O>),
    /// An operand was dropped; the rest is planned again.
    PlanAgain,
}

impl<O> BatchEnd<O> {
    pub(super) fn of_one(outcome: O, goes_on: bool) -> Self {
        if goes_on { Self::Done(vec![outcome]) } else { Self::Last(vec![outcome]) }
    }
}

pub(super) trait RunPlanner {
    type Batch;
    type Outcome;

    fn count(&self) -> usize;

    /// Plans a batch of at least one operand after the first `done`.
    fn plan(&mut self, done: usize) -> Self::Batch;

    fn carry_out(&mut self, done: usize, batch: Self::Batch) -> BatchEnd<Self::Outcome>;

    /// Returns outcomes of operands that are not tried.
    fn not_tried(&self, _done: &[Self::Outcome]) -> Vec<Self::Outcome> {
        Vec::new()
    }
}

/// If `failed` names an operand, `stays` makes the outcomes of the others.
pub(super) fn all_or_none<O>(
    outcomes: Vec<O>,
    failed: impl Fn(&O) -> Option<String>,
    stays: impl Fn(usize, O, &str) -> O,
) -> Vec<O> {
    let Some(first) = outcomes.iter().find_map(&failed) else { return outcomes };
    let all = outcomes.into_iter().enumerate();
    all.map(|(place, one)| if failed(&one).is_some() { one } else { stays(place, one, &first) }).collect()
}

/// Plans and carries out batch after batch, until one ends the run or no operand is left. Returns outcomes in the order
/// of the operands.
pub(super) fn plan_and_carry_out<P: RunPlanner>(planner: &mut P) -> Vec<P::Outcome> {
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
