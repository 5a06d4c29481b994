//! Writes a compressed file and decodes it meanwhile, which proves the encoder right; sync proves the disk. With gzip,
//! each member's thread compares it with its input. Other formats go to a second thread with a backout's reader, and
//! digests are compared.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crate::plan::UndoFormat;
use patchadm_container::gzip;
use patchadm_container::xz::XzEncoder;
use patchadm_container::zstd::ZstdEncoder;
use patchadm_rootfs::{Digest, Digesting, Hashing, cores};
use patchadm_svr4::format::{compress, datastream};

const UNDER_WAY: usize = 4;

const BLOCK: usize = 128 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedArchive {
    /// Compressed bytes.
    pub size: u64,
    /// BLAKE3 of the compressed bytes.
    pub b3: Digest,
    /// Bytes of old files outside the archive, for undo data as files.
    pub files: Option<u64>,
}

#[derive(Debug)]
pub(crate) enum VerifiedWriteError<E> {
    Write(io::Error),
    ReadBack(String),
    Content(E),
}

pub(crate) struct VerifyingEncoder<'f> {
    inner: Inner<'f>,
}

enum Inner<'f> {
    Gzip(gzip::GzipEncoder<ArchiveSink<'f>>),
    Compress(Box<Hashing<compress::CompressEncoder<ArchiveSink<'f>>>>),
    Plain(BufWriter<ArchiveSink<'f>>),
    Zstd(Box<Hashing<ZstdEncoder<ArchiveSink<'f>>>>),
    Xz(Box<Hashing<XzEncoder<ArchiveSink<'f>>>>),
}

struct ArchiveSink<'f> {
    file: &'f mut dyn Write,
    b3: Option<Digesting>,
    size: u64,
    reader: SyncSender<Vec<u8>>,
}

pub(crate) fn write<'f, E>(
    file: &'f mut dyn Write,
    format: UndoFormat,
    content: impl FnOnce(VerifyingEncoder<'f>) -> Result<VerifyingEncoder<'f>, E>,
) -> Result<VerifiedArchive, VerifiedWriteError<E>> {
    let (sender, receiver) = sync_channel(UNDER_WAY);
    let b3 = (format != UndoFormat::Plain).then(Digesting::default);
    let sink = ArchiveSink { file, b3, size: 0, reader: sender };
    let inner = Inner::of(format, sink).map_err(VerifiedWriteError::Write)?;
    thread::scope(|scope| {
        let reading = scope.spawn(move || read_back(Chunks::new(receiver), format));
        let made = content(VerifyingEncoder { inner });
        let finished = match made {
            Ok(encoder) => encoder.finish().map_err(VerifiedWriteError::Write),
            Err(error) => Err(VerifiedWriteError::Content(error)),
        };
        // The sender is gone, so the other thread reaches the end.
        let read =
            reading.join().map_err(|_| VerifiedWriteError::ReadBack("the reading thread failed".to_owned()));
        let FinishedArchive { size, b3, raw } = finished?;
        let decoded = read.and_then(|read| read.map_err(VerifiedWriteError::ReadBack))?;
        match (b3, decoded) {
            (Some(b3), decoded) if decoded == raw => Ok(VerifiedArchive { size, b3, files: None }),
            (None, Some(b3)) => Ok(VerifiedArchive { size, b3, files: None }),
            _ => {
                Err(VerifiedWriteError::ReadBack("the bytes read back differ from those written".to_owned()))
            }
        }
    })
}

struct FinishedArchive {
    size: u64,
    /// `None` if the reading thread has it.
    b3: Option<Digest>,
    raw: Option<Digest>,
}

impl<'f> Inner<'f> {
    fn of(format: UndoFormat, sink: ArchiveSink<'f>) -> io::Result<Self> {
        Ok(match format {
            UndoFormat::Gzip | UndoFormat::Files => Self::Gzip(gzip::GzipEncoder::new(sink, cores())),
            UndoFormat::Compress => {
                Self::Compress(Box::new(Hashing::new(compress::CompressEncoder::new(sink))))
            }
            UndoFormat::Plain => Self::Plain(BufWriter::with_capacity(BLOCK, sink)),
            UndoFormat::Zstd => Self::Zstd(Box::new(Hashing::new(ZstdEncoder::new(sink)?))),
            UndoFormat::Xz => Self::Xz(Box::new(Hashing::new(XzEncoder::new(sink)?))),
        })
    }
}

impl VerifyingEncoder<'_> {
    fn finish(self) -> io::Result<FinishedArchive> {
        let (sink, raw) = match self.inner {
            Inner::Gzip(encoder) => (encoder.finish()?, None),
            Inner::Compress(encoder) => {
                let (encoder, raw) = encoder.finish();
                (encoder.finish()?, Some(raw))
            }
            Inner::Plain(sink) => (sink.into_inner().map_err(io::IntoInnerError::into_error)?, None),
            Inner::Zstd(encoder) => {
                let (encoder, raw) = encoder.finish();
                (encoder.finish()?, Some(raw))
            }
            Inner::Xz(encoder) => {
                let (encoder, raw) = encoder.finish();
                (encoder.finish()?, Some(raw))
            }
        };
        Ok(FinishedArchive { size: sink.size, b3: sink.b3.map(|b3| b3.finish()), raw })
    }
}

impl Write for VerifyingEncoder<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.inner {
            Inner::Gzip(encoder) => encoder.write(bytes),
            Inner::Compress(encoder) => encoder.write(bytes),
            Inner::Plain(sink) => sink.write(bytes),
            Inner::Zstd(encoder) => encoder.write(bytes),
            Inner::Xz(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.inner {
            Inner::Gzip(encoder) => encoder.flush(),
            Inner::Zstd(encoder) => encoder.flush(),
            Inner::Xz(encoder) => encoder.flush(),
            Inner::Compress(_) | Inner::Plain(_) => Ok(()),
        }
    }
}

impl ArchiveSink<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        if let Some(b3) = &mut self.b3 {
            b3.update(bytes);
        }
        self.size += bytes.len() as u64;
        Ok(())
    }

    fn read_back(&mut self, bytes: Vec<u8>) {
        // A reader that gave up reports its reason at the end.
        let _ = self.reader.send(bytes);
    }
}

impl gzip::MemberOutput for ArchiveSink<'_> {
    fn take(&mut self, verified: gzip::VerifiedMember) -> io::Result<()> {
        self.put(&verified.member)?;
        self.read_back(verified.content);
        Ok(())
    }
}

impl Write for ArchiveSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes)?;
        self.read_back(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads every member. Returns the digest of decoded bytes; `None` for gzip, which is compared already.
fn read_back(chunks: Chunks, format: UndoFormat) -> Result<Option<Digest>, String> {
    if matches!(format, UndoFormat::Gzip | UndoFormat::Files) {
        return read_members(BufReader::new(chunks)).map(|_| None);
    }
    let opened = patchadm_container::open_container(chunks).map_err(|error| error.to_string())?;
    let buffered = BufReader::with_capacity(BLOCK, Hashing::new(opened.reader));
    let (_, digest) = read_members(buffered)?.into_inner().finish();
    Ok(Some(digest))
}

fn read_members<R: Read>(input: R) -> Result<R, String> {
    let mut buffer = vec![0; 1 << 16];
    let mut stream = datastream::DatastreamReader::new(input).map_err(|error| error.to_string())?;
    while stream.next_part().map_err(|error| error.to_string())?.is_some() {
        while stream.next_member().map_err(|error| error.to_string())?.is_some() {
            drain(&mut stream, &mut buffer)?;
        }
    }
    let mut rest = stream.into_inner();
    drain(&mut rest, &mut buffer)?;
    Ok(rest)
}

fn drain(input: &mut impl Read, buffer: &mut [u8]) -> Result<(), String> {
    loop {
        match input.read(buffer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

struct Chunks {
    receiver: Receiver<Vec<u8>>,
    chunk: io::Cursor<Vec<u8>>,
}

impl Chunks {
    fn new(receiver: Receiver<Vec<u8>>) -> Self {
        Self { receiver, chunk: io::Cursor::new(Vec::new()) }
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.chunk.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            match self.receiver.recv() {
                Ok(chunk) => self.chunk = io::Cursor::new(chunk),
                Err(_) => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_svr4::package::PkgInst;

    /// Gives the encoder bytes that are not a datastream.
    #[test]
    fn what_does_not_read_back_is_found_before_it_counts() {
        for (_, format) in UndoFormat::ARCHIVES.into_iter().filter(|(_, format)| format.is_written()) {
            let mut file = Vec::new();
            let result = write(&mut file, format, |mut encoder| {
                encoder.write_all(b"this is not a datastream").map(|()| encoder)
            });
            assert!(matches!(result, Err(VerifiedWriteError::ReadBack(_))), "{format:?}");
        }
    }

    #[test]
    fn a_datastream_reads_back_in_every_format_and_its_digest_is_that_of_the_file() {
        for (_, format) in UndoFormat::ARCHIVES.into_iter().filter(|(_, format)| format.is_written()) {
            let mut file = Vec::new();
            let written = write(&mut file, format, |encoder| {
                let package = datastream::DatastreamPackage {
                    inst: PkgInst::new("ACMEweb").unwrap(),
                    parts: 1,
                    max_blocks: 1,
                    pkginfo: b"PKG=ACMEweb\n".to_vec(),
                    pkgmap: b": 1 1\n".to_vec(),
                };
                let stream = datastream::DatastreamWriter::new(encoder, &[package], 0)?;
                stream.begin_part(patchadm_svr4::format::cpio::CpioFormat::Newc)?.finish()?.finish()
            })
            .unwrap_or_else(|_: VerifiedWriteError<datastream::DatastreamError>| panic!("{format:?}"));
            assert_eq!(written.size, file.len() as u64);
            assert_eq!(written.b3, Digest::of(&file));
        }
    }
}
