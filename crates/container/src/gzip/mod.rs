//! gzip in members of limited length (RFC 1952), so that several cores can work on one file.
//!
//! A member holds [`CHUNK`] bytes of content, or fewer at the end and after a flush. An extra field (`FEXTRA`, subfield
//! `PA`) states its size, so that a reader can cut the file without decoding it. Threads do not affect the bytes.
//!
//! ```text
//!   1f 8b 08 04  mtime 0  XFL 4  OS 255 │ 08 00  'P' 'A'  04 00  <size of the member> │ deflate │ CRC-32  size
//! ```

mod deflate;
mod huffman;
mod matches;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufReader, Cursor, Read, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use flate2::bufread::MultiGzDecoder;

use crate::cores;
use crate::gzip::deflate::{Deflater, Inflater};

pub use crate::gzip::deflate::CHUNK;

const HEADER: usize = 20;

const TRAILER: usize = 8;

/// Our header up to the size of the member.
const HEAD: [u8; 16] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 4, 0xff, 8, 0, b'P', b'A', 4, 0];

const LONGEST: usize = deflate::longest(CHUNK) + HEADER + TRAILER;

fn member_size(header: &[u8]) -> Option<usize> {
    let size = header.strip_prefix(&HEAD)?.first_chunk()?;
    let size = usize::try_from(u32::from_le_bytes(*size)).ok()?;
    (HEADER + TRAILER..=LONGEST).contains(&size).then_some(size)
}

fn trailer(content: &[u8]) -> [u8; TRAILER] {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let mut trailer = [0; TRAILER];
    let (crc, size) = trailer.split_at_mut(TRAILER / 2);
    crc.copy_from_slice(&crc32fast::hash(content).to_le_bytes());
    size.copy_from_slice(&length.to_le_bytes());
    trailer
}

/// Chunks in progress per thread, so that threads have work while the writer waits for a disk.
const AHEAD: usize = 5;

/// A member that decodes to its content.
#[derive(Debug)]
pub struct VerifiedMember {
    /// The bytes for the file.
    pub member: Vec<u8>,
    /// The decoded content.
    pub content: Vec<u8>,
}

/// Takes the members of a file in their order.
pub trait MemberOutput {
    /// Takes the next member.
    fn take(&mut self, verified: VerifiedMember) -> io::Result<()>;
}

impl<F: FnMut(VerifiedMember) -> io::Result<()>> MemberOutput for F {
    fn take(&mut self, verified: VerifiedMember) -> io::Result<()> {
        self(verified)
    }
}

/// Compresses its input, and hands members to `out` in order. A flush ends the member, so that earlier bytes can be
/// read without decoding later ones.
#[derive(Debug)]
pub struct GzipEncoder<O> {
    out: O,
    chunk: Vec<u8>,
    is_begun: bool,
    worker: Box<Worker>,
    /// Started with the second full member.
    pool: Option<OrderedWorkers<Vec<u8>, io::Result<VerifiedMember>>>,
    threads: usize,
}

impl<O: MemberOutput> GzipEncoder<O> {
    /// Begins a file without writing. Up to `threads` threads compress.
    pub fn new(out: O, threads: usize) -> Self {
        let chunk = Vec::with_capacity(CHUNK);
        Self { out, chunk, is_begun: false, worker: Box::default(), pool: None, threads: threads.max(1) }
    }

    /// Ends the file and returns the receiver of the members.
    pub fn finish(mut self) -> io::Result<O> {
        if !self.is_begun || !self.chunk.is_empty() {
            self.end_member()?;
        }
        while self.pool.as_ref().is_some_and(|pool| pool.pending() > 0) {
            self.take()?;
        }
        Ok(self.out)
    }

    /// Ends the current member, in this thread if no other was started.
    fn end_member(&mut self) -> io::Result<()> {
        let chunk = std::mem::take(&mut self.chunk);
        self.is_begun = true;
        match &mut self.pool {
            Some(pool) => {
                pool.submit(chunk);
                Ok(())
            }
            None => self.out.take(self.worker.encode(chunk)?),
        }
    }

    fn full(&mut self) -> io::Result<()> {
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        self.is_begun = true;
        let threads = self.threads;
        let pool = self.pool.get_or_insert_with(|| {
            OrderedWorkers::new(threads, || {
                let mut worker = Worker::default();
                move |chunk| worker.encode(chunk)
            })
        });
        pool.submit(chunk);
        if pool.pending() > AHEAD * threads { self.take() } else { Ok(()) }
    }

    fn take(&mut self) -> io::Result<()> {
        let result = self.pool.as_mut().and_then(OrderedWorkers::next_result);
        self.out.take(result.ok_or_else(|| io::Error::other("a compressing thread failed"))??)
    }
}

impl<O: MemberOutput> Write for GzipEncoder<O> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() == CHUNK {
            self.full()?;
        }
        let count = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() { Ok(()) } else { self.end_member() }
    }
}

#[derive(Default)]
struct Worker {
    deflater: Deflater,
    inflater: Inflater,
    again: Vec<u8>,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

impl Worker {
    fn encode(&mut self, content: Vec<u8>) -> io::Result<VerifiedMember> {
        let mut member = Vec::with_capacity(HEADER);
        member.extend_from_slice(&HEAD);
        member.extend_from_slice(&[0; HEADER - HEAD.len()]);
        self.deflater.deflate(&content, &mut member)?;
        self.verify(&content, member.get(HEADER..).unwrap_or_default())?;
        member.extend_from_slice(&trailer(&content));
        let size = u32::try_from(member.len()).map_err(io::Error::other)?;
        member.splice(HEAD.len()..HEADER, size.to_le_bytes());
        Ok(VerifiedMember { member, content })
    }

    /// Decodes the encoder's output and compares it.
    fn verify(&mut self, content: &[u8], deflated: &[u8]) -> io::Result<()> {
        self.inflater.inflate(deflated, &mut self.again)?;
        if self.again == content {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "decompression returned different bytes"))
        }
    }
}

/// Read at once from another program's file.
const BUFFER: usize = 1 << 17;

type InflaterPool = OrderedWorkers<Vec<u8>, io::Result<Vec<u8>>>;

/// The content of a gzip file. Our own members are read ahead after the first, which describes an archive.
#[derive(Debug)]
pub struct GzipDecoder<R> {
    state: DecoderState<R>,
}

#[derive(Debug)]
enum DecoderState<R> {
    /// Our own members, until the first other one.
    Members(Members<R>),
    Others(Box<MultiGzDecoder<BufReader<Rest<R>>>>),
    /// Failed, or changing its state.
    Ended,
}

/// A header that was already read, and the rest.
type Rest<R> = io::Chain<Cursor<Vec<u8>>, R>;

#[derive(Debug)]
struct Members<R> {
    input: R,
    /// Started when more than the first member is needed.
    pool: Option<InflaterPool>,
    threads: usize,
    content: Cursor<Vec<u8>>,
    /// Bytes after our last member; empty at the end.
    behind: Option<Vec<u8>>,
}

impl<R: Read> GzipDecoder<R> {
    /// Reads the first bytes of `input` at once.
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

    /// Returns the next member's content, or nothing after our last one. Decodes ahead, but a single remaining member
    /// here: threads would start for it alone.
    fn next_content(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut ahead = Vec::new();
        while self.behind.is_none() && self.pending() + ahead.len() < 2 * self.threads {
            let header = read_header(&mut self.input)?;
            ahead.extend(self.member(header)?);
        }
        if let ([only], None, Some(_)) = (&ahead[..], &self.pool, &self.behind) {
            return decode(&mut Inflater::default(), only).map(Some);
        }
        let threads = self.threads;
        for member in ahead {
            let pool = self.pool.get_or_insert_with(|| {
                OrderedWorkers::new(threads, || {
                    let mut inflater = Inflater::default();
                    move |member: Vec<u8>| decode(&mut inflater, &member)
                })
            });
            pool.submit(member);
        }
        if self.pending() == 0 {
            return Ok(None);
        }
        let content = self.pool.as_mut().and_then(OrderedWorkers::next_result);
        content.ok_or_else(|| io::Error::other("a decompressing thread failed"))?.map(Some)
    }

    fn pending(&self) -> usize {
        self.pool.as_ref().map_or(0, OrderedWorkers::pending)
    }

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

fn read_header(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut header = Vec::with_capacity(HEADER);
    input.take(HEADER as u64).read_to_end(&mut header)?;
    Ok(header)
}

/// Limits the content to that of one of our members.
fn decode(inflater: &mut Inflater, member: &[u8]) -> io::Result<Vec<u8>> {
    let damaged = || {
        io::Error::new(io::ErrorKind::InvalidData, "corrupt gzip stream does not have a matching checksum")
    };
    let (deflated, expected) =
        member.get(HEADER..).and_then(|rest| rest.split_last_chunk::<TRAILER>()).ok_or_else(damaged)?;
    let mut content = Vec::new();
    inflater.inflate(deflated, &mut content)?;
    if trailer(&content) == *expected { Ok(content) } else { Err(damaged()) }
}

type Job<T, R> = (T, SyncSender<R>);

/// Threads that return results in the order of items. The caller limits pending ones for memory ([`Self::pending`]).
struct OrderedWorkers<T, R> {
    jobs: Option<Sender<Job<T, R>>>,
    results: VecDeque<Receiver<R>>,
    threads: Vec<JoinHandle<()>>,
}

impl<T: Send + 'static, R: Send + 'static> OrderedWorkers<T, R> {
    fn new<W: FnMut(T) -> R + Send + 'static>(threads: usize, worker: impl Fn() -> W) -> Self {
        let (jobs, waiting) = channel::<Job<T, R>>();
        let waiting = Arc::new(Mutex::new(waiting));
        let start = |_| {
            let (waiting, work) = (waiting.clone(), worker());
            std::thread::spawn(move || work_off(&waiting, work))
        };
        Self { jobs: Some(jobs), results: VecDeque::new(), threads: (0..threads.max(1)).map(start).collect() }
    }

    fn pending(&self) -> usize {
        self.results.len()
    }

    fn submit(&mut self, item: T) {
        let (result, receiver) = sync_channel(1);
        self.results.push_back(receiver);
        if let Some(jobs) = &self.jobs {
            // If all threads are gone, the missing result shows it.
            let _ = jobs.send((item, result));
        }
    }

    /// `None` without an item, or if its thread failed.
    fn next_result(&mut self) -> Option<R> {
        self.results.pop_front()?.recv().ok()
    }
}

fn work_off<T, R>(waiting: &Mutex<Receiver<Job<T, R>>>, mut work: impl FnMut(T) -> R) {
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((item, to)) = job else { return };
        // After giving up, nobody waits for the result.
        let _ = to.send(work(item));
    }
}

impl<T, R> Drop for OrderedWorkers<T, R> {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A failed thread gave no result, which its owner has noticed.
            let _ = thread.join();
        }
    }
}

impl<T, R> fmt::Debug for OrderedWorkers<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrderedWorkers")
            .field("threads", &self.threads.len())
            .field("pending", &self.results.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod in_order_tests {
    use super::*;

    #[test]
    fn answers_come_in_the_order_of_the_questions_whichever_thread_is_faster() {
        let mut pool = OrderedWorkers::new(3, || {
            |number: u64| {
                std::thread::sleep(std::time::Duration::from_millis((7 - number) % 5));
                number * 2
            }
        });
        (0..7).for_each(|number| pool.submit(number));
        assert_eq!(pool.pending(), 7);
        let results: Vec<u64> = std::iter::from_fn(|| pool.next_result()).collect();
        assert_eq!(results, [0, 2, 4, 6, 8, 10, 12]);
    }

    #[test]
    fn a_thread_that_fails_leaves_its_answer_out() {
        let mut pool = OrderedWorkers::new(1, || |number: u32| 1 / number.checked_sub(1).unwrap());
        pool.submit(0);
        assert_eq!(pool.next_result(), None);
    }
}
