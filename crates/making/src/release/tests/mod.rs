//! Releases as they are shipped: real packages if they are available, and small ones made here.

mod hostile;
mod large_rpm;
mod shared;
mod small;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::path::Path;

use super::*;
use patchadm_releases::ReleaseObject;
use patchadm_rootfs::{WorkMeter, WorkUnit};
use patchadm_svr4::package::ObjectPath;

/// Opens a release without a count of its steps.
fn open(operand: &OsStr, cores: usize) -> Result<Release, ReleaseError> {
    super::open(operand, cores, &WorkMeter::default())
}

/// Opens a release.
fn opened(path: &Path) -> Release {
    open(path.as_os_str(), 2).unwrap()
}

/// Checks that identifying packages finds the same as opening them.
fn assert_identified(path: &Path) {
    let said = identify(path).unwrap().into_iter();
    let said: Vec<_> = said.map(|one| (one.name, one.arch, one.version, one.source).into()).collect();
    let found = opened(path).packages.into_iter();
    let found: Vec<[Option<String>; 4]> =
        found.map(|package| [package.name, package.arch, package.version, package.source]).collect();
    assert_eq!(said.into_iter().map(|one: [String; 4]| one.map(Some)).collect::<Vec<_>>(), found);
}

/// Returns the message of an operand that is refused.
fn refused(path: &Path) -> String {
    open(path.as_os_str(), 2).map(|_| ()).unwrap_err().problem.to_string()
}

fn prefixed(prefix: &str, path: &Path) -> OsString {
    let mut operand = OsString::from(prefix);
    operand.push(path);
    operand
}

/// Returns the contents of all files, read a second time and compared with the first.
fn contents(package: &ReleasePackage) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    package
        .contents
        .each(&|_| true, &mut |path, data| {
            let object = at(package, path).unwrap();
            let mut bytes = Vec::new();
            Verified::new(data, *object.content().unwrap()).read_to_end(&mut bytes)?;
            assert!(found.insert(path.to_string(), bytes).is_none(), "{path} once");
            Ok(())
        })
        .unwrap();
    found
}

fn at<'p>(package: &'p ReleasePackage, path: &ObjectPath) -> Option<&'p ReleaseObject> {
    package.objects.iter().find(|object| object.path == *path)
}

fn object<'p>(package: &'p ReleasePackage, path: &str) -> &'p ReleaseObject {
    at(package, &ObjectPath::new(path.as_bytes()).unwrap()).unwrap_or_else(|| panic!("no {path}"))
}
