//! The directory of the demonstration: embedded packages and patches, and an empty root.
//!
//! Contents, modes and times are fixed: two such directories are the same.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use patchadm_rootfs::{Dir, NewTree, Timestamp};
use patchadm_svr4::format::pkgmap::Pkgmap;
use patchadm_svr4::package::Mode;

const MOST_DIRECTORIES: u32 = 10_000;

/// First modification time of delivered files, in seconds since 1970: 1 January 2020.
const EPOCH: i64 = 1_577_836_800;

/// Accounts of the root, so that owners mean the same on every machine.
const PASSWD: &str = "root:x:0:0:Super-User:/:/bin/sh\n";
const GROUP: &str = "root:x:0:\nbin:x:2:\n";

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../../../testdata/demo/", $name)))),*]
    };
}

/// Names below the directory, and bytes.
const FILES: &[(&str, &[u8])] = files![
    "packages/ACMElib/pkginfo",
    "packages/ACMElib/pkgmap",
    "packages/ACMElib/reloc/lib/libacme.so.1",
    "packages/ACMEweb/pkginfo",
    "packages/ACMEweb/pkgmap",
    "packages/ACMEweb/reloc/bin/acmed",
    "packages/ACMEweb/reloc/share/banner.txt",
    "packages/ACMEweb/reloc/share/old-help.txt",
    "patches/100001-01/ACMElib/pkginfo",
    "patches/100001-01/ACMElib/pkgmap",
    "patches/100001-01/ACMElib/reloc/lib/libacme.so.2",
    "patches/100001-01/ACMEweb/install/deletes",
    "patches/100001-01/ACMEweb/pkginfo",
    "patches/100001-01/ACMEweb/pkgmap",
    "patches/100001-01/ACMEweb/reloc/bin/acmed",
    "patches/100001-01/ACMEweb/reloc/share/errors/404.txt",
    "patches/100001-01/README.100001-01",
    "patches/100001-02/ACMElib/pkginfo",
    "patches/100001-02/ACMElib/pkgmap",
    "patches/100001-02/ACMElib/reloc/lib/libacme.so.2",
    "patches/100001-02/ACMEweb/install/deletes",
    "patches/100001-02/ACMEweb/pkginfo",
    "patches/100001-02/ACMEweb/pkgmap",
    "patches/100001-02/ACMEweb/reloc/bin/acmed",
    "patches/100001-02/ACMEweb/reloc/share/errors/404.txt",
    "patches/100001-02/ACMEweb/reloc/share/errors/500.txt",
    "patches/100001-02/README.100001-02",
    "patches/100002-01/ACMElib/pkginfo",
    "patches/100002-01/ACMElib/pkgmap",
    "patches/100002-01/ACMElib/reloc/lib/libacme.so.2",
    "patches/100002-01/ACMEweb/install/deletes",
    "patches/100002-01/ACMEweb/pkginfo",
    "patches/100002-01/ACMEweb/pkgmap",
    "patches/100002-01/ACMEweb/reloc/bin/acmed",
    "patches/100002-01/ACMEweb/reloc/share/banner.txt",
    "patches/100002-01/ACMEweb/reloc/share/errors/404.txt",
    "patches/100002-01/ACMEweb/reloc/share/errors/500.txt",
    "patches/100002-01/README.100002-01",
    "patches/100003-01/ACMEweb/pkginfo",
    "patches/100003-01/ACMEweb/pkgmap",
    "patches/100003-01/ACMEweb/reloc/bin/acmed",
    "patches/100003-01/README.100003-01",
];

/// In the order of installation.
pub(super) const PACKAGES: [&str; 2] = ["ACMElib", "ACMEweb"];

/// Every patch replaces this file of the root.
pub(super) const SERVER: &str = "opt/acme/bin/acmed";

#[derive(Debug)]
pub(super) struct DemoPatch {
    pub(super) id: &'static str,
    pub(super) synopsis: &'static str,
}

/// In the order of application.
pub(super) const PATCHES: [DemoPatch; 3] = [
    DemoPatch { id: "100001-01", synopsis: "acmed: answers for pages that are not there" },
    DemoPatch { id: "100001-02", synopsis: "acmed: the first revision, plus its own error messages" },
    DemoPatch { id: "100002-01", synopsis: "acmed: feature release, contains everything in 100001-02" },
];

/// Cannot be applied after those: it requires a missing patch.
pub(super) const REFUSED: DemoPatch =
    DemoPatch { id: "100003-01", synopsis: "acmed: works only together with patch 100099-01" };

#[derive(Debug)]
pub(super) struct DemoDirectory {
    pub(super) directory: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum DemoError {
    #[error("{} is not empty; specify a new or an empty directory", .0.display())]
    NotEmpty(PathBuf),
    #[error("cannot write the demo to {}: {reason}", .path.display())]
    Io { path: PathBuf, reason: io::Error },
}

impl DemoDirectory {
    /// Fills an empty or missing directory.
    pub(super) fn make(directory: &Path) -> Result<Self, DemoError> {
        let failed = |reason| DemoError::Io { path: directory.to_owned(), reason };
        NewTree::at(directory).map_err(|error| failed(error.into()))?;
        if fs::read_dir(directory).map_err(failed)?.next().is_some() {
            return Err(DemoError::NotEmpty(directory.to_owned()));
        }
        let filled = Self { directory: fs::canonicalize(directory).map_err(failed)? };
        filled.write().map_err(failed)?;
        Ok(filled)
    }

    /// Fills a new directory `patchadm-demo`, `patchadm-demo-2`, … of `parent`.
    pub(super) fn make_new(parent: &Path) -> Result<Self, DemoError> {
        let failed = |path: &Path, reason| DemoError::Io { path: path.to_owned(), reason };
        let above = Dir::of_host(parent).map_err(|error| failed(parent, error.into()))?;
        for number in 1..=MOST_DIRECTORIES {
            let name =
                if number == 1 { "patchadm-demo".to_owned() } else { format!("patchadm-demo-{number}") };
            let path = parent.join(&name);
            match above.make_dir(name.as_bytes(), Mode::of(0o755)).map_err(io::Error::from) {
                Ok(_) => return Self::make(&path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(reason) => return Err(failed(&path, reason)),
            }
        }
        Err(DemoError::NotEmpty(parent.to_owned()))
    }

    pub(super) fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    fn write(&self) -> io::Result<()> {
        let mut tree = NewTree::at(&self.directory)?;
        for (name, bytes) in [("root/etc/passwd", PASSWD), ("root/etc/group", GROUP)] {
            write(&mut tree, name, bytes.as_bytes(), Mode::of(0o644), EPOCH)?;
        }
        for (name, bytes) in FILES {
            let (mode, mtime) = delivered(name).unwrap_or((Mode::of(0o644), EPOCH));
            write(&mut tree, name, bytes, mode, mtime)?;
        }
        Ok(())
    }
}

/// Mode and time of a package's object, as in its pkgmap.
fn delivered(name: &str) -> Option<(Mode, i64)> {
    let (package, path) = name.split_once("/reloc/")?;
    let (_, pkgmap) = FILES.iter().find(|(name, _)| name.strip_prefix(package) == Some("/pkgmap"))?;
    let pkgmap = Pkgmap::parse(pkgmap).ok()?;
    let entry = pkgmap.entries.iter().find(|entry| entry.path.as_bytes() == path.as_bytes())?;
    Some((entry.object.attributes.mode?, entry.object.content.mtime?))
}

fn write(tree: &mut NewTree, name: &str, bytes: &[u8], mode: Mode, mtime: i64) -> io::Result<()> {
    let file = tree.write(name.as_bytes(), bytes, mode)?;
    Ok(file.set_mtime(Timestamp::whole(mtime))?)
}

#[cfg(test)]
mod tests {
    use super::super::fingerprint::fingerprint;
    use super::*;
    use patchadm_inputs::source::{Extent, Origin, open};
    use patchadm_rootfs::{Root, never};

    #[test]
    fn what_is_written_is_sound_and_the_same_every_time() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let filled = DemoDirectory::make(one.path()).unwrap();
        DemoDirectory::make(other.path()).unwrap();
        let of = |dir: &Path| fingerprint(&Root::open(dir).unwrap()).unwrap();
        assert_eq!(of(one.path()), of(other.path()));
        let patches = PATCHES.iter().chain([&REFUSED]).map(|patch| format!("patches/{}", patch.id));
        for source in patches.chain(["packages".to_owned()]) {
            let source = filled.directory.join(source);
            let (source, image) = open(Origin::Path(&source), Extent::Everything).unwrap();
            source.verify(&image, &never).unwrap();
            assert!(!image.packages.is_empty());
        }
    }

    #[test]
    fn nothing_is_written_where_something_is_and_a_new_directory_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let first = DemoDirectory::make_new(dir.path()).unwrap();
        let second = DemoDirectory::make_new(dir.path()).unwrap();
        assert!(first.directory.ends_with("patchadm-demo") && second.directory.ends_with("patchadm-demo-2"));
        let refusal = DemoDirectory::make(&first.directory).unwrap_err();
        assert!(
            refusal.to_string().ends_with("is not empty; specify a new or an empty directory"),
            "{refusal}"
        );
    }
}
