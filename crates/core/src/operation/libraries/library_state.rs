//! Programs and libraries of a root during successive plans: the present root, and the changes of earlier plans.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Read as _;
use std::rc::Rc;
use std::sync::Arc;

use super::scan::{ScanError, ScanRequest};
use crate::operation::failure::Failure;
use crate::operation::libraries::planned::{PlannedFiles, TreeChanges, apply, members};
use crate::operation::libraries::scan;
use crate::operation::libraries::scan::loader_settings;
use crate::operation::session::RootAndPolicy;
use patchadm_changeset::transaction::ContentSource;
use patchadm_inputs::inventory::KeptLibraries;
use patchadm_libraries::decision::SymbolSource;
use patchadm_libraries::elf::{self, ElfSymbols, FilePieces};
use patchadm_libraries::{LibraryFile, LibraryTree, LoaderSettings};
use patchadm_rootfs::{Interrupt, Root, Timestamp};
use patchadm_svr4::package::{ContentsLine, ObjectPath};

pub(in crate::operation) type SharedContent<'o> = Rc<RefCell<dyn ContentSource + 'o>>;

type NewSymbols = HashMap<*const LibraryFile, Arc<ElfSymbols>>;

/// How to read a plan's files if only a later plan needs them.
pub(in crate::operation) enum LaterContent<'o> {
    NotAsked,
    /// Read at once: the source does not exist later.
    ReadNow,
    At(SharedContent<'o>),
}

#[derive(Clone)]
struct EarlierPlan<'o> {
    changes: TreeChanges,
    files: EarlierFiles<'o>,
}

#[derive(Clone)]
enum EarlierFiles<'o> {
    At(SharedContent<'o>),
    Read(PlannedFiles),
}

/// With changes by plans since.
#[derive(Clone)]
pub(super) struct ScannedRoot {
    pub(super) tree: LibraryTree,
    pub(super) settings: Rc<LoaderSettings>,
    /// Programs and libraries.
    pub(super) scanned: u64,
    pub(super) not_understood: Rc<Vec<(ObjectPath, String)>>,
    /// Directories that were not entered.
    pub(super) skipped: Rc<Vec<ObjectPath>>,
}

#[derive(Clone, Default)]
pub(super) struct LibraryState<'o> {
    /// `None` before the first look.
    pub(super) kept: Option<KeptLibraries>,
    /// `None` until needed.
    pub(super) scanned: Option<ScannedRoot>,
    /// Lines of `contents` after earlier plans, without owners that keep libraries.
    pub(super) lines: BTreeMap<ObjectPath, Option<ContentsLine>>,
    earlier: Vec<EarlierPlan<'o>>,
    changed: HashSet<ObjectPath>,
    symbols: NewSymbols,
    /// Keeps files with known symbols alive.
    files: Vec<PlannedFiles>,
}

impl<'o> LibraryState<'o> {
    /// Scans once. `is_run`: the caller holds the lock and changes the root.
    pub(super) fn scan(
        &mut self,
        ground: &RootAndPolicy,
        began: Timestamp,
        is_run: bool,
        interrupt: Interrupt<'_>,
    ) -> Result<&ScannedRoot, Failure> {
        if self.scanned.is_none() {
            let mut scanned = scanned(ground, began, is_run, interrupt)?;
            self.changed.clear();
            for EarlierPlan { changes, files } in std::mem::take(&mut self.earlier) {
                let files = match files {
                    EarlierFiles::At(content) => {
                        let how = (&ground.root, interrupt);
                        PlannedFiles::read(how, &mut *content.borrow_mut(), &members(&changes))
                    }
                    EarlierFiles::Read(files) => files,
                };
                apply(&mut scanned.tree, &changes, &files);
                self.keep_files(files);
            }
            Failure::unless_interrupted(interrupt)?;
            self.scanned = Some(scanned);
        }
        self.scanned.as_ref().ok_or_else(|| Failure::BadFile("the root was not scanned".to_owned()))
    }

    /// The plan's files are read on demand.
    pub(super) fn add_unread(
        &mut self,
        changes: TreeChanges,
        files: PlannedFiles,
        content: SharedContent<'o>,
    ) {
        self.keep_files(files);
        self.add_earlier(changes, EarlierFiles::At(content));
    }

    pub(super) fn add_read(&mut self, changes: TreeChanges, files: PlannedFiles) {
        match &mut self.scanned {
            Some(scanned) => {
                apply(&mut scanned.tree, &changes, &files);
                self.keep_files(files);
            }
            None => self.add_earlier(changes, EarlierFiles::Read(files)),
        }
    }

    fn add_earlier(&mut self, changes: TreeChanges, files: EarlierFiles<'o>) {
        self.changed.extend(changes.iter().map(|(path, _)| path.clone()));
        self.earlier.push(EarlierPlan { changes, files });
    }

    pub(super) fn go_on(&mut self, tree: LibraryTree, files: PlannedFiles) {
        if let Some(scanned) = &mut self.scanned {
            scanned.tree = tree;
        }
        self.keep_files(files);
    }

    fn keep_files(&mut self, files: PlannedFiles) {
        if files.has_objects() {
            self.symbols.extend(files.symbols().iter().map(|(file, symbols)| (*file, symbols.clone())));
            self.files.push(files);
        }
    }

    pub(super) fn symbols(&self) -> &NewSymbols {
        &self.symbols
    }

    /// True if an earlier plan, made without a scan, changes the path.
    pub(super) fn is_changed(&self, path: &ObjectPath) -> bool {
        self.changed.contains(path)
    }
}

fn scanned(
    ground: &RootAndPolicy,
    began: Timestamp,
    is_run: bool,
    interrupt: Interrupt<'_>,
) -> Result<ScannedRoot, Failure> {
    let known = scan::known_files(&ground.root);
    let request = ScanRequest {
        root: &ground.root,
        skip: &ground.policy.shlib_skip,
        scan: &ground.policy.shlib_scan,
        known: &known,
        interrupt,
    };
    let mut scan = request.scan().map_err(|error| match error {
        ScanError::Root(error) => Failure::Root(error),
        ScanError::Interrupted(signal) => Failure::interrupted(signal),
    })?;
    let found = ScannedRoot {
        tree: std::mem::take(&mut scan.tree),
        settings: Rc::new(loader_settings(&ground.root)),
        scanned: scan.scanned,
        not_understood: Rc::new(std::mem::take(&mut scan.not_understood)),
        skipped: Rc::new(std::mem::take(&mut scan.skipped)),
    };
    if is_run {
        let cache = scan.into_cache(began);
        if cache != known {
            scan::write_known_files(&ground.root, &cache);
        }
    }
    Ok(found)
}

pub(super) struct RootSymbols<'a> {
    root: &'a Root,
    paths: HashMap<*const LibraryFile, &'a ObjectPath>,
    known: RefCell<HashMap<*const LibraryFile, Option<Arc<ElfSymbols>>>>,
}

impl<'a> RootSymbols<'a> {
    pub(super) fn new(root: &'a Root, tree: &'a LibraryTree, new: &[&NewSymbols]) -> Self {
        let paths = tree.files().map(|(path, file)| (Arc::as_ptr(file), path)).collect();
        let known = new.iter().flat_map(|symbols| symbols.iter());
        let known = known.map(|(file, symbols)| (*file, Some(symbols.clone()))).collect();
        Self { root, paths, known: RefCell::new(known) }
    }
}

impl SymbolSource for RootSymbols<'_> {
    fn symbols(&self, file: &Arc<LibraryFile>) -> Option<Arc<ElfSymbols>> {
        let key = Arc::as_ptr(file);
        if let Some(known) = self.known.borrow().get(&key) {
            return known.clone();
        }
        let read = self.paths.get(&key).and_then(|path| symbols_at(self.root, path)).map(Arc::new);
        self.known.borrow_mut().insert(key, read.clone());
        read
    }
}

pub(super) fn symbols_at(root: &Root, physical: &ObjectPath) -> Option<ElfSymbols> {
    let dir = root.dir_if_there(&physical.parent()?).ok()??;
    let (file, _) = dir.open_file(physical.name()).ok()?;
    elf::read_symbols(&mut FilePieces::new(&file)).ok()
}

/// `None` if it is neither program nor library.
pub(super) fn file_at(root: &Root, physical: &ObjectPath) -> Option<Arc<LibraryFile>> {
    let mut head = [0; elf::MAGIC.len()];
    let mut file = root.open_still(physical).ok()?;
    file.read_exact(&mut head).ok()?;
    if head != elf::MAGIC {
        return None;
    }
    let facts = elf::read(&mut FilePieces::new(file.positioned())).ok()??;
    Some(Arc::new(LibraryFile { facts: Arc::new(facts) }))
}
