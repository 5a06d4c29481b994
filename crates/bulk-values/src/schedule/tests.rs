//! Schedules, also in virtual time: how near to the shortest possible run they come.

use std::io::Read as _;
use std::path::Path;

use foldhash::HashMap;

use super::*;

/// Returns the length of this run in thousandths of the shortest possible one, and work ÷ slots as a multiple of the
/// longest path.
fn ratio(graph: &Graph, names: &[&str], planned: &[u64], real: &[u64], slots: u64) -> (u64, f64) {
    let schedule = Schedule::new(graph, planned, names, |_| true);
    let played = simulate(&schedule, real, usize::try_from(slots).unwrap());
    assert_eq!(played.order.len(), graph.len(), "everything is built");
    let way: u64 = longest_way(graph, real, |_| true).iter().map(|&index| real[index as usize]).sum();
    let share = real.iter().sum::<u64>().div_ceil(slots);
    assert!(played.makespan >= way.max(share), "nothing is shorter than possible");
    #[expect(clippy::cast_precision_loss, reason = "only compared with 2 and 1/2")]
    let relative = share as f64 / way as f64;
    (played.makespan * 1000 / way.max(share), relative)
}

/// Pseudo-random numbers, the same for each seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A tree of packages: each needs up to five earlier ones, more often one of the first or one that is near, and its work
/// is mostly small and sometimes very large.
fn generated(seed: u64) -> (Graph, Vec<u64>) {
    let mut numbers = Numbers(seed * 2 + 1);
    let needs: Vec<Vec<u32>> = (0..5_000_u64)
        .map(|index| {
            let count = numbers.below(6).min(index);
            let one = |_| {
                let of = match numbers.below(3) {
                    0 => numbers.below(index.min(50)),
                    1 => index - 1 - numbers.below(index.min(200)),
                    _ => numbers.below(index),
                };
                u32::try_from(of).unwrap()
            };
            (0..count).map(one).collect()
        })
        .collect();
    let work = (0..5_000).map(|_| 1 << numbers.below(8) << numbers.below(5)).collect();
    (Graph::new(needs), work)
}

#[test]
fn generated_trees_are_built_almost_as_fast_as_possible() {
    let (mut worst_apart, mut worst_near) = (0, 0);
    for seed in 1..=50 {
        let (graph, work) = generated(seed);
        for slots in [2, 4, 8, 16, 32, 64, 128, 256] {
            let (ratio, relative) = ratio(&graph, &[], &work, &work, slots);
            let worst = if (0.5..=2.0).contains(&relative) { &mut worst_near } else { &mut worst_apart };
            *worst = ratio.max(*worst);
        }
    }
    assert!(worst_apart <= 1_030, "{worst_apart} where one bound is far above the other");
    assert!(worst_near <= 1_200, "{worst_near} where both bounds are near");
    assert!(worst_near > 0, "there are such cases");
    eprintln!("generated trees: {worst_apart} thousandths, {worst_near} where both bounds are near");
}

#[test]
fn a_comb_is_built_along_its_back_first() {
    for (back, tooth) in [(10, 10), (10, 100), (10, 1), (1, 30)] {
        // Even packages are the back, each needing the one before; odd ones are teeth, each needing the one beside it.
        let size = 2_000_u32;
        let graph = Graph::new((0..size).map(|index| match index % 2 {
            0 => index.checked_sub(2),
            _ => Some(index - 1),
        }));
        let work: Vec<u64> = (0..size).map(|index| if index % 2 == 0 { back } else { tooth }).collect();
        for slots in [2, 4, 8, 16] {
            let (ratio, _) = ratio(&graph, &[], &work, &work, slots);
            assert!(ratio <= 1_010, "back {back}, tooth {tooth}, {slots} slots: {ratio}");
        }
    }
}

/// The packages of a real bulk build with their needs, and their work; `None` if these data are absent.
fn real() -> Option<(Graph, Vec<String>, Vec<Option<u64>>)> {
    let text = |name: &str| {
        let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/realdata/bulk");
        let file = std::fs::File::open(shared.join(name)).ok()?;
        let mut text = String::new();
        ruzstd::decoding::StreamingDecoder::new(file).unwrap().read_to_string(&mut text).unwrap();
        Some(text)
    };
    let (edges, history) = (text("depgraph-bulk-large.zst")?, text("history-bulk-large.zst")?);
    let mut indices: HashMap<&str, u32> = HashMap::default();
    let mut names: Vec<String> = Vec::new();
    let mut needs: Vec<Vec<u32>> = Vec::new();
    for line in edges.lines() {
        let (need, package) = line.split_once(" -> ").unwrap();
        let [need, package] = [need, package].map(|name| {
            let next = u32::try_from(needs.len()).unwrap();
            *indices.entry(name).or_insert_with(|| {
                needs.push(Vec::new());
                names.push(name.to_owned());
                next
            })
        });
        needs[package as usize].push(need);
    }
    let mut known = vec![None; needs.len()];
    for line in history.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        if let Some(&index) = indices.get(fields[2]).filter(|_| fields[3] == "success") {
            known[index as usize] = Some(fields[6].parse().unwrap());
        }
    }
    Some((Graph::new(needs), names, known))
}

#[test]
fn a_real_bulk_build_takes_no_longer_than_it_must() {
    let Some((graph, names, known)) = real() else {
        eprintln!("skipped: a real bulk build: its shared data are absent");
        return;
    };
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let weights = vec![100; graph.len()];
    let work = expected_work(&known, &weights);
    let unknown = expected_work(&[], &weights);
    assert_eq!((graph.len(), known.iter().flatten().count() > 1_000), (1_815, true));
    for slots in [2, 4, 8, 16, 64] {
        let (with_history, relative) = ratio(&graph, &names, &work, &work, slots);
        let (without, _) = ratio(&graph, &names, &unknown, &work, slots);
        eprintln!(
            "{slots} slots: {with_history} and {without} thousandths; work ÷ slots is {relative:.2} ways"
        );
        assert!(with_history <= 1_010, "{slots} slots: {with_history}");
        assert!(without <= 1_120, "{slots} slots without history: {without}");
    }
}

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
    assert_eq!((plan.longest_way, plan.expected_ms), (vec!["b-1".to_owned(), "a-1".to_owned()], Some(55)));
    let names: Vec<&str> = plan.plan.iter().map(|package| package.package.as_str()).collect();
    assert_eq!(names, ["a-1", "b-1", "c-1", "z-1"]);
    assert_eq!(RunPlan::of(&graph, planned.clone(), (&work, true), 2).expected_ms, Some(30));
    assert_eq!(RunPlan::of(&graph, planned, (&work, false), 2).expected_ms, None);
    let nothing = RunPlan::of(&graph, Vec::new(), (&work, true), 2);
    assert_eq!((nothing.longest_way.len(), nothing.expected_ms), (0, Some(0)));
}

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
