//! The order in which things that need each other are renewed: each after those that it needs.
//!
//! Pure: a graph is made of names and of edges from a dependent to its dependency; their origin is not known here.
//! Nodes that need each other, directly or through others, are one group. The same names and edges in any order give
//! the same groups in the same order, and no input is too deep: nothing calls itself.
//!
//! ```text
//! graph       names and edges; what is asked for, and the answer
//! closure     what is reached from some nodes
//! components  the groups: strongly connected components
//! sequence    the groups in their order
//! ```

mod closure;
mod components;
mod graph;
mod neighbours;
mod sequence;

pub use graph::{DependencyGraph, DependencyOrder, EdgeKind, NeedEdge, OrderDirection, OrderRequest};

#[cfg(test)]
mod tests;
