//! `stage new`: copies directories of a root into a stage, and records their state then as its base.
//!
//! ```text
//!  unfinished ─► copy ─► syncfs ─► base.0 ─► a run lists the stage ─► identity ─► unfinished goes
//! ```
//! Until the last step, only the removal of the stage works. A failure, or a signal, removes what was made. A killed command
//! leaves a stage that is marked as unfinished. A caller who may change the root holds its lock meanwhile. Any other caller
//! checks whether the root was changed, and begins again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::copy::Copier;
use super::error::StageError;
use super::new_directory::NewDirectory;
use super::own_files::{physical_path, put_base, put_cache, put_file};
use super::records::{record_stage, staged_records};
use super::tree::base_objects;
use super::walk::{TreeRequest, Walk};
use crate::operation::failure::Failure;
use crate::operation::new_database::NewDatabase;
use crate::operation::session::{Caller, RootAndPolicy, Session, may_change, must_agree, must_have_database};
use crate::operation::trial::begin::begin_change;
use patchadm_changeset::transaction::{Receipt, Recovered};
use patchadm_inputs::database::{RecordView, marker, read_consistently};
use patchadm_inputs::input_file::read_small;
use patchadm_inputs::path_glob::PathGlob;
use patchadm_inputs::stage::{
    BASE_OF_NEW, BaseHeader, BaseObjects, CacheSide, DIRECTORIES, EXCLUDED, FIRST_BASE, IDENTITY, INSIDE,
    LOCK, LONGEST_RECORD, LeftOut, LeftReason, ListedStage, MOUNTS, Scope, StageId, StageIdentity, StageName,
    StageRights, UNFINISHED, staged_path, write_cache,
};
use patchadm_rootfs::{Digest, LiveKind, Root, random};
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::places;

/// The working directories of programs, which every stage has.
const WORKING: [&str; 3] = ["/tmp", "/usr/obj", "/usr/tmp"];

/// The number of attempts to read an unlocked root that changes meanwhile.
const TRIES: usize = 3;

/// The specification of a new stage.
#[derive(Clone, Debug)]
pub struct NewStageRequest {
    /// Its path: nothing exists there, or an empty directory.
    pub stage: PathBuf,
    /// The directories of the root that are copied, as they were named.
    pub paths: Vec<Vec<u8>>,
    /// Its name, instead of the last component of its path.
    pub name: Option<String>,
    /// Whether the package database is copied as well.
    pub records: bool,
    /// Further working directories, as they were named.
    pub directories: Vec<Vec<u8>>,
    /// A file with what is mounted in the stage.
    pub mounts: Option<PathBuf>,
    /// The paths that are not copied.
    pub exclude: Vec<PathGlob>,
}

/// The new stage.
#[derive(Debug)]
pub struct NewStageReport {
    /// The finding of recovery, before anything else.
    pub recovered: Recovered,
    /// The id of the stage.
    pub id: StageId,
    /// Its name.
    pub name: StageName,
    /// Its path.
    pub path: ObjectPath,
    /// The number of objects in its base.
    pub objects: u64,
    /// The bytes of the files that were copied.
    pub bytes: u64,
    /// The files that share their blocks with the live ones.
    pub reflinked: u64,
    /// The paths that were left out, and why.
    pub left: Vec<(ObjectPath, LeftReason)>,
    /// The mount points, which were not entered.
    pub mounts: Vec<ObjectPath>,
    /// Whether all copies have the owners and attributes of the objects.
    pub owners: bool,
    /// Sentences for the reader of a report.
    pub notes: Vec<String>,
    /// The receipt of the run that listed the stage; `None` if the caller may not change the root.
    pub receipt: Option<Receipt>,
}

/// Makes a stage.
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

/// A stage to be made.
struct NewStage<'a> {
    root: &'a Root,
    request: &'a NewStageRequest,
    caller: &'a Caller<'a>,
    id: StageId,
    name: StageName,
    scope: Scope,
    /// The working directories.
    working: Vec<ObjectPath>,
    left: LeftOut,
    mounts_text: Option<Vec<u8>>,
}

/// A stage with all its contents that is not complete yet.
struct CopiedStage {
    tree: Root,
    report: NewStageReport,
    /// The seal of its base.
    seal: Digest,
}

impl<'a> NewStage<'a> {
    /// Checks the request, before anything is made.
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

    /// Makes the stage for a caller who may change the root.
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

    /// Makes the stage for a caller who may only read the root.
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
            report.notes.push(format!("{refused}: the stage is not listed there, so name its directory"));
            self.complete(directory, &tree, report)
        })
    }

    /// Copies everything, and makes it durable with its base.
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
        // No user works in the stage before it is complete.
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

    /// Refuses a device that the caller cannot make.
    fn must_be_copyable(&self, walk: &Walk) -> Result<(), StageError> {
        let is_device = |live: &patchadm_rootfs::Live| matches!(live.kind, LiveKind::Device { .. });
        let device = walk.met.iter().find(|met| met.live.as_ref().is_some_and(is_device));
        match device {
            Some(met) if !self.root.is_privileged() => Err(StageError::Device(self.root.show(&met.path))),
            _ => Ok(()),
        }
    }

    /// Copies the package database. Returns its packages, each with its version.
    fn copy_records(&self, copier: &Copier<'_>) -> Result<Vec<(PkgInst, String)>, StageError> {
        let scope = Scope::new(vec![places::records()])?;
        let mut walk = self.walk(&scope, &|path| !staged_records(path))?;
        // Records in the staged paths are copied already.
        let is_there = |path: &ObjectPath| self.scope.contains(path) && !places::is_reserved(path);
        walk.met.retain(|met| !is_there(&met.path));
        copier.make_way(&places::records())?;
        copier.copy(walk)?;
        let view = RecordView::live(self.root);
        let packages = patchadm_inputs::database::survey::parameters(&view).map_err(Failure::from)?;
        let version = |params: &patchadm_svr4::package::Params| params.text("VERSION").into_owned();
        Ok(packages.into_iter().map(|(name, installed)| (name, version(&installed.params))).collect())
    }

    /// Makes the working directories of programs that no staged path contains.
    fn make_working_directories(&self, copier: &Copier<'_>) -> Result<(), StageError> {
        for path in self.working.iter().filter(|path| !self.scope.contains(path)) {
            copier.make_working_directory(path)?;
        }
        Ok(())
    }

    /// Makes the copy a stage.
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
