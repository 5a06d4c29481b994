//! The switch: each op is carried out, or undone, by one atomic rename.

pub(crate) mod delivered;
pub(crate) mod fallback;
pub(crate) mod late_copies;
pub(crate) mod op_runner;
pub(crate) mod undo_step;
