//! The switch of a promotion as another process sees it: no inode records the time of an exchange.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Result, bail};

use super::ground::Ground;

/// The number of changed files to watch. With more, each would be polled too rarely.
const WATCHED: usize = 16;

/// Promotes, and returns the seconds between the first and the last change that another process sees. Undoes the
/// promotion afterwards.
pub(crate) fn seen(ground: &Ground<'_>, exchange: bool) -> Result<f64> {
    let replaced = ground.inputs().workload.replaced.iter();
    let files = replaced.map(|&number| ground.root().join(&ground.inputs().workload.files[number].path));
    let all: Vec<PathBuf> = files.collect();
    let step = all.len().div_ceil(WATCHED).max(1);
    // The first and the last changed file are among them.
    let watched: Vec<&PathBuf> = all.iter().step_by(step).chain(all.last()).collect();
    let options = if exchange { "--exchange opt/acme" } else { "" };
    let line = ground.promotion(&format!("--undo-format none {options}"));
    let is_over = AtomicBool::new(false);
    let window = thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(&watched, &is_over));
        let done = line.run();
        is_over.store(true, Ordering::Relaxed);
        done?;
        match watcher.join() {
            Ok(window) => window,
            Err(_) => bail!("the watcher ended by a panic"),
        }
    })?;
    ground.back_out(options)?;
    Ok(window)
}

/// Watches files until all of them have another inode. Returns the seconds from the first to the last change.
fn watch(files: &[&PathBuf], is_over: &AtomicBool) -> Result<f64> {
    let mut waiting: Vec<(&PathBuf, u64)> = Vec::new();
    for file in files {
        waiting.push((file, fs::symlink_metadata(file)?.ino()));
    }
    let (mut first, mut last) = (None, None);
    while !waiting.is_empty() {
        let was_over = is_over.load(Ordering::Relaxed);
        let before = waiting.len();
        waiting.retain(|(file, inode)| fs::symlink_metadata(file).is_ok_and(|seen| seen.ino() == *inode));
        if waiting.len() < before {
            let now = Instant::now();
            first.get_or_insert(now);
            last = Some(now);
        } else if was_over {
            bail!("{} files never changed", waiting.len());
        }
    }
    match (first, last) {
        (Some(first), Some(last)) => Ok((last - first).as_secs_f64()),
        _ => bail!("no file was looked at"),
    }
}
