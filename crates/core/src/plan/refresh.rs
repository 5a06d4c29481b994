//! Bringing planned changes up to date after a script has run: the root is no longer the one they were planned for.
//!
//! What is to be in the end stays the same; only the way there changes. A change that a script has made superfluous is
//! dropped. Accounts that a script was to make have to be there now.

use std::collections::BTreeMap;

use crate::inventory::Inventory;
use patchadm_rootfs::Live;
use patchadm_svr4::package::{Accounts, ContentsLine, ObjectPath};

use super::given;
use super::plan_builder::UNKNOWN;
use super::refusal::{ObjectProblem, Reason};
use super::{Action, AttributeChange, Body, Change, NewObject, NewXattrs, Plan};

/// The plan with changes that fit the root as it is now. `now` is a survey of the paths of the plan and of the files
/// that its hard links name; `line` gives the final line of a path, from which owners are taken that had no number.
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

/// Gives an object the numbers of accounts that had none when it was planned.
pub fn number_object(
    new: &mut NewObject,
    line: Option<&ContentsLine>,
    accounts: &Accounts,
) -> Result<(), ObjectProblem> {
    let attributes = line.map(|line| &line.object.attributes);
    if new.uid == UNKNOWN {
        let name = attributes.and_then(|known| known.owner.as_deref()).unwrap_or_default();
        new.uid = accounts.uid(name).ok_or_else(|| ObjectProblem::UnknownUser(name.to_owned()))?;
    }
    if new.gid == UNKNOWN {
        let name = attributes.and_then(|known| known.group.as_deref()).unwrap_or_default();
        new.gid = accounts.gid(name).ok_or_else(|| ObjectProblem::UnknownGroup(name.to_owned()))?;
    }
    Ok(())
}

fn number(
    action: &mut Action,
    line: Option<&ContentsLine>,
    accounts: &Accounts,
) -> Result<(), ObjectProblem> {
    match action {
        Action::Add(new) | Action::Replace(new) => number_object(new, line, accounts),
        Action::Attributes(attributes) => {
            let mut new = directory(attributes, None);
            number_object(&mut new, line, accounts)?;
            attributes.uid = attributes.uid.map(|_| new.uid);
            attributes.gid = attributes.gid.map(|_| new.gid);
            Ok(())
        }
        Action::Delete | Action::RemoveDirectory => Ok(()),
    }
}

/// What is to be done now; none where nothing is.
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
        Action::Attributes(attributes) => match live {
            Some(there) if is_directory => attributes.clone().lacking(there).map(Action::Attributes),
            Some(_) => return Err(ObjectProblem::NotADirectory(now.show(&change.path))),
            None => Some(Action::Add(directory(attributes, change.old.as_deref()))),
        },
        Action::Delete | Action::RemoveDirectory => {
            live.map(|_| if is_directory { Action::RemoveDirectory } else { Action::Delete })
        }
    })
}

/// A directory that has gone, with the attributes that it was to get.
fn directory(attributes: &AttributeChange, old: Option<&Live>) -> NewObject {
    let usual = patchadm_svr4::package::Mode::of(0o755);
    NewObject {
        body: Body::Directory,
        mode: attributes.mode.or(old.map(|old| old.mode)).unwrap_or(usual),
        uid: attributes.uid.or(old.map(|old| old.uid)).unwrap_or_default(),
        gid: attributes.gid.or(old.map(|old| old.gid)).unwrap_or_default(),
        mtime: None,
        xattrs: match &attributes.xattrs {
            Some(xattrs) => NewXattrs::Exact(xattrs.clone()),
            None => NewXattrs::Inherited,
        },
    }
}
