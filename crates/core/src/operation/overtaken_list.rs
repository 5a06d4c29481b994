//! Patches that ended when the package manager changed their package: does the installed version contain the fix? The
//! list's state does not decide; the installed version does. Unknown or unfinished packages contain nothing.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use super::failure::Failure;
use patchadm_inputs::database::{RecordView, marker};
use patchadm_inputs::format::overtaken::{OvertakenPatch, OvertakenPatches, OvertakenState};
use patchadm_inputs::native::{
    FixedIn, NativeChange, NativeIndex, NativeManager, NativeOrigin, NativeReader, NativeRegistration,
    native_changes,
};
use patchadm_rootfs::Root;
use patchadm_svr4::package::{Params, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, PatchId};
use patchadm_svr4::places;

/// In bytes.
const LARGEST: u64 = 16 << 20;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EndedPatches {
    pub(super) contained: Vec<ContainedPatch>,
    /// The package exists, but its version is not known to have the fix.
    pub(super) lost: Vec<PatchId>,
}

/// A patch that is not applied, but whose fix a native package has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ContainedPatch {
    pub(super) id: PatchId,
    /// For example `openssl 3.0.22-1 (dpkg)`.
    pub(super) by: String,
}

pub(super) fn overtaken_patches(root: &Root, marker: &str) -> Result<OvertakenPatches, Failure> {
    let text = list_text(root)?;
    Ok(OvertakenPatches::parse(&text.unwrap_or_default(), marker))
}

pub(super) fn list_text(root: &Root) -> Result<Option<Vec<u8>>, Failure> {
    RecordView::live(root).read(&places::lost(), LARGEST).map_err(Failure::from)
}

/// None if the list cannot be read.
pub(super) fn ended_in_root<'p>(
    root: &Root,
    packages: impl Iterator<Item = (&'p PkgInst, &'p Params)> + Clone,
    separator: &str,
) -> EndedPatches {
    let list = list_of(root, list_text(root).unwrap_or_default());
    let (native, index) = (NativeReader::of(root), OnceCell::new());
    EndedPatches::of(&native, &list, packages.clone(), separator, || {
        let params: Vec<_> = packages.collect();
        let index = || index.get_or_init(|| NativeIndex::read(&native));
        native_changes(&native, params.iter().copied(), index).changes
    })
}

pub(super) fn list_of(root: &Root, text: Option<Vec<u8>>) -> OvertakenPatches {
    let marker = || marker(root).ok().flatten();
    let read = text.and_then(|text| Some(OvertakenPatches::parse(&text, &marker()?)));
    read.unwrap_or_default()
}

impl EndedPatches {
    /// Also considers packages that are not adopted. Calls `changes` only if a patch ended.
    pub(super) fn of<'p>(
        native: &NativeReader,
        list: &OvertakenPatches,
        packages: impl Iterator<Item = (&'p PkgInst, &'p Params)>,
        separator: &str,
        changes: impl FnOnce() -> BTreeMap<PkgInst, NativeChange>,
    ) -> Self {
        let claims = list.patches.iter().filter_map(|one| FixClaim::of(one, separator));
        let claims: Vec<FixClaim<'_>> = claims.collect();
        let mut ended = Self::default();
        if claims.is_empty() {
            return ended;
        }
        let mut versions = certain_versions(packages, &changes());
        for manager in NativeManager::ALL {
            let names = claims.iter().filter(|one| one.manager == manager).map(|one| one.name);
            let unadopted: BTreeSet<&str> =
                names.filter(|name| !versions.contains_key(&(manager, (*name).to_owned()))).collect();
            let found = native.installed_versions_of(manager, &unadopted).into_iter();
            versions.extend(
                found.map(|(name, versions)| ((manager, name), versions.into_iter().map(Some).collect())),
            );
        }
        for claim in claims {
            let there = versions.get(&(claim.manager, claim.name.to_owned())).map(Vec::as_slice);
            let there = there.unwrap_or_default();
            match claim.proof(there) {
                Some(by) => ended.contained.push(ContainedPatch { id: claim.id, by }),
                None if there.is_empty() => {}
                None => ended.lost.push(claim.id),
            }
        }
        ended
    }

    pub(super) fn beside(self, applied: AppliedPatches) -> AppliedPatches {
        applied.with_ended(self.contained.into_iter().map(|one| one.id), self.lost)
    }
}

struct FixClaim<'a> {
    id: PatchId,
    manager: NativeManager,
    name: &'a str,
    fixed: Option<FixedIn>,
}

impl<'a> FixClaim<'a> {
    fn of(ended: &'a OvertakenPatch, separator: &str) -> Option<Self> {
        if ended.state == OvertakenState::AcceptedBeforehand {
            return None;
        }
        Some(Self {
            id: PatchId::parse(&ended.patch, separator).ok()?,
            manager: NativeManager::named(&ended.manager)?,
            name: &ended.package,
            fixed: ended.fixed_in.as_deref().and_then(|text| text.parse().ok()),
        })
    }

    /// Requires the fix in each registration.
    fn proof(&self, there: &[Option<String>]) -> Option<String> {
        let Self { manager, name, fixed, .. } = self;
        let fixed = fixed.as_ref()?;
        let has_fix = |version: &Option<String>| {
            version.as_ref().is_some_and(|version| fixed.has(*manager, name, version))
        };
        let version = there.first()?.as_ref().filter(|_| there.iter().all(has_fix))?;
        Some(format!("{name} {version} ({manager})"))
    }
}

/// By manager and name, one for each registration; `None` if uncertain.
type CertainVersions = BTreeMap<(NativeManager, String), Vec<Option<String>>>;

fn certain_versions<'p>(
    packages: impl Iterator<Item = (&'p PkgInst, &'p Params)>,
    changes: &BTreeMap<PkgInst, NativeChange>,
) -> CertainVersions {
    let mut versions = CertainVersions::new();
    for (package, params) in packages {
        let Some(NativeOrigin { manager, name, .. }) = NativeOrigin::of(params) else { continue };
        let version = match changes.get(package) {
            None => Some(NativeRegistration::of(params).version),
            Some(change) => change.versions().1.map(str::to_owned),
        };
        versions.entry((manager, name)).or_default().push(version);
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_inputs::native::UnfinishedChange;

    fn ended(patch: &str, state: OvertakenState, fixed_in: Option<&str>) -> OvertakenPatch {
        OvertakenPatch {
            root: "aa".to_owned(),
            patch: patch.to_owned(),
            state,
            manager: "dpkg".to_owned(),
            package: "web".to_owned(),
            version: "9".to_owned(),
            fixed_in: fixed_in.map(str::to_owned),
            fixes: Vec::new(),
            paths: Vec::new(),
            time: String::new(),
        }
    }

    fn origin() -> NativeOrigin {
        NativeOrigin::parse("dpkg web:amd64").unwrap()
    }

    fn found(list: &[OvertakenPatch], registered: &[(&str, Option<NativeChange>)]) -> String {
        let packages = registered.iter().enumerate().map(|(at, (version, change))| {
            let params: Params =
                [("PATCHADM_ADOPTED", "dpkg web:amd64"), ("NATIVE_VERSION", *version)].into_iter().collect();
            (PkgInst::new(&format!("DEBweb.{}", at + 2)).unwrap(), params, change.clone())
        });
        let packages: Vec<_> = packages.collect();
        let changes = packages.iter().filter_map(|(name, _, change)| Some((name.clone(), change.clone()?)));
        let list = OvertakenPatches { patches: list.to_vec(), passed_over: Vec::new() };
        let params = packages.iter().map(|(name, params, _)| (name, params));
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let ended = EndedPatches::of(&NativeReader::of(&root), &list, params, "-", || changes.collect());
        let EndedPatches { contained, lost } = ended;
        let contained = contained.into_iter().map(|one| format!("{} in {}", one.id, one.by));
        contained.chain(lost.into_iter().map(|id| format!("{id} lost"))).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn the_version_that_is_there_decides_and_not_the_word_of_the_list() {
        let fixed = Some("dpkg web >= 1.0-2");
        for state in [OvertakenState::Contained, OvertakenState::Lost, OvertakenState::Accepted] {
            let list = [ended("100-01", state, fixed)];
            assert_eq!(found(&list, &[("1.0-2", None)]), "100-01 in web 1.0-2 (dpkg)", "{state:?}");
            assert_eq!(found(&list, &[("1.0-1", None)]), "100-01 lost", "{state:?}");
            assert_eq!(found(&list, &[]), "", "{state:?}: nothing of that name is there");
            assert_eq!(found(&list, &[("1.0-2", None), ("1.0-1", None)]), "100-01 lost", "{state:?}: of two");
        }
        let silent = [ended("100-01", OvertakenState::Contained, None)];
        assert_eq!(found(&silent, &[("1.0-2", None)]), "100-01 lost");
        let applied = [ended("100-01", OvertakenState::AcceptedBeforehand, fixed)];
        assert_eq!(found(&applied, &[("1.0-2", None)]), "");
        let nonsense = [ended("100", OvertakenState::Contained, fixed)];
        assert_eq!(found(&nonsense, &[("1.0-2", None)]), "");
    }

    #[test]
    fn what_the_manager_did_since_counts_and_what_it_has_not_finished_has_no_fix() {
        let list = [ended("100-01", OvertakenState::Contained, Some("dpkg web >= 1.0-2"))];
        let upgraded = |to: &str| {
            let from = "1.0-2".to_owned();
            Some(NativeChange::Upgraded { origin: origin(), from, to: to.to_owned() })
        };
        assert_eq!(found(&list, &[("1.0-2", upgraded("1.0-3"))]), "100-01 in web 1.0-3 (dpkg)");
        assert_eq!(found(&list, &[("1.0-2", upgraded("1.0-1"))]), "100-01 lost");
        let from = "1.0-2".to_owned();
        for change in [
            NativeChange::Removed { origin: origin(), from },
            NativeChange::Busy { origin: origin(), unfinished: UnfinishedChange::Configure },
            NativeChange::Unknown { origin: origin(), reason: String::new() },
        ] {
            assert_eq!(found(&list, &[("1.0-2", Some(change))]), "100-01 lost");
        }
    }
}
