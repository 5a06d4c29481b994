//! A clean place for one command: what is visible there, and how the command is watched.

mod host_base;
mod layers;
mod log;
mod processes;
mod usage;
mod watch;

pub use host_base::{HostAccounts, HostBase, lay_out_host_base};
pub use layers::{BuildRoot, BuildUser, LayerKind, SandboxCommand, enclosure};
pub(crate) use layers::{
    OWN_PROGRAM, enclosure_of_work, environment, make_temporary_directories, network_files, own_program,
};
pub(crate) use log::phase_of;
pub use log::{PHASE_LINE, TaskLog};
pub(crate) use usage::space_of;
pub(crate) use watch::lost;
pub use watch::{
    SandboxEnd, SandboxError, SandboxLimits, SandboxWatch, StopCause, UsageMeasure, no_input, run_watched,
};
