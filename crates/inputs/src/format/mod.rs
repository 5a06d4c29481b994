//! The formats that only this program knows.

pub mod ledger;
pub mod objects_file;
pub mod overtaken;
pub mod plan_differences;
pub mod plan_file;
pub mod undo_export;
