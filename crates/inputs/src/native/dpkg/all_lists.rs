//! The lists of paths of all packages that dpkg knows, for an index of owners.
//!
//! Also a package that is unpacked, half installed or removed but for its configuration owns the paths in its list.

use std::collections::{BTreeMap, BTreeSet};

use super::diversions::Diversions;
use super::{LARGEST_RECORD, path_of, record, status};
use crate::native::{NativeError, NativeManager, NativeOrigin};
use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;

/// A path of a package that somebody else has diverted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DivertedPath {
    /// The package whose file lies elsewhere.
    pub package: String,
    /// The path as its list has it.
    pub listed: ObjectPath,
    /// Where its file lies.
    pub place: ObjectPath,
    /// The package that diverts the path; `None` for the administrator.
    pub by: Option<String>,
}

/// A rule of dpkg-divert(1): where files lie that any other package delivers at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diverting {
    /// The path that it is about.
    pub from: ObjectPath,
    /// Where the files lie.
    pub to: ObjectPath,
    /// The package that diverts the path; `None` for the administrator.
    pub by: Option<String>,
}

/// The list of a package.
#[derive(Debug)]
pub(in crate::native) struct PackageList {
    pub(in crate::native) origin: NativeOrigin,
    text: Vec<u8>,
}

impl PackageList {
    /// Returns its absolute paths, without the root directory.
    pub(in crate::native) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let lines = self.text.split(|&byte| byte == b'\n');
        lines.filter(|line| line.len() > 1 && line.starts_with(b"/") && *line != b"/.")
    }
}

/// All lists, and what decides where the listed files lie.
#[derive(Debug)]
pub(in crate::native) struct DpkgLists {
    pub(in crate::native) lists: Vec<PackageList>,
    diversions: Diversions,
    /// The versions of packages, by name and architecture.
    versions: BTreeMap<(String, String), String>,
    /// The packages with `Multi-Arch: same`.
    pub(in crate::native) multi_arch: BTreeSet<String>,
    /// What could not be read, each a sentence.
    pub(in crate::native) unreadable: Vec<String>,
}

impl DpkgLists {
    /// Reads the lists; `None` where the root has no records of dpkg.
    pub(in crate::native) fn read(root: &Root) -> Result<Option<Self>, NativeError> {
        let physical = root.resolver().locate_dir(&path_of("info")?)?;
        let Some(info) = root.dir_if_there(&physical)? else { return Ok(None) };
        let mut lists = Self {
            lists: Vec::new(),
            diversions: Diversions::default(),
            versions: BTreeMap::new(),
            multi_arch: BTreeSet::new(),
            unreadable: Vec::new(),
        };
        for (name, found) in status::known(&record(root, "status")?.unwrap_or_default()) {
            if found.is_same {
                lists.multi_arch.insert(name.clone());
            }
            lists.versions.insert((name, found.arch), found.version);
        }
        match Diversions::parse(&record(root, "diversions")?.unwrap_or_default()) {
            Ok(diversions) => lists.diversions = diversions,
            Err(reason) => lists.unreadable.push(format!("the diversions of dpkg cannot be read: {reason}")),
        }
        for file in info.names()? {
            let Some(origin) = file.strip_suffix(b".list").and_then(origin_of) else { continue };
            match info.read_regular(&file, LARGEST_RECORD) {
                Ok(Some(text)) => lists.lists.push(PackageList { origin, text }),
                Ok(None) => {}
                Err(error) => lists.unreadable.push(error.to_string()),
            }
        }
        Ok(Some(lists))
    }

    /// Returns the version of the package of a list; empty where `status` has none.
    pub(in crate::native) fn version(&self, list: &PackageList) -> String {
        let NativeOrigin { name, arch, .. } = &list.origin;
        let of_name = self.versions.range((name.clone(), String::new())..);
        let mut of_name = of_name.take_while(|((known, _), _)| known == name);
        let found = of_name.find(|((_, of), _)| arch.as_ref().is_none_or(|arch| of == arch));
        found.map(|(_, version)| version.clone()).unwrap_or_default()
    }

    /// Returns all rules.
    pub(in crate::native) fn rules(&self) -> impl Iterator<Item = Diverting> {
        self.diversions.rules().map(|(from, to, by)| Diverting {
            from: from.clone(),
            to: to.clone(),
            by: by.map(str::to_owned),
        })
    }

    /// Returns where a listed path of a package lies, if somebody else has diverted it.
    pub(in crate::native) fn diverted(&self, package: &str, line: &[u8]) -> Option<DivertedPath> {
        if self.diversions.is_empty() {
            return None;
        }
        let listed = ObjectPath::new(line).ok()?;
        let (place, by) = self.diversions.diverted(package, &listed)?;
        Some(DivertedPath {
            package: package.to_owned(),
            place: place.clone(),
            by: by.map(str::to_owned),
            listed,
        })
    }
}

/// Returns the package of a file in `info`: `NAME` or `NAME:ARCH`.
fn origin_of(name: &[u8]) -> Option<NativeOrigin> {
    let text = std::str::from_utf8(name).ok().filter(|text| !text.is_empty())?;
    let (name, arch) = text.split_once(':').map_or((text, None), |(name, arch)| (name, Some(arch)));
    let (name, arch) = (name.to_owned(), arch.map(str::to_owned));
    Some(NativeOrigin { manager: NativeManager::Dpkg, name, arch, version: None })
}
