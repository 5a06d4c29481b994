//! The switch: runs or undoes each op by one atomic rename.

pub(crate) mod delivered;
pub(crate) mod fallback;
pub(crate) mod op_runner;
