//! The patches that each of many hosts has and lacks, and findings that need attention. A host lacks a patch by the
//! rules of [`analyze`](crate::analyze), against the index of a depot or the newest patches of any host.
//!
//! ```text
//! list --json of each host ──► InventoryReader ──► HostInventory ──┐
//!                                                                  ├──► Fleet ──► FleetReport ──► HostComparison
//! index of a depot, if one is named ──► CrossReference ────────────┘                   │
//! the earlier report ──► PastReport ───────────────────────────────────────────────────┴────────► FleetChanges
//! ```

mod comparison;
mod cyclonedx;
mod inventory;
mod known_fixes;
mod openvex;
mod reader;
mod report;

pub use comparison::{
    BaseDifference, FleetChanges, HostComparison, PackageDifference, PastFinding, PastHost, PastReport,
    PastReportError, PatchOnHosts, compare_hosts,
};
pub use cyclonedx::MaterialsDocument;
pub use inventory::{
    HostInventory, InventoryPackage, InventoryPatch, InventoryTrial, NativeName, OvertakenFix,
    PackageUndoState, PatchFacts, PatchStanding, SignatureVerdict, StaleRegistration,
};
pub use known_fixes::DocumentMaker;
pub use openvex::VexDocument;
pub use reader::{InventoryError, InventoryReader, ReadInventories};
pub use report::{
    Finding, FindingKind, Fleet, FleetHost, FleetPatch, FleetReport, HostGroup, HostStanding, NamedInventory,
    ReplacedInventory, groups,
};
