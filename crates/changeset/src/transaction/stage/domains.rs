//! Domains and their stages: the places where new objects are written so that a rename reaches their targets.
//!
//! A domain is a set of targets on the same mount and the same file system (a bind mount of one file system has the
//! same device number and still gives EXDEV). The stage is `var/sadm/patchadm/stage/<run>` for the domain of `/var`,
//! and `.patchadm/<run>` in the topmost directory of another mount inside the root. It is `.patchadm-<run>` in the
//! target's own directory if that topmost directory is not writable, in the topmost directory of a tree that is
//! encrypted or passes on a project id (nothing can be renamed into such trees), and in a directory for which an
//! earlier attempt has shown the same.

use std::collections::HashMap;

use crate::format::journal::{Domain, Journal};
use crate::format::run::Run;
use crate::ours::why_not_ours;
use crate::plan::BALLAST;
use crate::transaction::error::Cause;
use crate::transaction::objects::rename_support::probe_renames;
use crate::transaction::stage::local_stage;
use crate::transaction::stage::own_stage::{MARKER, marker_text};
use patchadm_rootfs::side_by_side;
use patchadm_rootfs::{Dir, FileType, ObjectStatus, Root};
use patchadm_svr4::package::rule::holds;
use patchadm_svr4::package::{Mode, ObjectPath};
use patchadm_svr4::places::own_directory;

pub(crate) use crate::format::undo_files::HOLDER;

/// The file systems on which the protocol does not work: their syncfs reports no errors, or they have no owners.
const UNSUPPORTED: [(u64, &str); 7] = [
    (0x6969, "is on NFS, which patchadm does not change yet"),
    (0x6573_5546, "is on FUSE, which patchadm does not change yet"),
    (0x0102_1997, "is on 9p, which patchadm does not change yet"),
    (0xff53_4d42, "is on CIFS, which patchadm does not change yet"),
    (0xfe53_4d42, "is on SMB, which patchadm does not change yet"),
    (0x4d44, "is on a FAT file system, which has no owners and modes"),
    (0x0027_e0eb, "is a control group, not a place for files"),
];

/// The number of objects one thread removes at a time.
const FEW: usize = 64;

/// The most directories that may be domains of their own. Each holds descriptors and a ballast.
const MOST_ALONE: usize = 64;

/// One domain with its open stage.
#[derive(Debug)]
pub(crate) struct OpenDomain {
    /// The domain as the journal names it.
    pub(crate) entry: Domain,
    /// The stage directory.
    pub(crate) dir: Dir,
    /// `o/` of the stage: objects, private.
    pub(crate) objects: Dir,
    /// `db/` of the stage: records, readable by everyone.
    pub(crate) records: Dir,
    /// The owner and group that new files in the stage have from the start.
    pub(crate) gives: (u32, u32),
}

/// The key of a domain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct DomainKey {
    mount: u64,
    file_system: (u32, u32),
    /// The directory, for one that is a domain of its own.
    alone: Option<ObjectPath>,
}

impl DomainKey {
    fn of(seen: &ObjectStatus) -> Self {
        Self { mount: seen.mount, file_system: seen.file_system, alone: None }
    }
}

/// The domains of a run. The first one is that of `/var`, where the journal is.
#[derive(Debug)]
pub(crate) struct OpenDomains {
    root: Root,
    run: Run,
    keys: HashMap<DomainKey, usize>,
    list: Vec<OpenDomain>,
    /// Directories into which nothing could be renamed from their domain.
    apart: Vec<ObjectPath>,
    /// Whether an earlier attempt was rolled back.
    is_again: bool,
}

impl OpenDomains {
    /// Makes this program's own directories and the stage of the first domain. Each directory in `apart` becomes a
    /// domain of its own.
    pub(crate) fn begin(root: &Root, run: &Run, apart: &[ObjectPath]) -> Result<Self, Cause> {
        let own = make_own_directory(root)?;
        let seen = own.itself()?;
        let stages = ensure(&own, b"stage", Mode::of(0o711))?;
        let top = topmost(root, own.path(), &seen)?;
        let mut domains = Self {
            root: root.clone(),
            run: run.clone(),
            keys: HashMap::new(),
            list: Vec::new(),
            apart: apart.to_vec(),
            is_again: false,
        };
        let key = DomainKey { alone: domains.closed(&own, &seen)?, ..DomainKey::of(&seen) };
        domains.add(key, top, &stages, run.to_string().as_bytes())?;
        Ok(domains)
    }

    /// Tells whether an earlier attempt of the run was rolled back, which changed the status change time of old
    /// objects.
    pub(crate) fn is_second_try(&self) -> bool {
        self.is_again || !self.apart.is_empty()
    }

    /// Notes that an earlier attempt was given up.
    pub(crate) fn note_again(&mut self) {
        self.is_again = true;
    }

    /// Iterates over all domains.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &OpenDomain> {
        self.list.iter()
    }

    /// Returns a domain by its index.
    pub(crate) fn get(&self, index: usize) -> Result<&OpenDomain, Cause> {
        self.list.get(index).ok_or_else(|| Cause::Internal(format!("there is no domain {index}")))
    }

    /// Returns the index of the domain for objects in directory `dir`, and makes its stage if it is new.
    pub(crate) fn of(&mut self, dir: &Dir) -> Result<usize, Cause> {
        let seen = dir.itself()?;
        if let Some(reason) = is_unsupported(dir)? {
            return Err(Cause::Unsupported { path: self.root.show(dir.path()), reason });
        }
        let mut key = DomainKey { alone: self.closed(dir, &seen)?, ..DomainKey::of(&seen) };
        if let Some(&known) = self.keys.get(&key) {
            return Ok(known);
        }
        if let Some(closed) = &key.alone {
            let closed = self.root.dir(closed)?;
            return self.add_alone(key, &closed);
        }
        let top = topmost(&self.root, dir.path(), &seen)?;
        let at_top = self.root.dir(&top)?;
        if at_top.is_writable() {
            let stages = ours(&at_top)?;
            return self.add(key, top, &stages, self.run.to_string().as_bytes());
        }
        key.alone = Some(dir.path().clone());
        match self.keys.get(&key) {
            Some(&known) => Ok(known),
            None => self.add_alone(key, dir),
        }
    }

    /// Returns the topmost directory of the closed tree around `dir`, into which nothing can be renamed from outside;
    /// or `None` if `dir` is in no such tree.
    fn closed(&self, dir: &Dir, seen: &ObjectStatus) -> Result<Option<ObjectPath>, Cause> {
        let path = dir.path();
        for apart in self.apart.iter().filter(|apart| path == *apart || path.is_below(apart)) {
            if DomainKey::of(&self.root.dir(apart)?.itself()?) == DomainKey::of(seen) {
                return Ok(Some(apart.clone()));
            }
        }
        if !seen.encrypted && !dir.hands_down_project() {
            return Ok(None);
        }
        let mut top = path.clone();
        for above in path.ancestors() {
            let dir = self.root.dir(&above)?;
            let other = dir.itself()?;
            let is_closed = if seen.encrypted { other.encrypted } else { dir.hands_down_project() };
            if !is_closed || (other.mount, other.file_system) != (seen.mount, seen.file_system) {
                break;
            }
            top = above;
        }
        Ok(Some(top))
    }

    /// Makes a stage in a directory that is a domain of its own.
    fn add_alone(&mut self, key: DomainKey, place: &Dir) -> Result<usize, Cause> {
        let refused = |reason| Err(Cause::Unsupported { path: self.root.show(place.path()), reason });
        let mode = place.itself()?.mode.bits();
        let is_sticky = mode & 0o1000 != 0;
        if self.root.is_privileged() && mode & 0o022 != 0 && !is_sticky {
            return refused(
                "can be written by others, so it cannot hold a stage, and nothing can be renamed into it",
            );
        }
        if self.list.len() > MOST_ALONE {
            return refused("is one directory too many into which nothing can be renamed from outside");
        }
        let name = local_stage::name(&self.run.to_string());
        local_stage::note(&self.get(0)?.dir, &place.at(&name))?;
        self.add(key, place.path().clone(), place, &name)
    }

    fn add(&mut self, key: DomainKey, top: ObjectPath, within: &Dir, name: &[u8]) -> Result<usize, Cause> {
        let dir = within.make_dir(name, Mode::of(0o711))?;
        let objects = dir.make_dir(b"o", Mode::of(0o700))?;
        let records = dir.make_dir(b"db", Mode::of(0o755))?;
        let index = self.list.len();
        let mut marker = dir.create(MARKER)?;
        marker.put(marker_text(&self.run.to_string(), index).as_bytes())?;
        let made = marker.look()?;
        let entry = Domain { top, stage: dir.path().clone(), lacks: Vec::new() };
        self.list.push(OpenDomain { entry, dir, objects, records, gives: (made.uid, made.gid) });
        self.keys.insert(key, index);
        let lacks = probe_renames(&self.get(index)?.dir)?;
        if let Some(domain) = self.list.last_mut() {
            domain.entry.lacks = lacks;
        }
        self.get(index)?.dir.create(b"ballast")?.reserve(BALLAST)?;
        Ok(index)
    }

    /// Syncs all domains, the journal's last.
    pub(crate) fn sync(&self) -> Result<(), Cause> {
        self.list.iter().rev().try_for_each(|domain| domain.dir.sync_file_system()).map_err(Cause::from)
    }

    /// Removes all stages, because nothing was switched or everything is finished.
    pub(crate) fn discard(&self) -> Result<(), Cause> {
        drop_stages(&self.root, self.list.iter().map(|domain| &domain.entry)).map(drop)
    }
}

/// Opens this program's own directory, and makes it if it is missing.
pub(crate) fn make_own_directory(root: &Root) -> Result<Dir, Cause> {
    let path = root.resolver().locate_dir(&own_directory())?;
    if let Some(dir) = root.dir_if_there(&path)? {
        return Ok(dir);
    }
    let parent = path.parent().unwrap_or_else(ObjectPath::root);
    ensure(&root.dir(&parent)?, path.name(), Mode::of(0o755))
}

/// Removes the stages of a run, the first domain's last, because it names the stages that could not be found otherwise.
/// Returns notes on objects that stay.
pub(crate) fn drop_stages<'d>(
    root: &Root,
    domains: impl DoubleEndedIterator<Item = &'d Domain> + Clone,
) -> Result<Vec<String>, Cause> {
    let mut notes = Vec::new();
    if let Some(first) = domains.clone().next()
        && let Some(first) = root.dir_if_there(&first.stage)?
    {
        notes = local_stage::remove_noted(root, &first)?;
    }
    domains.rev().try_for_each(|domain| drop_stage(root, &domain.stage))?;
    Ok(notes)
}

/// Removes the objects of one stage; the stage itself, its records and its marker stay. Freeing the blocks of files
/// is most of the work and is shared by several threads.
pub(crate) fn drop_objects(root: &Root, domain: &Domain) -> Result<(), Cause> {
    let Some(stage) = root.dir_if_there(&domain.stage)? else { return Ok(()) };
    if stage.look(b"o")?.is_none() {
        return Ok(());
    }
    let objects = stage.dir(b"o")?;
    let entries = objects.entries()?;
    let shares: Vec<&[(Vec<u8>, bool)]> = entries.chunks(FEW).collect();
    let removed = side_by_side(root.workers(), shares.len(), || {
        |at| {
            shares
                .get(at)
                .map_or(Ok(()), |share| share.iter().try_for_each(|entry| objects.remove_entry(entry)))
        }
    });
    removed.into_iter().try_for_each(|removed| Ok(removed?))
}

/// Removes one stage, and the directory that holds it if that is ours and empty.
pub(crate) fn drop_stage(root: &Root, stage: &ObjectPath) -> Result<(), Cause> {
    let Some(parent) = stage.parent() else { return Ok(()) };
    let Some(dir) = root.dir_if_there(&parent)? else { return Ok(()) };
    dir.remove_tree(stage.name())?;
    if parent.name() == HOLDER { drop_holder(root, &parent) } else { Ok(()) }
}

/// Removes the directory for stages of another mount, if it is empty.
pub(crate) fn drop_holder(root: &Root, holder: &ObjectPath) -> Result<(), Cause> {
    if let Some(above) = holder.parent() {
        root.dir(&above)?.remove_dir(holder.name())?;
    }
    Ok(())
}

/// Tells whether only the caller, root, or `owner`, who owns the records of the root, may write to a directory.
pub(crate) fn is_ours(seen: &ObjectStatus, owner: u32) -> bool {
    let owners = [0, rustix::process::geteuid().as_raw(), owner];
    owners.contains(&seen.uid) && seen.mode.bits() & 0o022 == 0
}

/// Checks that no one else may write to the existing stages of an unfinished run: their content will be put in place,
/// and they will be removed.
pub(crate) fn must_be_ours(root: &Root, journal: &Journal) -> Result<(), Cause> {
    let own = make_own_directory(root)?.itself()?;
    for domain in &journal.domains {
        let Some(stage) = root.dir_if_there(&domain.stage)? else { continue };
        let seen = stage.itself()?;
        if !holds("journal.domain.owner", is_ours(&seen, own.uid)) {
            return Err(Cause::NotOurs { stage: root.show(&domain.stage), uid: seen.uid });
        }
    }
    Ok(())
}

/// Opens the stage of a domain of an unfinished run. Fails if its file system is not mounted.
pub(crate) fn reopen_stage(root: &Root, domain: &Domain, index: usize, run: &str) -> Result<Dir, Cause> {
    let missing = || Cause::DomainMissing { top: root.show(&domain.top), run: run.to_owned() };
    let dir = root.dir_if_there(&domain.stage)?.ok_or_else(missing)?;
    let marker = dir.read(MARKER, 4096)?.unwrap_or_default();
    if !holds("journal.domain.marker", marker == marker_text(run, index).as_bytes()) {
        return Err(missing());
    }
    Ok(dir)
}

/// Opens or makes the directory `.patchadm` of another mount, which must be ours and closed to other writers. A user
/// who made it before us could replace our stages.
fn ours(top: &Dir) -> Result<Dir, Cause> {
    let dir = ensure(top, HOLDER, Mode::of(0o711))?;
    if why_not_ours(top.root(), &dir.itself()?)?.is_some() {
        let reason = "belongs to somebody else or can be written by others, so it cannot be used as a stage";
        return Err(Cause::Unsupported { path: top.root().show(dir.path()), reason });
    }
    Ok(dir)
}

fn ensure(dir: &Dir, name: &[u8], mode: Mode) -> Result<Dir, Cause> {
    match dir.look(name)? {
        Some(seen) if seen.file_type == FileType::Directory => Ok(dir.dir(name)?),
        _ => Ok(dir.make_dir(name, mode)?),
    }
}

/// Returns the topmost directory inside the root on the same mount.
fn topmost(root: &Root, path: &ObjectPath, seen: &ObjectStatus) -> Result<ObjectPath, Cause> {
    let mut top = path.clone();
    for above in path.ancestors() {
        let other = root.dir(&above)?.itself()?;
        if (other.mount, other.file_system) != (seen.mount, seen.file_system) {
            break;
        }
        top = above;
    }
    Ok(top)
}

/// Returns the reason why the file system of a directory cannot be changed, if there is one.
pub(crate) fn is_unsupported(dir: &Dir) -> Result<Option<&'static str>, Cause> {
    let magic = dir.file_system_magic()?;
    Ok(UNSUPPORTED.iter().find(|(unsupported, _)| *unsupported == magic).map(|(_, reason)| *reason))
}
