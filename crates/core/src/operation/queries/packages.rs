//! Queries about packages and their parameters. Answers are of one moment ([`read_consistently`]), without a lock. A
//! package that classic tools are updating shows its old parameters, from their `.save.` copy.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::operation::device::named;
use crate::operation::queries::select::PackageSelection;
use patchadm_inputs::database::all::{self, PackageRecords};
use patchadm_inputs::database::{
    DatabaseError, RecordDamage, RecordReader, RecordView, contents, read_consistently,
};
use patchadm_inputs::input_file::read_start;
use patchadm_inputs::source::{self, Extent, Origin, SourceError};
use patchadm_rootfs::{FileType, ObjectStatus};
use patchadm_svr4::format::params::{LARGEST_FILE, ParamFile, ParamsError};
use patchadm_svr4::format::pkgmap::Pkgmap;
use patchadm_svr4::package::{ContentsLine, Ftype, Object, OwnerStatus, Params, PkgInst};
use patchadm_svr4::places;

/// In bytes.
const LARGEST_COMPVER: u64 = 1 << 20;

/// See pkginfo(4).
const MANDATORY: [&str; 4] = ["NAME", "ARCH", "VERSION", "CATEGORY"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackageState {
    Complete,
    /// An unfinished installation or removal.
    Partial,
    /// On a device.
    Spooled,
}

/// As pkginfo(1) lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageSummary {
    /// Instance, or name on a device.
    pub instance: String,
    pub params: Params,
    pub state: PackageState,
    /// On request.
    pub counts: Option<ObjectCounts>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackageListing {
    /// By name.
    pub packages: Vec<PackageSummary>,
    /// Words that match no package.
    pub missing: Vec<String>,
    /// Match by name, but have an invalid pkginfo.
    pub corrupt: Vec<CorruptPackage>,
    /// Length of the longest name that matches, regardless of other conditions.
    pub width: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorruptPackage {
    /// Instance, or name on a device.
    pub instance: String,
    pub reason: String,
    /// `None` on a device.
    pub damage: Option<RecordDamage>,
}

impl CorruptPackage {
    fn damaged(instance: String, damage: RecordDamage) -> Self {
        Self { instance, reason: damage.to_string(), damage: Some(damage) }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("cannot read {}: {reason}", .path.display())]
    File { path: PathBuf, reason: io::Error },
    #[error("{path}: {reason}")]
    Params {
        path: String,
        /// With the line.
        reason: ParamsError,
    },
}

impl From<patchadm_inputs::database::ViewError> for QueryError {
    fn from(error: patchadm_inputs::database::ViewError) -> Self {
        Self::Database(error.into())
    }
}

/// `count` also reads `contents`.
pub fn installed_packages<'a>(
    reader: impl Into<RecordReader<'a>>,
    selection: &PackageSelection,
    count: bool,
) -> Result<PackageListing, QueryError> {
    read_consistently(reader, |view| {
        let mut listing = PackageListing::default();
        for found in all::each(view, |package| found(package, selection))? {
            match found {
                FoundPackage::Package(package) => {
                    let inst = PkgInst::new(&package.instance).ok();
                    listing
                        .add(*package, selection, || inst.map_or(Ok(None), |inst| compver_of(view, &inst)))?;
                }
                FoundPackage::Corrupt(corrupt) => listing.corrupt.push(corrupt),
            }
        }
        if count {
            count_objects(view, &mut listing.packages)?;
        }
        Ok(listing.close(selection))
    })
}

fn compver_of(view: &RecordView<'_>, inst: &PkgInst) -> Result<Option<Vec<u8>>, QueryError> {
    match places::package(inst).join(b"install/compver") {
        Ok(path) => Ok(view.read(&path, LARGEST_COMPVER)?),
        Err(_) => Ok(None),
    }
}

enum FoundPackage {
    Package(Box<PackageSummary>),
    Corrupt(CorruptPackage),
}

fn found(
    package: &PackageRecords<'_>,
    selection: &PackageSelection,
) -> Result<Option<FoundPackage>, QueryError> {
    let instance = package.inst().to_string();
    if !selection.fits_name(&instance) {
        return Ok(None);
    }
    let is_file = |seen: ObjectStatus| seen.file_type == FileType::Regular;
    let params = if !package.is_being_updated() {
        package.whole_params()
    } else if package.view().look(&places::pkginfo(package.inst()))?.is_some_and(is_file) {
        params_of(package.view(), package.inst())
    } else {
        Ok(None)
    };
    match params {
        Ok(Some(params)) => {
            let state = if package.is_partial()? { PackageState::Partial } else { PackageState::Complete };
            Ok(Some(FoundPackage::Package(Box::new(PackageSummary {
                instance,
                params,
                state,
                counts: None,
            }))))
        }
        Ok(None) => Ok(None),
        Err(DatabaseError::Damaged(damage)) => {
            Ok(Some(FoundPackage::Corrupt(CorruptPackage::damaged(instance, *damage))))
        }
        Err(error) => Err(error.into()),
    }
}

fn count_objects(view: &RecordView<'_>, packages: &mut [PackageSummary]) -> Result<(), DatabaseError> {
    let mut counts: BTreeMap<String, ObjectCounts> =
        packages.iter().map(|package| (package.instance.clone(), ObjectCounts::default())).collect();
    contents::scan(view, |raw| {
        let Ok(line) = ContentsLine::parse(raw) else {
            // Keep lines that may concern a package, so that the scan reports errors.
            let mut words = raw.split(u8::is_ascii_whitespace);
            return words.any(|word| std::str::from_utf8(word).is_ok_and(|word| counts.contains_key(word)));
        };
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

pub fn parameters<'a>(
    reader: impl Into<RecordReader<'a>>,
    instance: &str,
) -> Result<Option<Params>, QueryError> {
    let Ok(inst) = PkgInst::new(instance) else { return Ok(None) };
    read_consistently(reader, |view| Ok(params_of(view, &inst)?))
}

/// Prefers the old parameters of a package that classic tools are updating.
fn params_of(view: &RecordView<'_>, inst: &PkgInst) -> Result<Option<Params>, DatabaseError> {
    let Ok(saved) = places::packages().join(format!(".save.{inst}/pkginfo").as_bytes()) else {
        return all::params_of(view, inst);
    };
    match view.read(&saved, LARGEST_FILE as u64)? {
        None => all::params_of(view, inst),
        Some(text) => match ParamFile::parse(&text) {
            Ok(file) => Ok(Some(file.params())),
            Err(error) => {
                let root = view.root();
                let damage = RecordDamage::of_params(root, inst, &error);
                Err(RecordDamage { file: root.show(&saved), ..damage }.into())
            }
        },
    }
}

pub fn parameter_file(path: &Path) -> Result<Params, QueryError> {
    let failed = |reason| QueryError::File { path: path.to_owned(), reason };
    let text = read_start(path, LARGEST_FILE as u64).map_err(failed)?;
    let file = ParamFile::parse(&text);
    let file = file.map_err(|reason| QueryError::Params { path: path.display().to_string(), reason })?;
    Ok(file.params())
}

/// A directory, a datastream, or an archive.
pub fn spooled_packages(device: &Path, selection: &PackageSelection) -> Result<PackageListing, QueryError> {
    let (_, image) = source::open(Origin::Path(&named(device)), Extent::Unchecked)?;
    let mut listing = PackageListing::default();
    for package in image.packages {
        let instance = package.spooled_name();
        if selection.fits_name(&instance) {
            let counts = Some(ObjectCounts::of_pkgmap(&package.pkgmap));
            let compver = package.install.get("compver").cloned();
            let listed =
                PackageSummary { instance, params: package.params, state: PackageState::Spooled, counts };
            listing.add(listed, selection, || Ok(compver))?;
        }
    }
    listing.packages.sort_by(|a, b| a.instance.cmp(&b.instance));
    Ok(listing.close(selection))
}

pub fn spooled_parameters(device: &Path, instance: &str) -> Result<Option<Params>, QueryError> {
    let (_, image) = source::open(Origin::Path(&named(device)), Extent::Unchecked)?;
    let found = image.packages.into_iter().find(|package| package.spooled_name() == instance);
    Ok(found.map(|package| package.params))
}

impl PackageListing {
    /// Calls `compver` only if the selection needs it.
    fn add(
        &mut self,
        package: PackageSummary,
        selection: &PackageSelection,
        compver: impl FnOnce() -> Result<Option<Vec<u8>>, QueryError>,
    ) -> Result<(), QueryError> {
        if let Some(lacking) = MANDATORY.into_iter().find(|name| package.params.get(name).is_none()) {
            let reason = format!("it has no {lacking}");
            self.corrupt.push(CorruptPackage { instance: package.instance, reason, damage: None });
            return Ok(());
        }
        self.width = self.width.max(package.instance.len());
        let needs_compver = selection
            .version
            .as_ref()
            .is_some_and(crate::operation::queries::select::VersionPattern::needs_compver);
        let compver = if needs_compver { compver()?.unwrap_or_default() } else { Vec::new() };
        let fits_state = selection.fits_state(package.state == PackageState::Partial);
        if fits_state && selection.fits_params(&package.params, &compver) {
            self.packages.push(package);
        }
        Ok(())
    }

    fn close(mut self, selection: &PackageSelection) -> Self {
        let known = || {
            let corrupt = self.corrupt.iter().map(|corrupt| &corrupt.instance);
            self.packages.iter().map(|package| &package.instance).chain(corrupt)
        };
        let missing = selection.patterns.iter().filter(|pattern| !known().any(|name| pattern.fits(name)));
        self.missing = missing.map(ToString::to_string).collect();
        self
    }
}

/// In bytes.
const BLOCK: u64 = 512;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ObjectCounts {
    /// Everything installed or spooled.
    pub pathnames: u64,
    /// Partially installed.
    pub partial: u64,
    /// Owned by other packages, too.
    pub shared: u64,
    /// Hard links only.
    pub links: u64,
    pub directories: u64,
    /// Regular files only.
    pub executables: u64,
    /// Setuid or setgid.
    pub set_id: u64,
    pub information: u64,
    /// Blocks of 512 bytes, each file rounded up, without information files.
    pub blocks: u64,
}

impl ObjectCounts {
    /// Ignores objects that the package does not own.
    pub fn add_line(&mut self, line: &ContentsLine, package: &PkgInst) {
        let Some(owner) = line.owners.iter().find(|owner| owner.package == *package) else { return };
        self.pathnames += 1;
        self.partial += u64::from(owner.status == Some(OwnerStatus::Partial));
        self.shared += u64::from(line.owners.len() > 1);
        self.add_object(&line.object);
    }

    /// As in the classic tools, `pkgmap` counts as a pathname and as an information file.
    pub fn of_pkgmap(pkgmap: &Pkgmap) -> Self {
        let mut counts = Self { pathnames: 1, information: 1, ..Self::default() };
        for entry in &pkgmap.entries {
            counts.pathnames += 1;
            counts.information += u64::from(entry.is_information());
            counts.add_object(&entry.object);
        }
        counts
    }

    fn add_object(&mut self, object: &Object) {
        let mode = object.attributes.mode;
        let has = |bits| mode.is_some_and(|mode| mode.bits() & bits != 0);
        self.links += u64::from(object.ftype == Ftype::Link);
        self.directories += u64::from(object.ftype.is_directory());
        self.executables += u64::from(object.ftype.is_regular() && has(0o111));
        self.set_id += u64::from(has(0o6000));
        if object.ftype.is_regular() {
            self.blocks = self.blocks.saturating_add(object.content.size.unwrap_or(0).div_ceil(BLOCK));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spooled_package_counts_as_the_classic_tools_do() {
        let pkgmap = Pkgmap::parse(
            b": 1 44\n1 d none bin 0755 root bin\n1 f none bin/stux 0755 root bin 700 2132 981173106\n\
              1 s none bin/stuxlink=stux\n1 i pkginfo 289 22457 1795158102\n1 d none share 0755 root bin\n\
              1 f none share/shared 0644 root bin 7 641 981173106\n",
        );
        let counts = ObjectCounts::of_pkgmap(&pkgmap.unwrap());
        let expected = ObjectCounts {
            pathnames: 7,
            directories: 2,
            executables: 1,
            information: 2,
            blocks: 3,
            ..ObjectCounts::default()
        };
        assert_eq!(counts, expected);
    }

    #[test]
    fn an_installed_package_counts_what_it_owns_and_with_whom() {
        let package = PkgInst::new("SUNWa").unwrap();
        let mut counts = ObjectCounts::default();
        for line in [
            "/a f none 4755 root bin 513 1 1 SUNWa SUNWb",
            "/b=a l none !SUNWa",
            "/c=a s none SUNWa",
            "/d x none 0755 root bin SUNWa",
            "/e f none 0755 root bin 513 1 1 SUNWb",
        ] {
            counts.add_line(&ContentsLine::parse(line.as_bytes()).unwrap(), &package);
        }
        let expected = ObjectCounts {
            pathnames: 4,
            partial: 1,
            shared: 1,
            links: 1,
            directories: 1,
            executables: 1,
            set_id: 1,
            information: 0,
            blocks: 2,
        };
        assert_eq!(counts, expected);
    }
}
