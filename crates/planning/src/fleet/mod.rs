//! Many hosts: who has which patches, who lacks which, and what needs attention.
//!
//! ```text
//! list --json of each host ──► InventoryReader ──► Inventory ──┐
//!                                                              ├──► Fleet ──► FleetReport ──► HostComparison
//! index of a depot, where one is named ► CrossReference ───────┘                   │
//! the report before ──► PastReport ────────────────────────────────────────────────┴────────► FleetChanges
//! ```
//! Everything here is pure: no file is opened, no clock is read. A host lacks a patch by the rules of
//! [`analyze`](crate::analyze), against the index of a depot, or against the newest that any host has.

mod changes;
mod cyclonedx;
mod document;
mod document_maker;
mod findings;
mod groups;
mod host_comparison;
mod hosts;
mod inventory;
mod known_fixes;
mod newest;
mod openvex;
mod past;
mod reader;
mod report;

pub use changes::{FleetChanges, PatchOnHosts};
pub use cyclonedx::MaterialsDocument;
pub use document_maker::DocumentMaker;
pub use findings::{Finding, FindingKind};
pub use groups::{HostGroup, groups};
pub use host_comparison::{BaseDifference, HostComparison, PackageDifference, compare_hosts};
pub use hosts::{Fleet, FleetHost, NamedInventory, ReplacedInventory};
pub use inventory::{
    Inventory, InventoryPackage, InventoryPatch, InventoryTrial, NativeName, OvertakenFix, PackageUndoState,
    PatchFacts, PatchStanding, SignatureVerdict, StaleRegistration,
};
pub use openvex::VexDocument;
pub use past::{PastFinding, PastHost, PastReport, PastReportError};
pub use reader::{InventoryError, InventoryReader, ReadInventories};
pub use report::{FleetPatch, FleetReport, HostStanding};
