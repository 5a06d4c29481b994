//! The data of most measurements: a tree of files, and a patch that changes it.
//!
//! A file is generated from a number ([`slices`](crate::slices)), or is a real one. Sizes of generated files are
//! log-normal. A new version of a generated file has up to a tenth of its blocks rewritten, at least one. Everything
//! generated or picked follows from one fixed seed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::random::Random;
use crate::slices::{BLOCK, Material};

/// The modification time of the old files, and of the new ones, in seconds since 1970.
pub(crate) const OLD: u64 = 1_700_000_000;
pub(crate) const NEW: u64 = 1_710_000_000;

/// The size of a workload.
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

/// A version of the content of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Old,
    New,
}

/// A file of the tree.
#[derive(Clone)]
pub(crate) struct File {
    /// Its path, relative to the root.
    pub(crate) path: String,
    /// Its size in bytes, old and new.
    sizes: [usize; 2],
    source: Source,
}

/// The source of the content of a file.
#[derive(Clone)]
enum Source {
    /// Slices of a material that follow from a key.
    Made(Material, u64),
    /// A real file in two releases, or in one of them.
    Released([Option<PathBuf>; 2]),
}

/// A file of a release.
pub(crate) struct ReleasedFile {
    pub(crate) path: PathBuf,
    pub(crate) size: usize,
}

impl File {
    /// A file of object code (two of three) or text by its number; equal numbers and sizes have equal content.
    pub(crate) fn new(path: String, size: usize, key: u64) -> Self {
        let is_text = Random::seeded(&[9, key]).below(3) == 0;
        let material = if is_text { Material::Text } else { Material::ObjectCode };
        Self { path, sizes: [size; 2], source: Source::Made(material, key) }
    }

    /// A file of two releases, or of one of them.
    pub(crate) fn released(path: String, versions: [Option<ReleasedFile>; 2]) -> Self {
        let sizes = versions.each_ref().map(|version| version.as_ref().map_or(0, |real| real.size));
        Self { path, sizes, source: Source::Released(versions.map(|version| version.map(|real| real.path))) }
    }

    pub(crate) fn content(&self, version: Version) -> Result<Vec<u8>> {
        let size = self.size(version);
        match &self.source {
            Source::Made(material, key) => Ok(made(*material, *key, size, version)),
            Source::Released(versions) => {
                let path = versions[version as usize].as_deref();
                read(path.with_context(|| format!("{} is not in this release", self.path))?, size)
            }
        }
    }

    /// Its size in bytes.
    pub(crate) fn size(&self, version: Version) -> usize {
        self.sizes[version as usize]
    }
}

/// Generates the content of a file.
fn made(material: Material, key: u64, size: usize, version: Version) -> Vec<u8> {
    let mut content = vec![0; size];
    let rewritten = match version {
        Version::Old => BTreeSet::new(),
        Version::New => rewritten(key, size),
    };
    for (number, block) in content.chunks_mut(BLOCK).enumerate() {
        material.fill(block, key, number as u64, rewritten.contains(&number).into());
    }
    content
}

/// Returns the blocks of a file of this size in which its new version differs. A tenth of their number, rounded down
/// and at least one, are drawn with replacement: of many blocks about 9.5 % differ.
fn rewritten(key: u64, size: usize) -> BTreeSet<usize> {
    let blocks = size.div_ceil(BLOCK);
    let mut random = Random::seeded(&[1, key]);
    (0..(blocks / 10).max(1)).map(|_| random.below(blocks.max(1))).collect()
}

/// Reads a real file, which must still be as large as when it was picked.
fn read(path: &Path, size: usize) -> Result<Vec<u8>> {
    let content = fs::read(path).with_context(|| format!("{}", path.display()))?;
    ensure!(content.len() == size, "{} was changed while it was measured with", path.display());
    Ok(content)
}

/// A tree and a patch to it.
pub(crate) struct Workload {
    /// The files of the base.
    pub(crate) files: Vec<File>,
    /// Indices of the files that the patch replaces, and deletes, ascending.
    pub(crate) replaced: Vec<usize>,
    pub(crate) deleted: Vec<usize>,
    /// Files that the patch adds.
    pub(crate) added: Vec<File>,
}

impl Workload {
    /// A workload of made files. The material of each follows from its number.
    pub(crate) fn made(scale: Scale) -> Self {
        let named = |(number, size): (usize, &usize)| {
            File::new(format!("opt/acme/d{:03}/f{number:05}", number / 100), *size, number as u64)
        };
        let files = sizes(scale.files, scale.mean).iter().enumerate().map(named).collect();
        let added = (0..scale.added)
            .map(|number| {
                File::new(format!("opt/acme/new/n{number:03}"), scale.mean, 1_000_000 + number as u64)
            })
            .collect();
        Self::of(files, added, scale)
    }

    /// Returns the workload of these files. The scale says how many of them are replaced and deleted.
    fn of(files: Vec<File>, added: Vec<File>, scale: Scale) -> Self {
        let (replaced, rest) = pick(&files, scale.replaced);
        let step = (rest.len() / scale.deleted.max(1)).max(1);
        let deleted = rest.into_iter().step_by(step).take(scale.deleted).collect();
        Self { files, replaced, deleted, added }
    }

    /// Returns the files of the tree as the patch finds it, or leaves it, each with its version.
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

    /// Returns the files that the patch delivers.
    pub(crate) fn delivered(&self) -> impl Iterator<Item = &File> {
        self.replaced.iter().map(|&number| &self.files[number]).chain(&self.added)
    }

    /// Returns the files that the patch deletes.
    pub(crate) fn gone(&self) -> impl Iterator<Item = &File> {
        self.deleted.iter().map(|&number| &self.files[number])
    }
}

/// Returns log-normal sizes (σ 1.3) with this mean, of at least one byte.
fn sizes(count: usize, mean: usize) -> Vec<usize> {
    let mut random = Random::seeded(&[3]);
    let drawn: Vec<f64> = (0..count).map(|_| (1.3 * random.normal()).exp()).collect();
    let unit = (count * mean) as f64 / drawn.iter().sum::<f64>();
    drawn.iter().map(|size| (size * unit).round().max(1.0) as usize).collect()
}

/// Picks `count` files whose sizes are spread like those of all: by size, one of each stretch. Returns the indices of
/// the picked and of the other files, each ascending.
fn pick(files: &[File], count: usize) -> (Vec<usize>, Vec<usize>) {
    let mut random = Random::seeded(&[4]);
    let mut by_size: Vec<usize> = (0..files.len()).collect();
    by_size.sort_by_key(|&number| files[number].size(Version::Old));
    let count = count.min(files.len());
    let picked: BTreeSet<usize> = (0..count)
        .map(|number| &by_size[number * files.len() / count..(number + 1) * files.len() / count])
        .map(|stretch| stretch[random.below(stretch.len())])
        .collect();
    (0..files.len()).partition(|number| picked.contains(number))
}
