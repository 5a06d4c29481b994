//! Why a package waits in vain.

use std::sync::Arc;

use super::components::Components;
use super::graph::Graph;

/// Returns for each package that did not fail itself the nearest failed packages that it needs: those to which a way of
/// needs leads that passes no other failed one, in order of the indices. Empty for a package that can be built, and for
/// one that failed itself.
pub fn blockers(graph: &Graph, failed: &[bool]) -> Vec<Arc<[u32]>> {
    let none: Arc<[u32]> = Arc::new([]);
    let has_failed = |index: u32| failed.get(index as usize).copied().unwrap_or(false);
    let mut blockers = vec![Arc::clone(&none); graph.len()];
    let components = Components::of(graph);
    let needs_first = components.groups().flat_map(|group| components.members.of(group));
    for &index in needs_first.filter(|&&index| !has_failed(index)) {
        let mut found: Vec<u32> = Vec::new();
        // Most packages wait for exactly what one of their needs waits for: that list is shared.
        let mut shared: Option<&Arc<[u32]>> = None;
        for &need in graph.needs(index) {
            if has_failed(need) {
                found.push(need);
            } else if let Some(list) = blockers.get(need as usize).filter(|list| !list.is_empty()) {
                if shared.is_some_and(|shared| Arc::ptr_eq(shared, list)) {
                    continue;
                }
                shared = Some(list);
                found.extend_from_slice(list);
            }
        }
        found.sort_unstable();
        found.dedup();
        let list = match shared {
            Some(shared) if **shared == *found => Arc::clone(shared),
            _ if found.is_empty() => continue,
            _ => found.into(),
        };
        blockers[index as usize] = list;
    }
    blockers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_failed_packages_are_told_and_not_those_behind_them() {
        // 0 and 2 failed; 2 needs 0.
        let graph = Graph::new([vec![], vec![0], vec![0], vec![2, 1], vec![3], vec![]]);
        let blockers = blockers(&graph, &[true, false, true, false, false, false]);
        let lists: Vec<&[u32]> = blockers.iter().map(|list| &**list).collect();
        assert_eq!(lists, [&[][..], &[0], &[], &[0, 2], &[0, 2], &[]]);
        assert!(Arc::ptr_eq(&blockers[3], &blockers[4]), "kept once");
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
        assert!(Arc::ptr_eq(&blockers[5_000], &blockers[14_999]));
        assert_eq!(blockers[14_999].len(), 5_000);
    }
}
