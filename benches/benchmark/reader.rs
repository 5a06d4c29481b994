//! Reading a whole tree with all cores, as fast as the page cache gives it.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Result, bail};

/// Reads every file below a directory.
pub(crate) fn read_all(directory: &Path) -> Result<()> {
    let mut files = Vec::new();
    list(directory, &mut files)?;
    let next = AtomicUsize::new(0);
    let threads = thread::available_parallelism()?.get();
    thread::scope(|scope| {
        let readers: Vec<_> = (0..threads).map(|_| scope.spawn(|| read_some(&files, &next))).collect();
        for reader in readers {
            match reader.join() {
                Ok(result) => result?,
                Err(_) => bail!("a reader ended by a panic"),
            }
        }
        Ok(())
    })
}

fn read_some(files: &[PathBuf], next: &AtomicUsize) -> Result<()> {
    let mut buffer = vec![0; 1 << 17];
    while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
        let mut file = File::open(path)?;
        while file.read(&mut buffer)? > 0 {}
    }
    Ok(())
}

/// The regular files below a directory.
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
