//! Verifies undo data before anything is restored from it: by the ledger of the root, or from its first byte to its last.

use std::io;
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;

use super::archive::{UndoArchiveFile, unreadable};
use super::content::UndoContent;
use super::data::UndoData;
use super::error::ArchiveError;
use crate::database::RecordView;
use crate::format::ledger::LedgerLine;
use patchadm_changeset::format::manifest::Manifest;
use patchadm_rootfs::{Digest, Interrupt, never};
use patchadm_svr4::package::rule;

/// Verified undo data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedManifest {
    /// The manifest, with what SVR4 cannot express; `None` in an archive of another program.
    pub manifest: Option<Manifest>,
    /// The run that wrote it; `None` if the ledger does not know it. Of such foreign undo data only size and System V
    /// sum of each object are known.
    pub run: Option<String>,
}

/// Undo data that a run of the root wrote, if its digest says so in the end.
#[derive(Debug)]
pub struct UndoAsWritten {
    /// The manifest; it is about this patch and package, and makes sense.
    pub manifest: Manifest,
    /// The saved objects and record files.
    pub content: UndoContent,
    /// The thread that computes the digest.
    pub digesting: DigestCheck,
}

impl UndoData {
    /// Checks that the bytes are those written by the run, by the digest in the ledger. They were decoded and compared
    /// then, so they need not be decoded again. Returns `None` if no line names the undo data or it has no manifest;
    /// then only [`Self::verify`] can tell. A thread reads the bytes; wait for it ([`DigestCheck::wait`]) before doing
    /// anything.
    pub fn as_written(&self) -> Result<Option<UndoAsWritten>, ArchiveError> {
        let read = self.while_digesting(|| UndoContent::described(self.archive.try_clone()?))?;
        Ok(read.map(|(manifest, content, digesting)| UndoAsWritten { manifest, content, digesting }))
    }

    /// Returns the manifest if the ledger binds the undo data and the bytes are those named there; `None` for any other. A
    /// signal ends it.
    pub fn bound_manifest(&self, interrupt: Interrupt<'_>) -> Result<Option<Manifest>, ArchiveError> {
        let read = self.while_digesting(|| Ok(self.manifest()?.map(|manifest| (manifest, ()))))?;
        let Some((manifest, (), digesting)) = read else { return Ok(None) };
        digesting.wait(interrupt).map(|()| Some(manifest))
    }

    /// Reads while a thread computes the digest, if a line names the undo data.
    fn while_digesting<T>(
        &self,
        read: impl FnOnce() -> Result<Option<(Manifest, T)>, ArchiveError>,
    ) -> Result<Option<(Manifest, T, DigestCheck)>, ArchiveError> {
        let Some(line) = self.line.as_ref().filter(|line| line.archive().is_some()) else { return Ok(None) };
        let (archive, expected) = (self.archive.try_clone()?, line.clone());
        let digesting = DigestCheck::begin(archive, expected);
        let accepted =
            read().and_then(|read| read.map(|read| self.accepts(&read.0).map(|()| read)).transpose());
        match accepted {
            Ok(read) => Ok(read.map(|(manifest, more)| (manifest, more, digesting))),
            // If the bytes differ from the written ones, that is the reason, whatever the parser says.
            Err(error) => Err(digesting.wait(&never).err().unwrap_or(error)),
        }
    }

    /// Returns the manifest if it makes sense and the ledger names a run with the archive; the bytes are not
    /// compared. Returns `None` for an archive of another program.
    pub(super) fn named_manifest(&self) -> Result<Option<Manifest>, ArchiveError> {
        let Some(manifest) = self.manifest()? else { return Ok(None) };
        if self.line.as_ref().is_none_or(|line| line.archive().is_none()) {
            return Err(self.not_bound());
        }
        self.accepts(&manifest).map(|()| Some(manifest))
    }

    /// Verifies all of it, and the snapshot beside an archive that scripts made: then the manifest is that of the
    /// snapshot. `marker` is that of the root; undo data of another root is reported as such. A signal ends it.
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

    /// Reads all of it: its bytes have the digest named by the ledger, and every part is what it is described as. What
    /// has a manifest is ours and must have a line. A signal ends it.
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
        let (read, digest) = self.archive.read_all(&self.package, interrupt)?;
        expected.map_or(Ok(()), |line| same(self.path(), line, digest))?;
        let manifest = read.map_err(|unread| unread.of(self.path()))?;
        if let Some(manifest) = &manifest {
            self.accepts(manifest)?;
        }
        Ok(VerifiedManifest { manifest, run: expected.map(|line| line.run.clone()) })
    }

    /// Tells at a glance whether a backout would begin to read the archive: its line names an archive of this size,
    /// or another tool made it. The bytes are not compared.
    pub fn at_a_glance(&self, marker: Option<&str>) -> Result<(), ArchiveError> {
        match &self.line {
            None => self.must_be_foreign(marker),
            Some(line) => match line.archive() {
                None => Err(self.not_bound()),
                Some((_, size)) => must_have_size(self.path(), line, size, self.size()),
            },
        }
    }

    /// Reads all of undo data that needs no line, because it may be adopted, until a signal comes.
    pub fn verify_unbound(&self, interrupt: Interrupt<'_>) -> Result<Option<Manifest>, ArchiveError> {
        let manifest = self.archive.read_undigested(&self.package, interrupt)?;
        manifest.as_ref().map_or(Ok(()), |manifest| self.accepts(manifest))?;
        Ok(manifest)
    }

    /// Checks that an archive without a line was made by another tool.
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

    /// Checks that a manifest is about this patch and package, and makes sense.
    fn accepts(&self, manifest: &Manifest) -> Result<(), ArchiveError> {
        super::manifest::fault(manifest, &self.patch, &self.package)
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

/// A thread that computes the digest of an archive. It ends early if nobody is going to wait for it any more.
#[derive(Debug)]
pub struct DigestCheck {
    thread: JoinHandle<Result<(), ArchiveError>>,
    /// A message for each portion that the thread reads.
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

    /// Waits for the digest, until a signal comes. Fails if the archive is not what its run wrote.
    pub fn wait(self, interrupt: Interrupt<'_>) -> Result<(), ArchiveError> {
        for () in &self.portions {
            ArchiveError::unless_interrupted(interrupt)?;
        }
        let failed = || unreadable("the undo archive", &io::Error::other("the reading thread failed"));
        self.thread.join().unwrap_or_else(|_| Err(failed()))
    }
}

fn same(shown: &str, line: &LedgerLine, digest: Digest) -> Result<(), ArchiveError> {
    let is_same = line.archive().is_some_and(|(expected, _)| expected == digest);
    if rule::holds("archive.digest", is_same) {
        return Ok(());
    }
    let run = &line.run;
    let reason = format!("it is not the archive that run {run} made (an older copy, or somebody else's)");
    Err(ArchiveError::NotBound { path: shown.to_owned(), reason })
}
