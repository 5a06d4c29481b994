//! The switch: each op carried out, or undone, by one atomic rename.

pub(crate) mod fallback;
pub(crate) mod op_runner;
