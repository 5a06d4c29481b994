//! Questions of recovery about the package managers of the system, of which this crate knows nothing.

use patchadm_svr4::package::ObjectPath;

/// The package managers of the system. They may have written objects, or taken them away, since a run was interrupted: what
/// they wrote stays. Paths are physical: no symbolic link among their parents.
///
/// What cannot be found out is answered with `None`, and recovery does what it does on a root without package managers.
pub trait PackageManagers {
    /// Returns the package that owns a path now, in words.
    fn owner(&self, path: &ObjectPath) -> Option<String>;

    /// Returns the package that owns a path now, if it was installed since a moment (RFC 3339) and what is there is what it
    /// delivers.
    fn writer(&self, path: &ObjectPath, since: &str) -> Option<String>;

    /// Returns the package that had a path before the run and does not have it any more.
    fn former_owner(&self, path: &ObjectPath) -> Option<String>;
}
