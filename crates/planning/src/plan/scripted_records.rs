//! The records that scripts wrote for a patch (as response variables) and their undo archive, compared with the
//! program's. Lists must mean the same; the archive has to hold everything that was replaced.

use std::collections::{BTreeMap, BTreeSet};

use patchadm_inputs::inventory::Installed;
use patchadm_inputs::source::PackageImage;
use patchadm_rootfs::{Live, LiveKind};
use patchadm_svr4::package::{ObjectPath, Params, PkgInst};
use patchadm_svr4::patch::{PatchId, PatchInfo, PatchList, PatchRecords};

use super::parameters::{TOLD_TO_SCRIPTS, is_word_of_every_run, is_word_of_last_patch};
use super::records::{package_path, reactivate, save_of, supersede};
use super::refusal::Reason;
use super::script_schedule::steps::MappedObject;
use super::target::PackageTarget;
use super::{Action, Body, Change, RecordChange};

/// Returns the parameters after an application: those of the scripts (`theirs`), with lists that mean the same as the
/// program's (`ours`), and a sentence for each list that did not.
pub fn reconciled(
    package: &PkgInst,
    id: &PatchId,
    theirs: &Params,
    ours: &Params,
    separator: &str,
) -> (Params, Vec<String>) {
    let mut params = theirs.clone();
    let mut notes = Vec::new();
    for name in differing(package, id, theirs, ours, separator) {
        let said = theirs.text(&name);
        if theirs.get(&name).is_some() {
            notes.push(format!("package {package}: its scripts recorded {name}={said}, which is wrong"));
        }
        match ours.get(&name) {
            Some(value) => params.set(&name, value),
            None => params.remove(&name),
        }
    }
    // each patch once, also if scripts recorded it again
    if let Ok(applied) = PatchRecords::from_params(package, &params, separator) {
        params.set("PATCHLIST", applied.list.to_string());
    }
    speak_alike(&mut params, ours);
    // Values for scripts are stored in those words, although the patch does not have them
    for name in TOLD_TO_SCRIPTS {
        if let Some(value) = theirs.get(name).filter(|_| ours.get(name).is_none_or(<[u8]>::is_empty)) {
            params.set(name, value);
        }
    }
    (params, notes)
}

/// Returns the parameters after a backout: those of the scripts, without the word that names the patch.
pub fn taken_back(theirs: &Params, ours: &Params) -> Params {
    let mut params = theirs.clone();
    params.remove("ACTIVE_PATCH");
    speak_alike(&mut params, ours);
    params
}

fn speak_alike(params: &mut Params, ours: &Params) {
    let names: BTreeSet<String> = params.iter().chain(ours.iter()).map(|(name, _)| name.to_owned()).collect();
    for name in names.iter().filter(|name| is_word_of_last_patch(name) && !is_word_of_every_run(name)) {
        match ours.get(name) {
            Some(value) => params.set(name, value),
            None => params.remove(name),
        }
    }
}

/// Returns the lists in which the records differ in meaning.
pub fn differing(
    package: &PkgInst,
    id: &PatchId,
    theirs: &Params,
    ours: &Params,
    separator: &str,
) -> Vec<String> {
    let read = |params| PatchRecords::from_params(package, params, separator);
    let Ok(right) = read(ours) else { return Vec::new() };
    let info = format!("PATCH_INFO_{}", spelled(&right, id));
    let all = || vec!["PATCHLIST".to_owned(), "PATCH_OBSOLETES".to_owned(), info.clone()];
    let Ok(read) = read(theirs) else { return all() };
    let counts = |applied: &PatchRecords| {
        let text = applied.obsoletes.to_string();
        let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        words.sort();
        words
    };
    let kind = |applied: &PatchRecords| match applied.infos.get(id) {
        Some(PatchInfo::Installed(_)) => 1,
        Some(PatchInfo::BackedOut) => 2,
        _ => 0,
    };
    let same = [read.list == right.list, counts(&read) == counts(&right), kind(&read) == kind(&right)];
    all().into_iter().zip(same).filter(|(_, same)| !same).map(|(name, _)| name).collect()
}

fn spelled(applied: &PatchRecords, id: &PatchId) -> String {
    applied.infos.get_key_value(id).map_or_else(|| id.to_string(), |(known, _)| known.to_string())
}

/// Returns the paths of a package that were replaced or deleted and whose earlier state the undo archive does not hold.
/// `now` has the objects after the scripts: an unchanged object needs no saving.
pub fn unsaved(
    package: &PkgInst,
    changes: &[Box<Change>],
    mapped: &[MappedObject],
    archive: &PackageImage,
    installed: &Params,
    now: &BTreeMap<ObjectPath, Live>,
) -> Result<Vec<ObjectPath>, Reason> {
    let target = PackageTarget::new(package.clone(), 0, archive, installed.clone())?;
    let mut saved = BTreeMap::new();
    for entry in archive.pkgmap.entries.iter().filter(|entry| !entry.is_information()) {
        saved.insert(target.resolve(&entry.path)?, &entry.object);
    }
    let mapped: BTreeSet<&ObjectPath> = mapped.iter().map(|mapped| &mapped.path).collect();
    let of_package = changes.iter().filter(|change| change.package == *package);
    let mut missing = Vec::new();
    for change in of_package {
        let Some(old) = change.old.as_ref().filter(|old| !old.is_directory()) else { continue };
        let is_relinked = matches!(
            &change.action,
            Action::Add(new) | Action::Replace(new) if matches!(new.body, Body::Link(_))
        );
        let stays = now.get(&change.path).is_some_and(|live| live.kind == old.kind);
        if stays || is_relinked && !mapped.contains(&change.path) {
            continue;
        }
        let is_saved = saved.get(&change.path).is_some_and(|object| match &old.kind {
            LiveKind::Regular { size, cksum, .. } if object.ftype.is_regular() => {
                object.content.size == Some(*size) && object.content.cksum == Some(*cksum)
            }
            _ => true,
        });
        if !is_saved {
            missing.push(change.path.clone());
        }
    }
    Ok(missing)
}

/// The remaining changes to save directories after scripts applied a patch: marks on patches that it makes obsolete.
pub fn marks_after_application(
    package: &PkgInst,
    installed: &Installed,
    id: &PatchId,
    obsoletes: &PatchList,
    separator: &str,
) -> Result<Vec<RecordChange>, Reason> {
    supersede(package, installed, id, obsoletes, separator)
}

/// After scripts backed the patch out: marks are removed, and so is its undo data if it still exists.
pub fn marks_after_backout(
    package: &PkgInst,
    installed: &Installed,
    id: &PatchId,
    separator: &str,
) -> Result<Vec<RecordChange>, Reason> {
    let mut changes = reactivate(package, installed, id, separator)?;
    if let Some((name, _)) = save_of(installed, id, separator) {
        changes.push(RecordChange::RemoveTree(package_path(package, format!("save/{name}").as_bytes())?));
    }
    Ok(changes)
}
