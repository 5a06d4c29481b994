//! Writing gzip with several cores, each member decoded again before it counts.

use std::io::{self, Write};

use flate2::{Decompress, FlushDecompress, Status};

use super::deflating::Deflating;
use super::in_order::InOrder;
use super::{CHUNK, HEAD, HEADER, LONGEST, trailer};

/// A member, and the content that it was made of: decoded again it is that content, byte by byte.
#[derive(Debug)]
pub struct Verified {
    /// What goes into the file.
    pub member: Vec<u8>,
    /// What it decodes to.
    pub content: Vec<u8>,
}

/// Takes the members of a file in their order.
pub trait Output {
    /// Takes the next one.
    fn take(&mut self, verified: Verified) -> io::Result<()>;
}

impl<F: FnMut(Verified) -> io::Result<()>> Output for F {
    fn take(&mut self, verified: Verified) -> io::Result<()> {
        self(verified)
    }
}

/// Compresses what is written to it, and hands the members to `out` in their order.
#[derive(Debug)]
pub struct Encoder<O> {
    out: O,
    chunk: Vec<u8>,
    /// Started when there is more than one member.
    pool: Option<InOrder<Vec<u8>, io::Result<Verified>>>,
    threads: usize,
    is_empty: bool,
}

impl<O: Output> Encoder<O> {
    /// Nothing is written yet. Up to `threads` threads compress; each has up to two chunks under way.
    pub fn new(out: O, threads: usize) -> Self {
        Self { out, chunk: Vec::with_capacity(CHUNK), pool: None, threads: threads.max(1), is_empty: true }
    }

    /// Ends the file, and gives back what the members were handed to.
    pub fn finish(mut self) -> io::Result<O> {
        let last = std::mem::take(&mut self.chunk);
        if !last.is_empty() || self.is_empty {
            match &mut self.pool {
                Some(pool) => pool.ask(last),
                None => self.out.take(Worker::new().encode(last)?)?,
            }
        }
        while self.pool.as_ref().is_some_and(|pool| pool.under_way() > 0) {
            self.take()?;
        }
        Ok(self.out)
    }

    /// Hands a full chunk over.
    fn full(&mut self) -> io::Result<()> {
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        let threads = self.threads;
        let pool = self.pool.get_or_insert_with(|| {
            InOrder::new(threads, || {
                let mut worker = Worker::new();
                move |chunk| worker.encode(chunk)
            })
        });
        pool.ask(chunk);
        self.is_empty = false;
        if pool.under_way() > 2 * threads { self.take() } else { Ok(()) }
    }

    fn take(&mut self) -> io::Result<()> {
        let answer = self.pool.as_mut().and_then(InOrder::answer);
        self.out.take(answer.ok_or_else(|| io::Error::other("a compressing thread failed"))??)
    }
}

impl<O: Output> Write for Encoder<O> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() == CHUNK {
            self.full()?;
        }
        let count = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Compresses one chunk after another.
struct Worker {
    deflating: Deflating,
    inflate: Decompress,
    again: Vec<u8>,
}

impl Worker {
    fn new() -> Self {
        Self {
            deflating: Deflating::new(),
            inflate: Decompress::new(false),
            again: Vec::with_capacity(CHUNK + 1),
        }
    }

    fn encode(&mut self, content: Vec<u8>) -> io::Result<Verified> {
        let mut member = Vec::with_capacity(LONGEST);
        member.extend_from_slice(&HEAD);
        member.extend_from_slice(&[0; HEADER - HEAD.len()]);
        self.deflating.deflate(&content, &mut member)?;
        self.must_decode_to(&content, member.get(HEADER..).unwrap_or_default())?;
        member.extend_from_slice(&trailer(&content));
        let size = u32::try_from(member.len()).map_err(io::Error::other)?;
        member.splice(HEAD.len()..HEADER, size.to_le_bytes());
        Ok(Verified { member, content })
    }

    /// Proves the encoder: what it made is decoded, and compared with what it was made of.
    fn must_decode_to(&mut self, content: &[u8], deflated: &[u8]) -> io::Result<()> {
        self.inflate.reset(false);
        self.again.clear();
        let status = self.inflate.decompress_vec(deflated, &mut self.again, FlushDecompress::Finish)?;
        if status == Status::StreamEnd && self.again == content {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "other bytes came back than were compressed"))
        }
    }
}
