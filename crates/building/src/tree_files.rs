//! Files on which records and results depend.
//!
//! Recipes are not trusted: files that they name are opened beneath the tree, the driver or a `mount`, with the
//! permissions of builds, up to a maximum size. Of other files only the name counts: they belong to the base, a
//! separate input, or do not exist.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
use patchadm_bulk_values::cache::{FileStatus, NotedState};
use patchadm_bulk_values::conf::{Configuration, SandboxMount};
use patchadm_bulk_values::result::Blake3Digest;
use patchadm_inputs::input_file::{InputDirectory, InputKind};
use patchadm_rootfs::{Interrupt, never};
use rustix::process::getgroups;
use rustix::thread::set_thread_groups;

use crate::driver::{DRIVER_INSIDE, Driver};

const MOST_FILES: usize = 10_000;

/// Of a scan, with those of the recipe: each is looked for.
pub(crate) const MOST_READ: usize = 100_000;

const LARGEST_FILE: u64 = 1 << 30;
pub(crate) const MOST_BYTES: u64 = 4 << 30;

const PART: usize = 1 << 18;

/// Directories of version control are no part of a recipe.
const NO_PART: [&[u8]; 4] = [b"CVS", b".git", b".hg", b".svn"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecipeFile {
    /// Below the location. Names that are not UTF-8 are shown lossily.
    pub(crate) path: String,
    pub(crate) at: PathBuf,
    pub(crate) kind: RecipeFileKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RecipeFileKind {
    File(bool),
    Link(String),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum RecipeError {
    #[error("{0} has more than {MOST_FILES} files")]
    TooMany(String),
    #[error("{0} names more than {MOST_READ} files")]
    TooManyRead(String),
    #[error("{0} has more than {gib} GiB", gib = .1 >> 30)]
    TooLarge(String, u64),
    #[error("{0}: {1}")]
    File(String, io::Error),
    #[error("the tree: {0}")]
    Tree(String),
    #[error("{}", patchadm_rootfs::INTERRUPTED)]
    Interrupted(i32),
}

#[derive(Debug)]
pub(crate) struct TreeFiles {
    tree: Result<InputDirectory, String>,
    /// Mounts of sandboxes with their paths inside. For a file, its directory and name.
    others: Vec<(PathBuf, InputDirectory, Option<PathBuf>)>,
    /// User and group whose permissions apply; `None` for the caller.
    reader: Option<u32>,
}

impl TreeFiles {
    /// `reader` is the user of builds, if not the caller.
    pub(crate) fn open(conf: &Configuration, driver: &Driver, reader: Option<u32>) -> Self {
        let driver = SandboxMount::read_only(&driver.directory, DRIVER_INSIDE);
        let mounts = [driver].into_iter().chain(conf.mounts.iter().cloned());
        let mut others: Vec<_> = mounts.filter_map(|mount| open_mount(&mount)).collect();
        // The deeper mount takes precedence, as in a sandbox.
        others.sort_by_key(|(target, ..)| std::cmp::Reverse(target.components().count()));
        Self { tree: open_tree(&conf.tree), others, reader }
    }

    pub(crate) fn of_tree(tree: &Path, reader: Option<u32>) -> Self {
        Self { tree: open_tree(tree), others: Vec::new(), reader }
    }

    pub(crate) fn of_recipe(&self, location: &str) -> Result<Vec<RecipeFile>, RecipeError> {
        let _rights = ReaderRights::of(self.reader);
        let tree = self.tree()?;
        let failed = |path: &Path| {
            let shown = Path::new(location).join(path).display().to_string();
            move |error| RecipeError::File(shown.trim_end_matches(['/', '.']).to_owned(), error)
        };
        let top = tree.directory(Path::new(location)).map_err(failed(Path::new("")))?;
        let (mut files, mut open, mut count) = (BTreeMap::new(), vec![PathBuf::from(".")], 0);
        while let Some(below) = open.pop() {
            let mut names = Vec::new();
            let dir = top.directory(&below).map_err(failed(&below))?;
            dir.each_entry(|name, kind| names.push((name.to_vec(), kind))).map_err(failed(&below))?;
            for (name, kind) in names {
                if NO_PART.contains(&name.as_slice()) || name.ends_with(b"~") {
                    continue;
                }
                count += 1;
                if count > MOST_FILES {
                    return Err(RecipeError::TooMany(location.to_owned()));
                }
                let path = below.strip_prefix(".").unwrap_or(&below).join(OsStr::from_bytes(&name));
                if kind == Some(InputKind::Directory) {
                    open.push(path);
                    continue;
                }
                let Some(seen) = present(top.entry(&path)).map_err(failed(&path))? else { continue };
                let kind = if seen.is_dir() {
                    open.push(path);
                    continue;
                } else if seen.is_symlink() {
                    let target = top.read_link(&path).map_err(failed(&path))?;
                    RecipeFileKind::Link(String::from_utf8_lossy(&target).into_owned())
                } else {
                    RecipeFileKind::File(seen.permissions().mode() & 0o111 != 0)
                };
                let shown = path.to_string_lossy().into_owned();
                let at = Path::new(location).join(&path);
                files.insert(shown.clone(), RecipeFile { path: shown, at, kind });
            }
        }
        Ok(files.into_values().collect())
    }

    /// `None` if it does not exist or only its name counts.
    pub(crate) fn status(&self, path: &Path) -> Option<FileStatus> {
        let _rights = ReaderRights::of(self.reader);
        let (directory, path) = self.find(path)?;
        Some(status_of(&directory.metadata(&path).ok()?))
    }

    /// Returns the digest of nothing for a non-file or unreadable file, `None` if it is missing or only its name
    /// counts.
    pub(crate) fn digest(
        &self,
        path: &Path,
        interrupt: Interrupt<'_>,
    ) -> Result<Option<Blake3Digest>, RecipeError> {
        let _rights = ReaderRights::of(self.reader);
        let Some((directory, below)) = self.find(path) else { return Ok(None) };
        let failed = |error| RecipeError::File(path.display().to_string(), error);
        match directory.kind(&below) {
            Ok(InputKind::File) => {}
            Ok(_) => return Ok(Some(Blake3Digest::of(b""))),
            Err(_) => return Ok(None),
        }
        match directory.file(&below) {
            Ok(file) => digest_of(&file, path, interrupt).map(Some),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound => Ok(None),
                io::ErrorKind::PermissionDenied
                | io::ErrorKind::InvalidInput
                | io::ErrorKind::IsADirectory => Ok(Some(Blake3Digest::of(b""))),
                _ => Err(failed(error)),
            },
        }
    }

    /// `now` is in nanoseconds since 1970.
    pub(crate) fn seen_now(
        &self,
        path: &Path,
        now: i64,
        interrupt: Interrupt<'_>,
    ) -> Result<NotedState, RecipeError> {
        let Some(status) = self.status(path) else { return Ok(NotedState::Absent) };
        let digest = self.digest(path, interrupt)?;
        Ok(digest.map_or(NotedState::Absent, |digest| NotedState::File { status, digest, noted: now }))
    }

    fn tree(&self) -> Result<&InputDirectory, RecipeError> {
        self.tree.as_ref().map_err(|error| RecipeError::Tree(error.clone()))
    }

    /// Returns the directory of a path and the path below it; `None` if only its name counts.
    fn find(&self, path: &Path) -> Option<(&InputDirectory, PathBuf)> {
        if !path.is_absolute() {
            return Some((self.tree().ok()?, path.to_owned()));
        }
        self.others.iter().find_map(|(target, directory, file)| {
            let below = path.strip_prefix(target).ok()?;
            match file {
                Some(name) => below.as_os_str().is_empty().then(|| (directory, name.clone())),
                None => Some((directory, Path::new(".").join(below))),
            }
        })
    }
}

fn open_tree(tree: &Path) -> Result<InputDirectory, String> {
    InputDirectory::open(tree).map_err(|error| format!("{}: {error}", tree.display()))
}

fn open_mount(mount: &SandboxMount) -> Option<(PathBuf, InputDirectory, Option<PathBuf>)> {
    let source = mount.source.canonicalize().ok()?;
    if source.is_dir() {
        return Some((mount.target.clone(), InputDirectory::open(&source).ok()?, None));
    }
    let name = PathBuf::from(source.file_name()?);
    Some((mount.target.clone(), InputDirectory::open(source.parent()?).ok()?, Some(name)))
}

fn present(seen: io::Result<Metadata>) -> io::Result<Option<Metadata>> {
    match seen {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        seen => seen.map(Some),
    }
}

fn status_of(seen: &Metadata) -> FileStatus {
    let time =
        |seconds: i64, nanoseconds: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds);
    FileStatus {
        inode: seen.ino(),
        size: seen.size(),
        mtime: time(seen.mtime(), seen.mtime_nsec()),
        ctime: time(seen.ctime(), seen.ctime_nsec()),
    }
}

fn digest_of(file: &File, path: &Path, interrupt: Interrupt<'_>) -> Result<Blake3Digest, RecipeError> {
    let shown = || path.display().to_string();
    let failed = |error| RecipeError::File(shown(), error);
    let size = file.metadata().map_err(failed)?.len();
    let part = usize::try_from(size).unwrap_or(PART).saturating_add(1).min(PART);
    let (mut hasher, mut buffer, mut offset) = (blake3::Hasher::new(), vec![0; part], 0);
    loop {
        if size > LARGEST_FILE || offset > LARGEST_FILE {
            return Err(RecipeError::TooLarge(shown(), LARGEST_FILE));
        }
        if let Some(signal) = interrupt() {
            return Err(RecipeError::Interrupted(signal));
        }
        let read = file.read_at(&mut buffer, offset).map_err(failed)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return Ok(Blake3Digest::from_bytes(*hasher.finalize().as_bytes()));
        };
        hasher.update(bytes);
        offset += read as u64;
    }
}

/// Changed file permissions of this thread, restored on drop.
struct ReaderRights {
    own: Option<(Uid, Gid, Vec<rustix::fs::Gid>)>,
}

impl ReaderRights {
    /// Takes the permissions of a user and the group of the same number.
    fn of(reader: Option<u32>) -> Self {
        let Some(reader) = reader else { return Self { own: None } };
        let groups = getgroups().unwrap_or_default();
        // Only root has a reader, and root may do all of this.
        let _ = set_thread_groups(&[]);
        let group = setfsgid(Gid::from_raw(reader));
        let user = setfsuid(Uid::from_raw(reader));
        Self { own: Some((user, group, groups)) }
    }
}

impl Drop for ReaderRights {
    fn drop(&mut self) {
        if let Some((user, group, groups)) = &self.own {
            setfsuid(*user);
            setfsgid(*group);
            let _ = set_thread_groups(groups);
        }
    }
}

pub(crate) fn digest_of_program(path: &Path) -> Option<Blake3Digest> {
    let file = File::open(path).ok()?;
    digest_of(&file, path, &never).ok()
}

/// Returns a path named by a recipe, relative to the tree if possible.
pub(crate) fn path_in_tree(location: &str, named: &str) -> String {
    let path = Path::new(named);
    if let Ok(below) = path.strip_prefix("/tree") {
        return plain(below);
    }
    if path.is_absolute() {
        return format!("/{}", plain(path));
    }
    plain(&Path::new(location).join(path))
}

/// Normalizes a path without following links; `..` at the top stays there.
fn plain(path: &Path) -> String {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                parts.pop();
            }
            Component::Normal(name) => parts.push(name),
            _ => {}
        }
    }
    parts.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_a_recipe_names_is_one_of_the_tree_or_of_the_machine() {
        assert_eq!(path_in_tree("net/curl", "../../mk/common"), "mk/common");
        assert_eq!(path_in_tree("net/curl", "patches/a"), "net/curl/patches/a");
        assert_eq!(path_in_tree("net/curl", "/tree/mk/x"), "mk/x");
        assert_eq!(path_in_tree("net/curl", "/tree/../etc/x"), "etc/x");
        assert_eq!(path_in_tree("net/curl", "/usr/include/../include/x.h"), "/usr/include/x.h");
    }

    #[test]
    fn links_lead_nowhere_else_and_files_elsewhere_count_with_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("net/curl")).unwrap();
        fs::create_dir(dir.path().join("secrets")).unwrap();
        fs::write(dir.path().join("secrets/key"), "secret").unwrap();
        fs::write(tree.join("net/curl/record"), "text").unwrap();
        std::os::unix::fs::symlink("../../../secrets/key", tree.join("net/curl/out")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("secrets"), tree.join("linked")).unwrap();
        let files = TreeFiles::of_tree(&tree, None);
        let names: Vec<_> = files.of_recipe("net/curl").unwrap().into_iter().map(|file| file.path).collect();
        assert_eq!(names, ["out", "record"]);
        assert!(files.of_recipe("linked").unwrap_err().to_string().starts_with("linked: it is a symbolic"));
        let digest = |path: &Path| files.digest(path, &never).unwrap();
        assert_eq!(digest(Path::new("net/curl/record")), Some(Blake3Digest::of(b"text")));
        let key = dir.path().join("secrets/key");
        for path in [Path::new("net/curl/out"), Path::new("../secrets/key"), &key] {
            assert_eq!(digest(path), None, "{}", path.display());
            assert_eq!(files.status(path), None, "{}", path.display());
        }
    }

    #[test]
    fn neither_a_pipe_nor_a_huge_file_holds_anybody_up_and_a_signal_ends_the_reading() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
            .unwrap();
        File::create(dir.path().join("huge")).unwrap().set_len(8 << 40).unwrap();
        fs::write(dir.path().join("file"), "text").unwrap();
        let files = TreeFiles::of_tree(dir.path(), None);
        assert_eq!(files.digest(Path::new("pipe"), &never).unwrap(), Some(Blake3Digest::of(b"")));
        let said = files.digest(Path::new("huge"), &never).unwrap_err().to_string();
        assert_eq!(said, "huge has more than 1 GiB");
        let said = files.digest(Path::new("file"), &|| Some(15)).unwrap_err().to_string();
        assert_eq!(said, "interrupted");
    }
}
