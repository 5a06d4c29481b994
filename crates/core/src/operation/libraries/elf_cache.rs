//! The cache of the facts about the files of a root, `elf.cache` (patchadm-elf-cache(5)), on the disk.
//!
//! It is trusted only if the caller or the superuser owns it and no other user may write it. A run that holds the lock
//! writes it without waiting for the disk: what is lost is read again.

use patchadm_libraries::FactsCache;
use patchadm_libraries::cache::LARGEST;
use patchadm_rootfs::{Dir, FileType, Root};
use patchadm_svr4::package::Mode;
use patchadm_svr4::places;

/// The name of the file in the directory of the program's own records.
const CACHE: &[u8] = b"elf.cache";

/// The program in the names of unfinished files.
const PROGRAM: &str = "elf-cache";

fn directory(root: &Root) -> Option<Dir> {
    let physical = root.resolver().locate_dir(&places::own_directory()).ok()?;
    root.dir_if_there(&physical).ok()?
}

/// Reads the cache of a root. A defective cache counts as empty.
pub(in crate::operation) fn read(root: &Root) -> FactsCache {
    directory(root).map(|dir| read_facts(&dir, CACHE)).unwrap_or_default()
}

/// Reads facts about files from a file in this form. A file that others may write, or a defective one, counts as empty.
pub fn read_facts(dir: &Dir, name: &[u8]) -> FactsCache {
    let read = || {
        let status = dir.look(name).ok()??;
        let is_own = status.uid == 0 || status.uid == rustix::process::geteuid().as_raw();
        let is_private = status.mode.bits() & 0o022 == 0;
        if status.file_type != FileType::Regular || !is_own || !is_private {
            return None;
        }
        Some(FactsCache::parse(&dir.read_regular(name, LARGEST).ok()??))
    };
    read().unwrap_or_default()
}

/// Writes the cache of a root.
pub(super) fn write(root: &Root, cache: &FactsCache) {
    if let Some(dir) = directory(root) {
        write_facts(&dir, CACHE, cache);
    }
}

/// Writes facts about files to a file in this form. A failure to write it costs only time.
pub fn write_facts(dir: &Dir, name: &[u8], facts: &FactsCache) {
    // A killed run may have left these.
    let _ = dir.remove_leftovers(PROGRAM);
    let _ = dir.replace_cache(PROGRAM, name, &facts.write(), Mode::of(0o600));
}
