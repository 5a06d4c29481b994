//! Decides all changes to a root before the first of them. A [`Plan`] is a value: `--dry-run` prints it, and
//! `patchadm_changeset` performs it. The planners in [`patch`], [`package`] and [`registration`] are pure; their common
//! parts are beside them.

pub mod clock;
pub mod concern;
pub mod edits;
pub mod given;
pub mod kept_libraries;
mod links;
mod local_attributes;
pub mod package {
    //! Installing, adopting, removing and forgetting a package.

    pub mod adopt;
    pub mod depend;
    pub mod install;
    pub mod package_records;
    pub mod remove;
}
pub mod parameters;
pub mod patch {
    //! Applying a patch, and backing one out.

    pub mod apply;
    pub mod back_out;
    pub mod backout_input;
    pub mod backout_proof;
    pub mod backout_records;
    pub mod beyond_scripts;
    mod chains;
    pub mod combine;
    pub mod engine;
    pub mod interrupted;
    pub mod later;
    pub mod overtaken;
    pub mod patch_plan;
    pub mod projected_root;
    pub mod registration_refresh;
    mod restore;
    pub mod rewrite;
    pub mod snapshot;
    pub mod taking_over;
    pub(super) mod undo;
    pub mod validate;
}
mod placing;
mod plan_builder;
mod privileges;
pub mod promotion;
mod records;
pub mod refresh;
pub mod refusal;
pub mod registration;
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
