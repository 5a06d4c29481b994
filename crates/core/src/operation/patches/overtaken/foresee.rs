//! Effects of a coming upgrade on patches of adopted packages.
//!
//! ```text
//!   changes of adopted packages ─────────────────────────► end, stand
//!   packages that replace or provide a patched one ─┬────► successor of a removed one
//!                                                   └────► paths taken over from one that stays
//!   contained patches, other versions ───────────────────► lost again
//! ```

use chrono::NaiveDateTime;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use super::ended::{EndingPatches, lose_contained};
use super::facts::{OfPackage, SavedPatches};
use crate::operation::failure::Failure;
use crate::operation::overtaken_list::overtaken_patches;
use crate::operation::patches::back_out::BackOutRequest;
use crate::operation::patches::back_out::input::BackOutInput;
use crate::operation::session::RootAndPolicy;
use patchadm_changeset::format::manifest::{ObjectRecord, RecordedState, encode};
use patchadm_inputs::database::marker;
use patchadm_inputs::format::overtaken::{LostPath, OvertakenPatch};
use patchadm_inputs::inventory::Installed;
use patchadm_inputs::native::dpkg::deb_file::{self, DebRelation};
use patchadm_inputs::native::{
    NativeChange, NativeManager, NativeOrigin, NativeOwner, NativeReader, NativeRegistration, UpcomingChange,
};
use patchadm_inputs::policy::NativeUpgrade;
use patchadm_inputs::program_run::ending_signal;
use patchadm_planning::plan::clock::Now;
use patchadm_rootfs::{FileType, Resolver, Root, side_by_side};
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchId;

#[derive(Debug, Default)]
pub struct ForeseenUpgrade {
    /// Would end or lose a part; sorted by id.
    pub ending: Vec<OvertakenPatch>,
    /// Stand, but have objects in other packages.
    pub standing: Vec<PatchId>,
    /// For lost fixes.
    pub policy: NativeUpgrade,
}

/// Of the new version, only its number counts: all of its objects count as overwritten. Files of other packages are
/// read only if an adopted package has patches.
pub fn foresee_upgrade(
    root: &Root,
    upcoming: &[UpcomingChange],
    time: &str,
) -> Result<ForeseenUpgrade, Failure> {
    let ground = RootAndPolicy::of(root)?;
    let packages = ground.packages()?;
    let origins = packages.values().filter_map(|installed| NativeOrigin::of(&installed.params)).collect();
    let changes: BTreeMap<PkgInst, NativeChange> = packages
        .iter()
        .filter_map(|(package, installed)| Some((package.clone(), change(installed, &origins, upcoming)?)))
        .collect();
    let mut foreseen = ForeseenUpgrade { policy: ground.policy.native_upgrade, ..ForeseenUpgrade::default() };
    let comers = Comers::of(root, &packages, upcoming);
    if changes.is_empty() && comers.all.is_empty() {
        return Ok(foreseen);
    }
    let applied = ground.recorded(&packages)?;
    let marker = marker(root)?.unwrap_or_default();
    let mut known = overtaken_patches(root, &marker)?;
    let is_changed = |package: &PkgInst| changes.contains_key(package);
    let patched = comers.patched(&ground, &marker, &packages, &changes)?;
    let native = ground.native();
    let ends = EndingPatches {
        marker: &marker,
        time,
        packages: &packages,
        changes: &changes,
        known: &known,
        facts: None,
        successor: &|id, package, origin| {
            comers.successor((root, &native), patched.get(&(package.clone(), id.clone())), origin, upcoming)
        },
    };
    for patch in applied.iter().filter(|patch| applied.superseded(&patch.id).is_none()) {
        if patch.packages.iter().any(is_changed) {
            if patch.packages.iter().all(is_changed) {
                foreseen.ending.push(ends.end(&patch.id, &patch.packages));
            } else {
                foreseen.standing.push(patch.id.clone());
                foreseen.ending.extend(ends.partly_lost(&patch.id, &patch.packages));
            }
            continue;
        }
        let paths: Vec<&PlacedLoss> = patch
            .packages
            .iter()
            .filter_map(|package| patched.get(&(package.clone(), patch.id.clone())))
            .flatten()
            .collect();
        if let Some((by, taken)) = comers.taker(&paths) {
            let is_whole = taken.len() == paths.len() && patch.packages.len() == 1;
            foreseen.ending.push(ends.taken_over(&patch.id, &patch.packages, by, (taken, is_whole)));
        }
    }
    let version = |manager: NativeManager, name: &str| {
        let is_it = |one: &&UpcomingChange| one.name == name && manager == NativeManager::Dpkg;
        let of_adopted =
            |change: &&NativeChange| change.origin().manager == manager && change.origin().name == name;
        let adopted = changes.values().find(of_adopted);
        let adopted = adopted.and_then(|change| change.versions().1.map(str::to_owned));
        adopted.or_else(|| upcoming.iter().find(is_it)?.version.clone())
    };
    foreseen.ending.extend(lose_contained(&mut known, version));
    Ok(foreseen)
}

struct PlacedLoss {
    place: ObjectPath,
    lost: LostPath,
}

/// A coming package that may replace a patched one, or take over its files.
struct Comer<'u> {
    owner: NativeOwner,
    file: &'u str,
    relations: Vec<DebRelation>,
    is_new: bool,
    places: OnceCell<BTreeSet<ObjectPath>>,
}

struct Comers<'u> {
    root: &'u Root,
    all: Vec<Comer<'u>>,
}

impl<'u> Comers<'u> {
    /// Asks for files only if dpkg has a patched package.
    fn of(root: &'u Root, packages: &BTreeMap<PkgInst, Installed>, upcoming: &'u [UpcomingChange]) -> Self {
        let patched: BTreeSet<String> = packages.values().filter_map(patched_name).collect();
        let is_candidate = |one: &&UpcomingChange| one.version.is_some() && !patched.contains(&one.name);
        let candidates: Vec<&UpcomingChange> =
            upcoming.iter().filter(|_| !patched.is_empty()).filter(is_candidate).collect();
        let is_removed = |one: &UpcomingChange| one.version.is_none() && patched.contains(&one.name);
        let any_removed = upcoming.iter().any(is_removed);
        let comers = side_by_side(root.workers(), candidates.len(), || {
            |at: usize| {
                let one = *candidates.get(at)?;
                let (file, version) = (one.file.as_deref()?, one.version.clone()?);
                let mut relations = deb_file::relations(file);
                relations.retain(|relation| patched.contains(&relation.name));
                // A removed package leaves its paths to others.
                let is_concerned = !relations.is_empty() || any_removed && one.is_new;
                let (name, arch) = (one.name.clone(), one.arch.clone());
                let origin = NativeOrigin { manager: NativeManager::Dpkg, name, arch, version: None };
                let owner = NativeOwner { origin, version };
                let (is_new, places) = (one.is_new, OnceCell::new());
                is_concerned.then_some(Comer { owner, file, relations, is_new, places })
            }
        });
        Self { root, all: comers.into_iter().flatten().collect() }
    }

    fn patched(
        &self,
        ground: &RootAndPolicy,
        marker: &str,
        packages: &BTreeMap<PkgInst, Installed>,
        changes: &BTreeMap<PkgInst, NativeChange>,
    ) -> Result<BTreeMap<OfPackage, Vec<PlacedLoss>>, Failure> {
        let mut patches: Vec<OfPackage> = Vec::new();
        for (package, installed) in packages {
            let Some(name) = patched_name(installed) else { continue };
            let version = NativeRegistration::of(&installed.params).version;
            let may_overwrite = |one: &DebRelation| one.name == name && one.may_overwrite(&version);
            let is_concerned = match changes.get(package) {
                Some(NativeChange::Removed { .. }) => !self.all.is_empty(),
                Some(_) => false,
                None => self.all.iter().any(|comer| comer.relations.iter().any(may_overwrite)),
            };
            if is_concerned {
                let list = installed.params.text("PATCHLIST").into_owned();
                let ids = list.split_whitespace().map(|id| PatchId::parse(id, &ground.policy.separator));
                patches.extend(ids.filter_map(Result::ok).map(|id| (package.clone(), id)));
            }
        }
        if patches.is_empty() {
            return Ok(BTreeMap::new());
        }
        // Nothing is planned here, so the time does not matter.
        let moment = NaiveDateTime::default();
        let now = Now { utc: moment, local: moment, host: String::new() };
        let request = BackOutRequest::default();
        let input = BackOutInput::of(ground, &request, &now)?.ended_by(&ending_signal);
        let saved = SavedPatches::read(&input, marker, &patches)?;
        let resolver = self.root.resolver();
        let mut paths = BTreeMap::new();
        for one in &saved.all {
            let records = one.manifest().into_iter().flat_map(|manifest| &manifest.objects);
            let paths_of = records.filter_map(|record| patched_path(record, &resolver));
            paths.insert((one.package.clone(), one.id.clone()), paths_of.collect());
        }
        Ok(paths)
    }

    /// The successor declares it, or delivers a path of the patch.
    fn successor(
        &self,
        (root, native): (&Root, &NativeReader),
        paths: Option<&Vec<PlacedLoss>>,
        origin: &NativeOrigin,
        upcoming: &[UpcomingChange],
    ) -> Option<NativeOwner> {
        let names_it = |comer: &&Comer<'_>| comer.relations.iter().any(|one| one.name == origin.name);
        let brings_it = |comer: &&Comer<'_>| {
            let places = comer.is_new.then(|| comer.places(root));
            let mut paths = paths.into_iter().flatten();
            places.is_some_and(|places| paths.any(|path| places.contains(&path.place)))
        };
        let comes = self.all.iter().find(names_it).or_else(|| self.all.iter().find(brings_it));
        let goes = |owner: &NativeOwner| {
            let is_it = |one: &&UpcomingChange| one.name == owner.origin.name;
            upcoming.iter().find(is_it).is_some_and(|one| one.version.is_none())
        };
        let there = || native.successor(origin.manager, &origin.name, |owner| !goes(owner));
        comes.map(|comer| comer.owner.clone()).or_else(there)
    }

    fn taker(&self, paths: &[&PlacedLoss]) -> Option<(NativeOwner, Vec<LostPath>)> {
        let taken = self.all.iter().filter(|_| !paths.is_empty()).map(|comer| {
            let places = comer.places(self.root);
            let taken = paths.iter().filter(|path| places.contains(&path.place));
            (comer, taken.map(|path| path.lost.clone()).collect::<Vec<_>>())
        });
        let (comer, taken) = taken.max_by_key(|(_, taken)| taken.len())?;
        (!taken.is_empty()).then(|| (comer.owner.clone(), taken))
    }
}

impl Comer<'_> {
    fn places(&self, root: &Root) -> &BTreeSet<ObjectPath> {
        self.places.get_or_init(|| {
            let resolver = root.resolver();
            let paths = deb_file::paths(self.file).into_iter();
            paths.map(|path| resolver.locate_object(&path).unwrap_or(path)).collect()
        })
    }
}

fn patched_name(installed: &Installed) -> Option<String> {
    let origin = NativeOrigin::of(&installed.params)?;
    let is_patched = !installed.params.text("PATCHLIST").trim().is_empty();
    (is_patched && origin.manager == NativeManager::Dpkg).then_some(origin.name)
}

/// `None` for a directory, which packages share.
fn patched_path(record: &ObjectRecord, resolver: &Resolver<'_>) -> Option<PlacedLoss> {
    let path = record.object_path().filter(|_| record.has_path())?;
    let states = [&record.was, &record.became].into_iter().flatten();
    if states.into_iter().all(|state| state.kind == FileType::Directory) {
        return None;
    }
    let b3 = record.became.as_ref().and_then(RecordedState::digest).map(|digest| digest.to_string());
    let lost = LostPath { path: encode(path.as_bytes()), b3, by: None };
    Some(PlacedLoss { place: resolver.locate_object(&path).unwrap_or(path), lost })
}

/// `registered` are the origins of all adopted packages.
fn change(
    installed: &Installed,
    registered: &BTreeSet<NativeOrigin>,
    upcoming: &[UpcomingChange],
) -> Option<NativeChange> {
    let origin = NativeOrigin::of(&installed.params)?;
    let from = NativeRegistration::of(&installed.params).version;
    let of_name = || upcoming.iter().filter(|one| one.name == origin.name);
    let is_exact = |one: &&UpcomingChange| {
        one.arch.as_ref().zip(origin.arch.as_ref()).is_none_or(|(one, own)| one == own)
    };
    // Another version may have another architecture, unless several can be installed together.
    let is_for_another = |one: &&UpcomingChange| {
        let is_other = |arch: &String| {
            let other = NativeOrigin { arch: Some(arch.clone()), ..origin.clone() };
            registered.contains(&other)
        };
        one.version.is_some() && one.is_same != Some(true) && !one.arch.as_ref().is_some_and(is_other)
    };
    let new = of_name().find(|one| is_exact(one) && one.version.is_some());
    let one = new.or_else(|| of_name().find(is_for_another)).or_else(|| of_name().find(is_exact))?;
    Some(match &one.version {
        None => NativeChange::Removed { origin, from },
        Some(version) if *version == from => NativeChange::Reinstalled { origin, version: from },
        Some(version) => NativeChange::Upgraded { origin, from, to: version.clone() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_inputs::native::upcoming_changes;
    use patchadm_svr4::package::Params;

    /// Returns the coming versions: `-` if removed, empty if unchanged. All are registered at version 1.
    fn foreseen(registered: &[&str], upcoming: &str) -> Vec<String> {
        let upcoming = upcoming_changes(upcoming.as_bytes()).unwrap().changes;
        let packages: Vec<Installed> = registered
            .iter()
            .map(|origin| {
                let params: Params =
                    [("PATCHADM_ADOPTED", *origin), ("NATIVE_VERSION", "1")].into_iter().collect();
                Installed { params, ..Installed::default() }
            })
            .collect();
        let origins = packages.iter().filter_map(|one| NativeOrigin::of(&one.params)).collect();
        let change = |one: &Installed| change(one, &origins, &upcoming);
        let told = |change: NativeChange| change.versions().1.unwrap_or("-").to_owned();
        packages.iter().map(|one| change(one).map(told).unwrap_or_default()).collect()
    }

    const SAME: [&str; 2] = ["dpkg lib:amd64", "dpkg lib:i386"];

    #[test]
    fn each_architecture_of_a_shared_library_has_changes_of_its_own() {
        let purge = "VERSION 3\n\nlib 1 i386 same > - - none **REMOVE**\n";
        assert_eq!(foreseen(&SAME, purge), ["", "-"]);
        let other = "VERSION 3\n\nlib - - none < 1 i386 same /lib.deb\n";
        assert_eq!(foreseen(&["dpkg lib:amd64"], other), [""], "the second one is new");
        let both =
            "VERSION 3\n\nlib 1 i386 same < 2 i386 same /a.deb\nlib 1 amd64 same < 2 amd64 same /b.deb\n";
        assert_eq!(foreseen(&SAME, both), ["2", "2"]);
        assert_eq!(foreseen(&SAME, "lib:i386 -\n"), ["", "-"]);
        assert_eq!(foreseen(&SAME, "lib:i386 2\n"), ["", "2"]);
        assert_eq!(foreseen(&SAME, "lib 2\n"), ["2", "2"], "as version 2 of the protocol says it");
    }

    #[test]
    fn a_package_that_is_there_once_is_followed_to_another_architecture() {
        let web = ["dpkg web:amd64"];
        let crossed =
            "VERSION 3\n\nweb 1 amd64 none > - - none **REMOVE**\nweb - - none < 2 i386 none /web.deb\n";
        assert_eq!(foreseen(&web, crossed), ["2"]);
        assert_eq!(foreseen(&web, "VERSION 3\n\nweb 1 amd64 none < 2 all none /web.deb\n"), ["2"]);
        assert_eq!(foreseen(&web, "VERSION 3\n\nweb 1 amd64 none > - - none **REMOVE**\n"), ["-"]);
    }
}
