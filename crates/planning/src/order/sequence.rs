//! The groups of a graph, each after those that it needs.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::components::components;
use super::neighbours::Neighbours;

/// Puts the nodes that are marked into groups, each after those that it needs. Of the groups that could come next the one
/// with the lowest node does. The nodes of a group are in ascending order.
pub(super) fn sequence(needs: &Neighbours, marks: &[bool]) -> Vec<Vec<usize>> {
    let components = components(needs);
    let mut groups: Vec<Vec<usize>> = vec![Vec::new(); components.count];
    for (node, group) in components.of_node.iter().enumerate().filter(|(node, _)| marks[*node]) {
        groups[*group].push(node);
    }
    // A group that needs another one waits for it.
    let mut waiting = Vec::new();
    for (node, group) in components.of_node.iter().enumerate().filter(|(node, _)| marks[*node]) {
        let needed = needs.of(node).iter().filter(|needed| marks[**needed]);
        let needed = needed.map(|needed| components.of_node[*needed]).filter(|needed| needed != group);
        waiting.extend(needed.map(|needed| (needed, *group)));
    }
    let waiting = Neighbours::new(components.count, waiting);
    let mut missing = vec![0_usize; components.count];
    for group in (0..components.count).flat_map(|needed| waiting.of(needed)) {
        missing[*group] += 1;
    }
    let first = |group: usize| groups[group].first().map(|node| Reverse((*node, group)));
    let mut ready: BinaryHeap<_> =
        (0..components.count).filter(|group| missing[*group] == 0).filter_map(first).collect();
    let mut order = Vec::new();
    while let Some(Reverse((_, group))) = ready.pop() {
        order.push(group);
        for next in waiting.of(group) {
            missing[*next] -= 1;
            if missing[*next] == 0 {
                ready.extend(first(*next));
            }
        }
    }
    order.into_iter().map(|group| std::mem::take(&mut groups[group])).collect()
}
