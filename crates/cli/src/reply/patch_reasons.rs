//! Requirements of a patch and the packages that it is for, with their wording.

use serde::Serialize;

use patchadm_core::operation::queries::reasons::{PackageFit, PatchNeed};

#[derive(Debug, Serialize)]
pub struct NeedEntry {
    requirement: String,
    met_by: Option<String>,
    /// The native package with the fix of `met_by`, if that is not applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    contained_in: Option<String>,
}

/// A package that a delivered patch is for.
#[derive(Debug, Serialize)]
pub struct FitEntry {
    wanted: String,
    instance: Option<String>,
    installed: Vec<String>,
}

impl From<PatchNeed> for NeedEntry {
    fn from(need: PatchNeed) -> Self {
        Self {
            requirement: need.requirement.to_string(),
            met_by: need.met_by.map(|id| id.to_string()),
            contained_in: need.contained_in,
        }
    }
}

impl NeedEntry {
    /// Returns the requirement with its state: `100-01 (applied)`.
    pub fn words(&self) -> String {
        let state = match (&self.contained_in, &self.met_by) {
            (Some(package), _) => format!("contained in {package}"),
            (None, None) => "not applied".to_owned(),
            (None, Some(by)) if *by == self.requirement => "applied".to_owned(),
            (None, Some(by)) => format!("met by {by}"),
        };
        format!("{} ({state})", self.requirement)
    }
}

impl From<PackageFit> for FitEntry {
    fn from(fit: PackageFit) -> Self {
        let instance = fit.instance.map(|package| package.to_string());
        Self { wanted: fit.wanted, instance, installed: fit.others }
    }
}

impl FitEntry {
    /// Returns the package with its state: `ACMEweb (i386) 1.0 (installed as ACMEweb)`.
    pub fn words(&self) -> String {
        let state = match (&self.instance, self.installed.as_slice()) {
            (Some(instance), _) => format!("installed as {instance}"),
            (None, []) => "not installed".to_owned(),
            (None, others) => format!("installed: {}", others.join(", ")),
        };
        format!("{} ({state})", self.wanted)
    }
}
