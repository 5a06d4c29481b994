//! Why a package waits in vain.

use std::sync::Arc;

use super::components::Components;
use super::graph::Graph;

/// The most blockers that are named for a package. A chain behind many failures would otherwise name each of them in each link.
pub const MOST_BLOCKERS: usize = 100;

/// The nearest failed packages that a package needs: those to which a way of needs leads that passes no other failed one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blockers {
    /// The first ones, in order of the indices.
    pub named: Arc<[u32]>,
    /// How many there are.
    pub count: u32,
}

impl Blockers {
    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns how many are not named.
    pub fn more(&self) -> u64 {
        u64::from(self.count).saturating_sub(self.named.len() as u64)
    }
}

/// Returns the blockers of each package. There are none for a package that can be built, and for one that failed itself.
pub fn blockers(graph: &Graph, failed: &[bool]) -> Vec<Blockers> {
    blockers_within(graph, failed, MOST_BLOCKERS)
}

fn blockers_within(graph: &Graph, failed: &[bool], most: usize) -> Vec<Blockers> {
    let mut blockers = vec![Blockers::default(); graph.len()];
    let components = Components::of(graph);
    let has_failed = |index: u32| failed.get(index as usize).copied().unwrap_or(false);
    let needs_first = || components.groups().flat_map(|group| components.members.of(group));
    for &index in needs_first().filter(|&&index| !has_failed(index)) {
        let mut found: Vec<u32> = Vec::new();
        // Most packages wait for exactly what one of their needs waits for: that list is shared.
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
        // Those that are cut off count for the ones that follow as well: one more than is named.
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

/// Counts all blockers, as many at a time as a word has bits: the list of each would be as long as their number.
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

/// Shortens the lists; those that are shared stay so.
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

/// Finds, for each package that did not fail itself, the bits of the nearest failed ones that it needs.
fn reach(
    graph: &Graph,
    needs_first: &[u32],
    failed: &[bool],
    bits_of: &dyn Fn(u32) -> u64,
    sets: &mut [u64],
) {
    for &index in needs_first {
        let bits = if failed.get(index as usize) == Some(&true) {
            // Seen from those that need it.
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

/// Returns for each package whether one of its blockers is meant.
pub fn waits_for(graph: &Graph, failed: &[bool], is_meant: &dyn Fn(u32) -> bool) -> Vec<bool> {
    let components = Components::of(graph);
    let needs_first: Vec<u32> =
        components.groups().flat_map(|group| components.members.of(group)).copied().collect();
    let mut sets = vec![0; graph.len()];
    reach(graph, &needs_first, failed, &|index| u64::from(is_meant(index)), &mut sets);
    sets.into_iter().map(|set| set != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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

    /// Returns `length` failed packages and a chain: each link needs the link before it and one more failed package.
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
