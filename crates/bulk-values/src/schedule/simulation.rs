//! A run in virtual time, and the plan of a dry run.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use serde::Serialize;

use super::{Schedule, TaskOutcome, longest_way};
use crate::resolve::Graph;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Simulation {
    /// End of the last task, in the unit of work.
    pub makespan: u64,
    /// In the order of their starts.
    pub order: Vec<u32>,
}

/// Simulates the rest of a schedule without failures. Running tasks are ignored.
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
        schedule.finished(task, TaskOutcome::Done);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PlannedAction {
    Build,
    /// The bytes of a dependency that is built first decide.
    Maybe,
    /// It has a result, or cannot be built.
    Nothing,
}

impl PlannedAction {
    pub fn word(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Maybe => "maybe",
            Self::Nothing => "nothing",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedPackage {
    pub package: String,
    pub action: PlannedAction,
    pub why: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunPlan {
    /// In byte order of PKGNAME.
    pub plan: Vec<PlannedPackage>,
    /// Longest path of work, each needed by the next: no number of slots makes the run shorter.
    pub longest_way: Vec<String>,
    /// Milliseconds if all `Maybe` packages are built; `None` if unknown.
    pub expected_ms: Option<u64>,
}

impl RunPlan {
    /// `planned` has the requested packages with indices, sorted; `work` follows the graph, in milliseconds if
    /// `is_time`.
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
