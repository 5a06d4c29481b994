//! Writes a patch as a directory, a zip or tar archive, or a datastream.
//!
//! The bytes depend on the draft alone: members have a fixed order, no owner, and times of the draft and the objects.
//! A patch has a private name until it is complete with its manifest; an error removes unfinished files.

mod archives;
mod members;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};
use rustix::io::Errno;

use super::draft::{BuildError, PatchDraft};
use archives::{StreamSink, TarSink, ZipSink};
pub use members::WriteWatch;
use members::{PatchMember, PatchSink, copy, feed};
use patchadm_inputs::sha256::Sha256;
use patchadm_inputs::sign::{BESIDE, MANIFEST, Manifest, Sha256Sum, sha256};
use patchadm_rootfs::{Dir, FileType, NewTree, RootError, Timestamp, UnnamedDirectory, WritableFile};
use patchadm_svr4::package::Mode;

pub fn write_patch(
    draft: &PatchDraft<'_>,
    to: &PatchDestination,
    watch: WriteWatch<'_>,
) -> Result<WrittenPatch, BuildError> {
    let written = match to.form {
        PatchForm::Directory => write_directory(draft, to, watch),
        _ => write_file(draft, to, watch),
    };
    // A signal makes the current operation fail in some way.
    match (watch.interrupt)() {
        Some(signal) if written.is_err() => Err(BuildError::Interrupted(signal)),
        _ => written,
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PatchForm {
    #[default]
    Directory,
    Zip,
    Tar,
    /// Compressed by gzip.
    TarGz,
    /// Has no place for files beside the packages.
    Datastream,
}

const ENDINGS: [(&str, PatchForm); 5] = [
    (".tar", PatchForm::Tar),
    (".tar.gz", PatchForm::TarGz),
    (".tgz", PatchForm::TarGz),
    (".zip", PatchForm::Zip),
    (".pkg", PatchForm::Datastream),
];

const OTHER_ARCHIVES: [&str; 24] = [
    ".7z", ".a", ".bz2", ".cpio", ".deb", ".gz", ".iso", ".jar", ".lz", ".lz4", ".lzma", ".rar", ".rpm",
    ".taz", ".tbz", ".tbz2", ".tlz", ".txz", ".tz2", ".tzst", ".xz", ".z", ".zipx", ".zst",
];

#[derive(Clone, Debug)]
pub struct PatchDestination {
    /// The resulting file or directory.
    pub path: PathBuf,
    pub form: PatchForm,
    /// Replace an existing patch.
    pub replaces: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenPatch {
    pub path: PathBuf,
    pub manifest: PathBuf,
    /// Of the file, or of all files in the directory.
    pub bytes: u64,
    /// Of the file, or of a directory's manifest.
    pub sha256: Sha256Sum,
}

impl PatchForm {
    pub fn word(self) -> &'static str {
        match self {
            Self::Directory => "dir",
            Self::Zip => "zip",
            Self::Tar => "tar",
            Self::TarGz => "tar.gz",
            Self::Datastream => "datastream",
        }
    }

    /// Ignores case.
    pub fn of_name(path: &Path) -> Option<Self> {
        let name = path.file_name()?.as_bytes().to_ascii_lowercase();
        let ending = ENDINGS.iter().find(|(ending, _)| name.ends_with(ending.as_bytes()));
        ending.map(|(_, form)| *form)
    }

    /// Returns the ending of an unsupported archive.
    pub fn other_archive(path: &Path) -> Option<&'static str> {
        let name = path.file_name()?.as_bytes().to_ascii_lowercase();
        let is_end = |ending: &&&str| name.len() > ending.len() && name.ends_with(ending.as_bytes());
        OTHER_ARCHIVES.iter().find(is_end).copied().filter(|_| Self::of_name(path).is_none())
    }

    /// Endings of names that determine a form.
    pub fn endings() -> impl Iterator<Item = &'static str> {
        ENDINGS.iter().map(|(ending, _)| *ending)
    }
}

fn check_free(to: &PatchDestination, path: &Path) -> Result<(), BuildError> {
    if !to.replaces && path.symlink_metadata().is_ok() {
        return Err(BuildError::Exists(path.to_owned()));
    }
    Ok(())
}

fn parent_and_name(path: &Path) -> Result<(&Path, &[u8]), BuildError> {
    let no_name =
        || BuildError::Write { path: path.to_owned(), error: io::ErrorKind::InvalidFilename.into() };
    let name = path.file_name().ok_or_else(no_name)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok((parent.unwrap_or(Path::new(".")), name.as_bytes()))
}

const PROGRAM: &str = "patchadm-build";
const BUFFER: usize = 1 << 18;

/// A directory with this file is a patch.
const MARK: &[u8] = b"patchinfo";

fn write_directory(
    draft: &PatchDraft<'_>,
    to: &PatchDestination,
    watch: WriteWatch<'_>,
) -> Result<WrittenPatch, BuildError> {
    check_free(to, &to.path)?;
    let (parent, name) = parent_and_name(&to.path)?;
    let parent = Dir::of_host(parent)?;
    check_replaced(&parent, name, to)?;
    // Leftovers of another run must not make this one fail.
    let _ = parent.remove_leftovers(PROGRAM);
    let mut building = UnnamedDirectory::begin(&parent, PROGRAM, name)?;
    let mut sink = DirectorySink {
        names: draft.packages.iter().map(|package| package.sparse.pkg.to_string()).collect(),
        tree: &mut building.tree,
        package: None,
        buffer: vec![0; BUFFER],
        digests: BTreeMap::new(),
        bytes: 0,
        path: to.path.clone(),
    };
    feed(draft, &mut sink, watch)?;
    let text = Manifest::of_members(&draft.id, draft.date, &sink.digests).write();
    let bytes = sink.bytes + text.len() as u64;
    sink.beside(&PatchMember::own(MANIFEST.as_bytes(), &text, draft.date), &mut &text[..])?;
    building.close(Timestamp::whole(draft.date))?;
    if to.replaces {
        // After a power cut, either the old patch or the complete new one must exist.
        parent.sync_file_system()?;
    }
    if let Some(signal) = (watch.interrupt)() {
        return Err(BuildError::Interrupted(signal));
    }
    match building.publish(to.replaces) {
        Err(error) if error.errno() == Some(Errno::EXIST) => Err(BuildError::Exists(to.path.clone())),
        published => Ok(published.map(|()| WrittenPatch {
            path: to.path.clone(),
            manifest: to.path.join(MANIFEST),
            bytes,
            sha256: sha256(&text),
        })?),
    }
}

/// Only a patch may be replaced.
fn check_replaced(parent: &Dir, name: &[u8], to: &PatchDestination) -> Result<(), BuildError> {
    let Some(seen) = parent.look(name)? else { return Ok(()) };
    if seen.file_type != FileType::Directory {
        return Err(BuildError::Exists(to.path.clone()));
    }
    let inside = parent.dir(name)?.names()?;
    if inside.is_empty() || inside.iter().any(|name| name == MARK) {
        return Ok(());
    }
    Err(BuildError::Foreign(to.path.clone()))
}

struct DirectorySink<'a> {
    tree: &'a mut NewTree,
    names: Vec<String>,
    package: Option<usize>,
    buffer: Vec<u8>,
    digests: BTreeMap<Vec<u8>, Sha256Sum>,
    bytes: u64,
    path: PathBuf,
}

impl DirectorySink<'_> {
    fn put(
        &mut self,
        name: Vec<u8>,
        member: &PatchMember<'_>,
        data: &mut dyn Read,
    ) -> Result<(), BuildError> {
        let mut file = self.tree.file(&name)?;
        let mut sum = Sha256::new();
        let mut bytes = 0;
        let copied = copy(data, &mut self.buffer, &mut |part| {
            sum.update(part);
            bytes += part.len() as u64;
            Ok(file.put(part)?)
        })?;
        copied.map_err(|error| BuildError::Write { path: self.path.clone(), error })?;
        file.set_mode(Mode::of(member.mode))?;
        file.set_mtime(Timestamp::whole(member.mtime))?;
        self.bytes += bytes;
        self.digests.insert(name, sum.finalize());
        Ok(())
    }
}

impl PatchSink for DirectorySink<'_> {
    fn beside(&mut self, member: &PatchMember<'_>, data: &mut dyn Read) -> Result<(), BuildError> {
        self.put(member.name.to_vec(), member, data)
    }

    fn begin_package(&mut self, index: usize) -> Result<(), BuildError> {
        self.package = Some(index);
        Ok(())
    }

    fn member(&mut self, member: &PatchMember<'_>, data: &mut dyn Read) -> Result<(), BuildError> {
        let package = self.package.and_then(|index| self.names.get(index)).map(String::as_str);
        let name = [package.unwrap_or_default().as_bytes(), b"/", member.name].concat();
        self.put(name, member, data)
    }
}

/// Higher levels do not make many small, similar files smaller.
const LEVEL: u32 = 6;

fn write_file(
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
    // Leftovers of another run must not make this one fail.
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
            // The manifest is new: nothing had the name before.
            let _ = dir.remove(&beside);
        }
        return Err(error);
    }
    Ok(WrittenPatch { path: to.path.clone(), manifest: manifest_path, bytes, sha256 })
}

/// Removes leftovers of killed runs.
pub fn remove_unfinished(patches: &Dir) -> Result<(), RootError> {
    patches.remove_leftovers(PROGRAM)
}

type BufferedOutput = BufWriter<HashedOutput>;

fn archive(
    draft: &PatchDraft<'_>,
    to: &PatchDestination,
    out: HashedOutput,
    watch: WriteWatch<'_>,
) -> Result<BufferedOutput, BuildError> {
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
            // Without name and time, the same content gives the same bytes.
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

    fn publish(&self, file: &WritableFile, name: &[u8], replaces: bool) -> Result<(), BuildError> {
        file.set_mode(Mode::of(0o644))?;
        if replaces && self.dir.look(name)?.is_some() {
            // After a power cut, either the old file or the complete new one must exist.
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
            let _ = self.dir.remove(&self.private);
        }
    }
}

/// True if the file system does not support a rename without replacement.
fn is_beyond(errno: Option<Errno>) -> bool {
    matches!(errno, Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP))
}

struct HashedOutput {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_of_a_name_says_the_form() {
        for (name, form) in [
            ("100-01.tar", Some(PatchForm::Tar)),
            ("out/100-01.tar.gz", Some(PatchForm::TarGz)),
            ("100-01.TGZ", Some(PatchForm::TarGz)),
            ("100-01.Tar.Gz", Some(PatchForm::TarGz)),
            ("100-01.zip", Some(PatchForm::Zip)),
            ("100-01.pkg", Some(PatchForm::Datastream)),
            ("100-01", None),
            ("out.tar/100-01", None),
            ("tar", None),
            ("100-01.tar.xz", None),
            ("100-01.gz", None),
            ("..", None),
        ] {
            assert_eq!(PatchForm::of_name(Path::new(name)), form, "{name}");
        }
    }

    #[test]
    fn an_ending_of_an_archive_that_is_no_form_is_known_and_another_is_not() {
        for name in ["a.tar.xz", "out/a.Tar.Zst", "a.tar.bz2", "a.7z", "a.tar.Z", "a.rpm", "a.gz", "a.txz"] {
            assert!(PatchForm::other_archive(Path::new(name)).is_some(), "{name}");
        }
        for name in
            ["a", "a.tar", "a.tar.gz", "a.TGZ", "a.zip", "a.pkg", "100-01.patch", ".xz", "a.xz/b", ".."]
        {
            assert_eq!(PatchForm::other_archive(Path::new(name)), None, "{name}");
        }
    }
}
