//! Directories of tests in memory.

use std::env;
use std::sync::LazyLock;

use rustix::fs::StatVfsMountFlags;
use tempfile::TempDir;

/// Makes a directory for one test, which is removed when the value is dropped. It is in memory if the machine has room
/// there and lets programs run, since a test on a disk waits for it. If TMPDIR is set, it is in that directory.
pub fn directory() -> TempDir {
    static IN_MEMORY: LazyLock<bool> = LazyLock::new(has_memory);
    if *IN_MEMORY { tempfile::tempdir_in(MEMORY).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// Like [`directory`], but on a disk.
pub fn directory_on_disk() -> TempDir {
    if env::temp_dir().starts_with("/dev") {
        tempfile::tempdir_in("/var/tmp").unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

const MEMORY: &str = "/dev/shm";

/// Returns true if tests should and can run in memory.
fn has_memory() -> bool {
    /// In bytes. All tests that run at once need less.
    const ROOM: u64 = 1 << 30;
    let is_told_otherwise = env::var_os("TMPDIR").is_some();
    let Ok(found) = rustix::fs::statvfs(MEMORY) else { return false };
    let runs_programs = !found.f_flag.contains(StatVfsMountFlags::NOEXEC);
    !is_told_otherwise && runs_programs && found.f_bavail * found.f_frsize >= ROOM
}
