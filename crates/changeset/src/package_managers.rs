//! The interface through which recovery asks package managers of the system about a path.

use patchadm_svr4::package::ObjectPath;

/// The package managers of the system. They may have written or removed objects since a run was interrupted, and recovery
/// keeps what they wrote. Paths are physical: no parent is a symbolic link.
///
/// An answer that cannot be found is `None`. Recovery then acts as on a root without package managers.
pub trait PackageManagers {
    /// Returns the name and version of the package that owns a path.
    fn owner(&self, path: &ObjectPath) -> Option<String>;

    /// Returns the package that wrote an object: it owns the path, was installed after `since` (RFC 3339), and delivers this
    /// object.
    fn writer(&self, path: &ObjectPath, since: &str) -> Option<String>;

    /// Returns the package that owned a path before the run and was removed since.
    fn former_owner(&self, path: &ObjectPath) -> Option<String>;
}
