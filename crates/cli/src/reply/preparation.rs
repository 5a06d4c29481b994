//! What came before the patches of a command, as answers tell of it.

use serde::Serialize;

use super::adopted::AdoptedEntry;
use super::refreshed::RefreshedEntries;
use patchadm_core::operation::patches::overtaken::RefreshReport;
use patchadm_core::operation::patches::prepared::PreparationReport;
use patchadm_rootfs::Root;

/// Registrations that were refreshed, and native packages that were adopted.
#[derive(Debug, Default, Serialize)]
pub struct PreparationEntries {
    /// The registrations that were refreshed first; only where there were any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh: Option<RefreshedEntries>,
    /// The native packages that were adopted for the patches; only where there were any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    adopted: Vec<AdoptedEntry>,
    /// Whether the root differs for it.
    #[serde(skip)]
    pub has_changed: bool,
}

impl PreparationEntries {
    /// Takes a report apart; its notes go to the others.
    pub fn of(root: &Root, report: PreparationReport, notes: &mut Vec<String>) -> Self {
        let PreparationReport { refreshed, adopted, notes: own } = report;
        notes.extend(own);
        notes.extend(refreshed.iter().flat_map(RefreshReport::remarks));
        Self {
            has_changed: refreshed.as_ref().is_some_and(|refreshed| refreshed.receipt.is_some()),
            refresh: refreshed.map(|refreshed| RefreshedEntries::of(root, refreshed)),
            adopted: adopted.into_iter().map(AdoptedEntry::of).collect(),
        }
    }

    /// Returns what a person is told, line by line.
    pub fn sentences(&self, is_planned: bool) -> Vec<String> {
        let refreshed = self.refresh.iter().flat_map(|refresh| refresh.sentences(is_planned));
        let adopted = self.adopted.iter().flat_map(|adopted| adopted.sentences(is_planned));
        refreshed.chain(adopted).collect()
    }
}
