//! The records of a package that a run changes: pkginfo, information files, the spooled copy of the delivery, and save
//! directories of patches.

use std::collections::BTreeMap;

use patchadm_svr4::places;

use patchadm_changeset::RecordFile;
use patchadm_inputs::inventory::{Installed, Save};
use patchadm_rootfs::Timestamp;
use patchadm_svr4::format::remote::{RemoteArchive, RemoteState};
use patchadm_svr4::format::{obsoleted_by, params};
use patchadm_svr4::package::{Mode, ObjectPath, Params, PkgInst, rule};
use patchadm_svr4::patch::{PatchId, PatchList};

use super::RecordChange;
use super::refusal::Reason;
use patchadm_inputs::source::PackageImage;

pub(super) const INSTALL_LOCK: &str = "!I-Lock!";

pub(super) const REMOVAL_LOCK: &str = "!R-Lock!";

#[derive(Debug, Default)]
pub(super) struct RecordChanges {
    pub(super) changes: Vec<RecordChange>,
    pub(super) old: BTreeMap<Vec<u8>, RecordFile>,
    pub(super) made: Vec<String>,
    /// Written files that do not change.
    pub(super) same: Vec<String>,
}

pub(super) fn package_path(package: &PkgInst, name: &[u8]) -> Result<ObjectPath, Reason> {
    let mut path = format!("{}{package}/", places::BELOW_PACKAGES).into_bytes();
    path.extend_from_slice(name);
    database_path(&path)
}

pub(super) fn patch_path(id: &str) -> Result<ObjectPath, Reason> {
    database_path(format!("{}{id}", places::BELOW_PATCHES).as_bytes())
}

fn database_path(path: &[u8]) -> Result<ObjectPath, Reason> {
    ObjectPath::new(path).map_err(|error| Reason::BadPkginfo {
        package: String::from_utf8_lossy(path).into_owned(),
        reason: error.to_string(),
    })
}

pub(super) struct NewRecord {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    pub(super) mtime: Option<Timestamp>,
}

/// Information files keep the times of the pkgmap. `stays` selects the files of `install`.
pub(super) fn files(
    package: &PkgInst,
    image: &PackageImage,
    new: &Params,
    stays: impl Fn(&str) -> bool,
) -> Result<Vec<NewRecord>, Reason> {
    let spool = format!("save/pspool/{package}");
    let written = |name: String, bytes: Vec<u8>| NewRecord { name, bytes, mtime: None };
    let pkginfo = params::write(new);
    // Recorded parameters must be readable for the backout, and lists of ids grow with every patch.
    params::parse(&pkginfo).map_err(|error| Reason::BadPkginfo {
        package: package.to_string(),
        reason: format!("with the new records in it, {error}"),
    })?;
    let mut files = vec![written("pkginfo".to_owned(), pkginfo)];
    let entries = image.pkgmap.entries.iter().filter(|entry| entry.is_information());
    let mtimes: BTreeMap<String, Timestamp> = entries
        .filter_map(|entry| {
            let seconds = entry.object.content.mtime?;
            Some((entry.path.to_string(), Timestamp::whole(seconds)))
        })
        .collect();
    let delivered = |place: String, name: &str, bytes: &[u8]| NewRecord {
        name: place,
        bytes: bytes.to_owned(),
        mtime: mtimes.get(name).copied(),
    };
    for (name, bytes) in image.install.iter().filter(|(name, _)| stays(name)) {
        files.push(delivered(format!("install/{name}"), name, bytes));
    }
    files.push(written(format!("{spool}/pkginfo"), image.pkginfo_bytes.clone()));
    files.push(written(format!("{spool}/pkgmap"), image.pkgmap_bytes.clone()));
    // pkgadd(1M) spools every file of install but this one
    for (name, bytes) in image.install.iter().filter(|(name, _)| *name != "i.none") {
        files.push(delivered(format!("{spool}/install/{name}"), name, bytes));
    }
    Ok(files)
}

impl RecordChanges {
    /// The undo archive of the next patch records the time.
    pub(super) fn date(&mut self, when: Timestamp) {
        for change in &mut self.changes {
            if let RecordChange::Write { mtime, .. } = change {
                mtime.get_or_insert(when);
            }
        }
    }

    pub(super) fn of(
        package: &PkgInst,
        installed: &Installed,
        files: Vec<NewRecord>,
    ) -> Result<Self, Reason> {
        let mut records = Self::default();
        for NewRecord { name, bytes, mtime } in files {
            let old = installed.records.get(name.as_bytes());
            if old.is_some_and(|old| *old.bytes == bytes) {
                records.same.push(name);
                continue;
            }
            let path = package_path(package, name.as_bytes())?;
            let mode = old.map_or(Mode::of(0o644), |old| old.mode);
            records.changes.push(RecordChange::Write { path, bytes, mode, mtime });
            if let Some(old) = old {
                records.old.insert(name.into_bytes(), old.clone());
            } else {
                records.made.extend(missing_directories(installed, &name));
                records.made.push(name);
            }
        }
        records.made.sort();
        records.made.dedup();
        Ok(records)
    }
}

fn missing_directories(installed: &Installed, name: &str) -> Vec<String> {
    let above = name.match_indices('/').map(|(place, _)| &name[..=place]);
    let is_made = |directory: &&str| {
        // `save` itself stays for the undo data
        let there = installed.directories.contains(directory.trim_end_matches('/').as_bytes());
        !there
            && *directory != "save/"
            && !installed.records.keys().any(|known| known.starts_with(directory.as_bytes()))
    };
    above.filter(is_made).map(str::to_owned).collect()
}

/// Removes a whole directory if it holds nothing else.
pub(super) fn unmake(
    package: &PkgInst,
    installed: &Installed,
    made: &[String],
) -> Result<Vec<RecordChange>, Reason> {
    let is_made = |name: &[u8]| made.iter().any(|other| other.as_bytes() == name);
    let goes_whole = |directory: &str| {
        let there = installed.directories.contains(directory.trim_end_matches('/').as_bytes());
        let inside = |name: &Vec<u8>| name.starts_with(directory.as_bytes());
        there && installed.records.keys().filter(|name| inside(name)).all(|name| is_made(name))
    };
    let whole: Vec<&String> = made.iter().filter(|name| name.ends_with('/') && goes_whole(name)).collect();
    let mut changes = Vec::new();
    for name in made {
        if whole.iter().any(|directory| *directory != name && name.starts_with(directory.as_str())) {
            continue;
        }
        if whole.contains(&name) {
            let path = package_path(package, name.trim_end_matches('/').as_bytes())?;
            changes.push(RecordChange::RemoveTree(path));
        } else if installed.records.contains_key(name.as_bytes()) {
            changes.push(RecordChange::RemoveFile(package_path(package, name.as_bytes())?));
        }
    }
    Ok(changes)
}

/// Accepts any spelling of the id.
pub(super) fn save_of<'a>(
    installed: &'a Installed,
    id: &PatchId,
    separator: &str,
) -> Option<(&'a str, &'a Save)> {
    let mut saves = saves_of_base(installed, id.base());
    saves.find(|(name, _)| PatchId::parse(name, separator).is_ok_and(|saved| saved == *id))
}

fn saves_of_base<'a, 'b>(
    installed: &'a Installed,
    base: &'b str,
) -> impl Iterator<Item = (&'a str, &'a Save)> + use<'a, 'b> {
    let saves = installed.saves.range(base.to_owned()..).map(|(name, save)| (name.as_str(), save));
    saves.take_while(move |(name, _)| name.starts_with(base))
}

pub(super) fn has_undo_data(installed: &Installed, id: &PatchId, separator: &str) -> bool {
    let save = save_of(installed, id, separator);
    save.is_some_and(|(_, save)| save.has_archive())
}

pub(super) fn supersede(
    package: &PkgInst,
    installed: &Installed,
    id: &PatchId,
    obsoletes: &PatchList,
    separator: &str,
) -> Result<Vec<RecordChange>, Reason> {
    let mut changes = Vec::new();
    let bases = std::iter::once(id).chain(obsoletes.iter()).map(PatchId::base);
    let saves: BTreeMap<&str, &Save> = bases.flat_map(|base| saves_of_base(installed, base)).collect();
    for (name, save) in saves {
        let Ok(saved) = PatchId::parse(name, separator) else { continue };
        let contained = id.is_later_than(&saved) || obsoletes.iter().any(|entry| entry.contains(&saved));
        // A directory without undo data needs no mark.
        if !contained || saved == *id || save.has_manifest {
            continue;
        }
        changes.extend(renamed(package, name, save, ("undo", "obsolete"))?);
        changes.extend(remote_state(package, name, save, RemoteState::Obsolete)?);
        let mut by = obsoleters(save, separator);
        if !by.iter().any(|known| known == id.as_str()) {
            by.push(id.to_string());
            changes.push(write(save_path(package, name, "obsoleted_by")?, obsoleted_by::write(&by)));
        }
    }
    Ok(changes)
}

pub(super) fn reactivate(
    package: &PkgInst,
    installed: &Installed,
    id: &PatchId,
    separator: &str,
) -> Result<Vec<RecordChange>, Reason> {
    let mut changes = Vec::new();
    for (name, save) in installed.saves.iter().filter(|(name, _)| name.as_str() != id.as_str()) {
        let by = obsoleters(save, separator);
        let others: Vec<&String> =
            by.iter().filter(|by| PatchId::parse(by, separator).map_or(true, |by| by != *id)).collect();
        if others.len() == by.len() {
            continue;
        }
        let path = save_path(package, name, "obsoleted_by")?;
        if others.is_empty() {
            changes.push(RecordChange::RemoveFile(path));
            changes.extend(renamed(package, name, save, ("obsolete", "undo"))?);
            changes.extend(remote_state(package, name, save, RemoteState::Active)?);
        } else {
            changes.push(write(path, obsoleted_by::write(&others)));
        }
    }
    Ok(changes)
}

pub(super) fn save_path(package: &PkgInst, id: &str, name: &str) -> Result<ObjectPath, Reason> {
    package_path(package, format!("save/{id}/{name}").as_bytes())
}

fn obsoleters(save: &Save, separator: &str) -> Vec<String> {
    let by = save.obsoleted_by.as_deref().and_then(|bytes| obsoleted_by::parse(bytes).ok());
    let is_id = |by: &String| rule::holds("save.obsoleted_by.id", PatchId::parse(by, separator).is_ok());
    by.unwrap_or_default().into_iter().filter(is_id).collect()
}

fn renamed(
    package: &PkgInst,
    id: &str,
    save: &Save,
    (from, to): (&str, &str),
) -> Result<Option<RecordChange>, Reason> {
    let Some(archive) = save.archive.as_ref().filter(|_| !save.is_other_name_taken) else { return Ok(None) };
    let Some(suffix) = archive.strip_prefix(from) else { return Ok(None) };
    Ok(Some(RecordChange::Move {
        from: save_path(package, id, archive)?,
        to: save_path(package, id, &format!("{to}{suffix}"))?,
    }))
}

fn remote_state(
    package: &PkgInst,
    id: &str,
    save: &Save,
    state: RemoteState,
) -> Result<Option<RecordChange>, Reason> {
    let Some(mut remote) = save.remote.as_deref().and_then(|bytes| RemoteArchive::parse(bytes).ok()) else {
        return Ok(None);
    };
    if remote.state == state {
        return Ok(None);
    }
    remote.state = state;
    Ok(Some(write(save_path(package, id, "remote")?, remote.write())))
}

fn write(path: ObjectPath, bytes: Vec<u8>) -> RecordChange {
    RecordChange::Write { path, bytes, mode: Mode::of(0o644), mtime: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_patch_id_obsoletes_nothing() {
        let save = |text: &str| Save { obsoleted_by: Some(text.as_bytes().to_vec()), ..Save::default() };
        assert_eq!(obsoleters(&save("900-01\n"), "-"), ["900-01"]);
        for text in ["../900-01\n", "900\n"] {
            assert_eq!(obsoleters(&save(text), "-"), Vec::<String>::new(), "{text}");
        }
    }
}
