//! The records that a check is about: lines of the database, or a pkgmap instead of it (pkgchk(1M) `-m`).
//!
//! Paths and variables of a pkgmap get their values from the installed parameters of the named package, if there is one, and
//! with precedence from the environment file (`-e`). Without a BASEDIR, relative paths lie in `/`.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::operation::check::findings::{CheckError, UnmatchedOperands};
use crate::operation::queries::packages::parameter_file;
use crate::operation::queries::recorded_path::recorded_lines;
use crate::operation::queries::select::{PackagePattern, PackageSelection};
use patchadm_inputs::database::contents::{self, ContentsLines};
use patchadm_inputs::database::{DatabaseError, RecordError, RecordView, all, installed, pieces};
use patchadm_inputs::input_file::read_start;
use patchadm_rootfs::{WorkStep, never};
use patchadm_svr4::format::contents::key_of;
use patchadm_svr4::format::pkgmap::{Pkgmap, PkgmapEntry};
use patchadm_svr4::package::{
    ContentsLine, ObjectPath, OwningPackage, Params, PathError, PkgInst, variables,
};

/// The objects that are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckScope {
    /// Only objects of any of these packages; of all packages if empty.
    pub packages: Vec<PackagePattern>,
    /// Only objects of packages of any of these categories, in any case; no package is named then.
    pub categories: Vec<String>,
    /// Only objects at any of these paths; all if empty.
    pub paths: Vec<PathPattern>,
}

/// A path operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// This path.
    Exactly(ObjectPath),
    /// Every path that begins with these bytes (a word that ends in `*`).
    Prefix(Vec<u8>),
    /// Every path that has these bytes in it.
    Part(Vec<u8>),
}

impl PathPattern {
    /// Reads a word of a path list: a path, or a prefix of paths if it ends in `*`.
    pub fn parse(word: &[u8]) -> Result<Self, PathError> {
        match word.strip_suffix(b"*") {
            Some(prefix) => Ok(Self::Prefix(prefix.to_vec())),
            None => ObjectPath::new(word).map(Self::Exactly),
        }
    }

    pub(super) fn fits(&self, path: &[u8]) -> bool {
        match self {
            Self::Exactly(exact) => exact.as_bytes() == path,
            Self::Prefix(prefix) => path.starts_with(prefix),
            Self::Part(part) => part.is_empty() || path.windows(part.len()).any(|window| window == part),
        }
    }
}

impl CheckScope {
    /// Returns the lines of `contents` in scope, in the order of their paths, and the operands that match nothing.
    pub(super) fn lines(
        &self,
        view: &RecordView<'_>,
        workers: usize,
    ) -> Result<(Vec<ContentsLine>, UnmatchedOperands), CheckError> {
        if let Some(found) = self.each(view, workers, None, || |line| line)? {
            return Ok(found);
        }
        let owners = OwnersInScope::of(self.wanted_packages(view)?);
        let mut lines = self.lines_of_paths(view)?;
        let mut unknown = UnmatchedOperands::default();
        let missing: Vec<ObjectPath> =
            self.exact().filter(|path| !lines.contains_key(*path)).cloned().collect();
        for (path, aliases) in
            missing.iter().zip(recorded_lines(view, &missing).map_err(CheckError::Operation)?)
        {
            if aliases.is_empty() {
                unknown.paths.push(path.clone());
            }
            lines.extend(aliases);
        }
        lines.retain(|_, line| owners.have(line));
        self.sort_out(view, &owners, &mut unknown)?;
        Ok((lines.into_values().collect(), unknown))
    }

    /// Returns the same, with the results of this number of workers that process the lines while they are read. `None` if
    /// the lines must be complete first: only some paths are in scope, or `contents` is not sorted. `step` counts all lines.
    pub(super) fn each<R: Send, W: FnMut(ContentsLine) -> R>(
        &self,
        view: &RecordView<'_>,
        workers: usize,
        step: Option<&WorkStep>,
        worker: impl Fn() -> W + Sync,
    ) -> Result<Option<(Vec<R>, UnmatchedOperands)>, CheckError> {
        if !self.paths.is_empty() {
            return Ok(None);
        }
        let owners = OwnersInScope::of(self.wanted_packages(view)?);
        let made = pieces::every(view, workers, &never, || {
            let (mut work, owners) = (worker(), &owners);
            move |line: ContentsLine| {
                let worked = owners.have(&line).then(|| work(line));
                if let Some(step) = step {
                    step.advance(1);
                }
                worked
            }
        })?;
        let Some(made) = made else { return Ok(None) };
        let mut unknown = UnmatchedOperands::default();
        self.sort_out(view, &owners, &mut unknown)?;
        Ok(Some((made, unknown)))
    }

    fn lines_of_paths(&self, view: &RecordView<'_>) -> Result<ContentsLines, RecordError> {
        let exact: BTreeSet<ObjectPath> = self.exact().cloned().collect();
        let (mut prefixes, mut parts) = (Vec::new(), Vec::new());
        for path in &self.paths {
            match path {
                PathPattern::Exactly(_) => {}
                PathPattern::Prefix(prefix) => prefixes.push(prefix.clone()),
                PathPattern::Part(_) => parts.push(path),
            }
        }
        if parts.is_empty() && !self.paths.is_empty() {
            return contents::lines_at(view, &exact, &prefixes);
        }
        let exact: HashSet<&[u8]> = exact.iter().map(ObjectPath::as_bytes).collect();
        contents::scan(view, |raw| {
            let path = key_of(raw);
            self.paths.is_empty()
                || exact.contains(path.as_ref())
                || prefixes.iter().any(|prefix| path.starts_with(prefix))
                || parts.iter().any(|part| part.fits(&path))
        })
    }

    /// Returns whether a path is in scope; all are if no path is named.
    pub(super) fn has_path(&self, path: &[u8]) -> bool {
        self.paths.is_empty() || self.paths.iter().any(|pattern| pattern.fits(path))
    }

    pub(super) fn exact(&self) -> impl Iterator<Item = &ObjectPath> {
        self.paths.iter().filter_map(|path| match path {
            PathPattern::Exactly(path) => Some(path),
            _ => None,
        })
    }

    fn wanted_packages(&self, view: &RecordView<'_>) -> Result<Vec<PackagePattern>, CheckError> {
        if self.categories.is_empty() {
            return Ok(self.packages.clone());
        }
        let selection =
            PackageSelection { categories: self.categories.clone(), ..PackageSelection::default() };
        let all = all::params_of_all(view)?;
        let fitting = all.iter().filter(|(_, params)| selection.fits_params(params, b""));
        let packages: Vec<PackagePattern> =
            fitting.map(|(name, _)| PackagePattern::One(name.to_string())).collect();
        if packages.is_empty() {
            return Err(CheckError::NoCategory(self.categories.join(",")));
        }
        Ok(packages)
    }

    /// Sorts operands: packages that are not installed, and packages that own nothing. With a list of paths, a package that
    /// owns none of them is not reported.
    fn sort_out(
        &self,
        view: &RecordView<'_>,
        owners: &OwnersInScope,
        unknown: &mut UnmatchedOperands,
    ) -> Result<(), DatabaseError> {
        if owners.0.is_empty() {
            return Ok(());
        }
        let packages = installed::packages(view)?;
        for pattern in owners.without_objects() {
            let is_installed = packages.iter().any(|package| pattern.fits(package.as_str()));
            if !is_installed {
                unknown.packages.push(pattern.to_string());
            } else if self.paths.is_empty() {
                unknown.empty.push(pattern.to_string());
            }
        }
        Ok(())
    }
}

struct OwnersInScope(Vec<(PackagePattern, AtomicBool)>);

impl OwnersInScope {
    fn of(packages: Vec<PackagePattern>) -> Self {
        Self(packages.into_iter().map(|pattern| (pattern, AtomicBool::new(false))).collect())
    }

    /// Returns whether any of the packages owns the line, and records which.
    fn have(&self, line: &ContentsLine) -> bool {
        let mut is_owned = self.0.is_empty();
        for (pattern, has_objects) in &self.0 {
            if line.owners.iter().any(|owner| pattern.fits(owner.package.as_str())) {
                is_owned = true;
                // Threads that only read the flag do not wait for each other.
                if !has_objects.load(Ordering::Relaxed) {
                    has_objects.store(true, Ordering::Relaxed);
                }
            }
        }
        is_owned
    }

    fn without_objects(&self) -> impl Iterator<Item = &PackagePattern> {
        self.0
            .iter()
            .filter(|(_, has_objects)| !has_objects.load(Ordering::Relaxed))
            .map(|(pattern, _)| pattern)
    }
}

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
