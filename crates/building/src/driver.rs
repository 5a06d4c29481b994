//! The executables that know a tree: `scan` and `build`, optionally `fetch` and `platform`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use patchadm_rootfs::{Dir, FileType, RootError};

use crate::tree_copy::each_below;
use crate::work::{BulkWork, ForeignFile, must_be_ours, must_be_ours_at};

const DRIVER: &str = "driver";

pub(crate) const FETCH: &str = "fetch";

pub(crate) const PLATFORM: &str = "platform";

pub(crate) const DRIVER_INSIDE: &str = "/driver";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Driver {
    pub directory: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DriverError {
    #[error("{}: {reason}", path.display())]
    Unusable { path: PathBuf, reason: String },
    #[error(transparent)]
    NotOurs(#[from] ForeignFile),
}

impl Driver {
    /// Finds the configured driver, else the one in the bulk build's directory, else the tree's.
    pub fn find(work: &BulkWork) -> Result<Self, DriverError> {
        let conf = &work.conf;
        if !conf.tree.is_dir() {
            let reason = "is not a directory".to_owned();
            return Err(DriverError::Unusable { path: conf.tree.clone(), reason });
        }
        let own = work.path.join(DRIVER);
        let directory = match &conf.driver {
            Some(configured) => configured.clone(),
            None if own.is_dir() => own,
            None => conf.tree.clone(),
        };
        let driver = Self { directory };
        for name in ["scan", "build"] {
            let path = driver.directory.join(name);
            if !is_executable(&path) {
                return Err(DriverError::Unusable { path, reason: "is not an executable file".to_owned() });
            }
        }
        for path in ["", "scan", "build", FETCH, PLATFORM].map(|name| driver.directory.join(name)) {
            if path.exists() {
                must_be_ours_at(&path)?;
            }
        }
        driver.helpers_must_be_ours(&conf.tree)?;
        Ok(driver)
    }

    /// Checks the files beside the programs, which they may load. In a tree these are untrusted recipes.
    fn helpers_must_be_ours(&self, tree: &Path) -> Result<(), DriverError> {
        let tree = tree.canonicalize().ok();
        let is_tree = |path: &Path| tree.is_some() && path.canonicalize().ok() == tree;
        if is_tree(&self.directory) {
            return Ok(());
        }
        let unusable = |error: RootError| DriverError::Unusable {
            path: self.directory.clone(),
            reason: error.to_string(),
        };
        let mut foreign = None;
        let top = Dir::of_host(&self.directory).map_err(unusable)?;
        each_below::<RootError>(&top, |above, name, seen| {
            if foreign.is_none() {
                let path = self.directory.join(relative(above, name));
                // A dangling link is harmless.
                foreign = if seen.file_type != FileType::Symlink {
                    must_be_ours(&path, seen).err()
                } else if path.exists() {
                    must_be_ours_at(&path).err()
                } else {
                    None
                };
            }
            let is_directory = seen.file_type == FileType::Directory;
            Ok(foreign.is_none() && is_directory && !is_tree(&self.directory.join(relative(above, name))))
        })
        .map_err(unusable)?;
        foreign.map_or(Ok(()), |foreign| Err(foreign.into()))
    }

    pub(crate) fn knows_platform(&self) -> bool {
        is_executable(&self.directory.join(PLATFORM))
    }

    pub(crate) fn can_fetch(&self) -> bool {
        is_executable(&self.directory.join(FETCH))
    }
}

fn relative(above: &Dir, name: &[u8]) -> PathBuf {
    let path = above.at(name);
    let path = path.as_bytes();
    PathBuf::from(OsStr::from_bytes(path.strip_prefix(b"/").unwrap_or(path)))
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|seen| seen.is_file() && seen.permissions().mode() & 0o111 != 0)
}

pub const RECIPES: [(&str, &str); 3] = [
    ("scan", include_str!("../drivers/recipes/scan")),
    ("build", include_str!("../drivers/recipes/build")),
    (PLATFORM, include_str!("../drivers/recipes/platform")),
];

pub const PKGSRC: [(&str, &str); 3] = [
    ("scan", include_str!("../drivers/pkgsrc/scan")),
    ("build", include_str!("../drivers/pkgsrc/build")),
    (PLATFORM, include_str!("../drivers/pkgsrc/platform")),
];
