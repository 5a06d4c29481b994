//! The directory of the demonstration: packages and patches made of embedded files, and an empty root, in a directory.
//!
//! Only what a producer and an administrator would have made by hand is made here, by the code of pkgmk(1). Contents,
//! modes and times are fixed: two such directories are the same.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use patchadm_making::make::{MakeRequest, MakeWatch, ParameterDefaults, make_package};
use patchadm_rootfs::{Dir, NewTree, Timestamp};
use patchadm_svr4::package::{Mode, Params};

/// The most numbers that are tried for a new directory.
const MOST_DIRECTORIES: u32 = 10_000;

/// The first modification time of delivered files, in seconds since 1970: 1 January 2020.
const EPOCH: i64 = 1_577_836_800;

/// The accounts of the root, so that owners mean the same on every machine.
const PASSWD: &str = "root:x:0:0:Super-User:/:/bin/sh\n";
const GROUP: &str = "root:x:0:\nbin:x:2:\n";

/// The directory that holds the embedded files while packages are made of them.
const SOURCES: &str = "sources";

/// Embedded files with their names.
macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../../../testdata/demo/", $name)))),*]
    };
}

/// An embedded file: its name and its bytes.
type EmbeddedFile = (&'static str, &'static [u8]);

/// Embedded files by the day of their modification, counted from [`EPOCH`].
const FILES: &[(i64, &[EmbeddedFile])] = &[
    (
        0,
        files![
            "ACMElib.patch.prototype",
            "ACMElib.pkginfo",
            "ACMElib.prototype",
            "ACMEweb.100001-01.prototype",
            "ACMEweb.100001-02.prototype",
            "ACMEweb.100002-01.prototype",
            "ACMEweb.100003-01.prototype",
            "ACMEweb.pkginfo",
            "ACMEweb.prototype",
            "acmed",
            "banner.txt",
            "deletes",
            "libacme.so.1",
            "old-help.txt",
        ],
    ),
    (30, files!["404.txt", "100001-01/acmed", "libacme.so.2"]),
    (60, files!["500.txt", "100001-02/acmed"]),
    (90, files!["100002-01/acmed", "100002-01/banner.txt"]),
    (120, files!["100003-01/acmed"]),
];

/// The packages, in the order in which they are installed.
pub(super) const PACKAGES: [&str; 2] = ["ACMElib", "ACMEweb"];

/// A file that every patch replaces, as a path in the root.
pub(super) const PROGRAM: &str = "opt/acme/bin/acmed";

/// A patch of the demonstration.
#[derive(Debug)]
pub(super) struct DemoPatch {
    pub(super) id: &'static str,
    pub(super) synopsis: &'static str,
    obsoletes: &'static str,
    requires: &'static str,
    prototypes: &'static [&'static str],
}

/// The patches that are applied, in their order.
pub(super) const PATCHES: [DemoPatch; 3] = [
    DemoPatch {
        id: "100001-01",
        synopsis: "acmed: answers for pages that are not there",
        obsoletes: "",
        requires: "",
        prototypes: &["ACMElib.patch", "ACMEweb.100001-01"],
    },
    DemoPatch {
        id: "100001-02",
        synopsis: "acmed: the first revision, and answers for errors of its own",
        obsoletes: "",
        requires: "",
        prototypes: &["ACMElib.patch", "ACMEweb.100001-02"],
    },
    DemoPatch {
        id: "100002-01",
        synopsis: "acmed: feature release, contains everything of 100001-02",
        obsoletes: "100001-02",
        requires: "",
        prototypes: &["ACMElib.patch", "ACMEweb.100002-01"],
    },
];

/// A patch that cannot be applied after those: it requires one that is not available.
pub(super) const REFUSED: DemoPatch = DemoPatch {
    id: "100003-01",
    synopsis: "acmed: works only together with patch 100099-01",
    obsoletes: "",
    requires: "100099-01",
    prototypes: &["ACMEweb.100003-01"],
};

/// A directory with everything that the demonstration needs.
#[derive(Debug)]
pub(super) struct DemoDirectory {
    /// The directory, absolute.
    pub(super) directory: PathBuf,
}

/// The reason why the directory cannot be filled.
#[derive(Debug, thiserror::Error)]
pub(super) enum DemoError {
    #[error("{} is not empty; name a new or an empty directory", .0.display())]
    NotEmpty(PathBuf),
    #[error("cannot write the demonstration to {}: {reason}", .path.display())]
    Io { path: PathBuf, reason: io::Error },
}

impl DemoDirectory {
    /// Fills a directory that is empty or not there yet.
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

    /// Returns the directory to be named with `-R`.
    pub(super) fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    /// Returns the directory of the packages.
    pub(super) fn spool(&self) -> PathBuf {
        self.directory.join("packages")
    }

    /// Returns the directory of a patch.
    pub(super) fn patch(&self, patch: &DemoPatch) -> PathBuf {
        self.directory.join("patches").join(patch.id)
    }

    fn write(&self) -> io::Result<()> {
        let top = Dir::of_host(&self.directory)?;
        let mut tree = NewTree::at(&self.directory)?;
        for (day, files) in FILES {
            for (name, bytes) in *files {
                write(&mut tree, &format!("{SOURCES}/{name}"), bytes, *day)?;
            }
        }
        write(&mut tree, "root/etc/passwd", PASSWD.as_bytes(), 0)?;
        write(&mut tree, "root/etc/group", GROUP.as_bytes(), 0)?;
        tree.directory(b"packages")?;
        for package in PACKAGES {
            self.make_package(&self.spool(), package, &[])?;
        }
        for patch in PATCHES.iter().chain([&REFUSED]) {
            write(&mut tree, &format!("patches/{0}/README.{0}", patch.id), patch.readme().as_bytes(), 0)?;
            for prototype in patch.prototypes {
                self.make_package(&self.patch(patch), prototype, &patch.assignments())?;
            }
        }
        Ok(top.remove_tree(SOURCES.as_bytes())?)
    }

    fn make_package(&self, device: &Path, name: &str, assignments: &[(&str, &str)]) -> io::Result<()> {
        let request = MakeRequest {
            prototype: Some(self.directory.join(SOURCES).join(format!("{name}.prototype"))),
            device: device.to_owned(),
            overwrite: false,
            roots: Vec::new(),
            basedir: None,
            assignments: assignments.iter().copied().collect::<Params>(),
            limit: None,
            instance: None,
            defaults: ParameterDefaults::default(),
            now: EPOCH,
        };
        let mut watch = MakeWatch { tell: &mut |_| (), interrupt: &|| None };
        make_package(&request, &mut watch).map(drop).map_err(io::Error::other)
    }
}

impl DemoPatch {
    fn readme(&self) -> String {
        format!(
            "Patch-ID# {}\n\nSynopsis: {}\n\nPatches accumulated and obsoleted by this patch: {}\n\n\
             Patches required with this patch: {}\n",
            self.id, self.synopsis, self.obsoletes, self.requires
        )
    }

    /// Returns the assignments that its packages are made with: the variable of the prototypes, and the parameters of a
    /// patch.
    fn assignments(&self) -> Vec<(&'static str, &'static str)> {
        let parameters = [
            ("patch", self.id),
            ("SUNW_PATCHID", self.id),
            ("SUNW_OBSOLETES", self.obsoletes),
            ("SUNW_REQUIRES", self.requires),
        ];
        parameters.into_iter().filter(|(_, value)| !value.is_empty()).collect()
    }
}

/// Writes a new file, with the directories above it.
fn write(tree: &mut NewTree, name: &str, bytes: &[u8], day: i64) -> io::Result<()> {
    let file = tree.write(name.as_bytes(), bytes, Mode::of(0o644))?;
    Ok(file.set_mtime(Timestamp::whole(EPOCH + day * 86_400))?)
}

#[cfg(test)]
mod tests {
    use super::super::fingerprint::fingerprint;
    use super::*;
    use patchadm_inputs::source::{Extent, Origin, open};
    use patchadm_rootfs::Root;

    #[test]
    fn what_is_written_is_sound_and_the_same_every_time() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let filled = DemoDirectory::make(one.path()).unwrap();
        DemoDirectory::make(other.path()).unwrap();
        let of = |dir: &Path| fingerprint(&Root::open(dir).unwrap()).unwrap();
        assert_eq!(of(one.path()), of(other.path()));
        let patches = PATCHES.iter().chain([&REFUSED]).map(|patch| filled.patch(patch));
        for source in patches.chain([filled.spool()]) {
            let (source, image) = open(Origin::Path(&source), Extent::Everything).unwrap();
            source.verify(&image).unwrap();
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
        assert!(refusal.to_string().ends_with("is not empty; name a new or an empty directory"), "{refusal}");
    }
}
