//! A writer of datastreams: header and first archive at once, then one archive per part. The same members
//! give the same bytes.

use std::io::{Read, Write};

use super::{DatastreamError, DatastreamPackage, END_OF_HEADER, MAGIC};
use crate::format::cpio::{self, BLOCK, CpioError, CpioFormat, CpioHeader};
use crate::package::PkgInst;

/// A datastream being written, between two parts. It becomes a [`PartWriter`] and back until all announced
/// parts are written.
#[derive(Debug)]
pub struct DatastreamWriter<W> {
    out: W,
    /// The package and number of each announced part, in order.
    parts: Vec<(PkgInst, u32)>,
    written: usize,
}

/// A datastream being written, inside a part.
#[derive(Debug)]
pub struct PartWriter<W> {
    archive: cpio::CpioWriter<W>,
    parts: Vec<(PkgInst, u32)>,
    written: usize,
}

impl<W: Write> DatastreamWriter<W> {
    /// Creates a writer, which writes the header and the first archive at once. `mtime`, in seconds since
    /// 1970, is the modification time of the files in that archive.
    pub fn new(out: W, packages: &[DatastreamPackage], mtime: i64) -> Result<Self, DatastreamError> {
        Self::with_times(out, packages, &vec![[mtime; 2]; packages.len()])
    }

    /// Does the same with the modification times of the pkginfo and the pkgmap of each package.
    pub fn with_times(
        mut out: W,
        packages: &[DatastreamPackage],
        times: &[[i64; 2]],
    ) -> Result<Self, DatastreamError> {
        let mut text = MAGIC.to_vec();
        for DatastreamPackage { inst, parts, max_blocks, .. } in packages {
            text.extend_from_slice(format!("\n{inst} {parts} {max_blocks}").as_bytes());
        }
        text.extend_from_slice(END_OF_HEADER);
        let length = (text.len() as u64).next_multiple_of(BLOCK);
        text.resize(usize::try_from(length).unwrap_or(text.len()), 0);
        out.write_all(&text)?;

        let mut archive = cpio::CpioWriter::new(out, CpioFormat::Newc);
        for (package, [pkginfo, pkgmap]) in packages.iter().zip(times) {
            for (file, data, mtime) in
                [("pkginfo", &package.pkginfo, *pkginfo), ("pkgmap", &package.pkgmap, *pkgmap)]
            {
                let name = format!("{}/{file}", package.inst);
                let header = CpioHeader::file(name.as_bytes(), 0o644, mtime, data.len() as u64);
                archive.write_member(&header, &data[..]).map_err(|source| contents_error(source, &name))?;
            }
        }
        let out = archive.finish().map_err(|source| contents_error(source, "the trailer"))?;
        let parts = packages.iter().flat_map(|p| (1..=p.parts).map(|part| (p.inst.clone(), part))).collect();
        Ok(Self { out, parts, written: 0 })
    }

    /// Starts the archive of the next part, in the order of the packages. [`CpioFormat::for_size`] tells the
    /// format that the largest member needs.
    pub fn begin_part(self, form: CpioFormat) -> Result<PartWriter<W>, DatastreamError> {
        let Self { out, parts, written } = self;
        if written >= parts.len() {
            return Err(DatastreamError::Parts { announced: parts.len(), written: written + 1 });
        }
        Ok(PartWriter { archive: cpio::CpioWriter::new(out, form), parts, written: written + 1 })
    }

    /// Ends the stream and returns the output, not flushed. A missing part is an error.
    pub fn finish(self) -> Result<W, DatastreamError> {
        if self.written < self.parts.len() {
            return Err(DatastreamError::Parts { announced: self.parts.len(), written: self.written });
        }
        Ok(self.out)
    }
}

impl<W: Write> PartWriter<W> {
    /// Writes a member, as [`cpio::CpioWriter::write_member`] does. Its name is relative to the package
    /// directory.
    pub fn write_member(&mut self, header: &CpioHeader, data: impl Read) -> Result<(), DatastreamError> {
        self.archive
            .write_member(header, data)
            .map_err(|source| part_error(&self.parts, self.written, source))
    }

    /// Flushes the output, in which every member so far is complete.
    pub fn flush(&mut self) -> Result<(), DatastreamError> {
        self.archive.flush().map_err(|source| part_error(&self.parts, self.written, source))
    }

    /// Ends the part's archive.
    pub fn finish(self) -> Result<DatastreamWriter<W>, DatastreamError> {
        let Self { archive, parts, written } = self;
        let out = archive.finish().map_err(|source| part_error(&parts, written, source))?;
        Ok(DatastreamWriter { out, parts, written })
    }
}

fn contents_error(source: CpioError, name: &str) -> DatastreamError {
    let archive = format!("datastream table of contents, {name}");
    DatastreamError::Archive { archive, last: None, source }
}

fn part_error(parts: &[(PkgInst, u32)], written: usize, source: CpioError) -> DatastreamError {
    let archive = match parts.get(written.saturating_sub(1)) {
        Some((inst, part)) => format!("package {inst}, part {part}"),
        None => "datastream".to_owned(),
    };
    DatastreamError::Archive { archive, last: None, source }
}
