//! Names, and the needs between them.

use std::collections::{HashMap, HashSet};

use super::closure::reached;
use super::neighbours::Neighbours;
use super::sequence::sequence;

/// Where an edge comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EdgeKind {
    /// A `depend` file.
    Depend,
    /// The needs that a program or library states to its loader.
    Elf,
    /// A requirement of a patch.
    Patch,
}

impl EdgeKind {
    /// Returns the word for it: `depend`, `elf` or `patch`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Depend => "depend",
            Self::Elf => "elf",
            Self::Patch => "patch",
        }
    }
}

/// A need: `from` needs `to`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NeedEdge {
    /// The dependent.
    pub from: String,
    /// The dependency.
    pub to: String,
    /// Where the edge comes from.
    pub kind: EdgeKind,
    /// The file that states the need, if it is a file of its own.
    pub object: Option<String>,
    /// The text of the need: a line of `depend`, the name of a library, a requirement.
    pub need: String,
}

/// Which way is gone from what is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OrderDirection {
    /// To what needs it.
    #[default]
    Dependents,
    /// To what it needs.
    Dependencies,
}

impl OrderDirection {
    /// Returns the word for it: `dependents` or `dependencies`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Dependents => "dependents",
            Self::Dependencies => "dependencies",
        }
    }
}

/// The request.
#[derive(Clone, Debug, Default)]
pub struct OrderRequest<'a> {
    /// Where to begin: these names are part of the answer. Names that the graph does not have are passed over.
    pub operands: &'a [String],
    /// Which way is gone from them.
    pub direction: OrderDirection,
    /// Whether each comes before what it needs.
    pub is_reversed: bool,
    /// Whether the edges are wanted, too.
    pub with_edges: bool,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DependencyOrder {
    /// The groups in their order. The names of a group need each other, and are sorted by their bytes.
    pub groups: Vec<Vec<String>>,
    /// The edges between the names of the answer, sorted; none unless they are wanted.
    pub edges: Vec<NeedEdge>,
}

/// Names, and which of them needs which.
#[derive(Clone, Debug)]
pub struct DependencyGraph {
    /// The names, sorted by their bytes, without repetition.
    names: Vec<String>,
    /// The edges between different names, sorted, without repetition.
    edges: Vec<NeedEdge>,
    /// For each edge the places of its names.
    ends: Vec<(usize, usize)>,
    needs: Neighbours,
    needed_by: Neighbours,
}

impl DependencyGraph {
    /// Makes a graph of names and edges in any order. The ends of an edge need not be among the names; what needs itself
    /// says nothing.
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

    /// Answers a request.
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
