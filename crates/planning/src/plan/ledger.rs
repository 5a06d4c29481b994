//! The ledgers that a plan changes.

use super::RecordChange;
use patchadm_svr4::package::ObjectPath;

pub use patchadm_changeset::plan::{
    BroughtLine, LedgerArchive, LedgerChange, LedgerPatch, LedgerRewrite, RewrittenArchive,
};

/// Returns the ledgers that records change.
pub fn paths(records: &[RecordChange]) -> impl Iterator<Item = &ObjectPath> {
    records.iter().filter_map(|record| match record {
        RecordChange::Ledger(change) => Some(&change.path),
        _ => None,
    })
}
