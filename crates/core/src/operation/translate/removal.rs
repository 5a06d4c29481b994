//! Removing packages from a directory of packages: `pkgrm -s`.

use std::path::Path;

use super::TranslateError;
use crate::operation::queries::select::PackagePattern;
use patchadm_rootfs::{Root, random};
use patchadm_svr4::package::{ObjectPath, PkgInst};

/// Removes the packages of a spool directory that the words mean: an instance, `PKG.*`, `all`. If a word matches nothing,
/// nothing is removed. A package loses its name first, so that it is never there in half. A damaged one can be removed too.
/// `agrees` is asked before each.
pub fn remove_spooled(
    spool: &Path,
    words: &[String],
    agrees: &mut dyn FnMut(&PkgInst) -> bool,
) -> Result<Vec<PkgInst>, TranslateError> {
    let root = Root::open(spool)?;
    let top = root.dir(&ObjectPath::root())?;
    let mut there = Vec::new();
    for name in top.names()? {
        let inst = std::str::from_utf8(&name).ok().and_then(|name| PkgInst::new(name).ok());
        let Some(inst) = inst else { continue };
        let is_directory =
            top.look(&name)?.is_some_and(|seen| seen.file_type == patchadm_rootfs::FileType::Directory);
        if is_directory && top.dir(&name)?.look(b"pkginfo")?.is_some() {
            there.push(inst);
        }
    }
    let patterns: Vec<PackagePattern> = words.iter().map(|word| PackagePattern::parse(word)).collect();
    let means_none = |pattern: &&PackagePattern| !there.iter().any(|inst| pattern.fits(inst.as_str()));
    let missing: Vec<String> = patterns.iter().filter(means_none).map(ToString::to_string).collect();
    if !missing.is_empty() {
        return Err(TranslateError::NoPackage(missing));
    }
    there.retain(|inst| patterns.iter().any(|pattern| pattern.fits(inst.as_str())));
    let mut removed = Vec::new();
    for inst in there {
        if !agrees(&inst) {
            break;
        }
        let private = format!(".{inst}.{:016x}", random()?).into_bytes();
        top.rename(inst.as_str().as_bytes(), &private)?;
        top.remove_tree(&private)?;
        removed.push(inst);
    }
    Ok(removed)
}
