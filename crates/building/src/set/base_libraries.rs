//! The programs, libraries and settings of the base, as builds see it.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use patchadm_bulk_values::conf::Base;
use patchadm_core::operation::libraries::{ScanRequest, read_facts, write_facts};
use patchadm_inputs::path_glob::PathGlob;
use patchadm_libraries::{ConfigFiles, LibraryTree};
use patchadm_rootfs::{Dir, FileType, Interrupt, Root, RootError, Timestamp};
use patchadm_svr4::package::ObjectPath;

use super::error::SetError;
use crate::work::Work;

/// The largest file with settings of the loader, in bytes.
const LARGEST_SETTINGS: u64 = 1 << 20;

/// The name of the facts about the files of the base, in the directory of builds.
const FACTS: &[u8] = b"base.facts";

/// The program in the names of unfinished files.
const PROGRAM: &str = "base-facts";

/// The programs and libraries of the base. It is scanned when they are first needed, and once.
pub(crate) struct BaseLibraries<'a> {
    work: &'a Work,
    interrupt: Interrupt<'a>,
    scanned: OnceLock<ScannedBase>,
}

/// The base of all builds.
pub(super) struct ScannedBase {
    /// Its root.
    pub(super) root: Root,
    /// Whether it is a directory of its own, and not that of the host.
    pub(super) is_directory: bool,
    /// The programs, libraries and links in it.
    pub(super) tree: LibraryTree,
}

impl<'a> BaseLibraries<'a> {
    /// Prepares to scan the base of a working directory.
    pub(crate) fn new(work: &'a Work, interrupt: Interrupt<'a>) -> Self {
        Self { work, interrupt, scanned: OnceLock::new() }
    }

    pub(super) fn get(&self) -> Result<&ScannedBase, SetError> {
        if let Some(scanned) = self.scanned.get() {
            return Ok(scanned);
        }
        let scanned = ScannedBase::scan(self.work, self.interrupt)?;
        Ok(self.scanned.get_or_init(|| scanned))
    }
}

impl ScannedBase {
    /// Scans the base. Only files that have changed since the last scan are read.
    fn scan(work: &Work, interrupt: Interrupt<'_>) -> Result<Self, SetError> {
        let (path, of_host): (&Path, &[PathBuf]) = match &work.conf.base {
            Base::Directory(path) => (path, &[]),
            Base::Host(paths) => (Path::new("/"), paths),
        };
        let is_directory = matches!(work.conf.base, Base::Directory(_));
        let root = Root::open(path)?;
        let skip = if is_directory { Vec::new() } else { beside(&root, of_host)? };
        let entered: Vec<ObjectPath> = of_host
            .iter()
            .filter_map(|path| ObjectPath::new(path.as_os_str().as_encoded_bytes()).ok())
            .collect();
        let facts = FactsFile::open(&work.conf.build_dir);
        let known = facts.as_ref().map(|facts| read_facts(&facts.build_dir, FACTS)).unwrap_or_default();
        let request = ScanRequest { root: &root, skip: &skip, scan: &entered, known: &known, interrupt };
        let mut scan = request.scan()?;
        let tree = std::mem::take(&mut scan.tree);
        if let Some(facts) = facts {
            let found = scan.into_cache(facts.began);
            if found != known {
                write_facts(&facts.build_dir, FACTS, &found);
            }
        }
        Ok(Self { root, is_directory, tree })
    }
}

/// The place of the facts that earlier scans of the base have left.
struct FactsFile {
    build_dir: Dir,
    /// When the scan began, by the clock that dates the changes of files.
    began: Timestamp,
}

impl FactsFile {
    /// Returns nothing where nothing can be written.
    fn open(build_dir: &Path) -> Option<Self> {
        let build_dir = Dir::of_host(build_dir).ok()?;
        let (name, file) = build_dir.create_private(PROGRAM).ok()?;
        drop(file);
        let began = build_dir.look(&name).ok()??.ctime;
        // With what killed scans have left.
        build_dir.remove_leftovers(PROGRAM).ok()?;
        Some(Self { build_dir, began })
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
