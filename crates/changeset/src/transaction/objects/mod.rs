//! Objects on disk: directories held open, identities, attributes, and operations on names.

pub(crate) mod attributes;
pub(crate) mod dirs;
pub(crate) mod identity;
pub(crate) mod rename_support;
pub(crate) mod summed_copy;
