//! What parameters and record files of a package go back to, in whatever order its patches go.
//!
//! The archive of a patch has them as they were when it was applied, with what earlier patches had made of them. When
//! an earlier one goes first, what it had found is handed down to the next patch that set the parameter or wrote the
//! record: it stands in `handed-down` in that patch's save directory and counts instead of what the archive says. So
//! what came with a patch goes with it, and what is shown depends on the patches that are applied alone.
//!
//! A directory that a patch made on its way to its objects stays for a later one that has objects in it, and goes with
//! that one.
//!
//! CLASSES is more than the word of the last patch: it has the classes of the package and of every patch.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::format::handed_down::{HANDED_DOWN, HandedDown};
use crate::inventory::Installed;
use patchadm_changeset::RecordFile;
use patchadm_changeset::format::manifest::{Manifest, ObjectRecord};
use patchadm_svr4::package::{Mode, Params, PkgInst, rule};
use patchadm_svr4::patch::PatchId;

use super::backout_input::Later;
use super::middle::chains::{is_delivered_or_deleted, is_made_on_the_way};
use crate::plan::RecordChange;
use crate::plan::parameters::{is_patch_record, union_of_classes};
use crate::plan::records::{package_path, save_of, save_path, unmake};
use crate::plan::refusal::Reason;
use crate::plan::target::classes;

/// The parameter with the classes.
const CLASSES: &str = "CLASSES";

/// Record files by name; none for one that was not there, and for a directory, which has a `/` at the end.
type RecordsBefore = BTreeMap<Vec<u8>, Option<RecordFile>>;

/// A package whose patch goes.
#[derive(Clone, Copy)]
pub(super) struct Package<'a> {
    /// Its name.
    pub(super) name: &'a PkgInst,
    /// Its records.
    pub(super) installed: &'a Installed,
    /// What separates base and revision of an id.
    pub(super) separator: &'a str,
}

/// What was there before a patch, as far as the patch set or wrote it.
#[derive(Debug)]
pub(super) struct Before {
    /// The parameters.
    pub(super) params: Params,
    /// The record files that it changed or made.
    records: RecordsBefore,
    /// The directories that earlier patches handed down to it.
    directories: Vec<ObjectRecord>,
}

/// What the patches behind the one that goes take over, and what is left to do.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// The parameters that keep their values, because a later patch has set them.
    pub(super) set_again: BTreeSet<String>,
    /// The value of CLASSES, where it changes.
    pub(super) classes: Option<String>,
    /// The record files that come back, and the files of the later patches.
    pub(super) changes: Vec<RecordChange>,
}

/// What later patches take over, each by its place among them.
type TakenOver = BTreeMap<usize, HandedDown>;

impl Package<'_> {
    /// What was there before a patch, of which the archive has `params` and `records`, and what earlier ones handed down.
    pub(super) fn before(
        &self,
        id: &PatchId,
        manifest: &Manifest,
        mut params: Params,
        records: &BTreeMap<Vec<u8>, RecordFile>,
    ) -> Result<Before, Reason> {
        let saved = records.iter().filter(|(name, _)| name.as_slice() != b"pkginfo");
        let made = manifest.header.made_records.iter().map(|name| (name.clone().into_bytes(), None));
        let mut records: RecordsBefore = made.collect();
        records.extend(saved.map(|(name, file)| (name.clone(), Some(file.clone()))));
        let handed = self.handed_down(id, manifest)?;
        for (name, value) in handed.parameters {
            match value {
                Some(value) => params.set(&name, value),
                None => params.remove(&name),
            }
        }
        records.extend(handed.records);
        Ok(Before { params, records, directories: handed.directories })
    }

    /// The manifest of a patch for its backout: with the directories that were handed down to it, without those that
    /// it made on its way and hands down itself.
    pub(super) fn manifest<'m>(
        &self,
        id: &PatchId,
        manifest: &'m Manifest,
        later: &Later<'_>,
    ) -> Result<Cow<'m, Manifest>, Reason> {
        let handed = self.handed_down(id, manifest)?.directories;
        let all = || with_directories(manifest, &handed);
        let used: BTreeSet<&str> =
            used_directories(all(), later).map(|(_, record)| record.path.as_str()).collect();
        if handed.is_empty() && used.is_empty() {
            return Ok(Cow::Borrowed(manifest));
        }
        let objects = all().filter(|record| !used.contains(record.path.as_str())).cloned().collect();
        Ok(Cow::Owned(Manifest { header: manifest.header.clone(), objects }))
    }

    /// Hands what was there before a patch with this manifest down to the next patches that set or wrote it; what none of
    /// them did comes back.
    pub(super) fn hand_down(
        &self,
        manifest: &Manifest,
        before: &Before,
        later: &Later<'_>,
    ) -> Result<Left, Reason> {
        let mut left = Left::default();
        let mut taken = TakenOver::new();
        parameters(manifest, &before.params, later, &mut left, &mut taken);
        classes_without(manifest, &before.params, later, &mut left, &mut taken);
        self.records(&before.records, later, &mut left, &mut taken)?;
        for (at, directory) in used_directories(with_directories(manifest, &before.directories), later) {
            taken.entry(at).or_default().directories.push(directory.clone());
        }
        for (at, new) in taken {
            let Some((id, Some(manifest))) = later.get(at) else { continue };
            let save = save_of(self.installed, id, self.separator).filter(|(_, save)| save.has_archive());
            let Some((saved_as, _)) = save else { continue };
            let mut all = self.handed_down(id, manifest)?;
            all.parameters.extend(new.parameters);
            all.records.extend(new.records);
            all.directories.extend(new.directories);
            left.changes.push(RecordChange::Write {
                path: save_path(self.name, saved_as, HANDED_DOWN)?,
                bytes: all.write(),
                mode: Mode::of(0o600),
                mtime: None,
            });
        }
        Ok(left)
    }

    /// The record files.
    fn records(
        &self,
        before: &RecordsBefore,
        later: &Later<'_>,
        left: &mut Left,
        taken: &mut TakenOver,
    ) -> Result<(), Reason> {
        let mut unmade = Vec::new();
        for (name, file) in before {
            let next = later.iter().position(|(_, manifest)| manifest.is_none_or(|next| writes(next, name)));
            match (next, file) {
                (Some(at), _) => {
                    taken.entry(at).or_default().records.insert(name.clone(), file.clone());
                }
                (None, Some(file)) => left.changes.push(RecordChange::Write {
                    path: package_path(self.name, name)?,
                    bytes: file.bytes.clone(),
                    mode: file.mode,
                    mtime: Some(file.mtime),
                }),
                (None, None) => unmade.extend(String::from_utf8(name.clone()).ok()),
            }
        }
        left.changes.extend(unmake(self.name, self.installed, &unmade)?);
        Ok(())
    }

    /// What was handed down to a patch: only what the patch has set or written.
    fn handed_down(&self, id: &PatchId, manifest: &Manifest) -> Result<HandedDown, Reason> {
        let save = save_of(self.installed, id, self.separator);
        let Some(bytes) = save.and_then(|(_, save)| save.handed_down.as_deref()) else {
            return Ok(HandedDown::default());
        };
        let bad = |reason: String| Reason::BadUndoData {
            package: self.name.clone(),
            reason: format!("save/{id}/{HANDED_DOWN}: {reason}"),
        };
        let handed = HandedDown::parse(bytes).map_err(|error| bad(error.to_string()))?;
        match fault(&handed, manifest) {
            Some(reason) => Err(bad(reason)),
            None => Ok(handed),
        }
    }
}

/// The parameters that later patches set again. One that is only there because of earlier patches, which a later one
/// passes on by its silence, goes.
fn parameters(
    manifest: &Manifest,
    before: &Params,
    later: &Later<'_>,
    left: &mut Left,
    taken: &mut TakenOver,
) {
    let is_own = |name: &&String| !is_patch_record(name) && *name != CLASSES;
    for name in manifest.header.parameters.iter().filter(is_own) {
        let value = before.get(name);
        for (at, (_, manifest)) in later.iter().enumerate() {
            let header = manifest.map(|manifest| &manifest.header);
            let Some(header) = header.filter(|header| header.parameters.contains(name)) else { continue };
            let taken = taken.entry(at).or_default();
            taken.parameters.insert(name.clone(), value.map(<[u8]>::to_vec));
            if value.is_some() || !header.silent.contains(name) {
                left.set_again.insert(name.clone());
                break;
            }
        }
    }
}

/// CLASSES without the classes that only this patch brought. One behind it keeps what it brought itself.
fn classes_without(
    manifest: &Manifest,
    before: &Params,
    later: &Later<'_>,
    left: &mut Left,
    taken: &mut TakenOver,
) {
    left.set_again.insert(CLASSES.to_owned());
    let brought = |manifest: &Manifest| {
        let text = manifest.header.classes.as_deref()?;
        Some(text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    };
    let of_later = later.iter().map(|(_, manifest)| brought((*manifest)?));
    // What a patch brought whose archive does not say so is not known: then all stay.
    let (Some(own), Some(of_later)) = (brought(manifest), of_later.collect::<Option<Vec<_>>>()) else {
        return;
    };
    let mut all = classes(before);
    if own.iter().all(|class| all.contains(class)) {
        return;
    }
    for (at, brought) in of_later.into_iter().enumerate() {
        if brought.iter().any(|class| !all.contains(class)) {
            let value = all.join(" ").into_bytes();
            taken.entry(at).or_default().parameters.insert(CLASSES.to_owned(), Some(value));
        }
        all = union_of_classes(all, brought);
    }
    left.classes = Some(all.join(" "));
}

/// The objects of a manifest, and those of the directories handed down to its patch that it does not have itself.
fn with_directories<'m>(
    manifest: &'m Manifest,
    handed: &'m [ObjectRecord],
) -> impl Iterator<Item = &'m ObjectRecord> {
    let known: BTreeSet<&str> = manifest.objects.iter().map(|record| record.path.as_str()).collect();
    let others = handed.iter().filter(move |record| !known.contains(record.path.as_str()));
    manifest.objects.iter().chain(others)
}

/// The directories that a patch made on its way to its objects and that have objects of later patches, each with the place
/// of the first of those.
fn used_directories<'m>(
    objects: impl Iterator<Item = &'m ObjectRecord>,
    later: &Later<'_>,
) -> impl Iterator<Item = (usize, &'m ObjectRecord)> {
    objects.filter(|record| is_made_on_the_way(record)).filter_map(|record| {
        let delivers = |next: &Manifest| {
            let mut at = next.objects.iter().filter(|other| other.path == record.path);
            at.any(is_delivered_or_deleted)
        };
        let needs = |next: &Manifest| delivers(next) || has_below(next, &record.path);
        let at = later.iter().position(|(_, next)| next.is_some_and(needs))?;
        let (_, next) = later.get(at)?;
        // What delivers the directory takes it over with its other objects.
        Some((at, record)).filter(|_| !next.is_some_and(delivers))
    })
}

/// Whether a patch put something below a path.
fn has_below(manifest: &Manifest, path: &str) -> bool {
    let is_below = |record: &ObjectRecord| {
        record.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
            && record.became.is_some()
            && record.has_path()
    };
    manifest.objects.iter().any(is_below)
}

/// Whether a patch wrote a record file, or one in a directory. Of an archive that does not say so it is supposed.
fn writes(manifest: &Manifest, name: &[u8]) -> bool {
    let is_it = |known: &String| {
        known.as_bytes() == name || name.ends_with(b"/") && known.as_bytes().starts_with(name)
    };
    let header = &manifest.header;
    header.made_records.iter().any(is_it)
        || header.records.as_ref().is_none_or(|records| records.iter().any(is_it))
}

/// What is wrong with what was handed down to a patch, if anything.
fn fault(handed: &HandedDown, manifest: &Manifest) -> Option<String> {
    let is_set = |name: &String| {
        name == CLASSES || manifest.header.parameters.contains(name) && !is_patch_record(name)
    };
    let unset =
        handed.parameters.keys().find(|name| !rule::holds("save.handed-down.parameter", is_set(name)));
    if let Some(name) = unset {
        return Some(format!("{name} is no parameter that the patch set"));
    }
    let is_written = |name: &Vec<u8>| {
        let is_of_package = [&b"install/"[..], b"save/"].iter().any(|place| name.starts_with(place));
        is_of_package && writes(manifest, name)
    };
    let unwritten =
        handed.records.keys().find(|name| !rule::holds("save.handed-down.record", is_written(name)));
    if let Some(name) = unwritten {
        return Some(format!("{} is no record that the patch wrote", name.escape_ascii()));
    }
    let is_used = |record: &&ObjectRecord| {
        let is_one = is_made_on_the_way(record) && has_below(manifest, &record.path);
        !rule::holds("save.handed-down.directory", is_one && record.object_path().is_some())
    };
    if let Some(record) = handed.directories.iter().find(is_used) {
        return Some(format!("{} is no directory that the patch has used", record.path));
    }
    let is_time = |file: &RecordFile| file.mtime.nanoseconds < 1_000_000_000;
    let mut files = handed.records.values().flatten();
    let untimely = files.find(|file| !rule::holds("save.handed-down.mtime", is_time(file)));
    untimely.map(|_| "`mtime` has more nanoseconds than a second".to_owned())
}
