//! A run in virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::tasks::{Outcome, Schedule};

/// A run as it was played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Simulation {
    /// When the last task ended, in the unit of the work.
    pub makespan: u64,
    /// The tasks in the order in which they were started.
    pub order: Vec<u32>,
}

/// Plays what is left of a schedule with a number of slots, each task taking its work; nothing fails. Tasks that are
/// running when it begins are not played.
pub fn simulate(schedule: &Schedule<'_>, work: &[u64], slots: usize) -> Simulation {
    let mut schedule = schedule.clone();
    let mut ends = BinaryHeap::new();
    let mut played = Simulation { makespan: 0, order: Vec::new() };
    loop {
        while ends.len() < slots.max(1) {
            let Some(task) = schedule.next_ready() else { break };
            let own = work.get(task as usize).copied().unwrap_or(1);
            ends.push(Reverse((played.makespan.saturating_add(own), task)));
            played.order.push(task);
        }
        let Some(Reverse((end, task))) = ends.pop() else { return played };
        played.makespan = end;
        schedule.finished(task, Outcome::Done);
    }
}

#[cfg(test)]
mod tests;
