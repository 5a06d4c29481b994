//! The file of exported undo data on the host: written durably or not at all.

use std::io::{self, BufReader, BufWriter, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use patchadm_inputs::database::RecordView;
use patchadm_inputs::database::undo_data::UndoData;
use patchadm_inputs::format::undo_export::{
    ExportError, ExportTable, ExportWriter, ExportedArchive, FoundArchive, read_export,
};
use patchadm_rootfs::{Dir, Interrupt, InterruptibleRead, Root, RootError, WritableFile};
use patchadm_svr4::package::{Mode, ObjectPath, PkgInst};

const PROGRAM: &str = "patchadm-undo";

/// Objects in it may be readable for their owner only.
const OWN: u32 = 0o600;

const BUFFER: usize = 128 << 10;

#[derive(Debug, thiserror::Error)]
pub enum UndoFileFault {
    #[error("{} already exists, and an export does not replace files", .0.display())]
    Exists(PathBuf),
    #[error("{} is inside the root, and undo data is exported to a file outside it", .0.display())]
    Inside(PathBuf),
    #[error("{} cannot be written: {error}", path.display())]
    Unwritable { path: PathBuf, error: io::Error },
    #[error("{} cannot be read: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{}: {error}", path.display())]
    Bad { path: PathBuf, error: ExportError },
    #[error("{}: the undo archive of patch {patch} for package {package} is damaged", path.display())]
    Damaged { path: PathBuf, patch: String, package: PkgInst },
    #[error("{} was exported from another root (its marker is {marker})", path.display())]
    OtherRoot { path: PathBuf, marker: String },
    #[error(
        "{} has the undo data of patch {patch} for package {package} that run {run} made, but the root exported a different one",
        path.display()
    )]
    OtherRun { path: PathBuf, patch: String, package: PkgInst, run: String },
    #[error("the root does not expect undo data of patch {patch} for package {package}: {reason}")]
    NotExported { patch: String, package: PkgInst, reason: &'static str },
    #[error("{} has no undo data of patch {patch}", path.display())]
    NotInFile { path: PathBuf, patch: String },
    #[error("the root has no marker that distinguishes its undo data from another root's")]
    NoMarker,
}

pub(super) struct NewUndoFile {
    dir: Dir,
    name: Vec<u8>,
    path: PathBuf,
}

impl NewUndoFile {
    /// The name must be free and outside the root; on the running system, outside the records.
    pub(super) fn at(path: &Path, root: &Root) -> Result<Self, UndoFileFault> {
        let unwritable = |error: RootError| unwritable(path, &error);
        let no_name = || UndoFileFault::Unwritable {
            path: path.to_owned(),
            error: io::ErrorKind::InvalidFilename.into(),
        };
        let name = path.file_name().ok_or_else(no_name)?.as_bytes().to_vec();
        let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let dir = Dir::of_host(above).map_err(unwritable)?;
        let inside = Dir::of_host(&root.prefix().join(if root.is_system() { "var/sadm" } else { "" }));
        if inside.and_then(|inside| dir.is_within(&inside)).map_err(unwritable)? {
            return Err(UndoFileFault::Inside(path.to_owned()));
        }
        if dir.look(&name).map_err(unwritable)?.is_some() {
            return Err(UndoFileFault::Exists(path.to_owned()));
        }
        Ok(Self { dir, name, path: path.to_owned() })
    }

    /// The file is durable when this returns.
    pub(super) fn write(&self, table: &ExportTable, archives: &[UndoData]) -> Result<u64, UndoFileFault> {
        let unwritable = |error: RootError| unwritable(&self.path, &error);
        // Leftovers of other users are no error.
        let _ = self.dir.remove_leftovers(PROGRAM);
        let (private, file) = self.dir.create_private(PROGRAM).map_err(unwritable)?;
        let written = self.fill(file, table, archives).and_then(|size| {
            let named = self.name_it(&private).and_then(|()| self.dir.sync());
            named.map(|()| size).map_err(unwritable)
        });
        if written.is_err() {
            // The first error is reported.
            let _ = self.dir.remove(&private);
        }
        written
    }

    /// Fails if the name is taken.
    fn name_it(&self, private: &[u8]) -> Result<(), RootError> {
        match self.dir.move_to(private, &self.dir, &self.name) {
            // Some network file systems cannot rename with that condition; the name was free a moment ago.
            Err(error) if matches!(error.errno(), Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)) => {
                self.dir.rename(private, &self.name)
            }
            moved => moved,
        }
    }

    fn fill(
        &self,
        file: WritableFile,
        table: &ExportTable,
        archives: &[UndoData],
    ) -> Result<u64, UndoFileFault> {
        let unwritable = |error: RootError| unwritable(&self.path, &error);
        let put = |mut out: ExportWriter<BufWriter<WritableFile>>| {
            for (archive, undo) in table.archives.iter().zip(archives) {
                out.add(archive, undo.bytes())?;
            }
            let mut out = out.finish()?;
            out.flush()?;
            out.into_inner().map_err(io::IntoInnerError::into_error)
        };
        file.set_mode(Mode::of(OWN)).map_err(unwritable)?;
        let out = ExportWriter::begin(BufWriter::with_capacity(BUFFER, file), table);
        let file = out.and_then(put).map_err(|error| {
            let path = self.path.clone();
            UndoFileFault::Unwritable { path, error }
        })?;
        file.sync().and_then(|()| file.size()).map_err(unwritable)
    }

    pub(super) fn remove(&self) {
        // It holds copies only.
        let _ = self.dir.remove(&self.name);
    }
}

fn unwritable(path: &Path, error: &RootError) -> UndoFileFault {
    let of_system = error.errno().map(io::Error::from);
    let error = of_system.unwrap_or_else(|| io::Error::other(error.to_string()));
    UndoFileFault::Unwritable { path: path.to_owned(), error }
}

pub(super) struct ReadUndoFile {
    /// Without symbolic links.
    pub(super) at: ObjectPath,
    /// Nothing was found of an unwanted one.
    pub(super) archives: Vec<(ExportedArchive, Option<FoundArchive>)>,
}

enum UnreadUndoFile<E> {
    Export(ExportError),
    Refused(E),
}

impl<E> From<ExportError> for UnreadUndoFile<E> {
    fn from(error: ExportError) -> Self {
        Self::Export(error)
    }
}

/// `wanted` tells from the table which archives are read. A signal ends it with any error.
pub(super) fn read_undo_file<E: From<UndoFileFault>>(
    host: &Root,
    path: &Path,
    wanted: impl FnOnce(&ExportTable) -> Result<Vec<bool>, E>,
    interrupt: Interrupt<'_>,
) -> Result<ReadUndoFile, E> {
    let unreadable = |error| UndoFileFault::Unreadable { path: path.to_owned(), error };
    let other = |error: &dyn ToString| unreadable(io::Error::other(error.to_string()));
    let real = path.canonicalize().map_err(unreadable)?;
    let at = ObjectPath::new(real.as_os_str().as_bytes()).map_err(|error| other(&error))?;
    let file = RecordView::live(host).open(&at).map_err(|error| other(&error))?;
    let file = file.ok_or_else(|| other(&"it is not a file"))?;
    let file = BufReader::with_capacity(BUFFER, InterruptibleRead::new(file, interrupt));
    let read = read_export(file, |table| wanted(table).map_err(UnreadUndoFile::Refused));
    let (table, found) = read.map_err(|error| match error {
        UnreadUndoFile::Refused(error) => error,
        UnreadUndoFile::Export(ExportError::Io(error)) => unreadable(error).into(),
        UnreadUndoFile::Export(error) => UndoFileFault::Bad { path: path.to_owned(), error }.into(),
    })?;
    Ok(ReadUndoFile { at, archives: table.archives.into_iter().zip(found).collect() })
}
