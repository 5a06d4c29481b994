//! Objects on the disk: opened, told apart, given attributes and names.

pub(crate) mod attributes;
pub(crate) mod dirs;
pub(crate) mod identity;
pub(crate) mod rename_support;
