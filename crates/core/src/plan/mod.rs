//! What will be done to a root, decided before anything is touched.
//!
//! A [`Plan`] is a value: `--dry-run` prints it, `transaction` carries exactly it out. The planners beside it
//! (`apply`, `back_out`, `install`, `remove`, `installf`, `removef`) are pure functions from what is delivered or asked
//! for and what the root holds to a plan or a refusal; they open nothing, and read neither clock nor environment.

pub mod ahead;
pub mod apply;
pub mod back_out;
pub mod concern;
pub mod course;
mod deletes;
mod depend;
mod draft;
pub mod edits;
pub mod engine;
mod foreign;
mod handing_down;
pub mod install;
pub mod installf;
pub mod interrupted;
pub mod later;
pub mod ledger;
mod links;
mod objects;
pub mod occasion;
mod parameters;
pub mod parts;
mod placement;
mod privileges;
pub mod queue;
mod records;
pub mod refresh;
pub mod refusal;
pub mod remove;
pub mod removef;
mod reserved;
mod restore;
pub mod rights;
pub mod scripted_records;
pub mod scripts;
pub mod settle;
pub mod snapshot;
mod space;
mod target;
#[cfg(test)]
mod tests;
pub mod together;
mod undo;
pub mod validate;

pub use patchadm_changeset::plan::*;
