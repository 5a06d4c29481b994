//! Which registrations no longer say what the native package manager says.

use std::collections::BTreeMap;
use std::fmt;

use super::dpkg::DpkgRecords;
use super::rpm::RpmRecords;
use super::{NativeError, NativeManager, NativeOrigin, NativePresence, NativeRegistration};
use patchadm_rootfs::Root;
use patchadm_svr4::package::{Params, PkgInst};

/// What became of a native package since it was adopted or refreshed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NativeChange {
    /// Another version is installed.
    Upgraded {
        /// Whose package it is, and its name.
        origin: NativeOrigin,
        /// The registered version.
        from: String,
        /// The installed one.
        to: String,
    },
    /// The same version was installed again, or its records were moved.
    Reinstalled {
        /// Whose package it is, and its name.
        origin: NativeOrigin,
        /// The version.
        version: String,
    },
    /// Its manager is in the middle of a change, or broke one off.
    Busy {
        /// Whose package it is, and its name.
        origin: NativeOrigin,
    },
    /// It was removed.
    Removed {
        /// Whose package it is, and its name.
        origin: NativeOrigin,
        /// The registered version.
        from: String,
    },
    /// The records of its manager cannot be read, so nothing is known.
    Unknown {
        /// Whose package it is, and its name.
        origin: NativeOrigin,
        /// Why not.
        reason: String,
    },
}

impl NativeChange {
    /// Returns whose package it is, and its name.
    pub fn origin(&self) -> &NativeOrigin {
        match self {
            Self::Upgraded { origin, .. }
            | Self::Reinstalled { origin, .. }
            | Self::Busy { origin }
            | Self::Removed { origin, .. }
            | Self::Unknown { origin, .. } => origin,
        }
    }

    /// Returns the registered version and the installed one, as far as they are known.
    pub fn versions(&self) -> (Option<&str>, Option<&str>) {
        match self {
            Self::Upgraded { from, to, .. } => (Some(from), Some(to)),
            Self::Reinstalled { version, .. } => (Some(version), Some(version)),
            Self::Removed { from, .. } => (Some(from), None),
            Self::Busy { .. } | Self::Unknown { .. } => (None, None),
        }
    }

    /// Tells whether a refresh can take it up now.
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
            Self::Busy { .. } => write!(f, "{manager} has not finished with {name}"),
            Self::Removed { from, .. } => write!(f, "{manager} removed {name} {from} since it was adopted"),
            Self::Unknown { reason, .. } => {
                write!(f, "it cannot be told whether {manager} changed {name} since it was adopted: {reason}")
            }
        }
    }
}

/// Returns the packages whose registration no longer says what their manager says. Where none of them was adopted from one,
/// nothing is looked at.
pub fn native_changes<'p>(
    root: &Root,
    packages: impl Iterator<Item = (&'p PkgInst, &'p Params)>,
) -> BTreeMap<PkgInst, NativeChange> {
    let mut adopted: BTreeMap<NativeManager, Vec<Adopted<'p>>> = BTreeMap::new();
    for (package, params) in packages {
        if let Some(origin) = NativeOrigin::of(params) {
            let registration = NativeRegistration::of(params);
            adopted.entry(origin.manager).or_default().push(Adopted { package, origin, registration });
        }
    }
    let mut changes = BTreeMap::new();
    for (manager, adopted) in adopted {
        let origins: Vec<&NativeOrigin> = adopted.iter().map(|one| &one.origin).collect();
        match presences(root, manager, &origins) {
            Ok(presences) => {
                let changed = adopted.into_iter().zip(presences);
                changes.extend(
                    changed.filter_map(|(one, presence)| Some((one.package.clone(), one.change(presence)?))),
                );
            }
            Err(error) => {
                let reason = error.to_string();
                changes.extend(adopted.into_iter().map(|Adopted { package, origin, .. }| {
                    (package.clone(), NativeChange::Unknown { origin, reason: reason.clone() })
                }));
            }
        }
    }
    changes
}

fn presences(
    root: &Root,
    manager: NativeManager,
    origins: &[&NativeOrigin],
) -> Result<Vec<Result<NativePresence, NativeError>>, NativeError> {
    match manager {
        NativeManager::Dpkg => DpkgRecords::of(root)?.presences(origins),
        NativeManager::Rpm => RpmRecords::of(root)?.presences(origins),
    }
}

/// An adopted package, and what its registration says.
struct Adopted<'p> {
    package: &'p PkgInst,
    origin: NativeOrigin,
    registration: NativeRegistration,
}

impl Adopted<'_> {
    fn change(self, presence: Result<NativePresence, NativeError>) -> Option<NativeChange> {
        let Self {
            origin, registration: NativeRegistration { version: from, stamp: registered, .. }, ..
        } = self;
        let presence = match presence {
            Ok(presence) => presence,
            Err(error) => return Some(NativeChange::Unknown { origin, reason: error.to_string() }),
        };
        match presence {
            NativePresence::Gone => Some(NativeChange::Removed { origin, from }),
            NativePresence::Busy => Some(NativeChange::Busy { origin }),
            NativePresence::Installed { version, .. } if version != from => {
                Some(NativeChange::Upgraded { origin, from, to: version })
            }
            NativePresence::Installed { version, stamp } => {
                // A registration of an earlier form has no stamp: it is taken for its version.
                let is_same = registered.is_none_or(|registered| registered == stamp);
                (!is_same).then_some(NativeChange::Reinstalled { origin, version })
            }
        }
    }
}
