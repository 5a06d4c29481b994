//! A reader that looks at the newest set again and again: it is always complete.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use patchadm_inputs::sha256::Sha256;
use patchadm_inputs::sign::sha256_text;

use super::names_below;

/// Time between readings, in which the directory can be restored.
const PAUSE: Duration = Duration::from_millis(1);

/// A thread that reads the newest set.
pub(super) struct SetReader {
    is_over: Arc<AtomicBool>,
    reader: Option<JoinHandle<u64>>,
}

impl SetReader {
    /// Starts to read the set behind a link. Each reading holds `whole`.
    pub(super) fn start(current: &Path, whole: Arc<Mutex<()>>) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (ends, current) = (is_over.clone(), current.to_owned());
        let reader = thread::spawn(move || {
            let mut readings = 0;
            while !ends.load(Relaxed) {
                let alone = whole.lock().unwrap();
                readings += u64::from(read(&current));
                drop(alone);
                thread::sleep(PAUSE);
            }
            readings
        });
        Self { is_over, reader: Some(reader) }
    }

    /// Stops the thread; returns the number of complete sets that it has read.
    pub(super) fn end(mut self) -> u64 {
        self.is_over.store(true, Relaxed);
        self.reader.take().unwrap().join().unwrap()
    }
}

impl Drop for SetReader {
    fn drop(&mut self) {
        // Also if the accompanied work has failed.
        self.is_over.store(true, Relaxed);
        self.reader.take().map(JoinHandle::join);
    }
}

/// Reads the newest set; false if it was replaced meanwhile.
fn read(current: &Path) -> bool {
    let set = File::open(current).unwrap();
    let inside = PathBuf::from(format!("/proc/self/fd/{}", set.as_raw_fd()));
    let is_newest = || fs::metadata(current).is_ok_and(|seen| seen.ino() == set.metadata().unwrap().ino());
    match assert_whole_set(&inside) {
        Ok(()) => true,
        Err(wrong) => {
            assert!(!is_newest(), "the newest set: {wrong}");
            false
        }
    }
}

/// Compares the manifest of a set with its files.
pub(super) fn assert_whole_set(set: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", set.display());
    let manifest = fs::read_to_string(set.join("MANIFEST")).map_err(failed)?;
    let mut named = BTreeSet::from(["MANIFEST".to_owned()]);
    for line in manifest.lines().filter_map(|line| line.strip_prefix("SHA256 (")) {
        let (path, sum) = line.split_once(") = ").ok_or_else(|| format!("{}: {line}", set.display()))?;
        let mut digest = Sha256::new();
        digest.update(&fs::read(set.join(path)).map_err(failed)?);
        if sha256_text(&digest.finalize()) != sum {
            return Err(format!("{}: {path} is not as the manifest says", set.display()));
        }
        named.insert(path.to_owned());
    }
    let there = names_below(&set.join(".")).map_err(failed)?;
    let there: BTreeSet<String> = there.into_iter().filter(|name| set.join(name).is_file()).collect();
    if there == named { Ok(()) } else { Err(format!("{}: {there:?}, not {named:?}", set.display())) }
}
