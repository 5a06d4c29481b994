//! The executables that know a tree: `scan`, `build`, and `fetch` and `platform` where there are any.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use patchadm_rootfs::Dir;

use crate::owners::{ForeignFile, must_be_ours};
use crate::work::Work;

/// The directory with the executables of the driver of a bulk build.
const DRIVER: &str = "driver";

/// The executable that fetches the distfiles of a location.
pub(crate) const FETCH: &str = "fetch";

/// The executable that says for and with what packages are built.
pub(crate) const PLATFORM: &str = "platform";

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
pub enum DriverError {
    /// A file or directory is not there, or is none that can be used.
    #[error("{}: {reason}", path.display())]
    Unusable {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It, or one of its programs, belongs to somebody else, or others may write to it.
    #[error(transparent)]
    NotOurs(#[from] ForeignFile),
}

impl Driver {
    /// Finds the driver: the one that is configured, that of the directory of the bulk build, else that of the tree.
    pub fn find(work: &Work) -> Result<Self, DriverError> {
        let conf = &work.conf;
        if !conf.tree.is_dir() {
            let reason = "is no directory".to_owned();
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
                return Err(DriverError::Unusable { path, reason: "is no executable file".to_owned() });
            }
        }
        for path in ["", "scan", "build", FETCH, PLATFORM].map(|name| driver.directory.join(name)) {
            // What a link leads to is what runs.
            let Ok(real) = path.canonicalize() else { continue };
            let (Some(above), Some(name)) = (real.parent(), real.file_name()) else { continue };
            let seen = Dir::of_host(above).and_then(|above| above.look(name.as_bytes()));
            let seen = seen
                .map_err(|error| DriverError::Unusable { path: path.clone(), reason: error.to_string() })?;
            seen.map_or(Ok(()), |seen| must_be_ours(&path, &seen))?;
        }
        Ok(driver)
    }

    /// Tells whether there is an executable that says for and with what packages are built.
    pub(crate) fn knows_platform(&self) -> bool {
        is_executable(&self.directory.join(PLATFORM))
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
pub const RECIPES: [(&str, &str); 3] = [
    ("scan", include_str!("../drivers/recipes/scan")),
    ("build", include_str!("../drivers/recipes/build")),
    (PLATFORM, include_str!("../drivers/recipes/platform")),
];

/// The driver `pkgsrc`: the names of its executables, and their texts.
pub const PKGSRC: [(&str, &str); 3] = [
    ("scan", include_str!("../drivers/pkgsrc/scan")),
    ("build", include_str!("../drivers/pkgsrc/build")),
    (PLATFORM, include_str!("../drivers/pkgsrc/platform")),
];
