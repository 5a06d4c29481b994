//! Compares packages and patches with their records, a query. Quick: attributes and sizes of objects and archives. With contents:
//! bytes, BLAKE3 of delivered files, whole archives, and a planned backout of each patch, by the code of a real one.
//! Bytes of types `e` and `v` are ignored.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use crate::operation::failure::Failure;
use crate::operation::libraries::{
    KeptLibraryState, KeptState, LibrariesBeforePatches, PatchedRecords, look_at_kept,
};
use crate::operation::object_check::{
    CheckScope, CheckedAspects, CheckedObject, DeliveredFile, DeliveredFiles, ObjectCheckError,
    ObjectCheckReport, ObjectCheckRequest, check_delivered,
};
use crate::operation::patches::back_out::{KnownArchives, rehearse};
use crate::operation::patches::undo_states::UndoState;
use crate::operation::queries::select::PackagePattern;
use crate::operation::record_damage::{damage_of_stages, find_damage};
use crate::operation::session::{RootAndPolicy, must_have_database};
use patchadm_changeset::format::manifest::{self, UndoManifest, decode};
use patchadm_inputs::database::agreement::{ForeignChange, foreign_changes};
use patchadm_inputs::database::undo_data::{ArchiveError, VerifiedManifest};
use patchadm_inputs::database::{
    DatabaseError, RecordDamage, RecordRepair, RecordView, ViewError, identity_fault, installed, ledger,
    marker, read_consistently,
};
use patchadm_inputs::format::ledger::{Ledger, LedgerLine, LedgerUndo};
use patchadm_inputs::inventory::{Installed, is_kept_package};
use patchadm_inputs::native::NativeOrigin;
use patchadm_planning::plan::clock::Now;
use patchadm_planning::plan::kept_libraries::KeptLibrary;
use patchadm_planning::plan::patch::interrupted::{Interrupted, interrupted};
use patchadm_planning::plan::refusal::Reason;
use patchadm_rootfs::{Root, WorkMeter, WorkUnit, never, side_by_side};
use patchadm_svr4::package::{ContentsLine, ObjectPath, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, PatchId, PatchRecords};

#[derive(Debug)]
pub struct SoftwareCheckReport {
    /// Readable contents are still compared.
    pub damage: Vec<RecordDamage>,
    /// Changed by another program since a run.
    pub changed: Vec<ForeignChange>,
    pub objects: Vec<CheckedObject>,
    /// In the order of listings.
    pub patches: Vec<CheckedPatch>,
    /// Left half applied by a tool without recovery.
    pub interrupted: Vec<Interrupted>,
    /// Empty if records are damaged.
    pub kept: Vec<KeptFinding>,
    /// A package was adopted from dpkg or rpm.
    pub has_native: bool,
}

#[derive(Debug)]
pub struct CheckedPatch {
    pub id: PatchId,
    pub archives: Vec<ArchiveVerdict>,
    /// `None` if contents were not read.
    pub backout: Option<Result<(), Failure>>,
    /// Old libraries that programs still load; effective patches only.
    pub kept: Vec<KeptLibrary>,
}

#[derive(Debug, thiserror::Error)]
pub enum SoftwareCheckError {
    #[error(transparent)]
    Check(#[from] ObjectCheckError),
    #[error(transparent)]
    Failure(#[from] Failure),
    #[error("{0} is neither an applied patch nor an installed package")]
    Unknown(String),
}

impl From<ViewError> for SoftwareCheckError {
    fn from(error: ViewError) -> Self {
        Self::Check(error.into())
    }
}

impl From<DatabaseError> for SoftwareCheckError {
    fn from(error: DatabaseError) -> Self {
        Self::Check(error.into())
    }
}

impl CheckedPatch {
    /// Returns the defect of the undo data, or of its use by a backout. `None` if it is sound, or was not kept.
    pub fn damage(&self) -> Option<UndoDamage<'_>> {
        let of_archive = self.unusable().find(|error| !error.is_closed()).map(UndoDamage::Archive);
        let of_backout = || match self.backout.as_ref()? {
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

    /// True if the caller may not read the undo data or its records.
    pub fn is_closed(&self) -> bool {
        let is_backout_closed = matches!(&self.backout, Some(Err(failure)) if failure.is_refused_access());
        is_backout_closed || self.unusable().any(ArchiveError::is_closed)
    }

    fn unusable(&self) -> impl Iterator<Item = &ArchiveError> {
        self.archives.iter().filter_map(|archive| match &archive.state {
            ArchiveState::Unusable(error) => Some(error),
            ArchiveState::Sound { .. } | ArchiveState::None(_) => None,
        })
    }
}

#[derive(Clone, Copy, Debug)]
pub enum UndoDamage<'a> {
    Archive(&'a ArchiveError),
    /// A backout cannot use its contents.
    Other(&'a Failure),
}

impl SoftwareCheckReport {
    pub fn wrong(&self) -> impl Iterator<Item = &CheckedObject> {
        self.objects.iter().filter(|checked| !checked.findings.is_empty())
    }
}

#[derive(Clone, Copy, Debug)]
pub struct SoftwareCheckRequest<'a> {
    /// Patches also stand for their packages, and packages for their patches. Empty for everything.
    pub words: &'a [String],
    /// Read every file and archive; otherwise only types, attributes and sizes.
    pub contents: bool,
    /// For archives that are no longer where their `remote` points.
    pub undo_dir: Option<&'a Path>,
    pub workers: usize,
}

pub fn check_software(
    root: &Root,
    request: SoftwareCheckRequest<'_>,
    now: &Now,
    meter: Option<&WorkMeter>,
) -> Result<SoftwareCheckReport, SoftwareCheckError> {
    let SoftwareCheckRequest { words, contents, undo_dir, workers } = request;
    let ground = RootAndPolicy::of(root)?;
    must_have_database(root)?;
    read_consistently(root, |view| {
        if view.is_during_run() {
            return Err(ObjectCheckError::Unfinished(root.prefix().display().to_string()).into());
        }
        let mut damage = find_damage(view, workers, &never)?;
        damage.extend(damage_of_stages(view)?);
        let all = PatchedPackages::read(view, &ground.policy.separator, &damage)?;
        let chosen = all.chosen(words, &ground.policy.separator, &damage)?;
        let (archives, known) = check_archives(&ground, &chosen.archives, request, meter)?;
        let has_contents = damage.iter().all(|damage| damage.repair != RecordRepair::Contents);
        let objects = if has_contents && !chosen.packages.is_empty() {
            let delivered =
                if contents { delivered(&ground, &all, &chosen, &known) } else { DeliveredFiles::default() };
            let check = chosen.check_request(&all, contents, workers);
            check_delivered(view, &ground.host, &check, &delivered, meter)?
        } else {
            ObjectCheckReport::default()
        };
        let ids = chosen.patches();
        // If the root cannot be changed at all, no patch can be backed out.
        let stopping = damage.iter().find(|damage| damage.stops_changes()).cloned();
        let identity = identity_fault(root)?;
        let obstacle = || {
            let identity = identity.clone().map(Failure::from);
            identity.or_else(|| stopping.clone().map(|damage| DatabaseError::from(damage).into()))
        };
        let mut backouts =
            if contents { rehearse(&ground, &ids, known, undo_dir, now)? } else { Vec::new() }.into_iter();
        let (kept, mut loaded) = if contents && stopping.is_none() {
            kept_findings(view, &ground, now, &all, &chosen.packages)?
        } else {
            (Vec::new(), LibrariesBeforePatches::new())
        };
        let mut verdicts: BTreeMap<PatchId, Vec<ArchiveVerdict>> = BTreeMap::new();
        for (of, archive) in archives {
            verdicts.entry(of.patch).or_default().push(archive);
        }
        let patches = ids.into_iter().map(|id| {
            let archives = verdicts.remove(&id).unwrap_or_default();
            let kept = loaded.remove(&id).unwrap_or_default();
            let backout = backouts.next().map(|backout| obstacle().map_or(backout, Err));
            CheckedPatch { id, archives, backout, kept }
        });
        let patches = patches.collect();
        let interrupted = chosen.interrupted(&all, &ground.policy.separator);
        let changed = foreign_changes(view)?;
        let (objects, has_native) = (objects.checked, all.have_native());
        Ok(SoftwareCheckReport { damage, changed, objects, patches, interrupted, kept, has_native })
    })
}

struct PatchedPackages(BTreeMap<PkgInst, (Installed, PatchRecords)>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct ArchiveToCheck {
    patch: PatchId,
    package: PkgInst,
    saved_as: String,
    /// The package has a save directory of the patch. Otherwise undo data was not kept, deleted or lost.
    is_kept: bool,
}

#[derive(Default)]
struct ChosenArchives {
    packages: Vec<PkgInst>,
    archives: Vec<ArchiveToCheck>,
    /// Of `archives`.
    known: HashSet<(PkgInst, PatchId)>,
}

impl PatchedPackages {
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

    fn have_native(&self) -> bool {
        self.0.values().any(|(installed, _)| NativeOrigin::of(&installed.params).is_some())
    }

    fn chosen(
        &self,
        words: &[String],
        separator: &str,
        damage: &[RecordDamage],
    ) -> Result<ChosenArchives, SoftwareCheckError> {
        let mut chosen = ChosenArchives::default();
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
                        return Err(SoftwareCheckError::Unknown(word.clone()));
                    }
                    for name in half {
                        self.choose(&mut chosen, name, id.as_ref());
                    }
                }
            }
        }
        Ok(chosen)
    }

    /// Returns packages with the patch half applied.
    fn half_applied(&self, id: &PatchId, separator: &str) -> Vec<&PkgInst> {
        let is_half = |(package, (installed, _)): &(&PkgInst, &(Installed, PatchRecords))| {
            interrupted(package, installed, separator).iter().any(|half| half.patch == *id)
        };
        self.0.iter().filter(is_half).map(|(package, _)| package).collect()
    }

    fn choose(&self, chosen: &mut ChosenArchives, package: &PkgInst, only: Option<&PatchId>) {
        if !chosen.packages.contains(package) {
            chosen.packages.push(package.clone());
        }
        for of in self.archives_of(package).filter(|of| only.is_none_or(|id| of.patch == *id)) {
            if chosen.known.insert((of.package.clone(), of.patch.clone())) {
                chosen.archives.push(of);
            }
        }
    }

    fn archives_of(&self, package: &PkgInst) -> impl Iterator<Item = ArchiveToCheck> {
        let found = self.0.get(package);
        found.into_iter().flat_map(move |(installed, applied)| {
            let mut saves: HashMap<PatchId, &String> = HashMap::new();
            for name in installed.saves.keys() {
                if let Ok(id) = PatchId::new(name) {
                    saves.entry(id).or_insert(name);
                }
            }
            applied.list.iter().map(move |patch| {
                let saved = saves.get(patch).copied();
                ArchiveToCheck {
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
    fn check_request(&self, all: &PatchedPackages, contents: bool, workers: usize) -> ObjectCheckRequest {
        let is_all = self.packages.len() == all.0.len();
        let named = self.packages.iter().filter(|_| !is_all);
        let packages = named.map(|package| PackagePattern::One(package.to_string())).collect();
        let aspects = CheckedAspects {
            attributes: true,
            sizes: !contents,
            contents,
            edits: true,
            ..CheckedAspects::default()
        };
        let scope = CheckScope { packages, ..CheckScope::default() };
        ObjectCheckRequest { scope, aspects, workers, ..ObjectCheckRequest::default() }
    }

    fn interrupted(&self, all: &PatchedPackages, separator: &str) -> Vec<Interrupted> {
        let of =
            |package| all.0.get(package).map(|(installed, _)| interrupted(package, installed, separator));
        self.packages.iter().filter_map(of).flatten().collect()
    }

    fn patches(&self) -> Vec<PatchId> {
        let mut ids: Vec<PatchId> = self.archives.iter().map(|of| of.patch.clone()).collect();
        ids.sort();
        ids.dedup();
        ids
    }
}

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
            // The patch itself is not verified; an unreadable manifest names no files.
            None => manifest(ground, &key.0, &key.1)
                .iter()
                .for_each(|manifest| note(&mut delivered, &of.patch, manifest)),
        }
    }
    delivered
}

/// A path that the patch left alone or removed no longer counts for earlier patches.
fn note(delivered: &mut DeliveredFiles, patch: &PatchId, manifest: &UndoManifest) {
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

#[derive(Debug)]
pub struct ArchiveVerdict {
    pub package: PkgInst,
    pub state: ArchiveState,
}

#[derive(Debug)]
pub enum ArchiveState {
    /// None was kept, or it was deleted.
    None(UndoState),
    Sound {
        path: String,
        /// File size.
        bytes: u64,
        /// Wrote or moved it; `None` for an untouched archive of another program.
        run: Option<String>,
        /// Made by another program: only sizes and sums of its contents are known.
        is_classic: bool,
    },
    Unusable(ArchiveError),
}

impl ArchiveState {
    pub fn of_undo(&self) -> UndoState {
        match self {
            Self::None(state) => *state,
            Self::Sound { is_classic: true, .. } => UndoState::Classic,
            Self::Sound { .. } => UndoState::Saved,
            Self::Unusable(error) => UndoState::of_error(error),
        }
    }
}

/// Keeps the order. Returns the contents of sound manifests, too.
fn check_archives(
    ground: &RootAndPolicy,
    archives: &[ArchiveToCheck],
    SoftwareCheckRequest { contents, undo_dir, workers, .. }: SoftwareCheckRequest<'_>,
    meter: Option<&WorkMeter>,
) -> Result<(Vec<(ArchiveToCheck, ArchiveVerdict)>, KnownArchives), SoftwareCheckError> {
    let marker = marker(&ground.root)?;
    let ledgers = ledgers(ground, archives);
    let reader = ArchiveChecker { ground, marker, undo_dir, contents, ledgers };
    let bytes = || archives.iter().map(|of| reader.bytes(of)).fold(0, u64::saturating_add);
    let step = meter.filter(|_| contents).map(|meter| meter.begin(WorkUnit::Bytes, bytes()));
    let done = side_by_side(workers, archives.len(), || {
        |at| {
            let of = archives.get(at)?;
            let verified = reader.verified(of);
            if let Some(step) = &step {
                step.advance(reader.bytes(of));
            }
            Some((of, verified))
        }
    });
    let (mut verified, mut known) = (Vec::new(), KnownArchives::new());
    for (of, (archive, manifest)) in done.into_iter().flatten() {
        if matches!(archive.state, ArchiveState::Sound { .. }) || manifest.is_some() {
            known.insert((of.package.clone(), of.saved_as.clone()), manifest);
        }
        verified.push((of.clone(), archive));
    }
    Ok((verified, known))
}

struct ArchiveChecker<'a> {
    ground: &'a RootAndPolicy,
    marker: Option<String>,
    undo_dir: Option<&'a Path>,
    /// Read whole archives.
    contents: bool,
    ledgers: BTreeMap<PkgInst, Ledger>,
}

fn ledgers(ground: &RootAndPolicy, archives: &[ArchiveToCheck]) -> BTreeMap<PkgInst, Ledger> {
    let view = RecordView::live(&ground.root);
    let packages: BTreeSet<&PkgInst> = archives.iter().map(|of| &of.package).collect();
    let read =
        packages.into_iter().map(|package| Some((package.clone(), ledger::counting(&view, package).ok()?)));
    read.flatten().collect()
}

impl ArchiveChecker<'_> {
    fn verified(&self, of: &ArchiveToCheck) -> (ArchiveVerdict, Option<UndoManifest>) {
        let earlier = self.ledgers.get(&of.package).and_then(|ledger| ledger.earlier(&of.saved_as));
        // The next reader of an unreadable ledger reports the error.
        let is_named = !self.ledgers.contains_key(&of.package)
            || earlier.is_some_and(|line| line.has_undo)
            || self.line(of).is_some_and(|line| line.manifest.is_some() || line.archive().is_some());
        let (state, manifest) = match (of.is_kept || is_named).then(|| self.read(of)) {
            None => (ArchiveState::None(UndoState::without(self.line(of))), None),
            Some(Ok(read)) => read,
            Some(Err(error)) => (ArchiveState::Unusable(error), None),
        };
        (ArchiveVerdict { package: of.package.clone(), state }, manifest)
    }

    /// Bytes to read, according to the ledger; 1 if unknown, so that it counts.
    fn bytes(&self, of: &ArchiveToCheck) -> u64 {
        match self.line(of).map(|line| &line.undo) {
            Some(LedgerUndo::Kept { size, files, .. }) => size.saturating_add(files.unwrap_or_default()),
            _ => 1,
        }
    }

    fn line(&self, of: &ArchiveToCheck) -> Option<&LedgerLine> {
        self.ledgers.get(&of.package)?.line(&of.saved_as)
    }

    fn read(&self, of: &ArchiveToCheck) -> Result<(ArchiveState, Option<UndoManifest>), ArchiveError> {
        let view = RecordView::live(&self.ground.root);
        let reader = self.ground.undo_data(&view, self.undo_dir);
        if let Some(ledger) = self.ledgers.get(&of.package)
            && let Some(kept) = reader.kept_manifest(&of.package, &of.saved_as, ledger)?
        {
            return Ok((ArchiveState::None(UndoState::without(self.line(of))), Some(kept)));
        }
        let undo = match self.ledgers.get(&of.package) {
            Some(ledger) => reader.find_with(&of.package, &of.saved_as, ledger)?,
            None => reader.find(&of.package, &of.saved_as)?,
        };
        let VerifiedManifest { manifest, run } = if self.contents {
            undo.verify(&view, self.marker.as_deref(), &never)?
        } else {
            undo.at_a_glance(self.marker.as_deref())?;
            VerifiedManifest { manifest: None, run: self.line(of).map(|line| line.run.clone()) }
        };
        let (path, bytes, is_classic) = (undo.path().to_owned(), undo.size(), undo.is_classic());
        Ok((ArchiveState::Sound { path, bytes, run, is_classic }, manifest))
    }
}

/// `None` if it cannot be read.
fn manifest(ground: &RootAndPolicy, package: &PkgInst, saved_as: &str) -> Option<UndoManifest> {
    let view = RecordView::live(&ground.root);
    let ledger = ledger::counting(&view, package).ok()?;
    ground.undo_data(&view, None).known_manifest(package, saved_as, &ledger, &never).ok()?
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptFinding {
    pub package: PkgInst,
    /// SONAME, or file name.
    pub library: String,
    /// With links that lead to it.
    pub paths: Vec<ObjectPath>,
    pub fault: KeptFault,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptFault {
    /// Differs from the kept object.
    Changed,
    Missing,
    Unneeded,
    /// These objects find it instead of a newer library.
    Shadows(Vec<ObjectPath>),
}

impl KeptFault {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::Unneeded => "unneeded",
            Self::Shadows(_) => "shadows",
        }
    }

    fn of(library: &KeptLibraryState) -> Vec<Self> {
        let state = match library.state {
            KeptState::Needed => None,
            KeptState::Unneeded => Some(Self::Unneeded),
            KeptState::Changed => Some(Self::Changed),
            KeptState::Missing => Some(Self::Missing),
        };
        let shadows = Some(Self::Shadows(library.misled.clone())).filter(|_| !library.misled.is_empty());
        // An object that finds it instead of another library does not need it; shadowing is the worse fault.
        let state = state.filter(|state| *state != Self::Unneeded || shadows.is_none());
        state.into_iter().chain(shadows).collect()
    }
}

/// Also returns kept libraries that patches do not contain. Scans the root only if a package keeps libraries.
fn kept_findings(
    view: &RecordView<'_>,
    ground: &RootAndPolicy,
    now: &Now,
    all: &PatchedPackages,
    selected: &[PkgInst],
) -> Result<(Vec<KeptFinding>, LibrariesBeforePatches), Failure> {
    if !all.0.values().any(|(installed, _)| is_kept_package(&installed.params)) {
        return Ok((Vec::new(), LibrariesBeforePatches::new()));
    }
    let look = look_at_kept(ground, (now, &never), false)?;
    let mut findings = Vec::new();
    for library in look.libraries.iter().filter(|library| selected.contains(&library.package)) {
        findings.extend(KeptFault::of(library).into_iter().map(|fault| KeptFinding {
            package: library.package.clone(),
            library: library.name.clone(),
            paths: library.paths.clone(),
            fault,
        }));
    }
    let applied = AppliedPatches::new(all.0.values().map(|(_, applied)| applied.clone()).collect());
    let packages = all.0.iter().map(|(name, (installed, _))| (name.clone(), installed.clone())).collect();
    let records = PatchedRecords {
        view,
        ground: Some(ground),
        separator: &ground.policy.separator,
        packages: &packages,
        applied: &applied,
    };
    Ok((findings, records.by_look(&look)))
}
