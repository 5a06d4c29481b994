//! The undo data of patches: found, read and verified. Nothing else opens it. Undo data of this program has a manifest,
//! and is trusted only if the ledger names its digest. Data with neither manifest nor line is of another tool.
//!
//! ```text
//! UndoReader   finds it: in the save directory `save/<id>`, on the host where the file `remote` there points to
//!              (`patchadd -B`), or below a directory that the caller names (`patchrm -B`)
//! UndoData     the saved objects of one patch and package, and the ledger line about them; verified against that line
//! archive      the form: a file that other tools can install
//! ```

mod archive;
mod manifest;
mod outside;

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;

use super::{RecordView, ledger, places};
use crate::format::ledger::{Ledger, LedgerLine, LedgerUndo, SNAPSHOT, UndoLocation};
use crate::source::{Image, SourceError};
pub use archive::{ArchiveError, OldRecords, UndoContent, UndoContentError, kept_records};
use archive::{UndoArchiveFile, unreadable};
pub use outside::{OutsideAccess, OutsideRules};
use patchadm_changeset::archive_file::{UnreadContent, read_manifest};
use patchadm_changeset::format::manifest::{ArchivedPaths, KEPT_MANIFEST, UndoManifest};
use patchadm_changeset::format::outside_path::OutsidePath;
use patchadm_changeset::limits::LARGEST_MANIFEST;
use patchadm_changeset::plan::{ARCHIVE_NAMES, UndoFormat};
use patchadm_rootfs::{Digest, Interrupt, Root, never};
use patchadm_svr4::format::remote::RemoteArchive;
use patchadm_svr4::package::{ObjectPath, Params, PkgInst, rule};

const LARGEST_REMOTE: u64 = 64 << 10;

#[derive(Clone, Copy, Debug)]
pub struct UndoReader<'a> {
    pub view: &'a RecordView<'a>,
    /// The running system: undo data outside the save directory is at a path of it.
    pub host: &'a Root,
    /// Archives outside the root that may be opened.
    pub outside: OutsideAccess<'a>,
}

impl UndoReader<'_> {
    /// Finds the undo data of `patch`, whose save directory has that name, for `package`.
    pub fn find(&self, package: &PkgInst, patch: &str) -> Result<UndoData, ArchiveError> {
        self.find_with(package, patch, &ledger::counting(self.view, package)?)
    }

    /// Takes the valid lines of the ledger.
    pub fn find_with(
        &self,
        package: &PkgInst,
        patch: &str,
        ledger: &Ledger,
    ) -> Result<UndoData, ArchiveError> {
        let (view, host, outside) = (self.view, self.host, &self.outside);
        let line = ledger.line(patch).cloned();
        let missing = |path: String, remote| {
            let (patch, package) = (patch.to_owned(), package.clone());
            ArchiveError::Missing { patch, package, path, remote }
        };
        let nowhere = || missing(view.root().show(&places::save(package)), false);
        let directory = places::save(package).join(patch.as_bytes()).map_err(|_| nowhere())?;
        if ledger.earlier(patch).is_some_and(|line| line.has_undo) {
            return Err(ArchiveError::Earlier { path: view.root().show(&directory) });
        }
        let pointer = directory.join(b"remote").map_err(|_| nowhere())?;
        let local = first_of(&directory, |at| view.open(at).map_err(ArchiveError::from))?;
        let (file, shown, at) = if let Some((file, at)) = local {
            (file, view.root().show(&at), None)
        } else {
            let text = view.read(&pointer, LARGEST_REMOTE)?;
            let (file, at) = match (text, outside.moved_to) {
                (text, Some(moved_to)) => {
                    let pointer = text.and_then(|text| pointed_to(&text, &view.root().show(&pointer)).ok());
                    moved(host, moved_to, (package, patch, pointer.as_ref()), &missing)?
                }
                (Some(text), None) => {
                    let path = pointed_to(&text, &view.root().show(&pointer))?;
                    outside::check(outside, view.root(), &path, (patch, package), line.as_ref())?;
                    let file = open_on(host, &path)?.ok_or_else(|| missing(host.show(&path), true))?;
                    (file, path)
                }
                (None, None) => {
                    let lost = line.as_ref().and_then(|line| self.lost(line, package));
                    return Err(lost.unwrap_or_else(|| missing(view.root().show(&directory), false)));
                }
            };
            (file, host.show(&at), Some(at))
        };
        let archive = UndoArchiveFile::new(file, shown, view.root())?;
        Ok(UndoData { archive, package: package.clone(), patch: patch.to_owned(), line, outside: at })
    }

    /// Returns why the undo data of a line is missing (lost or exported); `None` if the line names none.
    pub fn lost(&self, line: &LedgerLine, package: &PkgInst) -> Option<ArchiveError> {
        let place = match &line.undo {
            LedgerUndo::Kept { place, .. } => place,
            LedgerUndo::Exported { .. } => return exported(line, package),
            LedgerUndo::None(_) => return None,
        };
        let path = match place {
            UndoLocation::Save => {
                let save = places::save(package);
                self.view.root().show(&save.join(line.patch.as_bytes()).unwrap_or(save))
            }
            UndoLocation::Host(path) => ObjectPath::new(path)
                .map_or_else(|_| String::from_utf8_lossy(path).into_owned(), |at| self.host.show(&at)),
        };
        let (patch, package, run) = (line.patch.clone(), package.clone(), line.run.clone());
        Some(ArchiveError::Lost { patch, package, path, run })
    }
}

pub fn exported(line: &LedgerLine, package: &PkgInst) -> Option<ArchiveError> {
    let (patch, package, run) = (line.patch.clone(), package.clone(), line.run.clone());
    line.exported().map(|_| ArchiveError::Exported { patch, package, run })
}

type FoundFile = (File, ObjectPath);

fn first_of(
    directory: &ObjectPath,
    open: impl Fn(&ObjectPath) -> Result<Option<File>, ArchiveError>,
) -> Result<Option<FoundFile>, ArchiveError> {
    for (name, _) in ARCHIVE_NAMES {
        let Ok(path) = directory.join(name.as_bytes()) else { continue };
        if let Some(file) = open(&path)? {
            return Ok(Some((file, path)));
        }
    }
    Ok(None)
}

/// Looks for `<directory>/<patch>/<package>/undo*` on the host. A rewritten one has the name that the pointer to its
/// former place has.
fn moved(
    host: &Root,
    directory: &Path,
    (package, patch, pointer): (&PkgInst, &str, Option<&ObjectPath>),
    missing: &impl Fn(String, bool) -> ArchiveError,
) -> Result<FoundFile, ArchiveError> {
    let place = directory.join(patch).join(package.as_str());
    let none = || missing(place.display().to_string(), true);
    let place = ObjectPath::new(place.as_os_str().as_bytes()).map_err(|_| none())?;
    let named = pointer.and_then(|path| OutsidePath::parse(path.as_bytes()));
    let named = named.and_then(|outside| place.join(outside.name.as_bytes()).ok());
    if let Some(path) = named
        && let Some(file) = open_on(host, &path)?
    {
        return Ok((file, path));
    }
    first_of(&place, |path| open_on(host, path))?.ok_or_else(none)
}

fn pointed_to(text: &[u8], shown: &str) -> Result<ObjectPath, ArchiveError> {
    let damaged = |reason: String| ArchiveError::Damaged { path: shown.to_owned(), reason };
    let remote = RemoteArchive::parse(text).map_err(|error| damaged(error.to_string()))?;
    ObjectPath::new(remote.find_at()).map_err(|error| damaged(error.to_string()))
}

fn open_on(host: &Root, path: &ObjectPath) -> Result<Option<File>, ArchiveError> {
    Ok(RecordView::live(host).open(path)?)
}

// A kept manifest without undo data tells neighbouring patches its paths. It is trusted only if the ledger names its
// digest.

impl UndoReader<'_> {
    /// Returns `None` if the ledger names no manifest. A named one must exist and be the one that the run wrote.
    pub fn kept_manifest(
        &self,
        package: &PkgInst,
        patch: &str,
        ledger: &Ledger,
    ) -> Result<Option<UndoManifest>, ArchiveError> {
        let line = ledger
            .line(patch)
            .filter(|line| matches!(line.undo, LedgerUndo::None(_) | LedgerUndo::Exported { .. }));
        let Some((line, digest)) = line.and_then(|line| Some((line, line.manifest?))) else {
            return Ok(None);
        };
        let (path, bytes) = read(self.view, package, patch)?;
        let unusable = |path: String, reason: String| ArchiveError::KeptManifest { path, reason };
        let run = &line.run;
        let Some(bytes) = bytes else {
            return Err(unusable(path, format!("it is missing, although run {run} saved it")));
        };
        if !rule::holds("manifest.kept.digest", Digest::of(&bytes) == digest) {
            let reason = format!("it is not the one that run {run} kept (an older copy, or somebody else's)");
            return Err(unusable(path, reason));
        }
        parsed(&bytes, package, patch).map(Some).map_err(|unread| match unread {
            UnreadContent::Earlier => ArchiveError::Earlier { path },
            UnreadContent::Damaged(reason) => unusable(path, reason),
        })
    }

    /// Does not use the undo data. The ledger must bind the manifest: that of the snapshot, or the kept one.
    pub fn known_manifest(
        &self,
        package: &PkgInst,
        patch: &str,
        ledger: &Ledger,
        interrupt: Interrupt<'_>,
    ) -> Result<Option<UndoManifest>, ArchiveError> {
        if let Some(kept) = self.kept_manifest(package, patch, ledger)? {
            return Ok(Some(kept));
        }
        self.find_with(package, patch, ledger)?.telling(self.view)?.bound_manifest(interrupt)
    }

    /// For readers: does not verify digests. With `params`, also finds paths in another program's archive.
    pub fn told(
        &self,
        (package, params): (&PkgInst, &Params),
        patch: &str,
        ledger: &Ledger,
    ) -> Result<ArchivedPaths, ArchiveError> {
        if let Some(kept) = self.kept_manifest(package, patch, ledger)? {
            return Ok(ArchivedPaths::Manifest(Box::new(kept)));
        }
        let undo = self.find_with(package, patch, ledger)?.telling(self.view)?;
        match undo.named_manifest()? {
            Some(manifest) => Ok(ArchivedPaths::Manifest(Box::new(manifest))),
            None => Ok(ArchivedPaths::Paths(undo.saved_paths(params))),
        }
    }

    /// Ignores the ledger; with digest and size of the file, for adoption.
    pub fn unbound_manifest(
        &self,
        package: &PkgInst,
        patch: &str,
    ) -> Result<Option<(UndoManifest, Digest, u64)>, ArchiveError> {
        let (_, Some(bytes)) = read(self.view, package, patch)? else { return Ok(None) };
        let of_file = |manifest| (manifest, Digest::of(&bytes), bytes.len() as u64);
        Ok(parsed(&bytes, package, patch).ok().map(of_file))
    }
}

fn read(
    view: &RecordView<'_>,
    package: &PkgInst,
    patch: &str,
) -> Result<(String, Option<Vec<u8>>), ArchiveError> {
    let save = places::save(package).join(patch.as_bytes());
    let Ok(path) = save.and_then(|save| save.join(KEPT_MANIFEST.as_bytes())) else {
        return Ok((view.root().show(&places::save(package)), None));
    };
    Ok((view.root().show(&path), view.read(&path, LARGEST_MANIFEST)?))
}

fn parsed(bytes: &[u8], package: &PkgInst, patch: &str) -> Result<UndoManifest, UnreadContent> {
    let mut opened = patchadm_container::open_container(bytes).map_err(|error| error.to_string())?;
    let parsed = read_manifest(&mut opened.reader)?;
    manifest::fault(&parsed, patch, package).map_or(Ok(parsed), |reason| Err(reason.into()))
}

/// Of one patch and package, independent of the form.
#[derive(Debug)]
pub struct UndoData {
    archive: UndoArchiveFile,
    package: PkgInst,
    patch: String,
    line: Option<LedgerLine>,
    outside: Option<ObjectPath>,
}

impl UndoData {
    pub fn try_clone(&self) -> Result<Self, ArchiveError> {
        Ok(Self {
            archive: self.archive.try_clone()?,
            package: self.package.clone(),
            patch: self.patch.clone(),
            line: self.line.clone(),
            outside: self.outside.clone(),
        })
    }

    pub fn path(&self) -> &str {
        self.archive.path()
    }

    pub fn size(&self) -> u64 {
        self.archive.size()
    }

    pub fn allocated(&self) -> Result<u64, ArchiveError> {
        self.archive.allocated()
    }

    /// Returns the form in which it would be written again.
    pub fn format(&self) -> UndoFormat {
        UndoFormat::of_name(self.path().as_bytes())
    }

    /// Returns the native version of the package that the patch was applied to, if the ledger has it.
    pub fn native_version(&self) -> Option<&str> {
        self.line.as_ref()?.native.as_deref()
    }

    /// Returns true if it is kept outside the save directory.
    pub fn is_remote(&self) -> bool {
        self.outside.is_some()
    }

    pub fn location(&self) -> UndoLocation {
        match &self.outside {
            Some(path) => UndoLocation::Host(path.as_bytes().to_vec()),
            None => UndoLocation::Save,
        }
    }

    /// It is outside the root, and the rules allow its removal.
    pub fn may_be_removed(&self, root: &Root, outside: &OutsideAccess<'_>) -> bool {
        self.outside.as_ref().is_some_and(|path| outside::may_remove(outside, root, path, self.line.as_ref()))
    }

    /// Returns a sentence about undo data outside the root that stays after use.
    pub fn why_it_stays(&self, root: &Root, outside: &OutsideAccess<'_>) -> Option<String> {
        (self.is_remote() && !self.may_be_removed(root, outside)).then(|| {
            let path = self.path();
            format!("the undo archive {path} stays: the ledger of the root does not name that place")
        })
    }

    /// The ledger names it by digest, as made by a run of the root. [`Self::verify`] and [`Self::as_written`] check
    /// that digest.
    pub fn is_bound(&self) -> bool {
        self.line.as_ref().is_some_and(|line| line.archive().is_some() && !line.is_adopted)
    }

    /// No line names it, or its line says that another tool made it.
    pub fn is_classic(&self) -> bool {
        match self.line.as_ref().map(|line| &line.undo) {
            Some(LedgerUndo::Kept { is_classic, .. }) => *is_classic,
            _ => true,
        }
    }

    pub fn digest(&self, interrupt: Interrupt<'_>) -> Result<(Digest, u64), ArchiveError> {
        Ok((self.archive.digest(interrupt)?, self.size()))
    }

    pub fn bytes(&self) -> impl io::Read + '_ {
        self.archive.bytes()
    }

    /// Reads the manifest without the objects; `None` for an archive of another program.
    pub fn manifest(&self) -> Result<Option<UndoManifest>, ArchiveError> {
        self.archive.manifest()
    }

    /// Returns the paths saved by an archive of another program, in a package with these parameters.
    pub fn saved_paths(&self, params: &Params) -> Vec<ObjectPath> {
        self.archive.saved_paths(params)
    }

    pub fn content(self, manifest: Option<&UndoManifest>) -> Result<UndoContent, UndoContentError> {
        UndoContent::whole(self.archive, manifest)
    }

    /// Reads the backout package in it, as another tool would install it.
    pub fn into_image(self) -> Result<Image, SourceError> {
        let manifest = self.archive.manifest().ok().flatten();
        Ok(self.archive.into_source(manifest.as_ref())?.1)
    }

    /// Reads the record files alone, of undo data with this manifest.
    pub fn records(self, manifest: &UndoManifest) -> Result<OldRecords, UndoContentError> {
        UndoContent::records(self.archive, manifest)
    }

    /// Opens the snapshot beside an archive that scripts made, if the ledger names one. A missing snapshot is an error,
    /// because the archive has less.
    pub fn snapshot(&self, view: &RecordView<'_>) -> Result<Option<Self>, ArchiveError> {
        let Some((line, b3)) = self.line.as_ref().and_then(|line| Some((line, line.snapshot?))) else {
            return Ok(None);
        };
        let save = places::save(&self.package).join(self.patch.as_bytes());
        let path = save.and_then(|save| save.join(SNAPSHOT.as_bytes()));
        let path = path.map_err(|error| self.damaged(&error))?;
        let shown = view.root().show(&path);
        let (package, patch) = (self.package.clone(), self.patch.clone());
        let Some(file) = view.open(&path)? else {
            return Err(ArchiveError::Missing { patch, package, path: shown, remote: false });
        };
        let archive = UndoArchiveFile::new(file, shown, view.root())?;
        let undo = LedgerUndo::Kept {
            b3,
            size: archive.size(),
            files: None,
            place: UndoLocation::Save,
            is_classic: false,
        };
        let line = Some(LedgerLine { undo, snapshot: None, ..line.clone() });
        Ok(Some(Self { archive, package, patch, line, outside: None }))
    }

    /// Returns the snapshot if there is one, else the undo data itself.
    pub fn telling(self, view: &RecordView<'_>) -> Result<Self, ArchiveError> {
        Ok(self.snapshot(view)?.unwrap_or(self))
    }

    fn damaged(&self, reason: &dyn ToString) -> ArchiveError {
        ArchiveError::Damaged { path: self.path().to_owned(), reason: reason.to_string() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedManifest {
    /// `None` in an archive of another program.
    pub manifest: Option<UndoManifest>,
    /// `None` for foreign undo data, of whose objects only size and System V sum are known.
    pub run: Option<String>,
}

/// Valid only if [`DigestCheck::wait`] succeeds.
#[derive(Debug)]
pub struct UndoAsWritten {
    /// About this patch and package, and consistent.
    pub manifest: UndoManifest,
    pub content: UndoContent,
    pub digesting: DigestCheck,
}

impl UndoData {
    /// Checks only the digest: the bytes were decoded and compared when they were written. `None` if no line names the
    /// undo data or it has no manifest; then use [`Self::verify`]. A thread reads the bytes: wait for it
    /// ([`DigestCheck::wait`]) before acting.
    pub fn as_written(&self) -> Result<Option<UndoAsWritten>, ArchiveError> {
        let read = self.while_digesting(|| UndoContent::described(self.archive.try_clone()?))?;
        Ok(read.map(|(manifest, content, digesting)| UndoAsWritten { manifest, content, digesting }))
    }

    /// Returns the manifest if the ledger binds the undo data and the digest agrees. A signal ends it.
    pub fn bound_manifest(&self, interrupt: Interrupt<'_>) -> Result<Option<UndoManifest>, ArchiveError> {
        let read = self.while_digesting(|| Ok(self.manifest()?.map(|manifest| (manifest, ()))))?;
        let Some((manifest, (), digesting)) = read else { return Ok(None) };
        digesting.wait(interrupt).map(|()| Some(manifest))
    }

    fn while_digesting<T>(
        &self,
        read: impl FnOnce() -> Result<Option<(UndoManifest, T)>, ArchiveError>,
    ) -> Result<Option<(UndoManifest, T, DigestCheck)>, ArchiveError> {
        let Some(line) = self.line.as_ref().filter(|line| line.archive().is_some()) else { return Ok(None) };
        let (archive, expected) = (self.archive.try_clone()?, line.clone());
        let digesting = DigestCheck::begin(archive, expected);
        let accepted =
            read().and_then(|read| read.map(|read| self.accepts(&read.0).map(|()| read)).transpose());
        match accepted {
            Ok(read) => Ok(read.map(|(manifest, more)| (manifest, more, digesting))),
            // Different bytes are the reason, whatever the parser says.
            Err(error) => Err(digesting.wait(&never).err().unwrap_or(error)),
        }
    }

    /// The manifest makes sense and the ledger names a run with the archive; bytes are not compared. `None` for an
    /// archive of another program.
    fn named_manifest(&self) -> Result<Option<UndoManifest>, ArchiveError> {
        let Some(manifest) = self.manifest()? else { return Ok(None) };
        if self.line.as_ref().is_none_or(|line| line.archive().is_none()) {
            return Err(self.not_bound());
        }
        self.accepts(&manifest).map(|()| Some(manifest))
    }

    /// Verifies everything, and the snapshot beside an archive of scripts, whose manifest counts then. `marker` is that
    /// of the root; undo data of another root is reported as such.
    pub fn verify(
        &self,
        view: &RecordView<'_>,
        marker: Option<&str>,
        interrupt: Interrupt<'_>,
    ) -> Result<VerifiedManifest, ArchiveError> {
        let verified = self.verify_alone(marker, interrupt)?;
        match self.snapshot(view)? {
            Some(snapshot) => Ok(VerifiedManifest {
                manifest: snapshot.verify_alone(marker, interrupt)?.manifest,
                ..verified
            }),
            None => Ok(verified),
        }
    }

    /// Verifies the digest by the ledger, and each part by its description. Undo data with a manifest is ours and must
    /// have a line.
    pub fn verify_alone(
        &self,
        marker: Option<&str>,
        interrupt: Interrupt<'_>,
    ) -> Result<VerifiedManifest, ArchiveError> {
        let expected = match &self.line {
            Some(line) if line.archive().is_none() => return Err(self.not_bound()),
            Some(line) => Some(line),
            None => {
                self.must_be_foreign(marker)?;
                None
            }
        };
        // Its owner may have made it of any size.
        let is_larger = |line: &&LedgerLine| line.archive().is_some_and(|(_, size)| self.size() > size);
        if let Some(line) = expected.filter(is_larger) {
            must_be_that_of_the_run(self.path(), line, false)?;
        }
        let (read, digest) = self.archive.read_all(&self.package, interrupt)?;
        expected.map_or(Ok(()), |line| same(self.path(), line, digest))?;
        let manifest = read.map_err(|unread| unread.of(self.path()))?;
        if let Some(manifest) = &manifest {
            self.accepts(manifest)?;
        }
        Ok(VerifiedManifest { manifest, run: expected.map(|line| line.run.clone()) })
    }

    /// Does not read: the line names an archive of this size, or another tool made it.
    pub fn at_a_glance(&self, marker: Option<&str>) -> Result<(), ArchiveError> {
        match &self.line {
            None => self.must_be_foreign(marker),
            Some(line) => match line.archive() {
                None => Err(self.not_bound()),
                Some((_, size)) => must_have_size(self.path(), line, size, self.size()),
            },
        }
    }

    /// Reads all of undo data that may be adopted and needs no line. A signal ends it.
    pub fn verify_unbound(&self, interrupt: Interrupt<'_>) -> Result<Option<UndoManifest>, ArchiveError> {
        let manifest = self.archive.read_undigested(&self.package, interrupt)?;
        manifest.as_ref().map_or(Ok(()), |manifest| self.accepts(manifest))?;
        Ok(manifest)
    }

    /// Without a ledger line it must be of another tool.
    fn must_be_foreign(&self, marker: Option<&str>) -> Result<(), ArchiveError> {
        let Some(manifest) = self.manifest()? else { return Ok(()) };
        if marker.is_some_and(|marker| marker != manifest.header.root) {
            return Err(ArchiveError::OtherRoot {
                path: self.path().to_owned(),
                marker: manifest.header.root,
            });
        }
        if rule::holds("archive.line", self.line.is_some()) { Ok(()) } else { Err(self.not_bound()) }
    }

    fn not_bound(&self) -> ArchiveError {
        let reason = match &self.line {
            Some(line) => format!("run {} left no undo data of this patch", line.run),
            None => "the ledger of the root does not know it (an older copy, somebody else's, or one of a version \
                     before there were ledgers)"
                .to_owned(),
        };
        ArchiveError::NotBound { path: self.path().to_owned(), reason }
    }

    /// It must be about this patch and package, and make sense.
    fn accepts(&self, manifest: &UndoManifest) -> Result<(), ArchiveError> {
        manifest::fault(manifest, &self.patch, &self.package)
            .map_or(Ok(()), |reason| Err(self.damaged(&reason)))
    }
}

/// Refuses an archive of another size than its run wrote.
pub fn must_have_size(path: &str, line: &LedgerLine, written: u64, found: u64) -> Result<(), ArchiveError> {
    if written == found {
        return Ok(());
    }
    let reason = format!("it has {found} bytes, and run {} wrote {written}", line.run);
    Err(ArchiveError::Damaged { path: path.to_owned(), reason })
}

/// It ends early if nobody waits for it.
#[derive(Debug)]
pub struct DigestCheck {
    thread: JoinHandle<Result<(), ArchiveError>>,
    portions: Receiver<()>,
}

impl DigestCheck {
    fn begin(archive: UndoArchiveFile, line: LedgerLine) -> Self {
        let (portion, portions) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let is_in_vain = || portion.send(()).is_err().then_some(0);
            same(archive.path(), &line, archive.digest(&is_in_vain)?)
        });
        Self { thread, portions }
    }

    /// Fails if the archive is not what its run wrote.
    pub fn wait(self, interrupt: Interrupt<'_>) -> Result<(), ArchiveError> {
        for () in &self.portions {
            ArchiveError::unless_interrupted(interrupt)?;
        }
        let failed = || unreadable("the undo archive", &io::Error::other("the reading thread failed"));
        self.thread.join().unwrap_or_else(|_| Err(failed()))
    }
}

fn same(shown: &str, line: &LedgerLine, digest: Digest) -> Result<(), ArchiveError> {
    must_be_that_of_the_run(shown, line, line.archive().is_some_and(|(expected, _)| expected == digest))
}

fn must_be_that_of_the_run(shown: &str, line: &LedgerLine, is_same: bool) -> Result<(), ArchiveError> {
    if rule::holds("archive.digest", is_same) {
        return Ok(());
    }
    let run = &line.run;
    let reason = format!("it is not the archive that run {run} made (an older copy, or somebody else's)");
    Err(ArchiveError::NotBound { path: shown.to_owned(), reason })
}

#[cfg(test)]
mod kept_manifest_tests {
    use super::*;
    use crate::format::ledger::WhyNone;
    use patchadm_changeset::format::manifest::ManifestHeader;
    use patchadm_rootfs::Root;

    use std::fs;
    use std::io::Write as _;

    fn manifest(parameters: &[&str]) -> Vec<u8> {
        let header = ManifestHeader {
            parameters: parameters.iter().map(|name| (*name).to_owned()).collect(),
            ..ManifestHeader::of("100-01", "X", &"0".repeat(16))
        };
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder
            .write_all(&UndoManifest { header, objects: Vec::new(), shlibs: Vec::new() }.to_bytes())
            .unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn the_manifest_that_the_ledger_names_is_believed_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("var/sadm/pkg/X/save/100-01/manifest.gz");
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        let kept = manifest(&["WORD"]);
        let line = LedgerLine {
            run: "1-0000000000000000".to_owned(),
            patch: "100-01".to_owned(),
            info: Digest([1; 32]),
            undo: LedgerUndo::None(WhyNone::NoUndo),
            scripts: [].into(),
            snapshot: None,
            manifest: Some(Digest::of(&kept)),
            applied_by: None,
            is_adopted: false,
            native: None,
        };
        let mut ledger = Ledger::default();
        ledger.set(line.clone());
        let root = Root::open(dir.path()).unwrap();
        let package = PkgInst::new("X").unwrap();
        let view = RecordView::live(&root);
        let reader = UndoReader { view: &view, host: &root, outside: OutsideAccess::default() };
        let known = |ledger: &Ledger| reader.kept_manifest(&package, "100-01", ledger);

        fs::write(&at, &kept).unwrap();
        let found = known(&ledger).unwrap().unwrap();
        assert_eq!(found.header.parameters, ["WORD"]);
        for (other, reason) in [(Some(manifest(&[])), "not the one that run 1-"), (None, "it is missing")] {
            fs::remove_file(&at).unwrap();
            if let Some(bytes) = other {
                fs::write(&at, bytes).unwrap();
            }
            let error = known(&ledger).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(at.to_str().unwrap()), "{error}");
            fs::write(&at, &kept).unwrap();
        }
        ledger.set(LedgerLine { manifest: None, ..line });
        assert!(known(&ledger).unwrap().is_none());
    }
}

#[cfg(test)]
pub(in crate::database) mod tests;
