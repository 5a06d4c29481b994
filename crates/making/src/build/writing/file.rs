//! A patch as one file, with its manifest beside it. Both stand under private names until they are complete.

use std::ffi::OsStr;
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use flate2::{Compression, GzBuilder};
use rustix::io::Errno;

use super::super::draft::PatchDraft;
use super::super::error::BuildError;
use super::destination::{
    PatchDestination, PatchForm, WriteWatch, WrittenPatch, check_free, parent_and_name,
};
use super::members::feed;
use super::stream::StreamSink;
use super::tar_archive::TarSink;
use super::zip_archive::ZipSink;
use patchadm_inputs::sha256::Sha256;
use patchadm_inputs::sign::{BESIDE, Manifest, Sha256Sum};
use patchadm_rootfs::{Dir, FileType, RootError, WritableFile};
use patchadm_svr4::package::Mode;

/// The part of a private name that marks a patch that is being written.
const PROGRAM: &str = "patchadm-build";

/// The number of bytes that are written at once.
const BUFFER: usize = 1 << 18;

/// The level of gzip, the usual one: a higher one makes many small files that are alike no smaller.
const LEVEL: u32 = 6;

/// Writes a patch as a file.
pub(super) fn write(
    draft: &PatchDraft<'_>,
    to: &PatchDestination,
    watch: WriteWatch<'_>,
) -> Result<WrittenPatch, BuildError> {
    let (parent, name) = parent_and_name(&to.path)?;
    let beside = [name, BESIDE.as_bytes()].concat();
    let manifest_path = to.path.with_file_name(OsStr::from_bytes(&beside));
    check_free(to, &to.path)?;
    check_free(to, &manifest_path)?;
    let dir = Dir::of_host(parent)?;
    for name in [name, &beside] {
        if dir.look(name)?.is_some_and(|seen| seen.file_type == FileType::Directory) {
            return Err(BuildError::Exists(to.path.with_file_name(OsStr::from_bytes(name))));
        }
    }
    // The leftovers of another run are not worth an error here.
    let _ = dir.remove_leftovers(PROGRAM);
    let (file, out) = PrivateFile::begin(&dir)?;
    let failed = |error: io::Error| BuildError::Write { path: to.path.clone(), error };
    let out = archive(draft, to, HashedOutput::new(out), watch)?;
    let (out, sha256, bytes) = out.into_inner().map_err(|error| failed(error.into_error()))?.finish();
    let text = Manifest::of_file(&draft.id, draft.date, name, &sha256).write();
    let (manifest_file, mut manifest_out) = PrivateFile::begin(&dir)?;
    manifest_out.put(&text)?;
    if let Some(signal) = (watch.interrupt)() {
        return Err(BuildError::Interrupted(signal));
    }
    manifest_file.publish(&manifest_out, &beside, to.replaces)?;
    if let Err(error) = file.publish(&out, name, to.replaces) {
        if !to.replaces {
            // The manifest is of this making: nothing had the name before.
            let _ = dir.remove(&beside);
        }
        return Err(error);
    }
    Ok(WrittenPatch { path: to.path.clone(), manifest: manifest_path, bytes, sha256 })
}

/// Removes what runs that were killed left in a directory of patches.
pub fn remove_unfinished(patches: &Dir) -> Result<(), RootError> {
    patches.remove_leftovers(PROGRAM)
}

type Output = BufWriter<HashedOutput>;

/// Writes the archive and returns the output, not flushed.
fn archive(
    draft: &PatchDraft<'_>,
    to: &PatchDestination,
    out: HashedOutput,
    watch: WriteWatch<'_>,
) -> Result<Output, BuildError> {
    let path = &to.path;
    let failed = |error: io::Error| BuildError::Write { path: path.clone(), error };
    let out = BufWriter::with_capacity(BUFFER, out);
    match to.form {
        PatchForm::Zip => {
            let mut sink = ZipSink::new(out, draft, path);
            feed(draft, &mut sink, watch)?;
            sink.finish()
        }
        PatchForm::TarGz => {
            // Neither a name nor a time: the same content gives the same bytes.
            let gzip = GzBuilder::new().write(out, Compression::new(LEVEL));
            let mut sink = TarSink::new(BufWriter::with_capacity(BUFFER, gzip), draft, path);
            feed(draft, &mut sink, watch)?;
            let gzip = sink.finish()?.into_inner().map_err(|error| failed(error.into_error()))?;
            gzip.finish().map_err(failed)
        }
        PatchForm::Datastream => {
            let mut sink = StreamSink::new(out, draft)?;
            feed(draft, &mut sink, watch)?;
            sink.finish()
        }
        PatchForm::Tar | PatchForm::Directory => {
            let mut sink = TarSink::new(out, draft, path);
            feed(draft, &mut sink, watch)?;
            sink.finish()
        }
    }
}

/// A file that does not have its name yet; it goes with the value.
struct PrivateFile {
    dir: Dir,
    private: Vec<u8>,
    has_name: std::cell::Cell<bool>,
}

impl PrivateFile {
    fn begin(dir: &Dir) -> Result<(Self, WritableFile), BuildError> {
        let dir = dir.again()?;
        let (private, file) = dir.create_private(PROGRAM)?;
        Ok((Self { dir, private, has_name: std::cell::Cell::new(false) }, file))
    }

    /// Gives the file its name.
    fn publish(&self, file: &WritableFile, name: &[u8], replaces: bool) -> Result<(), BuildError> {
        file.set_mode(Mode::of(0o644))?;
        if replaces && self.dir.look(name)?.is_some() {
            // A power cut must not find the old file gone and the new one without its bytes.
            file.sync()?;
        }
        let moved = if replaces {
            self.dir.rename(&self.private, name)
        } else {
            match self.dir.move_to(&self.private, &self.dir, name) {
                Err(error) if is_beyond(error.errno()) && self.dir.look(name)?.is_none() => {
                    self.dir.rename(&self.private, name)
                }
                moved => moved,
            }
        };
        match moved {
            Err(error) if error.errno() == Some(Errno::EXIST) => {
                Err(BuildError::Exists(PathBuf::from(OsStr::from_bytes(name))))
            }
            moved => {
                moved?;
                self.has_name.set(true);
                Ok(())
            }
        }
    }
}

impl Drop for PrivateFile {
    fn drop(&mut self) {
        if !self.has_name.get() {
            // The error before it is the one to be told.
            let _ = self.dir.remove(&self.private);
        }
    }
}

/// Tells whether the file system lacks a rename that replaces nothing.
fn is_beyond(errno: Option<Errno>) -> bool {
    matches!(errno, Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP))
}

/// A file whose bytes are digested and counted while they are written.
pub(super) struct HashedOutput {
    file: WritableFile,
    sum: Sha256,
    bytes: u64,
}

impl HashedOutput {
    fn new(file: WritableFile) -> Self {
        Self { file, sum: Sha256::new(), bytes: 0 }
    }

    fn finish(self) -> (WritableFile, Sha256Sum, u64) {
        (self.file, self.sum.finalize(), self.bytes)
    }
}

impl Write for HashedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.sum.update(bytes.get(..count).unwrap_or_default());
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
