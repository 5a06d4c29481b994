//! The packages of a run, and what is known of each.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::priority::ranks;
use crate::resolve::Graph;

/// The state of a package in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// It is no task of this run, and what needs it does not wait for it.
    NoTask,
    /// It waits for something that it needs.
    Waiting,
    /// It can be built.
    Ready,
    /// It is being built.
    Running,
    /// It was built, or need not be.
    Done,
    /// It failed.
    Failed,
    /// It needs, directly or not, what failed.
    IndirectFailed,
    /// No machine could build it; what needs it waits on.
    Deferred,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was built, or need not be.
    Done,
    /// It failed: what needs it is not built.
    Failed,
    /// The machine failed and not the package: it is ready again.
    Again,
    /// The machine failed too often: it is left, and what needs it waits on.
    Deferred,
}

/// The tasks of a run in the order in which they are to be built. A task that ends costs work in proportion to what needs
/// it directly.
#[derive(Clone, Debug)]
pub struct Schedule<'g> {
    graph: &'g Graph,
    states: Vec<TaskState>,
    ranks: Vec<u32>,
    /// How many needs of each are not done.
    open_needs: Vec<u32>,
    ready: BinaryHeap<Reverse<(u32, u32)>>,
    running: usize,
    /// Tasks that wait, are ready, or run.
    left: usize,
}

impl<'g> Schedule<'g> {
    /// Begins a run of the packages for which `is_task` holds. `work` and `names` are in order of the packages; the tasks
    /// have no circle among them.
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

    /// Returns the state of a package.
    pub fn state(&self, index: u32) -> TaskState {
        self.states.get(index as usize).copied().unwrap_or(TaskState::NoTask)
    }

    /// Returns how many tasks are being built.
    pub fn running(&self) -> usize {
        self.running
    }

    /// Returns how many tasks can be built now.
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Returns how many tasks have not ended.
    pub fn left(&self) -> usize {
        self.left
    }

    /// Tells whether nothing runs and nothing can be started: all tasks have ended, or wait for deferred ones.
    pub fn is_over(&self) -> bool {
        self.running == 0 && self.ready.is_empty()
    }

    /// Starts the task that is to be built next; `None` if none can be.
    pub fn next_ready(&mut self) -> Option<u32> {
        self.next_ready_if(|_| true)
    }

    /// Starts the first task, in the order in which they are to be built, that the caller has room for; `None` if there is
    /// none. Takes time in proportion to the tasks that are passed over.
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

    /// Ends a running task, and returns the packages that are not built because of it, in order of the indices. A package
    /// that is not running is left as it is.
    pub fn finished(&mut self, index: u32, outcome: Outcome) -> Vec<u32> {
        if self.state(index) != TaskState::Running {
            return Vec::new();
        }
        self.running -= 1;
        match outcome {
            Outcome::Again => self.make_ready(index),
            Outcome::Deferred => self.end(index, TaskState::Deferred),
            Outcome::Done => {
                self.end(index, TaskState::Done);
                self.free_dependents(index);
            }
            Outcome::Failed => {
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
        assert!(schedule.finished(0, Outcome::Done).is_empty());
        assert_eq!(
            [schedule.next_ready(), schedule.next_ready(), schedule.next_ready()],
            [Some(1), Some(2), None]
        );
        schedule.finished(1, Outcome::Done);
        assert_eq!(schedule.state(3), TaskState::Waiting);
        schedule.finished(2, Outcome::Done);
        assert_eq!(schedule.next_ready(), Some(3));
        schedule.finished(3, Outcome::Done);
        assert_eq!((schedule.left(), schedule.is_over()), (1, false), "4 runs on");
        schedule.finished(4, Outcome::Failed);
        assert_eq!((schedule.left(), schedule.is_over()), (0, true));
    }

    #[test]
    fn what_needs_a_failed_task_is_not_built() {
        let graph = diamond();
        let mut schedule = schedule(&graph);
        schedule.next_ready();
        assert_eq!(schedule.finished(0, Outcome::Failed), [1, 2, 3]);
        assert_eq!(schedule.state(3), TaskState::IndirectFailed);
        assert!(schedule.finished(0, Outcome::Failed).is_empty(), "it has ended");
        assert_eq!((schedule.next_ready(), schedule.next_ready(), schedule.left()), (Some(4), None, 1));
    }

    #[test]
    fn a_task_goes_back_and_is_deferred_without_failing_others() {
        let graph = diamond();
        let mut schedule = schedule(&graph);
        schedule.next_ready();
        schedule.finished(0, Outcome::Again);
        assert_eq!(schedule.next_ready(), Some(0), "it is still the first");
        assert!(schedule.finished(0, Outcome::Deferred).is_empty());
        assert_eq!(schedule.next_ready(), Some(4));
        schedule.finished(4, Outcome::Done);
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
        schedule.finished(1, Outcome::Done);
        assert_eq!(schedule.next_ready(), Some(3));
        assert_eq!(schedule.state(0), TaskState::NoTask);
    }
}
