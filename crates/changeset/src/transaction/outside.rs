//! Undo archives outside the root (`-B`), `DIR/<id>/<PKG>/NAME`. The caller names `DIR`, perhaps through links; the
//! directories below are never links. An archive is removed only if name, manifest and digest prove it the run's;
//! otherwise it stays, with a note.

use std::os::unix::ffi::{OsStrExt, OsStringExt as _};
use std::path::{Path, PathBuf};

use crate::archive_file::{ArchiveFileError, UnboundArchive};
use crate::format::journal::{Journal, JournalArchive, Op};
use crate::format::manifest::{ManifestHeader, decode};
use crate::format::outside_path::OutsidePath;
use crate::format::run::Run;
use crate::plan::Plan;
use crate::records::RecordView;
use crate::transaction::error::Cause;
use crate::transaction::objects::names::{RenameSupport, is_not_there};
use patchadm_rootfs::{Digest, Dir, FileType, Root};
use patchadm_svr4::package::{Mode, ObjectPath, PkgInst, rule};
use patchadm_svr4::places;

/// True if a ledger names an archive at a host path. The layer above knows ledgers.
pub type NamesArchive = fn(ledger: &[u8], archive: &JournalArchive, path: &ObjectPath) -> bool;

/// Host directories in which archives may be opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutsideAccess<'a> {
    /// Replaces the directory in `remote`: `-B`, `--undo-dir`.
    pub moved_to: Option<&'a Path>,
    /// `undo_dir` of the host's policy.
    pub of_host: Option<&'a Path>,
    /// The root's owner is trusted (`--trust-root`) and may name any archive.
    pub is_trusted: bool,
    /// This process planned the run, and has checked all paths.
    pub is_planned: bool,
    /// Without it, no ledger names an archive.
    pub names_archive: Option<NamesArchive>,
}

impl OutsideAccess<'static> {
    /// Allows any archive that the root names.
    pub fn planned() -> Self {
        Self { is_trusted: true, is_planned: true, ..Self::default() }
    }
}

impl OutsideAccess<'_> {
    /// True if the ending command may touch a run's file at a host path, whatever the root says.
    pub fn may_touch(&self, root: &Root, path: &ObjectPath) -> bool {
        self.is_planned || is_own(root) || self.is_named(path)
    }

    /// True if the caller or the host names the directory, not the root.
    pub fn is_named(&self, path: &ObjectPath) -> bool {
        let directory = OutsidePath::parse(path.as_bytes()).map(|at| at.directory);
        is_directory(self.of_host, directory) || is_directory(self.moved_to, directory)
    }
}

/// True if nobody with fewer rights than the caller controls the root's content.
pub fn is_own(root: &Root) -> bool {
    !root.is_privileged() || root.is_system()
}

fn is_directory(named: Option<&Path>, directory: Option<&[u8]>) -> bool {
    let path = |bytes: &[u8]| ObjectPath::new(if bytes.is_empty() { b"/" } else { bytes }).ok();
    let named = named.and_then(|named| path(named.as_os_str().as_bytes()));
    named.is_some() && named == directory.and_then(path)
}

const LARGEST_LEDGER: u64 = 16 << 20;

pub(crate) fn outside_path(text: &str) -> PathBuf {
    std::ffi::OsString::from_vec(decode(text).into_owned()).into()
}

pub fn host_path(path: &Path) -> Result<ObjectPath, Cause> {
    ObjectPath::new(path.as_os_str().as_bytes()).map_err(|error| Cause::Internal(error.to_string()))
}

pub(crate) fn unpublished_name(run: &str) -> Vec<u8> {
    format!("undo.{run}.tmp").into_bytes()
}

pub(crate) struct HostDirectories {
    base: Dir,
    patch: Dir,
    pub(crate) package: Dir,
    names: [Vec<u8>; 2],
}

impl HostDirectories {
    /// `None` if one is missing. Directories below the named one must not be links.
    pub(crate) fn open(root: &Root, archive: &Path) -> Result<Option<Self>, Cause> {
        let (base, patch, package) = parts(archive)?;
        let Some(base) = named(root, &base)? else { return Ok(None) };
        let Some(in_base) = if_there(&base, &patch)? else { return Ok(None) };
        let Some(in_patch) = if_there(&in_base, &package)? else { return Ok(None) };
        Ok(Some(Self { base, patch: in_base, package: in_patch, names: [patch, package] }))
    }

    pub(crate) fn make(root: &Root, archive: &Path) -> Result<Self, Cause> {
        let (base, patch, package) = parts(archive)?;
        let shown = String::from_utf8_lossy(base.as_bytes()).into_owned();
        let base = named(root, &base)?.ok_or(Cause::Changed(shown))?;
        let in_base = make_or_open(&base, &patch)?;
        let in_patch = make_or_open(&in_base, &package)?;
        Ok(Self { base, patch: in_base, package: in_patch, names: [patch, package] })
    }

    /// Keeps the named directory. Returns the innermost that is left.
    pub(crate) fn remove_emptied(self) -> Result<Dir, Cause> {
        let Self { base, patch, package, names: [id, inst] } = self;
        if !patch.remove_dir(&inst)? {
            return Ok(package);
        }
        Ok(if base.remove_dir(&id)? { base } else { patch })
    }
}

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

/// A killed run may have removed them.
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

pub(crate) fn host_digest(root: &Root, path: &Path) -> Result<Option<Digest>, Cause> {
    let Some(directories) = HostDirectories::open(root, path)? else { return Ok(None) };
    let name = host_path(path)?.name().to_vec();
    open_file(&directories.package, &name)?.map(|file| digest(&file)).transpose()
}

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

#[derive(Clone, Copy)]
pub(crate) struct ArchiveCleanup<'a> {
    pub(crate) root: &'a Root,
    pub(crate) journal: &'a Journal,
    pub(crate) outside: &'a OutsideAccess<'a>,
}

impl ArchiveCleanup<'_> {
    /// Removes an archive, its unpublished form and emptied directories, durably: the journal, which will forget it,
    /// may be on another file system. Returns a note if something stays.
    pub(crate) fn remove(self, archive: &JournalArchive, path: &str) -> Result<Option<String>, Cause> {
        let path = outside_path(path);
        let stays = |reason: &str| Some(format!("{} stays: {reason}", path.display()));
        let (patch, package) = (archive.patch.as_deref(), archive.package.as_deref());
        let form = OutsidePath::parse(path.as_os_str().as_bytes())
            .filter(|at| at.is_of(patch.unwrap_or_default(), package.unwrap_or_default()));
        if !rule::holds("archive.outside.path", form.is_some()) {
            return Ok(stays(
                "the journal names it, and it is not a valid place for an undo archive of the run",
            ));
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
                 look at them and remove them, or recover the run with --undo-dir"
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

    /// The replaced ledger is in the stage: the old one after a commit, the new one after a rollback.
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

    fn staged_ledger(self, op: &Op) -> Option<Vec<u8>> {
        let place = self.journal.domains.get(op.domain)?.stage.join(op.stage.as_bytes()).ok()?;
        RecordView::live(self.root).read(&place, LARGEST_LEDGER).ok().flatten()
    }

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
        // Archives by scripts are package streams without a manifest; other files are no archives.
        let is_it = match file.manifest() {
            Ok(manifest) => manifest.is_none_or(|manifest| says(&manifest.header)),
            Err(_) => false,
        };
        Ok(rule::holds("archive.outside.manifest", is_it))
    }
}

/// Digest, patch and package protect other files from removal.
pub(crate) fn kept_outside(path: &Path, b3: Option<Digest>) -> Result<JournalArchive, Cause> {
    let path = host_path(path)?;
    let at = OutsidePath::parse(path.as_bytes());
    Ok(JournalArchive {
        b3: b3.map(|digest| digest.to_string()),
        patch: at.map(|at| at.patch.to_owned()),
        package: at.map(|at| at.package.to_owned()),
        ..JournalArchive::default()
    })
}

pub(crate) fn remote_places(plan: &Plan, run: &Run) -> Vec<PathBuf> {
    let run = run.to_string();
    plan.undo.iter().filter_map(|undo| undo.outside(&run)).collect()
}

/// Before the outcome, after which the root may need them.
pub(crate) fn publish_remote<'p>(
    root: &Root,
    run: &Run,
    places: impl IntoIterator<Item = &'p PathBuf>,
) -> Result<(), Cause> {
    for path in places {
        let dir = HostDirectories::make(root, path)?.package;
        let name = path.file_name().map(|name| name.as_bytes().to_vec()).unwrap_or_default();
        match publish_name(&dir, &unpublished_name(&run.to_string()), &name) {
            Err(error) if error.errno() == Some(rustix::io::Errno::EXIST) => {
                return Err(Cause::Appeared(path.display().to_string()));
            }
            other => other?,
        }
        dir.sync()?;
    }
    Ok(())
}

/// Works on any file system; fails if the name is taken.
fn publish_name(dir: &Dir, from: &[u8], name: &[u8]) -> patchadm_rootfs::Result<()> {
    match dir.move_to(from, dir, name) {
        Err(error) if is_not_there(&error) => {
            RenameSupport { exchange: false, no_replace: false }.place(dir, from, dir, name)
        }
        other => other,
    }
}

pub(crate) fn remove_unpublished(root: &Root, archive: &Path, run: &str) -> Result<(), Cause> {
    let Some(directories) = HostDirectories::open(root, archive)? else { return Ok(()) };
    directories.package.remove(&unpublished_name(run))?;
    directories.remove_emptied().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::journal::JournalHead;
    use crate::format::journal::JournalHeader;
    use crate::format::journal::RunRecord;
    use patchadm_rootfs::ChangeCall;
    use patchadm_rootfs::Door;
    use patchadm_rootfs::Sums;
    use patchadm_svr4::format::cpio::CpioFormat;
    use patchadm_svr4::format::cpio::CpioHeader as Member;
    use patchadm_svr4::format::datastream::DatastreamPackage;
    use patchadm_svr4::format::datastream::DatastreamWriter;
    use patchadm_svr4::package::PkgInst;
    use std::fs;
    use std::sync::Arc;
    use std::sync::Mutex;

    const ROOT: &str = "00112233445566ff";

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
