//! Sandboxes: a clean environment for one command, and its supervision.

mod capabilities;
mod kernel_objects;
mod layers;
mod usage;
mod watch;

pub use capabilities::BuildUser;
pub use kernel_objects::ObjectOverrun;
pub use layers::{
    BuildRoot, HostAccounts, HostBase, LayerKind, SandboxCommand, enclosure, lay_out_host_base,
};
pub(crate) use layers::{
    INSTALLER, enclosure_of_work, environment, installer, installer_path, make_temporary_directories,
    network_files,
};
pub(crate) use usage::space_of;
pub use watch::{
    PHASE_LINE, SandboxEnd, SandboxError, SandboxLimits, SandboxWatch, StopCause, TaskLog, UsageMeasure,
    no_input, run_watched,
};
pub(crate) use watch::{TaskGrowth, phase_of};
