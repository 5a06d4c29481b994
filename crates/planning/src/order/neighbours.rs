//! The neighbours of each node of a graph, in one direction.

/// The neighbours of each node, without repetition.
#[derive(Clone, Debug)]
pub(super) struct Neighbours {
    /// Where those of each node begin, and where the last ones end.
    begins: Vec<usize>,
    nodes: Vec<usize>,
}

impl Neighbours {
    /// Sorts out pairs of a node and a neighbour; every node is below `count`.
    pub(super) fn new(count: usize, mut pairs: Vec<(usize, usize)>) -> Self {
        pairs.sort_unstable();
        pairs.dedup();
        let mut begins = vec![0; count + 1];
        for (node, _) in &pairs {
            begins[node + 1] += 1;
        }
        for node in 0..count {
            begins[node + 1] += begins[node];
        }
        Self { begins, nodes: pairs.into_iter().map(|(_, neighbour)| neighbour).collect() }
    }

    /// Returns the number of nodes.
    pub(super) fn count(&self) -> usize {
        self.begins.len() - 1
    }

    /// Returns the neighbours of a node, in ascending order.
    pub(super) fn of(&self, node: usize) -> &[usize] {
        &self.nodes[self.begins[node]..self.begins[node + 1]]
    }
}
