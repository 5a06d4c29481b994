//! Strongly connected components, by Tarjan's algorithm with a stack of its own.

use super::neighbours::Neighbours;

/// The component of each node. What a component needs has a lower number than the component.
#[derive(Debug)]
pub(super) struct Components {
    /// The number of the component of each node.
    pub(super) of_node: Vec<usize>,
    /// The number of components.
    pub(super) count: usize,
}

/// A node that is being visited, and the place of its next neighbour.
struct Visit {
    node: usize,
    next: usize,
}

/// The known facts while the nodes are visited.
struct Visitor<'n> {
    needs: &'n Neighbours,
    /// When each node was met first, counted from 1; 0 of those that were not met.
    met: Vec<usize>,
    /// The earliest node in the open component that each node leads to.
    lowest: Vec<usize>,
    /// The nodes whose component is not known yet.
    open: Vec<usize>,
    clock: usize,
    found: Components,
}

/// The mark of a node whose component is not known yet.
const NONE: usize = usize::MAX;

/// Finds the components of a graph.
pub(super) fn components(needs: &Neighbours) -> Components {
    let count = needs.count();
    let mut visitor = Visitor {
        needs,
        met: vec![0; count],
        lowest: vec![0; count],
        open: Vec::new(),
        clock: 0,
        found: Components { of_node: vec![NONE; count], count: 0 },
    };
    for node in 0..count {
        if visitor.met[node] == 0 {
            visitor.visit_from(node);
        }
    }
    visitor.found
}

impl Visitor<'_> {
    fn visit_from(&mut self, start: usize) {
        let mut way = vec![self.enter(start)];
        while let Some(Visit { node, next }) = way.last_mut() {
            let (node, place) = (*node, *next);
            *next += 1;
            match self.needs.of(node).get(place).copied() {
                Some(other) if self.met[other] == 0 => way.push(self.enter(other)),
                Some(other) if self.found.of_node[other] == NONE => {
                    self.lowest[node] = self.lowest[node].min(self.met[other]);
                }
                Some(_) => {}
                None => {
                    way.pop();
                    self.leave(node, way.last().map(|above| above.node));
                }
            }
        }
    }

    fn enter(&mut self, node: usize) -> Visit {
        self.clock += 1;
        self.met[node] = self.clock;
        self.lowest[node] = self.clock;
        self.open.push(node);
        Visit { node, next: 0 }
    }

    /// Ends a component, or tells the node above how far this one leads.
    fn leave(&mut self, node: usize, above: Option<usize>) {
        if self.lowest[node] == self.met[node] {
            while let Some(member) = self.open.pop() {
                self.found.of_node[member] = self.found.count;
                if member == node {
                    break;
                }
            }
            self.found.count += 1;
        }
        if let Some(above) = above {
            self.lowest[above] = self.lowest[above].min(self.lowest[node]);
        }
    }
}
