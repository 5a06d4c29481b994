//! What a run would do, before it does it.

use serde::Serialize;

use super::priority::longest_way;
use super::simulation::simulate;
use super::tasks::Schedule;
use crate::resolve::Graph;

/// What a run would do about a package.
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

/// A package with what a run would do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedPackage {
    /// PKGNAME.
    pub package: String,
    /// What would be done.
    pub action: PlannedAction,
    /// Why, in words.
    pub why: String,
}

/// What a run would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunPlan {
    /// The wanted packages, in byte order of their PKGNAMEs.
    pub plan: Vec<PlannedPackage>,
    /// The packages of the longest way of work, each needed by the next: no number of slots makes the run shorter.
    pub longest_way: Vec<String>,
    /// The duration if everything is built that may be, in milliseconds; `None` where no duration is known.
    pub expected_ms: Option<u64>,
}

impl RunPlan {
    /// Puts together what a run with so many slots would do. `planned` has the wanted packages with their indices in order;
    /// `work` is in order of the graph, in milliseconds if `is_time`.
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
mod tests {
    use super::*;

    #[test]
    fn a_plan_has_the_longest_way_and_the_time_of_what_may_be_built() {
        // 1 needs 0, 2 needs 1; 3 stands alone, 4 is not wanted.
        let graph = Graph::new([vec![], vec![0], vec![1], vec![], vec![]]);
        let package = |name: &str, action| PlannedPackage {
            package: name.to_owned(),
            action,
            why: "it was never built".to_owned(),
        };
        let planned = vec![
            (0, package("z-1", PlannedAction::Nothing)),
            (1, package("b-1", PlannedAction::Build)),
            (2, package("a-1", PlannedAction::Maybe)),
            (3, package("c-1", PlannedAction::Build)),
        ];
        let work = [1000, 10, 20, 25, 5000];
        let plan = RunPlan::of(&graph, planned.clone(), (&work, true), 1);
        assert_eq!(
            (plan.longest_way, plan.expected_ms),
            (vec!["b-1".to_owned(), "a-1".to_owned()], Some(55))
        );
        let names: Vec<&str> = plan.plan.iter().map(|package| package.package.as_str()).collect();
        assert_eq!(names, ["a-1", "b-1", "c-1", "z-1"]);
        assert_eq!(RunPlan::of(&graph, planned.clone(), (&work, true), 2).expected_ms, Some(30));
        assert_eq!(RunPlan::of(&graph, planned, (&work, false), 2).expected_ms, None);
        let nothing = RunPlan::of(&graph, Vec::new(), (&work, true), 2);
        assert_eq!((nothing.longest_way.len(), nothing.expected_ms), (0, Some(0)));
    }
}
