//! A stage on disk, its own files, and their trustworthiness. Only the root's record grants owners, capabilities and
//! set-id bits, and only if nobody but the superuser may write to the stage's directory and files. Version 0.1 recorded
//! nothing, so the second rule decides.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::BufReader;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::tree::{ObjectKey, TreeObject, TreeRequest, key};
use super::{ForeignStage, StageError, Undertaking};
use crate::operation::failure::Failure;
use patchadm_inputs::database::{RecordView, marker, places, records};
use patchadm_inputs::path_glob::PathGlob;
use patchadm_inputs::stage::{
    BASE_OF_NEW, BASES, Base, BaseError, BaseHeader, BaseObjects, CACHE, CacheSide, DIRECTORY, EXCLUDED,
    FIRST_BASE, IDENTITY, LONGEST_RECORD, LeftOut, ListedStage, SCRATCH, Scope, StageCache, StageId,
    StageIdentity, StageName, StageRights, StagesRecord, UNFINISHED, stages_record, write_base,
};
use patchadm_rootfs::{
    ACCESS_LIST, DEFAULT_LIST, Digest, Dir, Distrust, FileType, Interrupt, Live, ObjectStatus, RecordPlaces,
    Root, RootError, Untrusted, WritableFile,
};
use patchadm_svr4::package::{Mode, ObjectPath};

const PROGRAM: &str = "patchadm-stage";

const PRIVATE: u32 = 0o600;

#[derive(Debug)]
pub struct Stage {
    /// A root of its own.
    pub root: Root,
    pub own: Dir,
    pub identity: StageIdentity,
    /// If it was opened for that root.
    pub record: StageRecord,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StageRecord {
    #[default]
    None,
    /// The root lists this id in another directory, or for another owner: this is a copy or an impostor.
    Elsewhere,
    /// Listed by version 0.1, without rights.
    Earlier,
    Rights(StageRights),
}

impl StageRecord {
    /// The stage states its own id, so the entry must also match owner and directory. A moved stage, or one copied with
    /// its root, has another directory; its listed one must then lack a stage of this root.
    fn of(root: &Root, stages: &StagesRecord, stage: &Stage) -> Result<Self, StageError> {
        let Some(listed) = stages.stage(stage.identity.id) else { return Ok(Self::None) };
        let (path, owner) = (physical_path(&stage.root)?, stage.own.itself()?.uid);
        let is_there = listed.path == path;
        let is_owners = match &listed.rights {
            Some(rights) => rights.owner == owner,
            None => is_there || owner == 0,
        };
        if is_owners && (is_there || !is_in_place(root, listed)?) {
            return Ok(Self::of_listed(Some(listed)));
        }
        Ok(Self::Elsewhere)
    }

    fn of_listed(listed: Option<&ListedStage>) -> Self {
        match listed.map(|stage| stage.rights.clone()) {
            None => Self::None,
            Some(None) => Self::Earlier,
            Some(Some(rights)) => Self::Rights(rights),
        }
    }
}

pub(super) fn is_in_place(root: &Root, listed: &ListedStage) -> Result<bool, StageError> {
    let path = physical_path(root)?;
    let tree = root.elsewhere(Path::new(OsStr::from_bytes(listed.path.as_bytes())));
    let stage = tree.map_err(StageError::from).and_then(Stage::of_tree);
    Ok(stage.is_ok_and(|stage| stage.identity.id == listed.id && stage.identity.root == path))
}

/// A name means the listed stage, not a directory that somebody may have put into the working directory.
pub fn named_tree(root: &Root, operand: &OsStr) -> Result<Root, StageError> {
    let shown = || operand.to_string_lossy().into_owned();
    let opened = std::path::absolute(operand).ok().map(|path| root.elsewhere(&path));
    let here = match opened {
        Some(Err(error)) if !error.is_not_found() => return Err(error.into()),
        opened => opened.and_then(Result::ok),
    };
    let Some(name) = operand.to_str().and_then(|text| StageName::parse(text).ok()) else {
        return here.ok_or_else(|| StageError::NoStage(shown()));
    };
    let listed = read_stages(root)?;
    if let Some(tree) = here {
        let other = other_of_name(root, &listed, (&name, &tree))?;
        let refuse = |other: &ListedStage| StageError::OtherHere {
            name: name.to_string(),
            listed: other.path.to_string(),
        };
        return other.map_or(Ok(tree), |other| Err(refuse(other)));
    }
    let mut named = listed.stages().iter().filter(|stage| stage.name == name);
    match (named.next(), named.next()) {
        (Some(stage), None) => {
            let missing = || StageError::NoStage(format!("{name} ({})", stage.path));
            let tree = root.elsewhere(Path::new(OsStr::from_bytes(stage.path.as_bytes())));
            let tree = tree.map_err(|_| missing())?;
            // The owner of a parent may have put a link to another stage there.
            if physical_path(&tree)? == stage.path { Ok(tree) } else { Err(missing()) }
        }
        (Some(_), Some(_)) => Err(StageError::Ambiguous(shown())),
        _ => Err(StageError::NoStage(shown())),
    }
}

/// Returns a listed stage of this name, unless it is this tree or was moved.
fn other_of_name<'l>(
    root: &Root,
    listed: &'l StagesRecord,
    (name, tree): (&StageName, &Root),
) -> Result<Option<&'l ListedStage>, StageError> {
    let named: Vec<&ListedStage> = listed.stages().iter().filter(|stage| stage.name == *name).collect();
    let path = physical_path(tree)?;
    if named.iter().any(|stage| stage.path == path) {
        return Ok(None);
    }
    if let (false, Ok(stage)) = (named.is_empty(), Stage::of_tree(tree.clone()))
        && named.iter().any(|listed| listed.id == stage.identity.id)
        && matches!(StageRecord::of(root, listed, &stage)?, StageRecord::Rights(_) | StageRecord::Earlier)
    {
        return Ok(None);
    }
    Ok(named.first().copied())
}

pub fn read_stages(root: &Root) -> Result<StagesRecord, StageError> {
    let place = stages_record();
    let text = RecordView::live(root).read(&place, LONGEST_RECORD)?.unwrap_or_default();
    StagesRecord::parse(&text).map_err(|error| StageError::Damaged { path: root.show(&place), error })
}

impl Stage {
    /// The stage must be complete, and of this root.
    pub fn open(root: &Root, operand: &OsStr) -> Result<Self, StageError> {
        let tree = named_tree(root, operand)?;
        Self::of_root(root, tree)
    }

    /// The stage must be of this root.
    pub fn of_root(root: &Root, tree: Root) -> Result<Self, StageError> {
        let stage = Self::of_tree(tree)?;
        stage.must_be_of(root)?;
        stage.on_record(root)
    }

    /// Call this under the lock: another command may have promoted or refreshed the stage.
    pub fn on_record(self, root: &Root) -> Result<Self, StageError> {
        let record = StageRecord::of(root, &read_stages(root)?, &self)?;
        Ok(Self { record, ..self })
    }

    /// `None` if the root lists another stage of that id.
    pub fn id_on_record(&self) -> Option<StageId> {
        (self.record != StageRecord::Elsewhere).then_some(self.identity.id)
    }

    /// For any root.
    pub fn of_tree(tree: Root) -> Result<Self, StageError> {
        let shown = || tree.prefix().display().to_string();
        let own = own_directory(&tree)?.ok_or_else(|| StageError::NoStage(shown()))?;
        if is_unfinished(&own)? {
            return Err(StageError::Unfinished(shown()));
        }
        let text = own.read(IDENTITY, LONGEST_RECORD)?.unwrap_or_default();
        let path = || tree.show(&own.at(IDENTITY));
        let identity =
            StageIdentity::parse(&text).map_err(|error| StageError::Damaged { path: path(), error })?;
        Ok(Self { root: tree.wary_of_links(), own, identity, record: StageRecord::None })
    }

    #[must_use]
    pub fn recorded_in(self, listed: &ListedStage) -> Self {
        Self { record: StageRecord::of_listed(Some(listed)), ..self }
    }

    /// It must be the recorded one.
    pub fn must_have_first_base(&self) -> Result<(), StageError> {
        let (_, seal) = self.sealed_base(BASE_OF_NEW)?;
        self.must_be_recorded(BASE_OF_NEW, seal)
    }

    pub fn must_be_of(&self, root: &Root) -> Result<(), StageError> {
        let path = physical_path(root)?;
        if self.identity.is_of(&path, marker(root)?.as_deref()) {
            return Ok(());
        }
        let (stage, of) = (self.root.prefix().display().to_string(), self.identity.root.to_string());
        Err(StageError::OtherRoot { stage, root: of })
    }

    pub fn base(&self, name: &[u8]) -> Result<Base, StageError> {
        Ok(self.sealed_base(name)?.0)
    }

    /// After an interrupted refresh, bases may differ from the record; then only the superuser may be able to write to
    /// the stage.
    pub fn must_be_recorded(&self, name: &[u8], seal: Digest) -> Result<(), StageError> {
        if self.is_recorded(name, seal) || self.is_half_refreshed()? {
            return Ok(());
        }
        Err(StageError::OtherBase(self.root.show(&self.own.at(name))))
    }

    /// Only bases that the root has recorded.
    pub fn recorded_bases(&self) -> Result<Vec<Vec<u8>>, StageError> {
        let names = self.own.names_that_are(|name| name.starts_with(BASES))?;
        if self.is_half_refreshed()? {
            return Ok(names);
        }
        let is_recorded = |name: &Vec<u8>| self.seal(name).is_ok_and(|seal| self.is_recorded(name, seal));
        Ok(names.into_iter().filter(is_recorded).collect())
    }

    /// From the first line.
    pub fn seal(&self, name: &[u8]) -> Result<Digest, StageError> {
        let failed = |error| StageError::Base { path: self.root.show(&self.own.at(name)), error };
        let Some((file, _)) = self.own.open_seen(name)? else {
            return Err(failed(BaseError::Read(std::io::ErrorKind::NotFound.into())));
        };
        Ok(BaseHeader::read(&mut BufReader::new(file)).map_err(failed)?.1)
    }

    fn is_recorded(&self, name: &[u8], seal: Digest) -> bool {
        let StageRecord::Rights(rights) = &self.record else { return true };
        recorded_name(name).and_then(|name| rights.bases.get(&name)) == Some(&seal)
    }

    /// True if an interrupted refresh may explain unrecorded bases.
    fn is_half_refreshed(&self) -> Result<bool, StageError> {
        let is_interrupted = self.own.look(SCRATCH)?.is_some();
        Ok(is_interrupted && (!self.root.is_privileged() || other_writer(&self.root, true, false)?.is_none()))
    }

    pub fn sealed_base(&self, name: &[u8]) -> Result<(Base, Digest), StageError> {
        let failed = |error| StageError::Base { path: self.root.show(&self.own.at(name)), error };
        let file = self.own.open_seen(name)?;
        let Some((file, _)) = file else {
            return Err(failed(BaseError::Read(std::io::ErrorKind::NotFound.into())));
        };
        let mut file = BufReader::with_capacity(1 << 17, file);
        let (base, seal) = Base::read_with_seal(&mut file).map_err(failed)?;
        if base.header.stage == self.identity.id {
            return Ok((base, seal));
        }
        Err(failed(BaseError::OtherStage(base.header.stage)))
    }

    /// Patterns excluded when the stage was made.
    pub fn excluded(&self) -> Result<Vec<PathGlob>, StageError> {
        let Some(text) = self.own.read_regular(EXCLUDED, LONGEST_RECORD)? else { return Ok(Vec::new()) };
        let path = || self.root.show(&self.own.at(EXCLUDED));
        LeftOut::parse(&text).map_err(|error| StageError::Damaged { path: path(), error })
    }

    /// A defective cache counts as empty.
    pub fn cache(&self) -> StageCache {
        let text = self.own.read_regular(CACHE, 1 << 32).ok().flatten();
        text.map(|text| StageCache::parse(&text)).unwrap_or_default()
    }
}

pub fn recorded_name(name: &[u8]) -> Option<String> {
    if name == BASE_OF_NEW {
        return Some(FIRST_BASE.to_owned());
    }
    std::str::from_utf8(name.strip_prefix(BASES)?).ok().map(str::to_owned)
}

/// `None` if it does not exist.
pub fn own_directory(tree: &Root) -> Result<Option<Dir>, StageError> {
    let place = ObjectPath::root().join(DIRECTORY)?;
    Ok(tree.dir_if_there(&place)?)
}

/// True if the stage is marked unfinished, or lacks identity and base, which are written before completion and removed
/// first.
pub fn is_unfinished(own: &Dir) -> Result<bool, StageError> {
    let has = |name: &[u8]| own.look(name).map(|seen| seen.is_some());
    Ok(has(UNFINISHED)? || !has(IDENTITY)? && !has(BASE_OF_NEW)?)
}

/// Removes the mark of an unfinished stage last. Returns the number of removed objects.
pub fn empty_stage(tree: &Root, interrupt: Interrupt<'_>) -> Result<u64, StageError> {
    let top = tree.dir(&ObjectPath::root())?;
    let mut removed = remove_all_but(&top, DIRECTORY, interrupt)?;
    if let Some(own) = own_directory(tree)? {
        removed += remove_all_but(&own, UNFINISHED, interrupt)?;
    }
    Ok(removed + top.remove_tree_counted(DIRECTORY)?)
}

fn remove_all_but(dir: &Dir, kept: &[u8], interrupt: Interrupt<'_>) -> Result<u64, StageError> {
    let mut removed = 0;
    for name in dir.names_that_are(|name| name != kept)? {
        let emptied = dir.remove_tree_until(&name, interrupt);
        // An interrupted removal also fails.
        interrupt().map_or(Ok(()), |signal| Err(StageError::Interrupted(signal)))?;
        removed += emptied?;
    }
    Ok(removed)
}

/// Durable. The base belongs to the stage's owner, who must be able to read it after the superuser promoted.
pub fn put_base(
    own: &Dir,
    name: &[u8],
    header: &BaseHeader,
    objects: &BaseObjects,
) -> Result<(), StageError> {
    let (private, mut file) = own.create_private(PROGRAM)?;
    let written = write_base(&mut file, header, objects).map_err(|error| file.write_error(&error));
    let written = written
        .and_then(|()| give_to_owner(own, &file))
        .and_then(|()| file.set_mode(Mode::of(PRIVATE)))
        .and_then(|()| file.sync())
        .and_then(|()| own.rename(&private, name))
        .and_then(|()| own.sync());
    if written.is_err() {
        // The earlier error is reported.
        let _ = own.remove(&private);
    }
    Ok(written?)
}

fn give_to_owner(own: &Dir, file: &WritableFile) -> patchadm_rootfs::Result<()> {
    let (owner, made) = (own.itself()?, file.look()?);
    if own.root().is_privileged() && owner.uid != made.uid {
        file.set_owner(owner.uid, owner.gid)?;
    }
    Ok(())
}

/// The change is durable on return.
pub fn put_file(own: &Dir, name: &[u8], bytes: &[u8]) -> Result<(), StageError> {
    own.replace_file(PROGRAM, name, bytes, Mode::of(PRIVATE))?;
    Ok(own.sync()?)
}

/// Errors are ignored: a lost cache costs only time.
pub fn put_cache(own: &Dir, cache: &[u8]) {
    let _ = own.replace_cache(PROGRAM, CACHE, cache, Mode::of(PRIVATE));
}

/// With links resolved.
pub fn physical_path(tree: &Root) -> Result<ObjectPath, StageError> {
    let path = tree.physical_path()?;
    Ok(ObjectPath::new(path.as_os_str().as_bytes())?)
}

/// Returns who else may write to a tree's directory or a stage's own files, as a clause; by the checks for records.
pub(super) fn other_writer(
    tree: &Root,
    is_stage: bool,
    is_container_asked: bool,
) -> Result<Option<String>, StageError> {
    let own = ObjectPath::root().join(DIRECTORY)?;
    let places = RecordPlaces {
        tree: if is_stage { own.clone() } else { ObjectPath::root() },
        used: Vec::new(),
        objects: Vec::new(),
        elsewhere: Vec::new(),
    };
    // A projected tree does not show who may write to the real one.
    let tree = if tree.is_showing() { tree.elsewhere(tree.prefix())? } else { tree.clone() };
    let foreign = if is_container_asked { tree.container_tree()? } else { None };
    let guarded = tree.guarded(places, foreign);
    let looked = || -> Result<(), RootError> {
        guarded.look_at_records()?;
        if is_stage && let Some(own) = guarded.dir_if_there(&own)? {
            for name in own.names_that_are(|name| name == IDENTITY || name.starts_with(BASES))? {
                own.open_seen(&name)?;
            }
        }
        Ok(())
    };
    match looked() {
        Ok(()) => Ok(None),
        Err(RootError::Untrusted(told)) => Ok(Some(words(&told))),
        Err(error) => Err(Failure::from(error).into()),
    }
}

/// Covers the package database.
pub(super) fn other_writer_of_records(
    tree: &Root,
    interrupt: &(dyn Fn() -> Option<i32> + Sync),
) -> Result<Option<String>, StageError> {
    let tree = if tree.is_showing() { tree.elsewhere(tree.prefix())? } else { tree.clone() };
    // Directories are checked when opened, files by the walk.
    let guarded = tree.guarded(records(), None);
    let (known, left) = (CacheSide::default(), LeftOut::default());
    let walked = guarded.look_at_records().map_err(StageError::from).and_then(|()| {
        let scope = Scope::new(vec![guarded.resolver().locate(&places::records())?])?;
        let request = TreeRequest { root: &guarded, scope: &scope, left: &left, known: &known, interrupt };
        request.walk(|_| false)
    });
    match walked {
        Ok(walk) => {
            for met in &walk.met {
                let writer = file_writer(&guarded, &met.path, &met.status)?;
                if writer.is_some() {
                    return Ok(writer);
                }
            }
            Ok(None)
        }
        Err(StageError::Root(RootError::Untrusted(told))) => Ok(Some(words(&told))),
        Err(error) => Err(error),
    }
}

fn file_writer(root: &Root, at: &ObjectPath, seen: &ObjectStatus) -> Result<Option<String>, RootError> {
    let path = root.show(at);
    let bits = if seen.file_type == FileType::Symlink { 0 } else { seen.mode.bits() };
    if seen.uid != 0 {
        return Ok(Some(format!("{path} belongs to uid {}", seen.uid)));
    }
    if bits & 0o002 != 0 {
        return Ok(Some(format!("everyone can write to {path}")));
    }
    if bits & 0o020 == 0 {
        return Ok(None);
    }
    if seen.gid != 0 {
        return Ok(Some(format!("the group of {path} can write to it")));
    }
    let dir = root.dir_if_there(&at.parent().unwrap_or_else(ObjectPath::root))?;
    let is_listed = dir.is_some_and(|dir| dir.may_others_write(at.name(), seen, true));
    Ok(is_listed.then(|| format!("an access list lets others write to {path}")))
}

/// Returns who else may write to a directory, as a clause.
pub(super) fn writer(directory: &Live) -> Option<String> {
    let bits = directory.mode.bits();
    let is_other_list =
        |name: &Vec<u8>| name.starts_with(b"system.") && name != DEFAULT_LIST && name != ACCESS_LIST;
    let has_list = directory.xattrs.contains_key(ACCESS_LIST);
    if directory.uid != 0 {
        Some(format!("it belongs to uid {}", directory.uid))
    } else if bits & 0o002 != 0 {
        Some("everyone can write to it".to_owned())
    } else if directory.xattrs.keys().any(is_other_list) || has_list && bits & 0o020 != 0 {
        Some("an access list lets others write to it".to_owned())
    } else {
        (bits & 0o020 != 0 && directory.gid != 0).then(|| "its group can write to it".to_owned())
    }
}

fn words(told: &Untrusted) -> String {
    let Untrusted { path, uid, why, .. } = told;
    match why {
        Distrust::Owner => format!("{path} belongs to uid {uid}"),
        Distrust::Group => format!("the group of {path} can write to it"),
        Distrust::Others => format!("everyone can write to {path}"),
        Distrust::AccessList => format!("an access list lets others write to {path}"),
        Distrust::Link => format!("uid {uid} can replace the symbolic link {path} in its path"),
        Distrust::LinkInside => format!("uid {uid} can replace the symbolic link {path}"),
        Distrust::AboveLink => format!("others can write to {path} and replace a symbolic link below it"),
        Distrust::ForeignMount => format!("{path} is on a file system that uid {uid} mounted"),
        Distrust::OtherNamespace => format!("{path} is in another mount namespace"),
        Distrust::Named | Distrust::Engine | Distrust::Overlay => {
            format!("it is in a tree of containers ({path})")
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LeftOwners {
    #[error("the root does not list this stage, so root did not make it")]
    NotListed,
    #[error("the root lists the stage with this id in another directory, or with another owner")]
    Elsewhere,
    #[error("uid {0} made this stage")]
    MadeBy(u32),
    #[error("the copies in this stage are missing some of them")]
    Incomplete,
    #[error("{0}")]
    Foreign(String),
}

pub(super) fn owners_of(
    root: &Root,
    tree: &Root,
    stage: Option<&Stage>,
) -> Result<Result<(), LeftOwners>, StageError> {
    let has_owners = match stage.map(|stage| (&stage.record, &stage.identity)) {
        None => true,
        Some((StageRecord::None, _)) => return Ok(Err(LeftOwners::NotListed)),
        Some((StageRecord::Elsewhere, _)) => {
            return Ok(Err(foreign(root, tree, stage)?.unwrap_or(LeftOwners::Elsewhere)));
        }
        Some((StageRecord::Earlier, identity)) => identity.owners,
        Some((StageRecord::Rights(rights), _)) => rights.owners,
    };
    if let Some(foreign) = foreign(root, tree, stage)? {
        return Ok(Err(foreign));
    }
    Ok(if has_owners { Ok(()) } else { Err(LeftOwners::Incomplete) })
}

/// Returns why a tree is not the superuser's alone: another recorded creator, or other writers.
pub(super) fn foreign(
    root: &Root,
    tree: &Root,
    stage: Option<&Stage>,
) -> Result<Option<LeftOwners>, StageError> {
    if let Some(StageRecord::Rights(rights)) = stage.map(|stage| &stage.record)
        && rights.owner != 0
    {
        return Ok(Some(LeftOwners::MadeBy(rights.owner)));
    }
    // The caller decided whether to trust a container tree.
    Ok(other_writer(tree, stage.is_some(), !root.is_trusted())?.map(LeftOwners::Foreign))
}

/// Refuses another user's stage to the superuser: its writer could make root run their programs, and read files that
/// the live tree keeps private.
pub(super) fn must_be_own(root: &Root, stage: &Stage, undertake: Undertaking) -> Result<(), StageError> {
    if !root.is_privileged() {
        return Ok(());
    }
    let Some(reason) = foreign(root, &stage.root, Some(stage))? else {
        // A refresh would be recorded for the listed stage, which this may be under another name.
        return if undertake == Undertaking::Refresh && stage.record == StageRecord::Elsewhere {
            Err(StageError::ListedElsewhere(stage.root.prefix().display().to_string()))
        } else {
            Ok(())
        };
    };
    let uid = stage.own.itself()?.uid;
    // A recorded stage is refreshed by users who can record its bases.
    let may_refresh = match &stage.record {
        StageRecord::Rights(rights) => rights.owner == uid,
        StageRecord::Elsewhere => false,
        StageRecord::None | StageRecord::Earlier => true,
    };
    let is_theirs = uid != 0 && (undertake == Undertaking::Enter || may_refresh);
    Err(StageError::OfAnother(Box::new(ForeignStage {
        name: stage.identity.name.to_string(),
        path: stage.root.prefix().to_owned(),
        undertake,
        reason: reason.to_string(),
        user: is_theirs.then_some(uid),
    })))
}

pub(super) fn must_be_apart(root: &Root, tree: &Root, paths: &[ObjectPath]) -> Result<(), StageError> {
    let top = key(&tree.dir(&ObjectPath::root())?.itself()?);
    let way = way_to(&physical_path(tree)?)?;
    let above_root = physical_path(root)?;
    for path in paths {
        let Some(directory) = root.dir_if_there(&root.resolver().locate_dir(path)?)? else { continue };
        let on_host = above_root.join(directory.path().relative())?;
        let is_in_path = way.contains(&key(&directory.itself()?));
        if is_in_path || way_to(&on_host)?.contains(&top) {
            let stage = tree.prefix().display().to_string();
            return Err(StageError::Nested { stage, path: path.to_string() });
        }
    }
    Ok(())
}

/// Detects bind mounts: the tree must neither be nor contain a directory of the root.
pub(super) fn must_not_be_met(root: &Root, tree: &Root, met: &[TreeObject]) -> Result<(), StageError> {
    let way = way_to(&physical_path(tree)?)?;
    let numbers: HashSet<u64> = way.iter().map(|(_, number)| *number).collect();
    let alike = met.iter().filter(|one| one.live.is_directory() && numbers.contains(&one.live.inode.number));
    for TreeObject { path, .. } in alike {
        let Some(directory) = root.dir_if_there(&root.resolver().locate_dir(path)?)? else { continue };
        if way.contains(&key(&directory.itself()?)) {
            let stage = tree.prefix().display().to_string();
            return Err(StageError::Nested { stage, path: path.to_string() });
        }
    }
    Ok(())
}

/// Returns all parents of a host path, itself included. Skips directories that the caller may not open, and so cannot
/// stage.
pub(super) fn way_to(path: &ObjectPath) -> Result<HashSet<ObjectKey>, StageError> {
    let mut way = HashSet::new();
    for directory in std::iter::once(path.clone()).chain(path.ancestors()) {
        if let Ok(directory) = Dir::of_host(Path::new(OsStr::from_bytes(directory.as_bytes()))) {
            way.insert(key(&directory.itself()?));
        }
    }
    Ok(way)
}
