//! Changes before a patch: refreshed registrations, and native packages adopted for it.

use serde::Serialize;

use super::refreshed::RefreshedEntries;
use super::words::counted;
use patchadm_core::operation::adopt::AdoptedPackage;
use patchadm_core::operation::patches::overtaken::RegistrationRefreshReport;
use patchadm_core::operation::patches::prepared::PreparationReport;
use patchadm_rootfs::Root;

/// Refreshed registrations, and native packages adopted for the patches.
#[derive(Debug, Default, Serialize)]
pub struct PreparationEntries {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh: Option<RefreshedEntries>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    adopted: Vec<AdoptedPackage>,
    #[serde(skip)]
    pub has_changed: bool,
}

impl PreparationEntries {
    /// Moves the notes of the report to `notes`.
    pub fn of(root: &Root, report: PreparationReport, notes: &mut Vec<String>) -> Self {
        let PreparationReport { refreshed, adopted, notes: own } = report;
        notes.extend(own);
        notes.extend(refreshed.iter().flat_map(RegistrationRefreshReport::remarks));
        Self {
            has_changed: refreshed.as_ref().is_some_and(|refreshed| refreshed.receipt.is_some()),
            refresh: refreshed.map(|refreshed| RefreshedEntries::of(root, refreshed)),
            adopted,
        }
    }

    /// For people.
    pub fn sentences(&self, is_planned: bool) -> Vec<String> {
        let refreshed = self.refresh.iter().flat_map(|refresh| refresh.sentences(is_planned));
        let adopted = self.adopted.iter().flat_map(|adopted| adoption_sentences(adopted, is_planned));
        refreshed.chain(adopted).collect()
    }
}

/// For people; files that differ from the native records come first.
fn adoption_sentences(one: &AdoptedPackage, is_planned: bool) -> Vec<String> {
    let AdoptedPackage { package, origin, objects, differing, .. } = one;
    let manager = origin.manager.name();
    let differing = differing.iter().map(|path| format!("{path} differs from what {manager} recorded"));
    let done = if is_planned {
        format!("Package {package} would be adopted")
    } else {
        format!("Adopted package {package}")
    };
    differing.chain([format!("{done} from {origin}: {}.", counted(objects, "object"))]).collect()
}
