//! Libraries between two sets: what patches bring that others need, and what they take away from released packages.

use std::collections::{BTreeMap, BTreeSet};

use patchadm_making::build::LibraryFeature;
use patchadm_making::delta::NeededFeature;

use super::packages::{PackageOfSet, SetPackages};

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

/// The sources that provide something.
type Providers<'a> = BTreeMap<&'a LibraryFeature, BTreeSet<&'a str>>;

impl LibraryChanges {
    /// Compares the libraries of two sets.
    pub(super) fn between(released: &SetPackages, newest: &SetPackages) -> Self {
        let (before, after) = (providers(released), providers(newest));
        let taken = taken(released, newest, (&before, &after));
        let mut needs: BTreeMap<String, Vec<NeededFeature>> = BTreeMap::new();
        let mut add = |source: &str, provider: &str, feature: &LibraryFeature| {
            let needed = NeededFeature { source: provider.to_owned(), feature: feature.clone() };
            let of_source = needs.entry(source.to_owned()).or_default();
            if !of_source.contains(&needed) {
                of_source.push(needed);
            }
        };
        let needed_before: BTreeSet<&LibraryFeature> =
            released.packages.iter().flat_map(|package| &package.requires).collect();
        for package in
            newest.packages.iter().filter(|package| released.find(&package.pkg, &package.arch).is_some())
        {
            let new = package.requires.iter();
            for feature in
                new.filter(|feature| !before.contains_key(feature) && !needed_before.contains(feature))
            {
                let Some(sources) = after.get(feature) else { continue };
                if let Some(provider) = sources.first().filter(|_| !sources.contains(&*package.source)) {
                    add(&package.source, provider, feature);
                }
            }
        }
        // What moves to another source goes only when it has come there.
        for TakenFeature { source, feature, .. } in &taken {
            if let Some(provider) = after.get(feature).and_then(BTreeSet::first) {
                let has_come = before.get(feature).is_some_and(|sources| sources.contains(provider));
                if !has_come {
                    add(source, provider, feature);
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

fn providers(set: &SetPackages) -> Providers<'_> {
    let mut providers = Providers::new();
    for package in &set.packages {
        for feature in &package.provides {
            providers.entry(feature).or_default().insert(&package.source);
        }
    }
    providers
}

fn taken(
    released: &SetPackages,
    newest: &SetPackages,
    (before, after): (&Providers<'_>, &Providers<'_>),
) -> Vec<TakenFeature> {
    let users_in = |set: &SetPackages, feature: &LibraryFeature, source: &str| {
        let is_user =
            |package: &&PackageOfSet| package.source != source && package.requires.contains(feature);
        let users = set.packages.iter().filter(is_user).map(|package| package.pkgname.clone());
        users.collect::<BTreeSet<_>>()
    };
    let has_patch: BTreeSet<&str> = newest.packages.iter().map(|package| package.source.as_str()).collect();
    let mut taken = Vec::new();
    for (feature, sources) in before {
        for source in sources.iter().copied().filter(|source| has_patch.contains(source)) {
            let has_it_still = after.get(feature).is_some_and(|sources| sources.contains(source));
            // Where others have it, too, it is not gone.
            if has_it_still || sources.len() > 1 {
                continue;
            }
            let users = users_in(released, feature, source);
            if users.is_empty() {
                continue;
            }
            let is_still_needed =
                !after.contains_key(feature) && !users_in(newest, feature, source).is_empty();
            taken.push(TakenFeature {
                source: source.to_owned(),
                feature: (*feature).clone(),
                users: users.into_iter().collect(),
                is_still_needed,
            });
        }
    }
    without_versions_of_gone_libraries(taken)
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
        let changes = LibraryChanges::between(&released, &newest);
        assert_eq!(
            told(&changes),
            (
                vec!["user needs liba.so.2 of liba".to_owned()],
                vec!["liba takes liba.so.1 from user-1.0".to_owned()]
            )
        );
        assert!(changes.may_take_away("liba"));
        assert!(told(&LibraryChanges::between(&released, &released)).0.is_empty());
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
        let changes = LibraryChanges::between(&released, &newest);
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
    fn the_versions_of_a_library_that_goes_as_a_whole_are_not_named() {
        let version = LibraryFeature { version: Some("A_1".to_owned()), ..library("liba.so.1") };
        let mut old = package("liba", &["liba.so.1"], &[]);
        old.provides.insert(version.clone());
        let mut user = package("user", &[], &["liba.so.1"]);
        user.requires.insert(version);
        let released = set(vec![old, user.clone()]);
        let without = set(vec![package("liba", &[], &[]), package("user", &[], &[])]);
        let only_version = set(vec![package("liba", &["liba.so.1"], &[]), user]);
        assert_eq!(LibraryChanges::between(&released, &without).taken.len(), 1);
        let (_, taken) = told(&LibraryChanges::between(&released, &only_version));
        assert_eq!(taken, ["liba takes A_1 of liba.so.1 from user-1.0 still"]);
    }
}
