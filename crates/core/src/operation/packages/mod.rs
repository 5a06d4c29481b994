//! `pkgadd`, `pkgrm` and `pkgask`: packages one after another, each a run of its own.

pub mod add;
pub(in crate::operation) mod answers;
pub mod installation;
pub mod observer;
pub mod remove;
pub mod report;
pub(in crate::operation) mod scripted;
