//! Undo data as files: which name in the stage each old object has that stays, and copies of those that cannot stay.
//!
//! A file stays only if nobody else can still write to it by another name. A file with a name outside the plan, one that
//! the switch does not move into the stage, and one that a second archive of the run saves, too, is copied.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::format::journal::{Op, OpKind};
use crate::format::manifest::encode;
use crate::format::undo_files::{StoredName, UndoFiles};
use crate::plan::{Plan, UndoArchive, UndoFormat};
use crate::transaction::archive::stored_names::StoredObjects;
use crate::transaction::archive::undo_archive::{ArchiveInput, OldObjects};
use crate::transaction::error::Cause;
use crate::transaction::objects::rename_support::RenameSupport;
use crate::transaction::objects::summed_copy::copy_summed;
use crate::transaction::settings::RunWatch;
use crate::transaction::stage::domains::OpenDomains;
use crate::transaction::stage::layout_items::{Layout, LayoutItem};
use crate::transaction::stage::staged_versions::stored_version;
use patchadm_rootfs::{Dir, Inode, InterruptibleRead};
use patchadm_svr4::format::pkgmap::PkgmapEntry;
use patchadm_svr4::package::ObjectPath;

/// Finds the stored name of every object that the archives of a run save as files, by their indexes in the plan.
pub(crate) fn store_objects(
    plan: &Plan,
    (run, domains, layout): (&str, &OpenDomains, &Layout<'_>),
    material: ArchiveInput<'_>,
    watch: RunWatch<'_>,
) -> Result<BTreeMap<usize, StoredObjects>, Cause> {
    let is_files = |undo: &&UndoArchive| undo.format == UndoFormat::Files;
    if !plan.archives().any(|undo| is_files(&undo)) {
        return Ok(BTreeMap::new());
    }
    let directories = UndoFiles::of(run, domains.iter().map(|domain| &domain.entry.stage));
    let directories = directories.ok_or_else(|| Cause::Internal("a stage has no name".to_owned()))?;
    let moved = moved_names(layout);
    let mut storing = ObjectStore { domains, layout, moved, taken: BTreeSet::new(), copies: 0 };
    let mut all = BTreeMap::new();
    for (index, undo) in plan.undo.iter().enumerate().filter(|(_, undo)| is_files(undo)) {
        let mut names = BTreeMap::new();
        let mut old = OldObjects::of(material, undo, "undo directory", watch);
        for (entry, path) in undo.saved.iter().filter(|(entry, _)| entry.object.ftype.is_regular()) {
            let name = match storing.staged_name(undo, path)? {
                Some(name) => name,
                None => storing.copy(&mut old, path, entry)?,
            };
            names.insert(path.clone(), name);
        }
        all.insert(index, StoredObjects { directories: directories.clone(), names });
    }
    Ok(all)
}

/// Counts, by inode, the names of old files that the switch moves into a stage.
fn moved_names(layout: &Layout<'_>) -> HashMap<Inode, u64> {
    let mut moved = HashMap::new();
    for item in layout.items.iter().filter(|item| is_moved(item)) {
        if let Some(old) = &item.op.old {
            *moved.entry(old.inode).or_default() += 1;
        }
    }
    moved
}

/// Tells whether the switch moves the old object of an item into the stage.
fn is_moved(item: &LayoutItem<'_>) -> bool {
    let Op { kind, db, .. } = &item.op;
    matches!(kind, OpKind::Replace | OpKind::Delete) && !db && item.inside.is_none() && item.tree.is_none()
}

/// The names that stored objects have, or get.
struct ObjectStore<'a, 'p> {
    domains: &'a OpenDomains,
    layout: &'a Layout<'p>,
    /// The number of moved names, by inode.
    moved: HashMap<Inode, u64>,
    /// The names that an archive has already.
    taken: BTreeSet<StoredName>,
    copies: usize,
}

impl ObjectStore<'_, '_> {
    /// Returns the staged name of an object that can stay; `None` if it must be copied.
    fn staged_name(&mut self, undo: &UndoArchive, path: &ObjectPath) -> Result<Option<StoredName>, Cause> {
        if let Some(version) = undo.passing.get(path) {
            let missing =
                || Cause::Internal(format!("the version of {path} that is to be saved is not staged"));
            let number = version.ok_or_else(missing)?;
            return Ok(self.take(stored_version(number)));
        }
        let item = self.layout.place_of(path).and_then(|place| self.layout.items.get(place));
        let Some(item) = item.filter(|item| is_moved(item)) else { return Ok(None) };
        let (Some(live), Some(old)) = (item.live, &item.op.old) else { return Ok(None) };
        if self.moved.get(&old.inode).is_none_or(|names| live.links > *names) {
            return Ok(None);
        }
        let exchanges = RenameSupport::of(&self.domains.get(item.op.domain)?.entry).exchange;
        let is_beside = item.op.kind == OpKind::Replace && !exchanges;
        let staged = if is_beside { item.op.old_stage() } else { item.op.stage.clone() };
        let name = staged.strip_prefix("o/").map(str::to_owned);
        Ok(name.and_then(|name| self.take(StoredName { directory: item.op.domain, name })))
    }

    /// Takes a name that no archive has yet.
    fn take(&mut self, name: StoredName) -> Option<StoredName> {
        self.taken.insert(name.clone()).then_some(name)
    }

    /// Copies an object into the stage, in its domain if the plan changes it.
    fn copy(
        &mut self,
        old: &mut OldObjects<'_>,
        path: &ObjectPath,
        entry: &PkgmapEntry,
    ) -> Result<StoredName, Cause> {
        let item = self.layout.place_of(path).and_then(|place| self.layout.items.get(place));
        let directory = item.map_or(0, |item| item.op.domain);
        let name = format!("copy-{}", self.copies);
        self.copies += 1;
        copy_object(old, (path, entry), &self.domains.get(directory)?.objects, name.as_bytes())?;
        Ok(StoredName { directory, name })
    }
}

/// Copies the content of an old object. Its attributes are in the manifest; the copy is private.
fn copy_object(
    old: &mut OldObjects<'_>,
    (path, entry): (&ObjectPath, &PkgmapEntry),
    to: &Dir,
    name: &[u8],
) -> Result<(), Cause> {
    let file = old.open(path, entry)?;
    let mut copy = to.create(name)?;
    copy.reserve(file.seen.size)?;
    let sums = copy_summed(InterruptibleRead::new(&file.file, old.watch.interrupt), &mut copy)?;
    let sums = sums.or_else(|_| {
        old.watch.check()?;
        Err(Cause::Changed(encode(path.as_bytes())))
    })?;
    old.is_as_surveyed(path, &file, sums.cksum, entry)
}
