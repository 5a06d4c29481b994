//! `pkgadd --update`: a package replaces another version of itself, older or newer.
//!
//! Everything that the new version delivers is installed as usual. Objects that only the old one had go, as they do
//! when a package is removed, and its patches go with it. The remove scripts of the old version do not run. So objects
//! that only it had in a class with a script stay where they are, and no package owns them any more. Edited files that
//! go are kept under another name.

use std::borrow::Cow;

use patchadm_inputs::inventory::Installed;
use patchadm_svr4::format::admin::InstanceAnswer;
use patchadm_svr4::package::PkgInst;

use super::depend::{compatible_versions, needing_installed_version};
use super::given_up::{GivenUpObject, given_up};
use super::install::Installation;
use super::placement::{administration, installed_already};
use super::remove::about_patches;
use crate::plan::patch::validate::{named_version, same_architecture, same_version};
use crate::plan::refusal::Reason;
use crate::plan::target::{PackageTarget, Wanted, is_patch};

/// The scripts that run when a package is removed, beside those of its classes, which begin with `r.`.
const REMOVE_SCRIPTS: [&str; 2] = ["preremove", "postremove"];

impl Installation<'_> {
    /// Tells whether the package replaces an installed instance, from which nothing stays.
    pub(super) fn replaces(&self, old: &Installed) -> bool {
        self.options.update && !same_version(&old.params, &self.delivered.params)
    }

    /// Returns the instance that is updated: the one of the same version, or the only one of the architecture.
    pub(super) fn updated_instance(
        &self,
        name: &PkgInst,
        instances: &[(&PkgInst, &Installed)],
    ) -> Result<PkgInst, Reason> {
        let delivered = &self.delivered.params;
        let refuse = |found: String| Err(administration(found, None));
        if instances.is_empty() {
            return refuse(format!("package {name} is not installed, and only an installed one is updated"));
        }
        if self.options.admin.instance == InstanceAnswer::Quit {
            return Err(installed_already(name.as_str()));
        }
        if let Some((same, _)) = instances.iter().find(|(_, old)| same_version(&old.params, delivered)) {
            return Ok((*same).clone());
        }
        if is_patch(delivered) {
            return refuse(format!("it is a patch, and {} is not installed", named_version(delivered)));
        }
        let fitting: Vec<&PkgInst> = instances
            .iter()
            .filter(|(_, old)| same_architecture(&old.params, delivered))
            .map(|(instance, _)| *instance)
            .collect();
        match fitting.as_slice() {
            [instance] => Ok((*instance).clone()),
            [] => {
                let there: Vec<String> =
                    instances.iter().map(|(_, old)| named_version(&old.params)).collect();
                refuse(format!(
                    "no instance of {name} for {} is installed, but {}",
                    delivered.text("ARCH").trim(),
                    there.join(", ")
                ))
            }
            several => {
                let names: Vec<&str> = several.iter().map(|instance| instance.as_str()).collect();
                refuse(format!("several instances of {name} are installed: {}", names.join(", ")))
            }
        }
    }

    /// The packages that need the version that goes, by the admin file.
    pub(super) fn check_dependents(&self, target: &PackageTarget<'_>) -> Result<(), Reason> {
        if self.old_version(&target.package).is_none() {
            return Ok(());
        }
        let compver = self.delivered.install.get("compver").map(Vec::as_slice).unwrap_or_default();
        let compatible = compatible_versions(compver);
        let new = (&target.params, compatible.as_slice());
        let needing = needing_installed_version(&target.package, new, self.inventory);
        if needing.is_empty() {
            return Ok(());
        }
        self.check(self.options.admin.rdepend, "rdepend=nocheck", || needing.join("; "))
    }

    /// Returns the objects that only the old version has, sorted by path.
    pub(super) fn given_up(
        &self,
        target: &PackageTarget<'_>,
        wanted: &[Wanted<'_>],
    ) -> Vec<GivenUpObject<'_>> {
        let system = &self.options.system;
        let old = self.old_version(&target.package);
        old.map(|old| given_up((&target.package, old), wanted, self.inventory, system)).unwrap_or_default()
    }

    /// Returns the notes for a person on the version that goes.
    pub(super) fn notes_of_update(&self, package: &PkgInst) -> Vec<String> {
        let Some(old) = self.old_version(package) else { return Vec::new() };
        let (before, after) = (old.params.text("VERSION"), self.delivered.params.text("VERSION"));
        let mut notes = vec![format!("package {package}: version {before} is replaced by {after}")];
        notes.extend(about_patches(package, old.params.text("PATCHLIST").trim(), self.inventory));
        let names = old.records.keys().filter_map(|record| record.strip_prefix(b"install/"));
        let names = names.map(String::from_utf8_lossy);
        let runs_at_removal =
            |name: &Cow<'_, str>| REMOVE_SCRIPTS.contains(&&**name) || name.starts_with("r.");
        let scripts: Vec<Cow<'_, str>> = names.filter(runs_at_removal).collect();
        if !scripts.is_empty() {
            notes.push(format!("scripts of version {before} that do not run: {}", scripts.join(" ")));
        }
        notes
    }

    /// Returns the installed version that the package replaces.
    pub(super) fn old_version(&self, package: &PkgInst) -> Option<&Installed> {
        self.inventory.packages.get(package).filter(|old| self.replaces(old))
    }
}
