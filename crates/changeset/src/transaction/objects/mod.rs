pub(crate) mod attributes;
pub(crate) mod copies;
pub(crate) mod identity;
pub(crate) mod names;
