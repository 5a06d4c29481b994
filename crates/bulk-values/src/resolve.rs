//! Records as a graph, and what cannot be built, with the reason.
//!
//! [`resolve`] finds for each entry of `ALL_DEPENDS` the package that it means. Nothing that is wrong with a package ends
//! it: such a package is `prefailed`, what needs it `indirect-prefailed`, and the rest goes on. Packages are told by their
//! index in [`Records`](crate::records::Records). Nothing is recursive, and no step takes more than the graph is large,
//! except the depths ([`Graph::depths`]).
//!
//! A PKGNAME belongs to the location that had it in the set before ([`NameHolders`]): another location that claims it gets it
//! when that one is gone. A higher version of another location is preferred, as in pbulk: in pkgsrc several locations make
//! packages of one name.

mod graph;
mod resolution;
mod selection;

pub use graph::{Blockers, Graph, MOST_BLOCKERS, blockers, waits_for};
pub use resolution::{NameHolders, PackageState, PrefailReason, Resolution, resolve};
pub use selection::{NeededLocations, UnknownName, needed_locations, select};
