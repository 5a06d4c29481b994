//! The nodes that are reached from some nodes of a graph.

use super::neighbours::Neighbours;

/// Marks the nodes that are reached from some, these included.
pub(super) fn reached(from: impl IntoIterator<Item = usize>, neighbours: &Neighbours) -> Vec<bool> {
    let mut marks = vec![false; neighbours.count()];
    let mut open: Vec<usize> = from.into_iter().collect();
    while let Some(node) = open.pop() {
        if !std::mem::replace(&mut marks[node], true) {
            open.extend(neighbours.of(node).iter().filter(|next| !marks[**next]));
        }
    }
    marks
}
