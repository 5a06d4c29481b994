//! Directories and files of the machine that sandboxes see.

use std::path::{Path, PathBuf};

use super::value;

/// A directory or file of the machine that a sandbox sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxMount {
    /// Whether commands may write there. The results of a build then depend on more than their keys say.
    pub is_writable: bool,
    /// The absolute path on the machine.
    pub source: PathBuf,
    /// The absolute path in the sandbox.
    pub target: PathBuf,
}

impl SandboxMount {
    /// Returns a directory or file that commands read at `target`.
    pub fn read_only(source: &Path, target: impl Into<PathBuf>) -> Self {
        Self { is_writable: false, source: source.to_owned(), target: target.into() }
    }

    /// Reads `[rw:]SRC[:DST]`, both absolute; DST is SRC if it is not given.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("rw:");
        let (source, target) = {
            let paths = rest.unwrap_or(text);
            paths.split_once(':').unwrap_or((paths, paths))
        };
        if target.contains(':') {
            return Err(format!("`{text}` is not [rw:]SRC[:DST]"));
        }
        Ok(Self {
            is_writable: rest.is_some(),
            source: value::absolute_path(source)?,
            target: value::absolute_path(target)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_has_two_absolute_paths_of_which_one_can_be_left_out() {
        let mount = |text: &str| {
            let mount = SandboxMount::parse(text).unwrap();
            (mount.is_writable, mount.source, mount.target)
        };
        assert_eq!(mount("/srv/x"), (false, "/srv/x".into(), "/srv/x".into()));
        assert_eq!(mount("rw:/srv/x:/x"), (true, "/srv/x".into(), "/x".into()));
        for wrong in ["", "rw:", "x", "/a:b", "/a:/b:/c", "ro:/a", "/a/../b"] {
            assert!(SandboxMount::parse(wrong).is_err(), "{wrong}");
        }
    }
}
