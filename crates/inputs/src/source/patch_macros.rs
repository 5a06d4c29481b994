//! A patch's description of itself: the macros of all its packages and the lists of its patchinfo, taken together.

use super::image::Image;
use patchadm_svr4::patch::{
    FixList, PatchId, PatchList, PatchListError, PatchMacros, PatchMacrosError, Requirements,
    RequirementsError,
};

/// The reason an image is not a patch.
#[derive(Debug, thiserror::Error)]
pub enum ImageMacrosError {
    /// The macros of a package cannot be read.
    #[error("package {package}: {error}")]
    Package {
        /// The directory of the package.
        package: String,
        /// The fault.
        error: Box<PatchMacrosError>,
    },
    /// A package does not name its patch.
    #[error("package {0} is not part of a patch")]
    NoPatch(String),
    /// Two packages are of different patches.
    #[error("its packages name two patches, {0} and {1}")]
    TwoIds(PatchId, PatchId),
    /// There is no package.
    #[error("it has no package")]
    NoPackage,
    /// A list in the patchinfo is not a list of patches.
    #[error("patchinfo: {0}")]
    List(#[from] PatchListError),
    /// `PATCH_REQUIRES` is not a list of requirements.
    #[error("patchinfo: PATCH_REQUIRES: {0}")]
    Requires(#[from] RequirementsError),
}

/// A patch's description of itself, as a whole and package by package.
#[derive(Clone, Debug)]
pub struct ImageMacros {
    /// The macros of the whole patch, each entry once.
    pub whole: PatchMacros,
    /// The macros of each package, by its place in the image. The lists of the patchinfo are among them.
    pub packages: Vec<PatchMacros>,
}

impl Image {
    /// Reads what the patch says of itself: what one of its packages or its patchinfo says holds for all of it, each entry
    /// once.
    pub fn patch_macros(&self, separator: &str) -> Result<PatchMacros, ImageMacrosError> {
        Ok(self.all_macros(separator)?.whole)
    }

    /// Reads the same, and the macros of each package.
    pub fn all_macros(&self, separator: &str) -> Result<ImageMacros, ImageMacrosError> {
        let mut packages: Vec<PatchMacros> = Vec::with_capacity(self.packages.len());
        for package in &self.packages {
            let name = &package.directory;
            let macros = PatchMacros::from_params(&package.params, separator)
                .map_err(|error| ImageMacrosError::Package { package: name.clone(), error: Box::new(error) })?
                .ok_or_else(|| ImageMacrosError::NoPatch(name.clone()))?;
            if let Some(first) = packages.first().filter(|first| first.id != macros.id) {
                return Err(ImageMacrosError::TwoIds(first.id.clone(), macros.id));
            }
            packages.push(macros);
        }
        let first = packages.first().ok_or(ImageMacrosError::NoPackage)?;
        let mut whole = first.clone();
        for macros in packages.iter().skip(1) {
            add(&mut whole, macros);
        }
        if let Some(info) = &self.patchinfo {
            let list = |words: &[String]| PatchList::parse(&words.join(" "), separator);
            let said = PatchMacros {
                id: whole.id.clone(),
                requires: Requirements::parse(&info.requires.join(" "), separator)?,
                obsoletes: list(&info.obsoletes)?,
                incompatibles: list(&info.incompat)?,
                properties: info.properties.clone(),
                fixes: FixList::parse_legible(&info.fixes.join(" ")),
            };
            add(&mut whole, &said);
            for macros in &mut packages {
                add_lists(macros, &said);
            }
        }
        Ok(ImageMacros { whole, packages })
    }
}

fn add(whole: &mut PatchMacros, more: &PatchMacros) {
    add_lists(whole, more);
    for word in &more.properties {
        if !whole.properties.contains(word) {
            whole.properties.push(word.clone());
        }
    }
}

fn add_lists(macros: &mut PatchMacros, more: &PatchMacros) {
    macros.obsoletes.extend(more.obsoletes.iter().cloned());
    macros.requires.extend(more.requires.iter().cloned());
    macros.incompatibles.extend(more.incompatibles.iter().cloned());
    macros.fixes.unite(&more.fixes);
}
