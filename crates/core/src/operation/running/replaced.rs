//! The files that runs have replaced or deleted since this machine was booted: a process that was started before still uses
//! them, and is to be restarted as long as it does.
//!
//! They are remembered in `var/sadm/patchadm/replaced`, for the root of the running system alone:
//!
//! ```text
//! patchadm-replaced 1 BOOT-ID
//! PATH MAJOR:MINOR INODE SECONDS.NANOSECONDS       (of its birth; `-` where the file system keeps none)
//! ```
//!
//! A run writes it before it changes anything, so that no interruption forgets a file; one that was remembered and stayed
//! is what is at its path. After a reboot no process uses any of them, and the file begins anew. It is advice, like the
//! cache of libraries: written without waiting for the disk, and believed only if nobody else may write it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::script::boot_id;
use patchadm_changeset::plan::{Action, Plan};
use patchadm_rootfs::{Dir, FileType, Inode, ObjectStatus, Root, Timestamp};
use patchadm_svr4::package::{Mode, ObjectPath, escape, unescape};
use patchadm_svr4::places;

/// The name of the file in the directory of the program's own records.
const NAME: &[u8] = b"replaced";

/// The program in the names of unfinished files.
const PROGRAM: &str = "replaced";

/// The first words of the file.
const FORM: &str = "patchadm-replaced 1 ";

/// The largest file that is read, in bytes.
const LARGEST: u64 = 32 << 20;

/// The most files that are remembered; older ones are forgotten first.
const MOST: usize = 100_000;

/// A file that was at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::operation) struct ReplacedFile {
    /// Its physical path then.
    pub(in crate::operation) path: ObjectPath,
    /// Its file system.
    pub(in crate::operation) device: (u32, u32),
    /// Its identity there.
    pub(in crate::operation) inode: Inode,
}

/// All that are remembered, the last replaced last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::operation) struct ReplacedFiles(pub(in crate::operation) Vec<ReplacedFile>);

impl ReplacedFiles {
    /// Reads what is remembered in a root; nothing if it is not that of the running system.
    pub(in crate::operation) fn of(root: &Root) -> Self {
        let read = || {
            let boot = boot_id().ok()?;
            let dir = directory(root)?;
            let status = dir.look(NAME).ok()??;
            let is_own = status.uid == 0 || status.uid == rustix::process::geteuid().as_raw();
            let is_private = status.mode.bits() & 0o022 == 0;
            if status.file_type != FileType::Regular || !is_own || !is_private {
                return None;
            }
            Some(Self::parse(&dir.read_regular(NAME, LARGEST).ok()??, &boot))
        };
        if root.is_system() { read().unwrap_or_default() } else { Self::default() }
    }

    /// Remembers the files that a plan is about to replace or delete. Returns them where there is no place for that yet: the
    /// first run of a root makes it.
    pub(in crate::operation) fn remember(root: &Root, plan: &Plan) -> Vec<ReplacedFile> {
        if !root.is_system() {
            return Vec::new();
        }
        let goes = |action: &Action| matches!(action, Action::Replace(_) | Action::Delete);
        let going = plan.changes.iter().filter(|change| goes(&change.action));
        let going = going.filter_map(|change| {
            let physical = root.resolver().locate(&change.path).ok()?;
            ReplacedFile::at(root, physical)
        });
        Self::remember_files(root, going.collect())
    }

    /// Does the same for these files. A failure to write is no reason to stop.
    pub(in crate::operation) fn remember_files(root: &Root, going: Vec<ReplacedFile>) -> Vec<ReplacedFile> {
        let (false, Ok(boot)) = (going.is_empty(), boot_id()) else { return Vec::new() };
        let Some(dir) = directory(root) else { return going };
        let mut all = Self::of(root);
        all.add(going);
        // A killed run may have left these.
        let _ = dir.remove_leftovers(PROGRAM);
        let _ = dir.replace_cache(PROGRAM, NAME, all.write(&boot).as_bytes(), Mode::of(0o600));
        Vec::new()
    }

    fn add(&mut self, going: Vec<ReplacedFile>) {
        let new: BTreeSet<(&ObjectPath, Inode)> = going.iter().map(|file| (&file.path, file.inode)).collect();
        self.0.retain(|file| !new.contains(&(&file.path, file.inode)));
        self.0.extend(going);
        self.0.drain(..self.0.len().saturating_sub(MOST));
    }

    fn write(&self, boot: &str) -> String {
        let mut text = format!("{FORM}{boot}\n");
        for ReplacedFile { path, device: (major, minor), inode } in &self.0 {
            let path = escape(path.as_bytes());
            let born = inode
                .born
                .map_or_else(|| "-".to_owned(), |born| format!("{}.{:09}", born.seconds, born.nanoseconds));
            let path = String::from_utf8_lossy(&path);
            // Writing to a string does not fail.
            let _ = writeln!(text, "{path} {major}:{minor} {} {born}", inode.number);
        }
        text
    }

    /// Parses the file; one of another boot is empty, and a line that makes no sense is passed over.
    fn parse(text: &[u8], boot: &str) -> Self {
        let mut lines = text.split(|&byte| byte == b'\n');
        let first = lines.next().unwrap_or_default();
        if first.strip_prefix(FORM.as_bytes()) != Some(boot.as_bytes()) {
            return Self::default();
        }
        Self(lines.filter_map(ReplacedFile::parse).collect())
    }
}

impl ReplacedFile {
    /// Describes the regular file at a physical path.
    pub(in crate::operation) fn at(root: &Root, path: ObjectPath) -> Option<Self> {
        let dir = root.dir_if_there(&path.parent()?).ok()??;
        let ObjectStatus { file_type, file_system, inode, .. } = dir.look(path.name()).ok()??;
        (file_type == FileType::Regular).then_some(Self { path, device: file_system, inode })
    }

    /// Tells whether a file that a process uses is this one.
    pub(in crate::operation) fn is(&self, status: &ObjectStatus) -> bool {
        (status.file_system, status.inode) == (self.device, self.inode)
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = std::str::from_utf8(line).ok()?.split(' ');
        let path = ObjectPath::new(&unescape(fields.next()?.as_bytes())).ok()?;
        let (major, minor) = fields.next()?.split_once(':')?;
        let number = fields.next()?.parse().ok()?;
        let born = match fields.next()? {
            "-" => None,
            text => {
                let (seconds, nanoseconds) = text.split_once('.')?;
                Some(Timestamp { seconds: seconds.parse().ok()?, nanoseconds: nanoseconds.parse().ok()? })
            }
        };
        let device = (major.parse().ok()?, minor.parse().ok()?);
        Some(Self { path, device, inode: Inode { number, born } })
    }
}

fn directory(root: &Root) -> Option<Dir> {
    let physical = root.resolver().locate_dir(&places::own_directory()).ok()?;
    root.dir_if_there(&physical).ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &[u8], number: u64, born: Option<i64>) -> ReplacedFile {
        let born = born.map(|seconds| Timestamp { seconds, nanoseconds: 7 });
        ReplacedFile { path: ObjectPath::new(path).unwrap(), device: (8, 1), inode: Inode { number, born } }
    }

    #[test]
    fn what_is_written_is_read_in_the_same_boot_only() {
        let all =
            ReplacedFiles(vec![file(b"/opt/a b", 17, Some(1_577_836_800)), file(b"/opt/\xff", 18, None)]);
        let text = all.write("boot-1");
        assert!(
            text.starts_with("patchadm-replaced 1 boot-1\n/opt/a\\040b 8:1 17 1577836800.000000007\n"),
            "{text}"
        );
        let readable = ReplacedFiles::parse(text.as_bytes(), "boot-1");
        assert_eq!(readable.0[0], all.0[0]);
        assert_eq!(ReplacedFiles::parse(text.as_bytes(), "boot-2"), ReplacedFiles::default());
        for odd in [
            "patchadm-replaced 1 boot-1\n/a\n/b 1:2 x -\nc 1:2 3 -\n/d 1 2 -\n\n",
            "",
            "patchadm-replaced 2 boot-1\n/a 1:2 3 -\n",
        ] {
            assert_eq!(ReplacedFiles::parse(odd.as_bytes(), "boot-1"), ReplacedFiles::default(), "{odd}");
        }
    }

    #[test]
    fn a_file_is_remembered_once_and_the_oldest_are_forgotten() {
        let mut all = ReplacedFiles(vec![file(b"/a", 1, None), file(b"/b", 2, None)]);
        all.add(vec![file(b"/a", 1, None), file(b"/a", 3, None)]);
        let numbers: Vec<u64> = all.0.iter().map(|file| file.inode.number).collect();
        assert_eq!(numbers, [2, 1, 3]);
        all.add((0..MOST as u64).map(|number| file(b"/c", 10 + number, None)).collect());
        assert_eq!((all.0.len(), all.0[0].inode.number), (MOST, 10));
    }
}
