//! Undo archives outside the root (`-B`): their host paths in the journal, and the files found there.
//!
//! A path has the form `DIR/<id>/<PKG>/NAME`. The caller names `DIR`, which may lead through links. This program makes
//! the two directories below it, which are never links. An archive is removed only if name, manifest and digest show
//! that the run made or used it. Anything else stays, and a note says so.

use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use crate::archive_file::{ArchiveFileError, UnboundArchive};
use crate::format::journal::{Journal, JournalArchive, Op};
use crate::format::manifest::{ManifestHeader, decode};
use crate::format::outside_path::OutsidePath;
use crate::outside::OutsideAccess;
use crate::records::RecordView;
use crate::transaction::error::Cause;
use patchadm_rootfs::Digest;
use patchadm_rootfs::{Dir, FileType, Root};
use patchadm_svr4::package::{Mode, ObjectPath, PkgInst, rule};
use patchadm_svr4::places;

/// The largest ledger that is read, in bytes: 16 MiB.
const LARGEST_LEDGER: u64 = 16 << 20;

/// Decodes the path of an object outside the root from the journal.
pub(crate) fn outside_path(text: &str) -> PathBuf {
    std::ffi::OsString::from_vec(decode(text).into_owned()).into()
}

/// Converts a host path into a path below `/`.
pub fn host_path(path: &Path) -> Result<ObjectPath, Cause> {
    ObjectPath::new(path.as_os_str().as_bytes()).map_err(|error| Cause::Internal(error.to_string()))
}

/// Returns the name of an archive outside the root before the run commits.
pub(crate) fn unpublished_name(run: &str) -> Vec<u8> {
    format!("undo.{run}.tmp").into_bytes()
}

/// The open directories of an archive outside the root.
pub(crate) struct HostDirectories {
    /// The directory named by the caller.
    base: Dir,
    /// The directory of the patch.
    patch: Dir,
    /// The directory of the package, which holds the archive.
    pub(crate) package: Dir,
    /// The names of the last two directories.
    names: [Vec<u8>; 2],
}

impl HostDirectories {
    /// Opens the directories of an archive, or returns `None` if one is missing. Those below the named one must not
    /// be links.
    pub(crate) fn open(root: &Root, archive: &Path) -> Result<Option<Self>, Cause> {
        let (base, patch, package) = parts(archive)?;
        let Some(base) = named(root, &base)? else { return Ok(None) };
        let Some(in_base) = if_there(&base, &patch)? else { return Ok(None) };
        let Some(in_patch) = if_there(&in_base, &package)? else { return Ok(None) };
        Ok(Some(Self { base, patch: in_base, package: in_patch, names: [patch, package] }))
    }

    /// Opens the directories, and makes those missing below the named one.
    pub(crate) fn make(root: &Root, archive: &Path) -> Result<Self, Cause> {
        let (base, patch, package) = parts(archive)?;
        let shown = String::from_utf8_lossy(base.as_bytes()).into_owned();
        let base = named(root, &base)?.ok_or(Cause::Changed(shown))?;
        let in_base = make_or_open(&base, &patch)?;
        let in_patch = make_or_open(&in_base, &package)?;
        Ok(Self { base, patch: in_base, package: in_patch, names: [patch, package] })
    }

    /// Removes the emptied directories, except for the named one. Returns the innermost that is left.
    pub(crate) fn remove_emptied(self) -> Result<Dir, Cause> {
        let Self { base, patch, package, names: [id, inst] } = self;
        if !patch.remove_dir(&inst)? {
            return Ok(package);
        }
        Ok(if base.remove_dir(&id)? { base } else { patch })
    }
}

/// Splits the path of an archive into the named directory and the names of the patch and package directories.
fn parts(archive: &Path) -> Result<(ObjectPath, Vec<u8>, Vec<u8>), Cause> {
    let path = host_path(archive)?;
    let package = path.parent().unwrap_or_else(ObjectPath::root);
    let patch = package.parent().unwrap_or_else(ObjectPath::root);
    let base = patch.parent().unwrap_or_else(ObjectPath::root);
    Ok((base, patch.name().to_vec(), package.name().to_vec()))
}

fn named(root: &Root, base: &ObjectPath) -> Result<Option<Dir>, Cause> {
    let host = root.elsewhere(Path::new("/"))?;
    let physical = host.resolver().locate_dir(base)?;
    Ok(host.dir_if_there(&physical)?)
}

/// Makes the removal of an archive's directories durable: a killed run may have removed them.
fn sync_named(root: &Root, archive: &Path) -> Result<(), Cause> {
    let (base, ..) = parts(archive)?;
    named(root, &base)?.map_or(Ok(()), |base| Ok(base.sync()?))
}

fn if_there(dir: &Dir, name: &[u8]) -> Result<Option<Dir>, Cause> {
    match dir.look(name)? {
        None => Ok(None),
        Some(_) => Ok(Some(dir.dir(name)?)),
    }
}

fn make_or_open(dir: &Dir, name: &[u8]) -> Result<Dir, Cause> {
    Ok(match dir.look(name)? {
        None => dir.make_dir(name, Mode::of(0o755))?,
        Some(_) => dir.dir(name)?,
    })
}

/// Returns the current BLAKE3 of an archive outside the root, or `None` if there is no file.
pub(crate) fn host_digest(root: &Root, path: &Path) -> Result<Option<Digest>, Cause> {
    let Some(directories) = HostDirectories::open(root, path)? else { return Ok(None) };
    let name = host_path(path)?.name().to_vec();
    open_file(&directories.package, &name)?.map(|file| digest(&file)).transpose()
}

/// Opens a regular file, or returns `None` if there is none.
fn open_file(dir: &Dir, name: &[u8]) -> Result<Option<UnboundArchive>, Cause> {
    if dir.look(name)?.is_none_or(|seen| seen.file_type != FileType::Regular) {
        return Ok(None);
    }
    let (file, seen) = dir.open_file(name)?;
    let is_file = seen.file_type == FileType::Regular;
    Ok(is_file.then(|| UnboundArchive::new(file, dir.root().show(&dir.at(name)))))
}

fn digest(file: &UnboundArchive) -> Result<Digest, Cause> {
    let failed =
        |error: ArchiveFileError| Cause::Archive { package: String::new(), reason: error.to_string() };
    file.digest().map_err(failed)
}

/// Removes archives outside the root when a run ends.
#[derive(Clone, Copy)]
pub(crate) struct ArchiveCleanup<'a> {
    pub(crate) root: &'a Root,
    /// The journal of the run.
    pub(crate) journal: &'a Journal,
    /// The directories in which archives may be touched.
    pub(crate) outside: &'a OutsideAccess<'a>,
}

impl ArchiveCleanup<'_> {
    /// Removes an archive outside the root, its unpublished form, and its emptied directories of patch and package, and
    /// makes that durable: the journal, which is about to forget the archive, may lie on another file system. Returns a
    /// note if something stays.
    pub(crate) fn remove(self, archive: &JournalArchive, path: &str) -> Result<Option<String>, Cause> {
        let path = outside_path(path);
        let stays = |reason: &str| Some(format!("{} stays: {reason}", path.display()));
        let (patch, package) = (archive.patch.as_deref(), archive.package.as_deref());
        let form = OutsidePath::parse(path.as_os_str().as_bytes())
            .filter(|at| at.is_of(patch.unwrap_or_default(), package.unwrap_or_default()));
        if !rule::holds("archive.outside.path", form.is_some()) {
            return Ok(stays("the journal names it, and it is no place of an undo archive of the run"));
        }
        let host = host_path(&path)?;
        let unpublished = unpublished_name(&self.journal.head.header.run);
        let is_vouched = self.outside.may_touch(self.root, &host)
            || self.outside.is_trusted
                && rule::holds("archive.outside.ledger", self.is_in_ledger(archive, &host));
        if !rule::holds("archive.outside.directory", is_vouched) {
            let unpublished = String::from_utf8_lossy(&unpublished);
            return Ok(stays(&format!(
                "only a file of the root names it and {unpublished} beside it, which an interrupted run may have left; \
                 look at them and remove them, or say --undo-dir where a run is recovered"
            )));
        }
        let Some(directories) = HostDirectories::open(self.root, &path)? else {
            return sync_named(self.root, &path).map(|()| None);
        };
        if directories.package.look(&unpublished)?.is_some_and(|seen| seen.file_type == FileType::Regular) {
            directories.package.remove(&unpublished)?;
        }
        let name = host.name().to_vec();
        let is_there = directories.package.look(&name)?.is_some();
        if is_there && !self.is_of_run(&directories.package, &name, archive)? {
            return Ok(stays("it is not the undo archive that the run made or used"));
        }
        if is_there {
            directories.package.remove(&name)?;
        }
        directories.remove_emptied()?.sync()?;
        Ok(None)
    }

    /// Tells whether the ledger replaced by the run names the archive at that path. After a commit that is the old
    /// ledger, after a rollback the new one; either is in the stage.
    fn is_in_ledger(self, archive: &JournalArchive, path: &ObjectPath) -> bool {
        let package = archive.package.as_deref().and_then(|name| PkgInst::new(name).ok());
        let (Some(at), Some(names)) =
            (package.map(|package| places::ledger(&package)), self.outside.names_archive)
        else {
            return false;
        };
        let ops = self.journal.ops.iter().filter(|op| op.path == at);
        ops.filter_map(|op| self.staged_ledger(op)).any(|ledger| names(&ledger, archive, path))
    }

    /// Reads the staged ledger of an op, or returns `None` if it cannot be read.
    fn staged_ledger(self, op: &Op) -> Option<Vec<u8>> {
        let place = self.journal.domains.get(op.domain)?.stage.join(op.stage.as_bytes()).ok()?;
        RecordView::live(self.root).read(&place, LARGEST_LEDGER).ok().flatten()
    }

    /// Tells whether a file is the archive written or used by the run, by its bytes and by its manifest.
    fn is_of_run(self, dir: &Dir, name: &[u8], archive: &JournalArchive) -> Result<bool, Cause> {
        let Some(file) = open_file(dir, name)? else { return Ok(false) };
        let expected = archive.b3.as_deref().and_then(Digest::from_hex);
        if !rule::holds("archive.outside.digest", Some(digest(&file)?) == expected) {
            return Ok(false);
        }
        let says = |header: &ManifestHeader| {
            header.root == self.journal.head.header.root
                && Some(&header.patch) == archive.patch.as_ref()
                && Some(&header.package) == archive.package.as_ref()
        };
        // An archive made by scripts is a package stream without a manifest. A file that is no package stream is no
        // archive.
        let is_it = match file.manifest() {
            Ok(manifest) => manifest.is_none_or(|manifest| says(&manifest.header)),
            Err(_) => false,
        };
        Ok(rule::holds("archive.outside.manifest", is_it))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::{Arc, Mutex};

    use patchadm_rootfs::{ChangeCall, Door};

    use super::*;
    use crate::format::journal::{JournalHead, JournalHeader, RunRecord};
    use patchadm_rootfs::Sums;
    use patchadm_svr4::format::cpio::{CpioFormat, CpioHeader as Member};
    use patchadm_svr4::format::datastream::{DatastreamPackage, DatastreamWriter};
    use patchadm_svr4::package::PkgInst;

    const ROOT: &str = "00112233445566ff";

    /// Returns a package stream without a manifest: an archive that scripts made.
    fn stream() -> Vec<u8> {
        let (pkginfo, pkgmap) = (b"PKG=ACMEweb\n".to_vec(), b": 1 9\n".to_vec());
        let inst = PkgInst::new("ACMEweb").unwrap();
        let package = DatastreamPackage { inst, parts: 1, max_blocks: 9, pkginfo: pkginfo.clone(), pkgmap };
        let mut part =
            DatastreamWriter::new(Vec::new(), &[package], 0).unwrap().begin_part(CpioFormat::Newc).unwrap();
        part.write_member(&Member::file(b"pkginfo", 0o644, 0, pkginfo.len() as u64), &pkginfo[..]).unwrap();
        part.finish().unwrap().finish().unwrap()
    }

    fn digest_of(bytes: &[u8]) -> String {
        Sums::of(&mut &*bytes).unwrap().b3.to_string()
    }

    /// Returns whether the end of a run removes a file with these bytes, for which the journal has this digest and
    /// patch. The removal is durable: the last change is a sync.
    fn removes(bytes: &[u8], b3: &str, patch: &str, outside: &OutsideAccess<'_>) -> bool {
        let (host, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = host.path().join("100-01/ACMEweb/undo");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        let (patch, package) = (Some(patch.to_owned()), Some("ACMEweb".to_owned()));
        let archive = JournalArchive { b3: Some(b3.to_owned()), patch, package, ..JournalArchive::default() };
        let header = JournalHeader { root: ROOT.to_owned(), ..JournalHeader::default() };
        let head = JournalHead { header, outcome: None, done: false, is_unsynced: false, progress: None };
        let journal = Journal {
            head,
            domains: Vec::new(),
            archives: Vec::new(),
            run_record: RunRecord::default(),
            ops: Vec::new(),
            is_whole: true,
        };
        let calls = Arc::new(Mutex::new(Vec::new()));
        let noted = calls.clone();
        let door = Door::default().witnessed(move |step, _| noted.lock().unwrap().push(step.call));
        let root = Root::open_with(place.path(), door).unwrap();
        let ending = ArchiveCleanup { root: &root, journal: &journal, outside };
        let note = ending.remove(&archive, path.to_str().unwrap()).unwrap();
        assert_eq!(note.is_some(), path.exists(), "{note:?}");
        assert_eq!(note.is_none(), calls.lock().unwrap().last() == Some(&ChangeCall::Sync));
        note.is_none()
    }

    #[test]
    fn only_what_the_run_wrote_or_used_is_removed_at_its_end() {
        let (planned, bytes) = (OutsideAccess::planned(), stream());
        assert!(removes(&bytes, &digest_of(&bytes), "100-01", &planned));
        assert!(!removes(&bytes, &digest_of(b"others"), "100-01", &planned), "another digest");
        assert!(!removes(&bytes, "", "100-01", &planned), "no digest");
        assert!(!removes(&bytes, &digest_of(&bytes), "200-01", &planned), "the place of another patch");
        assert!(!removes(b"a letter", &digest_of(b"a letter"), "100-01", &planned), "no archive");
    }

    #[test]
    fn what_only_a_file_of_the_root_names_is_not_removed_by_the_superuser() {
        if !rustix::process::geteuid().is_root() {
            return crate::skipped("what only a file of the root names: the superuser is asked more");
        }
        let bytes = stream();
        assert!(!removes(&bytes, &digest_of(&bytes), "100-01", &OutsideAccess::default()));
    }
}
