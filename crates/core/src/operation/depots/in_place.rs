//! A directory of patches, read in place: each file and directory becomes an entry of an index, or is skipped.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use chrono::{DateTime, Utc};

use super::directory_digest::digest_of_directory;
use super::error::DepotError;
use super::flags_file::read_flags;
use super::known_patches::{KnownPatch, KnownPatches};
use super::patch_content::deliver_the_same;
use super::patch_entry::index_entry;
use super::patch_files::{PatchFile, patch_files};
use super::session::DepotProgress;
use patchadm_inputs::cache::digest_of_file;
use patchadm_inputs::depot::{DepotFile, DepotFlags, DepotIndex, DepotPatch, is_plain_name, stamp};
use patchadm_inputs::sign::{LARGEST_MANIFEST, LARGEST_SIGNATURE, Manifest, sha256, sha256_text};
use patchadm_inputs::source::{self, Extent, Origin, SourceError, SourceProblem};
use patchadm_rootfs::{cores, side_by_side};
use patchadm_svr4::patch::PatchId;

/// The patches that are read between two checks whether to go on, and between two steps of a progress bar.
const PORTION: usize = 16;

/// The contents of a directory of patches.
pub(super) struct PatchesInPlace {
    /// The entries by id.
    pub(super) patches: BTreeMap<PatchId, DepotPatch>,
    /// Entries with other content under an id of those.
    pub(super) others: Vec<DepotPatch>,
    /// The facts that were read, by name.
    pub(super) known: Vec<KnownPatch>,
    /// Whether nothing had to be read.
    pub(super) is_unchanged: bool,
}

/// Reads a directory. Known files that were not modified since are not read again. Of an id that occurs twice with the same
/// content, the directory counts, else the first name. One with different content is among the others.
pub(super) fn read_in_place(
    directory: &Path,
    known: &KnownPatches,
    interrupt: &(dyn Fn() -> Option<i32> + Sync),
    progress: &dyn Fn(DepotProgress<'_>),
) -> Result<PatchesInPlace, DepotError> {
    let files = patch_files(directory)?;
    let mut read: Vec<(KnownPatch, bool)> = Vec::with_capacity(files.len());
    for portion in files.chunks(PORTION) {
        if let Some(signal) = interrupt() {
            return Err(DepotError::Interrupted(signal));
        }
        progress(DepotProgress::Indexing { done: read.len(), all: files.len() });
        let portion = side_by_side(cores(), portion.len(), || {
            |at: usize| portion.get(at).map(|file| read_or_know(file, known, interrupt))
        });
        // These are copies, so that the memory in which patches were read is free as a whole for the next ones.
        read.extend(portion.iter().flatten().cloned());
    }
    if let Some(signal) = interrupt() {
        return Err(DepotError::Interrupted(signal));
    }
    let flags = read_flags(directory)?;
    let is_unchanged = read.len() == known.len() && read.iter().all(|(_, was_known)| *was_known);
    let known: Vec<KnownPatch> = read.into_iter().map(|(known, _)| known).collect();
    let (patches, others) = entries(directory, &known, &flags);
    Ok(PatchesInPlace { patches, others, known, is_unchanged })
}

/// Builds the index of the contents of a directory.
pub(super) fn index_of(
    patches: BTreeMap<PatchId, DepotPatch>,
    depot: String,
    date: DateTime<Utc>,
) -> DepotIndex {
    let mut index = DepotIndex::new(depot, date);
    for (id, patch) in patches {
        index.enter(id, patch);
    }
    index
}

fn entries(
    directory: &Path,
    known: &[KnownPatch],
    flags: &DepotFlags,
) -> (BTreeMap<PatchId, DepotPatch>, Vec<DepotPatch>) {
    let mut patches: BTreeMap<PatchId, DepotPatch> = BTreeMap::new();
    let mut others = Vec::new();
    for entry in known.iter().filter_map(|known| known.entry.as_ref()) {
        let Ok(id) = PatchId::new(&entry.id) else { continue };
        let entry = DepotPatch { flags: flags.of(&id).to_vec(), ..entry.clone() };
        let Some(first) = patches.get_mut(&id) else {
            patches.insert(id, entry);
            continue;
        };
        let at = |entry: &DepotPatch| directory.join(&entry.path);
        if first.sha256 != entry.sha256 && !deliver_the_same(&at(first), &at(&entry)) {
            others.push(entry);
        } else if entry.is_directory() && !first.is_directory() {
            *first = entry;
        }
    }
    (patches, others)
}

/// Refuses a directory in which an id of its patches occurs again, among the others, with different content.
pub(super) fn must_be_unique<'p>(
    directory: &Path,
    mut patches: impl Iterator<Item = &'p DepotPatch>,
    others: &[DepotPatch],
) -> Result<(), DepotError> {
    let Some(other) = others.first() else { return Ok(()) };
    let Ok(id) = PatchId::new(&other.id) else { return Ok(()) };
    // One patch has several spellings.
    let is_it = |first: &&DepotPatch| PatchId::new(&first.id).is_ok_and(|first| first == id);
    let Some(first) = patches.find(is_it) else { return Ok(()) };
    let (first, second) = (directory.join(&first.path), directory.join(&other.path));
    Err(DepotError::Twice { id, first, second })
}

/// Returns what is known of a file, or reads it, and returns whether it was known.
fn read_or_know(
    file: &PatchFile,
    known: &KnownPatches,
    interrupt: &(dyn Fn() -> Option<i32> + Sync),
) -> (KnownPatch, bool) {
    let shown = file.path.file_name().unwrap_or_default().to_string_lossy();
    let stamp = file.stamp().unwrap_or_default();
    if let Some(known) = known.get(&*shown).filter(|known| known.stamp == stamp && !stamp.is_empty()) {
        return (known.clone(), true);
    }
    let (read, reason) = match read_patch(file, interrupt) {
        Ok(read) => (Some(read), None),
        Err(NoEntry::Damaged(reason)) => (None, Some(reason)),
        Err(NoEntry::OtherThing | NoEntry::Interrupted) => (None, None),
    };
    let (entry, os_release) = read.unzip();
    // A file that is being written at this moment is read again next time.
    let stamp = if file.stamp().is_ok_and(|now| now == stamp) { stamp } else { String::new() };
    let os_release = os_release.flatten();
    (KnownPatch { name: shown.into_owned(), stamp, entry, os_release, reason }, false)
}

/// The reason why a file or directory has no entry.
enum NoEntry {
    /// It is something else: a package, a text, a directory of other things.
    OtherThing,
    /// It cannot be used as it is.
    Damaged(String),
    /// The caller asks the command to end, and nothing of it is used.
    Interrupted,
}

impl From<io::Error> for NoEntry {
    fn from(error: io::Error) -> Self {
        Self::Damaged(error.to_string())
    }
}

impl From<SourceError> for NoEntry {
    fn from(error: SourceError) -> Self {
        let name = error.path.file_name().unwrap_or_default().to_string_lossy();
        let may_be_other = !source::is_called_as_patch(&name);
        match &error.problem {
            SourceProblem::HoldsPatches(_) => Self::OtherThing,
            SourceProblem::BadForm(reason) if may_be_other && reason.starts_with("neither") => {
                Self::OtherThing
            }
            SourceProblem::BadForm(_) | SourceProblem::NoPackage if may_be_other && error.path.is_dir() => {
                Self::OtherThing
            }
            problem => Self::Damaged(problem.to_string()),
        }
    }
}

/// Reads the entry of a patch, and the release of the system that it is for.
fn read_patch(
    file: &PatchFile,
    interrupt: &(dyn Fn() -> Option<i32> + Sync),
) -> Result<(DepotPatch, Option<String>), NoEntry> {
    let (found, image) = if file.is_directory {
        let image = source::open(Origin::Path(&file.path), Extent::Everything)?.1;
        (digest_of_directory(&file.path)?, image)
    } else {
        let mut opened = file.open()?;
        let found = digest_of_file(&mut opened, |_| match interrupt() {
            Some(_) => Err(NoEntry::Interrupted),
            None => Ok(()),
        })?;
        (found, source::open(Origin::File(opened, &file.path), Extent::Everything)?.1)
    };
    if image.packages.iter().all(|package| package.params.get("SUNW_PATCHID").is_none()) {
        return Err(NoEntry::OtherThing);
    }
    let macros =
        image.patch_macros(PatchId::SEPARATOR).map_err(|error| NoEntry::Damaged(error.to_string()))?;
    let name = file.name.as_deref().filter(|name| is_plain_name(name));
    let name = name.ok_or_else(|| NoEntry::Damaged("its name cannot stand in an index".to_owned()))?;
    let object = DepotFile { path: name.to_owned(), sha256: found.sha256, size: found.size };
    let mut entry = index_entry(&image, &macros, object);
    let manifest =
        file.manifest.as_deref().map(|path| small_object(file, path, LARGEST_MANIFEST)).transpose()?;
    let date = manifest.as_ref().and_then(|(_, text)| Manifest::parse(text).ok()?.date);
    entry.date = date.map_or_else(|| date_of(file), Ok)?;
    entry.manifest = manifest.map(|(object, _)| object);
    let signature =
        file.signature.as_deref().map(|path| small_object(file, path, LARGEST_SIGNATURE)).transpose()?;
    entry.signature = signature.map(|(object, _)| object);
    let os_release = image.patchinfo.as_ref().and_then(|info| info.os_release.first().cloned());
    Ok((entry, os_release))
}

fn date_of(file: &PatchFile) -> io::Result<String> {
    let seen = file.metadata(&file.path)?;
    Ok(stamp(&DateTime::from_timestamp(seen.mtime(), 0).unwrap_or_default()))
}

/// Returns a small file as an object of the depot, with its bytes.
fn small_object(file: &PatchFile, path: &Path, limit: u64) -> io::Result<(DepotFile, Vec<u8>)> {
    let fail = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let text = file.read_small(path, limit).map_err(fail)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let sha256 = sha256_text(&sha256(&text));
    Ok((DepotFile { path: name, sha256, size: text.len() as u64 }, text))
}
