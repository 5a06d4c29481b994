//! The changes of objects: taken objects get the exact state that they have in the stage.

use std::collections::BTreeSet;

use super::in_place::in_place;
use super::input::{PromotionInput, TakenObject};
use super::wanted_state::WantedState;
use crate::plan::plan_builder::PlanBuilder;
use crate::plan::refusal::{ObjectProblem, Reason};
use crate::plan::{Action, Body, Member, NewObject};
use patchadm_rootfs::{Live, LiveKind};
use patchadm_svr4::package::{ObjectPath, PackagePath, PkgInst};

/// Plans the objects of a promotion. `owner` names the package that each path is of.
pub(super) fn plan_objects(
    draft: &mut PlanBuilder<'_>,
    input: &PromotionInput<'_>,
    owner: &dyn Fn(&ObjectPath) -> PkgInst,
) -> Result<(), Reason> {
    let in_place = in_place(input, draft);
    let (links, others): (Vec<_>, Vec<_>) =
        input.taken.iter().partition(|(path, _)| carrier(input, &in_place, path).is_some());
    for (path, taken) in others.into_iter().chain(links) {
        let package = owner(path);
        let placed = place(draft, input, &in_place, (path, taken), &package);
        placed.map_err(|problem| refuse(&package, path, problem))?;
    }
    for path in &input.deleted {
        let package = owner(path);
        delete(draft, &package, path).map_err(|problem| refuse(&package, path, problem))?;
    }
    Ok(())
}

fn refuse(package: &PkgInst, path: &ObjectPath, problem: ObjectProblem) -> Reason {
    Reason::Object { package: package.clone(), path: path.to_string(), problem }
}

/// Returns the name that a taken path becomes another name of, if it becomes one.
fn carrier<'i>(
    input: &'i PromotionInput<'_>,
    in_place: &BTreeSet<ObjectPath>,
    path: &ObjectPath,
) -> Option<&'i ObjectPath> {
    if in_place.contains(path) {
        return None;
    }
    let names = || input.stage_names.all(path).iter().filter(|name| input.taken.contains_key(*name));
    let first = names().find(|name| in_place.contains(*name)).or_else(|| names().next());
    first.filter(|name| *name != path)
}

fn place(
    draft: &mut PlanBuilder<'_>,
    input: &PromotionInput<'_>,
    in_place: &BTreeSet<ObjectPath>,
    (path, taken): (&ObjectPath, &TakenObject<'_>),
    package: &PkgInst,
) -> Result<(), ObjectProblem> {
    draft.check_reserved(path)?;
    draft.claim(package, path)?;
    draft.open_way(package, path)?;
    let (old, from) = (draft.old(path), taken.object);
    let wanted = WantedState::of(draft, path, from, input.options.owners);
    let is_directory = from.is_directory();
    if let Some(old) = old.filter(|old| in_place.contains(path) || is_directory && old.is_directory()) {
        if let Some(change) = wanted.change(old) {
            if !is_directory {
                draft.check_obstacle(path)?;
            }
            draft.change(package, path, Action::Attributes(change));
        }
        return Ok(());
    }
    // What a device gives access to, its owner and mode cannot tell: it comes only where these do.
    let may_be_device = draft.inventory.privileged && input.options.owners && !taken.is_foreign;
    if matches!(from.kind, LiveKind::Device { .. }) && !may_be_device {
        return Err(ObjectProblem::NotPermitted("a device"));
    }
    draft.check_obstacle(path)?;
    let new = match carrier(input, in_place, path) {
        Some(file) => draft.other_name(path, file)?,
        None => NewObject {
            body: body(path, from)?,
            mode: wanted.mode,
            uid: wanted.uid,
            gid: wanted.gid,
            mtime: Some(wanted.mtime).filter(|_| !is_directory),
            xattrs: wanted.new_xattrs(from, old),
        },
    };
    let action = if old.is_some() { Action::Replace(new) } else { Action::Add(new) };
    draft.change(package, path, action);
    Ok(())
}

/// Returns the body of an object of the stage; a file is read there, by its path.
fn body(path: &ObjectPath, from: &Live) -> Result<Body, ObjectProblem> {
    Ok(match &from.kind {
        LiveKind::Regular { size, b3, cksum } => Body::Member(Member {
            package: 0,
            path: PackagePath::new(path.as_bytes())
                .map_err(|error| ObjectProblem::BadPath(error.to_string()))?,
            size: *size,
            cksum: *cksum,
            b3: Some(Box::new(*b3)),
        }),
        LiveKind::Directory => Body::Directory,
        LiveKind::Symlink(target) => Body::Symlink(target.clone()),
        LiveKind::Pipe => Body::Pipe,
        LiveKind::Device { block, major, minor } => {
            Body::Device { block: *block, major: *major, minor: *minor }
        }
        LiveKind::Socket => return Err(ObjectProblem::NotPermitted("a socket")),
    })
}

fn delete(draft: &mut PlanBuilder<'_>, package: &PkgInst, path: &ObjectPath) -> Result<(), ObjectProblem> {
    draft.check_reserved(path)?;
    let Some(old) = draft.old(path) else { return Ok(()) };
    draft.claim(package, path)?;
    draft.check_obstacle(path)?;
    let action = if old.is_directory() { Action::RemoveDirectory } else { Action::Delete };
    draft.change(package, path, action);
    Ok(())
}
