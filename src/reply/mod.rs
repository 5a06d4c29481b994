//! What a command answers: exit codes, text and JSON.

pub mod exit;
pub mod failure;
pub(crate) mod json;
pub(crate) mod packages;
pub(crate) mod report;
pub(crate) mod text;
pub(crate) mod words;
