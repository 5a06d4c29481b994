//! Sorts names after the names that they need. Names that need each other are one group, a strongly connected
//! component. The answer does not depend on the order of the input. Nothing is recursive, so any depth of needs works.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EdgeKind {
    Depend,
    /// Needs that a program or library states to its loader.
    Elf,
    Patch,
}

impl EdgeKind {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Depend => "depend",
            Self::Elf => "elf",
            Self::Patch => "patch",
        }
    }
}

/// `from` needs `to`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NeedEdge {
    pub from: String,
    pub to: String,
    pub kind: EdgeKind,
    /// The file that states the need, if it is a separate file.
    pub object: Option<String>,
    /// A line of `depend`, the name of a library, or a requirement.
    pub need: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OrderDirection {
    /// To the names that need them.
    #[default]
    Dependents,
    /// To the names that they need.
    Dependencies,
}

impl OrderDirection {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Dependents => "dependents",
            Self::Dependencies => "dependencies",
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct OrderRequest<'a> {
    /// Part of the answer. Names that the graph lacks are skipped.
    pub operands: &'a [String],
    pub direction: OrderDirection,
    /// Each name comes before its needs.
    pub is_reversed: bool,
    pub with_edges: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DependencyOrder {
    /// In order. The names of a group need each other, and are sorted by their bytes.
    pub groups: Vec<Vec<String>>,
    /// Edges between names of the answer, sorted; empty unless requested.
    pub edges: Vec<NeedEdge>,
}

#[derive(Clone, Debug)]
pub struct DependencyGraph {
    names: Vec<String>,
    edges: Vec<NeedEdge>,
    ends: Vec<(usize, usize)>,
    needs: Neighbours,
    needed_by: Neighbours,
}

impl DependencyGraph {
    /// Takes any order. Edges may end outside the names; an edge from a name to itself is ignored.
    pub fn new(names: impl IntoIterator<Item = String>, mut edges: Vec<NeedEdge>) -> Self {
        edges.retain(|edge| edge.from != edge.to);
        edges.sort_unstable();
        edges.dedup();
        let mut known: HashSet<String> = names.into_iter().collect();
        for end in edges.iter().flat_map(|edge| [&edge.from, &edge.to]) {
            if !known.contains(end) {
                known.insert(end.clone());
            }
        }
        let mut names: Vec<String> = known.into_iter().collect();
        names.sort_unstable();
        let places: HashMap<&str, usize> =
            names.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
        let place = |name: &String| places.get(name.as_str()).copied().unwrap_or_default();
        let ends: Vec<(usize, usize)> =
            edges.iter().map(|edge| (place(&edge.from), place(&edge.to))).collect();
        let turned = ends.iter().map(|(from, to)| (*to, *from)).collect();
        let (needs, needed_by) =
            (Neighbours::new(names.len(), ends.clone()), Neighbours::new(names.len(), turned));
        Self { names, edges, ends, needs, needed_by }
    }

    pub fn order(&self, request: &OrderRequest<'_>) -> DependencyOrder {
        let start = request.operands.iter().filter_map(|name| self.names.binary_search(name).ok());
        let neighbours = match request.direction {
            OrderDirection::Dependents => &self.needed_by,
            OrderDirection::Dependencies => &self.needs,
        };
        let marks = reached(start, neighbours);
        let mut groups = sequence(&self.needs, &marks);
        if request.is_reversed {
            groups.reverse();
        }
        let named = |group: Vec<usize>| group.into_iter().map(|node| self.names[node].clone()).collect();
        let edges = self.edges.iter().zip(&self.ends).filter(|(_, (from, to))| marks[*from] && marks[*to]);
        let edges = edges.filter(|_| request.with_edges).map(|(edge, _)| edge.clone());
        DependencyOrder { edges: edges.collect(), groups: groups.into_iter().map(named).collect() }
    }
}

/// Each group follows the groups that it needs. Of several ready groups, the one with the lowest node comes first.
fn sequence(needs: &Neighbours, marks: &[bool]) -> Vec<Vec<usize>> {
    let components = components(needs);
    let mut groups: Vec<Vec<usize>> = vec![Vec::new(); components.count];
    for (node, group) in components.of_node.iter().enumerate().filter(|(node, _)| marks[*node]) {
        groups[*group].push(node);
    }
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

/// A strongly connected component needs only components with lower numbers.
#[derive(Debug)]
struct Components {
    of_node: Vec<usize>,
    count: usize,
}

struct Visit {
    node: usize,
    next: usize,
}

struct Visitor<'n> {
    needs: &'n Neighbours,
    /// Discovery time from 1; 0 if undiscovered.
    met: Vec<usize>,
    /// The earliest reachable node of the open component.
    lowest: Vec<usize>,
    open: Vec<usize>,
    clock: usize,
    found: Components,
}

const NONE: usize = usize::MAX;

fn components(needs: &Neighbours) -> Components {
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

fn reached(from: impl IntoIterator<Item = usize>, neighbours: &Neighbours) -> Vec<bool> {
    let mut marks = vec![false; neighbours.count()];
    let mut open: Vec<usize> = from.into_iter().collect();
    while let Some(node) = open.pop() {
        if !std::mem::replace(&mut marks[node], true) {
            open.extend(neighbours.of(node).iter().filter(|next| !marks[**next]));
        }
    }
    marks
}

#[derive(Clone, Debug)]
struct Neighbours {
    begins: Vec<usize>,
    nodes: Vec<usize>,
}

impl Neighbours {
    fn new(count: usize, mut pairs: Vec<(usize, usize)>) -> Self {
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

    fn count(&self) -> usize {
        self.begins.len() - 1
    }

    fn of(&self, node: usize) -> &[usize] {
        &self.nodes[self.begins[node]..self.begins[node + 1]]
    }
}

#[cfg(test)]
mod tests;
