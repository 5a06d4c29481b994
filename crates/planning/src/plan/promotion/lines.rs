//! The lines of `contents`: every changed path is recorded, for the packages that own it.

use super::input::{PromotionInput, TakenObject};
use super::wanted_state::WantedState;
use crate::plan::plan_builder::PlanBuilder;
use patchadm_rootfs::{Live, LiveKind};
use patchadm_svr4::package::{
    ContentsLine, Ftype, Object, ObjectAttributes, ObjectPath, OwningPackage, PkgInst,
};

/// Records the taken and the removed objects. `owner` names the package of each path.
pub(super) fn record_lines(
    draft: &mut PlanBuilder<'_>,
    input: &PromotionInput<'_>,
    owner: &dyn Fn(&ObjectPath) -> PkgInst,
) {
    for (path, taken) in &input.taken {
        let object = object(draft, input, path, taken);
        let mut line = draft.line(path).cloned().unwrap_or_else(|| ContentsLine {
            path: path.clone(),
            volume: None,
            object: object.clone(),
            owners: vec![OwningPackage::new(owner(path))],
        });
        line.object = object;
        draft.set_line(&owner(path), path, Some(line));
    }
    for path in &input.deleted {
        draft.set_line(&owner(path), path, None);
    }
}

/// Returns the entry of a taken object in its line. Its class stays, and so does its type if it is still right.
fn object(
    draft: &PlanBuilder<'_>,
    input: &PromotionInput<'_>,
    path: &ObjectPath,
    taken: &TakenObject<'_>,
) -> Object {
    let known = draft.line(path).map(|line| &line.object);
    let class = known.map_or("none", |known| known.class.as_str());
    let live = taken.object;
    if let Some(target) = other_name(draft, input, path, live) {
        return Object { target: Some(target), ..Object::new(Ftype::Link, class) };
    }
    let ftype = known.map(|known| known.ftype);
    let mut object = match &live.kind {
        LiveKind::Regular { .. } => {
            let ftype = ftype.filter(|ftype| ftype.is_regular()).unwrap_or(Ftype::File);
            let content = live.content_info().unwrap_or_default();
            Object { content, ..Object::new(ftype, class) }
        }
        LiveKind::Directory => {
            Object::new(ftype.filter(|ftype| ftype.is_directory()).unwrap_or(Ftype::Directory), class)
        }
        LiveKind::Symlink(target) => {
            return Object { target: Some(target.clone()), ..Object::new(Ftype::Symlink, class) };
        }
        LiveKind::Pipe | LiveKind::Socket => Object::new(Ftype::Pipe, class),
        LiveKind::Device { block, major, minor } => {
            let ftype = if *block { Ftype::Block } else { Ftype::Character };
            Object { device: Some((Some(*major), Some(*minor))), ..Object::new(ftype, class) }
        }
    };
    let wanted = WantedState::of(draft, path, live, input.options.owners);
    let accounts = &draft.inventory.accounts;
    object.attributes = ObjectAttributes {
        mode: Some(wanted.mode),
        owner: Some(accounts.user(wanted.uid)),
        group: Some(accounts.group(wanted.gid)),
    };
    object
}

/// Returns the target of a hard link: the one that is recorded, where it still is a name of the file, else the first name
/// that is recorded as the file itself.
fn other_name(
    draft: &PlanBuilder<'_>,
    input: &PromotionInput<'_>,
    path: &ObjectPath,
    live: &Live,
) -> Option<Vec<u8>> {
    if live.is_directory() {
        return None;
    }
    let names = input.stage_names.all(path);
    let known = draft.inventory.lines.get(path).map(|line| &line.object);
    if let Some(Object { ftype: Ftype::Link, target: Some(target), .. }) = known {
        let source = path.link_source(target).ok().filter(|source| names.contains(source));
        return source.map(|_| target.clone());
    }
    if known.is_some() {
        return None;
    }
    let is_file = |name: &&ObjectPath| {
        let line = draft.inventory.lines.get(*name);
        line.map_or(*name < path, |line| line.object.ftype != Ftype::Link)
    };
    names.iter().filter(|name| *name != path).find(is_file).map(|name| name.as_bytes().to_vec())
}
