//! The stage of `patchadm demo`: sample packages, sample patches and an empty root in a directory of their own.
//!
//! Only what a producer and an administrator would have made by hand is made here, and a checksum to compare trees
//! with. Installing, applying and backing out is not: the demonstration calls the same operations as the commands.

mod fingerprint;
mod samples;
mod spool;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use fingerprint::{Fingerprint, fingerprint};

use samples::{EPOCH, SamplePatch};

use crate::root::NewTree;

/// The most numbers that are tried for a new directory.
const MOST_DIRECTORIES: u32 = 10_000;

/// The accounts of the root, so that owners mean the same on every machine.
const PASSWD: &str = "root:x:0:0:Super-User:/:/bin/sh\n";
const GROUP: &str = "root:x:0:\nbin:x:2:\n";

/// A directory with everything that the demonstration needs.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The directory, absolute.
    pub directory: PathBuf,
    /// Names of the packages in `packages/`, in the order in which they are installed.
    pub packages: Vec<&'static str>,
    /// The patches in `patches/`, in the order in which they are applied.
    pub patches: Vec<Delivery>,
    /// A patch in `patches/` that cannot be applied after those.
    pub refused: Delivery,
    /// A file that is the first to be patched, as a path in the root.
    pub program: PathBuf,
}

/// A patch that was written.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its id, and the name of its directory.
    pub id: &'static str,
    /// What it is for.
    pub synopsis: &'static str,
}

/// Why there is no stage.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The directory holds something already.
    #[error("{} is not empty; name a new or an empty directory", .0.display())]
    NotEmpty(PathBuf),
    /// Something cannot be written.
    #[error("cannot write the demonstration to {}: {reason}", .path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
}

impl Stage {
    /// Makes the stage in a directory that is empty or not there yet.
    pub fn make(directory: &Path) -> Result<Self, StageError> {
        let failed = |reason| StageError::Io { path: directory.to_owned(), reason };
        NewTree::at(directory).map_err(|error| failed(error.into()))?;
        if fs::read_dir(directory).map_err(failed)?.next().is_some() {
            return Err(StageError::NotEmpty(directory.to_owned()));
        }
        let directory = fs::canonicalize(directory).map_err(failed)?;
        let patches = samples::patches();
        let refused = samples::refused();
        write(&directory, patches.iter().chain([&refused])).map_err(failed)?;
        let delivery = |patch: &SamplePatch| Delivery { id: patch.id, synopsis: patch.synopsis };
        Ok(Self {
            directory,
            packages: samples::packages().iter().map(|package| package.name).collect(),
            patches: patches.iter().map(delivery).collect(),
            refused: delivery(&refused),
            program: Path::new(samples::BASEDIR.trim_start_matches('/')).join("bin/acmed"),
        })
    }

    /// Makes the stage in a new directory `patchadm-demo`, `patchadm-demo-2`, … of `parent`.
    pub fn make_new(parent: &Path) -> Result<Self, StageError> {
        for number in 1..=MOST_DIRECTORIES {
            let name =
                if number == 1 { "patchadm-demo".to_owned() } else { format!("patchadm-demo-{number}") };
            let path = parent.join(name);
            match spool::make_directory(&path) {
                Ok(()) => return Self::make(&path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(reason) => return Err(StageError::Io { path, reason }),
            }
        }
        Err(StageError::NotEmpty(parent.to_owned()))
    }

    /// The directory to be named with `-R`.
    pub fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    /// The directory of the packages.
    pub fn spool(&self) -> PathBuf {
        self.directory.join("packages")
    }

    /// The directory of a patch.
    pub fn patch(&self, delivery: &Delivery) -> PathBuf {
        self.directory.join("patches").join(delivery.id)
    }
}

fn write<'a>(directory: &Path, patches: impl Iterator<Item = &'a SamplePatch>) -> io::Result<()> {
    for name in ["root", "root/etc", "packages", "patches"] {
        spool::make_directory(&directory.join(name))?;
    }
    spool::write_file(&directory.join("root/etc/passwd"), PASSWD.as_bytes(), 0o644, EPOCH)?;
    spool::write_file(&directory.join("root/etc/group"), GROUP.as_bytes(), 0o644, EPOCH)?;
    for package in samples::packages() {
        spool::write_package(&directory.join("packages").join(package.name), &package, &[])?;
    }
    for patch in patches {
        spool::write_patch(&directory.join("patches").join(patch.id), patch)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;
    use crate::source::{self, Extent, Origin};

    #[test]
    fn what_is_written_is_sound_and_the_same_every_time() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let stage = Stage::make(one.path()).unwrap();
        Stage::make(other.path()).unwrap();
        let of = |dir: &Path| fingerprint(&Root::open(dir).unwrap()).unwrap();
        assert_eq!(of(one.path()), of(other.path()));
        let patches = stage.patches.iter().chain([&stage.refused]).map(|patch| stage.patch(patch));
        for source in patches.chain([stage.spool()]) {
            let (source, image) = source::open(Origin::Path(&source), Extent::Everything).unwrap();
            source.verify(&image).unwrap();
            assert!(!image.packages.is_empty());
        }
    }

    #[test]
    fn nothing_is_written_where_something_is_and_a_new_directory_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let first = Stage::make_new(dir.path()).unwrap();
        let second = Stage::make_new(dir.path()).unwrap();
        assert!(first.directory.ends_with("patchadm-demo") && second.directory.ends_with("patchadm-demo-2"));
        let refusal = Stage::make(&first.directory).unwrap_err();
        assert!(refusal.to_string().ends_with("is not empty; name a new or an empty directory"), "{refusal}");
    }
}
