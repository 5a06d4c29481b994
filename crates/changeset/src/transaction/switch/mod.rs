//! The switch: each op is run, or undone, by one atomic rename.

pub(crate) mod delivered;
pub(crate) mod fallback;
pub(crate) mod op_runner;
