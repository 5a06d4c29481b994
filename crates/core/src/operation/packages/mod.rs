//! `pkgadd`, `pkgrm` and `pkgask`: packages one after another, each a run of its own.
//!
//! [`add`] and [`remove`] are the sequences, `scripted` carries out what they have planned where scripts take part, and
//! [`observer`] is who watches and is asked.

pub mod add;
pub(super) mod answers;
mod belongings;
pub mod installation;
pub mod left_objects;
pub mod observer;
pub mod remove;
pub mod report;
pub(super) mod safety_copies;
pub(super) mod scripted;
