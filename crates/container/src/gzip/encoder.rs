//! Writes gzip with several cores, and decodes each member again before it counts.

use std::fmt;
use std::io::{self, Write};

use super::codec::{Deflater, Inflater};
use super::in_order::InOrder;
use super::{CHUNK, HEAD, HEADER, trailer};

/// The number of chunks for each thread that may be in progress, so that the threads have work while the writer waits
/// for a disk.
const AHEAD: usize = 5;

/// A member and its content: the decoded member is that content, byte by byte.
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

/// Compresses what is written to it, and hands the members to `out` in their order. A flush ends the member, so that
/// the bytes written before it can be read without decoding those that follow.
#[derive(Debug)]
pub struct GzipEncoder<O> {
    out: O,
    chunk: Vec<u8>,
    /// Whether a member has been started.
    is_begun: bool,
    /// The worker that compresses until threads are started.
    worker: Box<Worker>,
    /// The threads, started when there is more than one full member.
    pool: Option<InOrder<Vec<u8>, io::Result<VerifiedMember>>>,
    threads: usize,
}

impl<O: MemberOutput> GzipEncoder<O> {
    /// Begins a file; nothing is written yet. Up to `threads` threads compress, with a few chunks in progress for each.
    pub fn new(out: O, threads: usize) -> Self {
        let chunk = Vec::with_capacity(CHUNK);
        Self { out, chunk, is_begun: false, worker: Box::default(), pool: None, threads: threads.max(1) }
    }

    /// Ends the file, and returns the receiver of the members.
    pub fn finish(mut self) -> io::Result<O> {
        if !self.is_begun || !self.chunk.is_empty() {
            self.end_member()?;
        }
        while self.pool.as_ref().is_some_and(|pool| pool.under_way() > 0) {
            self.take()?;
        }
        Ok(self.out)
    }

    /// Ends the current member. If no thread has been started yet, it is compressed in this thread at once.
    fn end_member(&mut self) -> io::Result<()> {
        let chunk = std::mem::take(&mut self.chunk);
        self.is_begun = true;
        match &mut self.pool {
            Some(pool) => {
                pool.ask(chunk);
                Ok(())
            }
            None => self.out.take(self.worker.encode(chunk)?),
        }
    }

    /// Hands a full chunk over.
    fn full(&mut self) -> io::Result<()> {
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        self.is_begun = true;
        let threads = self.threads;
        let pool = self.pool.get_or_insert_with(|| {
            InOrder::new(threads, || {
                let mut worker = Worker::default();
                move |chunk| worker.encode(chunk)
            })
        });
        pool.ask(chunk);
        if pool.under_way() > AHEAD * threads { self.take() } else { Ok(()) }
    }

    fn take(&mut self) -> io::Result<()> {
        let answer = self.pool.as_mut().and_then(InOrder::answer);
        self.out.take(answer.ok_or_else(|| io::Error::other("a compressing thread failed"))??)
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

/// Compresses one chunk after another.
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
        self.must_decode_to(&content, member.get(HEADER..).unwrap_or_default())?;
        member.extend_from_slice(&trailer(&content));
        let size = u32::try_from(member.len()).map_err(io::Error::other)?;
        member.splice(HEAD.len()..HEADER, size.to_le_bytes());
        Ok(VerifiedMember { member, content })
    }

    /// Proves the encoder: decodes its output and compares it with the content.
    fn must_decode_to(&mut self, content: &[u8], deflated: &[u8]) -> io::Result<()> {
        self.inflater.inflate(deflated, &mut self.again)?;
        if self.again == content {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "other bytes came back than were compressed"))
        }
    }
}
