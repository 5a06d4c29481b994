//! The switch of a promotion, as another process sees it: the times of an exchange stand in no inode.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Result, bail};

use super::ground::Ground;

/// So many of the changed files are looked at, in turns; more would be looked at too seldom.
const WATCHED: usize = 16;

/// Seconds between the first and the last changed file that another process sees change. The promotion is taken back.
pub(crate) fn seen(ground: &Ground<'_>, exchange: bool) -> Result<f64> {
    let replaced = ground.inputs().workload.replaced.iter();
    let files = replaced.map(|&number| ground.root().join(&ground.inputs().workload.files[number].path));
    let all: Vec<PathBuf> = files.collect();
    let step = all.len().div_ceil(WATCHED).max(1);
    // The first and the last of them are among those that are looked at.
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

/// Looks at files until all of them have another inode; seconds from the first to the last change.
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
