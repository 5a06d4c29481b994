//! Libraries and their users: features that a patch removes although others need them, and needs that only another
//! patch meets.
//!
//! Changed files are examined first, others only if something is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Read};

use super::delivery::OtherPatch;
use super::pairs::ReleaseSide;
use super::sparse::SparsePackage;
use crate::release::{Release, ReleasePackage};
use patchadm_inputs::source::SourceError;
use patchadm_libraries::elf::{self, ElfFacts, ElfMachine};
use patchadm_releases::ReleaseObject;
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::patch::PatchId;

const LARGEST: u64 = 128 << 20;

/// A library itself, or a symbol version of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LibraryFeature {
    pub machine: ElfMachine,
    /// `DT_SONAME`.
    pub soname: String,
    pub version: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AbiFinding {
    /// An object that stays needs a feature that is gone.
    Lost {
        feature: LibraryFeature,
        /// The library of the old release, with its package.
        was_in: String,
        /// With its package.
        needed_by: String,
    },
    /// A new object needs a feature that only another patch provides.
    Requires {
        patch: PatchId,
        feature: LibraryFeature,
        /// With its package.
        needed_by: String,
    },
    /// A file was not examined.
    Skipped { file: String, reason: String },
}

#[derive(Debug, thiserror::Error)]
pub enum AbiError {
    #[error("{origin}: {error}")]
    Read { origin: String, error: io::Error },
    #[error(transparent)]
    Source(#[from] SourceError),
}

impl fmt::Display for LibraryFeature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{version} of {}", self.soname),
            None => f.write_str(&self.soname),
        }
    }
}

impl fmt::Display for AbiFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { feature, was_in, needed_by } => {
                write!(f, "{needed_by} needs {feature}, which {was_in} no longer provides")
            }
            Self::Requires { patch, feature, needed_by } => {
                write!(f, "{needed_by} needs {feature}, which only {patch} provides; it should be required")
            }
            Self::Skipped { file, reason } => write!(f, "{file} was not examined: {reason}"),
        }
    }
}

impl AbiFinding {
    /// True if it breaks something that works.
    pub fn is_break(&self) -> bool {
        matches!(self, Self::Lost { .. })
    }

    pub fn code(&self) -> &'static str {
        match self {
            Self::Lost { .. } => "abi",
            Self::Requires { .. } => "requires",
            Self::Skipped { .. } => "skipped",
        }
    }
}

type Features = BTreeMap<LibraryFeature, String>;

/// Changes of a patch to libraries, collected by package.
#[derive(Debug, Default)]
pub struct AbiCheck {
    old: Features,
    new: Features,
    needed: Features,
    /// By the origin of their package in the new release.
    changed: BTreeMap<String, BTreeSet<ObjectPath>>,
    skipped: Vec<AbiFinding>,
}

impl AbiCheck {
    /// Examines objects that a patch replaces or deletes.
    pub fn goes(&mut self, old: &ReleasePackage, changed: BTreeSet<ObjectPath>) -> Result<(), AbiError> {
        let provides = &mut self.old;
        look_into(old, &|path| changed.contains(path), &mut self.skipped, &mut |place, object| {
            provides.extend(provided_features(object).map(|feature| (feature, place.to_owned())));
        })?;
        self.changed.entry(old.origin.clone()).or_default().extend(changed);
        Ok(())
    }

    /// Examines a delivered file; `place` is used in findings.
    pub fn comes(&mut self, place: &str, data: &mut dyn Read) -> io::Result<()> {
        if let Some(object) = elf_facts(place, data, &mut self.skipped)? {
            self.new.extend(provided_features(&object).map(|feature| (feature, place.to_owned())));
        }
        Ok(())
    }

    /// Finds needs of remaining objects that the release no longer meets.
    pub fn breaks(self, base: &Release) -> Result<Vec<AbiFinding>, AbiError> {
        let mut findings = self.findings(base, &[])?;
        findings.retain(AbiFinding::is_break);
        Ok(findings)
    }

    pub(super) fn look_at(
        &mut self,
        old: &ReleasePackage,
        new: &ReleasePackage,
        sparse: &SparsePackage,
    ) -> Result<(), AbiError> {
        let delivered = sparse.delivered.values().filter(|delivered| delivered.side == ReleaseSide::To);
        let delivered: BTreeSet<ObjectPath> = delivered.map(|one| one.object.path.clone()).collect();
        let gone: BTreeSet<&ObjectPath> = delivered.iter().chain(&sparse.deleted).collect();
        let (mut before, mut after) = (Features::new(), Features::new());
        let mut needed = Features::new();
        look_into(old, &|path| gone.contains(path), &mut self.skipped, &mut |place, object| {
            before.extend(provided_features(object).map(|feature| (feature, place.to_owned())));
        })?;
        look_into(new, &|path| delivered.contains(path), &mut self.skipped, &mut |place, object| {
            after.extend(provided_features(object).map(|feature| (feature, place.to_owned())));
            needed.extend(needed_features(object).map(|feature| (feature, place.to_owned())));
        })?;
        self.old.append(&mut before);
        self.new.append(&mut after);
        self.needed.append(&mut needed);
        self.changed.entry(new.origin.clone()).or_default().extend(delivered);
        Ok(())
    }

    pub(super) fn findings(
        mut self,
        to: &Release,
        others: &[OtherPatch],
    ) -> Result<Vec<AbiFinding>, AbiError> {
        self.old.retain(|feature, _| !self.new.contains_key(feature));
        let provided_elsewhere = provided_by(others, &self.needed, &mut self.skipped)?;
        self.needed
            .retain(|feature, _| !self.new.contains_key(feature) && provided_elsewhere.contains_key(feature));
        let mut findings = std::mem::take(&mut self.skipped);
        if self.old.is_empty() && self.needed.is_empty() {
            return Ok(findings);
        }
        let mut needed_by_rest = Features::new();
        for package in &to.packages {
            let changed = self.changed.get(&package.origin);
            let stays = |path: &ObjectPath| changed.is_none_or(|changed| !changed.contains(path));
            look_into(package, &stays, &mut findings, &mut |place, object| {
                for feature in provided_features(object) {
                    self.old.remove(&feature);
                    self.needed.remove(&feature);
                }
                needed_by_rest.extend(needed_features(object).map(|feature| (feature, place.to_owned())));
            })?;
        }
        for (feature, was_in) in self.old {
            if let Some(needed_by) = needed_by_rest.get(&feature) {
                findings.push(AbiFinding::Lost { needed_by: needed_by.clone(), feature, was_in });
            }
        }
        for (feature, needed_by) in self.needed {
            if let Some(patch) = provided_elsewhere.get(&feature) {
                findings.push(AbiFinding::Requires { patch: patch.clone(), feature, needed_by });
            }
        }
        Ok(findings)
    }
}

/// Finds the first patch that provides each feature.
pub fn find_providers(
    patches: &[OtherPatch],
    features: impl Iterator<Item = LibraryFeature>,
) -> Result<BTreeMap<LibraryFeature, PatchId>, AbiError> {
    let needed: Features = features.map(|feature| (feature, String::new())).collect();
    provided_by(patches, &needed, &mut Vec::new())
}

fn provided_by(
    others: &[OtherPatch],
    needed: &Features,
    skipped: &mut Vec<AbiFinding>,
) -> Result<BTreeMap<LibraryFeature, PatchId>, AbiError> {
    let mut found = BTreeMap::new();
    if needed.is_empty() {
        return Ok(found);
    }
    for other in others {
        let id = &other.patch.id;
        other.each_file(&mut |path, data| {
            let Some(object) = elf_facts(&format!("{id}: {path}"), data, skipped)? else {
                return Ok(());
            };
            for feature in provided_features(&object).filter(|feature| needed.contains_key(feature)) {
                found.entry(feature).or_insert_with(|| id.clone());
            }
            Ok(())
        })?;
    }
    Ok(found)
}

/// Passes each wanted program and library to `look`, under one of its names.
fn look_into(
    package: &ReleasePackage,
    wanted: &dyn Fn(&ObjectPath) -> bool,
    skipped: &mut Vec<AbiFinding>,
    look: &mut dyn FnMut(&str, &ElfFacts),
) -> Result<(), AbiError> {
    let candidates: BTreeSet<&ObjectPath> = package
        .objects
        .iter()
        .filter(|object| may_be_linked(object) && wanted(&object.path))
        .map(|object| &object.path)
        .collect();
    if candidates.is_empty() {
        return Ok(());
    }
    let name = package.name.as_deref().unwrap_or(&package.origin);
    let read = package.contents.each(&|path| candidates.contains(path), &mut |path, data| {
        let place = format!("{name}: {path}");
        if let Some(object) = elf_facts(&place, data, skipped)? {
            look(&place, &object);
        }
        Ok(())
    });
    read.map_err(|error| AbiError::Read { origin: package.origin.clone(), error })
}

fn may_be_linked(object: &ReleaseObject) -> bool {
    let is_named_so = || object.path.name().windows(3).any(|part| part == b".so");
    object.content().is_some_and(|content| content.size > 0)
        && (object.mode.bits() & 0o111 != 0 || is_named_so())
}

/// Reports files that are too large or damaged.
fn elf_facts(
    place: &str,
    data: &mut dyn Read,
    skipped: &mut Vec<AbiFinding>,
) -> io::Result<Option<ElfFacts>> {
    let mut bytes = Vec::new();
    data.take(elf::MAGIC.len() as u64).read_to_end(&mut bytes)?;
    if bytes != elf::MAGIC {
        return Ok(None);
    }
    data.take(LARGEST).read_to_end(&mut bytes)?;
    let read = if bytes.len() as u64 > LARGEST {
        Err("it is larger than 128 MiB".to_owned())
    } else {
        elf::read(&mut &bytes[..]).map_err(|error| error.to_string())
    };
    Ok(read.unwrap_or_else(|reason| {
        skipped.push(AbiFinding::Skipped { file: place.to_owned(), reason });
        None
    }))
}

pub fn provided_features(object: &ElfFacts) -> impl Iterator<Item = LibraryFeature> {
    let feature = |soname: &String, version: Option<&String>| LibraryFeature {
        machine: object.machine,
        soname: soname.clone(),
        version: version.cloned(),
    };
    object.soname.iter().flat_map(move |soname| {
        let versions = object.defines.iter().map(move |version| feature(soname, Some(version)));
        std::iter::once(feature(soname, None)).chain(versions)
    })
}

pub fn needed_features(object: &ElfFacts) -> impl Iterator<Item = LibraryFeature> {
    let machine = object.machine;
    let library = move |soname: &String| LibraryFeature { machine, soname: soname.clone(), version: None };
    let versions = object.needs.iter().filter(|need| !need.is_weak).map(move |need| LibraryFeature {
        machine,
        soname: need.library.clone(),
        version: Some(need.version.clone()),
    });
    object.needed.iter().map(library).chain(versions)
}
