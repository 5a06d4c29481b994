//! The working directory: lock, records, patches, logs, and the handover to the signer.
//!
//! Every file is renamed into place with durable bytes, and a complete patch is entered into `state.json`. The next run
//! after a killed one keeps finished patches. None of the directories may be a symbolic link.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::inputs::sha256_of;
use super::request::{DeltaError, MadePatch, SourceFailure};
use super::state::{BuiltRecord, DeltaState, FORMS, LARGEST, file_name, is_word, parse_bases, write_bases};
use crate::build::remove_unfinished;
use patchadm_inputs::sign::{BESIDE, LARGEST_MANIFEST, Manifest, ManifestForm, sha256, sha256_text};
use patchadm_rootfs::{Dir, FileType, Lock, LockHolder, NewTree, RootError};
use patchadm_svr4::package::Mode;
use patchadm_svr4::patch::PatchId;

const PROGRAM: &str = "patchadm-delta";
const LOCK: &[u8] = b"lock";
const STATE: &[u8] = b"state.json";
const BASES: &[u8] = b"bases";
const PATCHES: &[u8] = b"patches";
const LOGS: &[u8] = b"logs";
pub(super) const HANDOVER: &[u8] = b"handover";
const SIGNATURES: [&str; 2] = [".minisig", ".sig"];
const LARGEST_LOG: u64 = 16 << 20;

pub(super) struct WorkDirectory {
    path: PathBuf,
    /// `None` if a dry run finds no directory.
    top: Option<Dir>,
    patches: Option<Dir>,
    records: Mutex<WorkRecords>,
    _lock: Option<Lock>,
}

#[derive(Clone, Debug, Default)]
struct WorkRecords {
    state: DeltaState,
    bases: BTreeMap<String, String>,
    bases_on_disk: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PatchCondition {
    AsBuilt(String),
    NotAsBuilt(&'static str),
}

impl WorkDirectory {
    pub(super) fn is_made(path: &Path) -> Result<bool, DeltaError> {
        match Dir::of_host(path) {
            Err(error) if error.is_not_found() => Ok(false),
            dir => Ok(dir?.look(LOCK)?.is_some()),
        }
    }

    /// Opens and locks a working directory, or makes it. Removes leftovers of killed runs.
    pub(super) fn open(
        path: &Path,
        given: &BTreeMap<String, String>,
        wait: &mut dyn FnMut(&LockHolder) -> bool,
    ) -> Result<Self, DeltaError> {
        let top = NewTree::at(path)?.directory(b"")?;
        let lock = Lock::take_file(&top, LOCK, PROGRAM, wait)?;
        let patches = folder(&top, PATCHES)?;
        remove_unfinished(&patches)?;
        for dir in [&top, &folder(&top, LOGS)?, &folder(&top, HANDOVER)?] {
            dir.remove_leftovers(PROGRAM)?;
        }
        let records = WorkRecords::read(path, &top, given)?;
        let (top, patches, lock) = (Some(top), Some(patches), Some(lock));
        Ok(Self { path: path.to_owned(), top, patches, records: Mutex::new(records), _lock: lock })
    }

    /// Opens a directory, which may be missing, without changes.
    pub(super) fn look(path: &Path, given: &BTreeMap<String, String>) -> Result<Self, DeltaError> {
        let there = |found: Result<Dir, RootError>| match found {
            Err(error) if error.is_not_found() => Ok(None),
            found => found.map(Some),
        };
        let top = there(Dir::of_host(path))?;
        let patches = top.as_ref().map(|top| there(top.dir(PATCHES))).transpose()?.flatten();
        let records = match &top {
            Some(top) => WorkRecords::read(path, top, given)?,
            None => WorkRecords::default().with_bases(given)?,
        };
        Ok(Self { path: path.to_owned(), top, patches, records: Mutex::new(records), _lock: None })
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn top(&self) -> Result<Dir, RootError> {
        match &self.top {
            Some(top) => top.again(),
            None => Dir::of_host(&self.path),
        }
    }

    pub(super) fn patches(&self) -> Result<Dir, RootError> {
        match &self.patches {
            Some(patches) => patches.again(),
            None => self.top()?.dir(PATCHES),
        }
    }

    pub(super) fn of_source(&self, source: &str) -> Vec<BuiltRecord> {
        self.records().state.of_source(source)
    }

    pub(super) fn built(&self) -> Vec<BuiltRecord> {
        self.records().state.records().to_vec()
    }

    /// By default the source's name.
    pub(super) fn base_of(&self, source: &str) -> Result<String, SourceFailure> {
        if !is_word(source) {
            return Err(SourceFailure::Name(source.chars().take(80).collect()));
        }
        let records = self.records();
        if let Some(base) = records.bases.get(source) {
            return Ok(base.clone());
        }
        match records.bases.iter().find(|(_, base)| *base == source) {
            Some((other, base)) => Err(SourceFailure::BaseTaken { base: base.clone(), other: other.clone() }),
            None => Ok(source.to_owned()),
        }
    }

    pub(super) fn note_base(&self, source: &str, base: &str) -> Result<(), RootError> {
        let mut records = self.records();
        records.bases.insert(source.to_owned(), base.to_owned());
        let text = write_bases(&records.bases);
        if text != records.bases_on_disk {
            put_file(&self.top()?, BASES, &text)?;
            records.bases_on_disk = text;
        }
        Ok(())
    }

    /// The patch must be complete and durable.
    pub(super) fn enter(&self, record: BuiltRecord) -> Result<(), RootError> {
        let mut records = self.records();
        records.state.enter(record);
        put_file(&self.top()?, STATE, &records.state.write())
    }

    pub(super) fn is_signed_patch(&self, patch: &MadePatch) -> Result<bool, RootError> {
        let record = self.of_source(&patch.source).into_iter().find(|record| record.id == patch.id);
        record.map_or(Ok(false), |record| self.is_signed(record.file()))
    }

    /// Removes a patch and its record, which frees its id.
    pub(super) fn withdraw(&self, patch: &MadePatch) -> Result<(), RootError> {
        {
            let mut records = self.records();
            records.state.withdraw(&patch.id);
            put_file(&self.top()?, STATE, &records.state.write())?;
        }
        match PatchId::new(&patch.id) {
            Ok(id) => self.remove_other_forms(&id, None),
            Err(_) => Ok(()),
        }
    }

    pub(super) fn condition(&self, record: &BuiltRecord) -> Result<PatchCondition, RootError> {
        let Some(patches) = &self.patches else { return Ok(PatchCondition::NotAsBuilt("does not exist")) };
        let name = record.file().as_bytes();
        let Some((mut file, _)) = patches.open_seen(name)? else {
            return Ok(PatchCondition::NotAsBuilt("does not exist"));
        };
        let sum = sha256_of(&mut file).map_err(|error| patches.read_error(name, &error))?;
        if sha256_text(&sum) != record.sha256 {
            return Ok(PatchCondition::NotAsBuilt("is not what was built"));
        }
        let Some(text) = patches.read_regular(beside(record.file()).as_bytes(), LARGEST_MANIFEST)? else {
            return Ok(PatchCondition::NotAsBuilt("has no manifest"));
        };
        if is_manifest_of(record, &text) {
            Ok(PatchCondition::AsBuilt(sha256_text(&sha256(&text))))
        } else {
            Ok(PatchCondition::NotAsBuilt("has a manifest for something else"))
        }
    }

    /// A signature may lie beside the patch or in the handover directory.
    pub(super) fn is_signed(&self, file: &str) -> Result<bool, RootError> {
        let Some(top) = &self.top else { return Ok(false) };
        for folder in [PATCHES, HANDOVER] {
            let dir = match top.dir(folder) {
                Err(error) if error.is_not_found() => continue,
                dir => dir?,
            };
            for ending in SIGNATURES {
                if dir.look(format!("{}{ending}", beside(file)).as_bytes())?.is_some() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    pub(super) fn settle(&self, file: &str) -> Result<(), RootError> {
        let patches = self.patches()?;
        for name in [file.to_owned(), beside(file)] {
            if let Some(file) = patches.open_writable(name.as_bytes())? {
                file.sync()?;
            }
        }
        patches.sync()
    }

    /// Removes leftovers of a killed run, or of other options, in all forms but one. Signed files stay.
    pub(super) fn remove_other_forms(&self, id: &PatchId, kept: Option<&str>) -> Result<(), RootError> {
        let Some(patches) = &self.patches else { return Ok(()) };
        for file in FORMS.map(|form| file_name(id, form)) {
            if Some(file.as_str()) == kept {
                continue;
            }
            for name in [file.clone(), beside(&file)] {
                let seen = patches.look(name.as_bytes())?;
                if seen.is_some_and(|seen| seen.file_type == FileType::Regular) && !self.is_signed(&file)? {
                    patches.remove(name.as_bytes())?;
                }
            }
        }
        Ok(())
    }

    /// The previous log stays as `.log.1`.
    pub(super) fn put_log(&self, name: &str, text: &[u8]) -> Result<PathBuf, RootError> {
        let logs = folder(&self.top()?, LOGS)?;
        let name = format!("{name}.log");
        if let Ok(Some(before)) = logs.read_regular(name.as_bytes(), LARGEST_LOG) {
            put_file(&logs, format!("{name}.1").as_bytes(), &before)?;
        }
        put_file(&logs, name.as_bytes(), text)?;
        Ok(self.at(&format!("logs/{name}")))
    }

    fn records(&self) -> MutexGuard<'_, WorkRecords> {
        // A panic cannot leave a change half-done.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WorkRecords {
    fn read(path: &Path, top: &Dir, given: &BTreeMap<String, String>) -> Result<Self, DeltaError> {
        let damaged = |name: &[u8]| {
            let path = path.join(String::from_utf8_lossy(name).as_ref());
            move |error| DeltaError::State { path, error }
        };
        let mut records = Self::default();
        if let Some(text) = top.read(STATE, LARGEST)? {
            records.state = DeltaState::parse(&text).map_err(damaged(STATE))?;
        }
        if let Some(text) = top.read(BASES, LARGEST)? {
            records.bases = parse_bases(&String::from_utf8_lossy(&text)).map_err(damaged(BASES))?;
            records.bases_on_disk = text;
        }
        records.state.complete(&mut records.bases).map_err(damaged(STATE))?;
        records.with_bases(given)
    }

    /// A source keeps its base, and bases are unique.
    fn with_bases(mut self, given: &BTreeMap<String, String>) -> Result<Self, DeltaError> {
        for (name, wanted) in given {
            let had = self.bases.entry(name.clone()).or_insert_with(|| wanted.clone());
            if had != wanted {
                let (name, had, wanted) = (name.clone(), had.clone(), wanted.clone());
                return Err(DeltaError::OtherBase { name, had, wanted });
            }
        }
        let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, base) in &self.bases {
            if let Some(first) = owners.insert(base, name) {
                let (first, second, base) = (first.to_owned(), name.clone(), base.clone());
                return Err(DeltaError::SameBase { first, second, base });
            }
        }
        Ok(self)
    }
}

pub(super) fn put_file(dir: &Dir, name: &[u8], bytes: &[u8]) -> Result<(), RootError> {
    dir.replace_file(PROGRAM, name, bytes, Mode::of(0o644))?;
    dir.sync()
}

pub(super) fn folder(top: &Dir, name: &[u8]) -> Result<Dir, RootError> {
    match top.dir(name) {
        Err(error) if error.is_not_found() => top.make_dir(name, Mode::of(0o755)),
        dir => dir,
    }
}

pub(super) fn is_manifest_of(record: &BuiltRecord, text: &[u8]) -> bool {
    Manifest::parse(text).is_ok_and(|manifest| {
        let sums: Vec<String> = manifest.entries.iter().map(|entry| sha256_text(&entry.sum)).collect();
        let is_its_own = manifest.form == ManifestForm::File && manifest.patch == record.id;
        is_its_own && sums == [record.sha256.as_str()]
    })
}

pub(super) fn beside(file: &str) -> String {
    format!("{file}{BESIDE}")
}

// The handover has unsigned manifests and a list of their patches. Every run rebuilds it from the records, so a killed
// run leaves no errors. Added signatures stay.

/// Lines `ID SIZE SHA256 FILE`.
const LIST: &[u8] = b"LIST";

const LARGEST_LIST: u64 = 16 << 20;

pub(super) fn hand_over(work: &WorkDirectory) -> Result<usize, RootError> {
    let (patches, handover) = (work.patches()?, folder(&work.top()?, HANDOVER)?);
    let (mut list, mut names) = (String::new(), Vec::new());
    for record in work.built() {
        let (file, name) = (record.file(), beside(record.file()));
        let size = patches.look(file.as_bytes())?.map(|seen| seen.size);
        let manifest = patches.read_regular(name.as_bytes(), LARGEST_MANIFEST)?;
        let (Some(size), Some(manifest)) = (size, manifest) else { continue };
        // Only patches built here are handed over.
        if work.is_signed(file)? || !is_manifest_of(&record, &manifest) {
            continue;
        }
        put(&handover, name.as_bytes(), &manifest, LARGEST_MANIFEST)?;
        // Writing to a string does not fail.
        let _ = writeln!(list, "{} {size} {} {file}", record.id, record.sha256);
        names.push(name.into_bytes());
    }
    let is_done = |name: &[u8]| name.ends_with(b".manifest") && !names.iter().any(|kept| kept == name);
    for name in handover.names_that_are(is_done)? {
        if handover.look(&name)?.is_some_and(|seen| seen.file_type != FileType::Directory) {
            handover.remove(&name)?;
        }
    }
    put(&handover, LIST, list.as_bytes(), LARGEST_LIST)?;
    Ok(names.len())
}

fn put(dir: &Dir, name: &[u8], bytes: &[u8], limit: u64) -> Result<(), RootError> {
    if let Ok(Some(there)) = dir.read_regular(name, limit)
        && there == bytes
    {
        return Ok(());
    }
    put_file(dir, name, bytes)
}
