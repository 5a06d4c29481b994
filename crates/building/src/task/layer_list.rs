//! The objects of a layer: their paths, types and sizes, in one digest.

use std::path::{Path, PathBuf};

use patchadm_bulk::result::Digest;
use patchadm_rootfs::{Dir, FileType, RootError};

/// Returns the digest of the list of all objects of a layer.
pub(super) fn digest_of_list(layer: &Path) -> Result<Digest, RootError> {
    let mut list = Vec::new();
    // Paths and not open directories: there may be more of them than a process may have open.
    let mut open = vec![PathBuf::new()];
    while let Some(below) = open.pop() {
        let dir = Dir::of_host(&layer.join(&below))?;
        let mut names = dir.names()?;
        names.sort_unstable();
        for name in names {
            let Some(seen) = dir.look(&name)? else { continue };
            let path = crate::work::host_path(&below, &name);
            list.extend(path.as_os_str().as_encoded_bytes());
            let is_directory = seen.file_type == FileType::Directory;
            // The size of a directory is a matter of the file system.
            let size = if is_directory { 0 } else { seen.size };
            list.extend(format!("\0{:?} {size}\n", seen.file_type).bytes());
            if is_directory {
                open.push(path);
            }
        }
    }
    Ok(Digest::of(&list))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_lost_its_bytes_or_its_name_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("usr/lib")).unwrap();
        fs::write(dir.path().join("usr/lib/a"), "bytes").unwrap();
        fs::write(dir.path().join("usr/b"), "").unwrap();
        let whole = digest_of_list(dir.path()).unwrap();
        assert_eq!(digest_of_list(dir.path()).unwrap(), whole);
        fs::write(dir.path().join("usr/lib/a"), "").unwrap();
        assert_ne!(digest_of_list(dir.path()).unwrap(), whole);
        fs::write(dir.path().join("usr/lib/a"), "other").unwrap();
        assert_eq!(digest_of_list(dir.path()).unwrap(), whole);
        fs::remove_file(dir.path().join("usr/b")).unwrap();
        assert_ne!(digest_of_list(dir.path()).unwrap(), whole);
    }
}
