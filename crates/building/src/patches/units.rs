//! Library changes between two sets, and the patches that they tie together.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use patchadm_libraries::elf::ElfMachine;
use patchadm_making::build::LibraryFeature;
use patchadm_making::delta::{MadePatch, NeededFeature};

use super::packages::{PackageOfSet, SetPackages};
use crate::set::{ArchivedObjects, BaseLibraries, SetError, found_libraries};

/// Patches in groups: one alone, or one that removes a library with those of its users. Sorted after their needs.
pub(super) struct PatchUnits<'p> {
    units: Vec<Vec<&'p MadePatch>>,
    /// The direct and indirect requirements of each unit.
    required: Vec<BTreeSet<usize>>,
}

impl<'p> PatchUnits<'p> {
    pub(super) fn of(patches: &'p [MadePatch], libraries: &LibraryChanges, released: &SetPackages) -> Self {
        let mut unit_of: BTreeMap<&str, usize> =
            patches.iter().enumerate().map(|(at, patch)| (&*patch.source, at)).collect();
        let mut sources: HashMap<&str, BTreeSet<&str>> = HashMap::new();
        for package in &released.packages {
            sources.entry(&package.pkgname).or_default().insert(&package.source);
        }
        for taken in &libraries.taken {
            let users = taken.users.iter().filter_map(|user| sources.get(user.as_str())).flatten();
            let ties: BTreeSet<usize> = users
                .copied()
                .chain([&*taken.source])
                .filter_map(|source| unit_of.get(source).copied())
                .collect();
            if let Some(first) = ties.first().copied() {
                unit_of.values_mut().filter(|unit| ties.contains(&**unit)).for_each(|unit| *unit = first);
            }
        }
        let mut members: BTreeMap<usize, Vec<&MadePatch>> = BTreeMap::new();
        for patch in patches {
            if let Some(unit) = unit_of.get(&*patch.source) {
                members.entry(*unit).or_default().push(patch);
            }
        }
        let needs = |members: &[&MadePatch]| -> BTreeSet<usize> {
            let needed = members.iter().filter_map(|patch| libraries.needs.get(&patch.source)).flatten();
            needed.filter_map(|need| unit_of.get(&*need.source).copied()).collect()
        };
        let needs: BTreeMap<usize, BTreeSet<usize>> =
            members.iter().map(|(unit, members)| (*unit, needs(members))).collect();
        let order = in_order(&needs);
        let place: BTreeMap<usize, usize> = order.iter().enumerate().map(|(at, unit)| (*unit, at)).collect();
        let required = order.iter().map(|unit| {
            let (mut known, mut open) = (BTreeSet::new(), vec![*unit]);
            while let Some(next) = open.pop() {
                open.extend(needs.get(&next).into_iter().flatten().filter(|need| known.insert(**need)));
            }
            known.remove(unit);
            known.iter().filter_map(|unit| place.get(unit).copied()).collect()
        });
        let required = required.collect();
        let units = order.iter().map(|unit| members.remove(unit).unwrap_or_default()).collect();
        Self { units, required }
    }

    pub(super) fn len(&self) -> usize {
        self.units.len()
    }

    pub(super) fn unit(&self, at: usize) -> &[&'p MadePatch] {
        self.units.get(at).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn first(&self, count: usize) -> Vec<&[&'p MadePatch]> {
        self.first_with(count, &[])
    }

    pub(super) fn with_required(&self, at: usize) -> Vec<&[&'p MadePatch]> {
        self.first_with(0, &[at])
    }

    /// Returns the first units and these later ones, with their requirements, in the order of units.
    pub(super) fn first_with(&self, count: usize, later: &[usize]) -> Vec<&[&'p MadePatch]> {
        let all: BTreeSet<usize> = (0..count).chain(later.iter().copied()).collect();
        let required = all.iter().filter_map(|at| self.required.get(*at)).flatten().copied();
        let all: BTreeSet<usize> = required.chain(all.iter().copied()).collect();
        all.into_iter().map(|at| self.unit(at)).collect()
    }
}

/// Sorts units after their dependencies. The order within a cycle is unspecified.
fn in_order(needs: &BTreeMap<usize, BTreeSet<usize>>) -> Vec<usize> {
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    let mut open: Vec<(usize, bool)> = needs.keys().rev().map(|unit| (*unit, false)).collect();
    while let Some((unit, is_ready)) = open.pop() {
        if is_ready {
            order.push(unit);
        } else if seen.insert(unit) {
            open.push((unit, true));
            open.extend(needs.get(&unit).into_iter().flatten().map(|need| (*need, false)));
        }
    }
    order
}

#[derive(Debug, Default)]
pub(super) struct LibraryChanges {
    /// The features of other sources that each patch needs.
    pub(super) needs: BTreeMap<String, Vec<NeededFeature>>,
    /// Features that a patch removes although released packages of others need them.
    pub(super) taken: Vec<TakenFeature>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TakenFeature {
    pub(super) source: String,
    pub(super) feature: LibraryFeature,
    /// Released packages of other sources that need it, by PKGNAME, sorted.
    pub(super) users: Vec<String>,
    /// True if newer packages need it and none has it.
    is_still_needed: bool,
}

/// The sources of the library that the loader finds, by package file, machine and name. Empty for the base.
#[derive(Debug, Default)]
pub(super) struct Providers(HashMap<(String, ElfMachine, String), BTreeSet<String>>);

impl Providers {
    pub(super) fn find(
        set: &SetPackages,
        base: &BaseLibraries<'_>,
        interrupt: &(dyn Fn() -> Option<i32> + Sync),
    ) -> Result<Self, SetError> {
        let mut files: BTreeMap<&str, (&Arc<ArchivedObjects>, BTreeSet<&str>)> = BTreeMap::new();
        for package in &set.packages {
            let (_, sources) =
                files.entry(&package.file.file).or_insert_with(|| (&package.delivered, BTreeSet::new()));
            sources.insert(&package.source);
        }
        let delivered = files.iter().map(|(file, (delivered, _))| (*file, &***delivered));
        let mut providers = Self::default();
        for found in found_libraries(delivered.collect(), base, interrupt)? {
            let sources = found.provider.and_then(|file| files.get(file)).map(|(_, sources)| sources);
            let known =
                providers.0.entry((found.package.to_owned(), found.machine, found.library)).or_default();
            known.extend(sources.into_iter().flatten().map(|source| (*source).to_owned()));
        }
        Ok(providers)
    }

    /// Returns the sources that provide a feature to a package; `None` if not found.
    fn of(&self, package: &PackageOfSet, feature: &LibraryFeature) -> Option<&BTreeSet<String>> {
        self.0.get(&(package.file.file.clone(), feature.machine, feature.soname.clone()))
    }
}

pub(super) type LoadedSet<'a> = (&'a SetPackages, &'a Providers);

impl LibraryChanges {
    pub(super) fn between((released, before): LoadedSet<'_>, (newest, after): LoadedSet<'_>) -> Self {
        let (had, has) = (provided(released), provided(newest));
        let had_it = |source: &str, feature: &LibraryFeature| had.contains(&(source, feature));
        let taken = taken((released, before), (newest, after), (&had, &has));
        let mut needs: BTreeMap<String, Vec<NeededFeature>> = BTreeMap::new();
        let mut add = |source: &str, provider: &str, feature: &LibraryFeature| {
            let needed = NeededFeature { source: provider.to_owned(), feature: feature.clone() };
            let of_source = needs.entry(source.to_owned()).or_default();
            if !of_source.contains(&needed) {
                of_source.push(needed);
            }
        };
        // The new sources of a needed feature.
        let sources_with = |package: &PackageOfSet, feature: &LibraryFeature| {
            let sources = after.of(package, feature).into_iter().flatten();
            let brings = |source: &&String| has.contains(&(source, feature)) && !had_it(source, feature);
            sources.filter(brings).cloned().collect::<Vec<_>>()
        };
        let by_name = released.by_name();
        for package in &newest.packages {
            let Some(was) = by_name.get(&(&*package.pkg, &*package.arch)).copied() else { continue };
            for feature in &package.requires {
                let was_met = was.requires.contains(feature) && before.of(was, feature).is_some();
                for source in sources_with(package, feature) {
                    if !was_met && source != package.source {
                        add(&package.source, &source, feature);
                    }
                }
            }
        }
        // A feature that moves to another source may only be removed after it was added there.
        let users = users_of_features(newest);
        for TakenFeature { source, feature, .. } in &taken {
            for package in users.get(feature).into_iter().flatten().copied() {
                for provider in sources_with(package, feature) {
                    if provider != *source {
                        add(source, &provider, feature);
                    }
                }
            }
        }
        Self { needs, taken }
    }

    /// Allows a patch to remove features that nothing needs once all patches are applied.
    pub(super) fn may_take_away(&self, source: &str) -> bool {
        !self.taken.iter().any(|taken| taken.source == source && taken.is_still_needed)
    }
}

type ProvidedFeatures<'a> = BTreeSet<(&'a str, &'a LibraryFeature)>;

fn provided(set: &SetPackages) -> ProvidedFeatures<'_> {
    let provided =
        set.packages.iter().map(|package| package.provides.iter().map(|feature| (&*package.source, feature)));
    provided.flatten().collect()
}

fn users_of_features(set: &SetPackages) -> BTreeMap<&LibraryFeature, Vec<&PackageOfSet>> {
    let mut users: BTreeMap<&LibraryFeature, Vec<&PackageOfSet>> = BTreeMap::new();
    for package in &set.packages {
        for feature in &package.requires {
            users.entry(feature).or_default().push(package);
        }
    }
    users
}

fn taken(
    (released, before): LoadedSet<'_>,
    (newest, after): LoadedSet<'_>,
    (had, has): (&ProvidedFeatures<'_>, &ProvidedFeatures<'_>),
) -> Vec<TakenFeature> {
    let has_patch: BTreeSet<&str> = newest.packages.iter().map(|package| package.source.as_str()).collect();
    let mut taken: BTreeMap<(&LibraryFeature, &str), BTreeSet<String>> = BTreeMap::new();
    for package in &released.packages {
        for feature in &package.requires {
            for source in before.of(package, feature).into_iter().flatten() {
                let is_gone = had.contains(&(source, feature)) && !has.contains(&(source, feature));
                if is_gone && *source != package.source && has_patch.contains(source.as_str()) {
                    taken.entry((feature, source)).or_default().insert(package.pkgname.clone());
                }
            }
        }
    }
    let users_now = users_of_features(newest);
    let taken = taken.into_iter().map(|((feature, source), users)| {
        let lacks = |package: &PackageOfSet| match after.of(package, feature) {
            None => true,
            // Libraries of the base are not examined.
            Some(sources) => {
                !sources.is_empty() && !sources.iter().any(|source| has.contains(&(source, feature)))
            }
        };
        let users_now = users_now.get(feature).into_iter().flatten().copied();
        TakenFeature {
            source: source.to_owned(),
            feature: feature.clone(),
            users: users.into_iter().collect(),
            is_still_needed: users_now.filter(|package| package.source != source).any(lacks),
        }
    });
    without_versions_of_gone_libraries(taken.collect())
}

fn without_versions_of_gone_libraries(mut taken: Vec<TakenFeature>) -> Vec<TakenFeature> {
    let whole: BTreeSet<(String, LibraryFeature)> = taken
        .iter()
        .filter(|taken| taken.feature.version.is_none())
        .map(|taken| (taken.source.clone(), taken.feature.clone()))
        .collect();
    taken.retain(|taken| {
        let library = LibraryFeature { version: None, ..taken.feature.clone() };
        taken.feature.version.is_none() || !whole.contains(&(taken.source.clone(), library))
    });
    taken
}

#[cfg(test)]
mod tests {
    use patchadm_making::delta::NeededFeature;

    use super::{TakenFeature, *};
    use crate::patches::packages::made_up::{library, package, set};

    fn shown(units: &[&[&MadePatch]]) -> String {
        units.concat().iter().map(|patch| &*patch.source).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_takes_a_library_away_goes_with_its_users_and_each_unit_behind_what_it_needs() {
        let patch = |source: &str| MadePatch {
            source: source.to_owned(),
            id: format!("{source}-01"),
            path: format!("/{source}").into(),
        };
        let patches = ["app", "lib", "other", "user"].map(patch);
        let needs = |source: &str| NeededFeature { source: source.to_owned(), feature: library("libx.so.2") };
        let libraries = LibraryChanges {
            needs: BTreeMap::from([
                ("app".to_owned(), vec![needs("user"), needs("gone")]),
                ("user".to_owned(), vec![needs("lib")]),
            ]),
            taken: vec![TakenFeature {
                source: "lib".to_owned(),
                feature: library("libx.so.1"),
                users: vec!["user-1.0".to_owned()],
                is_still_needed: false,
            }],
        };
        let released = set(["app", "lib", "other", "user"].map(|name| package(name, &[], &[])).into());
        let units = PatchUnits::of(&patches, &libraries, &released);
        let listed: Vec<String> = (0..units.len()).map(|at| shown(&[units.unit(at)])).collect();
        assert_eq!(listed, ["lib user", "app", "other"]);
        assert_eq!(shown(&units.first(2)), "lib user app");
        assert_eq!(shown(&units.with_required(1)), "lib user app");
        assert_eq!(shown(&units.with_required(2)), "other");
        assert_eq!(shown(&units.first_with(0, &[1])), "lib user app");
        assert_eq!(shown(&units.first_with(1, &[2])), "lib user other");
    }

    /// Compares two sets. `found` names another source of a library.
    fn between(released: &SetPackages, newest: &SetPackages, found: &[(&str, &str, &str)]) -> LibraryChanges {
        let providers = |set: &SetPackages| {
            let mut providers = Providers::default();
            for package in &set.packages {
                for feature in &package.requires {
                    let soname = &feature.soname;
                    let has_it = |other: &&PackageOfSet| {
                        let is_told = |(user, name, source): &&(&str, &str, &str)| {
                            *user == package.pkg && name == soname && *source != other.source
                        };
                        other.provides.iter().any(|has| has.soname == *soname)
                            && !found.iter().any(|one| is_told(&one))
                    };
                    let sources: BTreeSet<String> =
                        set.packages.iter().filter(has_it).map(|other| other.source.clone()).collect();
                    if !sources.is_empty() {
                        let key = (package.file.file.clone(), feature.machine, soname.clone());
                        providers.0.insert(key, sources);
                    }
                }
            }
            providers
        };
        LibraryChanges::between((released, &providers(released)), (newest, &providers(newest)))
    }

    fn listed(changes: &LibraryChanges) -> (Vec<String>, Vec<String>) {
        let needs = changes.needs.iter().flat_map(|(source, needs)| {
            needs.iter().map(move |need| format!("{source} needs {} of {}", need.feature, need.source))
        });
        let taken = changes.taken.iter().map(|taken| {
            let still = if taken.is_still_needed { " still" } else { "" };
            format!("{} takes {} from {}{still}", taken.source, taken.feature, taken.users.join(" "))
        });
        (needs.collect(), taken.collect())
    }

    #[test]
    fn a_library_with_a_new_name_is_taken_from_its_users_and_needed_by_them() {
        let released = set(vec![
            package("liba", &["liba.so.1"], &["libc.so.6"]),
            package("other", &[], &["libc.so.6"]),
            package("user", &[], &["liba.so.1", "libc.so.6"]),
        ]);
        let newest = set(vec![
            package("liba", &["liba.so.2"], &["libc.so.6"]),
            package("other", &[], &["libc.so.6"]),
            package("user", &[], &["liba.so.2", "libc.so.6"]),
        ]);
        let changes = between(&released, &newest, &[]);
        assert_eq!(
            listed(&changes),
            (
                vec!["user needs liba.so.2 of liba".to_owned()],
                vec!["liba takes liba.so.1 from user-1.0".to_owned()]
            )
        );
        assert!(changes.may_take_away("liba"));
        assert!(listed(&between(&released, &released, &[])).0.is_empty());
    }

    #[test]
    fn what_is_still_needed_may_not_be_taken_away_and_what_moves_comes_first() {
        let released = set(vec![
            package("liba", &["liba.so.1"], &[]),
            package("libb", &["libb.so.1"], &[]),
            package("user", &[], &["liba.so.1", "libb.so.1"]),
        ]);
        let newest = set(vec![
            package("liba", &[], &[]),
            package("libb", &[], &[]),
            package("user", &["libb.so.1"], &["liba.so.1", "libb.so.1"]),
        ]);
        let changes = between(&released, &newest, &[]);
        assert_eq!(
            listed(&changes),
            (
                vec!["libb needs libb.so.1 of user".to_owned()],
                vec![
                    "liba takes liba.so.1 from user-1.0 still".to_owned(),
                    "libb takes libb.so.1 from user-1.0".to_owned()
                ]
            )
        );
        assert!(!changes.may_take_away("liba") && changes.may_take_away("libb"));
    }

    #[test]
    fn a_library_of_the_same_name_that_no_loader_finds_is_nobody_s() {
        let sets = |number: u32, of_evil: &str| {
            let soname = format!("libone.so.{number}");
            set(vec![
                package("aevil", &[of_evil], &[]),
                package("libone", &[&soname], &[]),
                package("user", &[], &[&soname]),
            ])
        };
        let found = [("user", "libone.so.1", "libone"), ("user", "libone.so.2", "libone")];
        for (before, after) in
            [("other.so", "libone.so.2"), ("libone.so.1", "libone.so.1"), ("libone.so.2", "x.so")]
        {
            let changes = between(&sets(1, before), &sets(2, after), &found);
            let (needs, taken) = listed(&changes);
            assert_eq!(needs, ["user needs libone.so.2 of libone"], "{before} {after}");
            assert_eq!(taken, ["libone takes libone.so.1 from user-1.0"], "{before} {after}");
        }
    }

    #[test]
    fn the_versions_of_a_library_that_goes_as_a_whole_are_not_named() {
        let version = LibraryFeature { version: Some("A_1".to_owned()), ..library("liba.so.1") };
        let mut old = package("liba", &["liba.so.1"], &[]);
        old.provides.insert(version.clone());
        let mut user = package("user", &[], &["liba.so.1"]);
        user.requires.insert(version);
        let released = set(vec![old, user.clone()]);
        let without = set(vec![package("liba", &[], &[]), package("user", &[], &[])]);
        let only_version = set(vec![package("liba", &["liba.so.1"], &[]), user]);
        assert_eq!(between(&released, &without, &[]).taken.len(), 1);
        let (_, taken) = listed(&between(&released, &only_version, &[]));
        assert_eq!(taken, ["liba takes A_1 of liba.so.1 from user-1.0 still"]);
    }
}
