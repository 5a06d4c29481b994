//! Files that have no name, or that lie in memory: they are there as long as a process has them open or mapped, and no walk
//! through directories finds them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use patchadm_core::process::MappedFile;

/// A file: its file system, and its number there.
type FileId = (u64, u64);

/// File systems (statfs(2)) whose files are memory.
const OF_MEMORY: [i64; 3] = [0x0102_1994, 0x8584_58f6, 0x9584_58f6];

/// That of the trees of sandboxes, whose files lie in their upper layer.
const OVERLAY: i64 = 0x794c_7630;

/// How the names of mapped files in memory begin that no directory has.
const MAPPED_MEMORY: [&str; 4] = ["/memfd:", SEGMENT, "/dev/zero (deleted)", "/dev/shm/"];

/// How the names of mapped segments begin.
const SEGMENT: &str = "/SYSV";

/// The files of some processes that no directory shows, each once, with their bytes.
#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    /// Those on the disk without a name.
    disk: BTreeMap<FileId, u64>,
    /// Those in memory that are open.
    memory: BTreeMap<FileId, u64>,
}

impl OpenFiles {
    /// Looks at the files of processes. Whatever lies on a file system of these directories is on the disk.
    pub(super) fn of(processes: &[u32], written: &[PathBuf]) -> Self {
        let file_systems = written.iter().filter_map(|path| Some(fs::metadata(path).ok()?.dev())).collect();
        let mut files = Self::default();
        for process in processes {
            let process = Path::new("/proc").join(process.to_string());
            for open in fs::read_dir(process.join("fd")).into_iter().flatten().flatten() {
                files.take(&open.path(), &file_systems);
            }
            files.take_mapped(&process, &file_systems);
        }
        files
    }

    /// Returns the bytes on the disk of files without a name.
    pub(super) fn on_disk(&self) -> u64 {
        self.disk.values().sum()
    }

    /// Returns the bytes in memory of files that are open.
    pub(super) fn in_memory(&self) -> u64 {
        self.memory.values().sum()
    }

    /// Takes the file behind a link of `/proc`. One that is closed meanwhile is none.
    fn take(&mut self, link: &Path, file_systems: &BTreeSet<u64>) {
        let Ok(seen) = fs::metadata(link) else { return };
        if !seen.is_file() {
            return;
        }
        let (id, bytes) = ((seen.dev(), seen.ino()), seen.blocks().saturating_mul(512));
        let magic = || rustix::fs::statfs(link).map_or(0, |system| system.f_type);
        if file_systems.contains(&seen.dev()) {
            if seen.nlink() == 0 {
                self.disk.insert(id, bytes);
            }
        } else if OF_MEMORY.contains(&magic()) {
            self.memory.insert(id, bytes);
        } else if seen.nlink() == 0 && magic() == OVERLAY {
            self.disk.insert(id, bytes);
        }
    }

    /// Takes the files on the disk that a process has mapped and that have no name any more.
    fn take_mapped(&mut self, process: &Path, file_systems: &BTreeSet<u64>) {
        let maps = fs::read(process.join("maps")).unwrap_or_default();
        for mapped in maps.split(|&byte| byte == b'\n').filter_map(MappedFile::of_line) {
            let id = id(&mapped);
            let is_known = self.disk.contains_key(&id) || self.memory.contains_key(&id);
            if is_known || !mapped.path.ends_with(b" (deleted)") || is_memory(&mapped) {
                continue;
            }
            let link = process.join("map_files").join(mapped.range());
            if fs::metadata(&link).is_ok() {
                self.take(&link, file_systems);
            } else if file_systems.contains(&id.0) {
                // Only root may look behind it; it is at least as long as what is mapped of it.
                let longest = self.disk.entry(id).or_default();
                *longest = (*longest).max(mapped.file_end());
            }
        }
    }

    /// Returns the bytes of memory that processes have mapped of files in memory which none of them has open, as far as they are
    /// resident; what several have mapped counts once. Segments may be counted elsewhere.
    pub(super) fn mapped_memory(&self, processes: &[u32], without_segments: bool) -> u64 {
        let mut bytes = 0_u64;
        for process in processes {
            let maps = fs::read(format!("/proc/{process}/smaps")).unwrap_or_default();
            let mut counts = false;
            for line in maps.split(|&byte| byte == b'\n') {
                let field = |name: &str| {
                    let value = str::from_utf8(line).ok()?.strip_prefix(name)?.trim();
                    value.strip_suffix(" kB")?.parse::<u64>().ok()
                };
                // A mapping begins with its addresses, and the names of its fields with capitals.
                if line.first().is_some_and(|letter| letter.is_ascii_digit() || letter.is_ascii_lowercase()) {
                    let is_meant = |mapped: MappedFile<'_>| {
                        is_memory(&mapped)
                            && !self.memory.contains_key(&id(&mapped))
                            && !(without_segments && mapped.path.starts_with(SEGMENT.as_bytes()))
                    };
                    counts = MappedFile::of_line(line).is_some_and(is_meant);
                } else if let Some(share) = field("Pss:").filter(|_| counts) {
                    bytes = bytes.saturating_add(share.saturating_mul(1024));
                } else if let Some(own) = field("Anonymous:").filter(|_| counts) {
                    // A private copy is memory of the process.
                    bytes = bytes.saturating_sub(own.saturating_mul(1024));
                }
            }
        }
        bytes
    }
}

/// Returns the file system of a mapped file, and its number there.
fn id(mapped: &MappedFile<'_>) -> FileId {
    (rustix::fs::makedev(mapped.device.0, mapped.device.1), mapped.number)
}

fn is_memory(mapped: &MappedFile<'_>) -> bool {
    MAPPED_MEMORY.iter().any(|begin| mapped.path.starts_with(begin.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Child, Command, Stdio};

    use rustix::fs::MemfdFlags;

    use super::*;

    /// Starts a shell that runs the script, prints a word, and waits until [`end`].
    fn shell(script: &str, directory: &Path) -> Child {
        let mut shell = Command::new("sh")
            .args(["-c", &format!("{script}\necho done\ncat > /dev/null")])
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 5];
        std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut said).unwrap();
        shell
    }

    fn end(mut shell: Child) {
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }

    #[test]
    fn files_without_a_name_count_while_they_are_open_and_each_once() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let script =
            "exec 3> a 4> b 5> c; exec 6>&4; rm a b; for n in 3 4 5; do head -c 300000 /dev/zero >&$n; done";
        let shell = shell(script, dir.path());
        let files = OpenFiles::of(&[shell.id()], &[dir.path().to_owned()]);
        assert_eq!(files.disk.len(), 2, "{files:?}");
        assert!((600_000..700_000).contains(&files.on_disk()), "{files:?}");
        end(shell);
    }

    #[test]
    fn a_file_in_memory_counts_whether_it_is_mapped_or_only_open() {
        let file = rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
        let mut file = fs::File::from(file);
        file.write_all(&vec![1; 1 << 20]).unwrap();
        let again = file.try_clone().unwrap();
        let seen = file.metadata().unwrap();
        let own = [std::process::id()];
        let files = OpenFiles::of(&own, &[]);
        assert_eq!(files.memory.get(&(seen.dev(), seen.ino())), Some(&(1 << 20)));
        assert!(files.in_memory() >= 1 << 20);
        drop((file, again));
        assert!(!OpenFiles::of(&own, &[]).memory.contains_key(&(seen.dev(), seen.ino())));
    }
    #[test]
    fn a_mapped_file_in_memory_is_told_by_its_name() {
        let line = b"7f1000-7f3000 rw-s 00001000 00:01 1234                       /memfd:a b (deleted)";
        let mapped = MappedFile::of_line(line).unwrap();
        assert_eq!(id(&mapped), (1, 1234));
        assert!(is_memory(&mapped));
        assert!(!is_memory(&MappedFile { path: b"/usr/lib/x.so (deleted)", ..mapped }));
    }
}
