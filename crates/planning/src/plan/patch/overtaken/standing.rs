//! What the paths of patches have become after the native package manager changed their package, and whether a patch stands.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use patchadm_changeset::format::manifest::{Manifest, ObjectRecord, RecordedState, StateDifferences};
use patchadm_inputs::inventory::Inventory;
use patchadm_rootfs::{FileType, Live, Timestamp};
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchId;

use crate::plan::patch::restore::is_edited;

/// What the native records say of a path that they list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NativeSeen {
    /// Whether they have a sum of it.
    pub has_sum: bool,
    /// Whether a file with that sum is there.
    pub is_live: bool,
}

/// What the native records list of a changed package.
#[derive(Clone, Debug, Default)]
pub struct NativeListed {
    /// Its paths.
    pub paths: BTreeMap<ObjectPath, NativeSeen>,
    /// Whether they are the records with which the package was registered: it was installed again, or the root copied.
    pub is_same: bool,
    /// Whether the package was removed.
    pub is_removed: bool,
}

/// A patch of a package, in the order of application.
#[derive(Clone, Debug)]
pub struct PatchOfPackage<'a> {
    /// The patch.
    pub id: &'a PatchId,
    /// The package.
    pub package: &'a PkgInst,
    /// What it did; `None` where no undo data says so.
    pub manifest: Option<&'a Manifest>,
    /// When its run had ended; `None` if that is not known.
    pub run_end: Option<Timestamp>,
}

/// What a path of patches has become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathStanding {
    /// It is the native manager's: the patches hand it over.
    Native,
    /// It is as the last of the patches left it, and not as the native manager has it: what it wrote is elsewhere, or was
    /// left out, or it does not remove what was there.
    Held,
    /// It is as the last of the patches left it, and neither the native manager nor anybody else had it before them.
    Added,
    /// Nothing is there.
    Gone,
    /// It is neither what the patches nor what the native manager put there.
    Edited,
}

/// What has become of all patches of the changed packages.
#[derive(Clone, Debug, Default)]
pub struct Standings {
    /// The paths of each changed package.
    pub paths: BTreeMap<PkgInst, BTreeMap<String, PathStanding>>,
    /// The patches that stand.
    pub standing: BTreeSet<PatchId>,
    /// Sentences for a person.
    pub notes: Vec<String>,
}

impl Standings {
    /// Finds out what has become of patches. `native` is what the native records list, by changed package; `patches` are
    /// those of these packages, and of every other package that one of them is applied to.
    pub fn of(
        patches: &[PatchOfPackage<'_>],
        native: &BTreeMap<PkgInst, NativeListed>,
        inventory: &Inventory,
    ) -> Self {
        let mut standings = Self::default();
        for (package, listed) in native {
            let of: Vec<&PatchOfPackage<'_>> = patches.iter().filter(|one| one.package == package).collect();
            let paths = PackagePaths { patches: &of, listed, inventory };
            standings.paths.insert(package.clone(), paths.standings(&mut standings.notes));
        }
        for patch in patches {
            if standings.holds(patch, native) {
                standings.standing.insert(patch.id.clone());
            }
        }
        standings
    }

    /// Returns what has become of a path of a changed package.
    pub fn path(&self, package: &PkgInst, path: &str) -> Option<PathStanding> {
        self.paths.get(package)?.get(path).copied()
    }

    /// Whether a patch holds something in a package that is not its own addition. In a package that was removed none does.
    fn holds(&self, patch: &PatchOfPackage<'_>, native: &BTreeMap<PkgInst, NativeListed>) -> bool {
        if native.get(patch.package).is_some_and(|listed| listed.is_removed) {
            return false;
        }
        let mut records = patch.manifest.into_iter().flat_map(|manifest| &manifest.objects);
        match self.paths.get(patch.package) {
            // Also where nothing was before the patch, and the native manager has come to list the path since.
            Some(paths) => records
                .any(|record| record.has_path() && paths.get(&record.path) == Some(&PathStanding::Held)),
            // Nobody but the patches changed this package.
            None => records.any(|record| replaces(record) && !record.is_untouched()),
        }
    }
}

/// Whether a patch has a path at which something other than a directory was before it.
fn replaces(record: &ObjectRecord) -> bool {
    record.has_path() && record.was.as_ref().is_some_and(|was| was.kind != FileType::Directory)
}

/// The patches of one package, and what the native records list of it.
struct PackagePaths<'a> {
    patches: &'a [&'a PatchOfPackage<'a>],
    listed: &'a NativeListed,
    inventory: &'a Inventory,
}

/// What the patches did to a path: the first record of it, and the last with the end of its run.
struct PutPath<'a> {
    first: &'a ObjectRecord,
    last: &'a ObjectRecord,
    run_end: Option<Timestamp>,
}

impl PackagePaths<'_> {
    fn standings(&self, notes: &mut Vec<String>) -> BTreeMap<String, PathStanding> {
        let mut put: BTreeMap<&str, PutPath<'_>> = BTreeMap::new();
        for patch in self.patches {
            for record in patch.manifest.into_iter().flat_map(|manifest| &manifest.objects) {
                let run_end = patch.run_end;
                let known = put.entry(record.path.as_str());
                let known = known.or_insert(PutPath { first: record, last: record, run_end });
                if record.has_path() {
                    (known.last, known.run_end) = (record, run_end);
                }
            }
        }
        let mut standings = BTreeMap::new();
        for (path, put) in put {
            let Some(place) = put.last.object_path() else { continue };
            let standing = self.standing(&place, &put, notes);
            standings.insert(path.to_owned(), standing);
        }
        self.keep_names_together(&mut standings);
        standings
    }

    fn standing(&self, path: &ObjectPath, put: &PutPath<'_>, notes: &mut Vec<String>) -> PathStanding {
        let live = self.inventory.live.get(path);
        let is_put = match (&put.last.became, live) {
            (None, None) => true,
            (Some(state), Some(live)) => !is_edited(live, state),
            _ => false,
        };
        let Some(native) = self.listed.paths.get(path) else {
            return match live {
                None => PathStanding::Gone,
                // The native manager has its own elsewhere (a diversion), or leaves it (a configuration file).
                Some(_) if is_put && replaces(put.first) => PathStanding::Held,
                Some(_) if is_put => PathStanding::Added,
                Some(_) => PathStanding::Edited,
            };
        };
        let Some(live) = live else {
            // What the native manager lists and a patch deleted would be there if it had been installed since.
            return if is_put { PathStanding::Held } else { PathStanding::Gone };
        };
        if live.is_directory() {
            return PathStanding::Native;
        }
        if !is_put {
            return if native.is_live { PathStanding::Native } else { PathStanding::Edited };
        }
        // The same version would have brought back what the patches found, and they left something else.
        let is_younger =
            if self.listed.is_same { Some(false) } else { put.run_end.map(|end| live.ctime > end) };
        match (native.has_sum, native.is_live) {
            (true, false) => PathStanding::Held,
            (true, true) if !has_other_attributes(put, live) => PathStanding::Native,
            _ if is_younger == Some(true) => PathStanding::Native,
            _ => {
                if is_younger.is_none() {
                    let shown = self.inventory.show(path);
                    notes.push(format!("nothing proves whose {shown} is; it counts as the patch's"));
                }
                PathStanding::Held
            }
        }
    }

    /// The names of one file have one standing: where one of them is no longer the patches', none is.
    fn keep_names_together(&self, standings: &mut BTreeMap<String, PathStanding>) {
        for patch in self.patches {
            let mut groups: HashMap<(bool, u32), Vec<&str>> = HashMap::new();
            for record in patch.manifest.into_iter().flat_map(|manifest| &manifest.objects) {
                let states = [(false, &record.was), (true, &record.became)];
                for (is_after, state) in states {
                    if let Some(group) = state.as_ref().and_then(|state| state.group) {
                        groups.entry((is_after, group)).or_default().push(&record.path);
                    }
                }
            }
            for names in groups.into_values() {
                let is_held = |name: &&str| {
                    matches!(standings.get(*name), Some(PathStanding::Held | PathStanding::Added))
                };
                if names.iter().all(is_held) {
                    continue;
                }
                for name in names {
                    if let Some(standing) = standings.get_mut(name).filter(|one| **one == PathStanding::Held)
                    {
                        *standing = PathStanding::Native;
                    }
                }
            }
        }
    }
}

/// Whether an object has attributes that the patches gave it.
fn has_other_attributes(put: &PutPath<'_>, live: &Live) -> bool {
    let (Some(was), Some(became)) = (&put.first.was, &put.last.became) else { return false };
    let has_other = |one: &RecordedState, other: &RecordedState| {
        let differ = StateDifferences::between(one, other);
        differ.mode != 0 || differ.owner || differ.xattrs
    };
    has_other(was, became) && !has_other(became, &RecordedState::of(live))
}
