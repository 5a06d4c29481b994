//! Tells recovery which native package owns, wrote or had a path. Records are read on demand: few recoveries need them.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::slice;

use chrono::DateTime;

use super::queries::recorded_path::recorded_lines;
use crate::operation::failure::Failure;
use patchadm_changeset::transaction::PackageManagers;
use patchadm_inputs::database::RecordView;
use patchadm_inputs::database::all::params_of;
use patchadm_inputs::native::{
    FileSum, NativeChange, NativeIndex, NativeListings, NativeOwner, NativeReader, RegisteredPackage,
    native_changes,
};
use patchadm_rootfs::{FileType, Interrupt, InterruptibleRead, Resolver, Root, never, side_by_side};
use patchadm_svr4::package::{ObjectPath, PkgInst};

pub(super) struct SystemManagers<'a> {
    root: &'a Root,
    native: NativeReader,
    index: OnceCell<NativeIndex>,
    /// Native names of packages that their manager removed.
    removed: RefCell<BTreeMap<PkgInst, Option<String>>>,
}

impl<'a> SystemManagers<'a> {
    pub(super) fn of(root: &'a Root) -> Self {
        Self { root, native: NativeReader::of(root), index: OnceCell::new(), removed: RefCell::default() }
    }

    fn index(&self) -> &NativeIndex {
        self.index.get_or_init(|| NativeIndex::read(&self.native))
    }

    /// In the order of their owners.
    fn listings(&self, path: &ObjectPath) -> NativeListings<'_> {
        let mut listings = self.index().listings(path, &self.root.resolver()).unwrap_or_default();
        listings.sort_unstable();
        listings
    }

    /// True if the package delivers the path, listed like this, and was installed after `since`, in seconds.
    fn has_written(&self, owner: &NativeOwner, listed: &[u8], since: i64) -> bool {
        let NativeOwner { origin, version } = owner;
        let registered =
            RegisteredPackage { origin, version, arch: origin.arch.as_deref().unwrap_or_default() };
        let package = self.native.registered(&[registered]).pop().and_then(Result::ok);
        let package = package.filter(|package| package.installed_at().is_some_and(|at| at > since));
        let (Some(package), Ok(listed)) = (package, ObjectPath::new(listed)) else { return false };
        let has = |sum| has_sum(self.root, &self.root.resolver(), &listed, sum, &never).unwrap_or_default();
        package.paths.get(&listed).is_some_and(|native| native.sum.is_none_or(has))
    }

    fn removed_name(&self, view: &RecordView<'_>, package: &PkgInst) -> Option<String> {
        let find = || {
            let params = params_of(view, package).ok()??;
            let changes = native_changes(&self.native, [(package, &params)].into_iter(), || self.index());
            match changes.changes.into_values().next() {
                Some(NativeChange::Removed { origin, .. }) => Some(origin.name),
                _ => None,
            }
        };
        self.removed.borrow_mut().entry(package.clone()).or_insert_with(find).clone()
    }
}

impl PackageManagers for SystemManagers<'_> {
    fn owner(&self, path: &ObjectPath) -> Option<String> {
        self.listings(path).first().map(|(owner, _)| owner.to_string())
    }

    fn writer(&self, path: &ObjectPath, since: &str) -> Option<String> {
        let since = DateTime::parse_from_rfc3339(since).ok()?.timestamp();
        let listings = self.listings(path);
        let written = listings.iter().find(|(owner, listed)| self.has_written(owner, listed, since));
        written.map(|(owner, _)| owner.to_string())
    }

    /// Only a removed package is a former owner: another version of an installed one does not tell whose the path was.
    fn former_owner(&self, path: &ObjectPath, is_ended: &dyn Fn(&PkgInst) -> bool) -> Option<String> {
        let view = RecordView::live(self.root);
        let lines = recorded_lines(&view, slice::from_ref(path)).ok()?;
        let (_, line) = lines.iter().flatten().next()?;
        let mut removed = None;
        for owner in &line.owners {
            if is_ended(&owner.package) {
                return None;
            }
            removed = Some(self.removed_name(&view, &owner.package)?);
        }
        removed
    }
}

/// Finds objects that are not a file with the recorded sum.
pub(in crate::operation) fn differing(
    root: &Root,
    sums: &BTreeMap<ObjectPath, FileSum>,
    objects: &[ObjectPath],
    interrupt: Interrupt<'_>,
) -> Result<Vec<ObjectPath>, Failure> {
    let looked_at = side_by_side(root.workers(), objects.len(), || {
        let resolver = root.resolver();
        move |at: usize| {
            let path = objects.get(at)?;
            let expected = sums.get(path)?;
            let has = has_sum(root, &resolver, path, *expected, interrupt);
            Some(has.map(|has| (!has).then(|| path.clone())))
        }
    });
    let differing: Result<Vec<Option<ObjectPath>>, Failure> = looked_at.into_iter().flatten().collect();
    Ok(differing?.into_iter().flatten().collect())
}

pub(in crate::operation) fn has_sum(
    root: &Root,
    resolver: &Resolver<'_>,
    path: &ObjectPath,
    expected: FileSum,
    interrupt: Interrupt<'_>,
) -> Result<bool, Failure> {
    Failure::unless_interrupted(interrupt)?;
    let physical = resolver.locate(path)?;
    let Some(parent) = physical.parent() else { return Ok(false) };
    let Some(dir) = root.dir_if_there(&parent)? else { return Ok(false) };
    let is_file = dir.look(physical.name())?.is_some_and(|seen| seen.file_type == FileType::Regular);
    if !is_file {
        return Ok(false);
    }
    let mut file = InterruptibleRead::new(dir.open_regular(physical.name())?, interrupt);
    let has = expected.is_of(&mut file);
    Failure::unless_interrupted(interrupt)?;
    Ok(has.map_err(|error| dir.read_error(physical.name(), &error))?)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_signal_ends_the_comparison_of_a_file_that_would_take_hours() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::File::create(dir.path().join("sparse")).unwrap().set_len(1 << 40).unwrap();
        let path = ObjectPath::new(b"/sparse").unwrap();
        let sum = FileSum::parse(b"d41d8cd98f00b204e9800998ecf8427e").unwrap();
        let calls = AtomicUsize::new(0);
        let interrupt = || (calls.fetch_add(1, Ordering::Relaxed) > 100).then_some(15);
        let sums = BTreeMap::from([(path.clone(), sum)]);
        let found = differing(&Root::open(dir.path()).unwrap(), &sums, &[path], &interrupt);
        assert_eq!(found.unwrap_err().signal(), Some(15));
    }
}
