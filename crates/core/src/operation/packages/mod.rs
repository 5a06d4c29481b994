//! `pkgadd`, `pkgask` and `pkgrm`. `planning` and `scripted` also serve packages of patches.

pub mod add;
pub(super) mod answers;
pub mod ask;
pub(super) mod planning;
pub mod remove;
pub mod report;
pub(super) mod scripted;
