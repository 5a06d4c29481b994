//! The program's snapshot beside an undo archive made by scripts. The archive holds the scripts' choice; the snapshot
//! holds everything, and a backout restores from it. It is completed after the scripts, when the results are known.

use std::collections::BTreeSet;

use patchadm_changeset::RecordFile;
use patchadm_changeset::format::manifest::{KEPT_MANIFEST, ObjectRecord, RecordedState, encode};
use patchadm_changeset::plan::UndoFormat;
use patchadm_inputs::format::ledger::SNAPSHOT;
use patchadm_inputs::inventory::{Installed, Inventory};
use patchadm_svr4::package::{Mode, ObjectPath, Params};

use super::engine::Bookkeeping;
use super::patch_plan::PackagePlan;
use super::undo::without_patch_info;
use crate::plan::parameters::{TOLD_TO_SCRIPTS, is_patch_record};
use crate::plan::records::package_path;
use crate::plan::refusal::Reason;
use crate::plan::{RecordChange, TreeContent, TreeFile, UndoArchive, UndoPlace};

/// Returns the objects of `archive`, whose states [`completed`] needs.
pub fn paths(archive: &UndoArchive) -> BTreeSet<ObjectPath> {
    archive.manifest.objects.iter().filter_map(ObjectRecord::object_path).collect()
}

pub(super) fn expected(archives: &[UndoArchive], parts: &[PackagePlan]) -> Vec<UndoArchive> {
    let by_scripts = |archive: &&UndoArchive| {
        let of_package = |part: &&PackagePlan| part.package == archive.package;
        parts.iter().find(of_package).is_some_and(|part| part.chosen.bookkeeping == Bookkeeping::Scripts)
    };
    let archives = archives.iter().filter(by_scripts).cloned();
    archives.map(|archive| UndoArchive { place: UndoPlace::Snapshot, ..archive }).collect()
}

/// Returns the objects that a snapshot made from `archive` holds in their earlier state.
pub fn held(archive: &UndoArchive) -> BTreeSet<&ObjectPath> {
    archive.saved.iter().map(|(_, path)| path).collect()
}

/// Completes the planned archive with the results of scripts; only the manifest if nothing is saved. `before` is the
/// package before the run, `now` the state after its scripts.
pub fn completed(archive: &UndoArchive, before: &Installed, now: &Inventory) -> UndoArchive {
    let mut archive = archive.clone();
    let saves_nothing = archive.place == UndoPlace::ManifestOnly;
    if !saves_nothing {
        archive.place = UndoPlace::Snapshot;
    }
    archive.format = UndoFormat::Gzip;
    archive.manifest.objects.retain_mut(|record| is_left(record, now));
    if let Some(after) = now.packages.get(&archive.package) {
        let header = &mut archive.manifest.header;
        header.parameters = set_by(&header.parameters, &before.params, &after.params);
        // A script may have set the value that was to be emptied
        let is_said = |name: &str| after.params.get(name).is_some_and(|value| !value.is_empty());
        header.silent.retain(|name| !is_said(name) && !TOLD_TO_SCRIPTS.contains(&name.as_str()));
        header.made_records = made(before, after);
        header.records = Some(written(header.records.take(), before, after));
        if saves_nothing {
            return archive;
        }
        archive.records = changed(before, after).map(|(name, file)| (name.clone(), file.clone())).collect();
        if let Some(pkginfo) = before.records.get(&b"pkginfo"[..]) {
            archive.records.insert(b"pkginfo".to_vec(), pkginfo.clone());
        }
        archive.records = without_patch_info(archive.records, &before.params);
    }
    archive
}

/// Returns false if there is nothing to record.
fn is_left(record: &mut ObjectRecord, now: &Inventory) -> bool {
    let Some(path) = record.object_path() else { return true };
    let is_named = record.delivered || record.became.is_none();
    record.new_line = now.lines.get(&path).map(|line| encode(&line.write()).into());
    let group = record.became.as_ref().and_then(|became| became.group);
    record.became = now.live.get(&path).map(|live| RecordedState {
        group: group.filter(|_| live.links > 1 && !live.is_directory()),
        ..RecordedState::of(live)
    });
    // An object that scripts removed again was not delivered by the patch.
    record.delivered &= record.became.is_some() || record.kept;
    let lines = [&record.line, &record.new_line];
    is_named
        || [&record.was, &record.became].into_iter().any(Option::is_some)
        || lines.into_iter().any(Option::is_some)
}

/// Adds the data of class scripts in `save/<class>`.
pub(in crate::plan) fn add_kept_by_classes(archive: &mut UndoArchive, before: &Installed, after: &Installed) {
    let is_kept = |name: &[u8]| name.starts_with(b"save/") && !name.starts_with(b"save/pspool/");
    let replaced = changed(before, after).filter(|(name, _)| is_kept(name));
    archive.records.extend(replaced.map(|(name, file)| (name.clone(), file.clone())));
    let names = &mut archive.manifest.header.made_records;
    names.extend(made(before, after).into_iter().filter(|name| is_kept(name.as_bytes())));
    names.sort();
}

/// Returns the directory for the snapshot, or only its manifest: that of the archive with this index in the plan.
pub fn directory(archive: &UndoArchive, place: usize) -> Result<RecordChange, Reason> {
    let save = format!("save/{}", archive.patch);
    let (directory, file, content) = match SNAPSHOT.split_once('/') {
        Some((below, file)) if archive.place == UndoPlace::Snapshot => {
            (format!("{save}/{below}"), file, TreeContent::Undo(place))
        }
        _ => (save, KEPT_MANIFEST, TreeContent::Manifest(place)),
    };
    let name = file.as_bytes().to_vec();
    let files = vec![TreeFile { name, content, mode: Mode::of(0o600), mtime: None }];
    Ok(RecordChange::AddTree { path: package_path(&archive.package, directory.as_bytes())?, files })
}

/// Includes the words for scripts even if their values did not change.
fn set_by(planned: &[String], before: &Params, after: &Params) -> Vec<String> {
    let names = before.iter().chain(after.iter()).map(|(name, _)| name);
    let differing = names.filter(|name| before.get(name) != after.get(name) && !is_patch_record(name));
    let told = TOLD_TO_SCRIPTS.into_iter().filter(|name| after.get(name).is_some());
    let all: BTreeSet<&str> = planned.iter().map(String::as_str).chain(differing).chain(told).collect();
    all.into_iter().map(str::to_owned).collect()
}

fn changed<'a>(
    before: &'a Installed,
    after: &'a Installed,
) -> impl Iterator<Item = (&'a Vec<u8>, &'a RecordFile)> {
    let content =
        |of: &'a Installed, name: &Vec<u8>| of.records.get(name).map(|file| (&file.bytes, file.mode));
    before.records.iter().filter(move |(name, _)| content(before, name) != content(after, name))
}

fn written(planned: Option<Vec<String>>, before: &Installed, after: &Installed) -> Vec<String> {
    let differs = |name: &&Vec<u8>| {
        let [old, new] = [before, after].map(|one| one.records.get(*name).map(|file| &file.bytes));
        old != new && name.as_slice() != b"pkginfo"
    };
    let differing = before.records.keys().filter(differs);
    let differing = differing.filter_map(|name| String::from_utf8(name.clone()).ok());
    let all: BTreeSet<String> = planned.into_iter().flatten().chain(differing).collect();
    all.into_iter().collect()
}

fn made(before: &Installed, after: &Installed) -> Vec<String> {
    let text = |name: &[u8]| String::from_utf8(name.to_vec()).ok();
    let files = after.records.keys().filter(|name| !before.records.contains_key(*name));
    let directories = after.directories.iter().filter(|name| !before.directories.contains(*name));
    let directories = directories.filter_map(|name| Some(format!("{}/", text(name)?)));
    let mut made: Vec<String> = files.filter_map(|name| text(name)).chain(directories).collect();
    made.sort();
    made
}
