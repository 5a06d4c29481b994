//! One package: what it needs is installed, it is built, packed, checked and kept.
//!
//! A task is a process of its own, wherever it runs; [`serve_task`] is that process.

mod build_sandbox;
mod building;
mod checking;
pub(crate) mod entering;
pub(crate) mod failed;
mod guarded;
mod inputs;
pub(crate) mod installed_mark;
pub(crate) mod installing;
mod keeping;
mod made_pkginfo;
pub mod order;
mod over_limit;
mod packing;
mod packing_process;
pub(crate) mod place;
mod probing;
pub(crate) mod sandbox_run;
mod serving;
pub(crate) mod step;
mod teller;
mod watch;

pub use entering::{EnterSandboxError, EnteringCommand};
pub use made_pkginfo::PackageIdentity;
pub use packing_process::{PACKING, pack_in_enclosure};
pub use probing::{PROBE_PROCESS, serve_probe};
pub(crate) use probing::{VERSION, must_be_accessible, with_layer_kind};
pub use serving::serve_task;
