//! The formats that only this program knows.

pub mod handed_down;
pub mod ledger;
pub mod objects_file;
