//! The patch macros: parameters with which a sparse package describes its patch.

use super::{
    FIXES, FixList, InstalledInfo, PatchId, PatchIdError, PatchList, PatchListError, Requirements,
    RequirementsError,
};
use crate::package::Params;
use std::borrow::Cow;

/// The patch macros of a sparse package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchMacros {
    /// `SUNW_PATCHID`, else `Patch_label`: the patch's id.
    pub id: PatchId,
    /// `SUNW_OBSOLETES`, else `Obsoletes_label`: the patches that this one contains.
    pub obsoletes: PatchList,
    /// `SUNW_REQUIRES`: the patches that must be applied.
    pub requires: Requirements,
    /// `SUNW_INCOMPAT`: the patches that must not be applied.
    pub incompatibles: PatchList,
    /// The words of `SUNW_PATCH_PROPERTIES` (`rebootafter`, `interactive`, …), including unknown ones.
    pub properties: Vec<String>,
    /// `PATCH_FIXES`: the fixes of the patch. Invalid words are left out.
    pub fixes: FixList,
}

/// The reason the patch macros of a package cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatchMacrosError {
    /// Two macros that name different ids.
    #[error("SUNW_PATCHID is {sunw} but Patch_label is {label}")]
    TwoIds {
        /// The value of `SUNW_PATCHID`.
        sunw: PatchId,
        /// The value of `Patch_label`.
        label: PatchId,
    },
    /// A macro whose value is not a patch id.
    #[error("{name}: {source}")]
    Id {
        /// The macro's name.
        name: &'static str,
        /// The fault in the value.
        source: PatchIdError,
    },
    /// A macro whose value is not a list of patches.
    #[error("{name}: {source}")]
    List {
        /// The macro's name.
        name: &'static str,
        /// The fault in the value.
        source: PatchListError,
    },
    /// A `SUNW_REQUIRES` that is not a list of requirements.
    #[error("SUNW_REQUIRES: {0}")]
    Requires(#[source] RequirementsError),
}

impl PatchMacros {
    /// Reads the macros; `None` if the package names no patch. An empty value counts as missing.
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
            properties: Self::properties_of(params),
            fixes: FixList::parse_legible(&params.text(FIXES)),
        }))
    }

    /// Returns the record of this patch in a package, applied at `date` (in the form of date(1)) by `host`.
    pub fn installed(&self, date: &str, host: &str) -> InstalledInfo {
        InstalledInfo {
            date: date.to_owned(),
            host: host.to_owned(),
            obsoletes: self.obsoletes.clone(),
            requires: self.requires.clone(),
            incompatibles: self.incompatibles.clone(),
        }
    }

    /// Returns the words of `SUNW_PATCH_PROPERTIES`, which do not depend on the separator of ids.
    pub fn properties_of(params: &Params) -> Vec<String> {
        super::list::words(&params.text("SUNW_PATCH_PROPERTIES")).map(str::to_owned).collect()
    }

    /// Returns true if `SUNW_PATCH_PROPERTIES` has this word.
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
            ("PATCH_FIXES", "CVE-2026-1234, <b> ACME-17"),
        ]);
        let delivered = delivered.unwrap().unwrap();
        assert_eq!(delivered.id.as_str(), "900-01");
        assert_eq!(delivered.obsoletes.to_string(), "890-02 880-01");
        assert_eq!(delivered.requires.to_string(), "850-01 ( 1-1 | 2-1 )");
        assert_eq!(delivered.incompatibles.to_string(), "120134-01");
        assert_eq!(delivered.properties, ["rebootafter", "nobackout", "odd"]);
        assert_eq!(delivered.fixes.to_string(), "CVE-2026-1234 ACME-17");
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
            "SUNW_INCOMPAT: </-1> is not a patch id: the base may contain only letters, digits, `_`, `.`, `+` and `-`"
        );
        assert_eq!(
            message(&[("SUNW_PATCHID", "900-01"), ("SUNW_REQUIRES", "( 1-1 )")]),
            "SUNW_REQUIRES: <( 1-1 )> is not a list of required patches: alternatives are written `( a | b )`"
        );
    }
}
