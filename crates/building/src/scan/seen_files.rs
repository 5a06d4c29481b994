//! The files that a scan depends on: those of its recipe, and what it names; looked at, and read where that does not do.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use patchadm_bulk::cache::{FileStatus, Seen};
use patchadm_bulk::result::Digest;
use patchadm_rootfs::{Dir, FileType, RootError};

use crate::file_copy::digest_of_file;

/// The most files of one recipe.
const MOST_FILES: usize = 10_000;

/// The directories of version control, which are no part of a recipe.
const NO_PART: [&[u8]; 4] = [b"CVS", b".git", b".hg", b".svn"];

/// A file of a recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecipeFile {
    /// Its path below the location.
    pub(crate) path: String,
    /// Its path on this machine.
    pub(crate) at: PathBuf,
    /// Whether it is executable; for a link, its target.
    pub(crate) kind: RecipeFileKind,
}

/// What a file of a recipe is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RecipeFileKind {
    /// A file, executable or not.
    File(bool),
    /// A symbolic link with this target.
    Link(String),
}

/// Returns the files below a location, in byte order of their paths. Names that are no UTF-8 are shown as such.
pub(crate) fn files_of_recipe(tree: &Path, location: &str) -> Result<Vec<RecipeFile>, RecipeError> {
    let top = tree.join(location);
    let mut files = BTreeMap::new();
    let mut open = vec![String::new()];
    while let Some(below) = open.pop() {
        let path = top.join(&below);
        let dir = Dir::of_host(&path)?;
        for name in dir.names()? {
            if NO_PART.contains(&name.as_slice()) || name.ends_with(b"~") {
                continue;
            }
            let Some(seen) = dir.look(&name)? else { continue };
            let shown = String::from_utf8_lossy(&name).into_owned();
            let shown = if below.is_empty() { shown } else { format!("{below}/{shown}") };
            let at = crate::work::host_path(&path, &name);
            let kind = match seen.file_type {
                FileType::Directory => {
                    open.push(shown);
                    continue;
                }
                FileType::Symlink => {
                    RecipeFileKind::Link(String::from_utf8_lossy(&dir.read_link(&name)?).into_owned())
                }
                _ => RecipeFileKind::File(seen.mode.bits() & 0o111 != 0),
            };
            files.insert(shown.clone(), RecipeFile { path: shown, at, kind });
            if files.len() > MOST_FILES {
                return Err(RecipeError::TooMany(location.to_owned()));
            }
        }
    }
    Ok(files.into_values().collect())
}

/// Why the files of a recipe cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecipeError {
    /// There are too many.
    #[error("{0} has more than {MOST_FILES} files")]
    TooMany(String),
    /// The disk.
    #[error(transparent)]
    Root(#[from] RootError),
}

/// Returns what the system tells of a file, whatever leads to it; none where there is none.
pub(crate) fn status_of(path: &Path) -> Option<FileStatus> {
    let seen = std::fs::metadata(path).ok()?;
    let time =
        |seconds: i64, nanoseconds: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds);
    Some(FileStatus {
        inode: seen.ino(),
        size: seen.size(),
        mtime: time(seen.mtime(), seen.mtime_nsec()),
        ctime: time(seen.ctime(), seen.ctime_nsec()),
    })
}

/// Returns the digest of a file; that of nothing for what is no file.
pub(crate) fn digest_of(path: &Path) -> Option<Digest> {
    let seen = std::fs::metadata(path).ok()?;
    if !seen.is_file() {
        return Some(Digest::of(b""));
    }
    digest_of_file(&std::fs::File::open(path).ok()?, |_| ()).ok()
}

/// Returns the state of a file at this moment, in nanoseconds since 1970.
pub(crate) fn seen_now(path: &Path, now: i64) -> Seen {
    match status_of(path).and_then(|status| Some((status, digest_of(path)?))) {
        Some((status, digest)) => Seen::File { status, digest, noted: now },
        None => Seen::Absent,
    }
}
