//! A run in virtual time, and the plan of a dry run.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use serde::Serialize;

use super::{Outcome, Schedule, longest_way};
use crate::resolve::Graph;

/// A run as it was played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Simulation {
    /// When the last task ended, in the unit of the work.
    pub makespan: u64,
    /// The tasks in the order in which they were started.
    pub order: Vec<u32>,
}

/// Simulates the rest of a schedule with a number of slots; each task takes its work, and nothing fails. Tasks that
/// already run are ignored.
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

/// The planned action for a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PlannedAction {
    /// It is built.
    Build,
    /// Something that it needs is built first, and the bytes of that decide.
    Maybe,
    /// Nothing: its result is there, or it cannot be built.
    Nothing,
}

impl PlannedAction {
    /// Returns its word in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Maybe => "maybe",
            Self::Nothing => "nothing",
        }
    }
}

/// A package with its planned action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedPackage {
    /// PKGNAME.
    pub package: String,
    /// The planned action.
    pub action: PlannedAction,
    /// The reason in words.
    pub why: String,
}

/// The plan of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunPlan {
    /// The requested packages, in byte order of PKGNAME.
    pub plan: Vec<PlannedPackage>,
    /// The packages of the longest way of work, each needed by the next: no number of slots makes the run shorter.
    pub longest_way: Vec<String>,
    /// The duration if everything is built that may be, in milliseconds; `None` where no duration is known.
    pub expected_ms: Option<u64>,
}

impl RunPlan {
    /// Makes the plan for a number of slots. `planned` has the requested packages with their indices, sorted; `work` is
    /// in the order of the graph, in milliseconds if `is_time`.
    pub fn of(
        graph: &Graph,
        planned: Vec<(u32, PlannedPackage)>,
        (work, is_time): (&[u64], bool),
        slots: usize,
    ) -> Self {
        let mut tasks = vec![false; graph.len()];
        let mut names = vec![""; graph.len()];
        for (index, package) in &planned {
            let place = *index as usize;
            if let Some((task, name)) = tasks.get_mut(place).zip(names.get_mut(place)) {
                *task = package.action != PlannedAction::Nothing;
                *name = &package.package;
            }
        }
        let is_task = |index: u32| tasks.get(index as usize).copied().unwrap_or(false);
        let way = longest_way(graph, work, is_task);
        let name = |index: &u32| names.get(*index as usize).map(|name| (*name).to_owned());
        let longest_way = way.iter().filter_map(name).collect();
        let schedule = Schedule::new(graph, work, &names, is_task);
        let expected_ms = is_time.then(|| simulate(&schedule, work, slots).makespan);
        let mut plan: Vec<PlannedPackage> = planned.into_iter().map(|(_, package)| package).collect();
        plan.sort_by(|one, other| one.package.cmp(&other.package));
        Self { plan, longest_way, expected_ms }
    }
}

#[cfg(test)]
mod tests;
