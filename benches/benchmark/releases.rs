//! Two real releases, each in a directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::reader::list;
use crate::workload::{File, ReleasedFile, Workload};

/// Returns the patch from one release to the other: it delivers changed and new files, and deletes files that are gone.
/// Leaves out objects other than regular files, and names that some package format cannot hold.
pub(crate) fn workload(old: &Path, new: &Path) -> Result<Workload> {
    let (old, mut new) = (files(old)?, files(new)?);
    let mut workload =
        Workload { files: Vec::new(), replaced: Vec::new(), deleted: Vec::new(), added: Vec::new() };
    for (name, before) in old {
        let number = workload.files.len();
        let path = format!("opt/acme/{name}");
        match new.remove(&name) {
            None => {
                workload.deleted.push(number);
                workload.files.push(File::released(path, [Some(released(&before)?), None]));
            }
            Some(after) if fs::read(&before)? == fs::read(&after)? => {
                workload.files.push(File::released(path, [Some(released(&before)?), None]));
            }
            Some(after) => {
                workload.replaced.push(number);
                workload
                    .files
                    .push(File::released(path, [Some(released(&before)?), Some(released(&after)?)]));
            }
        }
    }
    for (name, after) in new {
        workload.added.push(File::released(format!("opt/acme/{name}"), [None, Some(released(&after)?)]));
    }
    ensure!(!workload.files.is_empty(), "the old release has no files");
    ensure!(!workload.replaced.is_empty(), "the two releases have no file in common that differs");
    Ok(workload)
}

/// Returns the files below a directory, by their relative names.
fn files(directory: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut paths = Vec::new();
    list(directory, &mut paths).with_context(|| format!("{}", directory.display()))?;
    let named = |path: PathBuf| {
        let name = path.strip_prefix(directory).ok().filter(|name| is_plain(name))?.display().to_string();
        Some((name, path))
    };
    Ok(paths.into_iter().filter_map(named).collect())
}

fn released(path: &Path) -> Result<ReleasedFile> {
    let size = fs::metadata(path)?.len() as usize;
    Ok(ReleasedFile { path: path.canonicalize()?, size })
}

/// Returns true if a path needs no quotes anywhere: letters, digits and a few signs, and not too long.
fn is_plain(path: &Path) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._+-@,:~".contains(byte);
    let bytes = path.as_os_str().as_encoded_bytes();
    bytes.len() < 200 && bytes.iter().all(plain)
}
