//! Removes set-id bits and capabilities from dropped objects: a user's descriptor or hard link would keep a replaced
//! program exploitable. An object with another known name (in `contents`, or from before the run) keeps them.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::BufReader;

use rustix::io::Errno;

use crate::format::journal::{Identity, Journal, Op, OpKind, RunOutcome};
use crate::records::{RecordView, contents};
use crate::transaction::error::Cause;
use crate::transaction::objects::names::{Dirs, RenameSupport};
use crate::transaction::stage::domains::MARKER;
use crate::transaction::stage::layout::StageLayout;
use patchadm_rootfs::{
    CAPABILITY, Dir, FileType, Inode, Live, LiveKind, ObjectStatus, Result, Root, Timestamp,
};
use patchadm_svr4::format::contents::{ContentsError, ContentsReader, ContentsRecord};
use patchadm_svr4::package::{ContentsLine, Ftype, Mode};
use patchadm_svr4::places;

const DEEPEST: usize = 64;

type FileId = ((u32, u32), Inode);

/// Returns surveyed executables without set-id bits and capabilities.
pub(crate) fn plain_objects(layout: &StageLayout<'_>) -> HashSet<String> {
    let is_plain = |live: &Live| {
        let is_file = matches!(live.kind, LiveKind::Regular { .. });
        let is_program = live.mode.bits() & 0o111 != 0;
        is_file && is_program && !live.mode.is_set_id() && !live.xattrs.contains_key(CAPABILITY)
    };
    let plain = layout.items.iter().filter(|item| item.inside.is_none() && item.live.is_some_and(is_plain));
    plain.map(|item| item.op.stage.clone()).collect()
}

/// Skips `plain` objects; returns whether there was any other. Call this before dropping; repetition is harmless.
pub(crate) fn strip_set_id_bits(
    root: &Root,
    journal: &Journal,
    outcome: RunOutcome,
    plain: &HashSet<String>,
) -> std::result::Result<bool, Cause> {
    let mut taking = BitStripper::new(root, journal, outcome, None);
    let is_plain = |op: &Op| outcome == RunOutcome::Commit && plain.contains(op.stage.as_str());
    let mut dropped: HashMap<usize, Vec<&Op>> = HashMap::new();
    for op in journal.ops.iter().filter(|op| is_dropped(op, outcome) && !is_plain(op)) {
        dropped.entry(op.domain).or_default().push(op);
    }
    if dropped.is_empty() {
        return Ok(false);
    }
    for (index, domain) in journal.domains.iter().enumerate() {
        let Some(ops) = dropped.get(&index) else { continue };
        let Some(stage) = root.dir_if_there(&domain.stage)? else { continue };
        if stage.look(b"o")?.is_none_or(|seen| seen.file_type != FileType::Directory) {
            continue;
        }
        let objects = stage.dir(b"o")?;
        taking.since = stage.look(MARKER)?.and_then(|marker| marker.inode.born);
        for op in ops {
            let second = (!RenameSupport::of(domain).exchange).then(|| op.old_stage());
            for staged in [Some(op.stage.clone()), second].into_iter().flatten() {
                if let Some(name) = staged.strip_prefix("o/") {
                    taking.strip_bits_in(&objects, name.as_bytes(), 0)?;
                }
            }
        }
    }
    Ok(true)
}

fn is_dropped(op: &Op, outcome: RunOutcome) -> bool {
    let dropped = match (op.kind, outcome) {
        (OpKind::Replace | OpKind::Delete, RunOutcome::Commit) => &op.old,
        (OpKind::Replace | OpKind::Add, RunOutcome::RolledBack) => &op.new,
        _ => &None,
    };
    // Only programs have capabilities, and the run knew the mode of each file.
    let may_have_bits = |object: &Identity| match object.file_type {
        'd' => true,
        'f' => object.mode & 0o6111 != 0,
        _ => false,
    };
    !op.db && dropped.as_deref().is_some_and(may_have_bits)
}

pub(crate) struct BitStripper<'a> {
    root: &'a Root,
    journal: &'a Journal,
    outcome: RunOutcome,
    /// Birth time of the stage; the run made younger objects.
    since: Option<Timestamp>,
    recorded: Option<HashSet<FileId>>,
}

impl<'a> BitStripper<'a> {
    pub(crate) fn new(
        root: &'a Root,
        journal: &'a Journal,
        outcome: RunOutcome,
        since: Option<Timestamp>,
    ) -> Self {
        Self { root, journal, outcome, since, recorded: None }
    }

    pub(crate) fn strip_bits_in(
        &mut self,
        dir: &Dir,
        name: &[u8],
        depth: usize,
    ) -> std::result::Result<(), Cause> {
        let Some(seen) = dir.look(name)? else { return Ok(()) };
        if seen.file_type == FileType::Directory && depth < DEEPEST {
            let inner = dir.dir(name)?;
            return inner.names()?.iter().try_for_each(|name| self.strip_bits_in(&inner, name, depth + 1));
        }
        if seen.file_type != FileType::Regular {
            return Ok(());
        }
        let is_executable = seen.mode.bits() & 0o111 != 0;
        let has_capability = is_executable && dir.has_xattr(name, CAPABILITY)?;
        if (seen.mode.is_set_id() || has_capability) && !self.stays(&seen)? {
            strip(dir, name)?;
        }
        Ok(())
    }

    fn stays(&mut self, seen: &ObjectStatus) -> std::result::Result<bool, Cause> {
        if seen.links <= 1 {
            return Ok(false);
        }
        if self.outcome == RunOutcome::RolledBack {
            let is_new = self.since.is_some_and(|since| seen.inode.born.is_some_and(|born| born >= since));
            return Ok(!is_new);
        }
        let recorded = match self.recorded.take() {
            Some(recorded) => recorded,
            None => recorded_links(self.root, self.journal)?,
        };
        let stays = recorded.contains(&(seen.file_system, seen.inode));
        self.recorded = Some(recorded);
        Ok(stays)
    }
}

/// Without privileges, only for the caller's own files.
fn strip(dir: &Dir, name: &[u8]) -> Result<()> {
    let Some(object) = dir.hold(name)? else { return Ok(()) };
    let seen = object.look()?;
    if seen.file_type != FileType::Regular {
        return Ok(());
    }
    let cut = Mode::of(seen.mode.bits() & 0o1777);
    let mode = if seen.mode.is_set_id() { object.set_mode(cut) } else { Ok(()) };
    let capability =
        if object.xattr(CAPABILITY)?.is_some() { object.remove_xattr(CAPABILITY) } else { Ok(()) };
    for done in [mode, capability] {
        match done {
            Err(error) if error.errno() == Some(Errno::PERM) && !dir.root().is_privileged() => {}
            other => other?,
        }
    }
    Ok(())
}

/// Files with a name in `contents`, now or before: a run that removes one name may forget another. Names with a new
/// object do not count.
fn recorded_links(root: &Root, journal: &Journal) -> std::result::Result<HashSet<FileId>, Cause> {
    let damaged = |error: ContentsError| Cause::Source(Box::new(error));
    let lines =
        contents::scan(&RecordView::live(root), |_| true).map_err(|error| Cause::Source(Box::new(error)))?;
    let (resolver, mut dirs, mut found) = (root.resolver(), Dirs::new(root), HashSet::new());
    let mut add = |line: &ContentsLine| -> std::result::Result<(), Cause> {
        if !line.object.ftype.is_regular() && line.object.ftype != Ftype::Link {
            return Ok(());
        }
        let physical = resolver.locate_to_compare(&line.path)?;
        if let Some(dir) = dirs.parent(&physical)?
            && let Some(seen) = dir.look(physical.name())?
            && seen.links > 1
        {
            found.insert((seen.file_system, seen.inode));
        }
        Ok(())
    };
    lines.values().try_for_each(&mut add)?;
    if let Some(before) = contents_before(root, journal)? {
        for record in ContentsReader::new(BufReader::with_capacity(1 << 18, before)) {
            if let ContentsRecord::Object(line) = record.map_err(damaged)? {
                add(&line)?;
            }
        }
    }
    Ok(found)
}

/// `None` if the run did not replace it.
fn contents_before(root: &Root, journal: &Journal) -> Result<Option<File>> {
    let contents = root.resolver().locate(&places::contents())?;
    let is_it = |op: &&Op| op.db && op.kind == OpKind::Replace && op.path == contents;
    let Some(op) = journal.ops.iter().find(is_it) else { return Ok(None) };
    let (Some(domain), Some(old)) = (journal.domains.get(op.domain), &op.old) else { return Ok(None) };
    let Some(stage) = root.dir_if_there(&domain.stage)? else { return Ok(None) };
    for name in [op.stage.clone(), op.old_stage()] {
        let Some((directory, name)) = name.split_once('/') else { continue };
        if stage.look(directory.as_bytes())?.is_none_or(|seen| seen.file_type != FileType::Directory) {
            continue;
        }
        if let Some((file, seen)) = stage.dir(directory.as_bytes())?.open_seen(name.as_bytes())?
            && seen.inode == old.inode
        {
            return Ok(Some(file));
        }
    }
    Ok(None)
}
