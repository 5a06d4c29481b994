//! Repairs attributes, times, directories, links and devices, and removes hidden files. This is no transaction: each
//! repair is one change of one name. Content is never changed, no bytes are lost, and files of dpkg or rpm stay unless
//! adopted.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::rc::Rc;

use crate::operation::failure::Failure;
use crate::operation::object_check::compare::{
    CheckedObject, ObjectCheckError, ObjectComparison, ObjectFinding, UnfixedReason,
};
use crate::operation::session::RootAndPolicy;
use patchadm_inputs::database::{RecordView, contents};
use patchadm_inputs::inventory::Inventory;
use patchadm_inputs::native::NativeOwner;
use patchadm_rootfs::{
    Dir, FileType, Interrupt, LiveKind, ObjectRights, ObjectStatus, OpenObject, RootError, Timestamp, random,
};
use patchadm_svr4::format::contents::key_of;
use patchadm_svr4::package::rule::holds;
use patchadm_svr4::package::{ContentsLine, Ftype, Mode, Object, ObjectPath};

const DIRECTORY_MODE: u32 = 0o755;

/// Returns remaining differences, and the number of objects repaired in part or whole.
pub(super) fn fix_all(
    comparison: &ObjectComparison<'_>,
    lines: &[ContentsLine],
    native: &NativeFiles<'_>,
) -> (Vec<CheckedObject>, usize) {
    let mut fixed = 0;
    let lines = lines.iter().take_while(|_| (comparison.interrupt)().is_none());
    let checked = lines.map(|line| {
        let (object, is_other) = fix(comparison, line, native);
        fixed += usize::from(is_other);
        object
    });
    (checked.collect(), fixed)
}

fn fix(
    comparison: &ObjectComparison<'_>,
    line: &ContentsLine,
    native: &NativeFiles<'_>,
) -> (CheckedObject, bool) {
    let line = &*comparison.overridden.line(line);
    let mut before = comparison.compare_one(line);
    if before.findings.is_empty() {
        return (before, false);
    }
    match native.owner(line, comparison.interrupt) {
        Ok(None) => {}
        Ok(Some(owner)) => {
            before.findings.push(ObjectFinding::Unfixed(UnfixedReason::Native(owner)));
            return (before, false);
        }
        Err(error) => {
            before.findings.push(ObjectFinding::Unreadable(error.to_string()));
            return (before, false);
        }
    }
    let failed = repair(comparison, line, &before.findings);
    let mut after = comparison.compare_one(line);
    let is_other = after.findings.len() < before.findings.len();
    // Another repair may have removed the difference.
    if !after.findings.is_empty() {
        after.findings.extend(failed.into_iter().map(ObjectFinding::Unfixed));
    }
    (after, is_other)
}

/// Returns failed repairs.
fn repair(
    comparison: &ObjectComparison<'_>,
    line: &ContentsLine,
    findings: &[ObjectFinding],
) -> Vec<UnfixedReason> {
    let mut failed = Vec::new();
    let object = &line.object;
    let note = |failed: &mut Vec<UnfixedReason>, result: Result<(), RootError>, unfixed: UnfixedReason| {
        if result.is_err() && !failed.contains(&unfixed) {
            failed.push(unfixed);
        }
    };
    for finding in findings {
        match finding {
            ObjectFinding::Missing if object.ftype.is_directory() => {
                note(&mut failed, make_directory(comparison, line), UnfixedReason::Directory);
            }
            ObjectFinding::Missing if object.ftype == Ftype::Pipe || object.ftype.is_device() => {
                note(&mut failed, make_node(comparison, line), UnfixedReason::Node);
            }
            ObjectFinding::Missing if object.ftype == Ftype::Symlink => {
                note(&mut failed, link_anew(comparison, line), unlinked(object));
            }
            ObjectFinding::NotSymlinked(_) | ObjectFinding::NotLinked(_) => {
                note(&mut failed, link_anew(comparison, line), unlinked(object));
            }
            ObjectFinding::Mode(_) | ObjectFinding::Owner(_) | ObjectFinding::Group(_) => {
                let unfixed = set_attributes(comparison, line, false).unwrap_or_else(|error| {
                    Some(match error {
                        RootError::Exchangeable { .. } => UnfixedReason::Exchangeable(error.to_string()),
                        _ => UnfixedReason::Attributes,
                    })
                });
                failed.extend(unfixed.filter(|unfixed| !failed.contains(unfixed)));
            }
            ObjectFinding::Mtime(mtime) => {
                note(&mut failed, set_mtime(comparison, line, mtime.expected), UnfixedReason::Mtime);
            }
            _ => {}
        }
    }
    failed
}

fn unlinked(object: &Object) -> UnfixedReason {
    UnfixedReason::Link(object.target.clone().unwrap_or_default())
}

fn make_directory(comparison: &ObjectComparison<'_>, line: &ContentsLine) -> Result<(), RootError> {
    let (parent, name) = comparison.place(&line.path)?;
    parent.make_dir(&name, line.object.attributes.mode.unwrap_or(Mode::of(DIRECTORY_MODE)))?;
    set_attributes(comparison, line, true).map(drop)
}

fn make_node(comparison: &ObjectComparison<'_>, line: &ContentsLine) -> Result<(), RootError> {
    let (parent, name) = comparison.place(&line.path)?;
    let (file_type, numbers) = match (line.object.ftype, line.object.device) {
        (Ftype::Pipe, _) => (FileType::Pipe, (0, 0)),
        (Ftype::Block, Some((Some(major), Some(minor)))) => (FileType::Block, (major, minor)),
        (Ftype::Character, Some((Some(major), Some(minor)))) => (FileType::Character, (major, minor)),
        _ => return Err(parent.refused(&name)),
    };
    parent.make_node(&name, file_type, numbers)?;
    set_attributes(comparison, line, true).map(drop)
}

/// Only recorded bytes get set-id bits or their owner: otherwise a user who replaced a program would get a set-id
/// program. The 16-bit sum of `contents` can be forged, so a patch's BLAKE3 must match, too, if there is one.
/// `is_new` says that this repair has just made the object.
fn set_attributes(
    comparison: &ObjectComparison<'_>,
    line: &ContentsLine,
    is_new: bool,
) -> Result<Option<UnfixedReason>, RootError> {
    let (parent, name) = comparison.place_behind(line)?;
    if name.is_empty() {
        return set_attributes_of_root(comparison, line, &parent).map(|()| None);
    }
    let Some(object) = parent.hold(&name)? else { return Ok(Some(UnfixedReason::Attributes)) };
    let seen = object.look()?;
    let (uid, gid) = other_owners(comparison, line, &seen);
    let is_set_id = line.object.attributes.mode.is_some_and(Mode::is_set_id);
    let changes_owner = line.object.ftype == Ftype::File && (uid.is_some() || gid.is_some());
    let is_for_bytes = line.object.ftype.is_regular() && (is_set_id || changes_owner);
    if is_for_bytes && !holds_recorded_bytes(comparison, line, &object)? {
        return Ok(Some(UnfixedReason::OtherBytes));
    }
    let rights = ObjectRights { uid, gid, mode: line.object.attributes.mode };
    parent.must_be_own(&object, rights, |seen| match seen.file_type {
        FileType::Regular => Ok(is_for_bytes || holds_recorded_bytes(comparison, line, &object)?),
        file_type => Ok(is_new && FileType::of(line.object.ftype) == Some(file_type)),
    })?;
    if !is_for_bytes {
        return object.set_rights_until(rights, comparison.interrupt).map(|()| None);
    }
    // The previous owner may have written until now; afterwards it can no longer be opened.
    let is_set = object.set_rights_if(rights, || holds_recorded_bytes(comparison, line, &object))?;
    Ok((!is_set).then_some(UnfixedReason::OtherBytes))
}

fn set_attributes_of_root(
    comparison: &ObjectComparison<'_>,
    line: &ContentsLine,
    top: &Dir,
) -> Result<(), RootError> {
    let (uid, gid) = other_owners(comparison, line, &top.itself()?);
    if uid.is_some() || gid.is_some() {
        top.set_own_owner(uid, gid)?;
    }
    line.object.attributes.mode.map_or(Ok(()), |mode| top.set_own_mode(mode))
}

fn other_owners(
    comparison: &ObjectComparison<'_>,
    line: &ContentsLine,
    seen: &ObjectStatus,
) -> (Option<u32>, Option<u32>) {
    let Some(accounts) = comparison.accounts else { return (None, None) };
    let wanted = &line.object.attributes;
    let uid = wanted.owner.as_deref().and_then(|owner| accounts.uid(owner));
    let gid = wanted.group.as_deref().and_then(|group| accounts.gid(group));
    (uid.filter(|uid| *uid != seen.uid), gid.filter(|gid| *gid != seen.gid))
}

/// Compares size, sum, and the patch's digest if known. False without a record of the bytes.
fn holds_recorded_bytes(
    comparison: &ObjectComparison<'_>,
    line: &ContentsLine,
    object: &OpenObject,
) -> Result<bool, RootError> {
    let Some(found) = object.sums_until(comparison.interrupt)? else { return Ok(false) };
    let recorded = line.object.content;
    let delivered = comparison.delivered.get(&line.path).filter(|file| file.object == line.object);
    let is_recorded = recorded.size == Some(found.size)
        && recorded.cksum == Some(found.cksum)
        && delivered.is_none_or(|file| file.b3 == found.b3);
    Ok(holds("contents.line.bytes", is_recorded))
}

fn set_mtime(comparison: &ObjectComparison<'_>, line: &ContentsLine, seconds: i64) -> Result<(), RootError> {
    let (parent, name) = comparison.place(&line.path)?;
    parent.set_mtime(&name, Timestamp::whole(seconds))
}

fn link_anew(comparison: &ObjectComparison<'_>, line: &ContentsLine) -> Result<(), RootError> {
    let (parent, name) = comparison.place(&line.path)?;
    let target = line.object.target.as_deref().unwrap_or_default();
    let seen = parent.look(&name)?;
    let new = format!(".pkgchk-{:016x}", random()?).into_bytes();
    if line.object.ftype == Ftype::Symlink {
        if seen.is_some_and(|seen| seen.file_type != FileType::Symlink) {
            return Err(parent.refused(&name));
        }
        parent.make_symlink(&new, target)?;
    } else {
        let source = line.path.link_source(target).map_err(|_| parent.refused(&name))?;
        let (source_dir, source_name) = comparison.place(&source)?;
        if seen.is_some()
            && !has_same_bytes((&parent, &name), (&source_dir, &source_name), comparison.interrupt)?
        {
            return Err(parent.refused(&name));
        }
        parent.make_link(&new, &source_dir, &source_name)?;
    }
    let renamed = parent.rename(&new, &name);
    if renamed.is_err() {
        // The first failure is reported; a leftover temporary name is harmless.
        let _ = parent.remove(&new);
    }
    renamed
}

/// Compares bytes of regular files, or targets of symbolic links.
fn has_same_bytes(
    (dir, name): (&Dir, &[u8]),
    (other_dir, other): (&Dir, &[u8]),
    interrupt: Interrupt<'_>,
) -> Result<bool, RootError> {
    let buffer = &mut vec![0; 1 << 16];
    let Some(a) = dir.live_until(buffer, name, None, interrupt)? else { return Ok(false) };
    let Some(b) = other_dir.live_until(buffer, other, None, interrupt)? else { return Ok(false) };
    Ok(match (&a.kind, &b.kind) {
        (LiveKind::Regular { b3: a, .. }, LiveKind::Regular { b3: b, .. }) => a == b,
        (LiveKind::Symlink(a), LiveKind::Symlink(b)) => a == b,
        _ => false,
    })
}

pub(super) struct NativeFiles<'g> {
    ground: &'g RootAndPolicy,
    inventory: Inventory,
    /// With the names of objects that have several, which few repairs need.
    named: OnceCell<Inventory>,
}

impl<'g> NativeFiles<'g> {
    pub(super) fn of(
        ground: &'g RootAndPolicy,
        lines: &[ContentsLine],
        interrupt: Interrupt<'_>,
    ) -> Result<Self, Failure> {
        let index = ground.native_index();
        if index.is_empty() {
            return Ok(Self { ground, inventory: Inventory::default(), named: OnceCell::new() });
        }
        let resolver = ground.root.resolver();
        let place = |line: &ContentsLine| Ok((line.path.clone(), resolver.locate_to_compare(&line.path)?));
        let places = lines.iter().map(place).collect::<Result<Vec<_>, RootError>>()?;
        let native_owners = index
            .owners_of(places.iter().map(|(path, place)| (path, place)), &resolver, interrupt)
            .map_err(Failure::or_interrupted(interrupt))?;
        let packages = ground.packages()?;
        let inventory = Inventory { packages, native_owners, ..Inventory::default() };
        Ok(Self { ground, inventory, named: OnceCell::new() })
    }

    /// Returns the native owner of a recorded object, unless a package of its line stands for that. A change affects
    /// all names of the object, so each counts.
    fn owner(&self, line: &ContentsLine, interrupt: Interrupt<'_>) -> Result<Option<NativeOwner>, RootError> {
        if self.ground.native_index().is_empty() {
            return Ok(None);
        }
        let Inventory { native_owners, .. } = &self.inventory;
        let is_own = line
            .owners
            .iter()
            .any(|owner| self.inventory.foreign_owner(&owner.package, &line.path).is_none());
        if let Some(owner) = native_owners.of(&line.path).first().filter(|_| !is_own) {
            return Ok(Some(owner.clone()));
        }
        self.owner_of_name(line, interrupt)
    }

    fn owner_of_name(
        &self,
        line: &ContentsLine,
        interrupt: Interrupt<'_>,
    ) -> Result<Option<NativeOwner>, RootError> {
        let root = &self.ground.root;
        let place = root.resolver().locate_to_compare(&line.path)?;
        let live =
            root.live_at_until(&place, interrupt)?.filter(|live| live.links > 1 && !live.is_directory());
        let Some(live) = live else { return Ok(None) };
        let inventory = self.named(interrupt)?;
        let foreign = line.owners.iter().map(|owner| inventory.foreign_name(&owner.package, &live));
        // One package that stands for all names is enough.
        let foreign: Option<Vec<_>> = foreign.collect();
        Ok(foreign.and_then(|names| names.first().map(|(_, owner)| owner.clone())))
    }

    fn named(&self, interrupt: Interrupt<'_>) -> Result<&Inventory, RootError> {
        if let Some(named) = self.named.get() {
            return Ok(named);
        }
        let mut named = Inventory { packages: self.inventory.packages.clone(), ..Inventory::default() };
        named.native_owners.add_all_names(self.ground.native_index(), &self.ground.root, interrupt)?;
        Ok(self.named.get_or_init(|| named))
    }

    /// Returns the owners of these paths, as far as they have some.
    fn owners_of_unrecorded(
        &self,
        paths: &[ObjectPath],
        interrupt: Interrupt<'_>,
    ) -> Result<BTreeMap<ObjectPath, NativeOwner>, RootError> {
        let resolver = self.ground.root.resolver();
        let places = paths.iter().map(|path| resolver.locate_object(path)).collect::<Result<Vec<_>, _>>()?;
        let index = self.ground.native_index();
        let owners = index.owners_of(paths.iter().zip(&places), &resolver, interrupt)?;
        let first = |path: &ObjectPath| Some((path.clone(), owners.of(path).first()?.clone()));
        Ok(paths.iter().filter_map(first).collect())
    }
}

/// Returns hidden objects of the exclusive directories in `lines`. With `native`, removes them, except non-empty
/// directories and files of dpkg or rpm.
pub(super) fn hidden(
    view: &RecordView<'_>,
    comparison: &ObjectComparison<'_>,
    lines: &[ContentsLine],
    native: Option<&NativeFiles<'_>>,
) -> Result<Vec<CheckedObject>, ObjectCheckError> {
    let exclusive = lines.iter().filter(|line| line.object.ftype == Ftype::Exclusive);
    let directories: Vec<ObjectPath> = exclusive.map(|line| line.path.clone()).collect();
    let below = contents::lines_below(view, &directories)?;
    let known = with_ancestors(below.into_keys().chain(lines.iter().map(|line| line.path.clone())));
    let (mut found, mut unknown) = (Vec::new(), Vec::new());
    for path in &directories {
        match names_in(comparison, path) {
            Ok(paths) => unknown.extend(paths.into_iter().filter(|path| !known.contains(path))),
            Err(error) => {
                let findings = vec![ObjectFinding::Unreadable(error.to_string())];
                found.push(CheckedObject { path: path.clone(), findings, is_edited: false });
            }
        }
    }
    let elsewhere = known_by_another_way(view, comparison, &unknown)?;
    let owners =
        native.map(|native| native.owners_of_unrecorded(&unknown, comparison.interrupt)).transpose()?;
    let resolver = comparison.root.resolver();
    for path in unknown {
        if !elsewhere.contains(&resolver.locate_to_compare(&path)?) {
            let findings = match owners.as_ref().map(|owners| owners.get(&path).cloned()) {
                None => vec![ObjectFinding::Hidden],
                Some(None) => remove(comparison, &path),
                Some(Some(owner)) => {
                    vec![ObjectFinding::Hidden, ObjectFinding::Unfixed(UnfixedReason::Native(owner))]
                }
            };
            found.push(CheckedObject { path, findings, is_edited: false });
        }
    }
    Ok(found)
}

/// Empty if the directory does not exist.
fn names_in(comparison: &ObjectComparison<'_>, directory: &ObjectPath) -> Result<Vec<ObjectPath>, RootError> {
    let Some((parent, seen)) = comparison.find(directory)? else { return Ok(Vec::new()) };
    if seen.file_type != FileType::Directory {
        return Ok(Vec::new());
    }
    let name = directory.name();
    let dir = if name.is_empty() { parent } else { Rc::new(parent.dir(name)?) };
    Ok(dir.names()?.iter().filter_map(|name| directory.join(name).ok()).collect())
}

/// Returns real paths of recorded objects with one of these names in their path, and their parents.
fn known_by_another_way(
    view: &RecordView<'_>,
    comparison: &ObjectComparison<'_>,
    unknown: &[ObjectPath],
) -> Result<BTreeSet<ObjectPath>, ObjectCheckError> {
    let names: HashSet<&[u8]> = unknown.iter().map(ObjectPath::name).collect();
    if names.is_empty() {
        return Ok(BTreeSet::new());
    }
    let lines =
        contents::scan(view, |raw| key_of(raw).split(|&byte| byte == b'/').any(|part| names.contains(part)))?;
    let resolver = comparison.root.resolver();
    let physical: Vec<ObjectPath> =
        lines.keys().map(|path| resolver.locate_to_compare(path)).collect::<Result<_, _>>()?;
    Ok(with_ancestors(physical.into_iter()))
}

fn with_ancestors(paths: impl Iterator<Item = ObjectPath>) -> BTreeSet<ObjectPath> {
    let mut all = BTreeSet::new();
    for path in paths {
        all.extend(path.ancestors());
        all.insert(path);
    }
    all
}

/// Returns the remaining findings.
fn remove(comparison: &ObjectComparison<'_>, path: &ObjectPath) -> Vec<ObjectFinding> {
    let removed = comparison.place(path).and_then(|(dir, name)| match dir.look(&name)? {
        Some(seen) if seen.file_type == FileType::Directory => dir.remove_dir(&name),
        _ => dir.remove(&name).map(|()| true),
    });
    match removed {
        Ok(true) => Vec::new(),
        _ => vec![ObjectFinding::Hidden, ObjectFinding::Unfixed(UnfixedReason::Hidden)],
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_signal_ends_the_comparison_of_files_that_would_take_hours() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["one", "other"] {
            File::create(dir.path().join(name)).unwrap().set_len(1 << 40).unwrap();
        }
        let top = Dir::of_host(dir.path()).unwrap();
        let calls = AtomicUsize::new(0);
        let interrupt = || (calls.fetch_add(1, Ordering::Relaxed) > 100).then_some(15);
        assert!(has_same_bytes((&top, b"one"), (&top, b"other"), &interrupt).is_err());
    }
}
