//! The first step: new objects and safety copies are written beside their targets, while nothing live changes.

pub(crate) mod domains;
pub(crate) mod layout;
pub(crate) mod layout_stager;
pub(crate) mod object_stager;
pub(crate) mod staged_versions;
