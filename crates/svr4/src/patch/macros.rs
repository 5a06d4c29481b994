//! What a sparse package says of the patch that it belongs to: the macros of its pkginfo.
//!
//! Nothing is taken from the name of a directory or from a README. That all packages of a patch name the same id
//! is for the caller to check.

use super::{
    InstalledInfo, PatchId, PatchIdError, PatchList, PatchListError, Requirements, RequirementsError,
};
use crate::package::Params;
use std::borrow::Cow;

/// The patch macros of a sparse package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchMacros {
    /// `SUNW_PATCHID`, else `Patch_label`.
    pub id: PatchId,
    /// `SUNW_OBSOLETES`, else `Obsoletes_label`: patches that this one contains.
    pub obsoletes: PatchList,
    /// `SUNW_REQUIRES`: patches that must be applied.
    pub requires: Requirements,
    /// `SUNW_INCOMPAT`: patches that must not be applied.
    pub incompatibles: PatchList,
    /// The words of `SUNW_PATCH_PROPERTIES` (`rebootafter`, `interactive`, …), unknown ones too.
    pub properties: Vec<String>,
}

/// Why the patch macros of a package make no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchMacrosError {
    /// The two macros for the id name different patches.
    #[error("SUNW_PATCHID is {sunw} but Patch_label is {label}")]
    TwoIds {
        /// The value of `SUNW_PATCHID`.
        sunw: PatchId,
        /// The value of `Patch_label`.
        label: PatchId,
    },
    /// A macro for the id has no patch id.
    #[error("{name}: {source}")]
    Id {
        /// The macro.
        name: &'static str,
        /// What is wrong with its value.
        source: PatchIdError,
    },
    /// A macro has no list of patches.
    #[error("{name}: {source}")]
    List {
        /// The macro.
        name: &'static str,
        /// What is wrong with its value.
        source: PatchListError,
    },
    /// `SUNW_REQUIRES` is no list of requirements.
    #[error("SUNW_REQUIRES: {0}")]
    Requires(#[source] RequirementsError),
}

impl PatchMacros {
    /// Reads the macros; none where the package names no patch, that is, where it is no sparse package of a patch.
    /// A macro with an empty value counts as absent.
    pub fn from_params(params: &Params, separator: &str) -> Result<Option<Self>, PatchMacrosError> {
        let id = match (id(params, "SUNW_PATCHID", separator)?, id(params, "Patch_label", separator)?) {
            (Some(sunw), Some(label)) if sunw != label => {
                return Err(PatchMacrosError::TwoIds { sunw, label });
            }
            (Some(id), _) | (None, Some(id)) => id,
            (None, None) => return Ok(None),
        };
        let obsoletes = match list(params, "SUNW_OBSOLETES", separator)? {
            none if none.is_empty() => list(params, "Obsoletes_label", separator)?,
            obsoletes => obsoletes,
        };
        let requires = Requirements::parse(&params.text("SUNW_REQUIRES"), separator);
        Ok(Some(Self {
            id,
            obsoletes,
            requires: requires.map_err(PatchMacrosError::Requires)?,
            incompatibles: list(params, "SUNW_INCOMPAT", separator)?,
            properties: super::list::words(&params.text("SUNW_PATCH_PROPERTIES"))
                .map(str::to_owned)
                .collect(),
        }))
    }

    /// The record of this patch in the package, once it is applied at `date` (as date(1) prints it) by `host`.
    pub fn installed(&self, date: &str, host: &str) -> InstalledInfo {
        InstalledInfo {
            date: date.to_owned(),
            host: host.to_owned(),
            obsoletes: self.obsoletes.clone(),
            requires: self.requires.clone(),
            incompatibles: self.incompatibles.clone(),
        }
    }

    /// Whether `SUNW_PATCH_PROPERTIES` has this word.
    pub fn has_property(&self, word: &str) -> bool {
        self.properties.iter().any(|property| property == word)
    }
}

fn id(params: &Params, name: &'static str, separator: &str) -> Result<Option<PatchId>, PatchMacrosError> {
    let value: Cow<'_, str> = params.text(name);
    match value.trim_ascii() {
        "" => Ok(None),
        text => match PatchId::parse(text, separator) {
            Ok(id) => Ok(Some(id)),
            Err(source) => Err(PatchMacrosError::Id { name, source }),
        },
    }
}

fn list(params: &Params, name: &'static str, separator: &str) -> Result<PatchList, PatchMacrosError> {
    PatchList::parse(&params.text(name), separator).map_err(|source| PatchMacrosError::List { name, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[(&str, &str)]) -> Result<Option<PatchMacros>, PatchMacrosError> {
        let params: Params = lines.iter().copied().collect();
        PatchMacros::from_params(&params, "-")
    }

    #[test]
    fn the_macros_of_a_patch_are_read() {
        let delivered = read(&[
            ("PKG", "ACMEweb"),
            ("SUNW_PATCHID", "900-01"),
            ("SUNW_OBSOLETES", "890-02, 880-01"),
            ("SUNW_REQUIRES", "850-01 ( 1-1 | 2-1 )"),
            ("SUNW_INCOMPAT", "120134-01"),
            ("SUNW_PATCH_PROPERTIES", "rebootafter nobackout odd"),
        ]);
        let delivered = delivered.unwrap().unwrap();
        assert_eq!(delivered.id.as_str(), "900-01");
        assert_eq!(delivered.obsoletes.to_string(), "890-02 880-01");
        assert_eq!(delivered.requires.to_string(), "850-01 ( 1-1 | 2-1 )");
        assert_eq!(delivered.incompatibles.to_string(), "120134-01");
        assert_eq!(delivered.properties, ["rebootafter", "nobackout", "odd"]);
        assert_eq!(
            delivered.installed("Fri Nov 20 06:37:39 UTC 2026", "web1").to_string(),
            "Installed: Fri Nov 20 06:37:39 UTC 2026 From: web1 Obsoletes: 890-02 880-01 \
             Requires: 850-01 ( 1-1 | 2-1 ) Incompatibles: 120134-01"
        );
        assert!(delivered.has_property("nobackout") && !delivered.has_property("interactive"));
    }

    #[test]
    fn the_labels_of_the_classic_scripts_stand_in_where_the_macros_are_absent_or_empty() {
        let delivered =
            read(&[("SUNW_PATCHID", ""), ("Patch_label", "103201-02"), ("Obsoletes_label", "103201-01")]);
        let delivered = delivered.unwrap().unwrap();
        assert_eq!(
            (delivered.id.as_str(), delivered.obsoletes.to_string()),
            ("103201-02", "103201-01".into())
        );
        let both = read(&[("SUNW_PATCHID", "1-1"), ("Patch_label", "1-01"), ("SUNW_OBSOLETES", "2-1")]);
        assert_eq!(both.unwrap().unwrap().id.as_str(), "1-1");
    }

    #[test]
    fn a_base_package_delivers_no_patch() {
        assert_eq!(read(&[("PKG", "ACMEweb"), ("PATCHLIST", "1-1")]), Ok(None));
        assert_eq!(read(&[("SUNW_PATCHID", " "), ("Patch_label", "")]), Ok(None));
    }

    #[test]
    fn contradictions_and_garbage_name_the_macro() {
        let message = |lines: &[(&str, &str)]| read(lines).unwrap_err().to_string();
        assert_eq!(
            message(&[("SUNW_PATCHID", "900-01"), ("Patch_label", "900-02")]),
            "SUNW_PATCHID is 900-01 but Patch_label is 900-02"
        );
        assert_eq!(
            message(&[("Patch_label", "900")]),
            "Patch_label: <900> is not a patch id: it has no separator between base and revision"
        );
        assert_eq!(
            message(&[("SUNW_PATCHID", "900-01"), ("SUNW_INCOMPAT", "x-1 /-1")]),
            "SUNW_INCOMPAT: </-1> is not a patch id: the base may only have letters, digits, `_`, `.`, `+` and `-`"
        );
        assert_eq!(
            message(&[("SUNW_PATCHID", "900-01"), ("SUNW_REQUIRES", "( 1-1 )")]),
            "SUNW_REQUIRES: <( 1-1 )> is not a list of required patches: alternatives are written `( a | b )`"
        );
    }
}
