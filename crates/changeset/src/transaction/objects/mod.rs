//! Objects on disk: directories held open, identities, attributes, and what can be done with names.

pub(crate) mod attributes;
pub(crate) mod dirs;
pub(crate) mod identity;
pub(crate) mod rename_support;
