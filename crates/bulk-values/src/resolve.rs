//! Dependency resolution of records, and reasons why packages cannot be built.
//!
//! [`resolve`] finds the package for each entry of `ALL_DEPENDS`. A fault never ends it: a package with a fault is
//! `prefailed`, its dependents are `indirect-prefailed`, and the rest continues. Packages are identified by their index
//! in [`Records`](crate::records::Records). Nothing is recursive, and every step takes linear time in the size of the
//! graph, except the depths ([`Graph::depths`]).
//!
//! A PKGNAME belongs to the location that had it in the previous set ([`NameHolders`]): another location gets it when
//! that one is gone. A higher version of another location is preferred, as in pbulk, because in pkgsrc several
//! locations make packages of one name.

mod graph;
mod resolution;
mod selection;

pub use graph::{Blockers, Graph, MOST_BLOCKERS, blockers, waits_for};
pub use resolution::{NameHolders, PrefailReason, Resolution, ResolvedState, resolve};
pub use selection::{NeededLocations, UnknownName, needed_locations, select};
