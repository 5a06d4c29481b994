//! Reads gzip: our own members with several cores, others one after another.

use std::io::{self, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

use super::codec::Inflater;
use super::in_order::InOrder;
use super::{HEADER, TRAILER, member_size};
use crate::cores;

/// The number of bytes read at once from a file made by another program.
const BUFFER: usize = 1 << 17;

type Pool = InOrder<Vec<u8>, io::Result<Vec<u8>>>;

/// The content of a gzip file. Our own members are read ahead, two for each thread, as soon as more than the first one
/// is wanted: that one contains the description of an archive.
#[derive(Debug)]
pub struct GzipDecoder<R> {
    state: DecoderState<R>,
}

#[derive(Debug)]
enum DecoderState<R> {
    /// Our own members, until the first other one.
    Members(Members<R>),
    /// Members of any kind.
    Others(Box<MultiGzDecoder<BufReader<Rest<R>>>>),
    /// It ended with an error, or is changing from one state to the other.
    Ended,
}

/// A header that was already read, and the rest after it.
type Rest<R> = io::Chain<Cursor<Vec<u8>>, R>;

#[derive(Debug)]
struct Members<R> {
    input: R,
    /// The threads, started when more than the first member is wanted.
    pool: Option<Pool>,
    threads: usize,
    content: Cursor<Vec<u8>>,
    /// The bytes read after our last member; empty at the end.
    behind: Option<Vec<u8>>,
}

impl<R: Read> GzipDecoder<R> {
    /// Reads `input` from its first byte on. The first bytes are read at once.
    pub fn new(mut input: R) -> io::Result<Self> {
        let header = read_header(&mut input)?;
        if member_size(&header).is_none() {
            return Ok(Self { state: DecoderState::others(header, input) });
        }
        let mut members =
            Members { input, pool: None, threads: cores(), content: Cursor::default(), behind: None };
        let first = members.member(header)?.unwrap_or_default();
        members.content = Cursor::new(decode(&mut Inflater::default(), &first)?);
        Ok(Self { state: DecoderState::Members(members) })
    }
}

impl<R: Read> DecoderState<R> {
    fn others(header: Vec<u8>, input: R) -> Self {
        let rest = Cursor::new(header).chain(input);
        Self::Others(Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER, rest))))
    }
}

impl<R: Read> Read for GzipDecoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match &mut self.state {
                DecoderState::Members(members) => {
                    let count = members.read(buffer)?;
                    if count > 0 || buffer.is_empty() {
                        return Ok(count);
                    }
                }
                DecoderState::Others(decoder) => return decoder.read(buffer),
                DecoderState::Ended => return Ok(0),
            }
            let DecoderState::Members(members) = std::mem::replace(&mut self.state, DecoderState::Ended)
            else {
                return Ok(0);
            };
            match members.behind {
                Some(header) if !header.is_empty() => {
                    self.state = DecoderState::others(header, members.input);
                }
                _ => return Ok(0),
            }
        }
    }
}

impl<R: Read> Members<R> {
    /// Reads the member with this header; returns `None` if the header is not ours.
    fn member(&mut self, header: Vec<u8>) -> io::Result<Option<Vec<u8>>> {
        let Some(size) = member_size(&header) else {
            self.behind = Some(header);
            return Ok(None);
        };
        let mut member = header;
        let rest = size - HEADER;
        if (&mut self.input).take(rest as u64).read_to_end(&mut member)? < rest {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some(member))
    }

    /// Returns the content of the next member, or nothing after our last one. As many members are decoded ahead as may
    /// be in progress, but a single remaining one is decoded here: threads would be started for it alone.
    fn next_content(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut ahead = Vec::new();
        while self.behind.is_none() && self.under_way() + ahead.len() < 2 * self.threads {
            let header = read_header(&mut self.input)?;
            ahead.extend(self.member(header)?);
        }
        if let ([only], None, Some(_)) = (&ahead[..], &self.pool, &self.behind) {
            return decode(&mut Inflater::default(), only).map(Some);
        }
        let threads = self.threads;
        for member in ahead {
            let pool = self.pool.get_or_insert_with(|| {
                InOrder::new(threads, || {
                    let mut inflater = Inflater::default();
                    move |member: Vec<u8>| decode(&mut inflater, &member)
                })
            });
            pool.ask(member);
        }
        if self.under_way() == 0 {
            return Ok(None);
        }
        let content = self.pool.as_mut().and_then(InOrder::answer);
        content.ok_or_else(|| io::Error::other("a decompressing thread failed"))?.map(Some)
    }

    fn under_way(&self) -> usize {
        self.pool.as_ref().map_or(0, InOrder::under_way)
    }

    /// Returns 0 after the last of our members.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.content.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let Some(content) = self.next_content()? else { return Ok(0) };
            self.content = Cursor::new(content);
        }
    }
}

/// Reads as many bytes as our header has; fewer at the end of the file.
fn read_header(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut header = Vec::with_capacity(HEADER);
    input.take(HEADER as u64).read_to_end(&mut header)?;
    Ok(header)
}

/// Returns the content of one of our members, no longer than such a member may hold.
fn decode(inflater: &mut Inflater, member: &[u8]) -> io::Result<Vec<u8>> {
    let damaged = || {
        io::Error::new(io::ErrorKind::InvalidData, "corrupt gzip stream does not have a matching checksum")
    };
    let (deflated, trailer) =
        member.get(HEADER..).and_then(|rest| rest.split_last_chunk::<TRAILER>()).ok_or_else(damaged)?;
    let mut content = Vec::new();
    inflater.inflate(deflated, &mut content)?;
    if super::trailer(&content) == *trailer { Ok(content) } else { Err(damaged()) }
}
