//! Updates planned changes after a script has run. The final state stays the same; only the way there changes. A change
//! that a script has made superfluous is dropped. Accounts that a script was to make must exist now.

use std::collections::BTreeMap;

use patchadm_inputs::inventory::Inventory;
use patchadm_rootfs::{Live, LiveKind};
use patchadm_svr4::package::{Accounts, ContentsLine, ObjectPath};

use super::plan_builder::UNKNOWN;
use super::refusal::{ObjectProblem, Reason};
use super::{Action, AttributeChange, Body, Change, NewObject, NewXattrs, Plan, given};

/// Fits the changes to the present root. `now` is a survey of the plan's paths and of files that its hard links name;
/// `line` returns the final line of a path, with the owners that had no number.
pub fn refreshed(
    mut plan: Plan,
    now: &Inventory,
    line: impl Fn(&ObjectPath) -> Option<ContentsLine>,
) -> Result<Plan, Reason> {
    let planned: BTreeMap<ObjectPath, Box<Change>> =
        std::mem::take(&mut plan.changes).into_iter().map(|change| (change.path.clone(), change)).collect();
    for change in planned.values() {
        let refuse = |problem| Reason::Object {
            package: change.package.clone(),
            path: now.show(&change.path).to_string(),
            problem,
        };
        let live = now.live.get(&change.path);
        let action = action(change, live, now, &planned).map_err(refuse)?;
        let Some(mut action) = action else { continue };
        let line = line(&change.path).or_else(|| now.lines.get(&change.path).cloned());
        number(&mut action, line.as_ref(), &now.accounts).map_err(refuse)?;
        let (package, path) = (change.package.clone(), change.path.clone());
        plan.changes.push(Box::new(Change { package, path, action, old: live.cloned().map(Box::new) }));
    }
    Ok(plan)
}

/// Numbers accounts that did not exist at planning.
pub fn number_object(
    new: &mut NewObject,
    line: Option<&ContentsLine>,
    accounts: &Accounts,
) -> Result<(), ObjectProblem> {
    new.uid = user(new.uid, line, accounts)?;
    new.gid = group(new.gid, line, accounts)?;
    Ok(())
}

fn user(uid: u32, line: Option<&ContentsLine>, accounts: &Accounts) -> Result<u32, ObjectProblem> {
    if uid != UNKNOWN {
        return Ok(uid);
    }
    let name = line.and_then(|line| line.object.attributes.owner.as_deref()).unwrap_or_default();
    accounts.uid(name).ok_or_else(|| ObjectProblem::UnknownUser(name.to_owned()))
}

fn group(gid: u32, line: Option<&ContentsLine>, accounts: &Accounts) -> Result<u32, ObjectProblem> {
    if gid != UNKNOWN {
        return Ok(gid);
    }
    let name = line.and_then(|line| line.object.attributes.group.as_deref()).unwrap_or_default();
    accounts.gid(name).ok_or_else(|| ObjectProblem::UnknownGroup(name.to_owned()))
}

fn number(
    action: &mut Action,
    line: Option<&ContentsLine>,
    accounts: &Accounts,
) -> Result<(), ObjectProblem> {
    match action {
        Action::Add(new) | Action::Replace(new) => number_object(new, line, accounts),
        Action::Attributes(attributes) => {
            attributes.uid = attributes.uid.map(|uid| user(uid, line, accounts)).transpose()?;
            attributes.gid = attributes.gid.map(|gid| group(gid, line, accounts)).transpose()?;
            Ok(())
        }
        Action::Delete | Action::RemoveDirectory => Ok(()),
    }
}

fn action(
    change: &Change,
    live: Option<&Live>,
    now: &Inventory,
    planned: &BTreeMap<ObjectPath, Box<Change>>,
) -> Result<Option<Action>, ObjectProblem> {
    let is_directory = live.is_some_and(Live::is_directory);
    if let Some(obstacle) = live.filter(|_| !is_directory).and_then(|live| live.obstacle) {
        return Err(ObjectProblem::Obstacle { at: now.show(&change.path), obstacle });
    }
    Ok(match &change.action {
        Action::Add(new) | Action::Replace(new) => match (&new.body, live) {
            (Body::CopyOf(path), _) if !now.live.contains_key(path) => None,
            (_, None) => Some(Action::Add(new.clone())),
            (Body::Directory, Some(there)) if is_directory => {
                let attributes = AttributeChange {
                    mode: Some(new.mode),
                    uid: now.privileged.then_some(new.uid),
                    gid: now.privileged.then_some(new.gid),
                    xattrs: given::with_given(there, &new.xattrs),
                    mtime: None,
                };
                attributes.lacking(there).map(Action::Attributes)
            }
            (Body::Link(file), Some(there)) if !planned.contains_key(file) => {
                let is_name = now.live.get(file).is_some_and(|file| file.inode == there.inode);
                (!is_name).then(|| Action::Replace(new.clone()))
            }
            (_, Some(_)) => Some(Action::Replace(new.clone())),
        },
        Action::Attributes(attributes) => {
            let old = change.old.as_deref();
            match live {
                Some(there) if is_alike(there, old) => {
                    attributes.clone().lacking(there).map(Action::Attributes)
                }
                Some(_) if old.is_none_or(Live::is_directory) => {
                    return Err(ObjectProblem::NotADirectory(now.show(&change.path)));
                }
                Some(_) => remade(attributes, old).map(Action::Replace),
                None => remade(attributes, old).map(Action::Add),
            }
        }
        Action::Delete | Action::RemoveDirectory => {
            live.map(|_| if is_directory { Action::RemoveDirectory } else { Action::Delete })
        }
    })
}

fn is_alike(there: &Live, old: Option<&Live>) -> bool {
    let expected = old.map_or(&LiveKind::Directory, |old| &old.kind);
    std::mem::discriminant(expected) == std::mem::discriminant(&there.kind)
}

/// `None` for files and sockets: their content is lost.
fn remade(attributes: &AttributeChange, old: Option<&Live>) -> Option<NewObject> {
    let body = match old.map(|old| &old.kind) {
        None | Some(LiveKind::Directory) => Body::Directory,
        Some(LiveKind::Symlink(target)) => Body::Symlink(target.clone()),
        Some(LiveKind::Pipe) => Body::Pipe,
        Some(&LiveKind::Device { block, major, minor }) => Body::Device { block, major, minor },
        Some(LiveKind::Regular { .. } | LiveKind::Socket) => return None,
    };
    let mtime = attributes.mtime.or(old.map(|old| old.mtime)).filter(|_| !matches!(body, Body::Directory));
    let usual = patchadm_svr4::package::Mode::of(0o755);
    Some(NewObject {
        body,
        mode: attributes.mode.or(old.map(|old| old.mode)).unwrap_or(usual),
        uid: attributes.uid.or(old.map(|old| old.uid)).unwrap_or_default(),
        gid: attributes.gid.or(old.map(|old| old.gid)).unwrap_or_default(),
        mtime,
        xattrs: match &attributes.xattrs {
            Some(xattrs) => NewXattrs::Exact(xattrs.clone()),
            None => NewXattrs::Inherited,
        },
    })
}
