//! Builds one package. A task is a separate process on any machine, with [`serve_task`] as its main function.

mod build_sandbox;
mod building;
pub(crate) mod entering;
pub(crate) mod failed;
mod guarded;
pub(crate) mod installing;
pub mod order;
mod packing;
pub(crate) mod place;
mod probing;
mod progress;
pub(crate) mod sandbox_run;

pub use building::serve_task;
pub use entering::{EnterSandboxError, EnteringCommand};
pub use packing::{PACKING, PackedIdentity, pack_in_enclosure};
pub use probing::{PROBE_PROCESS, serve_probe};
pub(crate) use probing::{VERSION, must_be_accessible, with_layer_kind};
