//! Tells recovery which native package owns, wrote or had a path. Records are read on demand: few recoveries need them.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::slice;

use chrono::DateTime;

use super::adopt::has_sum;
use super::queries::recorded_path::recorded_lines;
use patchadm_changeset::transaction::PackageManagers;
use patchadm_inputs::database::RecordView;
use patchadm_inputs::database::all::params_of;
use patchadm_inputs::native::{
    NativeChange, NativeIndex, NativeOrigin, NativeOwner, NativePackage, native_changes,
};
use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;

pub(super) struct SystemManagers<'a> {
    root: &'a Root,
    index: OnceCell<NativeIndex>,
    packages: RefCell<BTreeMap<NativeOrigin, Option<NativePackage>>>,
}

impl<'a> SystemManagers<'a> {
    pub(super) fn of(root: &'a Root) -> Self {
        Self { root, index: OnceCell::new(), packages: RefCell::default() }
    }

    fn index(&self) -> &NativeIndex {
        self.index.get_or_init(|| NativeIndex::read(self.root))
    }

    fn owners(&self, path: &ObjectPath) -> Vec<NativeOwner> {
        let owners = self.index().owners(path, &self.root.resolver()).unwrap_or_default();
        owners.into_iter().cloned().collect()
    }

    /// True if the package delivers the path and was installed after `since`, in seconds.
    fn has_written(&self, owner: &NativeOwner, path: &ObjectPath, since: i64) -> bool {
        let mut packages = self.packages.borrow_mut();
        let package = packages.entry(owner.origin.clone()).or_insert_with(|| {
            let origin = &owner.origin;
            origin.manager.package(self.root, &origin.queried()).ok()
        });
        let resolver = self.root.resolver();
        let is_it = |listed: &ObjectPath| {
            listed == path
                || listed.name() == path.name()
                    && resolver.locate_object(listed).is_ok_and(|place| place == *path)
        };
        package.as_ref().filter(|package| package.installed_at().is_some_and(|at| at > since)).is_some_and(
            |package| {
                let delivered = package.paths.iter().find(|(listed, _)| is_it(listed));
                delivered.is_some_and(|(listed, native)| {
                    native
                        .sum
                        .is_none_or(|sum| has_sum(self.root, &resolver, listed, sum).unwrap_or_default())
                })
            },
        )
    }
}

impl PackageManagers for SystemManagers<'_> {
    fn owner(&self, path: &ObjectPath) -> Option<String> {
        self.owners(path).first().map(ToString::to_string)
    }

    fn writer(&self, path: &ObjectPath, since: &str) -> Option<String> {
        let since = DateTime::parse_from_rfc3339(since).ok()?.timestamp();
        let owners = self.owners(path);
        owners.iter().find(|owner| self.has_written(owner, path, since)).map(ToString::to_string)
    }

    /// Only a removed package is a former owner: another version of an installed one does not tell whose the path was.
    fn former_owner(&self, path: &ObjectPath) -> Option<String> {
        let view = RecordView::live(self.root);
        let lines = recorded_lines(&view, slice::from_ref(path)).ok()?;
        let (_, line) = lines.iter().flatten().next()?;
        let mut removed = None;
        for owner in &line.owners {
            let params = params_of(&view, &owner.package).ok()??;
            let changes = native_changes(self.root, [(&owner.package, &params)].into_iter(), || self.index());
            match changes.changes.into_values().next() {
                Some(NativeChange::Removed { origin, .. }) => removed = Some(origin.name),
                _ => return None,
            }
        }
        removed
    }
}
