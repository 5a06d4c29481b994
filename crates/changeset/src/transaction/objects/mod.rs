//! Objects on disk: directories held open, identities, attributes, and operations on names.

pub(crate) mod attributes;
pub(crate) mod copies;
pub(crate) mod identity;
pub(crate) mod names;
