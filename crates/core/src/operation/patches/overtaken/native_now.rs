//! A changed package as its own package manager has it now.

use std::collections::{BTreeMap, BTreeSet};

use crate::operation::adopt::differing::has_sum;
use crate::operation::failure::Failure;
use patchadm_inputs::inventory::{Installed, Inventory};
use patchadm_inputs::native::{NativeChange, NativePackage, NativeRegistration};
use patchadm_planning::plan::package::adopt::AdoptableSoftware;
use patchadm_planning::plan::patch::overtaken::{NativeListed, NativeSeen};
use patchadm_rootfs::{Live, Root};
use patchadm_svr4::package::{ContentsLine, Ftype, ObjectPath, Params, PkgInst};

/// A package whose registration is stale.
pub(super) struct ChangedPackage {
    pub(super) package: PkgInst,
    pub(super) change: NativeChange,
    /// What its manager has recorded; `None` if it was removed.
    pub(super) native: Option<NativePackage>,
    /// What the registration said.
    pub(super) registered: NativeRegistration,
    /// The paths of its registration, each with its type.
    pub(super) lines: BTreeMap<ObjectPath, Ftype>,
}

impl ChangedPackage {
    /// Reads the native records.
    pub(super) fn read(
        root: &Root,
        (package, installed): (&PkgInst, &Installed),
        change: &NativeChange,
        lines: &BTreeMap<ObjectPath, ContentsLine>,
    ) -> Result<Self, Failure> {
        let native = match change {
            NativeChange::Removed { .. } => None,
            change => {
                let registration = NativeRegistration::of(&installed.params);
                let version = change.versions().1.unwrap_or(&registration.version);
                Some(change.origin().package(root, version, installed.params.text("ARCH").trim())?)
            }
        };
        Ok(Self {
            package: package.clone(),
            change: change.clone(),
            native,
            registered: NativeRegistration::of(&installed.params),
            lines: lines.iter().map(|(path, line)| (path.clone(), line.object.ftype)).collect(),
        })
    }

    /// The paths that it has, and had.
    pub(super) fn paths(&self) -> impl Iterator<Item = &ObjectPath> {
        self.native.iter().flat_map(|native| native.paths.keys()).chain(self.lines.keys())
    }

    /// What the native records list; of the given paths whether the live file is the native one.
    pub(super) fn listed(&self, root: &Root, asked: &BTreeSet<ObjectPath>) -> Result<NativeListed, Failure> {
        let resolver = root.resolver();
        let mut listed = NativeListed {
            origin: Some(self.change.origin().clone()),
            version: self.native.as_ref().map(|native| native.version.clone()),
            paths: BTreeMap::new(),
        };
        for (path, native) in self.native.iter().flat_map(|native| &native.paths) {
            let is_asked = asked.contains(path) || asked.contains(&resolver.locate_object(path)?);
            let is_live = match native.sum.filter(|_| is_asked) {
                Some(sum) => has_sum(root, &resolver, path, sum)?,
                None => false,
            };
            let is_config = native.ftype == Ftype::Editable;
            listed.paths.insert(path.clone(), NativeSeen { is_live, is_config });
        }
        Ok(listed)
    }

    /// Whether the records are those with which it was registered.
    pub(super) fn is_same(&self) -> bool {
        let now = self.native.as_ref().map(NativePackage::registration);
        now.is_some_and(|now| now.version == self.registered.version && now.digest == self.registered.digest)
    }

    /// Whether another version of it has a path, and so wrote what is there.
    pub(super) fn wrote(&self, path: &ObjectPath) -> bool {
        !self.is_same() && self.native.as_ref().is_some_and(|native| native.paths.contains_key(path))
    }

    /// The listed paths at which something other than the native object is, or nothing. Those in `held` are the matter of
    /// patches.
    pub(super) fn differing(
        &self,
        root: &Root,
        inventory: &Inventory,
        held: &BTreeSet<ObjectPath>,
    ) -> Result<Vec<ObjectPath>, Failure> {
        let resolver = root.resolver();
        let mut differing = Vec::new();
        for (path, native) in self.native.iter().flat_map(|native| &native.paths) {
            let is_native = match native.sum {
                _ if held.contains(path) => true,
                _ if !inventory.live.contains_key(path) => false,
                Some(sum) => has_sum(root, &resolver, path, sum)?,
                None => true,
            };
            if !is_native {
                differing.push(path.clone());
            }
        }
        Ok(differing)
    }

    /// The listed directories that are there although nothing is that is listed in them: their manager left them out.
    pub(super) fn left_out(&self, inventory: &Inventory) -> BTreeSet<ObjectPath> {
        let (mut filled, mut lacking) = (BTreeSet::new(), BTreeSet::new());
        let listed = || self.native.iter().flat_map(|native| native.paths.keys());
        for path in listed() {
            let above = std::iter::successors(path.parent(), ObjectPath::parent);
            match inventory.live.get(path) {
                None => lacking.extend(above),
                Some(live) if !live.is_directory() => filled.extend(above),
                Some(_) => {}
            }
        }
        let is_left_out = |path: &&ObjectPath| {
            let is_directory = inventory.live.get(*path).is_some_and(Live::is_directory);
            is_directory && lacking.contains(*path) && !filled.contains(*path)
        };
        listed().filter(is_left_out).cloned().collect()
    }

    /// It as software to be registered; `None` if it was removed.
    pub(super) fn software(&self) -> Option<AdoptableSoftware> {
        let native = self.native.as_ref()?;
        let mut params = Params::new();
        params.set("PKG", self.package.abbreviation());
        params.set("VERSION", native.version.as_str());
        // Also for the copy from which a lost pkginfo is made anew.
        self.change.origin().write(&mut params);
        native.registration().write(&mut params);
        params.set("ARCH", native.arch.as_str());
        if let Some(title) = &native.title {
            params.set("NAME", title.as_str());
        }
        let ftype = |path: &ObjectPath, listed: Ftype| match self.lines.get(path) {
            // As the operator wanted it when the package was adopted.
            Some(own @ (Ftype::Editable | Ftype::Volatile)) => *own,
            _ => listed,
        };
        let paths = native.paths.iter().map(|(path, one)| (path.clone(), ftype(path, one.ftype))).collect();
        let environment = Params::new();
        Some(AdoptableSoftware {
            package: self.package.clone(),
            params,
            environment,
            paths,
            must_be_there: false,
        })
    }
}
