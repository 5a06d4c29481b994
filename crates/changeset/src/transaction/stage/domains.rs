//! Domains (targets on one mount and file system) and their stages: `var/sadm/patchadm/stage/<run>` for `/var`,
//! `.patchadm/<run>` at the top of another mount, or a *local* `.patchadm-<run>` where that is impossible (read-only
//! top, encryption, project ids), noted before it is made. Only stages that nobody else can write to are ours.

use std::collections::{HashMap, HashSet};

use crate::format::journal::{Domain, Journal, checked_line, checked_values, noted_stage};
use crate::format::manifest::encode;
use crate::format::run::Run;
use crate::plan::BALLAST;
use crate::stored_file::why_not_ours;
use crate::transaction::error::Cause;
use crate::transaction::objects::names::probe_renames;
use patchadm_rootfs::{DEFAULT_LIST, Dir, FileType, ObjectStatus, Root, side_by_side};
use patchadm_svr4::package::rule::holds;
use patchadm_svr4::package::{Mode, ObjectPath};
use patchadm_svr4::places::own_directory;

pub(crate) use crate::format::undo_files::HOLDER;

const FEW: usize = 64;

/// Each holds descriptors and a ballast.
const MOST_ALONE: usize = 64;

#[derive(Debug)]
pub(crate) struct OpenDomain {
    pub(crate) entry: Domain,
    pub(crate) dir: Dir,
    pub(crate) objects: Dir,
    pub(crate) records: Dir,
    pub(crate) gives: (u32, u32),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct DomainKey {
    mount: u64,
    file_system: (u32, u32),
    alone: Option<ObjectPath>,
}

impl DomainKey {
    fn of(seen: &ObjectStatus) -> Self {
        Self { mount: seen.mount, file_system: seen.file_system, alone: None }
    }
}

/// The first is that of `/var`, with the journal.
#[derive(Debug)]
pub(crate) struct OpenDomains {
    root: Root,
    run: Run,
    keys: HashMap<DomainKey, usize>,
    list: Vec<OpenDomain>,
    apart: Vec<ObjectPath>,
    /// Mounts whose file system can hold a stage.
    supported: HashSet<DomainKey>,
}

impl OpenDomains {
    /// Each directory in `apart` becomes a domain.
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
            supported: HashSet::new(),
        };
        let key = DomainKey { alone: domains.closed(&own, &seen)?, ..DomainKey::of(&seen) };
        domains.add(key, top, &stages, run.to_string().as_bytes())?;
        Ok(domains)
    }

    pub(crate) fn is_second_try(&self) -> bool {
        !self.apart.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &OpenDomain> {
        self.list.iter()
    }

    pub(crate) fn get(&self, index: usize) -> Result<&OpenDomain, Cause> {
        self.list.get(index).ok_or_else(|| Cause::Internal(format!("there is no domain {index}")))
    }

    /// `seen` is the status of the directory.
    pub(crate) fn of(&mut self, dir: &Dir, seen: &ObjectStatus) -> Result<usize, Cause> {
        let of_mount = DomainKey::of(seen);
        if !self.supported.contains(&of_mount) {
            if let Some(reason) = dir.unsupported()? {
                return Err(Cause::Unsupported { path: self.root.show(dir.path()), reason });
            }
            self.supported.insert(of_mount.clone());
        }
        let mut key = DomainKey { alone: self.closed(dir, seen)?, ..of_mount };
        if let Some(&known) = self.keys.get(&key) {
            return Ok(known);
        }
        if let Some(closed) = &key.alone {
            let closed = self.root.dir(closed)?;
            return self.add_alone(key, &closed);
        }
        let top = topmost(&self.root, dir.path(), seen)?;
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

    fn add_alone(&mut self, key: DomainKey, place: &Dir) -> Result<usize, Cause> {
        let refused = |reason| Err(Cause::Unsupported { path: self.root.show(place.path()), reason });
        let mode = place.itself()?.mode.bits();
        let is_sticky = mode & 0o1000 != 0;
        if self.root.is_privileged() && mode & 0o022 != 0 && !is_sticky {
            return refused(
                "is writable by others, so it cannot hold a stage, and nothing can be renamed into it",
            );
        }
        if self.list.len() > MOST_ALONE {
            return refused("is one of too many directories into which nothing can be renamed from outside");
        }
        let name = local_stage_name(&self.run.to_string());
        note_local_stage(&self.get(0)?.dir, &place.at(&name))?;
        self.add(key, place.path().clone(), place, &name)
    }

    fn add(&mut self, key: DomainKey, top: ObjectPath, within: &Dir, name: &[u8]) -> Result<usize, Cause> {
        let dir = within.make_dir(name, Mode::of(0o711))?;
        // From a list that the directory above hands down, staged objects would get rights for its users.
        if dir.has_xattr(b"", DEFAULT_LIST)? {
            dir.remove_xattr(b"", DEFAULT_LIST)?;
        }
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

    pub(crate) fn sync(&self) -> Result<(), Cause> {
        self.list.iter().rev().try_for_each(|domain| domain.dir.sync_file_system()).map_err(Cause::from)
    }

    /// Nothing was switched, or everything is finished.
    pub(crate) fn discard(&self) -> Result<(), Cause> {
        drop_stages(&self.root, self.list.iter().map(|domain| &domain.entry)).map(drop)
    }
}

pub(crate) fn make_own_directory(root: &Root) -> Result<Dir, Cause> {
    let path = root.resolver().locate_dir(&own_directory())?;
    if let Some(dir) = root.dir_if_there(&path)? {
        return Ok(dir);
    }
    let parent = path.parent().unwrap_or_else(ObjectPath::root);
    ensure(&root.dir(&parent)?, path.name(), Mode::of(0o755))
}

/// The first domain's stage goes last: it names local ones. Returns notes on objects that stay.
pub(crate) fn drop_stages<'d>(
    root: &Root,
    domains: impl DoubleEndedIterator<Item = &'d Domain> + Clone,
) -> Result<Vec<String>, Cause> {
    let mut notes = Vec::new();
    if let Some(first) = domains.clone().next()
        && let Some(first) = root.dir_if_there(&first.stage)?
    {
        notes = remove_noted_stages(root, &first)?;
    }
    domains.rev().try_for_each(|domain| drop_stage(root, &domain.stage))?;
    Ok(notes)
}

/// Keeps the stage, its records and its marker. Freeing blocks takes long, so threads share it.
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

fn drop_stage(root: &Root, stage: &ObjectPath) -> Result<(), Cause> {
    let Some(parent) = stage.parent() else { return Ok(()) };
    let Some(dir) = root.dir_if_there(&parent)? else { return Ok(()) };
    dir.remove_tree(stage.name())?;
    if parent.name() == HOLDER { drop_holder(root, &parent) } else { Ok(()) }
}

pub(crate) fn drop_holder(root: &Root, holder: &ObjectPath) -> Result<(), Cause> {
    if let Some(above) = holder.parent() {
        root.dir(&above)?.remove_dir(holder.name())?;
    }
    Ok(())
}

pub(crate) fn is_ours(seen: &ObjectStatus, owner: u32) -> bool {
    let owners = [0, rustix::process::geteuid().as_raw(), owner];
    owners.contains(&seen.uid) && seen.mode.bits() & 0o022 == 0
}

/// Nobody else may write to these stages, whose content will be put in place.
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

/// Fails if its file system is not mounted.
pub(crate) fn reopen_stage(root: &Root, domain: &Domain, index: usize, run: &str) -> Result<Dir, Cause> {
    let missing = || Cause::DomainMissing { top: root.show(&domain.top), run: run.to_owned() };
    let dir = root.dir_if_there(&domain.stage)?.ok_or_else(missing)?;
    let marker = dir.read(MARKER, 4096)?.unwrap_or_default();
    if !holds("journal.domain.marker", marker == marker_text(run, index).as_bytes()) {
        return Err(missing());
    }
    Ok(dir)
}

/// `.patchadm` must be ours alone: another user who made it could replace our stages.
fn ours(top: &Dir) -> Result<Dir, Cause> {
    let dir = ensure(top, HOLDER, Mode::of(0o711))?;
    if why_not_ours(top.root(), &dir.itself()?)?.is_some() {
        let reason = "belongs to another user or is writable by others, so it cannot be used as a stage";
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

const NOTE: &[u8] = b"alone";

const LARGEST_NOTE: u64 = 1 << 20;

fn local_stage_name(run: &str) -> Vec<u8> {
    format!(".patchadm-{run}").into_bytes()
}

/// Durable, note and stage, before the local stage is made.
fn note_local_stage(first: &Dir, stage: &ObjectPath) -> Result<(), Cause> {
    let file = first.open_or_create(NOTE, Mode::of(0o600))?;
    let size = file.size()?;
    file.put_at(&checked_line(&encode(stage.as_bytes())), size)?;
    Ok(first.sync_file_system()?)
}

/// A note of any other directory is damage.
pub(crate) fn noted_stages(first: &Dir) -> Result<Vec<ObjectPath>, Cause> {
    let bytes = first.read(NOTE, LARGEST_NOTE)?.unwrap_or_default();
    let run = String::from_utf8_lossy(first.path().name()).into_owned();
    let stages = checked_values::<String>(&bytes).map(|path| noted_stage(&path, &run));
    let path = || first.root().show(&first.at(NOTE));
    stages.collect::<Result<_, _>>().map_err(|reason| Cause::Journal { path: path(), reason })
}

/// Durable. Returns notes on paths that are no such stage, and stay.
pub(crate) fn remove_noted_stages(root: &Root, first: &Dir) -> Result<Vec<String>, Cause> {
    let mut notes = Vec::new();
    for stage in noted_stages(first)? {
        notes.extend(remove_local_stage(root, &stage, first.path().name())?);
    }
    Ok(notes)
}

/// Durable: a power cut must not restore it after its note is gone. Returns a note if it is no stage of the run.
fn remove_local_stage(root: &Root, stage: &ObjectPath, run: &[u8]) -> Result<Option<String>, Cause> {
    let Some(parent) = stage.parent() else { return Ok(None) };
    let Some(dir) = root.dir_if_there(&parent)? else { return Ok(None) };
    match open_own(&dir, stage.name(), run)? {
        FoundStage::Nothing => Ok(None),
        FoundStage::Theirs(reason) => {
            Ok(Some(format!("{} {reason}: it is left unchanged", root.show(stage))))
        }
        FoundStage::Ours(_) => {
            dir.remove_tree(stage.name())?;
            dir.sync_file_system()?;
            Ok(None)
        }
    }
}

pub(crate) const MARKER: &[u8] = b"marker";

const LARGEST_MARKER: u64 = 4096;

pub(crate) enum FoundStage {
    Nothing,
    Ours(OwnStage),
    Theirs(String),
}

pub(crate) struct OwnStage {
    pub(crate) dir: Dir,
    pub(crate) run: Run,
}

fn marker_text(run: &str, index: usize) -> String {
    format!("{run} {index}\n")
}

pub(crate) fn open_own(place: &Dir, name: &[u8], run: &[u8]) -> Result<FoundStage, Cause> {
    let theirs = |reason: &str| Ok(FoundStage::Theirs(reason.to_owned()));
    let Some(seen) = place.look(name)? else { return Ok(FoundStage::Nothing) };
    let Some(run) = run_of(run) else { return theirs("does not have the name of a run") };
    if let Some(reason) = why_not_ours(place.root(), &seen)? {
        return Ok(FoundStage::Theirs(reason));
    }
    let dir = match place.dir(name) {
        Err(error) if error.is_not_found() => return Ok(FoundStage::Nothing),
        Err(error) => return Ok(FoundStage::Theirs(format!("cannot be opened ({error})"))),
        Ok(dir) => dir,
    };
    let (seen, above) = (dir.itself()?, place.itself()?);
    if let Some(reason) = why_not_ours(place.root(), &seen)? {
        return Ok(FoundStage::Theirs(reason));
    }
    if !is_on(&seen, &above) {
        return theirs("is a mount point");
    }
    if !holds("stray.marker", is_marked(&dir, &run)?) {
        return theirs("does not have the marker of its run");
    }
    Ok(FoundStage::Ours(OwnStage { dir, run }))
}

pub(crate) fn is_on(seen: &ObjectStatus, other: &ObjectStatus) -> bool {
    holds("stray.mount", (seen.mount, seen.file_system) == (other.mount, other.file_system))
}

fn run_of(name: &[u8]) -> Option<Run> {
    let text = std::str::from_utf8(name).ok()?;
    Run::parse(text).filter(|run| run.to_string() == text)
}

/// An empty or torn marker is that of a run interrupted before publication; without one, the stage may be half removed.
fn is_marked(stage: &Dir, run: &Run) -> Result<bool, Cause> {
    let bytes = match stage.look(MARKER)? {
        None => return Ok(true),
        Some(seen) if seen.file_type != FileType::Regular || seen.size > LARGEST_MARKER => return Ok(false),
        Some(_) => stage.read_regular(MARKER, LARGEST_MARKER)?.unwrap_or_default(),
    };
    let begun = format!("{run} ").into_bytes();
    let domain = bytes.strip_prefix(begun.as_slice()).and_then(|rest| rest.strip_suffix(b"\n"));
    if domain.is_some_and(|domain| !domain.is_empty() && domain.iter().all(u8::is_ascii_digit)) {
        return Ok(true);
    }
    let is_torn = begun.starts_with(&bytes)
        || bytes.strip_prefix(begun.as_slice()).is_some_and(|rest| rest.iter().all(u8::is_ascii_digit))
        || bytes.iter().all(|byte| *byte == 0);
    Ok(is_torn && stage.look(b"journal")?.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_rootfs::Root;
    use patchadm_svr4::package::Mode;
    use patchadm_svr4::package::ObjectPath;

    fn directory() -> (tempfile::TempDir, Root, ObjectStatus) {
        let place = tempfile::tempdir().unwrap();
        let root = Root::open(place.path()).unwrap();
        let seen = root.dir(&ObjectPath::root()).unwrap().itself().unwrap();
        (place, root, ObjectStatus { mode: Mode::of(0o755), ..seen })
    }

    #[test]
    fn a_directory_of_somebody_else_or_for_others_to_write_is_a_strangers() {
        let (_place, root, own) = directory();
        let against = |seen: ObjectStatus| why_not_ours(&root, &seen).unwrap();
        assert_eq!(against(own.clone()), None);
        assert_eq!(
            against(ObjectStatus { uid: 54_321, ..own.clone() }),
            Some("belongs to uid 54321".to_owned())
        );
        for bits in [0o775, 0o757] {
            let shared = ObjectStatus { mode: Mode::of(bits), ..own.clone() };
            assert_eq!(against(shared), Some("is writable by others".to_owned()));
        }
    }

    #[test]
    fn a_directory_of_another_mount_is_not_on_the_same() {
        let (_place, _root, seen) = directory();
        assert!(is_on(&seen, &seen));
        assert!(!is_on(&seen, &ObjectStatus { mount: seen.mount + 1, ..seen.clone() }));
        let (major, minor) = seen.file_system;
        assert!(!is_on(&seen, &ObjectStatus { file_system: (major, minor + 1), ..seen.clone() }));
    }
}
