//! Patches as archives: datastream (packages only), tar and zip (with one top directory named after the patch).

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime as Moment, Datelike as _, Timelike as _};
use tar::{Builder, EntryType, Header};
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::members::{PatchMember, PatchSink};
use crate::build::draft::{BuildError, PatchDraft};
use crate::build::sparse::SparsePackage;
use patchadm_svr4::format::cpio::{CpioFormat, CpioHeader};
use patchadm_svr4::format::datastream::{DatastreamPackage, DatastreamWriter, PartWriter};
use patchadm_svr4::format::params;

const DIRECTORY: u32 = 0o755;

pub(super) struct StreamSink<W> {
    state: StreamState<W>,
    forms: Vec<CpioFormat>,
    directories: HashSet<Vec<u8>>,
    date: i64,
}

/// A stream writer changes its type inside a part.
enum StreamState<W> {
    Between(DatastreamWriter<W>),
    Inside(PartWriter<W>),
    Broken,
}

impl<W: Write> StreamSink<W> {
    pub(super) fn new(out: W, draft: &PatchDraft<'_>) -> Result<Self, BuildError> {
        let packages: Vec<DatastreamPackage> =
            draft.packages.iter().map(|package| announcement(&package.sparse)).collect();
        let forms = draft.packages.iter().map(|package| form(&package.sparse));
        let forms = forms.collect::<Result<_, _>>()?;
        let writer = DatastreamWriter::new(out, &packages, draft.date)?;
        Ok(Self { state: StreamState::Between(writer), forms, directories: HashSet::new(), date: draft.date })
    }

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

    /// Also writes parent directories that are no members yet.
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

fn announcement(package: &SparsePackage) -> DatastreamPackage {
    DatastreamPackage {
        inst: package.pkg.clone(),
        parts: 1,
        max_blocks: package.pkgmap.max_blocks,
        pkginfo: params::write(&package.params),
        pkgmap: package.pkgmap.write(),
    }
}

fn form(package: &SparsePackage) -> Result<CpioFormat, BuildError> {
    let largest = package.files.iter().max_by_key(|(_, file)| file.content.size);
    let size = largest.map(|(_, file)| file.content.size).unwrap_or_default();
    CpioFormat::for_size(size).ok_or_else(|| BuildError::TooLarge {
        path: largest.map(|(path, _)| path.to_string()).unwrap_or_default(),
        size,
        form: "datastream",
    })
}

pub(super) struct TarSink<W: Write> {
    archive: Builder<W>,
    directories: Vec<String>,
    top: String,
    current: Option<usize>,
    path: PathBuf,
}

impl<W: Write> TarSink<W> {
    pub(super) fn new(out: W, draft: &PatchDraft<'_>, path: &Path) -> Self {
        let top = draft.id.to_string();
        let directories =
            draft.packages.iter().map(|package| format!("{top}/{}", package.sparse.pkg)).collect();
        Self { archive: Builder::new(out), directories, top, current: None, path: path.to_owned() }
    }

    pub(super) fn finish(self) -> Result<W, BuildError> {
        let path = self.path;
        self.archive.into_inner().map_err(|error| BuildError::Write { path, error })
    }

    fn put(&mut self, above: &str, member: &PatchMember<'_>, data: &mut dyn Read) -> Result<(), BuildError> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(member.mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(u64::try_from(member.mtime).unwrap_or_default());
        header.set_size(member.size);
        let name = [above.as_bytes(), b"/", member.name].concat();
        let appended = self.archive.append_data(&mut header, OsStr::from_bytes(&name), data);
        appended.map_err(|error| BuildError::Write { path: self.path.clone(), error })
    }
}

impl<W: Write> PatchSink for TarSink<W> {
    fn beside(&mut self, member: &PatchMember<'_>, data: &mut dyn Read) -> Result<(), BuildError> {
        let top = self.top.clone();
        self.put(&top, member, data)
    }

    fn begin_package(&mut self, index: usize) -> Result<(), BuildError> {
        self.current = Some(index);
        Ok(())
    }

    fn member(&mut self, member: &PatchMember<'_>, data: &mut dyn Read) -> Result<(), BuildError> {
        let above = self.current.and_then(|index| self.directories.get(index)).cloned().unwrap_or_default();
        self.put(&above, member, data)
    }
}

/// A patch is compressed once and read often.
const LEVEL: i64 = 9;

/// Larger members need Zip64.
const LARGE: u64 = 0xffff_ffff;

pub(super) struct ZipSink<W: Write> {
    archive: ZipWriter<StreamWriter<W>>,
    directories: Vec<String>,
    top: String,
    current: Option<usize>,
    path: PathBuf,
}

impl<W: Write> ZipSink<W> {
    pub(super) fn new(out: W, draft: &PatchDraft<'_>, path: &Path) -> Self {
        let top = draft.id.to_string();
        let directories =
            draft.packages.iter().map(|package| format!("{top}/{}", package.sparse.pkg)).collect();
        Self { archive: ZipWriter::new_stream(out), directories, top, current: None, path: path.to_owned() }
    }

    pub(super) fn finish(self) -> Result<W, BuildError> {
        let path = self.path;
        let finished = self.archive.finish().map(StreamWriter::into_inner);
        finished.map_err(|error| BuildError::Write { path, error: error.into() })
    }

    fn put(&mut self, above: &str, member: &PatchMember<'_>, data: &mut dyn Read) -> Result<(), BuildError> {
        let failed = |error: io::Error| BuildError::Write { path: self.path.clone(), error };
        let name = std::str::from_utf8(member.name)
            .map_err(|_| BuildError::Name(member.name.escape_ascii().to_string()))?;
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(LEVEL))
            .unix_permissions(member.mode)
            .last_modified_time(moment(member.mtime))
            .large_file(member.size >= LARGE);
        self.archive.start_file(format!("{above}/{name}"), options).map_err(|error| failed(error.into()))?;
        io::copy(data, &mut self.archive).map_err(failed).map(drop)
    }
}

/// Zip times begin in 1980 and have steps of two seconds, without a zone.
fn moment(seconds: i64) -> DateTime {
    let moment = Moment::from_timestamp(seconds, 0).unwrap_or_default();
    let small = |number: u32| u8::try_from(number).unwrap_or_default();
    let made = DateTime::from_date_and_time(
        u16::try_from(moment.year()).unwrap_or_default(),
        small(moment.month()),
        small(moment.day()),
        small(moment.hour()),
        small(moment.minute()),
        small(moment.second()),
    );
    made.unwrap_or_default()
}

impl<W: Write> PatchSink for ZipSink<W> {
    fn beside(&mut self, member: &PatchMember<'_>, data: &mut dyn Read) -> Result<(), BuildError> {
        let top = self.top.clone();
        self.put(&top, member, data)
    }

    fn begin_package(&mut self, index: usize) -> Result<(), BuildError> {
        self.current = Some(index);
        Ok(())
    }

    fn member(&mut self, member: &PatchMember<'_>, data: &mut dyn Read) -> Result<(), BuildError> {
        let above = self.current.and_then(|index| self.directories.get(index)).cloned().unwrap_or_default();
        self.put(&above, member, data)
    }
}
