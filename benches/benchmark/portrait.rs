//! What a set is like: how many files of what size, how well they compress, and of what kinds they are.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::thread;

use anyhow::{Result, bail};
use flate2::{Compression, write::GzEncoder};

use crate::kinds::Kind;
use crate::table::{grouped, megabytes};

/// Figures of a set of files.
pub(crate) struct Portrait {
    files: usize,
    bytes: usize,
    /// The size of the file in the middle, in bytes.
    median: usize,
    /// `gzip -1` brings the files to this part of their size.
    pub(crate) ratio: f64,
    /// Files and bytes of each kind.
    kinds: [(usize, usize); Kind::ALL.len()],
}

/// What was found in some of the files.
#[derive(Default)]
struct Found {
    sizes: Vec<usize>,
    compressed: usize,
    kinds: [(usize, usize); Kind::ALL.len()],
}

impl Portrait {
    /// Reads these files with all cores; each core compresses its part of them as one stream.
    pub(crate) fn of(paths: &[PathBuf]) -> Result<Self> {
        let threads = thread::available_parallelism()?.get();
        let part = paths.len().div_ceil(threads).max(1);
        let mut found = Found::default();
        thread::scope(|scope| {
            let workers: Vec<_> = paths.chunks(part).map(|paths| scope.spawn(|| Found::of(paths))).collect();
            for worker in workers {
                match worker.join() {
                    Ok(part) => found.add(part?),
                    Err(_) => bail!("a reader ended by a panic"),
                }
            }
            Ok(())
        })?;
        found.sizes.sort_unstable();
        let bytes: usize = found.sizes.iter().sum();
        Ok(Self {
            files: found.sizes.len(),
            bytes,
            median: found.sizes.get(found.sizes.len() / 2).copied().unwrap_or_default(),
            ratio: found.compressed as f64 / bytes.max(1) as f64,
            kinds: found.kinds,
        })
    }

    /// Cells of a table: files, bytes, the median size, the ratio, and the parts of each kind, by bytes and by files.
    pub(crate) fn row(&self) -> Vec<String> {
        let part = |one: usize, all: usize| one as f64 / all.max(1) as f64 * 100.0;
        let of_kind = |kind: Kind| {
            let (files, bytes) = self.kinds[kind as usize];
            format!("{:.0} %, {:.0} %", part(bytes, self.bytes), part(files, self.files))
        };
        let figures = [
            grouped(self.files),
            megabytes(self.bytes as f64),
            format!("{:.1} kB", self.median as f64 / 1e3),
            format!("{:.2}", self.ratio),
        ];
        figures.into_iter().chain(Kind::ALL.map(of_kind)).collect()
    }
}

impl Found {
    fn of(paths: &[PathBuf]) -> Result<Self> {
        let mut found = Self::default();
        let mut encoder = GzEncoder::new(Counter(0), Compression::new(1));
        for path in paths {
            let content = fs::read(path)?;
            encoder.write_all(&content)?;
            found.sizes.push(content.len());
            let (files, bytes) = &mut found.kinds[Kind::of(&content) as usize];
            *files += 1;
            *bytes += content.len();
        }
        found.compressed = encoder.finish()?.0;
        Ok(found)
    }

    fn add(&mut self, other: Self) {
        self.sizes.extend(other.sizes);
        self.compressed += other.compressed;
        for (mine, its) in self.kinds.iter_mut().zip(other.kinds) {
            mine.0 += its.0;
            mine.1 += its.1;
        }
    }
}

/// Counts what is written to it.
struct Counter(usize);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
