use serde::Serialize;

use super::words::counted;
use patchadm_core::operation::adopt::AdoptedPackage;
use patchadm_svr4::package::ObjectPath;

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
