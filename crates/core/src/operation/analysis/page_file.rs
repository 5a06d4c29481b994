//! The file of a page, which exists completely or not at all.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use patchadm_rootfs::{Dir, RootError};
use patchadm_svr4::package::Mode;

/// The program name in private names.
const PROGRAM: &str = "patchadm-page";

/// The mode of the file: every user may read it.
const MODE: u32 = 0o644;

/// Writes a file by one rename that is on the disk afterwards. Replaces an existing file of its name.
pub fn write_page(path: &Path, text: &[u8]) -> Result<(), RootError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let dir = Dir::of_host(parent.unwrap_or(Path::new(".")))?;
    dir.replace_file(PROGRAM, path.file_name().unwrap_or_default().as_bytes(), text, Mode::of(MODE))?;
    dir.sync()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_replaces_the_one_before_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("page.html");
        for text in ["one", "two"] {
            write_page(&path, text.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        assert!(write_page(&dir.path().join("none/page.html"), b"").is_err());
        assert!(write_page(&dir.path().join(".."), b"").is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
