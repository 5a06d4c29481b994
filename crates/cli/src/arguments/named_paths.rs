use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use super::inside;
use crate::reply::Stop;
use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;

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
