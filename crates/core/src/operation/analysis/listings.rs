//! Another machine, from the outputs of its commands: `uname.out` (`uname -a`), `pkginfo.out` (`pkginfo -x` or `-l`) and
//! `showrev.out` (`showrev -p` or `patchadd -p`) in one directory.
//!
//! The names of the machine decide nothing, so `uname.out` may be missing.

use std::io;
use std::path::Path;

use super::file::{AnalysisError, read};
use patchadm_planning::analyze::{InstalledPackage, InstalledPatch, MachineFacts};
use patchadm_svr4::format::{package_list, showrev};

/// The largest output of uname that is read, in bytes.
const LARGEST_UNAME: usize = 4096;

/// The contents of the outputs.
#[derive(Clone, Debug)]
pub struct Listings {
    /// The names of the machine, if they are known.
    pub host: Option<HostNames>,
    /// Its packages and patches.
    pub facts: MachineFacts,
}

/// The names of a machine as uname(1) prints them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostNames {
    /// The name of the machine.
    pub node: String,
    /// The system, its release and version, the hardware and the architecture of programs, as far as they are known:
    /// `SunOS 5.10/Generic_1/sparc/sun4u`.
    pub system: String,
}

/// Reads the outputs in a directory.
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

/// Returns the names in a line of `uname -a`: system, node, release, version, hardware, architecture.
fn host_names(text: &str) -> Option<HostNames> {
    let mut words = text.lines().next()?.split_ascii_whitespace();
    let (system, node, release) = (words.next()?, words.next()?, words.next().unwrap_or_default());
    let (version, hardware, arch) = (words.next(), words.next(), words.next());
    let words: Vec<&str> = [Some(release), version, arch, hardware].into_iter().flatten().collect();
    Some(HostNames { node: node.to_owned(), system: format!("{system} {}", words.join("/")) })
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
}
