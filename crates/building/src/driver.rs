//! The executables that know a tree: `scan`, `build`, and `fetch` where there is one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::work::Work;

/// The directory with the executables of the driver of a bulk build.
const DRIVER: &str = "driver";

/// The executable that fetches the distfiles of a location.
pub(crate) const FETCH: &str = "fetch";

/// Where the driver is visible in a sandbox.
pub(crate) const DRIVER_INSIDE: &str = "/driver";

/// The executables that know a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Driver {
    /// The directory that they are in.
    pub directory: PathBuf,
}

/// The reason why a tree cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct DriverError {
    /// The file or directory.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl Driver {
    /// Finds the driver: the one that is configured, that of the directory of the bulk build, else that of the tree.
    pub fn find(work: &Work) -> Result<Self, DriverError> {
        let conf = &work.conf;
        if !conf.tree.is_dir() {
            return Err(DriverError { path: conf.tree.clone(), reason: "is no directory".to_owned() });
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
                return Err(DriverError { path, reason: "is no executable file".to_owned() });
            }
        }
        Ok(driver)
    }

    /// Tells whether there is an executable that fetches distfiles.
    pub(crate) fn can_fetch(&self) -> bool {
        is_executable(&self.directory.join(FETCH))
    }
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|seen| seen.is_file() && seen.permissions().mode() & 0o111 != 0)
}

/// The driver `recipes`: the names of its executables, and their texts.
pub const RECIPES: [(&str, &str); 2] =
    [("scan", include_str!("../drivers/recipes/scan")), ("build", include_str!("../drivers/recipes/build"))];

/// The driver `pkgsrc`: the names of its executables, and their texts.
pub const PKGSRC: [(&str, &str); 2] =
    [("scan", include_str!("../drivers/pkgsrc/scan")), ("build", include_str!("../drivers/pkgsrc/build"))];
