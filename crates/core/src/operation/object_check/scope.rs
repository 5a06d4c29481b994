//! The records of a check: lines of the database, or a pkgmap (pkgchk(1M) `-m`). Values of a pkgmap come from the
//! environment file (`-e`), then from the installed package. Without BASEDIR, relative paths start at `/`.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::operation::object_check::compare::{ObjectCheckError, UnmatchedOperands};
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

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckScope {
    /// Empty: all packages.
    pub packages: Vec<PackagePattern>,
    /// Empty: all categories. Excludes `packages`.
    pub categories: Vec<String>,
    /// Empty: all paths.
    pub paths: Vec<PathPattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    Exactly(ObjectPath),
    /// A word that ends in `*`.
    Prefix(Vec<u8>),
    /// Every path that contains these bytes.
    Part(Vec<u8>),
}

impl PathPattern {
    /// A trailing `*` makes a prefix.
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
    /// In order of paths; also returns operands that match nothing.
    pub(super) fn lines(
        &self,
        view: &RecordView<'_>,
        workers: usize,
    ) -> Result<(Vec<ContentsLine>, UnmatchedOperands), ObjectCheckError> {
        if let Some(found) = self.each(view, workers, None, || |line| line)? {
            return Ok(found);
        }
        let owners = OwnersInScope::of(self.wanted_packages(view)?);
        let mut lines = self.lines_of_paths(view)?;
        let mut unknown = UnmatchedOperands::default();
        let missing: Vec<ObjectPath> =
            self.exact().filter(|path| !lines.contains_key(*path)).cloned().collect();
        for (path, aliases) in
            missing.iter().zip(recorded_lines(view, &missing).map_err(ObjectCheckError::Operation)?)
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

    /// Processes lines in several workers while they are read. `None` if the lines must be complete first: only some
    /// paths are in scope, or `contents` is not sorted. `step` counts all lines.
    pub(super) fn each<R: Send, W: FnMut(ContentsLine) -> R>(
        &self,
        view: &RecordView<'_>,
        workers: usize,
        step: Option<&WorkStep>,
        worker: impl Fn() -> W + Sync,
    ) -> Result<Option<(Vec<R>, UnmatchedOperands)>, ObjectCheckError> {
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

    pub(super) fn has_path(&self, path: &[u8]) -> bool {
        self.paths.is_empty() || self.paths.iter().any(|pattern| pattern.fits(path))
    }

    pub(super) fn exact(&self) -> impl Iterator<Item = &ObjectPath> {
        self.paths.iter().filter_map(|path| match path {
            PathPattern::Exactly(path) => Some(path),
            _ => None,
        })
    }

    fn wanted_packages(&self, view: &RecordView<'_>) -> Result<Vec<PackagePattern>, ObjectCheckError> {
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
            return Err(ObjectCheckError::NoCategory(self.categories.join(",")));
        }
        Ok(packages)
    }

    /// Finds packages that are not installed, and packages that own nothing. The latter are not reported if paths are
    /// named.
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

    /// Also records which.
    fn have(&self, line: &ContentsLine) -> bool {
        let mut is_owned = self.0.is_empty();
        for (pattern, has_objects) in &self.0 {
            if line.owners.iter().any(|owner| pattern.fits(owner.package.as_str())) {
                is_owned = true;
                // Readers of the flag do not block each other.
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

/// 1 GiB.
const LARGEST: u64 = 1 << 30;

/// Files of `-m` and `-e`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapFiles {
    pub pkgmap: PathBuf,
    /// In pkginfo(4) syntax.
    pub environment: Option<PathBuf>,
}

#[derive(Debug)]
pub(super) struct CheckMap {
    path: PathBuf,
    pkgmap: Pkgmap,
    environment: Params,
}

impl CheckMap {
    pub(super) fn read(files: &MapFiles) -> Result<Self, ObjectCheckError> {
        let bad = |reason: String| ObjectCheckError::Map { path: files.pkgmap.display().to_string(), reason };
        let text = read(&files.pkgmap).map_err(|error| bad(error.to_string()))?;
        let pkgmap = Pkgmap::parse(&text).map_err(|error| bad(error.to_string()))?;
        let environment = match &files.environment {
            Some(path) => parameter_file(path)?,
            None => Params::new(),
        };
        Ok(Self { path: files.pkgmap.clone(), pkgmap, environment })
    }

    /// In the order of the map. A named package that is not installed is unknown, and gives no variable a value.
    pub(super) fn lines(
        &self,
        view: &RecordView<'_>,
        scope: &CheckScope,
    ) -> Result<(Vec<ContentsLine>, UnmatchedOperands), ObjectCheckError> {
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
        let there: HashSet<&ObjectPath> = lines.iter().map(|line| &line.path).collect();
        unknown.paths = scope.exact().filter(|path| !there.contains(path)).cloned().collect();
        Ok((lines, unknown))
    }

    fn line(
        &self,
        entry: &PkgmapEntry,
        base: &ObjectPath,
        params: &Params,
    ) -> Result<ContentsLine, ObjectCheckError> {
        let path = entry
            .path
            .resolve(base, |name| variables::value(params, name))
            .map_err(|error| self.bad(&error.to_string()))?;
        let object = variables::expand_object(&entry.object, params)
            .map_err(|error| self.bad(&format!("{}: {error}", entry.path)))?;
        Ok(ContentsLine { path, volume: None, object: object.into_owned(), owners: Vec::new() })
    }

    fn bad(&self, reason: &str) -> ObjectCheckError {
        ObjectCheckError::Map { path: self.path.display().to_string(), reason: reason.to_owned() }
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let text = read_start(path, LARGEST)?;
    if text.len() as u64 > LARGEST {
        return Err(std::io::Error::other("it is larger than 1 GiB"));
    }
    Ok(text)
}
