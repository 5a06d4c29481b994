//! Reads many files with all cores: a tree at the speed of the page cache, and documents at the speed of the parser.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context as _, Result, bail};
use patchadm_rootfs::Digesting;
use serde::de::IgnoredAny;

use crate::floor;

/// Work on a file. The buffer is scratch space.
type Work = fn(&Path, &mut Vec<u8>) -> Result<()>;

/// Reads every file below a directory.
pub(crate) fn read_all(directory: &Path) -> Result<()> {
    with_all_cores(&files(directory)?, read)
}

/// Parses the JSON of every file below a directory, and keeps nothing.
pub(crate) fn parse_all(directory: &Path) -> Result<()> {
    with_all_cores(&files(directory)?, parse)
}

/// Reads and digests the files of some changes, both below `source` and below `root`.
pub(crate) fn digest_all(changes: &Path, source: &Path, root: &Path) -> Result<()> {
    let changes = floor::read_changes(changes)?;
    let both = changes.iter().flat_map(|(_, path)| [source.join(path), root.join(path)]);
    with_all_cores(&both.filter(|path| path.is_file()).collect::<Vec<_>>(), digest)
}

/// Reads four bytes of every file below a directory, on one core.
pub(crate) fn read_heads(directory: &Path) -> Result<()> {
    let mut head = [0; 4];
    files(directory)?.iter().try_for_each(|path| {
        // Shorter files are fine.
        let _ = File::open(path)?.read(&mut head)?;
        Ok(())
    })
}

/// Reads the status of every object below a directory, on one core.
pub(crate) fn stat_all(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.symlink_metadata()?.is_dir() {
            stat_all(&path)?;
        }
    }
    Ok(())
}

fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    list(directory, &mut files)?;
    Ok(files)
}

fn with_all_cores(files: &[PathBuf], work: Work) -> Result<()> {
    let next = AtomicUsize::new(0);
    let threads = thread::available_parallelism()?.get();
    thread::scope(|scope| {
        let readers: Vec<_> = (0..threads).map(|_| scope.spawn(|| some(files, &next, work))).collect();
        for reader in readers {
            match reader.join() {
                Ok(result) => result?,
                Err(_) => bail!("a reader ended by a panic"),
            }
        }
        Ok(())
    })
}

fn some(files: &[PathBuf], next: &AtomicUsize, work: Work) -> Result<()> {
    let mut buffer = Vec::new();
    while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
        work(path, &mut buffer)?;
    }
    Ok(())
}

fn read(path: &Path, buffer: &mut Vec<u8>) -> Result<()> {
    buffer.resize(1 << 17, 0);
    let mut file = File::open(path)?;
    while file.read(buffer)? > 0 {}
    Ok(())
}

fn digest(path: &Path, buffer: &mut Vec<u8>) -> Result<()> {
    buffer.resize(1 << 17, 0);
    let (mut file, mut digest) = (File::open(path)?, Digesting::default());
    loop {
        match file.read(buffer)? {
            0 => break,
            length => digest.update(&buffer[..length]),
        }
    }
    digest.finish();
    Ok(())
}

fn parse(path: &Path, buffer: &mut Vec<u8>) -> Result<()> {
    buffer.clear();
    File::open(path)?.read_to_end(buffer)?;
    let _: IgnoredAny = serde_json::from_slice(buffer).with_context(|| format!("{}", path.display()))?;
    Ok(())
}

/// Lists the regular files below a directory.
pub(crate) fn list(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            list(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}
