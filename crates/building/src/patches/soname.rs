//! Libraries between two sets: what patches bring that others need, and what they take away from released packages.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use patchadm_libraries::elf::ElfMachine;
use patchadm_making::build::LibraryFeature;
use patchadm_making::delta::NeededFeature;

use super::packages::{PackageOfSet, SetPackages};
use crate::set::{BaseLibraries, DeliveredObjects, SetError, found_libraries};

/// What changes about libraries from one set to another.
#[derive(Debug, Default)]
pub(super) struct LibraryChanges {
    /// For each source, what its patch needs of those of other sources.
    pub(super) needs: BTreeMap<String, Vec<NeededFeature>>,
    /// What the patch of a source takes away from released packages of others.
    pub(super) taken: Vec<TakenFeature>,
}

/// A library, or a symbol version of one, that the patch of a source takes away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TakenFeature {
    pub(super) source: String,
    pub(super) feature: LibraryFeature,
    /// The released packages of other sources that need it, by PKGNAME, sorted.
    pub(super) users: Vec<String>,
    /// Whether packages of the newer set need it, and none of them has it.
    pub(super) is_still_needed: bool,
}

/// The sources whose library the loader finds, by the file of a package that needs it, the machine, and the name. None of them:
/// it finds that of the base.
#[derive(Debug, Default)]
pub(super) struct Providers(HashMap<(String, ElfMachine, String), BTreeSet<String>>);

impl Providers {
    /// Lets the loaders of a set find what its packages need, as if they were all installed.
    pub(super) fn find(
        set: &SetPackages,
        base: &BaseLibraries<'_>,
        interrupt: &(dyn Fn() -> Option<i32> + Sync),
    ) -> Result<Self, SetError> {
        let mut files: BTreeMap<&str, (&Arc<DeliveredObjects>, BTreeSet<&str>)> = BTreeMap::new();
        for package in &set.packages {
            let (_, sources) =
                files.entry(&package.file.file).or_insert_with(|| (&package.delivered, BTreeSet::new()));
            sources.insert(&package.source);
        }
        let delivered =
            files.iter().map(|(file, (delivered, _))| (*file, DeliveredObjects::clone(delivered)));
        let mut providers = Self::default();
        for found in found_libraries(delivered.collect(), base, interrupt)? {
            let sources = found.provider.and_then(|file| files.get(file)).map(|(_, sources)| sources);
            let known =
                providers.0.entry((found.package.to_owned(), found.machine, found.library)).or_default();
            known.extend(sources.into_iter().flatten().map(|source| (*source).to_owned()));
        }
        Ok(providers)
    }

    /// Returns the sources whose library a package finds; `None` if it finds none.
    fn of(&self, package: &PackageOfSet, feature: &LibraryFeature) -> Option<&BTreeSet<String>> {
        self.0.get(&(package.file.file.clone(), feature.machine, feature.soname.clone()))
    }
}

/// A set with what its packages find.
pub(super) type LoadedSet<'a> = (&'a SetPackages, &'a Providers);

impl LibraryChanges {
    /// Compares the libraries of two sets.
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
        // The sources that newly bring what a package needs.
        let brought = |package: &PackageOfSet, feature: &LibraryFeature| {
            let sources = after.of(package, feature).into_iter().flatten();
            let brings = |source: &&String| has.contains(&(source, feature)) && !had_it(source, feature);
            sources.filter(brings).cloned().collect::<Vec<_>>()
        };
        for package in &newest.packages {
            let Some(was) = released.find(&package.pkg, &package.arch) else { continue };
            for feature in &package.requires {
                let was_met = was.requires.contains(feature) && before.of(was, feature).is_some();
                for source in brought(package, feature) {
                    if !was_met && source != package.source {
                        add(&package.source, &source, feature);
                    }
                }
            }
        }
        // What moves to another source goes only when it has come there.
        for TakenFeature { source, feature, .. } in &taken {
            for package in newest.packages.iter().filter(|package| package.requires.contains(feature)) {
                for provider in brought(package, feature) {
                    if provider != *source {
                        add(source, &provider, feature);
                    }
                }
            }
        }
        Self { needs, taken }
    }

    /// Tells whether the patch of a source takes away only what nobody needs any more once all patches are applied.
    pub(super) fn may_take_away(&self, source: &str) -> bool {
        !self.taken.iter().any(|taken| taken.source == source && taken.is_still_needed)
    }
}

/// Sources, each with a feature that it provides.
type ProvidedFeatures<'a> = BTreeSet<(&'a str, &'a LibraryFeature)>;

/// Returns what each source of a set provides.
fn provided(set: &SetPackages) -> ProvidedFeatures<'_> {
    let provided =
        set.packages.iter().map(|package| package.provides.iter().map(|feature| (&*package.source, feature)));
    provided.flatten().collect()
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
    let taken = taken.into_iter().map(|((feature, source), users)| {
        let lacks = |package: &PackageOfSet| match after.of(package, feature) {
            None => true,
            // That of the base is not looked into.
            Some(sources) => {
                !sources.is_empty() && !sources.iter().any(|source| has.contains(&(source, feature)))
            }
        };
        let mut users_now = newest
            .packages
            .iter()
            .filter(|package| package.source != source && package.requires.contains(feature));
        TakenFeature {
            source: source.to_owned(),
            feature: feature.clone(),
            users: users.into_iter().collect(),
            is_still_needed: users_now.any(lacks),
        }
    });
    without_versions_of_gone_libraries(taken.collect())
}

/// Leaves out the symbol versions of libraries that go as a whole.
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
    use super::super::packages::made_up::{library, package, set};
    use super::*;

    /// Compares two sets. A package finds a library in every source that delivers its name; `found` names another source for it.
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

    fn told(changes: &LibraryChanges) -> (Vec<String>, Vec<String>) {
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
            told(&changes),
            (
                vec!["user needs liba.so.2 of liba".to_owned()],
                vec!["liba takes liba.so.1 from user-1.0".to_owned()]
            )
        );
        assert!(changes.may_take_away("liba"));
        assert!(told(&between(&released, &released, &[])).0.is_empty());
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
            told(&changes),
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
            let (needs, taken) = told(&changes);
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
        let (_, taken) = told(&between(&released, &only_version, &[]));
        assert_eq!(taken, ["liba takes A_1 of liba.so.1 from user-1.0 still"]);
    }
}
