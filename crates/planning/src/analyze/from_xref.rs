//! The lines of a `patchdiag.xref` as a cross-reference.

use chrono::NaiveDate;

use super::cross_reference::CrossReference;
use super::reference::{ReferencePackage, ReferencePatch};
use patchadm_svr4::format::patchdiag::{Patchdiag, PatchdiagDate, PatchdiagLine};

/// The release of patches that are for none.
const UNBUNDLED: &str = "Unbundled";

/// Takes the lines of a file as a cross-reference, in their order.
pub fn from_patchdiag(file: &Patchdiag) -> CrossReference {
    CrossReference::new(file.as_of.and_then(day), file.lines.iter().map(patch_of))
}

fn patch_of(line: &PatchdiagLine) -> ReferencePatch {
    let packages = line.packages.iter().filter_map(|package| {
        let version = package.version.clone()?;
        Some(ReferencePackage { name: package.name.clone(), version, arch: None })
    });
    ReferencePatch {
        id: line.id.clone(),
        date: line.date.and_then(day),
        is_recommended: line.is_recommended,
        is_security: line.is_security,
        is_obsolete: line.is_obsolete,
        is_bad: line.is_bad,
        is_unbundled: line.os == UNBUNDLED,
        archs: line.archs.clone(),
        packages: packages.collect(),
        requires: line.requires.iter().map(|id| vec![id.clone()]).collect(),
        obsoleted_by: line.obsoleted_by(),
        synopsis: String::from_utf8_lossy(&line.synopsis).into_owned(),
        size: None,
        reboot: None,
    }
}

/// Returns the day in the calendar; none for February 30.
fn day(date: PatchdiagDate) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(i32::from(date.year), u32::from(date.month), u32::from(date.day))
}
