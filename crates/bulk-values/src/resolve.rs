//! Dependency resolution of records, and reasons why packages cannot be built.
//!
//! A fault never ends it: a package with a fault is `prefailed`, and its dependents are `indirect-prefailed`. Nothing
//! is recursive, and all but [`Graph::depths`] takes linear time.
//!
//! A PKGNAME belongs to its location in the previous set ([`NameHolders`]) until that is gone. A higher version of
//! another location is preferred, as in pbulk, because several locations of pkgsrc make packages of one name.

mod graph;
mod resolution;
mod selection;

pub use graph::{Blockers, Graph, MOST_BLOCKERS, blockers, waits_for};
pub use resolution::{DependencyResolution, NameHolders, PrefailReason, ResolvedState, resolve};
pub use selection::{NeededLocations, UnknownName, needed_locations, select};
