//! The dependency graph: strongly connected components, depths, and blockers.

use std::sync::Arc;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AdjacencyLists {
    /// The end of each list in `items`.
    ends: Vec<usize>,
    items: Vec<u32>,
}

impl AdjacencyLists {
    pub(super) fn new<L: IntoIterator<Item = u32>>(lists: impl IntoIterator<Item = L>) -> Self {
        let mut new = Self::default();
        for list in lists {
            new.items.extend(list);
            new.ends.push(new.items.len());
        }
        new
    }

    pub(super) fn of(&self, index: u32) -> &[u32] {
        let index = index as usize;
        let begin = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(index).copied().unwrap_or(begin);
        self.items.get(begin..end).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Transposes the lists. All items must be packages.
    fn reversed(&self) -> Self {
        let mut counts = vec![0_usize; self.len()];
        for &item in &self.items {
            counts[item as usize] += 1;
        }
        let mut begins = Vec::with_capacity(self.len());
        let mut total = 0;
        for count in counts {
            begins.push(total);
            total += count;
        }
        // Each begin moves to its end as its list is filled.
        let mut ends = begins;
        let mut items = vec![0; self.items.len()];
        for index in 0..u32::try_from(self.len()).unwrap_or(u32::MAX) {
            for &item in self.of(index) {
                let place = &mut ends[item as usize];
                items[*place] = index;
                *place += 1;
            }
        }
        Self { ends, items }
    }
}

/// Packages by index, starting at 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    needs: AdjacencyLists,
    dependents: AdjacencyLists,
}

impl Graph {
    /// Takes the dependencies of all packages by index. Keeps each once, and drops those that are no package.
    pub fn new<L: IntoIterator<Item = u32>>(needs: impl IntoIterator<Item = L>) -> Self {
        let lists: Vec<Vec<u32>> = needs.into_iter().map(|list| list.into_iter().collect()).collect();
        // The package in whose list each was seen last.
        let mut seen = vec![usize::MAX; lists.len()];
        let once = lists.into_iter().enumerate().map(|(index, mut list)| {
            list.retain(|&need| match seen.get_mut(need as usize) {
                Some(last) => std::mem::replace(last, index) != index,
                None => false,
            });
            list
        });
        let needs = AdjacencyLists::new(once.collect::<Vec<_>>());
        let dependents = needs.reversed();
        Self { needs, dependents }
    }

    pub fn len(&self) -> usize {
        self.needs.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn indices(&self) -> std::ops::Range<u32> {
        // Needs are `u32`, and so are the packages that can be needed.
        0..u32::try_from(self.len()).unwrap_or(u32::MAX)
    }

    pub fn needs(&self, index: u32) -> &[u32] {
        self.needs.of(index)
    }

    /// Sorted.
    pub fn dependents(&self, index: u32) -> &[u32] {
        self.dependents.of(index)
    }

    /// Includes indirect dependencies; sorted.
    pub fn with_needs(&self, wanted: &[u32]) -> Vec<u32> {
        self.reached(wanted, |index| self.needs(index))
    }

    /// Includes indirect dependents; sorted.
    pub fn with_dependents(&self, packages: &[u32]) -> Vec<u32> {
        self.reached(packages, |index| self.dependents(index))
    }

    fn reached<'a>(&'a self, from: &[u32], next: impl Fn(u32) -> &'a [u32]) -> Vec<u32> {
        let mut is_taken = vec![false; self.len()];
        let mut waiting = from.to_vec();
        while let Some(index) = waiting.pop() {
            if let Some(taken @ false) = is_taken.get_mut(index as usize) {
                *taken = true;
                waiting.extend(next(index));
            }
        }
        self.indices().filter(|&index| is_taken[index as usize]).collect()
    }
}

/// Strongly connected components.
#[derive(Clone, Debug)]
pub(super) struct StrongComponents {
    /// Dependencies are in the same component or one with a lower number.
    pub(super) of: Vec<u32>,
    /// Sorted by index.
    pub(super) members: AdjacencyLists,
}

/// The state of Tarjan's algorithm.
struct ComponentSearch<'a> {
    graph: &'a Graph,
    seen: Vec<u32>,
    lowest: Vec<u32>,
    next_number: u32,
    open: Vec<u32>,
    of: Vec<u32>,
    groups: u32,
}

const NO_GROUP: u32 = u32::MAX;

impl StrongComponents {
    /// Takes linear time.
    pub(super) fn of(graph: &Graph) -> Self {
        let mut search = ComponentSearch {
            graph,
            seen: vec![0; graph.len()],
            lowest: vec![0; graph.len()],
            next_number: 1,
            open: Vec::new(),
            of: vec![NO_GROUP; graph.len()],
            groups: 0,
        };
        for index in graph.indices() {
            if search.seen[index as usize] == 0 {
                search.search_from(index);
            }
        }
        let ComponentSearch { of, groups, .. } = search;
        let mut members = vec![Vec::new(); groups as usize];
        for index in graph.indices() {
            members[of[index as usize] as usize].push(index);
        }
        Self { of, members: AdjacencyLists::new(members) }
    }

    /// Dependencies first.
    fn groups(&self) -> std::ops::Range<u32> {
        0..u32::try_from(self.members.len()).unwrap_or(u32::MAX)
    }

    /// Returns components that are cycles, including packages that depend on themselves.
    pub(super) fn circles<'a>(&'a self, graph: &'a Graph) -> impl Iterator<Item = &'a [u32]> {
        let groups = self.groups().map(|group| self.members.of(group));
        groups.filter(|members| match members {
            [only] => graph.needs(*only).contains(only),
            _ => true,
        })
    }

    /// Returns a shortest cycle from the first of these members: each needs the next, and the last needs the first.
    pub(super) fn shortest_circle(&self, graph: &Graph, members: &[u32]) -> Vec<u32> {
        let Some(&first) = members.first() else { return Vec::new() };
        let group = self.of[first as usize];
        let mut reached_from = foldhash::HashMap::default();
        let mut waiting = std::collections::VecDeque::from([first]);
        while let Some(index) = waiting.pop_front() {
            for &need in graph.needs(index) {
                if need == first {
                    return way_to(index, first, &reached_from);
                }
                if self.of[need as usize] == group && !reached_from.contains_key(&need) {
                    reached_from.insert(need, index);
                    waiting.push_back(need);
                }
            }
        }
        vec![first]
    }
}

fn way_to(last: u32, first: u32, reached_from: &foldhash::HashMap<u32, u32>) -> Vec<u32> {
    let mut way = vec![last];
    let mut at = last;
    while at != first {
        let Some(&before) = reached_from.get(&at) else { break };
        at = before;
        way.push(at);
    }
    way.reverse();
    way
}

impl ComponentSearch<'_> {
    fn search_from(&mut self, first: u32) {
        self.enter(first);
        // The path, with the position of the next dependency to visit.
        let mut way = vec![(first, 0_usize)];
        while let Some((index, place)) = way.last_mut() {
            let index = *index;
            let Some(&need) = self.graph.needs(index).get(*place) else {
                way.pop();
                self.leave(index);
                if let Some(&(above, _)) = way.last() {
                    let lowest = self.lowest[index as usize];
                    self.reach(above, lowest);
                }
                continue;
            };
            *place += 1;
            if self.seen[need as usize] == 0 {
                self.enter(need);
                way.push((need, 0));
            } else if self.of[need as usize] == NO_GROUP {
                self.reach(index, self.seen[need as usize]);
            }
        }
    }

    fn enter(&mut self, index: u32) {
        self.seen[index as usize] = self.next_number;
        self.lowest[index as usize] = self.next_number;
        self.next_number += 1;
        self.open.push(index);
    }

    fn reach(&mut self, index: u32, number: u32) {
        let lowest = &mut self.lowest[index as usize];
        *lowest = number.min(*lowest);
    }

    /// Finishes a package. If it reaches nothing seen earlier, it forms a component with the open packages after it.
    fn leave(&mut self, index: u32) {
        if self.lowest[index as usize] != self.seen[index as usize] {
            return;
        }
        while let Some(member) = self.open.pop() {
            self.of[member as usize] = self.groups;
            if member == index {
                break;
            }
        }
        self.groups += 1;
    }
}

/// Packages handled in one pass over the graph.
const BLOCK: usize = 512;

type PackageBits = [u64; BLOCK / 64];

impl Graph {
    /// Counts direct and indirect dependents, including the package itself: pbulk's `PKG_DEPTH`. 100,000 packages with
    /// a million dependencies take about a second.
    pub fn depths(&self) -> Vec<u32> {
        let components = StrongComponents::of(self);
        let dependents = dependents_of_groups(self, &components);
        // By group: each package of a block is a bit.
        let members =
            components.groups().flat_map(|group| components.members.of(group).iter().map(move |_| group));
        let groups: Vec<u32> = members.collect();
        let mut counts = vec![0_u32; components.members.len()];
        let mut sets: Vec<PackageBits> = vec![PackageBits::default(); components.members.len()];
        for block in groups.chunks(BLOCK) {
            let Some(&highest) = block.last() else { continue };
            let reached = highest as usize + 1;
            sets[..reached].fill(PackageBits::default());
            for (bit, &group) in block.iter().enumerate() {
                sets[group as usize][bit / 64] |= 1 << (bit % 64);
            }
            // Dependents have higher group numbers. Groups above the block contain nothing of it.
            for group in (0..=highest).rev() {
                let mut set = sets[group as usize];
                for &dependent in dependents.of(group).iter().take_while(|&&dependent| dependent <= highest) {
                    for (word, other) in set.iter_mut().zip(&sets[dependent as usize]) {
                        *word |= other;
                    }
                }
                sets[group as usize] = set;
                counts[group as usize] += set.iter().map(|word| word.count_ones()).sum::<u32>();
            }
        }
        components.of.iter().map(|&group| counts[group as usize]).collect()
    }
}

fn dependents_of_groups(graph: &Graph, components: &StrongComponents) -> AdjacencyLists {
    let lists = components.groups().map(|group| {
        let members = components.members.of(group).iter();
        let dependents = members.flat_map(|&member| graph.dependents(member));
        let mut groups: Vec<u32> = dependents.map(|&dependent| components.of[dependent as usize]).collect();
        groups.retain(|&other| other != group);
        groups.sort_unstable();
        groups.dedup();
        groups
    });
    AdjacencyLists::new(lists)
}

/// Named blockers of a package. Otherwise each link of a chain behind many failures would name each of them.
pub const MOST_BLOCKERS: usize = 100;

/// The nearest failed packages that a package needs, with no other failed one between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blockers {
    /// The first ones, by index.
    pub named: Arc<[u32]>,
    /// Includes unnamed ones.
    pub count: u32,
}

impl Blockers {
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn more(&self) -> u64 {
        u64::from(self.count).saturating_sub(self.named.len() as u64)
    }
}

/// A package that failed itself or can be built has no blockers.
pub fn blockers(graph: &Graph, failed: &[bool]) -> Vec<Blockers> {
    blockers_within(graph, failed, MOST_BLOCKERS)
}

fn blockers_within(graph: &Graph, failed: &[bool], most: usize) -> Vec<Blockers> {
    let mut blockers = vec![Blockers::default(); graph.len()];
    let components = StrongComponents::of(graph);
    let has_failed = |index: u32| failed.get(index as usize).copied().unwrap_or(false);
    let needs_first = || components.groups().flat_map(|group| components.members.of(group));
    for &index in needs_first().filter(|&&index| !has_failed(index)) {
        let mut found: Vec<u32> = Vec::new();
        // Most packages wait for exactly the blockers of a dependency, so they share its list.
        let mut shared: Option<&Arc<[u32]>> = None;
        for &need in graph.needs(index) {
            if has_failed(need) {
                found.push(need);
            } else if let Some(Blockers { named, .. }) =
                blockers.get(need as usize).filter(|blockers| !blockers.is_empty())
            {
                if shared.is_some_and(|shared| Arc::ptr_eq(shared, named)) {
                    continue;
                }
                shared = Some(named);
                found.extend_from_slice(named);
            }
        }
        found.sort_unstable();
        found.dedup();
        // One more than the maximum is kept, so that truncation stays visible to dependents.
        found.truncate(most + 1);
        let named = match shared {
            Some(shared) if **shared == *found => Arc::clone(shared),
            _ if found.is_empty() => continue,
            _ => found.into(),
        };
        blockers[index as usize] = Blockers { count: u32::try_from(named.len()).unwrap_or(u32::MAX), named };
    }
    if blockers.iter().any(|blockers| blockers.named.len() > most) {
        count_all(graph, &needs_first().copied().collect::<Vec<_>>(), failed, &mut blockers);
        cut(&mut blockers, most);
    }
    blockers
}

/// Counts all blockers by bits: explicit lists would be as long as the counts.
fn count_all(graph: &Graph, needs_first: &[u32], failed: &[bool], blockers: &mut [Blockers]) {
    for one in blockers.iter_mut() {
        one.count = 0;
    }
    let all: Vec<u32> = graph.indices().filter(|&index| failed.get(index as usize) == Some(&true)).collect();
    let mut sets = vec![0_u64; graph.len()];
    for some in all.chunks(u64::BITS as usize) {
        let bit_of = |index: u32| some.binary_search(&index).map_or(0, |place| 1 << place);
        reach(graph, needs_first, failed, &bit_of, &mut sets);
        for (one, set) in blockers.iter_mut().zip(&sets) {
            one.count += set.count_ones();
        }
    }
}

/// Truncates the lists; shared ones stay shared.
fn cut(blockers: &mut [Blockers], most: usize) {
    let mut last: Option<[Arc<[u32]>; 2]> = None;
    for one in blockers.iter_mut().filter(|one| one.named.len() > most) {
        let short = match &last {
            Some([long, short]) if Arc::ptr_eq(long, &one.named) => Arc::clone(short),
            _ => one.named.get(..most).unwrap_or_default().into(),
        };
        let long = std::mem::replace(&mut one.named, Arc::clone(&short));
        last = Some([long, short]);
    }
}

/// Finds the bits of the nearest failed dependencies of each package that did not fail itself.
fn reach(
    graph: &Graph,
    needs_first: &[u32],
    failed: &[bool],
    bits_of: &dyn Fn(u32) -> u64,
    sets: &mut [u64],
) {
    for &index in needs_first {
        let bits = if failed.get(index as usize) == Some(&true) {
            // From the view of dependents.
            bits_of(index)
        } else {
            let of_need = |need: &u32| sets.get(*need as usize).copied().unwrap_or_default();
            graph.needs(index).iter().map(of_need).fold(0, |all, bits| all | bits)
        };
        if let Some(set) = sets.get_mut(index as usize) {
            *set = bits;
        }
    }
    for (set, has_failed) in sets.iter_mut().zip(failed) {
        if *has_failed {
            *set = 0;
        }
    }
}

/// True for packages with a selected blocker.
pub fn waits_for(graph: &Graph, failed: &[bool], is_meant: &dyn Fn(u32) -> bool) -> Vec<bool> {
    let components = StrongComponents::of(graph);
    let needs_first: Vec<u32> =
        components.groups().flat_map(|group| components.members.of(group)).copied().collect();
    let mut sets = vec![0; graph.len()];
    reach(graph, &needs_first, failed, &|index| u64::from(is_meant(index)), &mut sets);
    sets.into_iter().map(|set| set != 0).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_graph_is_known_both_ways() {
        let graph = Graph::new([vec![], vec![0, 0], vec![1, 7, 0, 1]]);
        let needs: Vec<&[u32]> = graph.indices().map(|index| graph.needs(index)).collect();
        assert_eq!(needs, [&[][..], &[0], &[1, 0]]);
        let dependents: Vec<&[u32]> = graph.indices().map(|index| graph.dependents(index)).collect();
        assert_eq!(dependents, [&[1, 2][..], &[2], &[]]);
        assert_eq!((graph.needs(3), graph.len()), (&[][..], 3));
    }

    #[test]
    fn what_is_needed_comes_along() {
        let graph = Graph::new([vec![1], vec![2], vec![], vec![2], vec![4]]);
        assert_eq!(graph.with_needs(&[0, 9]), [0, 1, 2]);
        assert_eq!(graph.with_needs(&[4, 3]), [2, 3, 4]);
        assert_eq!(graph.with_dependents(&[1]), [0, 1]);
        assert_eq!(graph.with_dependents(&[2, 9]), [0, 1, 2, 3]);
    }

    #[test]
    fn packages_in_a_circle_are_one_group() {
        let graph = Graph::new([vec![1], vec![2, 3], vec![0], vec![3], vec![3]]);
        let components = StrongComponents::of(&graph);
        let circles: Vec<&[u32]> = components.circles(&graph).collect();
        assert_eq!(circles, [&[3][..], &[0, 1, 2]]);
        assert_eq!(components.shortest_circle(&graph, &[0, 1, 2]), [0, 1, 2]);
        assert_eq!(components.shortest_circle(&graph, &[3]), [3]);
    }

    #[test]
    fn a_circle_of_100000_is_found_without_recursion() {
        let size = 100_000;
        let graph = Graph::new((0..size).map(|index| [(index + 1) % size]));
        let components = StrongComponents::of(&graph);
        assert_eq!(components.circles(&graph).map(<[u32]>::len).collect::<Vec<_>>(), [100_000]);
        assert_eq!(components.shortest_circle(&graph, &[7]).len(), 100_000);
    }

    proptest! {
        #[test]
        fn two_are_in_one_group_if_each_needs_the_other(
            needs in proptest::collection::vec(proptest::collection::vec(0_u32..8, 0..3), 8),
        ) {
            let graph = Graph::new(needs);
            let components = StrongComponents::of(&graph);
            let reaches = |from: u32, to: u32| graph.with_needs(&[from]).contains(&to);
            for one in graph.indices() {
                for other in graph.indices() {
                    let is_one = components.of[one as usize] == components.of[other as usize];
                    prop_assert_eq!(is_one, reaches(one, other) && reaches(other, one));
                    if graph.needs(one).contains(&other) {
                        prop_assert!(components.of[other as usize] <= components.of[one as usize]);
                    }
                }
            }
        }
    }

    #[test]
    fn the_depth_counts_a_package_and_all_that_need_it() {
        let graph = Graph::new([vec![], vec![0], vec![0], vec![1, 2], vec![4]]);
        assert_eq!(graph.depths(), [4, 2, 2, 1, 1]);
    }

    #[test]
    fn a_chain_of_10000_and_5000_dependents_of_one_are_counted() {
        let chain = Graph::new((0..10_000_u32).map(|index| index.checked_sub(1)));
        assert_eq!(chain.depths(), (1..=10_000).rev().collect::<Vec<u32>>());
        let star = Graph::new((0..=5_000).map(|index| (index > 0).then_some(0)));
        assert_eq!(star.depths()[..2], [5_001, 1]);
    }

    proptest! {
        #[test]
        fn depths_are_what_following_the_dependents_counts(
            needs in proptest::collection::vec(proptest::collection::vec(0_u32..700, 0..3), 1..700),
        ) {
            let graph = Graph::new(needs);
            let reversed = Graph::new(graph.indices().map(|index| graph.dependents(index).to_vec()));
            let depths = graph.depths();
            for index in graph.indices().step_by(37) {
                prop_assert_eq!(depths[index as usize] as usize, reversed.with_needs(&[index]).len());
            }
        }
    }

    #[test]
    fn the_nearest_failed_packages_are_told_and_not_those_behind_them() {
        // 0 and 2 failed; 2 needs 0.
        let graph = Graph::new([vec![], vec![0], vec![0], vec![2, 1], vec![3], vec![]]);
        let failed = [true, false, true, false, false, false];
        let blockers = blockers(&graph, &failed);
        let lists: Vec<&[u32]> = blockers.iter().map(|blockers| &*blockers.named).collect();
        assert_eq!(lists, [&[][..], &[0], &[], &[0, 2], &[0, 2], &[]]);
        assert!(blockers.iter().all(|blockers| blockers.count as usize == blockers.named.len()));
        assert!(Arc::ptr_eq(&blockers[3].named, &blockers[4].named), "kept once");
        assert_eq!(waits_for(&graph, &failed, &|index| index == 2), [false, false, false, true, true, false]);
    }

    /// Returns failed packages and a chain in which each link needs the one before and one more failed package.
    fn chain(length: u32) -> (Graph, Vec<bool>) {
        let links = (0..length).map(|link| match link {
            0 => vec![0],
            _ => vec![link, length + link - 1],
        });
        let graph = Graph::new((0..length).map(|_| Vec::new()).chain(links));
        (graph, (0..2 * length).map(|index| index < length).collect())
    }

    #[test]
    fn a_chain_of_which_each_link_has_one_more_failure_before_it_names_few_and_counts_all() {
        let (graph, failed) = chain(5_000);
        let found = blockers(&graph, &failed);
        for link in [0, 63, 64, 98, 99, 100, 101, 4_999] {
            let Blockers { named, count } = &found[5_000 + link];
            assert_eq!((named.len(), *count as usize), ((link + 1).min(MOST_BLOCKERS), link + 1), "{link}");
            assert_eq!(named[0], 0);
        }
        assert!(found[..5_000].iter().all(Blockers::is_empty));
        assert!(Arc::ptr_eq(&found[5_200].named, &found[9_999].named));
        let waits = waits_for(&graph, &failed, &|index| index == 4_998);
        let waiting: Vec<usize> = (0..10_000).filter(|index| waits[*index]).collect();
        assert_eq!(waiting, [9_998, 9_999]);
    }

    #[test]
    fn a_long_chain_behind_many_failures_is_told_in_little_memory() {
        let failures = 5_000;
        let lists = (0..15_000_u32).map(|index| match index {
            0..5_000 => Vec::new(),
            5_000 => (0..failures).collect(),
            _ => vec![index - 1],
        });
        let graph = Graph::new(lists);
        let failed: Vec<bool> = (0..15_000).map(|index| index < failures).collect();
        let blockers = blockers(&graph, &failed);
        assert!(Arc::ptr_eq(&blockers[5_000].named, &blockers[14_999].named));
        assert_eq!((blockers[14_999].named.len(), blockers[14_999].count), (MOST_BLOCKERS, 5_000));
        assert_eq!(blockers[14_999].more(), 4_900);
    }
}
