//! The places to look for the content of an entry.
//!
//! In this order (prototype(4), pkgmk(1)), but for information files: the directory of `-b` for relative paths, the
//! directories of `-r` for absolute ones, and for relative ones if there is no `-b`; the path after the `=`, relative to the directory of the prototype; `!rsearch` with the whole
//! path; `!search` with its last component; the directory of the prototype with the last component, then with the whole
//! path. `/dev/null` is an empty file. Only regular files count.

use std::ffi::OsStr;
use std::fs::{self};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::error::{NoObject, SearchPlace};
use super::reading::PrototypeScope;
use super::variables::PrototypeVariables;
use patchadm_svr4::format::prototype::PrototypeEntry;
use patchadm_svr4::package::{Ftype, last_component};

/// The file that stands for no content.
const NOTHING: &[u8] = b"/dev/null";

/// The directories that the command line names.
#[derive(Clone, Copy, Debug)]
pub(super) struct ObjectLookup<'a> {
    pub(super) roots: &'a [PathBuf],
    pub(super) basedir: Option<&'a Path>,
}

/// The content of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FoundContent {
    /// A regular file.
    File(PathBuf),
    /// No bytes.
    Empty,
}

impl ObjectLookup<'_> {
    /// Finds the source of a file or information file that is called `path` in the package.
    pub(super) fn find(
        &self,
        entry: &PrototypeEntry,
        path: &[u8],
        scope: &PrototypeScope,
        variables: &PrototypeVariables,
    ) -> Result<FoundContent, NoObject> {
        let own = entry.right.as_ref().map(|right| variables.local_path(&scope.variables, right));
        if own.as_deref() == Some(NOTHING) {
            return Ok(FoundContent::Empty);
        }
        let name = own.as_deref().unwrap_or(path);
        let mut place = if own.is_some() { SearchPlace::Local } else { SearchPlace::Search };
        let mut candidates = Vec::new();
        if entry.ftype != Ftype::Information && self.applies_to(name) {
            candidates = self.below_roots(name);
            place = SearchPlace::Root;
        }
        match &own {
            Some(own) => candidates.push(scope.directory.join(OsStr::from_bytes(own))),
            None if place == SearchPlace::Root => {}
            None => candidates.extend(searched(path, scope)),
        }
        let is_file = |path: &PathBuf| fs::metadata(path).is_ok_and(|found| found.is_file());
        candidates
            .into_iter()
            .find(is_file)
            .map(FoundContent::File)
            .ok_or_else(|| NoObject { name: String::from_utf8_lossy(name).escape_debug().to_string(), place })
    }

    /// `-b` alone says nothing of absolute paths.
    fn applies_to(&self, name: &[u8]) -> bool {
        !self.roots.is_empty() || self.basedir.is_some() && name.first() != Some(&b'/')
    }

    fn below_roots(&self, name: &[u8]) -> Vec<PathBuf> {
        let is_absolute = name.first() == Some(&b'/');
        let name = relative(name);
        match self.basedir {
            Some(basedir) if !is_absolute => vec![basedir.join(name)],
            _ => self.roots.iter().map(|root| root.join(name)).collect(),
        }
    }
}

/// Returns the places of `!rsearch`, `!search` and the prototype itself.
fn searched(path: &[u8], scope: &PrototypeScope) -> Vec<PathBuf> {
    let whole = relative(path);
    let last = OsStr::from_bytes(last_component(path));
    let mut places: Vec<PathBuf> = scope.search_whole.iter().map(|at| at.join(whole)).collect();
    places.extend(scope.search.iter().map(|at| at.join(last)));
    places.extend([scope.directory.join(last), scope.directory.join(whole)]);
    places
}

/// Returns a path without the slashes at its beginning.
fn relative(path: &[u8]) -> &OsStr {
    let start = path.iter().position(|&byte| byte != b'/').unwrap_or(path.len());
    OsStr::from_bytes(path.get(start..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_svr4::package::PackagePath;

    #[test]
    fn absolute_paths_are_below_the_roots_and_relative_ones_in_the_base_directory_as_it_stands() {
        let roots = [PathBuf::from("r1"), PathBuf::from("r2")];
        let basedir = Some(Path::new("/base"));
        let both = ObjectLookup { roots: &roots, basedir };
        assert_eq!(both.below_roots(b"/etc/x"), [Path::new("r1/etc/x"), Path::new("r2/etc/x")]);
        assert_eq!(both.below_roots(b"bin/x"), [Path::new("/base/bin/x")]);
        let alone = ObjectLookup { roots: &[], basedir };
        assert_eq!(alone.below_roots(b"bin/x"), [Path::new("/base/bin/x")]);
        assert!(alone.applies_to(b"bin/x") && !alone.applies_to(b"/etc/x"));
    }

    #[test]
    fn what_is_not_found_is_told_with_the_place() {
        let dir = tempfile::tempdir().unwrap();
        let scope = PrototypeScope { directory: dir.path().to_owned(), ..PrototypeScope::default() };
        let nowhere = ObjectLookup { roots: &[], basedir: None };
        let mut entry = PrototypeEntry::new(Ftype::File, "none", PackagePath::new(b"bin/x").unwrap());
        let find = |entry: &PrototypeEntry, lookup: ObjectLookup<'_>| {
            lookup
                .find(entry, b"bin/x", &scope, &PrototypeVariables::default())
                .map_err(|error| error.to_string())
        };
        let said = |place: &str| format!("no object for <bin/x> found in {place}");
        assert_eq!(find(&entry, nowhere), Err(said("search path")));
        let roots = [dir.path().join("root")];
        assert_eq!(find(&entry, ObjectLookup { roots: &roots, basedir: None }), Err(said("root directory")));
        entry.right = Some(b"bin/x".to_vec());
        assert_eq!(find(&entry, nowhere), Err(said("local path")));
        entry.right = Some(NOTHING.to_vec());
        assert_eq!(find(&entry, nowhere), Ok(FoundContent::Empty));
        entry.right = None;
        fs::write(dir.path().join("x"), "").unwrap();
        assert_eq!(find(&entry, nowhere), Ok(FoundContent::File(dir.path().join("x"))));
    }
}
