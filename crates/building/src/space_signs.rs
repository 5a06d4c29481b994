//! Signs between tasks that found no space.

use std::path::{Path, PathBuf};

use patchadm_rootfs::{Dir, RootError, Timestamp, random};
use patchadm_svr4::package::Mode;

use crate::work::{PROGRAM, build_directory};

/// The file in `build_dir` that every task touches which found no space.
const FULL: &[u8] = b"tasks.full";

/// Signs between tasks on one machine that the build directory was full. The first task to notice makes room, and
/// another one may fail for the same reason but check later.
///
/// The sign is the time of a file, which can be set without free space.
#[derive(Debug)]
pub(crate) struct SpaceSigns {
    build_dir: PathBuf,
    begin: Option<Timestamp>,
}

impl SpaceSigns {
    pub(crate) fn begin(build_dir: &Path) -> Self {
        let begin = build_directory(build_dir).and_then(|dir| {
            if dir.look(FULL)?.is_none() {
                dir.replace_file(PROGRAM, FULL, b"", Mode::of(0o644))?;
            }
            last_sign(&dir)
        });
        Self { build_dir: build_dir.to_owned(), begin: begin.ok().flatten() }
    }

    /// Returns true if a task has found no space since.
    pub(crate) fn has_sign(&self) -> bool {
        build_directory(&self.build_dir).and_then(|dir| last_sign(&dir)).is_ok_and(|last| last != self.begin)
    }

    /// Signals that there is no space. Does nothing if the file is missing.
    pub(crate) fn give(&self) -> Result<(), RootError> {
        let dir = build_directory(&self.build_dir)?;
        if dir.look(FULL)?.is_some() {
            // Any time but that of another sign.
            let seconds = i64::try_from(random()? >> 34).unwrap_or_default();
            dir.set_mtime(FULL, Timestamp::whole(seconds))?;
        }
        Ok(())
    }
}

fn last_sign(dir: &Dir) -> Result<Option<Timestamp>, RootError> {
    Ok(dir.look(FULL)?.map(|seen| seen.mtime))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_learns_that_another_one_has_found_no_space_whenever_it_looks() {
        let dir = tempfile::tempdir().unwrap();
        let build_dir = dir.path().join("build");
        let (finds, fails) = (SpaceSigns::begin(&build_dir), SpaceSigns::begin(&build_dir));
        assert!(!finds.has_sign() && !fails.has_sign());
        finds.give().unwrap();
        assert!(fails.has_sign());
        // What was found before it began is nothing to one that begins now.
        let later = SpaceSigns::begin(&build_dir);
        assert!(!later.has_sign());
        fails.give().unwrap();
        assert!(later.has_sign() && finds.has_sign());
    }
}
