//! A patch as a package datastream: its packages, without the files beside them.

use std::collections::HashSet;
use std::io::{self, Read, Write};

use super::super::draft::PatchDraft;
use super::super::error::BuildError;
use super::super::sparse::SparsePackage;
use super::sink::{PatchMember, PatchSink};
use patchadm_svr4::format::cpio::{CpioFormat, CpioHeader};
use patchadm_svr4::format::datastream::{DatastreamPackage, DatastreamWriter, PartWriter};
use patchadm_svr4::format::params;

/// The mode of directories in a stream.
const DIRECTORY: u32 = 0o755;

/// A datastream under construction.
pub(super) struct StreamSink<W> {
    state: StreamState<W>,
    /// The form of the archive of each package.
    forms: Vec<CpioFormat>,
    /// The directories of the package that are members already.
    directories: HashSet<Vec<u8>>,
    date: i64,
}

/// A writer of streams is another one inside a part.
enum StreamState<W> {
    Between(DatastreamWriter<W>),
    Inside(PartWriter<W>),
    /// After an error.
    Broken,
}

impl<W: Write> StreamSink<W> {
    /// Begins a stream: its header and the description of all packages.
    pub(super) fn new(out: W, draft: &PatchDraft<'_>) -> Result<Self, BuildError> {
        let packages: Vec<DatastreamPackage> =
            draft.packages.iter().map(|package| announcement(&package.sparse)).collect();
        let forms = draft.packages.iter().map(|package| form(&package.sparse));
        let forms = forms.collect::<Result<_, _>>()?;
        let writer = DatastreamWriter::new(out, &packages, draft.date)?;
        Ok(Self { state: StreamState::Between(writer), forms, directories: HashSet::new(), date: draft.date })
    }

    /// Ends the stream and returns the output, not flushed.
    pub(super) fn finish(self) -> Result<W, BuildError> {
        Ok(self.state.between()?.finish()?)
    }

    fn part(&mut self) -> Result<&mut PartWriter<W>, BuildError> {
        match &mut self.state {
            StreamState::Inside(part) => Ok(part),
            StreamState::Between(_) | StreamState::Broken => Err(broken()),
        }
    }
}

impl<W: Write> StreamState<W> {
    fn between(self) -> Result<DatastreamWriter<W>, BuildError> {
        match self {
            Self::Between(writer) => Ok(writer),
            Self::Inside(part) => Ok(part.finish()?),
            Self::Broken => Err(broken()),
        }
    }
}

fn broken() -> BuildError {
    BuildError::Datastream(io::Error::other("a member was written outside of every package").into())
}

impl<W: Write> PatchSink for StreamSink<W> {
    /// Leaves it out: a datastream has packages only.
    fn beside(&mut self, _member: &PatchMember<'_>, _data: &mut dyn Read) -> Result<(), BuildError> {
        Ok(())
    }

    fn begin_package(&mut self, index: usize) -> Result<(), BuildError> {
        let state = std::mem::replace(&mut self.state, StreamState::Broken);
        let form = self.forms.get(index).copied().ok_or_else(broken)?;
        self.state = StreamState::Inside(state.between()?.begin_part(form)?);
        self.directories.clear();
        Ok(())
    }

    /// Writes a file, after the directories above it that are not members yet.
    fn member(&mut self, member: &PatchMember<'_>, data: &mut dyn Read) -> Result<(), BuildError> {
        for (slash, _) in member.name.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            let directory = member.name.get(..slash).unwrap_or_default();
            if self.directories.insert(directory.to_vec()) {
                let header = CpioHeader::directory(directory, DIRECTORY, self.date);
                self.part()?.write_member(&header, io::empty())?;
            }
        }
        let header = CpioHeader::file(member.name, member.mode, member.mtime, member.size);
        Ok(self.part()?.write_member(&header, data)?)
    }
}

/// Returns the entry of a package in the header of the stream.
fn announcement(package: &SparsePackage) -> DatastreamPackage {
    DatastreamPackage {
        inst: package.pkg.clone(),
        parts: 1,
        max_blocks: package.pkgmap.max_blocks,
        pkginfo: params::write(&package.params),
        pkgmap: package.pkgmap.write(),
    }
}

/// Returns the form of cpio that holds the largest file of a package.
fn form(package: &SparsePackage) -> Result<CpioFormat, BuildError> {
    let largest = package.files.iter().max_by_key(|(_, file)| file.content.size);
    let size = largest.map(|(_, file)| file.content.size).unwrap_or_default();
    CpioFormat::for_size(size).ok_or_else(|| BuildError::TooLarge {
        path: largest.map(|(path, _)| path.to_string()).unwrap_or_default(),
        size,
        form: "datastream",
    })
}
