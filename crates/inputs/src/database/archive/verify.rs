//! Verifies an undo archive from its first byte to its last, before anything is restored from it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::thread::JoinHandle;

use super::{ArchiveError, ArchiveStream, OpenArchive};
use crate::format::ledger::LedgerLine;
use patchadm_changeset::archive_file::{LARGEST_MANIFEST, MANIFEST_MEMBER, UnreadContent, digest_of, stream};
use patchadm_changeset::format::manifest::{Manifest, decode};
use patchadm_rootfs::{Digest, Hashing, Sums};
use patchadm_svr4::format::pkgmap::{Pkgmap, PkgmapEntry, member_name};
use patchadm_svr4::package::{PackagePath, PkgInst, rule};

/// A verified archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedArchive {
    /// The manifest, with what SVR4 cannot express; `None` in an archive of another program.
    pub manifest: Option<Manifest>,
    /// The run that wrote the archive; `None` if the ledger does not know it. Of such a foreign archive only size and
    /// System V sum of each object are known.
    pub run: Option<String>,
}

/// An archive that a run of the root wrote, if its digest says so in the end.
#[derive(Debug)]
pub struct ArchiveAsWritten<D> {
    /// The manifest; it is about this patch and package, and makes sense.
    pub manifest: Manifest,
    /// The description that was read beside it.
    pub description: D,
    /// The thread that computes the digest.
    pub digesting: DigestCheck,
}

impl OpenArchive {
    /// Checks that the bytes are those written by the archive's run, by the digest in the ledger. They were decoded
    /// and compared then, so they need not be decoded again. Returns `None` if no line names the archive or it has no
    /// manifest; then only [`Self::verify`] can tell. A thread reads the bytes; wait for it ([`DigestCheck::wait`])
    /// before doing anything. `describe` reads what stands before the objects meanwhile.
    pub fn as_written<D>(
        &self,
        describe: impl FnOnce(File) -> Result<(Option<Manifest>, D), ArchiveError>,
    ) -> Result<Option<ArchiveAsWritten<D>>, ArchiveError> {
        let Some(line) = self.line.as_ref().filter(|line| line.archive().is_some()) else { return Ok(None) };
        let (file, shown, expected) = (self.file()?, self.shown.clone(), line.clone());
        let digesting = DigestCheck(std::thread::spawn(move || must_be(&file, &shown, &expected)));
        let read = self.file().and_then(describe).and_then(|(manifest, description)| {
            let accepted = manifest.as_ref().map_or(Ok(()), |manifest| self.accepts(manifest));
            accepted.map(|()| (manifest, description))
        });
        match read {
            Ok((Some(manifest), description)) => {
                Ok(Some(ArchiveAsWritten { manifest, description, digesting }))
            }
            Ok((None, _)) => Ok(None),
            // If the bytes differ from the written ones, that is the reason, whatever the parser says.
            Err(error) => Err(digesting.wait().err().unwrap_or(error)),
        }
    }

    /// Returns the manifest if the ledger binds the archive and the bytes are those named there; `None` for any other
    /// archive.
    pub fn bound_manifest(&self) -> Result<Option<Manifest>, ArchiveError> {
        let Some(written) = self.as_written(|_| Ok((self.manifest()?, ())))? else { return Ok(None) };
        written.digesting.wait().map(|()| Some(written.manifest))
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

    /// Reads the whole archive: its bytes have the digest named by the ledger, the datastream is readable to the end,
    /// every member of the pkgmap has its size and sum, and every object of the manifest its BLAKE3. An archive with
    /// a manifest is ours and must have a line. `marker` is that of the root; an archive of another root is reported
    /// as such.
    pub fn verify(&self, marker: Option<&str>) -> Result<VerifiedArchive, ArchiveError> {
        let expected = match &self.line {
            Some(line) if line.archive().is_none() => return Err(self.not_bound()),
            Some(line) => Some(line),
            None => {
                self.must_be_foreign(marker)?;
                None
            }
        };
        let mut raw = Hashing::new(self.bytes());
        let read = stream(&mut raw)
            .map_err(|error| error.to_string().into())
            .and_then(|s| read_all(s, &self.package));
        io::copy(&mut raw, &mut io::sink()).map_err(|error| super::unreadable(&self.shown, &error))?;
        let (_, digest) = raw.finish();
        expected.map_or(Ok(()), |line| same(&self.shown, line, digest))?;
        let manifest = read.map_err(|unread: UnreadContent| unread.of(&self.shown))?;
        if let Some(manifest) = &manifest {
            self.accepts(manifest)?;
        }
        Ok(VerifiedArchive { manifest, run: expected.map(|line| line.run.clone()) })
    }

    /// Tells at a glance whether a backout would begin to read the archive: its line names an archive of this size,
    /// or another tool made it. The bytes are not compared.
    pub fn at_a_glance(&self, marker: Option<&str>) -> Result<(), ArchiveError> {
        match &self.line {
            None => self.must_be_foreign(marker),
            Some(line) => match line.archive() {
                None => Err(self.not_bound()),
                Some((_, size)) => must_have_size(&self.shown, line, size, self.size),
            },
        }
    }

    /// Reads a whole archive that needs no line, because it may be adopted.
    pub fn verify_unbound(&self) -> Result<Option<Manifest>, ArchiveError> {
        let mut raw = self.bytes();
        let read = stream(&mut raw).map_err(|error| error.to_string().into());
        let manifest = read
            .and_then(|s| read_all(s, &self.package))
            .map_err(|unread: UnreadContent| unread.of(&self.shown))?;
        manifest.as_ref().map_or(Ok(()), |manifest| self.accepts(manifest))?;
        Ok(manifest)
    }

    /// Checks that an archive without a line was made by another tool.
    fn must_be_foreign(&self, marker: Option<&str>) -> Result<(), ArchiveError> {
        let Some(manifest) = self.manifest()? else { return Ok(()) };
        if marker.is_some_and(|marker| marker != manifest.header.root) {
            return Err(ArchiveError::OtherRoot { path: self.shown.clone(), marker: manifest.header.root });
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
        ArchiveError::NotBound { path: self.shown.clone(), reason }
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

/// A thread that computes the digest of an archive.
#[derive(Debug)]
pub struct DigestCheck(JoinHandle<Result<(), ArchiveError>>);

impl DigestCheck {
    /// Waits for the digest. Fails if the archive is not what its run wrote.
    pub fn wait(self) -> Result<(), ArchiveError> {
        let failed = || super::unreadable("the undo archive", &io::Error::other("the reading thread failed"));
        self.0.join().unwrap_or_else(|_| Err(failed()))
    }
}

fn must_be(file: &File, shown: &str, line: &LedgerLine) -> Result<(), ArchiveError> {
    let digest = digest_of(file).map_err(|error| super::unreadable(shown, &error))?;
    same(shown, line, digest)
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

/// Reads a stream to its end and compares every member with its descriptions.
fn read_all(mut stream: ArchiveStream<'_>, package: &PkgInst) -> Result<Option<Manifest>, UnreadContent> {
    let [of] = stream.packages() else { return Err("it holds more than one package".to_owned().into()) };
    if of.inst.abbreviation() != package.abbreviation() {
        return Err(format!("it holds package {}", of.inst).into());
    }
    let pkgmap = Pkgmap::parse(&of.pkgmap).map_err(|error| format!("pkgmap: {error}"))?;
    let mut manifest = None;
    let mut members = HashMap::new();
    while stream.next_part().map_err(|error| error.to_string())?.is_some() {
        while let Some(member) = stream.next_member().map_err(|error| error.to_string())? {
            let sums = if member.path.as_bytes() == MANIFEST_MEMBER && member.header.size <= LARGEST_MANIFEST
            {
                let mut bytes = Vec::new();
                stream.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
                manifest = Some(Manifest::parse(&bytes)?);
                Sums::of(&mut bytes.as_slice())
            } else {
                Sums::of(&mut stream)
            };
            members.insert(member.path.as_bytes().to_vec(), sums.map_err(|error| error.to_string())?);
        }
    }
    // The rest after the stream: the end of the compression, with its own checksum.
    io::copy(&mut stream.into_inner(), &mut io::sink()).map_err(|error| error.to_string())?;
    pkgmap.entries.iter().try_for_each(|entry| agrees(entry, &members))?;
    manifest.as_ref().map_or(Ok(()), |manifest| agrees_with(manifest, &members))?;
    Ok(manifest)
}

/// Whether the member of a pkgmap entry is there with the size and sum that the entry has.
fn agrees(entry: &PkgmapEntry, members: &HashMap<Vec<u8>, Sums>) -> Result<(), String> {
    let content = &entry.object.content;
    if content.size.is_none() && content.cksum.is_none() {
        return Ok(());
    }
    let Some(met) = members.get(&entry.member_name()) else { return Err(format!("it lacks {}", entry.path)) };
    let same = content.size.is_none_or(|size| size == met.size)
        && content.cksum.is_none_or(|cksum| cksum == met.cksum);
    if same { Ok(()) } else { Err(format!("{} does not have the size and sum of its pkgmap", entry.path)) }
}

/// Checks that every object saved according to the manifest exists with that digest.
fn agrees_with(manifest: &Manifest, members: &HashMap<Vec<u8>, Sums>) -> Result<(), String> {
    for object in manifest.all_objects() {
        let (Some(member), Some(was)) = (&object.member, &object.was) else { continue };
        let path = PackagePath::new(&decode(member)).map_err(|error| format!("manifest: {error}"))?;
        let met = members.get(&member_name(&path));
        if !rule::holds("manifest.member", met.is_some()) {
            return Err(format!("it lacks {path}"));
        }
        let Some(met) = met else { continue };
        if was.digest() != Some(met.b3) {
            return Err(format!("{path} does not have the digest of its manifest"));
        }
    }
    Ok(())
}
