//! The order of builds: first the ready package with the longest path of work to the last package that needs it.
//!
//! [`Schedule`] is pure: it starts nothing and knows no clock. [`simulate`] plays it in virtual time.

mod simulation;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::resolve::Graph;

pub use simulation::{PlannedAction, PlannedPackage, RunPlan, Simulation, simulate};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// No task of this run; dependents do not wait for it.
    NoTask,
    /// Waits for a dependency.
    Waiting,
    /// Can be built.
    Ready,
    Running,
    /// Built, or need not be.
    Done,
    Failed,
    /// Needs a failed package, perhaps indirectly.
    IndirectFailed,
    /// No machine could build it; dependents keep waiting.
    Deferred,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskOutcome {
    /// Built, or need not be.
    Done,
    /// Dependents are not built.
    Failed,
    /// The machine failed, not the package: it is ready again.
    Again,
    /// The machine failed too often; dependents keep waiting.
    Deferred,
}

/// Tasks of a run by priority. Ending a task takes time in proportion to its direct dependents.
#[derive(Clone, Debug)]
pub struct Schedule<'g> {
    graph: &'g Graph,
    states: Vec<TaskState>,
    ranks: Vec<u32>,
    open_needs: Vec<u32>,
    ready: BinaryHeap<Reverse<(u32, u32)>>,
    running: usize,
    left: usize,
}

impl<'g> Schedule<'g> {
    /// `work` and `names` follow the order of packages. The tasks must have no cycle.
    pub fn new(graph: &'g Graph, work: &[u64], names: &[&str], is_task: impl Fn(u32) -> bool) -> Self {
        let open_needs = graph.indices().map(|index| {
            let open = graph.needs(index).iter().filter(|&&need| is_task(need)).count();
            u32::try_from(open).unwrap_or(u32::MAX)
        });
        let mut schedule = Self {
            graph,
            states: vec![TaskState::NoTask; graph.len()],
            ranks: ranks(graph, work, names, &is_task),
            open_needs: open_needs.collect(),
            ready: BinaryHeap::new(),
            running: 0,
            left: 0,
        };
        for index in graph.indices().filter(|&index| is_task(index)) {
            schedule.left += 1;
            schedule.states[index as usize] = TaskState::Waiting;
            if schedule.open_needs[index as usize] == 0 {
                schedule.make_ready(index);
            }
        }
        schedule
    }

    pub fn state(&self, index: u32) -> TaskState {
        self.states.get(index as usize).copied().unwrap_or(TaskState::NoTask)
    }

    pub fn running(&self) -> usize {
        self.running
    }

    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    pub fn left(&self) -> usize {
        self.left
    }

    /// True if nothing runs or can be started: all tasks have ended, or wait for deferred ones.
    pub fn is_over(&self) -> bool {
        self.running == 0 && self.ready.is_empty()
    }

    /// Starts the next task, if any is ready.
    pub fn next_ready(&mut self) -> Option<u32> {
        self.next_ready_if(|_| true)
    }

    /// Starts the first task that the caller has room for. Takes time in proportion to skipped tasks.
    pub fn next_ready_if(&mut self, has_room: impl Fn(u32) -> bool) -> Option<u32> {
        let mut passed = Vec::new();
        let mut found = None;
        while let Some(Reverse((rank, index))) = self.ready.pop() {
            if has_room(index) {
                found = Some(index);
                break;
            }
            passed.push(Reverse((rank, index)));
        }
        self.ready.extend(passed);
        if let Some(index) = found {
            self.states[index as usize] = TaskState::Running;
            self.running += 1;
        }
        found
    }

    /// Ends a running task. Returns the packages that are not built because of it, sorted.
    pub fn finished(&mut self, index: u32, outcome: TaskOutcome) -> Vec<u32> {
        if self.state(index) != TaskState::Running {
            return Vec::new();
        }
        self.running -= 1;
        match outcome {
            TaskOutcome::Again => self.make_ready(index),
            TaskOutcome::Deferred => self.end(index, TaskState::Deferred),
            TaskOutcome::Done => {
                self.end(index, TaskState::Done);
                self.free_dependents(index);
            }
            TaskOutcome::Failed => {
                self.end(index, TaskState::Failed);
                return self.fail_dependents(index);
            }
        }
        Vec::new()
    }

    fn make_ready(&mut self, index: u32) {
        self.states[index as usize] = TaskState::Ready;
        self.ready.push(Reverse((self.ranks[index as usize], index)));
    }

    fn end(&mut self, index: u32, state: TaskState) {
        self.states[index as usize] = state;
        self.left -= 1;
    }

    fn free_dependents(&mut self, index: u32) {
        for &dependent in self.graph.dependents(index) {
            let open = &mut self.open_needs[dependent as usize];
            *open = open.saturating_sub(1);
            if *open == 0 && self.states[dependent as usize] == TaskState::Waiting {
                self.make_ready(dependent);
            }
        }
    }

    fn fail_dependents(&mut self, index: u32) -> Vec<u32> {
        let mut failed = Vec::new();
        let mut way = vec![index];
        while let Some(at) = way.pop() {
            for &dependent in self.graph.dependents(at) {
                if self.states[dependent as usize] == TaskState::Waiting {
                    self.end(dependent, TaskState::IndirectFailed);
                    failed.push(dependent);
                    way.push(dependent);
                }
            }
        }
        failed.sort_unstable();
        failed
    }
}

/// Returns each task's longest path of work to a package without dependents, with both ends; tasks have no cycle.
fn ways(graph: &Graph, work: &[u64], is_task: &dyn Fn(u32) -> bool) -> Vec<u64> {
    let mut ways = vec![0_u64; graph.len()];
    let tasks = |list: &[u32]| list.iter().filter(|&&index| is_task(index)).count();
    let mut open_dependents: Vec<usize> =
        graph.indices().map(|index| tasks(graph.dependents(index))).collect();
    let mut waiting: Vec<u32> =
        graph.indices().filter(|&index| is_task(index) && open_dependents[index as usize] == 0).collect();
    while let Some(index) = waiting.pop() {
        let longest = graph.dependents(index).iter().map(|&dependent| ways[dependent as usize]).max();
        let own = work.get(index as usize).copied().unwrap_or(1);
        ways[index as usize] = own.saturating_add(longest.unwrap_or(0));
        for &need in graph.needs(index).iter().filter(|&&need| is_task(need)) {
            let open = &mut open_dependents[need as usize];
            *open = open.saturating_sub(1);
            if *open == 0 {
                waiting.push(need);
            }
        }
    }
    ways
}

/// Ranks packages, the first to build lowest, by: longest path of work, direct dependents, own dependencies, name.
///
/// Packages with many dependencies tend to be large, which helps without history: on a real tree of 1,815 packages, a
/// run takes 1.03 and 1.11 times the optimum with 4 and 8 slots, and 1.08 and 1.13 by name alone.
fn ranks(graph: &Graph, work: &[u64], names: &[&str], is_task: &dyn Fn(u32) -> bool) -> Vec<u32> {
    let ways = ways(graph, work, is_task);
    let mut order: Vec<u32> = graph.indices().collect();
    order.sort_by_key(|&index| {
        let name = names.get(index as usize).copied().unwrap_or_default();
        (
            Reverse(ways[index as usize]),
            Reverse(graph.dependents(index).len()),
            Reverse(graph.needs(index).len()),
            name,
            index,
        )
    });
    let mut ranks = vec![0; graph.len()];
    for (rank, index) in (0..).zip(order) {
        ranks[index as usize] = rank;
    }
    ranks
}

/// Returns the longest path of work, each needed by the next: no number of slots makes a run shorter.
pub fn longest_way(graph: &Graph, work: &[u64], is_task: impl Fn(u32) -> bool) -> Vec<u32> {
    let ways = ways(graph, work, &is_task);
    let longest = |indices: &mut dyn Iterator<Item = u32>| {
        indices.filter(|&index| is_task(index)).max_by_key(|&index| (ways[index as usize], Reverse(index)))
    };
    let mut way = Vec::new();
    let mut next = longest(&mut graph.indices());
    // The length is limited in case the caller's graph has a cycle.
    while let Some(index) = next.filter(|_| way.len() < graph.len()) {
        way.push(index);
        next = longest(&mut graph.dependents(index).iter().copied());
    }
    way
}

/// As in pbulk.
const USUAL_WEIGHT: u64 = 100;

/// Estimates the work of packages, at least 1: the known milliseconds; else the median of all known ones, scaled by the
/// weight relative to 100; without any known work, the weight.
pub fn expected_work(known: &[Option<u64>], weights: &[u32]) -> Vec<u64> {
    let mut all: Vec<u64> = known.iter().flatten().copied().collect();
    all.sort_unstable();
    let median = all.get(all.len() / 2).copied();
    let estimate = |weight: u32| match median {
        Some(median) => median.saturating_mul(weight.into()) / USUAL_WEIGHT,
        None => weight.into(),
    };
    let known = known.iter().copied().chain(std::iter::repeat(None));
    weights
        .iter()
        .zip(known)
        .map(|(&weight, known)| known.unwrap_or_else(|| estimate(weight)).max(1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 0 is needed by 1 and 2, these by 3; 4 stands alone.
    fn diamond() -> Graph {
        Graph::new([vec![], vec![0], vec![0], vec![1, 2], vec![]])
    }

    fn schedule(graph: &Graph) -> Schedule<'_> {
        Schedule::new(graph, &[1, 5, 1, 1, 1], &["a", "b", "c", "d", "e"], |_| true)
    }

    #[test]
    fn a_task_is_ready_when_all_that_it_needs_is_done() {
        let graph = diamond();
        let mut schedule = schedule(&graph);
        assert_eq!(
            [schedule.next_ready(), schedule.next_ready(), schedule.next_ready()],
            [Some(0), Some(4), None]
        );
        assert!(schedule.finished(0, TaskOutcome::Done).is_empty());
        assert_eq!(
            [schedule.next_ready(), schedule.next_ready(), schedule.next_ready()],
            [Some(1), Some(2), None]
        );
        schedule.finished(1, TaskOutcome::Done);
        assert_eq!(schedule.state(3), TaskState::Waiting);
        schedule.finished(2, TaskOutcome::Done);
        assert_eq!(schedule.next_ready(), Some(3));
        schedule.finished(3, TaskOutcome::Done);
        assert_eq!((schedule.left(), schedule.is_over()), (1, false), "4 runs on");
        schedule.finished(4, TaskOutcome::Failed);
        assert_eq!((schedule.left(), schedule.is_over()), (0, true));
    }

    #[test]
    fn what_needs_a_failed_task_is_not_built() {
        let graph = diamond();
        let mut schedule = schedule(&graph);
        schedule.next_ready();
        assert_eq!(schedule.finished(0, TaskOutcome::Failed), [1, 2, 3]);
        assert_eq!(schedule.state(3), TaskState::IndirectFailed);
        assert!(schedule.finished(0, TaskOutcome::Failed).is_empty(), "it has ended");
        assert_eq!((schedule.next_ready(), schedule.next_ready(), schedule.left()), (Some(4), None, 1));
    }

    #[test]
    fn a_task_goes_back_and_is_deferred_without_failing_others() {
        let graph = diamond();
        let mut schedule = schedule(&graph);
        schedule.next_ready();
        schedule.finished(0, TaskOutcome::Again);
        assert_eq!(schedule.next_ready(), Some(0), "it is still the first");
        assert!(schedule.finished(0, TaskOutcome::Deferred).is_empty());
        assert_eq!(schedule.next_ready(), Some(4));
        schedule.finished(4, TaskOutcome::Done);
        assert!(schedule.is_over());
        assert_eq!((schedule.state(3), schedule.left()), (TaskState::Waiting, 3));
    }

    #[test]
    fn a_task_without_room_is_passed_over_and_stays_ready() {
        let graph = diamond();
        let mut schedule = schedule(&graph);
        assert_eq!(schedule.next_ready_if(|index| index != 0), Some(4));
        assert_eq!(schedule.next_ready_if(|index| index != 0), None);
        assert_eq!((schedule.ready(), schedule.running()), (1, 1));
        assert_eq!(schedule.next_ready(), Some(0));
    }

    #[test]
    fn nothing_waits_for_a_package_that_is_no_task() {
        let graph = diamond();
        let mut schedule = Schedule::new(&graph, &[1; 5], &[], |index| index == 1 || index == 3);
        assert_eq!((schedule.left(), schedule.next_ready(), schedule.next_ready()), (2, Some(1), None));
        schedule.finished(1, TaskOutcome::Done);
        assert_eq!(schedule.next_ready(), Some(3));
        assert_eq!(schedule.state(0), TaskState::NoTask);
    }

    #[test]
    fn the_longest_way_decides_then_the_dependents_then_the_name() {
        // 0 is needed by 1 and 2; 3 by 4; 5 and 6 by nothing.
        let graph = Graph::new([vec![], vec![0], vec![0], vec![], vec![3], vec![], vec![]]);
        let work = [5, 1, 5, 2, 8, 5, 5];
        let names = ["a", "b", "c", "d", "e", "z", "y"];
        let ranks = ranks(&graph, &work, &names, &|_| true);
        let mut order: Vec<usize> = (0..7).collect();
        order.sort_by_key(|&index| ranks[index]);
        assert_eq!(order.iter().map(|&index| names[index]).collect::<String>(), "adecyzb");
        assert_eq!(longest_way(&graph, &work, |_| true), [0, 2]);
        assert_eq!(longest_way(&graph, &work, |index| index != 0), [3, 4]);
    }

    #[test]
    fn a_chain_of_100000_is_ranked_without_recursion() {
        let graph = Graph::new((0..100_000_u32).map(|index| index.checked_sub(1)));
        let work = vec![1; 100_000];
        assert_eq!(longest_way(&graph, &work, |_| true).len(), 100_000);
        assert_eq!(ranks(&graph, &work, &[], &|_| true)[99_999], 99_999);
    }

    #[test]
    fn an_unknown_package_takes_the_median_times_its_weight() {
        let known = [Some(10), None, Some(40), None, Some(2_000)];
        assert_eq!(expected_work(&known, &[100, 100, 100, 250, 900, 50]), [10, 40, 40, 100, 2_000, 20]);
    }

    #[test]
    fn without_any_history_the_weight_counts() {
        assert_eq!(expected_work(&[], &[100, 4_000, 0]), [100, 4_000, 1]);
    }
}
