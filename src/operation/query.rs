//! Questions about packages: which are there, and what are their parameters.
//!
//! Answers about a root come from one moment of its records ([`read_consistently`]); nothing is locked. A package that
//! the classic tools are just updating shows its old parameters, from the `.save.` copy that they make.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::counts::Counts;
use super::select::Selection;
use crate::database::{DatabaseError, View, contents, installed, places, read_consistently};
use crate::format::params::{LARGEST_FILE, ParamFile, ParamsError};
use crate::format::pkgmap::{Pkgmap, PkgmapError};
use crate::package::{Line, ObjectPath, Params, PkgInst};
use crate::root::{Root, RootError};

/// The largest `compver` file that is read, and the largest pkgmap (both in bytes).
const LARGEST_COMPVER: u64 = 1 << 20;
const LARGEST_PKGMAP: u64 = 1 << 30;

/// The parameters without which a pkginfo file is none (pkginfo(4)).
const MANDATORY: [&str; 4] = ["NAME", "ARCH", "VERSION", "CATEGORY"];

/// Where a package stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Installed.
    Complete,
    /// An installation or removal was begun and not finished.
    Partial,
    /// On a device, to be installed.
    Spooled,
}

/// A package as pkginfo(1) lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedPackage {
    /// Its instance, or its name on a device.
    pub instance: String,
    /// Its parameters.
    pub params: Params,
    /// Where it stands.
    pub state: State,
    /// What it consists of, where that was asked for.
    pub counts: Option<Counts>,
}

/// The answer to a selection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The packages selected, in the order of their names.
    pub packages: Vec<ListedPackage>,
    /// The words that no package fits.
    pub missing: Vec<String>,
    /// Packages that would fit by name but whose pkginfo is no such file, with the reason.
    pub corrupt: Vec<(String, String)>,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The records of the root cannot be read.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Something on a device cannot be read.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A file named by the caller cannot be read.
    #[error("cannot read {}: {reason}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// A parameter file cannot be parsed.
    #[error("{path}: {reason}")]
    Params {
        /// The file.
        path: String,
        /// What is wrong, with the line.
        reason: ParamsError,
    },
    /// The pkgmap of a spooled package cannot be parsed.
    #[error("{path}: {reason}")]
    Pkgmap {
        /// The file.
        path: String,
        /// What is wrong, with the line.
        reason: PkgmapError,
    },
}

impl From<crate::database::ViewError> for QueryError {
    fn from(error: crate::database::ViewError) -> Self {
        Self::Database(error.into())
    }
}

/// The packages installed in `root`. With `count`, `contents` is read as well.
pub fn installed_packages(root: &Root, selection: &Selection, count: bool) -> Result<Listing, QueryError> {
    read_consistently(root, |view| {
        let mut listing = Listing::default();
        for inst in installed::packages(view)?.iter().filter(|inst| selection.fits_name(inst.as_str())) {
            match params_of(view, inst) {
                Ok(Some(params)) => {
                    let package = installed_package(view, inst, params)?;
                    listing.add(package, selection, || compver_of(view, inst))?;
                }
                Ok(None) => {}
                Err(DatabaseError::Params { reason, .. }) => {
                    listing.corrupt.push((inst.to_string(), reason.to_string()));
                }
                Err(error) => return Err(error.into()),
            }
        }
        if count {
            count_objects(view, &mut listing.packages)?;
        }
        Ok(listing.close(selection))
    })
}

/// The `compver` file of an installed package.
fn compver_of(view: &View<'_>, inst: &PkgInst) -> Result<Option<Vec<u8>>, QueryError> {
    match places::package(inst).join(b"install/compver") {
        Ok(path) => Ok(view.read(&path, LARGEST_COMPVER)?),
        Err(_) => Ok(None),
    }
}

fn installed_package(
    view: &View<'_>,
    inst: &PkgInst,
    params: Params,
) -> Result<ListedPackage, DatabaseError> {
    let names = view.list(&places::package(inst))?.unwrap_or_default();
    let is_partial = names.iter().any(|name| name == b"!I-Lock!" || name == b"!R-Lock!");
    let state = if is_partial { State::Partial } else { State::Complete };
    Ok(ListedPackage { instance: inst.to_string(), params, state, counts: None })
}

/// Counts the objects of all packages in one pass over `contents`; no line is kept.
fn count_objects(view: &View<'_>, packages: &mut [ListedPackage]) -> Result<(), DatabaseError> {
    let mut counts: BTreeMap<String, Counts> =
        packages.iter().map(|package| (package.instance.clone(), Counts::default())).collect();
    contents::scan(view, |raw| {
        // A line that cannot be parsed is wanted, so that the scan names it as an error.
        let Ok(line) = Line::parse(raw) else { return true };
        for owner in &line.owners {
            if let Some(counts) = counts.get_mut(owner.package.as_str()) {
                counts.add_line(&line, &owner.package);
            }
        }
        false
    })?;
    for package in packages {
        package.counts = counts.get(&package.instance).copied();
    }
    Ok(())
}

/// The parameters of an installed package; none where there is no such package.
pub fn parameters(root: &Root, instance: &str) -> Result<Option<Params>, QueryError> {
    let Ok(inst) = PkgInst::new(instance) else { return Ok(None) };
    read_consistently(root, |view| Ok(params_of(view, &inst)?))
}

/// The old parameters of a package that the classic tools are updating, else those that it has.
fn params_of(view: &View<'_>, inst: &PkgInst) -> Result<Option<Params>, DatabaseError> {
    let Ok(saved) = places::packages().join(format!(".save.{inst}/pkginfo").as_bytes()) else {
        return installed::params(view, inst);
    };
    match view.read(&saved, LARGEST_FILE as u64)? {
        None => installed::params(view, inst),
        Some(text) => {
            let file = ParamFile::parse(&text)
                .map_err(|reason| DatabaseError::Params { path: view.root().show(&saved), reason })?;
            Ok(Some(file.params()))
        }
    }
}

/// The parameters in a file of the host.
pub fn parameter_file(path: &Path) -> Result<Params, QueryError> {
    let failed = |reason| QueryError::File { path: path.to_owned(), reason };
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST_FILE as u64 + 1).read_to_end(&mut text))
        .map_err(failed)?;
    let file = ParamFile::parse(&text);
    let file = file.map_err(|reason| QueryError::Params { path: path.display().to_string(), reason })?;
    Ok(file.params())
}

/// The packages in a directory of the host: a spool with a directory for each, or a single package itself.
pub fn spooled_packages(device: &Path, selection: &Selection) -> Result<Listing, QueryError> {
    let spool = Root::open(device)?;
    let mut listing = Listing::default();
    for (directory, name) in spooled_directories(&spool)? {
        let params = match spooled_params(&spool, &directory) {
            Ok(Some(params)) => params,
            Ok(None) => continue,
            Err(QueryError::Params { reason, .. }) => {
                if selection.fits_name(&name) {
                    listing.corrupt.push((name, reason.to_string()));
                }
                continue;
            }
            Err(error) => return Err(error),
        };
        let instance = if name.is_empty() { params.text("PKG").into_owned() } else { name };
        if selection.fits_name(&instance) {
            let counts = Some(spooled_counts(&spool, &directory)?);
            let package = ListedPackage { instance, params, state: State::Spooled, counts };
            listing.add(package, selection, || {
                Ok(read_in(&spool, &directory, "install/compver", LARGEST_COMPVER)?)
            })?;
        }
    }
    Ok(listing.close(selection))
}

/// The parameters of a package on a device; none where it is not there.
pub fn spooled_parameters(device: &Path, instance: &str) -> Result<Option<Params>, QueryError> {
    let spool = Root::open(device)?;
    for (directory, name) in spooled_directories(&spool)? {
        if !name.is_empty() && name != instance {
            continue;
        }
        let params = spooled_params(&spool, &directory)?;
        if params.as_ref().is_some_and(|params| !name.is_empty() || params.text("PKG") == instance) {
            return Ok(params);
        }
    }
    Ok(None)
}

/// The directories that may be packages, with their names; the device itself has none.
fn spooled_directories(spool: &Root) -> Result<Vec<(ObjectPath, String)>, RootError> {
    let top = ObjectPath::root();
    let names = spool.list(&top)?.unwrap_or_default();
    if names.iter().any(|name| name == b"pkginfo") {
        return Ok(vec![(top, String::new())]);
    }
    let packages = names.iter().filter_map(|name| {
        let inst = std::str::from_utf8(name).ok().and_then(|name| PkgInst::new(name).ok())?;
        Some((top.join(name).ok()?, inst.to_string()))
    });
    Ok(packages.collect())
}

fn spooled_params(spool: &Root, directory: &ObjectPath) -> Result<Option<Params>, QueryError> {
    let Some(text) = read_in(spool, directory, "pkginfo", LARGEST_FILE as u64)? else { return Ok(None) };
    match ParamFile::parse(&text) {
        Ok(file) => Ok(Some(file.params())),
        Err(reason) => Err(QueryError::Params { path: format!("{}/pkginfo", spool.show(directory)), reason }),
    }
}

fn spooled_counts(spool: &Root, directory: &ObjectPath) -> Result<Counts, QueryError> {
    let text = read_in(spool, directory, "pkgmap", LARGEST_PKGMAP)?.unwrap_or_default();
    match Pkgmap::parse(&text) {
        Ok(pkgmap) => Ok(Counts::of_pkgmap(&pkgmap)),
        Err(reason) => Err(QueryError::Pkgmap { path: format!("{}/pkgmap", spool.show(directory)), reason }),
    }
}

/// A file of a package on a device; none where the package or the file is not there.
fn read_in(
    spool: &Root,
    directory: &ObjectPath,
    name: &str,
    limit: u64,
) -> Result<Option<Vec<u8>>, RootError> {
    match directory.join(name.as_bytes()) {
        Ok(path) => spool.read(&path, limit),
        Err(_) => Ok(None),
    }
}

impl Listing {
    /// Takes a package if it fits; `compver` is asked for that file only where the selection needs it.
    fn add(
        &mut self,
        package: ListedPackage,
        selection: &Selection,
        compver: impl FnOnce() -> Result<Option<Vec<u8>>, QueryError>,
    ) -> Result<(), QueryError> {
        if let Some(lacking) = MANDATORY.into_iter().find(|name| package.params.get(name).is_none()) {
            self.corrupt.push((package.instance, format!("it has no {lacking}")));
            return Ok(());
        }
        let needs_compver = selection.version.as_ref().is_some_and(super::select::Version::needs_compver);
        let compver = if needs_compver { compver()?.unwrap_or_default() } else { Vec::new() };
        let fits_state = selection.fits_state(package.state == State::Partial);
        if fits_state && selection.fits_params(&package.params, &compver) {
            self.packages.push(package);
        }
        Ok(())
    }

    /// Notes which words found nothing.
    fn close(mut self, selection: &Selection) -> Self {
        let known = || {
            let corrupt = self.corrupt.iter().map(|(name, _)| name);
            self.packages.iter().map(|package| &package.instance).chain(corrupt)
        };
        let missing = selection.patterns.iter().filter(|pattern| !known().any(|name| pattern.fits(name)));
        self.missing = missing.map(ToString::to_string).collect();
        self
    }
}
