//! The pkginfo of a sparse package.
//!
//! PKG, ARCH and VERSION are those of the installed package, so that the patch finds it. All others come from the new
//! release, and the macros are those of the patch.

use super::pairs::PackagePair;
use super::request::{BuildRequest, PatchLists};
use patchadm_inputs::native::FIXED_IN;
use patchadm_svr4::package::Params;
use patchadm_svr4::patch::{FIXES, is_fix_record};

/// Parameters that compare a package with an installed one: those of the old release count.
const OF_OLD: [&str; 4] = ["BASEDIR", "SUNW_PKG_ALLZONES", "SUNW_PKG_HOLLOW", "SUNW_PKG_THISZONE"];

/// Parameters of a release that no sparse package takes over.
const LEFT_OUT: [&str; 14] = [
    "PATCHLIST",
    "PATCH_OBSOLETES",
    "SUNW_PATCHID",
    "SUNW_OBSOLETES",
    "SUNW_REQUIRES",
    "SUNW_INCOMPAT",
    "SUNW_PATCH_PROPERTIES",
    FIXED_IN,
    FIXES,
    "Patch_label",
    "Obsoletes_label",
    "INSTDATE",
    "PKGINST",
    "PKGSAV",
];

/// Returns the parameters of a sparse package.
pub(super) fn params_of(
    pair: &PackagePair<'_>,
    classes: &[String],
    lists: &PatchLists,
    request: &BuildRequest,
) -> Params {
    let mut params = Params::new();
    for (name, value) in [("PKG", pair.pkg.as_str()), ("NAME", ""), ("ARCH", &pair.arch)] {
        params.set(name, value);
    }
    params.set("VERSION", &pair.version);
    params.set("CATEGORY", "application");
    params.set("BASEDIR", request.basedir.as_bytes());
    params.set("CLASSES", classes.join(" "));
    params.set("NAME", name_of(pair));
    take_over(pair, &mut params);
    let PatchLists { requires, obsoletes, incompatibles, fixes } = lists;
    let macros = [
        ("SUNW_PATCHID", request.id.to_string()),
        ("SUNW_OBSOLETES", obsoletes.to_string()),
        ("SUNW_REQUIRES", requires.joined(" ")),
        ("SUNW_INCOMPAT", incompatibles.to_string()),
        ("SUNW_PATCH_PROPERTIES", request.properties.join(" ")),
        (FIXED_IN, request.fixed_in.as_ref().map(ToString::to_string).unwrap_or_default()),
        (FIXES, fixes.to_string()),
    ];
    for (name, value) in macros.iter().filter(|(_, value)| !value.is_empty()) {
        params.set(name, value);
    }
    // Scripts record these two; said by the package, they are recorded whether scripts run or not.
    params.set("Patch_label", request.id.to_string());
    params.set("Obsoletes_label", obsoletes.to_string());
    params
}

/// Returns the NAME of a package without one: one line about it, else its name.
fn name_of(pair: &PackagePair<'_>) -> String {
    let line = pair.new.summary.as_deref().and_then(|summary| summary.lines().next());
    let line = line.map(str::trim).filter(|line| !line.is_empty());
    let name = line.or(pair.new.name.as_deref()).unwrap_or(pair.pkg.as_str());
    name.chars().filter(|letter| !letter.is_control()).take(256).collect()
}

/// Takes over the parameters of an SVR4 package: those of the new release, except those that must stay as installed.
fn take_over(pair: &PackagePair<'_>, params: &mut Params) {
    let kept = ["PKG", "ARCH", "VERSION", "CLASSES"];
    let is_patch =
        |name: &str| LEFT_OUT.contains(&name) || name.starts_with("PATCH_INFO_") || is_fix_record(name);
    for (name, value) in pair.new.svr4.iter().flat_map(|svr4| svr4.params.iter()) {
        if !kept.contains(&name) && !OF_OLD.contains(&name) && !is_patch(name) {
            params.set(name, value);
        }
    }
    let Some(old) = &pair.old.svr4 else { return };
    for name in OF_OLD {
        if let Some(value) = old.params.get(name) {
            params.set(name, value);
        }
    }
}
