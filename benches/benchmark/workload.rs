//! The data that everything is measured with: a tree of files, and what a patch changes of it.
//!
//! Sizes are log-normal. Half of what a file holds is noise and half is text, in blocks of 4 KiB, so that `gzip -1`
//! brings it to 0.75–0.85 of its size, as it does with programs and their resources. A new version of a file has a
//! tenth of its blocks rewritten, at least one. All of it follows from one fixed seed.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::LazyLock;

use anyhow::{Result, ensure};

use crate::random::Random;

/// The unit in which a file changes, in bytes.
const BLOCK: usize = 4096;

/// How many of 100 blocks are noise.
const NOISE: usize = 58;

/// The modification time of the old files, and of the new ones, in seconds since 1970.
pub(crate) const OLD: u64 = 1_700_000_000;
pub(crate) const NEW: u64 = 1_710_000_000;

/// How large a workload is.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    /// Files of the base.
    pub(crate) files: usize,
    /// Their mean size in bytes.
    pub(crate) mean: usize,
    /// How many of them the patch replaces, adds and deletes.
    pub(crate) replaced: usize,
    pub(crate) added: usize,
    pub(crate) deleted: usize,
}

impl Scale {
    /// 20,000 files of 400 MB; a patch that replaces 2,000, adds 50 and deletes 20.
    pub(crate) const FULL: Self =
        Self { files: 20_000, mean: 20_000, replaced: 2_000, added: 50, deleted: 20 };

    /// Just enough to see that everything works.
    pub(crate) const SMALL: Self = Self { files: 100, mean: 6_000, replaced: 10, added: 3, deleted: 1 };
}

/// A file of the tree.
#[derive(Clone)]
pub(crate) struct File {
    /// Its path, relative to the root.
    pub(crate) path: String,
    size: usize,
    key: u64,
}

/// Which content of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Old,
    New,
}

impl File {
    /// A file by its number; equal numbers and sizes have equal content.
    pub(crate) fn new(path: String, size: usize, key: u64) -> Self {
        Self { path, size, key }
    }

    /// Its content.
    pub(crate) fn content(&self, version: Version) -> Vec<u8> {
        let blocks = self.size.div_ceil(BLOCK);
        let mut random = Random::seeded(&[1, self.key]);
        let rewritten: BTreeSet<usize> = match version {
            Version::Old => BTreeSet::new(),
            Version::New => (0..(blocks / 10).max(1)).map(|_| random.below(blocks.max(1))).collect(),
        };
        let mut content = vec![0; self.size];
        for (number, block) in content.chunks_mut(BLOCK).enumerate() {
            let generation = u64::from(rewritten.contains(&number));
            fill(block, &mut Random::seeded(&[2, self.key, number as u64, generation]));
        }
        content
    }

    /// Its size in bytes, in both versions.
    pub(crate) fn size(&self) -> usize {
        self.size
    }
}

/// A tree and a patch to it.
pub(crate) struct Workload {
    /// The files of the base.
    pub(crate) files: Vec<File>,
    /// Indices of the files that the patch replaces, and deletes, ascending.
    pub(crate) replaced: Vec<usize>,
    pub(crate) deleted: Vec<usize>,
    /// What it adds.
    pub(crate) added: Vec<File>,
}

impl Workload {
    /// The workload of a scale.
    pub(crate) fn new(scale: Scale) -> Self {
        let sizes = sizes(scale.files, scale.mean);
        let named = |(number, size): (usize, &usize)| {
            File::new(format!("opt/acme/d{:03}/f{number:05}", number / 100), *size, number as u64)
        };
        let files: Vec<File> = sizes.iter().enumerate().map(named).collect();
        let (replaced, rest) = pick(&files, scale.replaced);
        let step = (rest.len() / scale.deleted.max(1)).max(1);
        let deleted = rest.into_iter().step_by(step).take(scale.deleted).collect();
        let added = (0..scale.added)
            .map(|number| {
                File::new(format!("opt/acme/new/n{number:03}"), scale.mean, 1_000_000 + number as u64)
            })
            .collect();
        Self { files, replaced, deleted, added }
    }

    /// The files of the tree as the patch finds it, or leaves it, each with its version.
    pub(crate) fn tree(&self, version: Version) -> Vec<(&File, Version)> {
        let old = self.files.iter().map(|file| (file, Version::Old));
        if version == Version::Old {
            return old.collect();
        }
        let mut new: Vec<_> = old.collect();
        for &number in &self.replaced {
            new[number].1 = Version::New;
        }
        for &number in self.deleted.iter().rev() {
            new.remove(number);
        }
        new.into_iter().chain(self.added.iter().map(|file| (file, Version::New))).collect()
    }

    /// What the patch delivers.
    pub(crate) fn delivered(&self) -> impl Iterator<Item = &File> {
        self.replaced.iter().map(|&number| &self.files[number]).chain(&self.added)
    }

    /// What the patch takes away.
    pub(crate) fn gone(&self) -> impl Iterator<Item = &File> {
        self.deleted.iter().map(|&number| &self.files[number])
    }

    /// Refuses data that `gzip -1` would bring to something else than 0.75–0.85 of its size.
    pub(crate) fn check_ratio(&self) -> Result<f64> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
        let mut size = 0;
        for file in self.files.iter().step_by(self.files.len().div_ceil(200)) {
            encoder.write_all(&file.content(Version::Old))?;
            size += file.size;
        }
        let ratio = encoder.finish()?.len() as f64 / size as f64;
        ensure!((0.75..=0.85).contains(&ratio), "gzip -1 brings the data to {ratio:.3} of its size");
        Ok(ratio)
    }
}

/// Log-normal sizes (σ 1.3) with this mean, of at least one byte.
fn sizes(count: usize, mean: usize) -> Vec<usize> {
    let mut random = Random::seeded(&[3]);
    let drawn: Vec<f64> = (0..count).map(|_| (1.3 * random.normal()).exp()).collect();
    let unit = (count * mean) as f64 / drawn.iter().sum::<f64>();
    drawn.iter().map(|size| (size * unit).round().max(1.0) as usize).collect()
}

/// Picks so many files that their sizes are spread as those of all: by size, one of each stretch. The numbers of the
/// picked and of the others, each ascending.
fn pick(files: &[File], count: usize) -> (Vec<usize>, Vec<usize>) {
    let mut random = Random::seeded(&[4]);
    let mut by_size: Vec<usize> = (0..files.len()).collect();
    by_size.sort_by_key(|&number| files[number].size);
    let stretch = files.len() / count.max(1);
    let picked: BTreeSet<usize> = by_size
        .chunks_exact(stretch)
        .take(count)
        .map(|stretch| stretch[random.below(stretch.len())])
        .collect();
    (0..files.len()).partition(|number| picked.contains(number))
}

/// Noise, or text of words that come again and again.
fn fill(block: &mut [u8], random: &mut Random) {
    if random.below(100) < NOISE {
        return random.fill(block);
    }
    let mut at = 0;
    while at < block.len() {
        let word = &WORDS[random.below(WORDS.len())];
        let length = word.len().min(block.len() - at);
        block[at..at + length].copy_from_slice(&word[..length]);
        at += length;
    }
}

/// The words of all texts, each with the blank behind it.
static WORDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let mut random = Random::seeded(&[5]);
    let mut word = || {
        let length = 3 + random.below(9);
        (0..length).map(|_| b'a' + random.below(26) as u8).chain([b' ']).collect()
    };
    (0..1024).map(|_| word()).collect()
});
