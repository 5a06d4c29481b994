//! Pairs of packages of two releases, by name and architecture, and names of their sparse packages.
//!
//! A package without a partner is reported and left out: a patch neither installs nor removes packages.

use std::collections::{BTreeMap, BTreeSet};

use crate::release::{Release, ReleaseForm, ReleasePackage};
use patchadm_inputs::native::{LONGEST_PKG, NativeManager};
use patchadm_svr4::package::{PkgInst, PkgInstError};
use serde::Serialize;

/// Options for names.
#[derive(Clone, Debug, Default)]
pub struct PairNaming {
    /// PKG of the only pair.
    pub pkg: Option<String>,
    /// PKG by name of the input.
    pub pkg_map: BTreeMap<String, String>,
    /// For packages without ARCH.
    pub arch: Option<String>,
    /// For packages of the old release without VERSION.
    pub base_version: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReleaseSide {
    From,
    To,
}

#[derive(Clone, Debug)]
pub struct PackagePair<'r> {
    /// Of the sparse package.
    pub pkg: PkgInst,
    /// Of the old package.
    pub arch: String,
    /// Of the old package.
    pub version: String,
    pub old: &'r ReleasePackage,
    pub new: &'r ReleasePackage,
}

/// Only one release has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct UnpairedPackage {
    /// In its own format.
    pub name: String,
    pub arch: String,
    pub side: ReleaseSide,
}

#[derive(Clone, Debug)]
pub struct PackagePairs<'r> {
    /// Sorted by PKG.
    pub pairs: Vec<PackagePair<'r>>,
    /// Sorted.
    pub unpaired: Vec<UnpairedPackage>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PairError {
    #[error("{release} has two packages {name} for {arch}: {first} and {second}")]
    Twice { release: String, name: String, arch: String, first: String, second: String },
    #[error("no package of {from} is in {to}")]
    None { from: String, to: String },
    #[error("--pkg names one package, and there are {0}; --pkg-map names each")]
    ManyForOne(usize),
    /// A package lacks parameters of a sparse package.
    #[error("{origin} does not state its {}; add {}", listed(.missing.iter().map(|one| one.0)), listed(.missing.iter().map(|one| one.1)))]
    Missing {
        origin: String,
        /// Each with the option that gives it.
        missing: Vec<(&'static str, &'static str)>,
    },
    #[error("{name} would become package {pkg}: {reason}; --pkg-map gives it another name")]
    Name {
        /// In its own format.
        name: String,
        pkg: String,
        /// The broken rule.
        reason: String,
    },
    #[error("{first} and {second} would both become package {pkg}; --pkg-map tells them apart")]
    SameName { first: String, second: String, pkg: String },
}

pub fn pair<'r>(
    from: &'r Release,
    to: &'r Release,
    naming: &PairNaming,
) -> Result<PackagePairs<'r>, PairError> {
    let (matched, unpaired) = matched(from, to)?;
    if matched.is_empty() {
        return Err(PairError::None { from: from.name.clone(), to: to.name.clone() });
    }
    if naming.pkg.is_some() && matched.len() > 1 {
        return Err(PairError::ManyForOne(matched.len()));
    }
    let named = matched.into_iter().map(|(old, new)| named(old, new, naming));
    let mut pairs = named.collect::<Result<Vec<_>, _>>()?;
    pairs.sort_by(|one, other| one.pkg.cmp(&other.pkg));
    let neighbours = pairs.iter().zip(pairs.iter().skip(1));
    if let Some((first, second)) = neighbours.into_iter().find(|(one, other)| one.pkg == other.pkg) {
        let origin = |pair: &PackagePair<'_>| pair.old.origin.clone();
        return Err(PairError::SameName {
            first: origin(first),
            second: origin(second),
            pkg: first.pkg.to_string(),
        });
    }
    Ok(PackagePairs { pairs, unpaired })
}

type Matched<'r> = (Vec<(&'r ReleasePackage, &'r ReleasePackage)>, Vec<UnpairedPackage>);

/// A tree has no name and pairs with the single package of the other side.
fn matched<'r>(from: &'r Release, to: &'r Release) -> Result<Matched<'r>, PairError> {
    if let ([old], [new]) = (&from.packages[..], &to.packages[..])
        && (old.name.is_none() || new.name.is_none())
    {
        return Ok((vec![(old, new)], Vec::new()));
    }
    let (old, new) = (by_name(from)?, by_name(to)?);
    let pairs = old.iter().filter_map(|(key, old)| Some((*old, *new.get(key)?))).collect();
    let alone = |(name, arch): &PairKey<'_>, side| UnpairedPackage {
        name: (*name).to_owned(),
        arch: (*arch).to_owned(),
        side,
    };
    let only_old = old.keys().filter(|key| !new.contains_key(*key)).map(|key| alone(key, ReleaseSide::From));
    let only_new = new.keys().filter(|key| !old.contains_key(*key)).map(|key| alone(key, ReleaseSide::To));
    let unpaired: BTreeSet<UnpairedPackage> = only_old.chain(only_new).collect();
    Ok((pairs, unpaired.into_iter().collect()))
}

type PairKey<'r> = (&'r str, &'r str);

fn by_name(release: &Release) -> Result<BTreeMap<PairKey<'_>, &ReleasePackage>, PairError> {
    let mut found = BTreeMap::new();
    for package in &release.packages {
        let name = package.name.as_deref().unwrap_or(&package.origin);
        let arch = package.arch.as_deref().unwrap_or_default();
        if let Some(first) = found.insert((name, arch), package) {
            return Err(PairError::Twice {
                release: release.name.clone(),
                name: name.to_owned(),
                arch: arch.to_owned(),
                first: first.origin.clone(),
                second: package.origin.clone(),
            });
        }
    }
    Ok(found)
}

fn named<'r>(
    old: &'r ReleasePackage,
    new: &'r ReleasePackage,
    naming: &PairNaming,
) -> Result<PackagePair<'r>, PairError> {
    let arch = naming.arch.clone().filter(|_| old.arch.is_none()).or_else(|| old.arch.clone());
    let version =
        naming.base_version.clone().filter(|_| old.version.is_none()).or_else(|| old.version.clone());
    let arch = arch.or_else(|| new.arch.clone());
    let named = if old.name.is_some() { old } else { new };
    let pkg = match (&naming.pkg, &named.name) {
        (Some(pkg), _) => Some(pkg.clone()),
        (None, None) => None,
        (None, Some(name)) => match naming.pkg_map.get(name) {
            Some(pkg) => Some(pkg.clone()),
            None => Some(usual_name(named.form, name)),
        },
    };
    match (pkg, arch, version) {
        (Some(pkg), Some(arch), Some(version)) => {
            Ok(PackagePair { pkg: checked(&named.origin, &pkg)?, arch, version, old, new })
        }
        (pkg, arch, version) => {
            let parameters = [
                (pkg.is_none(), "name", "--pkg"),
                (arch.is_none(), "architecture", "--arch"),
                (version.is_none(), "version", "--base-version"),
            ];
            let missing = parameters.into_iter().filter(|(is_missing, ..)| *is_missing);
            let missing = missing.map(|(_, what, option)| (what, option)).collect();
            Err(PairError::Missing { origin: old.origin.clone(), missing })
        }
    }
}

fn listed(words: impl Iterator<Item = &'static str>) -> String {
    let words: Vec<&str> = words.collect();
    match &words[..] {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => words.concat(),
    }
}

/// Returns the default PKG; an SVR4 package keeps its own.
pub fn usual_name(form: ReleaseForm, name: &str) -> String {
    let manager = match form {
        ReleaseForm::Deb => NativeManager::Dpkg,
        ReleaseForm::Rpm => NativeManager::Rpm,
        ReleaseForm::Svr4 | ReleaseForm::Tree | ReleaseForm::Tar => return name.to_owned(),
    };
    manager.package_name(name)
}

fn checked(origin: &str, pkg: &str) -> Result<PkgInst, PairError> {
    let bad = |reason| PairError::Name { name: origin.to_owned(), pkg: pkg.to_owned(), reason };
    if pkg.len() > LONGEST_PKG {
        return Err(bad(format!("it has {} characters, more than {LONGEST_PKG}", pkg.len())));
    }
    let inst = PkgInst::new(pkg).map_err(|PkgInstError { reason, .. }| bad(reason.to_owned()))?;
    if inst.abbreviation() != pkg {
        return Err(bad("it has a dot".to_owned()));
    }
    Ok(inst)
}

#[cfg(test)]
mod tests {
    use super::super::tests::made_up::{MadePackage, release};
    use super::*;

    fn naming() -> PairNaming {
        PairNaming::default()
    }

    #[test]
    fn packages_pair_by_name_and_architecture_and_the_rest_is_told() {
        let deb = MadePackage::deb;
        let from = release([deb("curl", "amd64", "1"), deb("curl", "i386", "1"), deb("gone", "all", "2")]);
        let to = release([deb("curl", "amd64", "1.1"), deb("fresh", "all", "1")]);
        let pairs = pair(&from, &to, &naming()).unwrap();
        let told: Vec<String> =
            pairs.pairs.iter().map(|pair| format!("{} {} {}", pair.pkg, pair.arch, pair.version)).collect();
        assert_eq!(told, ["DEBcurl amd64 1"]);
        let alone: Vec<String> =
            pairs.unpaired.iter().map(|one| format!("{} {} {:?}", one.name, one.arch, one.side)).collect();
        assert_eq!(alone, ["curl i386 From", "fresh all To", "gone all From"]);
    }

    #[test]
    fn trees_need_a_name_an_architecture_and_a_version() {
        let (from, to) = (MadePackage::tree().release(), MadePackage::tree().release());
        let mut naming = naming();
        let refused = |naming: &PairNaming| pair(&from, &to, naming).unwrap_err().to_string();
        let all =
            "tree does not state its name, architecture and version; add --pkg, --arch and --base-version";
        assert_eq!(refused(&naming), all);
        naming.pkg = Some("ACMEweb".to_owned());
        let two = "tree does not state its architecture and version; add --arch and --base-version";
        assert_eq!(refused(&naming), two);
        naming.arch = Some("all".to_owned());
        assert_eq!(refused(&naming), "tree does not state its version; add --base-version");
        naming.base_version = Some("2.0".to_owned());
        assert_eq!(pair(&from, &to, &naming).unwrap().pairs.len(), 1);
    }

    #[test]
    fn names_become_those_of_packages_or_are_refused() {
        assert_eq!(usual_name(ReleaseForm::Deb, "libstdc++6"), "DEBlibstdc++6");
        assert_eq!(usual_name(ReleaseForm::Rpm, "python3.11_x"), "RPMpython3-11-x");
        let long = "a-name-of-more-than-thirty-two-bytes";
        let from = release([MadePackage::deb(long, "all", "1")]);
        let cut = pair(&from, &from, &naming()).unwrap().pairs[0].pkg.to_string();
        assert!(cut.starts_with("DEBa-name-of-more-than-th-") && cut.len() == 32, "{cut}");
        let mut naming = naming();
        naming.pkg_map.insert(long.to_owned(), long.to_owned());
        let refused = pair(&from, &from, &naming).unwrap_err().to_string();
        assert!(refused.contains("36 characters") && refused.ends_with("--pkg-map gives it another name"));
        naming.pkg_map.insert(long.to_owned(), "ACMElong".to_owned());
        assert_eq!(pair(&from, &from, &naming).unwrap().pairs[0].pkg.as_str(), "ACMElong");
        naming.pkg_map.insert(long.to_owned(), "ACME.long".to_owned());
        assert!(pair(&from, &from, &naming).unwrap_err().to_string().contains("has a dot"));
    }

    #[test]
    fn two_packages_of_one_name_are_refused() {
        let deb = MadePackage::deb;
        let twice = release([deb("a", "all", "1"), deb("a", "all", "2")]);
        assert!(matches!(pair(&twice, &twice, &naming()), Err(PairError::Twice { .. })));
        let equal = release([deb("a_b", "all", "1"), deb("a.b", "all", "1")]);
        assert!(matches!(pair(&equal, &equal, &naming()), Err(PairError::SameName { .. })));
        let other = release([deb("b", "all", "1")]);
        assert!(matches!(pair(&twice_free(), &other, &naming()), Err(PairError::None { .. })));
    }

    fn twice_free() -> Release {
        release([MadePackage::deb("a", "all", "1"), MadePackage::deb("c", "all", "1")])
    }
}
