//! Formats of this program.

pub mod ledger;
pub mod objects_file;
pub mod overtaken;
pub mod plan_differences;
pub mod plan_file;
pub mod undo_export;
