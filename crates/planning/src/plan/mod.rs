//! Decides all changes to a root before the first of them. A [`Plan`] is a value: `--dry-run` prints it, and
//! `patchadm_changeset` performs it. The planners in [`patch`], [`package`] and [`registration`] are pure; their common
//! parts are beside them.

pub mod clock;
pub mod concern;
pub mod edits;
pub mod given;
pub mod kept_libraries;
mod known_links;
mod links;
mod local_attributes;
mod objects;
pub mod package;
pub mod parameters;
pub mod patch;
mod plan_builder;
mod privileges;
pub mod promotion;
mod records;
pub mod refresh;
pub mod refusal;
pub mod registration;
mod reserved;
pub mod rights;
pub mod script_schedule;
pub mod scripted_records;
pub mod scripts;
pub mod space;
pub mod states;
mod target;
#[cfg(test)]
mod tests;

pub use patchadm_changeset::plan::*;
