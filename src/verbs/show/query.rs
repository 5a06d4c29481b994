//! The query of `show`: what to show about each word, and where to look.

use std::ffi::OsString;
use std::path::PathBuf;

use patchadm_cli::arguments::fetching::FetchOptions;
use patchadm_cli::arguments::paths::paths_in_root;
use patchadm_cli::reply::{Exit, ExitCause, Stop};
use patchadm_cli::surroundings::Surroundings;
use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;

/// Nothing has that name: the code of patchrm(1M) for a patch that is not applied.
pub(super) const NOT_FOUND: Exit = Exit::new(2, ExitCause::Unknown);

pub(super) const USAGE: &str = "patchadm [-R root] show [option...] what...\npatchadm [-R root] show --diff [option...] id|patch|path... [-- path...]\n\
     patchadm show [option...] --roots file|dir what...";

pub(super) struct ShowQuery {
    pub(super) has_files: bool,
    pub(super) has_diff: bool,
    pub(super) paths: Vec<PathBuf>,
    pub(super) depot: Option<OsString>,
    pub(super) fetching: FetchOptions,
    pub(super) is_verbose: bool,
    pub(super) surroundings: Surroundings,
}

impl ShowQuery {
    /// Paths that limit the objects; empty for all.
    pub(super) fn paths_in(&self, root: &Root) -> Result<Vec<ObjectPath>, Stop> {
        paths_in_root(root, &self.paths, USAGE)
    }
}
