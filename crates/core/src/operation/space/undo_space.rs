//! The disk space of the undo data of one patch in one package: its form, what it occupies, and what `commit` gives back.
//!
//! The undo data of every form has its place in the save directory `save/<id>`, which this counts whole. A form that keeps
//! objects elsewhere, too, adds them in [`count_undo`] and nowhere else.

use super::disk_usage::DiskUsage;
use patchadm_changeset::archive_file::UnboundArchive;
use patchadm_changeset::format::manifest::Manifest;
use patchadm_changeset::plan::{ARCHIVE_NAMES, UndoFormat};
use patchadm_changeset::stored_file::StoredFile;
use patchadm_rootfs::{Dir, FileType, Root, RootError};

/// The files beside an archive that go when it is given up.
const BESIDE_ARCHIVE: [&[u8]; 3] = [b"undo.b3", b"remote", b"snapshot"];

/// The form of undo data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UndoForm {
    /// A form that lies in the root.
    Inside(UndoFormat),
    /// An archive outside the root.
    Outside,
}

impl UndoForm {
    /// Returns the word for the form.
    pub fn word(self) -> &'static str {
        match self {
            Self::Inside(format) => format.word(),
            Self::Outside => "outside",
        }
    }
}

/// The disk space of undo data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UndoSpace {
    /// The form; `None` if the patch cannot be backed out, and only the facts about its paths are there.
    pub form: Option<UndoForm>,
    /// The bytes that it occupies in the root.
    pub bytes: u64,
    /// The bytes of these that are old files in undo directories.
    pub stored: u64,
    /// The bytes of these that are free again when it is given up.
    pub freeable: u64,
    /// The bytes that an archive outside the root occupies.
    pub outside: u64,
}

/// Counts the undo data in a save directory, with everything else there.
pub(super) fn count_undo(usage: &mut DiskUsage, saves: &Dir, name: &[u8]) -> Result<UndoSpace, RootError> {
    let (form, freeable) = match saves.dir(name) {
        Ok(save) => look_at_archive(&save)?,
        // What cannot be read is named when it is counted.
        Err(error) if error.is_refused_access() || error.is_not_found() => (None, 0),
        Err(error) => return Err(error),
    };
    let is_files = form == Some(UndoForm::Inside(UndoFormat::Files));
    let stored = if is_files { stored_bytes(&saves.dir(name)?)? } else { 0 };
    let (bytes, freeable) = (usage.of(saves, name)? + stored, freeable + stored);
    Ok(UndoSpace { form, bytes, stored, freeable, outside: 0 })
}

/// Returns the bytes of the old files that the archive in a save directory names. What cannot be read is named when the
/// directory is counted, or when it is verified.
fn stored_bytes(save: &Dir) -> Result<u64, RootError> {
    let root = save.root();
    let mut usage = DiskUsage::default();
    let mut bytes = 0;
    for (name, _) in ARCHIVE_NAMES.iter().filter(|(_, format)| *format == UndoFormat::Files) {
        let name = name.as_bytes();
        let Some(seen) = save.look(name)?.filter(|seen| seen.file_type == FileType::Regular) else {
            continue;
        };
        let archive = match save.open_seen(name) {
            Err(error) if error.is_refused_access() => continue,
            opened => opened?,
        };
        let Some((file, _)) = archive.filter(|_| seen.size > 0) else { continue };
        let manifest = UnboundArchive::new(file, root.show(&save.at(name))).manifest().ok().flatten();
        bytes += manifest.map_or(Ok(0), |manifest| count_stored(&mut usage, root, &manifest))?;
    }
    Ok(bytes)
}

/// Returns the bytes of the old files that a manifest names, which are free again when the undo data is given up.
pub(in crate::operation) fn stored_space(root: &Root, manifest: &Manifest) -> Result<u64, RootError> {
    count_stored(&mut DiskUsage::default(), root, manifest)
}

fn count_stored(usage: &mut DiskUsage, root: &Root, manifest: &Manifest) -> Result<u64, RootError> {
    let mut bytes = 0;
    for stored in StoredFile::all_of(manifest) {
        let directory = match root.dir_if_there(&stored.directory) {
            Err(error) if error.is_refused_access() => continue,
            opened => opened?,
        };
        let seen = directory.map(|directory| directory.look(stored.name.as_bytes())).transpose()?.flatten();
        bytes += seen.map_or(0, |seen| usage.of_one(&seen));
    }
    Ok(bytes)
}

/// Returns the form of the undo data in a save directory, and the bytes that are free again without it.
fn look_at_archive(save: &Dir) -> Result<(Option<UndoForm>, u64), RootError> {
    let mut usage = DiskUsage::default();
    let (mut form, mut freeable) = (None, 0);
    for (name, format) in ARCHIVE_NAMES {
        if let Some(seen) = save.look(name.as_bytes())? {
            form = form.or(Some(UndoForm::Inside(format)));
            freeable += usage.of_one(&seen);
        }
    }
    if form.is_none() && save.look(b"remote")?.is_some() {
        form = Some(UndoForm::Outside);
    }
    if form.is_some() {
        for name in BESIDE_ARCHIVE {
            freeable += usage.of(save, name)?;
        }
    }
    Ok((form, freeable))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn space(place: &Path) -> UndoSpace {
        let saves = Dir::of_host(place).unwrap();
        count_undo(&mut DiskUsage::default(), &saves, b"100-01").unwrap()
    }

    #[test]
    fn the_form_is_told_by_name_and_the_list_of_paths_stays() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(space(place.path()), UndoSpace::default());
        let save = place.path().join("100-01");
        fs::create_dir(&save).unwrap();
        fs::write(save.join("undo.paths"), [b'p'; 5_000]).unwrap();
        let without = space(place.path());
        assert_eq!((without.form, without.freeable), (None, 0));
        for (name, form) in
            ["undo.gz", "obsolete.Z", "undo", "obsolete.zst"].into_iter().zip(["gz", "Z", "none", "zst"])
        {
            fs::write(save.join(name), vec![b'a'; 20_000]).unwrap();
            let found = space(place.path());
            assert_eq!(found.form.map(UndoForm::word), Some(form));
            assert_eq!(found.bytes - without.bytes, found.freeable, "{name}");
            assert!(found.freeable >= 20_000);
            fs::remove_file(save.join(name)).unwrap();
        }
        fs::write(save.join("remote"), "elsewhere").unwrap();
        assert_eq!(space(place.path()).form, Some(UndoForm::Outside));
    }
}
