//! What will be done to a root, decided before anything is touched.
//!
//! A [`Plan`] is a value: `--dry-run` prints it, `transaction` carries exactly it out. The planners beside it
//! (`apply`, `back_out`, `install`, `remove`, `installf`, `removef`) are pure functions from what is delivered or asked
//! for and what the root holds to a plan or a refusal; they open nothing, and read neither clock nor environment.

pub mod apply;
pub mod apply_options;
pub mod back_out;
pub mod backout_input;
pub mod clock;
pub mod combine;
pub mod concern;
mod deletes;
mod depend;
pub mod edits;
pub mod engine;
mod foreign;
mod handing_down;
pub mod install;
pub mod installf;
pub mod installf_queue;
pub mod interrupted;
pub mod later;
pub mod ledger;
mod links;
mod objects;
mod parameters;
pub mod patch_plan;
mod placement;
mod plan_builder;
mod privileges;
pub mod projected_root;
mod records;
pub mod refresh;
pub mod refusal;
pub mod remove;
pub mod removef;
mod reserved;
mod restore;
pub mod rights;
pub mod script_schedule;
pub mod scripted_records;
pub mod scripts;
pub mod settle;
pub mod snapshot;
mod space;
mod target;
#[cfg(test)]
mod tests;
mod undo;
pub mod validate;

pub use patchadm_changeset::plan::*;
