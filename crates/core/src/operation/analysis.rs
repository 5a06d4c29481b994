//! Input of an analysis: cross-reference files, records of a root, and outputs of commands from another machine.
//! [`analyze`](patchadm_planning::analyze) decides.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::operation::failure::Failure;
use crate::operation::libraries::{LibrariesBeforePatches, still_loaded};
use crate::operation::overtaken_list::ended_in_root;
use crate::operation::queries::applied_patches::{InstalledSoftware, PatchesError, installed_software};
use crate::operation::session::{RootAndPolicy, without_lock};
use patchadm_inputs::database::RecordReader;
use patchadm_inputs::input_file::read_start;
use patchadm_inputs::inventory::is_kept_package;
use patchadm_planning::analyze::{
    CrossReference, InstalledPackage, InstalledPatch, MachineFacts, from_patchdiag,
};
use patchadm_planning::plan::clock::Now;
use patchadm_rootfs::{Dir, Root, RootError};
use patchadm_svr4::format::package_list::PackageListError;
use patchadm_svr4::format::patchdiag::{Patchdiag, PatchdiagError};
use patchadm_svr4::format::showrev::ShowrevError;
use patchadm_svr4::format::{package_list, patchdiag, showrev};
use patchadm_svr4::package::Mode;
use patchadm_svr4::patch::PatchId;

/// Reads packages and applied patches, without a lock. No cross-reference has patch ids with a separator other than
/// `-`; these keep their base.
pub fn facts_of_root<'a>(reader: impl Into<RecordReader<'a>>) -> Result<MachineFacts, PatchesError> {
    let reader = reader.into();
    let software = installed_software(reader)?;
    Ok(facts_of(reader.root(), &software))
}

/// Includes patches whose fix an adopted package contains.
pub fn facts_of(root: &Root, software: &InstalledSoftware) -> MachineFacts {
    let packages = software.packages.iter().map(|(inst, params)| InstalledPackage {
        instance: inst.to_string(),
        arch: params.text("ARCH").to_string(),
        version: params.text("VERSION").to_string(),
    });
    let params = software.packages.iter().map(|(inst, params)| (inst, params));
    let contained = ended_in_root(root, params, PatchId::SEPARATOR).contained;
    MachineFacts::new(packages, software.patches.iter().map(InstalledPatch::from))
        .with_contained(contained.into_iter().map(|one| one.id))
}

/// Finds old libraries that are still loaded, without a lock. Reads nothing if nothing is kept.
pub fn still_loaded_in(
    root: &Root,
    software: &InstalledSoftware,
    now: &Now,
) -> Result<LibrariesBeforePatches, Failure> {
    if !software.packages.iter().any(|(_, params)| is_kept_package(params)) {
        return Ok(LibrariesBeforePatches::new());
    }
    let ground = RootAndPolicy::of(root)?;
    without_lock(root, || still_loaded(&ground, now))
}

#[derive(Debug, thiserror::Error)]
pub enum AnalysisError {
    #[error("cannot read {}: {reason}", .path.display())]
    File { path: PathBuf, reason: io::Error },
    #[error("{} is not a cross-reference of patches: {reason}", .path.display())]
    CrossReference {
        path: PathBuf,
        /// With the line.
        reason: PatchdiagError,
    },
    #[error("{} is not the output of showrev -p: {reason}", .path.display())]
    Patches {
        path: PathBuf,
        /// With the line.
        reason: ShowrevError,
    },
    #[error("{} is not the output of pkginfo -x or -l: {reason}", .path.display())]
    Packages {
        path: PathBuf,
        /// With the line.
        reason: PackageListError,
    },
}

pub fn read_cross_reference(path: &Path) -> Result<CrossReference, AnalysisError> {
    parse_cross_reference(path, &read(path, patchdiag::LARGEST_FILE)?)
}

pub fn parse_cross_reference(path: &Path, text: &[u8]) -> Result<CrossReference, AnalysisError> {
    let file = Patchdiag::parse(text)
        .map_err(|reason| AnalysisError::CrossReference { path: path.to_owned(), reason })?;
    Ok(from_patchdiag(&file))
}

/// Reads up to `largest` + 1 bytes, so that the parser can refuse a larger file.
fn read(path: &Path, largest: usize) -> Result<Vec<u8>, AnalysisError> {
    let text = read_start(path, u64::try_from(largest).unwrap_or(u64::MAX));
    text.map_err(|reason| AnalysisError::File { path: path.to_owned(), reason })
}

/// In bytes.
const LARGEST_UNAME: usize = 4096;

#[derive(Clone, Debug)]
pub struct Listings {
    pub host: Option<HostNames>,
    pub facts: MachineFacts,
}

/// Names as uname(1) prints them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostNames {
    pub node: String,
    /// System, release, version, hardware and architecture, as far as known: `SunOS 5.10/Generic_1/sparc/sun4u`.
    pub system: String,
}

pub fn read_listings(directory: &Path) -> Result<Listings, AnalysisError> {
    let at = |name: &str| directory.join(name);
    let host = match read(&at("uname.out"), LARGEST_UNAME) {
        Err(AnalysisError::File { reason, .. }) if reason.kind() == io::ErrorKind::NotFound => None,
        text => host_names(&String::from_utf8_lossy(&text?)),
    };
    let path = at("pkginfo.out");
    let packages = package_list::parse(&read(&path, package_list::LARGEST_LISTING)?)
        .map_err(|reason| AnalysisError::Packages { path, reason })?;
    let path = at("showrev.out");
    let patches = showrev::parse(&read(&path, showrev::LARGEST_LISTING)?)
        .map_err(|reason| AnalysisError::Patches { path, reason })?;
    let packages = packages.into_iter().map(InstalledPackage::from);
    let facts = MachineFacts::new(packages, patches.into_iter().map(InstalledPatch::from));
    Ok(Listings { host, facts })
}

/// Parses `uname -a`: system, node, release, version, hardware, architecture.
fn host_names(text: &str) -> Option<HostNames> {
    let mut words = text.lines().next()?.split_ascii_whitespace();
    let (system, node, release) = (words.next()?, words.next()?, words.next().unwrap_or_default());
    let (version, hardware, arch) = (words.next(), words.next(), words.next());
    let words: Vec<&str> = [Some(release), version, arch, hardware].into_iter().flatten().collect();
    Some(HostNames { node: node.to_owned(), system: format!("{system} {}", words.join("/")) })
}

const PROGRAM: &str = "patchadm-page";

const MODE: u32 = 0o644;

/// Writes a durable file by one rename.
pub fn write_page(path: &Path, text: &[u8]) -> Result<(), RootError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let dir = Dir::of_host(parent.unwrap_or(Path::new(".")))?;
    dir.replace_file(PROGRAM, path.file_name().unwrap_or_default().as_bytes(), text, Mode::of(MODE))?;
    dir.sync()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_names_if_it_tells_them() {
        let names = host_names("SunOS web1 5.10 Generic_1 sun4u sparc SUNW,Ultra\n").unwrap();
        assert_eq!((&*names.node, &*names.system), ("web1", "SunOS 5.10/Generic_1/sparc/sun4u"));
        assert_eq!(host_names("SunOS web1").unwrap().system, "SunOS ");
        assert_eq!(host_names(""), None);
    }

    #[test]
    fn outputs_are_read_and_what_is_wrong_names_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let error = read_listings(dir.path()).unwrap_err().to_string();
        assert!(error.contains("pkginfo.out"), "{error}");
        write("pkginfo.out", "ACMEa A\n   (sparc) 1.0\n");
        write("showrev.out", "Patch: 1-01 Obsoletes: \nPatch: x\n");
        let error = read_listings(dir.path()).unwrap_err().to_string();
        assert!(error.contains("showrev.out is not the output of showrev -p: line 2"), "{error}");
        write("showrev.out", "No patches are installed\n");
        assert!(read_listings(dir.path()).unwrap().host.is_none());
    }

    #[test]
    fn a_page_replaces_the_one_before_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("page.html");
        for text in ["one", "two"] {
            write_page(&path, text.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        assert!(write_page(&dir.path().join("none/page.html"), b"").is_err());
        assert!(write_page(&dir.path().join(".."), b"").is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
