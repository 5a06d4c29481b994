//! Save directories of a package, `save/<id>`, one per patch. With live files, threads open each directory once, from
//! its parent; otherwise the [`RecordView`] reads each file, with the same results. A link or file in place of a save
//! directory is ignored.

use std::collections::BTreeMap;

use rustix::io::Errno;

use super::{DatabaseError, RecordView, ViewError, places};
use crate::format::ledger::SNAPSHOT;
use crate::inventory::Save;
use patchadm_changeset::format::manifest::KEPT_MANIFEST;
use patchadm_changeset::format::undo_sidecars::UndoPaths;
use patchadm_changeset::plan::ARCHIVE_NAMES;
use patchadm_rootfs::side_by_side;
use patchadm_rootfs::{Dir, FileType, ObjectStatus, ReadBudget, RootError};
use patchadm_svr4::package::PkgInst;

const LARGEST_REMOTE: u64 = 64 << 10;
const LARGEST_OBSOLETED_BY: u64 = 16 << 20;

/// Paths that an archive changed.
const PATHS: &[u8] = b"undo.paths";
const LARGEST_PATHS: u64 = 64 << 20;

/// The spooled copy of a package, not a patch's save directory.
const SPOOL: &[u8] = b"pspool";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnreadableFile {
    Refused,
    PassedOver,
}

const PORTION: usize = 50;

/// The digest beside an archive. It moves with the archive.
const UNDO_DIGEST: &[u8] = b"undo.b3";

/// By name, without the spooled copy. Includes those of class scripts (`build`, `sed`), whose names are not patch ids.
pub fn saves(view: &RecordView<'_>, package: &PkgInst) -> Result<BTreeMap<String, Save>, DatabaseError> {
    let all = each(view, package, UnreadableFile::Refused, |_, _| Ok(()))?;
    Ok(all.into_iter().map(|(id, (save, _))| (id, save)).collect())
}

/// Like [`saves`], for readers: an unreadable file counts as missing.
pub fn open_saves(view: &RecordView<'_>, package: &PkgInst) -> Result<BTreeMap<String, Save>, DatabaseError> {
    let all = each(view, package, UnreadableFile::PassedOver, |_, _| Ok(()))?;
    Ok(all.into_iter().map(|(id, (save, _))| (id, save)).collect())
}

/// Reads the lists of changed paths in a package's save directories. Directories without a readable list are left out.
pub fn paths(view: &RecordView<'_>, package: &PkgInst) -> Result<BTreeMap<String, UndoPaths>, DatabaseError> {
    let budget = view.saves_budget();
    let all = each(view, package, UnreadableFile::PassedOver, |_, save| match saved_paths(save, budget) {
        Err(error @ RootError::SumTooLarge { .. }) => Err(error),
        read => Ok(read.unwrap_or_default()),
    })?;
    Ok(all.into_iter().filter_map(|(id, (_, paths))| Some((id, paths??))).collect())
}

/// Each with the result of `more` on its open directory (`None` if the view had to be asked).
pub(super) fn each<T: Send>(
    view: &RecordView<'_>,
    package: &PkgInst,
    closed: UnreadableFile,
    more: impl Fn(&str, &Dir) -> Result<T, RootError> + Sync,
) -> Result<BTreeMap<String, (Save, Option<T>)>, DatabaseError> {
    let directory = places::save(package);
    let names = view.list(&directory)?.unwrap_or_default();
    let ids = names.iter().filter(|name| *name != SPOOL).filter_map(|name| std::str::from_utf8(name).ok());
    let ids: Vec<&str> = ids.collect();
    let root = view.root();
    if !view.is_live() {
        let found =
            ids.into_iter().filter_map(|id| Some((id, through(view, package, id, closed).transpose()?)));
        return found.map(|(id, save)| Ok((id.to_owned(), (save?, None)))).collect();
    }
    let Some(held) = root.dir_if_there(&root.resolver().locate_dir(&directory)?)? else {
        return Ok(BTreeMap::new());
    };
    let budget = view.saves_budget();
    let portions: Vec<&[&str]> = ids.chunks(PORTION).collect();
    let found = side_by_side(root.workers(), portions.len(), || {
        |at: usize| {
            let ids = portions.get(at).copied().unwrap_or_default().iter();
            let found = ids
                .filter_map(|id| Some((*id, in_directory((&held, id), closed, budget, &more).transpose()?)));
            found.map(|(id, found)| Ok((id.to_owned(), found?))).collect::<Result<Vec<_>, RootError>>()
        }
    });
    let mut all = BTreeMap::new();
    for found in found {
        all.extend(found?);
    }
    Ok(all)
}

fn in_directory<T>(
    (held, id): (&Dir, &str),
    closed: UnreadableFile,
    budget: &ReadBudget,
    more: impl Fn(&str, &Dir) -> Result<T, RootError>,
) -> Result<Option<(Save, Option<T>)>, RootError> {
    let dir = match held.dir(id.as_bytes()) {
        Err(error) if error.is_not_found() || error.errno() == Some(Errno::LOOP) => return Ok(None),
        opened => opened?,
    };
    let read = |name: &[u8], limit| match dir.read_within(name, limit, budget) {
        Err(error) if closed == UnreadableFile::PassedOver && error.errno() == Some(Errno::ACCESS) => {
            Ok(None)
        }
        read => read,
    };
    let save = save(read, |name| dir.look(name), |name| dir.allocated_below(name))?;
    Ok(Some((save, Some(more(id, &dir)?))))
}

fn through(
    view: &RecordView<'_>,
    package: &PkgInst,
    id: &str,
    closed: UnreadableFile,
) -> Result<Option<Save>, DatabaseError> {
    let Ok(at) = places::save(package).join(id.as_bytes()) else { return Ok(None) };
    if !view.look(&at)?.is_some_and(|seen| seen.file_type == FileType::Directory) {
        return Ok(None);
    }
    let path = |name: &[u8]| at.join(name).unwrap_or_else(|_| at.clone());
    let read = |name: &[u8], limit| match view.read_within(&path(name), limit, view.saves_budget()) {
        Err(ViewError::Root(error))
            if closed == UnreadableFile::PassedOver && error.errno() == Some(Errno::ACCESS) =>
        {
            Ok(None)
        }
        read => read,
    };
    // During a run, sizes are only shown to people and need not be exact.
    Ok(Some(save(read, |name| view.look(&path(name)), |_| Ok(0))?))
}

fn save<E>(
    read: impl Fn(&[u8], u64) -> Result<Option<Vec<u8>>, E>,
    look: impl Fn(&[u8]) -> Result<Option<ObjectStatus>, E>,
    allocated_below: impl Fn(&[u8]) -> Result<u64, E>,
) -> Result<Save, E> {
    let mut save = Save {
        remote: read(b"remote", LARGEST_REMOTE)?,
        obsoleted_by: read(b"obsoleted_by", LARGEST_OBSOLETED_BY)?,
        ..Save::default()
    };
    for (name, _) in ARCHIVE_NAMES {
        if let Some(seen) = look(name.as_bytes())?.filter(|seen| seen.file_type == FileType::Regular) {
            save.archive = Some(name.to_owned());
            save.size = seen.size;
            save.is_other_name_taken = look(other_name(name).as_bytes())?.is_some();
            save.allocated = seen.allocated + look(UNDO_DIGEST)?.map_or(0, |digest| digest.allocated);
            break;
        }
    }
    if !save.has_archive() {
        let manifest = look(KEPT_MANIFEST.as_bytes())?;
        save.has_manifest = manifest.is_some_and(|seen| seen.file_type == FileType::Regular);
    } else if !save.is_told() {
        let snapshot = look(snapshot_directory().as_bytes())?;
        save.has_snapshot = snapshot.is_some_and(|seen| seen.file_type == FileType::Directory);
        if save.has_snapshot {
            save.allocated += allocated_below(snapshot_directory().as_bytes())?;
        }
    }
    Ok(save)
}

/// Changes when the patch is obsoleted or comes back into force.
fn other_name(name: &str) -> String {
    match name.strip_prefix("undo") {
        Some(suffix) => format!("obsolete{suffix}"),
        None => name.replacen("obsolete", "undo", 1),
    }
}

fn snapshot_directory() -> &'static str {
    SNAPSHOT.split_once('/').map_or(SNAPSHOT, |(directory, _)| directory)
}

/// From the list beside the archive or snapshot.
pub(super) fn saved_paths(save: &Dir, budget: &ReadBudget) -> Result<Option<UndoPaths>, RootError> {
    if let Some(list) = listed(save, budget)? {
        return Ok(Some(list));
    }
    match save.dir(snapshot_directory().as_bytes()) {
        Ok(snapshot) => listed(&snapshot, budget),
        Err(error) if error.is_not_found() || matches!(error.errno(), Some(Errno::LOOP | Errno::NOTDIR)) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn listed(directory: &Dir, budget: &ReadBudget) -> Result<Option<UndoPaths>, RootError> {
    match directory.read_within(PATHS, LARGEST_PATHS, budget) {
        // A list that is too long counts as missing.
        Err(RootError::TooLarge { .. } | RootError::Hollow(_)) => Ok(None),
        read => Ok(read?.and_then(UndoPaths::parse)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use patchadm_rootfs::Root;

    #[test]
    fn save_directories_are_looked_at_side_by_side_and_what_is_none_is_passed_over() {
        let root = tempfile::tempdir().unwrap();
        let save = root.path().join("var/sadm/pkg/X/save");
        for number in 0..3 * PORTION {
            let one = save.join(format!("{number}-01"));
            fs::create_dir_all(&one).unwrap();
            fs::write(one.join("undo.gz"), vec![0; number]).unwrap();
        }
        fs::create_dir(save.join("pspool")).unwrap();
        fs::write(save.join("file"), "").unwrap();
        symlink("7-01", save.join("link")).unwrap();
        fs::write(save.join("7-01/remote"), "# Backout\n").unwrap();

        let root = Root::open(root.path()).unwrap();
        let package = PkgInst::new("X").unwrap();
        let view = RecordView::live(&root);
        let all = each(&view, &package, UnreadableFile::Refused, |id, dir| {
            Ok(format!("{id} {}", dir.names()?.len()))
        })
        .unwrap();
        assert_eq!(all.len(), 3 * PORTION);
        for number in 0..3 * PORTION {
            let id = format!("{number}-01");
            let (save, more) = &all[&id];
            assert_eq!((save.archive.as_deref(), save.size), (Some("undo.gz"), number as u64));
            assert_eq!(
                save,
                &through(&view, &package, &id, UnreadableFile::Refused).unwrap().unwrap(),
                "the view says the same"
            );
            let files = if number == 7 { 2 } else { 1 };
            assert_eq!(more.as_deref(), Some(format!("{id} {files}").as_str()));
        }
        let alone: BTreeMap<String, Save> = all.into_iter().map(|(id, (save, _))| (id, save)).collect();
        assert_eq!(saves(&view, &package).unwrap(), alone);
    }

    #[test]
    fn the_files_of_all_save_directories_are_bounded_in_sum() {
        let dir = tempfile::tempdir().unwrap();
        let save = dir.path().join("var/sadm/pkg/X/save");
        fs::create_dir_all(save.join("100-01")).unwrap();
        let first = save.join("100-01/obsoleted_by");
        fs::write(&first, vec![0; usize::try_from(LARGEST_OBSOLETED_BY).unwrap()]).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let held = root.dir(&places::save(&PkgInst::new("X").unwrap())).unwrap();
        let budget = ReadBudget::of(LARGEST_OBSOLETED_BY + 1);
        let read = |id| {
            in_directory((&held, id), UnreadableFile::PassedOver, &budget, |_, save| {
                saved_paths(save, &budget)
            })
        };
        assert!(read("100-01").unwrap().is_some());
        fs::create_dir(save.join("100-02")).unwrap();
        fs::hard_link(&first, save.join("100-02/obsoleted_by")).unwrap();
        let error = read("100-02").unwrap_err();
        assert!(
            matches!(&error, RootError::SumTooLarge { path, .. } if path.ends_with("100-02/obsoleted_by")),
            "{error}"
        );
    }

    #[test]
    fn what_cannot_be_read_in_a_save_directory_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let save = dir.path().join("var/sadm/pkg/X/save/100-01");
        fs::create_dir_all(&save).unwrap();
        fs::write(save.join("remote"), vec![0; (64 << 10) + 1]).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let error = saves(&RecordView::live(&root), &PkgInst::new("X").unwrap()).unwrap_err().to_string();
        assert!(error.starts_with(&save.join("remote").display().to_string()), "{error}");
    }
}
