//! The places where some trees differ: a program that reaches none of them loads the same in all trees.

use std::sync::LazyLock;

use foldhash::{HashMap, HashSet};

use super::tree::{LibraryFile, is_library_name};
use patchadm_svr4::package::ObjectPath;

/// The paths at which some trees differ, and the names that find them there.
#[derive(Debug, Default)]
pub(super) struct Differences {
    paths: HashSet<ObjectPath>,
    /// The SONAMEs of libraries at these paths, by directory: under them `ldconfig` finds a library by another name.
    names: HashMap<Vec<u8>, HashSet<String>>,
}

/// No difference.
static NONE: LazyLock<Differences> = LazyLock::new(Differences::default);

impl Differences {
    /// Returns none at all.
    pub(super) fn none() -> &'static Self {
        &NONE
    }

    /// Adds a path, with the libraries that are there in one tree or another.
    pub(super) fn add<'f>(&mut self, path: &ObjectPath, files: impl IntoIterator<Item = &'f LibraryFile>) {
        let directory = path.parent_bytes().filter(|_| is_library_name(path.name()));
        for soname in files.into_iter().filter_map(|file| file.facts.soname.as_ref()) {
            if let Some(directory) = directory {
                self.names.entry(directory.to_vec()).or_default().insert(soname.clone());
            }
        }
        self.paths.insert(path.clone());
    }

    /// Tells whether there is a difference at a path.
    pub(super) fn has_path(&self, path: &[u8]) -> bool {
        self.paths.contains(path)
    }

    /// Tells whether a SONAME is among the differences of a directory.
    pub(super) fn has_name(&self, directory: &[u8], soname: &str) -> bool {
        self.names.get(directory).is_some_and(|names| names.contains(soname))
    }
}
