//! The files of a report about many hosts: inventories, and the report before.
//!
//! Files are read on all processors, each one at a time and up to a limit. What cannot be read is told with the others, and
//! spoils none of them.

mod files;
mod inventories;
mod past_report;

pub use files::{InventorySource, LARGEST_INVENTORY, UnreadInventory};
pub use inventories::{FleetFiles, read_inventories};
pub use past_report::{PastFileError, read_past_report};
