//! Undo archives as plain files: bytes, datastream and manifest, without patches, packages or ledgers.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;

use rustix::io::Errno;

use crate::format::manifest::{UndoManifest, UndoManifestError};
use crate::limits::LARGEST_MANIFEST;
use patchadm_rootfs::{Digest, Hashing, Interrupt, InterruptibleRead, RootError, never};
use patchadm_svr4::format::datastream::{DatastreamError, DatastreamReader};

pub const MANIFEST_MEMBER: &[u8] = b"install/patchadm.manifest";

const BUFFER: usize = 1 << 17;

/// Decompressed.
pub type ArchiveStream<'a> = DatastreamReader<BufReader<Box<dyn Read + 'a>>>;

#[derive(Debug, thiserror::Error)]
pub enum ArchiveFileError {
    #[error("the undo archive {path} is damaged: {reason}")]
    Damaged {
        path: String,
        /// For the operator.
        reason: String,
    },
    #[error(
        "the undo archive {path} was made by an earlier version of this program, with digests that this version does not read"
    )]
    Earlier { path: String },
    #[error(transparent)]
    Root(#[from] RootError),
}

#[derive(Debug)]
pub enum UnreadContent {
    /// An earlier form of the program wrote its manifest.
    Earlier,
    /// It differs from what was written; for the operator.
    Damaged(String),
}

impl From<String> for UnreadContent {
    fn from(reason: String) -> Self {
        Self::Damaged(reason)
    }
}

impl From<UndoManifestError> for UnreadContent {
    fn from(error: UndoManifestError) -> Self {
        match error {
            UndoManifestError::Earlier => Self::Earlier,
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl UnreadContent {
    pub fn of(self, path: &str) -> ArchiveFileError {
        let path = path.to_owned();
        match self {
            Self::Earlier => ArchiveFileError::Earlier { path },
            Self::Damaged(reason) => ArchiveFileError::Damaged { path, reason },
        }
    }
}

#[derive(Debug)]
pub struct UnboundArchive {
    file: File,
    shown: String,
}

impl UnboundArchive {
    /// `shown` names the file in messages.
    pub fn new(file: File, shown: String) -> Self {
        Self { file, shown }
    }

    pub fn digest(&self) -> Result<Digest, ArchiveFileError> {
        digest_of(&self.file, &never).map_err(|error| unreadable(&self.shown, &error).into())
    }

    /// `None` for an archive of another program.
    pub fn manifest(&self) -> Result<Option<UndoManifest>, ArchiveFileError> {
        let damaged = |reason: String| ArchiveFileError::Damaged { path: self.shown.clone(), reason };
        let bytes = FromStart::new(&self.file);
        let mut stream = stream(bytes).map_err(|error| damaged(error.to_string()))?;
        stream.next_part().map_err(|error| damaged(error.to_string()))?;
        while let Some(member) = stream.next_member().map_err(|error| damaged(error.to_string()))? {
            let name = member.path.as_bytes();
            if name == MANIFEST_MEMBER {
                return read_manifest(&mut stream).map(Some).map_err(|unread| unread.of(&self.shown));
            }
            if name.starts_with(b"reloc") || name.starts_with(b"root") {
                break;
            }
        }
        Ok(None)
    }
}

pub fn stream<'a>(bytes: impl Read + 'a) -> Result<ArchiveStream<'a>, DatastreamError> {
    let opened = patchadm_container::open_container(bytes)?;
    DatastreamReader::new(BufReader::with_capacity(1 << 16, opened.reader))
}

pub fn read_manifest(member: &mut impl Read) -> Result<UndoManifest, UnreadContent> {
    let mut bytes = Vec::new();
    member.take(LARGEST_MANIFEST + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > LARGEST_MANIFEST {
        return Err(format!("its manifest is larger than {LARGEST_MANIFEST} bytes").into());
    }
    Ok(UndoManifest::parse(&bytes)?)
}

/// Reads a file from its beginning, independently of other readers.
#[derive(Debug)]
pub struct FromStart<'a> {
    file: &'a File,
    offset: u64,
}

impl<'a> FromStart<'a> {
    pub fn new(file: &'a File) -> Self {
        Self { file, offset: 0 }
    }
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

/// A signal ends it with an error.
pub fn digest_of(file: &File, interrupt: Interrupt<'_>) -> io::Result<Digest> {
    let mut raw = Hashing::new(InterruptibleRead::new(FromStart::new(file), interrupt));
    let mut buffer = vec![0; BUFFER];
    loop {
        match raw.read(&mut buffer) {
            Ok(0) => return Ok(raw.finish().1),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

pub fn unreadable(path: &str, error: &io::Error) -> RootError {
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    RootError::Call { action: "read", path: path.to_owned(), errno }
}
