//! Second names for old objects, on file systems that cannot exchange names. Before the journal is published, every
//! object to be replaced gets a second name in the stage. Replacing is then one rename over it, and undoing one
//! rename of the second name over the new object.
//!
//! If the second name were made during the switch, a power cut could lose it and keep the rename; made before the
//! sync, it is durable before anything changes. An object that cannot have a second name is copied, with every
//! attribute; a rollback then leaves the copy in place. In that case, writes to the old object through an open
//! descriptor after its replacement are lost.

use crate::format::journal::{Identity, OpKind};
use crate::transaction::error::Cause;
use crate::transaction::objects::dirs::Dirs;
use crate::transaction::objects::identity::{identity, is_old_untouched};
use crate::transaction::objects::rename_support::{RenameSupport, link};
use crate::transaction::stage::domains::OpenDomains;
use crate::transaction::stage::layout_items::{Layout, LayoutItem};
use crate::transaction::stage::safety_copies::copy_object;
use patchadm_rootfs::{Dir, Root};

/// Gives the old object of every replacement a second name in its stage, if nothing else can bring it back.
pub(crate) fn link_old_objects(
    root: &Root,
    domains: &OpenDomains,
    layout: &mut Layout<'_>,
) -> Result<(), Cause> {
    let mut dirs = Dirs::new(root);
    for item in &mut layout.items {
        let domain = domains.get(item.op.domain)?;
        if item.op.kind != OpKind::Replace
            || item.inside.is_some()
            || RenameSupport::of(&domain.entry).exchange
        {
            continue;
        }
        let changed = || Cause::Changed(root.show(&item.op.path));
        let dir = dirs.parent(&item.op.path)?.ok_or_else(changed)?;
        second_name(item, &dir, if item.op.db { &domain.records } else { &domain.objects })?;
    }
    Ok(())
}

fn second_name(item: &mut LayoutItem<'_>, dir: &Dir, stage: &Dir) -> Result<(), Cause> {
    let changed = |item: &LayoutItem<'_>| Cause::Changed(dir.root().show(&item.op.path));
    let name = item.op.path.name().to_vec();
    let second = item.op.old_stage();
    let second = second.rsplit('/').next().unwrap_or_default().as_bytes();
    let Some(old) = item.op.old.clone() else { return Err(changed(item)) };
    if !is_old_untouched(dir, &name, &old)? {
        return Err(changed(item));
    }
    if link(dir, &name, stage, second).map_err(|error| Cause::apart(error, dir))? {
        return if is_old_untouched(stage, second, &old)? { Ok(()) } else { Err(changed(item)) };
    }
    let copy = copied(dir, &name, stage, second, &old)?.ok_or_else(|| changed(item))?;
    item.op.copy = Some(Box::new(copy));
    Ok(())
}

/// Copies an object, or returns `None` if it changed meanwhile.
fn copied(
    dir: &Dir,
    name: &[u8],
    stage: &Dir,
    second: &[u8],
    old: &Identity,
) -> Result<Option<Identity>, Cause> {
    let digest = copy_object(dir, name, stage, second)?;
    let Some(seen) = stage.look(second)? else { return Ok(None) };
    if (seen.uid, seen.gid, seen.mode.bits()) != (old.uid, old.gid, old.mode) {
        let reason =
            "can neither be given a second name nor be copied with its owner, so nothing could put it back";
        return Err(Cause::Unsupported { path: dir.root().show(&dir.at(name)), reason });
    }
    let is_whole = old.b3.is_none() || old.b3 == digest.map(Into::into);
    let steady = is_old_untouched(dir, name, old)?;
    let copy = Identity { inode: seen.inode, ..old.clone() };
    Ok((is_whole && steady && identity(&seen, None, None).mtime == old.mtime).then_some(copy))
}
