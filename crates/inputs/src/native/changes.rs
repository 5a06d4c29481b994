//! Finds registrations that no longer agree with the native package manager.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::{
    NativeError, NativeIndex, NativeManager, NativeOrigin, NativePackage, NativePresence, NativeReader,
    NativeRegistration, RegisteredPackage, UnfinishedChange,
};
use patchadm_svr4::package::{ObjectPath, Params, PkgInst};

/// Since adoption or the last refresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NativeChange {
    Upgraded {
        origin: NativeOrigin,
        from: String,
        to: String,
    },
    /// The same version was installed again, or its records were moved.
    Reinstalled {
        origin: NativeOrigin,
        version: String,
    },
    /// dpkg-divert(1) moved its files.
    Diverted {
        origin: NativeOrigin,
        version: String,
    },
    /// Unchanged, but another native package took over one of its paths, or an override undid a change of a patch.
    Overruled {
        origin: NativeOrigin,
        version: String,
        path: ObjectPath,
        /// The end of a sentence about the path.
        how: String,
    },
    /// Its manager is changing it, or was interrupted.
    Busy {
        origin: NativeOrigin,
        unfinished: UnfinishedChange,
    },
    Removed {
        origin: NativeOrigin,
        from: String,
    },
    /// The records of its manager cannot be read.
    Unknown {
        origin: NativeOrigin,
        reason: String,
    },
}

impl NativeChange {
    pub fn origin(&self) -> &NativeOrigin {
        match self {
            Self::Upgraded { origin, .. }
            | Self::Reinstalled { origin, .. }
            | Self::Diverted { origin, .. }
            | Self::Overruled { origin, .. }
            | Self::Busy { origin, .. }
            | Self::Removed { origin, .. }
            | Self::Unknown { origin, .. } => origin,
        }
    }

    /// Returns the registered version and the installed one, as far as known.
    pub fn versions(&self) -> (Option<&str>, Option<&str>) {
        match self {
            Self::Upgraded { from, to, .. } => (Some(from), Some(to)),
            Self::Reinstalled { version, .. }
            | Self::Diverted { version, .. }
            | Self::Overruled { version, .. } => (Some(version), Some(version)),
            Self::Removed { from, .. } => (Some(from), None),
            Self::Busy { .. } | Self::Unknown { .. } => (None, None),
        }
    }

    /// A refresh can accept it now.
    pub fn is_settled(&self) -> bool {
        !matches!(self, Self::Busy { .. } | Self::Unknown { .. })
    }
}

impl fmt::Display for NativeChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NativeOrigin { manager, name, .. } = self.origin();
        match self {
            Self::Upgraded { from, to, .. } => {
                write!(f, "{manager} changed {name} from {from} to {to} since it was adopted")
            }
            Self::Reinstalled { version, .. } => {
                write!(f, "{manager} installed {name} {version} again since it was adopted")
            }
            Self::Diverted { version, .. } => {
                write!(f, "the diversions of files of {name} {version} changed since it was adopted")
            }
            Self::Overruled { path, how, .. } => write!(f, "{path} {how}"),
            Self::Busy { .. } => write!(f, "{manager} has not finished with {name}"),
            Self::Removed { from, .. } => write!(f, "{manager} removed {name} {from} since it was adopted"),
            Self::Unknown { reason, .. } => {
                write!(f, "it is unknown whether {manager} changed {name} since it was adopted: {reason}")
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct NativeChanges {
    /// Packages with stale registrations.
    pub changes: BTreeMap<PkgInst, NativeChange>,
    /// Packages with a new stamp and otherwise equal records: the root was copied, or the same version was installed
    /// again.
    pub same_records: BTreeMap<PkgInst, String>,
}

/// Reads nothing if no package was adopted. `index` has the paths of all native packages.
pub fn native_changes<'p>(
    reader: &NativeReader,
    packages: impl Iterator<Item = (&'p PkgInst, &'p Params)>,
    index: impl FnOnce() -> &'p NativeIndex,
) -> NativeChanges {
    let mut found = NativeChanges::default();
    let all = presences(reader, packages);
    if all.is_empty() {
        return found;
    }
    let diverted = index().diverted_by_package();
    for (adopted, answer) in all {
        let presences = match answer {
            Ok(presences) => presences,
            Err(error) => {
                let reason = error.to_string();
                found.changes.extend(adopted.into_iter().map(|Adopted { package, origin, .. }| {
                    (package.clone(), NativeChange::Unknown { origin, reason: reason.clone() })
                }));
                continue;
            }
        };
        let has_other_diversions = |one: &Adopted<'_>| {
            let now = diverted.get(one.origin.name.as_str());
            let now = now.filter(|_| one.origin.manager == NativeManager::Dpkg);
            one.registration.diverted.as_deref().unwrap_or_default()
                != now.map(String::as_str).unwrap_or_default()
        };
        let seen: Vec<_> = adopted
            .into_iter()
            .zip(presences)
            .map(|(one, presence)| (has_other_diversions(&one), one, presence))
            .collect();
        let same = with_same_records(reader, &seen);
        for (has_other_diversions, one, presence) in seen {
            let package = one.package;
            let is_diverted = has_other_diversions && !same.contains(package);
            let stamp = match &presence {
                Ok(NativePresence::Installed { stamp, .. }) => stamp.clone(),
                _ => String::new(),
            };
            let Some(change) = one.change(presence, is_diverted) else { continue };
            if matches!(change, NativeChange::Reinstalled { .. }) && same.contains(package) {
                found.same_records.insert(package.clone(), stamp);
            }
            found.changes.insert(package.clone(), change);
        }
    }
    found
}

/// True if other files are diverted than registered.
type Seen<'p> = (bool, Adopted<'p>, Result<NativePresence, NativeError>);

/// Packages whose records equal the registered ones, although stamp or diversions differ.
fn with_same_records<'p>(reader: &NativeReader, seen: &[Seen<'p>]) -> BTreeSet<&'p PkgInst> {
    let is_doubtful = |(has_other_diversions, one, presence): &&Seen<'p>| match presence {
        Ok(NativePresence::Installed { version, stamp, .. }) => {
            let Adopted { registration, .. } = one;
            registration.version == *version
                && (*has_other_diversions || registration.stamp.as_ref().is_some_and(|known| known != stamp))
        }
        _ => false,
    };
    let doubtful: Vec<&Adopted<'p>> = seen.iter().filter(is_doubtful).map(|(_, one, _)| one).collect();
    let registered: Vec<RegisteredPackage<'_>> = doubtful.iter().map(|one| one.registered()).collect();
    let natives = reader.registered(&registered);
    let mut digests: BTreeMap<*const NativePackage, Option<String>> = BTreeMap::new();
    let is_same = |(one, now): &(&Adopted<'p>, Result<Arc<NativePackage>, NativeError>)| {
        let (Some(known), Ok(now)) = (&one.registration.digest, now) else { return false };
        // The reader holds the packages, and several registrations may name one.
        let digest = digests.entry(Arc::as_ptr(now)).or_insert_with(|| now.registration().digest);
        digest.as_ref() == Some(known)
    };
    doubtful.into_iter().zip(natives).filter(is_same).map(|(one, _)| one.package).collect()
}

type Presences<'p> = Vec<(Vec<Adopted<'p>>, Result<Vec<Result<NativePresence, NativeError>>, NativeError>)>;

fn presences<'p>(
    reader: &NativeReader,
    packages: impl Iterator<Item = (&'p PkgInst, &'p Params)>,
) -> Presences<'p> {
    let mut adopted: BTreeMap<NativeManager, Vec<Adopted<'p>>> = BTreeMap::new();
    for (package, params) in packages {
        if let Some(origin) = NativeOrigin::of(params) {
            let registration = NativeRegistration::of(params);
            let arch = origin.arch.clone().unwrap_or_else(|| params.text("ARCH").trim().to_owned());
            adopted.entry(origin.manager).or_default().push(Adopted { package, origin, arch, registration });
        }
    }
    let ask = |(manager, adopted): (NativeManager, Vec<Adopted<'p>>)| {
        let registered: Vec<RegisteredPackage<'_>> = adopted.iter().map(Adopted::registered).collect();
        let answer = reader.presences(manager, &registered);
        (adopted, answer)
    };
    adopted.into_iter().map(ask).collect()
}

/// The native package of each registration.
#[derive(Debug, Default)]
pub struct NativeClaims {
    by_name: BTreeMap<(NativeManager, String), ClaimsOnName>,
}

#[derive(Debug, Default)]
struct ClaimsOnName {
    packages: BTreeSet<PkgInst>,
    /// The first package of each version; one version of dpkg stands for all.
    by_arch: BTreeMap<String, BTreeMap<String, PkgInst>>,
}

impl NativeClaims {
    /// Asks package managers about adopted packages. If a package is gone or unknown, its registration counts.
    pub fn of<'p>(reader: &NativeReader, packages: impl Iterator<Item = (&'p PkgInst, &'p Params)>) -> Self {
        let mut claims = Self::default();
        for (adopted, presences) in presences(reader, packages) {
            let mut presences = presences.unwrap_or_default().into_iter();
            for one in adopted {
                let (version, arch) = match presences.next() {
                    Some(Ok(NativePresence::Installed { version, arch, .. })) => (version, arch),
                    _ => (one.registration.version, one.arch),
                };
                claims.claim(one.package.clone(), &one.origin, (&version, arch));
            }
        }
        claims
    }

    pub fn add(&mut self, package: PkgInst, native: &NativePackage) {
        self.claim(package, &native.origin, (&native.version, native.arch.clone()));
    }

    fn claim(&mut self, package: PkgInst, origin: &NativeOrigin, (version, arch): (&str, String)) {
        let of_name = self.by_name.entry((origin.manager, origin.name.clone())).or_default();
        of_name.packages.insert(package.clone());
        let version = claimed_version(origin.manager, version).to_owned();
        of_name.by_arch.entry(arch).or_default().entry(version).or_insert(package);
    }

    pub fn holder(&self, native: &NativePackage) -> Option<&PkgInst> {
        let of_arch = self.of_name(&native.origin)?.by_arch.get(&native.arch)?;
        of_arch.get(claimed_version(native.origin.manager, &native.version))
    }

    pub fn has_name(&self, native: &NativePackage, package: &PkgInst) -> bool {
        self.of_name(&native.origin).is_some_and(|claims| claims.packages.contains(package))
    }

    /// As exact as necessary to distinguish the package from others that are installed or registered.
    pub fn origin_of(&self, native: &NativePackage) -> NativeOrigin {
        let NativePackage { origin, version, arch, has_other_versions, .. } = native;
        if origin.manager == NativeManager::Dpkg {
            return origin.clone();
        }
        let claims = self.of_name(origin);
        let is_named = claims.is_some();
        let is_of_arch = claims.is_some_and(|claims| claims.by_arch.contains_key(arch));
        let (needs_arch, needs_version) =
            (is_named || *has_other_versions, is_of_arch || *has_other_versions);
        NativeOrigin {
            arch: needs_arch.then(|| arch.clone()),
            version: needs_version.then(|| version.clone()),
            ..origin.clone()
        }
    }

    fn of_name(&self, origin: &NativeOrigin) -> Option<&ClaimsOnName> {
        self.by_name.get(&(origin.manager, origin.name.clone()))
    }
}

fn claimed_version(manager: NativeManager, version: &str) -> &str {
    match manager {
        NativeManager::Dpkg => "",
        NativeManager::Rpm => version,
    }
}

struct Adopted<'p> {
    package: &'p PkgInst,
    origin: NativeOrigin,
    arch: String,
    registration: NativeRegistration,
}

impl Adopted<'_> {
    fn registered(&self) -> RegisteredPackage<'_> {
        RegisteredPackage { origin: &self.origin, version: &self.registration.version, arch: &self.arch }
    }

    fn change(
        self,
        presence: Result<NativePresence, NativeError>,
        is_diverted: bool,
    ) -> Option<NativeChange> {
        let Self {
            origin, registration: NativeRegistration { version: from, stamp: registered, .. }, ..
        } = self;
        let presence = match presence {
            Ok(presence) => presence,
            Err(error) => return Some(NativeChange::Unknown { origin, reason: error.to_string() }),
        };
        match presence {
            NativePresence::Gone => Some(NativeChange::Removed { origin, from }),
            NativePresence::Busy(unfinished) => Some(NativeChange::Busy { origin, unfinished }),
            NativePresence::Installed { version, .. } if version != from => {
                Some(NativeChange::Upgraded { origin, from, to: version })
            }
            NativePresence::Installed { version, .. } if is_diverted => {
                Some(NativeChange::Diverted { origin, version })
            }
            NativePresence::Installed { version, stamp, .. } => {
                // Registrations of an earlier form have no stamp, and are compared by version.
                let is_same = registered.is_none_or(|registered| registered == stamp);
                (!is_same).then_some(NativeChange::Reinstalled { origin, version })
            }
        }
    }
}
