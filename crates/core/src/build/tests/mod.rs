//! Patches made in memory, written in every form and read again.

pub(crate) mod made_up;
