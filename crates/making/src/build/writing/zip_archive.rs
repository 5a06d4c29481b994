//! A patch as a zip archive: one directory at its top, called after the patch.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime as Moment, Datelike as _, Timelike as _};
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::super::draft::PatchDraft;
use super::super::error::BuildError;
use super::sink::{PatchMember, PatchSink};

/// The level of deflate: a patch is made once and read often.
const LEVEL: i64 = 9;

/// The size from which a member needs the large form.
const LARGE: u64 = 0xffff_ffff;

/// A zip archive under construction.
pub(super) struct ZipSink<W: Write> {
    archive: ZipWriter<StreamWriter<W>>,
    /// The directory of each package, from the top.
    directories: Vec<String>,
    top: String,
    current: Option<usize>,
    path: PathBuf,
}

impl<W: Write> ZipSink<W> {
    /// Begins an archive; `path` is what messages call it.
    pub(super) fn new(out: W, draft: &PatchDraft<'_>, path: &Path) -> Self {
        let top = draft.id.to_string();
        let directories =
            draft.packages.iter().map(|package| format!("{top}/{}", package.sparse.pkg)).collect();
        Self { archive: ZipWriter::new_stream(out), directories, top, current: None, path: path.to_owned() }
    }

    /// Ends the archive and returns the output, not flushed.
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

/// Returns a moment as zip archives have it: from 1980 on, in steps of two seconds, without a zone.
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
