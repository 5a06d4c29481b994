//! `stage new`: copies directories of a root into a stage, and records the first base.
//!
//! ```text
//!  unfinished ─► copy ─► syncfs ─► base.0 ─► a run lists the stage ─► identity ─► unfinished mark removed
//! ```
//! Before the last step, only drop works. A failure or signal removes the stage; a killed command leaves it unfinished.
//! A caller who may change the root holds its lock; others check for changes, and start again.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::StageError;
use super::copy::Copier;
use super::own_files::{
    empty_stage, other_writer, own_directory, physical_path, put_base, put_cache, put_file, way_to,
};
use super::records::{record_stage, staged_records};
use super::tree::{TreeRequest, Walk, base_objects, key};
use crate::operation::failure::Failure;
use crate::operation::new_database::NewDatabase;
use crate::operation::session::{Caller, RootAndPolicy, Session, may_change, must_agree, must_have_database};
use crate::operation::trial::begin_change;
use patchadm_changeset::transaction::{Receipt, Recovered};
use patchadm_inputs::database::{RecordView, marker, read_consistently};
use patchadm_inputs::input_file::read_small;
use patchadm_inputs::path_glob::PathGlob;
use patchadm_inputs::stage::{
    BASE_OF_NEW, BaseHeader, BaseObjects, CacheSide, DIRECTORIES, DIRECTORY, EXCLUDED, FIRST_BASE, IDENTITY,
    INSIDE, LOCK, LONGEST_RECORD, LeftOut, LeftReason, ListedStage, MOUNTS, Scope, StageId, StageIdentity,
    StageName, StageRights, UNFINISHED, staged_path, write_cache,
};
use patchadm_rootfs::{Digest, Dir, LiveKind, ObjectStatus, Root, never, random};
use patchadm_svr4::package::{Mode, ObjectPath, PkgInst};
use patchadm_svr4::places;
use rustix::io::Errno;

const WORKING: [&str; 3] = ["/tmp", "/usr/obj", "/usr/tmp"];

/// For an unlocked root that changes meanwhile.
const TRIES: usize = 3;

#[derive(Clone, Debug)]
pub struct NewStageRequest {
    /// Nothing, or an empty directory.
    pub stage: PathBuf,
    /// As named.
    pub paths: Vec<Vec<u8>>,
    /// Default: the last component of its path.
    pub name: Option<String>,
    /// Copy the package database, too.
    pub records: bool,
    /// Working directories, as named.
    pub directories: Vec<Vec<u8>>,
    /// Lists mounts of the stage.
    pub mounts: Option<PathBuf>,
    pub exclude: Vec<PathGlob>,
}

#[derive(Debug)]
pub struct NewStageReport {
    pub recovered: Recovered,
    pub id: StageId,
    pub name: StageName,
    pub path: ObjectPath,
    /// Objects in its base.
    pub objects: u64,
    /// Bytes of copied files.
    pub bytes: u64,
    /// Files that share blocks with live ones.
    pub reflinked: u64,
    pub left: Vec<(ObjectPath, LeftReason)>,
    /// Not entered.
    pub mounts: Vec<ObjectPath>,
    /// All copies have the original owners and attributes.
    pub owners: bool,
    pub notes: Vec<String>,
    /// `None` if the caller may not change the root.
    pub receipt: Option<Receipt>,
}

pub fn make_stage(
    root: &Root,
    request: &NewStageRequest,
    caller: &Caller<'_>,
) -> Result<NewStageReport, StageError> {
    let ground = RootAndPolicy::of(root)?;
    let made = NewStage::of(root, request, &ground, caller)?;
    match may_change(root) {
        Ok(()) => made.under_lock(ground),
        Err(refused @ (Failure::NotPrivileged(_) | Failure::ReadOnly(_))) => made.without_lock(&refused),
        Err(other) => Err(other.into()),
    }
}

struct NewStage<'a> {
    root: &'a Root,
    request: &'a NewStageRequest,
    caller: &'a Caller<'a>,
    id: StageId,
    name: StageName,
    scope: Scope,
    working: Vec<ObjectPath>,
    left: LeftOut,
    mounts_text: Option<Vec<u8>>,
}

struct CopiedStage {
    tree: Root,
    report: NewStageReport,
    seal: Digest,
}

impl<'a> NewStage<'a> {
    fn of(
        root: &'a Root,
        request: &'a NewStageRequest,
        ground: &RootAndPolicy,
        caller: &'a Caller<'a>,
    ) -> Result<Self, StageError> {
        let paths = request.paths.iter().map(|path| staged_path(path)).collect::<Result<_, _>>()?;
        let last = std::path::absolute(&request.stage).ok();
        let last =
            last.as_deref().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        let name = request.name.as_ref().unwrap_or(&last);
        let name = StageName::for_root(name, |base| ground.policy.is_restricted(base))?;
        let named = request.directories.iter().map(|path| staged_path(path));
        let usual = WORKING.iter().map(|path| ObjectPath::new(path.as_bytes()));
        let mounts_text = match &request.mounts {
            None => None,
            Some(path) => Some(
                read_small(path, LONGEST_RECORD)
                    .map_err(|error| StageError::File { path: path.clone(), reason: error.to_string() })?,
            ),
        };
        Ok(Self {
            root,
            request,
            caller,
            id: StageId::of(random()?),
            name,
            scope: Scope::new(paths)?,
            working: usual.chain(named).collect::<Result<_, _>>()?,
            left: LeftOut::by(request.exclude.clone()),
            mounts_text,
        })
    }

    fn under_lock(&self, ground: RootAndPolicy) -> Result<NewStageReport, StageError> {
        if self.request.records {
            must_have_database(self.root)?;
        }
        let new = NewDatabase::make(self.root)?;
        let session = begin_change(ground, self.caller).inspect_err(|_| new.remove_empty(self.root))?;
        let made = self.make_listed(&session);
        if made.is_err() {
            new.remove(self.root);
        }
        Ok(NewStageReport { recovered: session.recovered, ..made? })
    }

    fn make_listed(&self, session: &Session<'_>) -> Result<NewStageReport, StageError> {
        if self.request.records {
            must_agree(self.root, self.caller.interrupt, |_| false)?;
        }
        let directory = NewDirectory::make(self.root, &self.request.stage, &self.scope)?;
        directory.or_remove(|directory| {
            let CopiedStage { tree, mut report, seal } = self.copied(directory)?;
            let rights = StageRights {
                owner: directory.own_files()?.itself()?.uid,
                owners: report.owners,
                bases: BTreeMap::from([(FIRST_BASE.to_owned(), seal)]),
            };
            let listed = ListedStage {
                id: self.id,
                name: self.name.clone(),
                path: report.path.clone(),
                created: self.caller.time.clone(),
                rights: Some(rights),
            };
            let receipt = record_stage(session, listed)?;
            report.notes.extend(receipt.notes.iter().cloned());
            report.receipt = Some(receipt);
            self.complete(directory, &tree, report)
        })
    }

    /// For a caller who may only read the root.
    fn without_lock(&self, refused: &Failure) -> Result<NewStageReport, StageError> {
        let shown = || self.root.prefix().display().to_string();
        if self.request.records && marker(self.root)?.is_none() {
            return Err(StageError::NoMarker(shown()));
        }
        let directory = NewDirectory::make(self.root, &self.request.stage, &self.scope)?;
        directory.or_remove(|directory| {
            let mut tries = 0;
            let CopiedStage { tree, mut report, .. } = read_consistently(self.root, |view| {
                tries += 1;
                if tries > TRIES {
                    return Err(StageError::Busy(shown()));
                }
                if view.is_during_run() {
                    return Err(Failure::DuringRun(shown()).into());
                }
                directory.empty()?;
                self.copied(directory)
            })?;
            report.notes.push(format!("{refused}: the stage is not listed there, so specify its directory"));
            self.complete(directory, &tree, report)
        })
    }

    fn copied(&self, directory: &NewDirectory) -> Result<CopiedStage, StageError> {
        let tree = directory.tree().clone();
        let own = directory.begin()?;
        let begun = own.look(UNFINISHED)?.map(|seen| seen.ctime).unwrap_or_default();
        let copier = Copier {
            root: self.root,
            stage: &tree,
            interrupt: self.caller.interrupt,
            owners: true,
            is_whole: AtomicBool::new(true),
        };
        let walk = self.walk(&self.scope, &places::is_reserved)?;
        directory.must_not_be_met(self.root, &walk, &self.scope)?;
        self.must_be_copyable(&walk)?;
        let (mounts, left) = (walk.mounts.clone(), walk.left.clone());
        for path in self.scope.paths() {
            copier.make_way(path)?;
        }
        let copied = copier.copy(walk)?;
        let packages = if self.request.records { self.copy_records(&copier)? } else { Vec::new() };
        self.make_working_directories(&copier)?;
        tree.dir(&ObjectPath::root())?.sync_file_system()?;
        let owners = copier.is_whole.into_inner();
        let header = BaseHeader {
            stage: self.id,
            promotion: None,
            paths: self.scope.clone(),
            packages: packages.into_iter().collect(),
        };
        let objects = BaseObjects::new(base_objects(&copied.objects, &mounts));
        put_base(&own, BASE_OF_NEW, &header, &objects)?;
        // Nobody works in the stage before it is complete.
        let since = own.look(BASE_OF_NEW)?.map(|seen| seen.ctime).unwrap_or_default();
        put_cache(&own, &write_cache(copied.known_copies(since), copied.known_files(begun)));
        let report = NewStageReport {
            recovered: Recovered::Nothing,
            id: self.id,
            name: self.name.clone(),
            path: physical_path(&tree)?,
            objects: objects.count(),
            bytes: copied.bytes,
            reflinked: copied.reflinked,
            left,
            mounts,
            owners,
            notes: Vec::new(),
            receipt: None,
        };
        Ok(CopiedStage { tree, report, seal: objects.seal(&header) })
    }

    fn walk(
        &self,
        scope: &Scope,
        is_reserved: &(dyn Fn(&ObjectPath) -> bool + Sync),
    ) -> Result<Walk, StageError> {
        let known = CacheSide::default();
        let request = TreeRequest {
            root: self.root,
            scope,
            left: &self.left,
            known: &known,
            interrupt: self.caller.interrupt,
        };
        request.walk(is_reserved)
    }

    fn must_be_copyable(&self, walk: &Walk) -> Result<(), StageError> {
        let is_device = |live: &patchadm_rootfs::Live| matches!(live.kind, LiveKind::Device { .. });
        let device = walk.met.iter().find(|met| met.live.as_ref().is_some_and(is_device));
        match device {
            Some(met) if !self.root.is_privileged() => Err(StageError::Device(self.root.show(&met.path))),
            _ => Ok(()),
        }
    }

    fn copy_records(&self, copier: &Copier<'_>) -> Result<Vec<(PkgInst, String)>, StageError> {
        let scope = Scope::new(vec![places::records()])?;
        let mut walk = self.walk(&scope, &|path| !staged_records(path))?;
        // Records in staged paths are copied already.
        let is_there = |path: &ObjectPath| self.scope.contains(path) && !places::is_reserved(path);
        walk.met.retain(|met| !is_there(&met.path));
        copier.make_way(&places::records())?;
        copier.copy(walk)?;
        let view = RecordView::live(self.root);
        let packages = patchadm_inputs::database::survey::parameters(&view).map_err(Failure::from)?;
        let version = |params: &patchadm_svr4::package::Params| params.text("VERSION").into_owned();
        Ok(packages.into_iter().map(|(name, installed)| (name, version(&installed.params))).collect())
    }

    fn make_working_directories(&self, copier: &Copier<'_>) -> Result<(), StageError> {
        for path in self.working.iter().filter(|path| !self.scope.contains(path)) {
            copier.make_working_directory(path)?;
        }
        Ok(())
    }

    fn complete(
        &self,
        directory: &NewDirectory,
        tree: &Root,
        report: NewStageReport,
    ) -> Result<NewStageReport, StageError> {
        let own = directory.own_files()?;
        let marker = marker(self.root)?;
        if let Some(marker) = marker.as_deref().filter(|_| self.request.records) {
            super::records::put_marker(tree, marker)?;
        }
        if let Some(text) = &self.mounts_text {
            put_file(&own, MOUNTS, text)?;
        }
        if let Some(named) = self.working.get(WORKING.len()..).filter(|named| !named.is_empty()) {
            let lines: Vec<u8> = named.iter().flat_map(|path| [path.as_bytes(), b"\n"].concat()).collect();
            put_file(&own, DIRECTORIES, &lines)?;
        }
        if !self.request.exclude.is_empty() {
            put_file(&own, EXCLUDED, &LeftOut::write(&self.request.exclude))?;
        }
        put_file(&own, LOCK, b"")?;
        put_file(&own, INSIDE, b"")?;
        let identity = StageIdentity {
            id: self.id,
            name: self.name.clone(),
            root: physical_path(self.root)?,
            marker,
            created: self.caller.time.clone(),
            records: self.request.records,
            owners: report.owners,
        };
        put_file(&own, IDENTITY, &identity.write())?;
        directory.open_up()?;
        own.remove(UNFINISHED)?;
        own.sync()?;
        Ok(report)
    }
}

const HANDED_DOWN: &[u8] = b"system.posix_acl_default";

/// Others can enter the root.
const OPEN: u32 = 0o755;

/// Others cannot; also for the superuser's unfinished stage.
const PRIVATE: u32 = 0o700;

const OWN: u32 = 0o700;

const ENTER: u32 = 0o001;

struct NewDirectory {
    tree: Root,
    made: Option<(Dir, Vec<u8>)>,
    /// Until complete, nobody else may enter a superuser's stage: the owner of a copied directory could replace
    /// directories and read private copies.
    mode: Mode,
    /// The directory, or its parent, before anything was made.
    nearest: ObjectStatus,
}

impl NewDirectory {
    /// Makes the directory, or uses an empty one. Refuses a path inside the scope first.
    pub(super) fn make(root: &Root, path: &Path, scope: &Scope) -> Result<Self, StageError> {
        let shown = || path.display().to_string();
        let absolute = std::path::absolute(path).map_err(|_| StageError::NotEmpty(shown()))?;
        match root.elsewhere(&absolute) {
            Ok(tree) => {
                let top = tree.dir(&ObjectPath::root())?;
                if !top.names()?.is_empty() {
                    return Err(StageError::NotEmpty(shown()));
                }
                must_lie_outside(root, scope, &tree, path)?;
                must_be_alone(&tree)?;
                forget_list(&top);
                let nearest = top.itself()?;
                let mode = Mode::of(nearest.mode.bits() & !closed_bits(root)?);
                if root.is_privileged() {
                    top.set_own_mode(Mode::of(PRIVATE))?;
                }
                Ok(Self { tree, made: None, mode, nearest })
            }
            Err(error) if error.errno() == Some(Errno::NOTDIR) => Err(StageError::NotEmpty(shown())),
            Err(error) if !error.is_not_found() => Err(error.into()),
            Err(missing) => {
                let (Some(above), Some(name)) = (absolute.parent(), absolute.file_name()) else {
                    return Err(missing.into());
                };
                let above = root.elsewhere(above)?;
                must_lie_outside(root, scope, &above, path)?;
                let place = above.dir(&ObjectPath::root())?;
                let nearest = place.itself()?;
                let name = name.as_bytes().to_vec();
                let mode = if root.is_privileged() { PRIVATE } else { OPEN };
                let made = place.make_dir(&name, Mode::of(mode)).map_err(|error| match error.errno() {
                    // A dangling link, or another process was quicker.
                    Some(Errno::EXIST) => StageError::NotEmpty(shown()),
                    _ => error.into(),
                })?;
                forget_list(&made);
                let tree = made.into_root();
                let mode = Mode::of(OPEN & !closed_bits(root)?);
                Ok(Self { tree, made: Some((place, name)), mode, nearest })
            }
        }
    }

    fn open_up(&self) -> Result<(), StageError> {
        self.set_mode(self.mode)
    }

    fn set_mode(&self, mode: Mode) -> Result<(), StageError> {
        let top = self.tree.dir(&ObjectPath::root())?;
        if top.itself()?.mode != mode {
            top.set_own_mode(mode)?;
            top.sync()?;
        }
        Ok(())
    }

    pub(super) fn tree(&self) -> &Root {
        &self.tree
    }

    pub(super) fn begin(&self) -> Result<Dir, StageError> {
        let own = self.tree.dir(&ObjectPath::root())?.make_dir(DIRECTORY, Mode::of(0o700))?;
        own.create(UNFINISHED)?.sync()?;
        own.sync()?;
        Ok(own)
    }

    pub(super) fn own_files(&self) -> Result<Dir, StageError> {
        let shown = || self.tree.prefix().display().to_string();
        own_directory(&self.tree)?.ok_or_else(|| StageError::Changing(shown()))
    }

    /// Detects bind mounts.
    pub(super) fn must_not_be_met(&self, root: &Root, walk: &Walk, scope: &Scope) -> Result<(), StageError> {
        if let Some(met) = walk.met.iter().find(|met| key(&met.status) == key(&self.nearest)) {
            return Err(nested(self.tree.prefix(), &met.path));
        }
        // A walk does not list the root directory itself, or mounts below it.
        let top = root.dir(&ObjectPath::root())?.itself()?;
        if scope.is_all() && key(&top) == key(&self.nearest) {
            return Err(nested(self.tree.prefix(), &ObjectPath::root()));
        }
        Ok(())
    }

    pub(super) fn empty(&self) -> Result<(), StageError> {
        empty_stage(&self.tree, &never).map(drop)
    }

    fn or_remove<T>(self, work: impl FnOnce(&Self) -> Result<T, StageError>) -> Result<T, StageError> {
        let done = work(&self);
        if done.is_err() {
            // The earlier error is reported; the mark shows that the stage is unfinished.
            let _ = self.empty();
            let _ = match &self.made {
                Some((above, name)) => above.remove_dir(name).map(drop).map_err(StageError::from),
                None => self.set_mode(self.nearest.mode),
            };
        }
        done
    }
}

/// Returns bits that a stage must not grant: all of group and others if others cannot reach the root's private data.
fn closed_bits(root: &Root) -> Result<u32, StageError> {
    let path = physical_path(root)?;
    for directory in std::iter::once(path.clone()).chain(path.ancestors()) {
        // Others' search permission decides about a directory that the caller may not open.
        let Ok(directory) = Dir::of_host(Path::new(OsStr::from_bytes(directory.as_bytes()))) else {
            continue;
        };
        if directory.itself()?.mode.bits() & ENTER == 0 {
            return Ok(0o077);
        }
    }
    Ok(0)
}

/// Closes a stage like the root. Never opens anything, because the stage may now have private contents.
pub(super) fn close_like_root(root: &Root, stage: &Root, scope: &Scope) -> Result<(), StageError> {
    let close = |directory: &Dir, bits: u32| {
        let mode = directory.itself()?.mode.bits();
        if mode & bits != mode {
            directory.set_own_mode(Mode::of(mode & bits))?;
            directory.sync()?;
        }
        Ok::<(), StageError>(())
    };
    close(&stage.dir(&ObjectPath::root())?, !closed_bits(root)?)?;
    let above: BTreeSet<ObjectPath> = scope.paths().iter().flat_map(ObjectPath::ancestors).collect();
    for path in above.iter().filter(|path| !path.relative().is_empty()) {
        if let (Some(live), Some(staged)) = (root.dir_if_there(path)?, stage.dir_if_there(path)?) {
            close(&staged, live.itself()?.mode.bits() | OWN)?;
        }
    }
    Ok(())
}

fn must_lie_outside(root: &Root, scope: &Scope, place: &Root, stage: &Path) -> Result<(), StageError> {
    let way = way_to(&physical_path(place)?)?;
    for path in scope.paths().iter().filter(|path| !path.relative().is_empty()) {
        let staged = root.dir_if_there(path);
        // The walk reports objects that are no directories.
        let Ok(Some(staged)) = staged else { continue };
        if way.contains(&key(&staged.itself()?)) {
            return Err(nested(stage, path));
        }
    }
    Ok(())
}

fn must_be_alone(tree: &Root) -> Result<(), StageError> {
    if !tree.is_privileged() {
        return Ok(());
    }
    match other_writer(tree, false, false)? {
        None => Ok(()),
        Some(foreign) => Err(StageError::NotAlone(foreign)),
    }
}

fn nested(stage: &Path, path: &ObjectPath) -> StageError {
    StageError::Nested { stage: stage.display().to_string(), path: path.to_string() }
}

fn forget_list(top: &Dir) {
    // Usually missing or unsupported.
    let _ = top.remove_xattr(b"", HANDED_DOWN);
}
