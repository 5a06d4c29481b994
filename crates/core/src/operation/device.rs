//! The device (`-d`) of pkgadd(1M) and pkgtrans(1), and its selected packages.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::content::OneSource;
use super::failure::Failure;
use crate::operation::queries::select::{PackagePattern, PackageSelection};
use patchadm_inputs::database::survey::fill_identical;
use patchadm_inputs::inventory::Inventory;
use patchadm_inputs::source;
use patchadm_inputs::source::{Extent, Form, Image, Origin, PackageImage, Source, SourceError};
use patchadm_planning::plan::concern::FileToCompare;
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_rootfs::{Hashing, Interrupt, Live};
use patchadm_svr4::package::{ContentInfo, ObjectPath, PackagePath};

pub const SPOOL: &str = "/var/spool/pkg";

/// Resolves `spool` to [`SPOOL`], unless an object has that name.
pub fn named(word: &Path) -> PathBuf {
    if word == Path::new("spool") && !word.exists() { PathBuf::from(SPOOL) } else { word.to_owned() }
}

/// Selected packages without the content of their objects.
pub(crate) struct OpenDevice {
    pub(super) source: Source,
    pub(super) image: Image,
    /// Datastreams keep their order; others follow the operands, several matches of one word by name.
    pub(super) selected: Vec<usize>,
}

#[derive(Clone, Copy)]
pub(crate) struct DeliveredPackage<'a> {
    pub(crate) device: &'a OpenDevice,
    pub(crate) index: usize,
    pub(crate) image: &'a PackageImage,
}

impl OpenDevice {
    /// Returns the words that match nothing, if any.
    pub(super) fn open(
        path: &Path,
        words: &[String],
        interrupt: Interrupt<'_>,
    ) -> Result<Result<Self, Vec<String>>, SourceError> {
        let selection = PackageSelection::of(words);
        let (asked, fits) = (Cell::new(false), Cell::new(false));
        let wanted = |directory: &str| {
            asked.set(true);
            let is_wanted = selection.fits_name(directory);
            fits.set(fits.get() || is_wanted);
            is_wanted
        };
        let opened = source::open_until(Origin::Path(&named(path)), Extent::Packages(&wanted), interrupt);
        let (source, image) = match opened {
            Ok(opened) => opened,
            Err(_) if asked.get() && !fits.get() => return Ok(Err(words.to_vec())),
            Err(error) => return Err(error),
        };
        Ok(Self::selected(source, image, &selection))
    }

    /// Reads a datastream of descriptions only, as `pkgtrans -i -s` writes it.
    pub(super) fn description(
        path: &Path,
        words: &[String],
        error: SourceError,
    ) -> Result<Result<Self, Vec<String>>, SourceError> {
        if !error.is_missing_file() {
            return Err(error);
        }
        let (source, image) = source::open(Origin::Path(&named(path)), Extent::Unchecked)?;
        if !image.packages.iter().all(|package| package.is_description) {
            return Err(error);
        }
        Ok(Self::selected(source, image, &PackageSelection::of(words)))
    }

    pub(super) fn is_description(&self) -> bool {
        self.image.packages.iter().all(|package| package.is_description)
    }

    fn selected(source: Source, image: Image, selection: &PackageSelection) -> Result<Self, Vec<String>> {
        let names: Vec<String> = image.packages.iter().map(PackageImage::spooled_name).collect();
        let missing = |pattern: &&PackagePattern| !names.iter().any(|name| pattern.fits(name));
        let missing: Vec<String> =
            selection.patterns.iter().filter(missing).map(ToString::to_string).collect();
        if !missing.is_empty() {
            return Err(missing);
        }
        let fitting = |name: &str| selection.patterns.iter().position(|pattern| pattern.fits(name));
        let mut selected: Vec<usize> = (0..names.len()).collect();
        if !matches!(source.form(), Form::Datastream(_)) {
            selected.sort_by_key(|&index| names.get(index).map(|name| (fitting(name), name.clone())));
        }
        Ok(Self { source, image, selected })
    }

    pub(crate) fn delivered(&self, index: usize) -> Result<DeliveredPackage<'_>, Failure> {
        Ok(DeliveredPackage { device: self, index, image: self.package(index)? })
    }

    pub(super) fn content(&self) -> OneSource<'_> {
        OneSource { source: &self.source, image: &self.image }
    }

    pub(super) fn whole(source: Source, image: Image) -> Self {
        let selected = (0..image.packages.len()).collect();
        Self { source, image, selected }
    }

    /// Returns the categories if nothing is left.
    pub(super) fn of_categories(mut self, categories: &[String]) -> Result<Self, Vec<String>> {
        let selection = PackageSelection { categories: categories.to_vec(), ..PackageSelection::default() };
        let packages = &self.image.packages;
        let fits = |package: &PackageImage| selection.fits_params(&package.params, b"");
        self.selected.retain(|&index| packages.get(index).is_some_and(fits));
        if self.selected.is_empty() { Err(vec![categories.join(",")]) } else { Ok(self) }
    }

    pub(super) fn package(&self, index: usize) -> Result<&PackageImage, Failure> {
        let missing = || Reason::NoSuchPackage.of(Command::Pkgadd, &self.image.name);
        self.image.packages.get(index).ok_or_else(|| missing().into())
    }
}

/// Marks installed files that equal the delivered ones ("already installed"). Size and sum of the pkgmap prove nothing,
/// so bytes are compared if everything else agrees. A signal ends it.
pub(super) fn mark_identical(
    source: &Source,
    image: &Image,
    files: Vec<FileToCompare<'_>>,
    (inventory, interrupt): (&mut Inventory, Interrupt<'_>),
) -> Result<(), Failure> {
    let mut candidates: BTreeMap<(usize, PackagePath), ObjectPath> = BTreeMap::new();
    for file in files {
        let content = file.entry.object.content;
        let Some(found) = inventory.live.get(&file.path).and_then(Live::content_info) else { continue };
        // A file without an owner has its own time.
        let is_owned = inventory.lines.contains_key(&file.path);
        if found == content || !is_owned && (ContentInfo { mtime: content.mtime, ..found }) == content {
            candidates.insert((file.package, file.entry.path.clone()), file.path);
        }
    }
    if candidates.is_empty() {
        return Ok(());
    }
    let mut digests = Vec::new();
    let mut wanted = |package: usize, path: &PackagePath| candidates.contains_key(&(package, path.clone()));
    source.stream_until::<Failure>(image, &mut wanted, interrupt, &mut |package, path, _, data| {
        let mut b3 = Hashing::new(std::io::sink());
        // `stream` reports read errors.
        let read = std::io::copy(data, &mut b3);
        if let (Ok(_), Some(at)) = (read, candidates.get(&(package, path.clone()))) {
            digests.push((at.clone(), b3.finish().1));
        }
        Ok(())
    })?;
    fill_identical(inventory, digests);
    Ok(())
}
