//! What a patch says of itself: the macros of all its packages and the lists of its patchinfo, taken together.

use super::image::Image;
use patchadm_svr4::patch::{
    PatchId, PatchList, PatchListError, PatchMacros, PatchMacrosError, Requirements, RequirementsError,
};

/// The reason an image is no patch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageMacrosError {
    /// The macros of a package cannot be read.
    #[error("package {package}: {error}")]
    Package {
        /// The directory of the package.
        package: String,
        /// The fault.
        error: Box<PatchMacrosError>,
    },
    /// A package does not say of which patch it is.
    #[error("package {0} is not part of a patch")]
    NoPatch(String),
    /// Two packages are of different patches.
    #[error("its packages name two patches, {0} and {1}")]
    TwoIds(PatchId, PatchId),
    /// There is no package.
    #[error("it has no package")]
    NoPackage,
    /// A list of the patchinfo is none of patches.
    #[error("patchinfo: {0}")]
    List(#[from] PatchListError),
    /// `PATCH_REQUIRES` is no list of requirements.
    #[error("patchinfo: PATCH_REQUIRES: {0}")]
    Requires(#[from] RequirementsError),
}

impl Image {
    /// Reads what the patch says of itself: what one of its packages or its patchinfo says holds for all of it, each entry
    /// once.
    pub fn patch_macros(&self, separator: &str) -> Result<PatchMacros, ImageMacrosError> {
        let mut whole: Option<PatchMacros> = None;
        for package in &self.packages {
            let name = &package.directory;
            let macros = PatchMacros::from_params(&package.params, separator)
                .map_err(|error| ImageMacrosError::Package { package: name.clone(), error: Box::new(error) })?
                .ok_or_else(|| ImageMacrosError::NoPatch(name.clone()))?;
            match &mut whole {
                None => whole = Some(macros),
                Some(whole) if whole.id != macros.id => {
                    return Err(ImageMacrosError::TwoIds(whole.id.clone(), macros.id));
                }
                Some(whole) => add(whole, macros),
            }
        }
        let mut whole = whole.ok_or(ImageMacrosError::NoPackage)?;
        if let Some(info) = &self.patchinfo {
            let list = |words: &[String]| PatchList::parse(&words.join(" "), separator);
            let said = PatchMacros {
                id: whole.id.clone(),
                obsoletes: list(&info.obsoletes)?,
                requires: Requirements::parse(&info.requires.join(" "), separator)?,
                incompatibles: list(&info.incompat)?,
                properties: info.properties.clone(),
            };
            add(&mut whole, said);
        }
        Ok(whole)
    }
}

fn add(whole: &mut PatchMacros, more: PatchMacros) {
    whole.obsoletes.extend(more.obsoletes.iter().cloned());
    whole.requires.extend(more.requires.iter().cloned());
    whole.incompatibles.extend(more.incompatibles.iter().cloned());
    for word in more.properties {
        if !whole.properties.contains(&word) {
            whole.properties.push(word);
        }
    }
}
