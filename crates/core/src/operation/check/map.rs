//! A pkgmap as the records of a check, instead of the database: pkgchk(1M) `-m`.
//!
//! Paths and variables of the map get their values from the installed parameters of the named package, if there is one, and
//! with precedence from the environment file (`-e`). Without a BASEDIR, relative paths lie in `/`.

use std::path::{Path, PathBuf};

use super::findings::{CheckError, UnmatchedOperands};
use super::scope::CheckScope;
use crate::operation::queries::packages::parameter_file;
use crate::operation::queries::select::PackagePattern;
use patchadm_inputs::database::{RecordView, installed};
use patchadm_inputs::input_file::read_start;
use patchadm_svr4::format::pkgmap::{Pkgmap, PkgmapEntry};
use patchadm_svr4::package::{ContentsLine, ObjectPath, OwningPackage, Params, PkgInst, variables};

/// The largest pkgmap that is read, in bytes: 1 GiB.
const LARGEST: u64 = 1 << 30;

/// The files that `-m` and `-e` name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapFiles {
    /// The pkgmap.
    pub pkgmap: PathBuf,
    /// Parameters, in the syntax of pkginfo(4).
    pub environment: Option<PathBuf>,
}

/// A pkgmap that has been read.
#[derive(Debug)]
pub(super) struct CheckMap {
    path: PathBuf,
    pkgmap: Pkgmap,
    environment: Params,
}

impl CheckMap {
    pub(super) fn read(files: &MapFiles) -> Result<Self, CheckError> {
        let bad = |reason: String| CheckError::Map { path: files.pkgmap.display().to_string(), reason };
        let text = read(&files.pkgmap).map_err(|error| bad(error.to_string()))?;
        let pkgmap = Pkgmap::parse(&text).map_err(|error| bad(error.to_string()))?;
        let environment = match &files.environment {
            Some(path) => parameter_file(path)?,
            None => Params::new(),
        };
        Ok(Self { path: files.pkgmap.clone(), pkgmap, environment })
    }

    /// Returns the objects of the map in scope, in its order. A named package that is not installed is unknown, and gives no
    /// variable a value.
    pub(super) fn lines(
        &self,
        view: &RecordView<'_>,
        scope: &CheckScope,
    ) -> Result<(Vec<ContentsLine>, UnmatchedOperands), CheckError> {
        let mut unknown = UnmatchedOperands::default();
        let mut params = self.environment.clone();
        let mut owners = Vec::new();
        if let [PackagePattern::One(name)] = scope.packages.as_slice() {
            let package = PkgInst::new(name).ok();
            match package.as_ref().map(|package| installed::params(view, package)).transpose()?.flatten() {
                Some(of_package) => of_package.iter().for_each(|(name, value)| params.push(name, value)),
                None => unknown.packages.push(name.clone()),
            }
            owners.extend(package.map(OwningPackage::new));
        }
        let base = match params.get("BASEDIR").map(<[u8]>::trim_ascii) {
            None | Some(b"") => ObjectPath::root(),
            Some(path) => ObjectPath::new(path).map_err(|error| self.bad(&format!("BASEDIR: {error}")))?,
        };
        let mut lines = Vec::new();
        for entry in self.pkgmap.entries.iter().filter(|entry| !entry.is_information()) {
            let line = ContentsLine { owners: owners.clone(), ..self.line(entry, &base, &params)? };
            if scope.has_path(line.path.as_bytes()) {
                lines.push(line);
            }
        }
        let is_there = |path: &&ObjectPath| lines.iter().any(|line| line.path == **path);
        unknown.paths = scope.exact().filter(|path| !is_there(path)).cloned().collect();
        Ok((lines, unknown))
    }

    fn line(
        &self,
        entry: &PkgmapEntry,
        base: &ObjectPath,
        params: &Params,
    ) -> Result<ContentsLine, CheckError> {
        let path = entry
            .path
            .resolve(base, |name| variables::value(params, name))
            .map_err(|error| self.bad(&error.to_string()))?;
        let object = variables::expand_object(&entry.object, params)
            .map_err(|error| self.bad(&format!("{}: {error}", entry.path)))?;
        Ok(ContentsLine { path, volume: None, object: object.into_owned(), owners: Vec::new() })
    }

    fn bad(&self, reason: &str) -> CheckError {
        CheckError::Map { path: self.path.display().to_string(), reason: reason.to_owned() }
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let text = read_start(path, LARGEST)?;
    if text.len() as u64 > LARGEST {
        return Err(std::io::Error::other("it is larger than 1 GiB"));
    }
    Ok(text)
}
