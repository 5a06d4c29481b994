//! `patchadm verify`: checks whether everything that was recorded is still as recorded.
//!
//! Objects are compared with `contents` as pkgchk(1M) does it, and files that a patch delivered also with the BLAKE3 in its
//! undo manifest. Every undo archive is read to its end. Then the backout of each patch is planned with the rules and the
//! reader of a real backout, so that a backout reported as possible is possible. Nothing is locked or changed. As for every
//! query, the answer is made anew if a run begins or ends meanwhile, and there is none while a run is unfinished.
//!
//! Files of types `e` and `v` may be edited: their attributes are compared, their bytes are not.

mod archives;
mod kept_libraries;

use std::collections::BTreeMap;
use std::path::Path;

use crate::operation::check::{
    CheckError, CheckReport, CheckRequest, CheckScope, CheckedAspects, CheckedObject, DeliveredFile,
    DeliveredFiles, check_delivered,
};
use crate::operation::failure::Failure;
use crate::operation::patches::back_out::{KnownArchives, rehearse};
use crate::operation::queries::select::PackagePattern;
use crate::operation::record_damage::{damage_of_stages, find_damage};
use crate::operation::session::{RootAndPolicy, must_have_database};
use patchadm_changeset::format::manifest;
use patchadm_changeset::format::manifest::{Manifest, decode};
use patchadm_inputs::database::agreement::{ForeignChange, foreign_changes};
use patchadm_inputs::database::undo_data::ArchiveError;
use patchadm_inputs::database::{
    DatabaseError, IdentityFault, RecordDamage, RecordRepair, RecordView, ViewError, identity_fault,
    installed, read_consistently,
};
use patchadm_inputs::inventory::Installed;
use patchadm_inputs::native::NativeOrigin;
use patchadm_planning::plan::clock::Now;
use patchadm_planning::plan::kept_libraries::KeptLibrary;
use patchadm_planning::plan::patch::interrupted::{Interrupted, interrupted};
use patchadm_planning::plan::refusal::Reason;
use patchadm_rootfs::{Root, WorkMeter, never};
use patchadm_svr4::package::{ContentsLine, PkgInst};
use patchadm_svr4::patch::{PatchId, PatchRecords};

use kept_libraries::{FoundKept, LookAtKept};

pub use archives::{ArchiveState, ArchiveVerdict};
pub use kept_libraries::{KeptFault, KeptFinding};

/// The result of a verification.
#[derive(Debug)]
pub struct VerifyReport {
    /// The damage of the records themselves. Their contents are compared as far as they can be read.
    pub damage: Vec<RecordDamage>,
    /// The records that another program has changed since a run left them.
    pub changed: Vec<ForeignChange>,
    /// Every object that was compared, with its findings.
    pub objects: Vec<CheckedObject>,
    /// The patches, in the order of listings.
    pub patches: Vec<VerifiedPatch>,
    /// The patches that a tool without recovery left half applied to the packages.
    pub interrupted: Vec<Interrupted>,
    /// The findings about kept libraries. They are not looked for where records are damaged.
    pub kept: Vec<KeptFinding>,
    /// Whether a package was adopted from dpkg or rpm.
    pub has_native: bool,
}

/// The findings about an applied patch.
#[derive(Debug)]
pub struct VerifiedPatch {
    /// Its id.
    pub id: PatchId,
    /// Its undo archives, package by package.
    pub archives: Vec<ArchiveVerdict>,
    /// Whether it could be backed out now, and why not.
    pub backout: Result<(), Failure>,
    /// The libraries from before the patch that are kept for the programs that still load them; only of an effective patch.
    pub kept: Vec<KeptLibrary>,
}

/// The reason why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The objects cannot be compared, or a run is unfinished.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// The root has no package database, or its policy is invalid.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// A word names neither an applied patch nor an installed package.
    #[error("{0} is neither an applied patch nor an installed package")]
    Unknown(String),
}

impl From<ViewError> for VerifyError {
    fn from(error: ViewError) -> Self {
        Self::Check(error.into())
    }
}

impl From<DatabaseError> for VerifyError {
    fn from(error: DatabaseError) -> Self {
        Self::Check(error.into())
    }
}

impl VerifiedPatch {
    /// Returns why the undo data of the patch is not as it was written, or not where the records say: the defect of an
    /// archive, or of its use by a backout. `None` if the undo data is sound, and if none was kept.
    pub fn damage(&self) -> Option<UndoDamage<'_>> {
        let of_archive = self.unusable().find(|error| !error.is_closed()).map(UndoDamage::Archive);
        let of_backout = || match &self.backout {
            Err(Failure::Archive(error)) if error.is_closed() => None,
            // It is away on purpose.
            Err(Failure::Archive(ArchiveError::Exported { .. })) => None,
            Err(Failure::Archive(error)) => Some(UndoDamage::Archive(error)),
            Err(failure @ Failure::Source(_)) => Some(UndoDamage::Other(failure)),
            Err(failure @ Failure::Refused(refusal))
                if matches!(*refusal.reason, Reason::BadUndoData { .. }) =>
            {
                Some(UndoDamage::Other(failure))
            }
            _ => None,
        };
        of_archive.or_else(of_backout)
    }

    /// Returns whether the caller may not read the undo data of the patch, or the records of it. Then nothing is known of
    /// it.
    pub fn is_closed(&self) -> bool {
        let is_backout_closed = matches!(&self.backout, Err(failure) if failure.is_refused_access());
        is_backout_closed || self.unusable().any(ArchiveError::is_closed)
    }

    fn unusable(&self) -> impl Iterator<Item = &ArchiveError> {
        self.archives.iter().filter_map(|archive| match &archive.state {
            ArchiveState::Unusable(error) => Some(error),
            ArchiveState::Sound { .. } | ArchiveState::None(_) => None,
        })
    }
}

/// Undo data that is of no use.
#[derive(Clone, Copy, Debug)]
pub enum UndoDamage<'a> {
    /// An archive is missing, unreadable or not as it was written.
    Archive(&'a ArchiveError),
    /// A backout cannot use its contents.
    Other(&'a Failure),
}

impl VerifyReport {
    /// Returns the objects that are not as they were recorded.
    pub fn wrong(&self) -> impl Iterator<Item = &CheckedObject> {
        self.objects.iter().filter(|checked| !checked.findings.is_empty())
    }
}

/// Verifies what `words` name: ids of applied patches, with the packages that they are applied to, and packages, with the
/// patches that are applied to them. Verifies everything if there are no words. `undo_dir` is the directory of archives that
/// are no longer where their `remote` points. `workers` threads read, and `meter` knows how far they are, where
/// somebody looks at it.
pub fn verify(
    root: &Root,
    words: &[String],
    undo_dir: Option<&Path>,
    workers: usize,
    now: &Now,
    meter: Option<&WorkMeter>,
) -> Result<VerifyReport, VerifyError> {
    let ground = RootAndPolicy::of(root)?;
    must_have_database(root)?;
    read_consistently(root, |view| {
        if view.is_during_run() {
            return Err(CheckError::Unfinished(root.prefix().display().to_string()).into());
        }
        let mut damage = find_damage(view, workers, &never)?;
        damage.extend(damage_of_stages(view)?);
        let all = PatchedPackages::read(view, &ground.policy.separator, &damage)?;
        let chosen = all.chosen(words, &ground.policy.separator, &damage)?;
        let (archives, known) = archives::verify_all(&ground, &chosen.archives, undo_dir, workers, meter)?;
        let has_contents = damage.iter().all(|damage| damage.repair != RecordRepair::Contents);
        let objects = if has_contents && !chosen.packages.is_empty() {
            let delivered = delivered(&ground, &all, &chosen, &known);
            check_delivered(view, &ground.host, &chosen.check_request(&all, workers), &delivered, meter)?
        } else {
            CheckReport::default()
        };
        let ids = chosen.patches();
        let stopping = damage.iter().find(|damage| damage.stops_changes()).cloned();
        let stopped = Stopped { identity: identity_fault(root)?, damage: stopping.clone() };
        let backouts = rehearse(&ground, &ids, known, undo_dir, now)?;
        let mut kept = if stopping.is_none() {
            let packages = all.0.iter().map(|(name, (installed, applied))| (name, installed, applied));
            let is_meant = |package: &PkgInst| chosen.packages.contains(package);
            LookAtKept { view, ground: &ground, now }.of(packages, is_meant)?
        } else {
            FoundKept::default()
        };
        let mut patches: BTreeMap<PatchId, Vec<ArchiveVerdict>> = BTreeMap::new();
        for (of, archive) in archives {
            patches.entry(of.patch).or_default().push(archive);
        }
        let patches = ids.into_iter().zip(backouts).map(|(id, backout)| {
            let archives = patches.remove(&id).unwrap_or_default();
            let kept = kept.by_patch.remove(&id).unwrap_or_default();
            VerifiedPatch { id, archives, backout: stopped.failure().map_or(backout, Err), kept }
        });
        let patches = patches.collect();
        let interrupted = chosen.interrupted(&all, &ground.policy.separator);
        let changed = foreign_changes(view)?;
        let (objects, kept, has_native) = (objects.checked, kept.findings, all.have_native());
        Ok(VerifyReport { damage, changed, objects, patches, interrupted, kept, has_native })
    })
}

/// The obstacle to every change of a root: then no patch can be backed out.
struct Stopped {
    identity: Option<IdentityFault>,
    damage: Option<RecordDamage>,
}

impl Stopped {
    fn failure(&self) -> Option<Failure> {
        let identity = self.identity.clone().map(Failure::from);
        identity.or_else(|| self.damage.clone().map(|damage| DatabaseError::from(damage).into()))
    }
}

/// The installed packages with the patches that are applied to each.
struct PatchedPackages(BTreeMap<PkgInst, (Installed, PatchRecords)>);

/// An archive to be verified.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ArchiveToVerify {
    patch: PatchId,
    package: PkgInst,
    /// The name of its save directory.
    saved_as: String,
    /// Whether the package has a save directory of the patch. Without it, no undo data was kept, or it was given up or lost.
    is_kept: bool,
}

/// The archives, patches and packages to verify.
struct ChosenArchives {
    packages: Vec<PkgInst>,
    archives: Vec<ArchiveToVerify>,
}

impl PatchedPackages {
    /// Reads the packages and their patches, except those whose records are damaged.
    fn read(view: &RecordView<'_>, separator: &str, damage: &[RecordDamage]) -> Result<Self, DatabaseError> {
        let mut packages = BTreeMap::new();
        let is_sound = |package: &PkgInst| {
            let mut stopping = damage.iter().filter(|damage| damage.stops_changes());
            stopping.all(|damage| damage.package() != Some(package))
        };
        for package in installed::packages(view)?.into_iter().filter(is_sound) {
            let Some(found) = installed::installed(view, &package)? else { continue };
            let Ok(applied) = PatchRecords::from_params(&package, &found.params, separator) else { continue };
            packages.insert(package, (found, applied));
        }
        Ok(Self(packages))
    }

    /// Tells whether one of them was adopted from a package manager of the system.
    fn have_native(&self) -> bool {
        self.0.values().any(|(installed, _)| NativeOrigin::of(&installed.params).is_some())
    }

    /// Returns what the words name. A word that is both an id and the name of a package is taken as the id.
    fn chosen(
        &self,
        words: &[String],
        separator: &str,
        damage: &[RecordDamage],
    ) -> Result<ChosenArchives, VerifyError> {
        let mut chosen = ChosenArchives { packages: Vec::new(), archives: Vec::new() };
        if words.is_empty() {
            self.0.keys().for_each(|package| self.choose(&mut chosen, package, None));
        }
        for word in words {
            let id = PatchId::parse(word, separator).ok();
            let has_patch = |applied: &PatchRecords| id.as_ref().is_some_and(|id| applied.list.contains(id));
            let of_patch: Vec<&PkgInst> =
                self.0.iter().filter(|(_, (_, applied))| has_patch(applied)).map(|(name, _)| name).collect();
            let pattern = PackagePattern::parse(word);
            let named: Vec<&PkgInst> = self.0.keys().filter(|name| pattern.fits(name.as_str())).collect();
            match (of_patch.is_empty(), named.is_empty()) {
                (false, _) => of_patch.iter().for_each(|name| self.choose(&mut chosen, name, id.as_ref())),
                (true, false) => named.iter().for_each(|name| self.choose(&mut chosen, name, None)),
                (true, true) => {
                    let half = id.as_ref().map(|id| self.half_applied(id, separator)).unwrap_or_default();
                    let mut damaged = damage.iter().filter_map(RecordDamage::package);
                    if half.is_empty() && !damaged.any(|name| pattern.fits(name.as_str())) {
                        return Err(VerifyError::Unknown(word.clone()));
                    }
                    for name in half {
                        self.choose(&mut chosen, name, id.as_ref());
                    }
                }
            }
        }
        Ok(chosen)
    }

    /// Returns the packages to which a tool without recovery left a patch half applied.
    fn half_applied(&self, id: &PatchId, separator: &str) -> Vec<&PkgInst> {
        let is_half = |(package, (installed, _)): &(&PkgInst, &(Installed, PatchRecords))| {
            interrupted(package, installed, separator).iter().any(|half| half.patch == *id)
        };
        self.0.iter().filter(is_half).map(|(package, _)| package).collect()
    }

    /// Adds a package, with the archive of one patch or of all.
    fn choose(&self, chosen: &mut ChosenArchives, package: &PkgInst, only: Option<&PatchId>) {
        if !chosen.packages.contains(package) {
            chosen.packages.push(package.clone());
        }
        for of in self.archives_of(package).filter(|of| only.is_none_or(|id| of.patch == *id)) {
            if !chosen.archives.contains(&of) {
                chosen.archives.push(of);
            }
        }
    }

    /// Returns the archives that a package has or should have, in the order in which the patches were applied.
    fn archives_of(&self, package: &PkgInst) -> impl Iterator<Item = ArchiveToVerify> {
        let found = self.0.get(package);
        found.into_iter().flat_map(move |(installed, applied)| {
            applied.list.iter().map(move |patch| {
                let mut saves = installed.saves.keys();
                let saved = saves.find(|name| PatchId::new(name).is_ok_and(|other| other == *patch));
                ArchiveToVerify {
                    patch: patch.clone(),
                    package: applied.package.clone(),
                    saved_as: saved.cloned().unwrap_or_else(|| patch.to_string()),
                    is_kept: saved.is_some(),
                }
            })
        })
    }
}

impl ChosenArchives {
    /// Returns the request to compare the objects of the packages.
    fn check_request(&self, all: &PatchedPackages, workers: usize) -> CheckRequest {
        let is_all = self.packages.len() == all.0.len();
        let named = self.packages.iter().filter(|_| !is_all);
        let packages = named.map(|package| PackagePattern::One(package.to_string())).collect();
        let aspects = CheckedAspects { attributes: true, contents: true, ..CheckedAspects::default() };
        let scope = CheckScope { packages, ..CheckScope::default() };
        CheckRequest { scope, aspects, workers, ..CheckRequest::default() }
    }

    /// Returns the patches that were left half applied to the packages.
    fn interrupted(&self, all: &PatchedPackages, separator: &str) -> Vec<Interrupted> {
        let of =
            |package| all.0.get(package).map(|(installed, _)| interrupted(package, installed, separator));
        self.packages.iter().filter_map(of).flatten().collect()
    }

    /// Returns the patches, in the order of listings.
    fn patches(&self) -> Vec<PatchId> {
        let mut ids: Vec<PatchId> = self.archives.iter().map(|of| of.patch.clone()).collect();
        ids.sort();
        ids.dedup();
        ids
    }
}

/// Returns what the patches of the packages delivered.
fn delivered(
    ground: &RootAndPolicy,
    all: &PatchedPackages,
    chosen: &ChosenArchives,
    known: &KnownArchives,
) -> DeliveredFiles {
    let mut delivered = DeliveredFiles::new();
    for of in chosen.packages.iter().flat_map(|package| all.archives_of(package)) {
        let key = (of.package, of.saved_as);
        match known.get(&key) {
            Some(manifest) => manifest.iter().for_each(|manifest| note(&mut delivered, &of.patch, manifest)),
            // The patch is not verified itself. If its manifest cannot be read, it says nothing about files.
            None => archives::manifest(ground, &key.0, &key.1)
                .iter()
                .for_each(|manifest| note(&mut delivered, &of.patch, manifest)),
        }
    }
    delivered
}

/// Notes what a patch delivered. If it left a path alone or removed it, the file of an earlier patch no longer counts there.
fn note(delivered: &mut DeliveredFiles, patch: &PatchId, manifest: &Manifest) {
    for record in manifest.objects.iter().filter(|record| !record.kept) {
        let Some(path) = record.object_path() else { continue };
        let line = record.new_line.as_ref().and_then(|line| ContentsLine::parse(&decode(line)).ok());
        let b3 = record.became.as_ref().and_then(manifest::RecordedState::digest);
        match line.zip(b3) {
            Some((line, b3)) => {
                let file = DeliveredFile { object: line.object, b3, patch: patch.to_string() };
                delivered.insert(path, file);
            }
            None => drop(delivered.remove(&path)),
        }
    }
}
