//! The programs, libraries and settings of the base, as builds see it.

use std::path::{Path, PathBuf};

use patchadm_bulk::conf::Base;
use patchadm_core::operation::libraries::{LibraryScan, ScanRequest};
use patchadm_inputs::path_glob::PathGlob;
use patchadm_libraries::ConfigFiles;
use patchadm_libraries::cache::FactsCache;
use patchadm_rootfs::{Dir, FileType, Root, RootError};
use patchadm_svr4::package::ObjectPath;

use super::error::SetError;

/// The largest file with settings of the loader, in bytes.
const LARGEST_SETTINGS: u64 = 1 << 20;

/// The base of all builds.
pub(super) struct BaseLibraries {
    /// Its root.
    pub(super) root: Root,
    /// What is in it.
    pub(super) scan: LibraryScan,
}

impl BaseLibraries {
    /// Scans the base.
    pub(super) fn scan(base: &Base, interrupt: &(dyn Fn() -> Option<i32> + Sync)) -> Result<Self, SetError> {
        let (path, of_host): (&Path, &[PathBuf]) = match base {
            Base::Directory(path) => (path, &[]),
            Base::Host(paths) => (Path::new("/"), paths),
        };
        let root = Root::open(path)?;
        let skip = match base {
            Base::Directory(_) => Vec::new(),
            Base::Host(_) => beside(&root, of_host)?,
        };
        let entered: Vec<ObjectPath> = of_host
            .iter()
            .filter_map(|path| ObjectPath::new(path.as_os_str().as_encoded_bytes()).ok())
            .collect();
        let known = FactsCache::default();
        let request = ScanRequest { root: &root, skip: &skip, scan: &entered, known: &known, interrupt };
        let scan = request.scan()?;
        Ok(Self { root, scan })
    }
}

/// Returns patterns for all names beside some paths of the host and beside the directories that lead to them.
fn beside(host: &Root, paths: &[PathBuf]) -> Result<Vec<PathGlob>, RootError> {
    let mut skip = Vec::new();
    let mut open = vec![(host.dir(&ObjectPath::root())?, PathBuf::from("/"))];
    while let Some((dir, at)) = open.pop() {
        for name in dir.names()? {
            let below = crate::work::host_path(&at, &name);
            if paths.contains(&below) {
                continue;
            }
            let leads_on = paths.iter().any(|path| path.starts_with(&below));
            if leads_on && dir.look(&name)?.is_some_and(|seen| seen.file_type == FileType::Directory) {
                open.push((dir.dir(&name)?, below));
            } else if !leads_on {
                skip.extend(literal(&below).and_then(|text| PathGlob::parse(&text).ok()));
            }
        }
    }
    Ok(skip)
}

/// Returns the pattern that names one path.
fn literal(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    Some(
        text.chars()
            .map(|letter| if matches!(letter, '*' | '?' | '[' | '\\') { '?' } else { letter })
            .collect(),
    )
}

/// The settings of the loader, those that packages deliver before those of the base.
pub(super) struct OverlaidSettings<'a> {
    /// The base.
    pub(super) root: &'a Root,
    /// What packages deliver.
    pub(super) delivered: Vec<(ObjectPath, Vec<u8>)>,
}

impl ConfigFiles for OverlaidSettings<'_> {
    fn content(&self, path: &ObjectPath) -> Option<Vec<u8>> {
        if let Some((_, content)) = self.delivered.iter().find(|(known, _)| known == path) {
            return Some(content.clone());
        }
        let physical = self.root.resolver().locate_dir(path).ok()?;
        let dir = self.root.dir_if_there(&physical.parent()?).ok()??;
        dir.read_regular(physical.name(), LARGEST_SETTINGS).ok()?
    }

    fn names(&self, directory: &ObjectPath) -> Vec<Vec<u8>> {
        let physical = self.root.resolver().locate_dir(directory).ok();
        let dir: Option<Dir> = physical.and_then(|physical| self.root.dir_if_there(&physical).ok()?);
        let mut names = dir.and_then(|dir| dir.names().ok()).unwrap_or_default();
        let delivered = self.delivered.iter().filter(|(path, _)| path.parent().as_ref() == Some(directory));
        names.extend(delivered.map(|(path, _)| path.name().to_vec()));
        names.sort();
        names.dedup();
        names
    }
}
