//! Paths in a root, as they are named on the command line.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use crate::reply::Stop;
use patchadm_inputs::stage::staged_path;
use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;

pub fn object_path(text: &str) -> Result<ObjectPath, String> {
    ObjectPath::new(text.as_bytes()).map_err(|error| error.to_string())
}

/// A path in a root that is not known yet.
#[derive(Clone, Debug)]
pub struct NamedPath {
    candidates: Vec<ObjectPath>,
}

impl NamedPath {
    /// A relative path starts at the root, or in the working directory if that is in the root.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.starts_with('/') {
            return object_path(text).map(Self::from);
        }
        let in_root = object_path(&format!("/{text}"))?;
        let here = std::path::absolute(text).ok();
        let here = here.and_then(|here| ObjectPath::new(here.as_os_str().as_bytes()).ok());
        Ok(Self { candidates: std::iter::once(in_root).chain(here).collect() })
    }

    /// Returns all paths that are meant; [`inside`] turns those below the root into paths of it.
    pub fn all(paths: &[Self]) -> Vec<ObjectPath> {
        paths.iter().flat_map(|path| path.candidates.iter().cloned()).collect()
    }
}

impl From<ObjectPath> for NamedPath {
    fn from(path: ObjectPath) -> Self {
        Self { candidates: vec![path] }
    }
}

/// Reads a directory of a root, which may be named relative to it.
pub fn directory_of_root(text: &str) -> Result<ObjectPath, String> {
    staged_path(text.as_bytes()).map_err(|error| error.to_string())
}

/// Removes the prefix of the root, which messages show.
pub fn inside(root: &Root, paths: &[ObjectPath]) -> Vec<ObjectPath> {
    let prefix = ObjectPath::new(root.prefix().as_os_str().as_bytes()).ok().filter(|_| !root.is_system());
    let strip = |path: ObjectPath| match &prefix {
        Some(prefix) if path.is_below(prefix) => {
            ObjectPath::new(&path.as_bytes()[prefix.as_bytes().len()..]).unwrap_or(path)
        }
        _ => path,
    };
    paths.iter().cloned().map(strip).collect()
}

/// Returns paths as the records of the root have them. A relative one starts in the working directory if that is below
/// the root, else at the root. `..` removes the name before it, as in a shell.
pub fn paths_in_root(root: &Root, words: &[PathBuf], usage: &'static str) -> Result<Vec<ObjectPath>, Stop> {
    let read = |word: &PathBuf| {
        let path = ObjectPath::new(placed(root, word).as_os_str().as_bytes());
        path.map_err(|error| Stop::Usage { message: error.to_string(), usage })
    };
    let paths: Vec<ObjectPath> = words.iter().map(read).collect::<Result<_, _>>()?;
    Ok(inside(root, &paths))
}

fn placed(root: &Root, word: &Path) -> PathBuf {
    let here = std::path::absolute(word).ok();
    let plain = here.as_deref().map(without_dots).filter(|plain| plain.starts_with(root.prefix()));
    let placed = plain.or_else(|| through_links(root, here.as_deref()?));
    placed.unwrap_or_else(|| without_dots(&Path::new("/").join(word)))
}

/// Returns the path below the prefix of the root if links on this machine lead there.
fn through_links(root: &Root, here: &Path) -> Option<PathBuf> {
    let (above, name) = (here.parent()?.canonicalize().ok()?, here.file_name()?);
    let prefix = root.prefix().canonicalize().ok()?;
    Some(root.prefix().join(above.strip_prefix(prefix).ok()?).join(name))
}

fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::ParentDir => drop(plain.pop()),
            Component::Normal(name) => plain.push(name),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    plain
}
