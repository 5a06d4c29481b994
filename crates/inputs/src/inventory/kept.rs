//! Packages of kept libraries, which do not exist for a plan (patchadm-shlibs(7)).
//!
//! Every change is planned as if nothing were kept. Afterwards it is decided which kept libraries stay, go and come
//! back.

use std::collections::{BTreeMap, BTreeSet};

use super::{Installed, Inventory};
use crate::native::NativeOwners;
use patchadm_rootfs::Live;
use patchadm_svr4::package::{ContentsLine, ObjectPath, Params, PkgInst};

/// The parameter that marks a package of kept libraries: the package that they are from.
pub const KEPT_FROM: &str = "KEPT_FROM";

/// Tells whether these are the parameters of a package of kept libraries.
pub fn is_kept_package(params: &Params) -> bool {
    params.get(KEPT_FROM).is_some()
}

/// The kept libraries of a root.
#[derive(Clone, Debug, Default)]
pub struct KeptLibraries {
    /// The packages, with the files of their directories in the database.
    pub packages: BTreeMap<PkgInst, Installed>,
    /// The lines of `contents` that they own, alone or with other packages.
    pub lines: BTreeMap<ObjectPath, ContentsLine>,
    /// The objects at the paths of these lines; absent where nothing is.
    pub live: BTreeMap<ObjectPath, Live>,
    /// The packages of dpkg and rpm that own these paths now.
    pub native_owners: NativeOwners,
}

impl KeptLibraries {
    /// Tells whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty()
    }

    /// Returns the package that keeps the object at a path; `None` for directories on the way to one.
    pub fn keeper(&self, path: &ObjectPath) -> Option<&PkgInst> {
        let line = self.lines.get(path).filter(|line| !line.object.ftype.is_directory())?;
        line.owners.iter().map(|owner| &owner.package).find(|package| self.packages.contains_key(*package))
    }

    /// Returns the paths of the kept objects, without directories.
    pub fn paths(&self) -> impl Iterator<Item = &ObjectPath> {
        self.lines.iter().filter(|(_, line)| !line.object.ftype.is_directory()).map(|(path, _)| path)
    }

    /// Returns a line without the owners that keep it; `None` if it has no other owner.
    pub fn without_keepers(&self, line: &ContentsLine) -> Option<ContentsLine> {
        let names = self.packages.keys().collect();
        without(line.clone(), &names)
    }
}

impl Inventory {
    /// Returns every installed package, those of kept libraries too: what another survey needs.
    pub fn all_packages(mut self) -> BTreeMap<PkgInst, Installed> {
        self.packages.append(&mut self.hidden);
        self.packages
    }

    /// Hides the packages of kept libraries, their lines and their objects. Directories stay where they are, without their
    /// owners.
    pub fn hide_kept(&mut self) {
        self.hide_kept_but(|_| false);
    }

    /// Does the same, but leaves the objects at paths that are another's, to whom they do not belong by their lines.
    pub fn hide_kept_but(&mut self, is_others: impl Fn(&ObjectPath) -> bool) {
        let kept: Vec<PkgInst> = self
            .packages
            .iter()
            .filter(|(_, installed)| is_kept_package(&installed.params))
            .map(|(package, _)| package.clone())
            .collect();
        if kept.is_empty() {
            return;
        }
        for package in &kept {
            self.hidden.extend(self.packages.remove_entry(package));
        }
        let names: BTreeSet<&PkgInst> = kept.iter().collect();
        let is_kept = |line: &ContentsLine| line.owners.iter().any(|owner| names.contains(&owner.package));
        let concerned: Vec<ObjectPath> =
            self.lines.iter().filter(|(_, line)| is_kept(line)).map(|(path, _)| path.clone()).collect();
        for path in concerned {
            let Some(line) = self.lines.remove(&path) else { continue };
            let is_directory = line.object.ftype.is_directory();
            match without(line, &names) {
                Some(line) => drop(self.lines.insert(path, line)),
                None if !is_directory && !is_others(&path) => drop(self.live.remove(&path)),
                None => {}
            }
        }
    }
}

fn without(mut line: ContentsLine, names: &BTreeSet<&PkgInst>) -> Option<ContentsLine> {
    line.owners.retain(|owner| !names.contains(&owner.package));
    (!line.owners.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str) -> ObjectPath {
        ObjectPath::new(path.as_bytes()).unwrap()
    }

    fn line(text: &str) -> ContentsLine {
        ContentsLine::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn nothing_of_a_kept_package_is_seen_by_a_plan() {
        let package = |name: &str| PkgInst::new(name).unwrap();
        let kept = Installed { params: Params::from_iter([(KEPT_FROM, "X")]), ..Installed::default() };
        let lines = [
            "/opt/lib d none 0755 root root X X-SO",
            "/opt/lib/a.so.1 f none 0644 root root 1 2 3 X-SO",
            "/opt/old d none 0755 root root X-SO",
        ];
        let mut inventory = Inventory {
            packages: [(package("X"), Installed::default()), (package("X-SO"), kept)].into(),
            lines: lines.map(|text| (line(text).path.clone(), line(text))).into(),
            ..Inventory::default()
        };
        inventory.hide_kept();
        assert_eq!(inventory.packages.keys().map(PkgInst::as_str).collect::<Vec<_>>(), ["X"]);
        assert_eq!(inventory.lines.keys().collect::<Vec<_>>(), [&at("/opt/lib")]);
        assert_eq!(inventory.lines[&at("/opt/lib")], line("/opt/lib d none 0755 root root X"));
    }
}
