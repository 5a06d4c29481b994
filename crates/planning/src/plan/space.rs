//! The needs of a run on each file system: all new objects (old ones stay until the commit), an upper bound of the undo
//! archives, the records, and the ballast that the transaction reserves for its rollback.

use std::collections::HashMap;

use patchadm_inputs::inventory::{FileSystem, Inventory};
use patchadm_rootfs::Inode;
use patchadm_svr4::package::ObjectPath;

use super::refusal::Reason;
use super::{
    Action, BALLAST, Body, Change, RecordChange, SpaceNeed, TreeContent, UndoArchive, UndoFormat, UndoPlace,
};

/// For queue, record lines, and objects without content that installf(1M) and removef(1M) may add.
const REQUESTS: u64 = 256 << 10;
const REQUESTED: u64 = 32;
const LONGEST_RUN: u64 = 64;
/// Upper bound of headers, names and padding per member of an archive.
const MEMBER: u64 = 8 << 10;

#[derive(Clone, Copy, Debug, Default)]
struct Need {
    bytes: u64,
    inodes: u64,
    /// Set even if the change needs no space.
    changes: bool,
    undo: u64,
}

/// `extra` are the needs that a package announces: path, bytes, objects.
pub fn needs(
    inventory: &Inventory,
    changes: &[Box<Change>],
    records: &[RecordChange],
    undo: &[&UndoArchive],
    extra: &[(ObjectPath, u64, u64)],
) -> Vec<SpaceNeed> {
    let mut needs = vec![Need::default(); inventory.file_systems.len()];
    for change in changes {
        if let Some(need) = needs.get_mut(inventory.file_system_of(&change.path)) {
            need.changes = true;
        }
        if let Action::Add(new) | Action::Replace(new) = &change.action {
            let size = object_size(inventory, &new.body);
            add(inventory, &mut needs, inventory.file_system_of(&change.path), size, 1);
        }
    }
    // `contents` is written completely beside the old one
    add(inventory, &mut needs, inventory.records_on, inventory.contents_size, 1);
    for record in records {
        let (size, count) = record_size(record);
        add(inventory, &mut needs, inventory.records_on, size, count);
    }
    let is_here =
        |archive: &&UndoArchive| !matches!(archive.place, UndoPlace::Remote(_) | UndoPlace::Beside(_));
    let has_files = undo.iter().any(|archive| archive.format == UndoFormat::Files);
    let moved = if has_files { moved_names(inventory, changes) } else { HashMap::new() };
    for archive in undo.iter().copied().filter(is_here) {
        add_undo(inventory, &mut needs, inventory.records_on, archive_size(archive), 2);
        for (path, size) in copied_files(inventory, &moved, archive) {
            add_undo(inventory, &mut needs, inventory.file_system_of(path), size, 1);
        }
    }
    for (path, bytes, inodes) in extra {
        add(inventory, &mut needs, inventory.file_system_of(path), *bytes, *inodes);
    }
    // A separate check for the whole root reports unwritable records.
    let of_records = inventory.file_systems.get(inventory.records_on);
    let is_closed = |need: &Need, on: &FileSystem| {
        need.changes && on.is_read_only && of_records.is_none_or(|records| records.name != on.name)
    };
    let unsupported = |need: &Need, on: &FileSystem| {
        let holds_records = of_records.is_some_and(|records| records.name == on.name);
        on.unsupported.filter(|_| need.changes || holds_records)
    };
    let all = needs.iter().zip(&inventory.file_systems);
    let used = all.filter(|(need, on)| {
        need.bytes > 0 || need.inodes > 0 || is_closed(need, on) || unsupported(need, on).is_some()
    });
    used.map(|(need, file_system)| SpaceNeed {
        file_system: file_system.name.clone(),
        bytes: need.bytes.saturating_add(BALLAST),
        free: file_system.free,
        inodes: need.inodes,
        free_inodes: file_system.inodes,
        is_read_only: is_closed(need, file_system),
        unsupported: unsupported(need, file_system),
        undo: need.undo,
    })
    .collect()
}

pub(super) fn with_requests(mut needs: Vec<SpaceNeed>) -> Vec<SpaceNeed> {
    for need in &mut needs {
        need.bytes = need.bytes.saturating_add(REQUESTS);
        need.inodes = need.inodes.saturating_add(REQUESTED);
    }
    needs
}

fn object_size(inventory: &Inventory, body: &Body) -> u64 {
    match body {
        Body::Member(member) => member.size,
        Body::CopyOf(path) => inventory.live.get(path).and_then(patchadm_rootfs::Live::size).unwrap_or(0),
        Body::Symlink(target) => target.len() as u64,
        _ => 0,
    }
}

pub(super) fn enough(needs: &[SpaceNeed]) -> Result<(), Reason> {
    for need in needs {
        let file_system = need.file_system.clone();
        if let Some(why) = need.unsupported {
            return Err(Reason::Unsupported { file_system, why });
        }
        if need.is_read_only {
            return Err(Reason::ReadOnly(file_system));
        }
        if need.bytes > need.free {
            return Err(Reason::NoSpace {
                file_system,
                needed: need.bytes,
                free: need.free,
                inodes: false,
                undo: need.undo,
            });
        }
        if let Some(free) = need.free_inodes.filter(|free| need.inodes > *free) {
            return Err(Reason::NoSpace { file_system, needed: need.inodes, free, inodes: true, undo: 0 });
        }
    }
    Ok(())
}

/// Counts the names that a run moves away, for each file.
fn moved_names(inventory: &Inventory, changes: &[Box<Change>]) -> HashMap<Inode, u64> {
    let mut moved = HashMap::new();
    for change in changes.iter().filter(|change| matches!(change.action, Action::Replace(_) | Action::Delete))
    {
        if let Some(old) = inventory.live.get(&change.path) {
            *moved.entry(old.inode).or_default() += 1;
        }
    }
    moved
}

/// Returns the old files that undo data as files must copy: the run does not move them, or they have names elsewhere.
/// The copy is in the file system of the file.
fn copied_files<'a>(
    inventory: &'a Inventory,
    moved: &'a HashMap<Inode, u64>,
    archive: &'a UndoArchive,
) -> impl Iterator<Item = (&'a ObjectPath, u64)> {
    let is_files = archive.format == UndoFormat::Files;
    let saved = archive.saved.iter().filter(move |(_, path)| is_files && !archive.passing.contains_key(path));
    saved.filter_map(|(_, path)| {
        let old = inventory.live.get(path)?;
        let size = old.size()?;
        let is_kept = moved.get(&old.inode).is_some_and(|names| old.links <= *names);
        (!is_kept).then_some((path, size))
    })
}

/// An upper bound: data may not compress.
fn archive_size(archive: &UndoArchive) -> u64 {
    let objects: u64 = match archive.format {
        // The old files are kept themselves, see `copied_files`.
        UndoFormat::Files => 0,
        _ => archive.saved.iter().filter_map(|(entry, _)| entry.object.content.size).sum(),
    };
    let records: u64 = archive.records.values().map(|record| record.bytes.len() as u64).sum();
    let scripts: u64 = archive.scripts.values().map(|script| script.len() as u64).sum();
    let members = (archive.saved.len()
        + archive.records.len()
        + archive.manifest.objects.len()
        + archive.scripts.len()
        + 8) as u64;
    let directories: u64 = archive.saved.iter().map(|(entry, _)| above(entry.path.as_bytes())).sum();
    let plain = objects
        .saturating_add(records)
        .saturating_add(directories)
        .saturating_add(scripts)
        .saturating_add(members.saturating_mul(MEMBER));
    // A compressor may enlarge what it cannot compress, compress(1) by up to an eighth
    plain.saturating_add(plain / 8)
}

fn above(path: &[u8]) -> u64 {
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end as u64);
    256 + ends.map(|length| 128 + length).sum::<u64>()
}

fn record_size(record: &RecordChange) -> (u64, u64) {
    match record {
        RecordChange::Write { bytes, .. } => (bytes.len() as u64, 1),
        RecordChange::Copy { copied, .. } => (copied.size, 1),
        // It is small, and the ballast covers such files.
        RecordChange::Ledger(_) | RecordChange::Undo { .. } => (0, 1),
        RecordChange::AddTree { files, .. } => {
            let size = |content: &TreeContent| match content {
                TreeContent::Bytes(bytes) => bytes.len() as u64,
                TreeContent::AroundRun(before, after) => (before.len() + after.len()) as u64 + LONGEST_RUN,
                TreeContent::Copied(copied) => copied.size,
                TreeContent::Undo(_)
                | TreeContent::UndoDigest(_)
                | TreeContent::Manifest(_)
                | TreeContent::Directory => 0,
            };
            // every file may need a directory of its own
            (files.iter().map(|file| size(&file.content)).sum(), 2 * files.len() as u64 + 1)
        }
        RecordChange::RemoveFile(_) | RecordChange::RemoveTree(_) | RecordChange::Move { .. } => (0, 0),
    }
}

fn bytes_of(needs: &[Need], index: usize) -> u64 {
    needs.get(index).map_or(0, |need| need.bytes)
}

fn add_undo(inventory: &Inventory, needs: &mut [Need], index: usize, bytes: u64, inodes: u64) {
    let before = bytes_of(needs, index);
    add(inventory, needs, index, bytes, inodes);
    let added = bytes_of(needs, index).saturating_sub(before);
    if let Some(need) = needs.get_mut(index) {
        need.undo = need.undo.saturating_add(added);
    }
}

fn add(inventory: &Inventory, needs: &mut [Need], index: usize, bytes: u64, inodes: u64) {
    let unit = inventory.file_systems.get(index).map_or(1, |file_system| file_system.unit.max(1));
    if let Some(need) = needs.get_mut(index) {
        need.bytes = need.bytes.saturating_add(bytes.div_ceil(unit).saturating_mul(unit));
        need.inodes = need.inodes.saturating_add(inodes);
    }
}
