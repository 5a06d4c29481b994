//! The first step: writes new objects and safety copies beside their targets.

pub(crate) mod domains;
pub(crate) mod layout;
pub(crate) mod layout_stager;
pub(crate) mod object_stager;
pub(crate) mod staged_versions;
