//! Changes before a patch: refreshed registrations, and native packages adopted for it.

use serde::Serialize;

use super::refreshed::RefreshedEntries;
use super::words::counted;
use patchadm_core::operation::adopt::AdoptedPackage;
use patchadm_core::operation::patches::overtaken::RegistrationRefreshReport;
use patchadm_core::operation::patches::prepared::PreparationReport;
use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;

/// Refreshed registrations, and native packages adopted for the patches.
#[derive(Debug, Default, Serialize)]
pub struct PreparationEntries {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh: Option<RefreshedEntries>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    adopted: Vec<AdoptedEntry>,
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
            adopted: adopted.into_iter().map(AdoptedEntry::of).collect(),
        }
    }

    /// For people.
    pub fn sentences(&self, is_planned: bool) -> Vec<String> {
        let refreshed = self.refresh.iter().flat_map(|refresh| refresh.sentences(is_planned));
        let adopted = self.adopted.iter().flat_map(|adopted| adopted.sentences(is_planned));
        refreshed.chain(adopted).collect()
    }
}

#[derive(Debug, Serialize)]
pub struct AdoptedEntry {
    package: String,
    manager: &'static str,
    name: String,
    #[serde(skip)]
    origin: String,
    pub objects: usize,
    pub differing: Vec<String>,
    pub missing: Vec<String>,
}

impl AdoptedEntry {
    pub fn of(one: AdoptedPackage) -> Self {
        let shown = |paths: &[ObjectPath]| paths.iter().map(ToString::to_string).collect();
        Self {
            package: one.package.to_string(),
            manager: one.origin.manager.name(),
            origin: one.origin.to_string(),
            objects: one.objects,
            differing: shown(&one.differing),
            missing: shown(&one.missing),
            name: one.origin.name,
        }
    }

    /// For people; files that differ from the native records come first.
    pub fn sentences(&self, is_planned: bool) -> Vec<String> {
        let is = if is_planned { "would be" } else { "is" };
        let objects = counted(self.objects, "object");
        let differing =
            self.differing.iter().map(|path| format!("{path} differs from what {} recorded", self.manager));
        let adopted = format!("Package {} {is} adopted from {}: {objects}.", self.package, self.origin);
        differing.chain([adopted]).collect()
    }
}
