//! The loader's settings, read inside a root.

use patchadm_libraries::{ConfigFiles, LoaderSettings};
use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;

/// The largest file of settings that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// The files of a root; links are followed inside it.
struct RootFiles<'a>(&'a Root);

impl ConfigFiles for RootFiles<'_> {
    fn content(&self, path: &ObjectPath) -> Option<Vec<u8>> {
        let physical = self.0.resolver().locate_dir(path).ok()?;
        let dir = self.0.dir_if_there(&physical.parent()?).ok()??;
        dir.read_regular(physical.name(), LARGEST).ok()?
    }

    fn names(&self, directory: &ObjectPath) -> Vec<Vec<u8>> {
        let physical = self.0.resolver().locate_dir(directory).ok();
        let dir = physical.and_then(|physical| self.0.dir_if_there(&physical).ok()?);
        dir.and_then(|dir| dir.names().ok()).unwrap_or_default()
    }
}

/// Reads the settings of the loaders of a root. What cannot be read counts as empty.
pub fn loader_settings(root: &Root) -> LoaderSettings {
    LoaderSettings::read(&RootFiles(root))
}
