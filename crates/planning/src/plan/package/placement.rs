//! The place of a package: its instance, and its parameters after the installation.
//!
//! Decided before the paths of the package can be surveyed, and before its request and checkinstall scripts run; these
//! see the outcome in their environment.

use patchadm_inputs::inventory::Installed;
use patchadm_svr4::format::admin::{BasedirAnswer, InstanceAnswer};
use patchadm_svr4::package::{Params, PkgInst};
use patchadm_svr4::patch::PatchRecords;

use super::install::Installation;
use super::remove::refuse_to_take_away;
use crate::plan::parameters::{self, merged};
use crate::plan::patch::validate::{refuse_other_zones, same_version};
use crate::plan::refusal::Reason;
use crate::plan::target::is_patch;

impl Installation<'_> {
    /// Returns the instance and its parameters, BASEDIR and CLASSES among them.
    pub(super) fn placement(&self) -> Result<(PkgInst, Params), Reason> {
        let package = self.instance()?;
        let old = self.inventory.packages.get(&package);
        self.check_installed(&package, old)?;
        let params = self.params(&package, old)?;
        // Every later command reads these parameters as records.
        PatchRecords::from_params(&package, &params, &self.options.separator).map_err(|error| {
            Reason::BadPkginfo { package: package.to_string(), reason: error.to_string() }
        })?;
        Ok((package, params))
    }

    /// Returns the instance that the package goes into: one of the same version, one that is overwritten, or a new one.
    fn instance(&self) -> Result<PkgInst, Reason> {
        let name = self.delivered.params.text("PKG").trim().to_owned();
        let bad = |reason: String| Reason::BadPkginfo { package: name.clone(), reason };
        let base = PkgInst::new(&name).map_err(|error| bad(error.to_string()))?;
        let installed = self.inventory.packages.iter();
        let instances: Vec<(&PkgInst, &Installed)> =
            installed.filter(|(instance, _)| instance.abbreviation() == base.abbreviation()).collect();
        if self.options.update {
            return self.updated_instance(&base, &instances);
        }
        if instances.is_empty() {
            return Ok(base);
        }
        let same = instances.iter().find(|(_, old)| same_version(&old.params, &self.delivered.params));
        match (self.options.admin.instance, same) {
            (InstanceAnswer::Quit, _) => Err(installed_already(&name)),
            (InstanceAnswer::Ask, None) if instances.len() >= self.most_instances() => {
                Err(self.too_many_instances(&base, instances.len()))
            }
            (InstanceAnswer::Ask, _) if !self.options.conversation => Err(Reason::Interaction {
                found: format!(
                    "package {name} is installed already, and the admin file does not say what is to be done"
                ),
                answer: "instance=overwrite",
            }),
            (_, Some((instance, _))) => Ok((*instance).clone()),
            (InstanceAnswer::Overwrite, None) => match instances.as_slice() {
                [(instance, _)] => Ok((*instance).clone()),
                _ => Err(administration(format!("several instances of {name} are installed"), None)),
            },
            (_, None) => self.new_instance(&base, instances.len()),
        }
    }

    fn new_instance(&self, base: &PkgInst, count: usize) -> Result<PkgInst, Reason> {
        if count >= self.most_instances() {
            return Err(self.too_many_instances(base, count));
        }
        let free = (2..=count + 2)
            .filter_map(|number| PkgInst::new(&format!("{base}.{number}")).ok())
            .find(|instance| !self.inventory.packages.contains_key(instance));
        free.ok_or_else(|| administration(format!("there is no free instance name for {base}"), None))
    }

    /// Returns the most instances that may be there, by MAXINST.
    fn most_instances(&self) -> usize {
        self.delivered.params.text("MAXINST").trim().parse().unwrap_or(1)
    }

    fn too_many_instances(&self, base: &PkgInst, count: usize) -> Reason {
        let most = self.most_instances();
        let reason = format!("{count} instances of {base} are installed, and MAXINST is {most}");
        administration(reason, (count == 1).then_some("instance=overwrite"))
    }

    /// An installed instance must be whole, and unpatched unless this is a patch, too, or another version, with which
    /// patches go: a base package over a patched one would leave records that speak of files that are gone.
    fn check_installed(&self, package: &PkgInst, old: Option<&Installed>) -> Result<(), Reason> {
        let Some(old) = old else { return Ok(()) };
        if old.partial {
            self.check(self.options.admin.partial, "partial=nocheck", || {
                format!("package {package} is only partially installed")
            })?;
        }
        if self.replaces(old) {
            refuse_to_take_away(package, old)?;
            return refuse_other_zones(package, &old.params, &self.delivered.params);
        }
        let patches = old.params.text("PATCHLIST");
        if !patches.trim().is_empty() && !is_patch(&self.delivered.params) {
            let patches: Vec<&str> = patches.split_whitespace().rev().collect();
            return Err(Reason::PatchesApplied { package: package.clone(), patches: patches.join(" ") });
        }
        refuse_other_zones(package, &old.params, &self.delivered.params)
    }

    fn params(&self, package: &PkgInst, old: Option<&Installed>) -> Result<Params, Reason> {
        let none = Params::new();
        let is_update = old.is_some();
        let is_replaced = old.is_some_and(|old| !same_version(&old.params, &self.delivered.params));
        let mut old = old.map_or(&none, |old| &old.params);
        let mut delivered = self.delivered.params.clone();
        let patches: Vec<(&str, &[u8])> =
            old.iter().filter(|(name, _)| parameters::is_patch_record(name)).collect();
        self.answered(old, &mut delivered)?;
        self.settle_basedir(package, old, &mut delivered)?;
        if is_replaced {
            // nothing of another version stays but the place where it is, and what a patch for this one finds applied
            if let Some(there) = old.get("BASEDIR") {
                delivered.set("BASEDIR", there);
            }
            old = &none;
        }
        let mut new = merged(package, old, &delivered, &self.options.environment, self.now);
        if is_replaced && is_patch(&self.delivered.params) {
            for (name, value) in patches {
                new.set(name, value);
            }
        }
        if is_update {
            parameters::note_update(&mut new);
        }
        if old.is_empty() {
            // A package that was patched before it was made carries its records with it. Which fixes there are and which digest
            // a patch had, only a run of this root records: a package could say so of the patches of others.
            for (name, value) in delivered.iter().filter(|(name, _)| parameters::is_patch_record(name)) {
                new.set(name, value);
            }
        }
        let stored = |name: &str| {
            let is_record = parameters::is_patch_record(name) && is_patch(&self.delivered.params);
            parameters::is_stored(name) || is_record
        };
        for (name, value) in self.options.response.iter().filter(|(name, _)| stored(name)) {
            new.set(name, value);
        }
        if old.is_empty() {
            new.remove("INSTDATE"); // it is the last one there, and keeps its place from then on
        }
        new.set("INSTDATE", self.now.instdate());
        Ok(new)
    }

    /// Checks what a response says of the two parameters that decide where the objects go. An installed package stays
    /// where it is.
    fn answered(&self, old: &Params, delivered: &mut Params) -> Result<(), Reason> {
        if let Some(classes) = self.options.response.get("CLASSES") {
            delivered.set("CLASSES", classes);
        }
        let Some(basedir) = self.options.response.get("BASEDIR") else { return Ok(()) };
        match old.get("BASEDIR") {
            Some(there) if there.trim_ascii() != basedir.trim_ascii() => Err(Reason::BasedirAnswered {
                installed: String::from_utf8_lossy(there).into_owned(),
                answered: String::from_utf8_lossy(basedir).into_owned(),
            }),
            _ => {
                delivered.set("BASEDIR", basedir);
                Ok(())
            }
        }
    }

    /// BASEDIR by the admin file; an installed one stays.
    fn settle_basedir(&self, package: &PkgInst, old: &Params, delivered: &mut Params) -> Result<(), Reason> {
        let entries = &self.delivered.pkgmap.entries;
        let relocatable = entries.iter().any(|entry| !entry.is_information() && !entry.path.is_absolute());
        let wanted = match &self.options.admin.basedir {
            BasedirAnswer::Path(path) => {
                let text = String::from_utf8_lossy(path).replace("$PKGINST", package.as_str());
                if !text.starts_with('/') {
                    let reason = format!("basedir={text} of the admin file has a variable without value");
                    return Err(administration(reason, None));
                }
                text
            }
            BasedirAnswer::Ask
                if relocatable && old.get("BASEDIR").is_none() && !self.options.conversation =>
            {
                return Err(Reason::Interaction {
                    found: "the admin file does not say where the package goes".to_owned(),
                    answer: "basedir=default",
                });
            }
            BasedirAnswer::Ask | BasedirAnswer::Default
                if relocatable && self.options.is_batch && self.says_nowhere(old, delivered) =>
            {
                return Err(Reason::Interaction {
                    found: "neither the package nor the admin file says where the package goes".to_owned(),
                    answer: "basedir=/",
                });
            }
            BasedirAnswer::Ask | BasedirAnswer::Default => {
                self.say_where_paths_begin(old, delivered);
                return Ok(());
            }
        };
        match old.get("BASEDIR") {
            Some(there) if there != wanted.as_bytes() => {
                let there = String::from_utf8_lossy(there);
                let found = format!("it is installed in {there}, and the admin file demands {wanted}");
                Err(administration(found, Some("basedir=default")))
            }
            _ => {
                delivered.set("BASEDIR", wanted);
                Ok(())
            }
        }
    }

    /// Gives a package without BASEDIR in a root other than `/` the one that its paths are read with anyway. A patch
    /// does not change that of its packages.
    fn say_where_paths_begin(&self, old: &Params, delivered: &mut Params) {
        let is_said = old.get("BASEDIR").is_some() || delivered.get("BASEDIR").is_some();
        if self.options.is_other_root && !is_said && !is_patch(&self.delivered.params) {
            delivered.set("BASEDIR", "/");
        }
    }

    /// Tells whether a package is new, and has no BASEDIR.
    fn says_nowhere(&self, old: &Params, delivered: &Params) -> bool {
        let basedir = delivered.get("BASEDIR").unwrap_or_default();
        old.is_empty() && basedir.trim_ascii().is_empty() && !is_patch(&self.delivered.params)
    }
}

/// Returns the end of a run by an admin file that wants no package twice.
pub(super) fn installed_already(name: &str) -> Reason {
    administration(format!("package {name} is installed already"), Some("instance=overwrite"))
}

/// Returns the end of a run by the admin file; `answer` is the line of one that would let it pass.
pub(super) fn administration(found: String, answer: Option<&'static str>) -> Reason {
    Reason::Administration { found, answer }
}
