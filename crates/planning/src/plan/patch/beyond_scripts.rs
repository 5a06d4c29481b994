//! Changes that scripts of a patch cannot make: names that their lists cannot hold (one file per line, a blank between
//! its two paths; output of `ls`), and changes of type.

use std::collections::BTreeSet;

use super::engine::{Bookkeeping, ScriptReason};
use super::patch_plan::{PackagePlan, PatchPlan};
use crate::plan::plan_builder::turns;
use crate::plan::refusal::{Command, Reason};
use crate::plan::{Action, Body, Change, NewObject};
use patchadm_rootfs::LiveKind;
use patchadm_svr4::package::ObjectPath;

/// Refuses a patch if the scripts that run cannot do their part. `shown` is a path with the prefix of the root.
pub fn check_scripts_can(
    scripted: &PatchPlan,
    command: Command,
    shown: impl Fn(&ObjectPath) -> String,
) -> Result<(), Reason> {
    let saves = keeps_undo_data(scripted, command);
    for part in scripted.parts.iter().filter(|part| part.chosen.has_scripts()) {
        let saves = saves && part.chosen.bookkeeping == Bookkeeping::Scripts;
        let by_scripts = by_class_scripts(part);
        for change in scripted.plan.changes.iter().filter(|change| change.package == part.package) {
            let is_listed = by_scripts.contains(&change.path) && is_delivered(change);
            if let Some(why) = obstacle(change, is_listed, saves) {
                let path = shown(&change.path);
                let (what, by_choice) = (format!("{path} {why}"), is_by_choice(scripted));
                return Err(Reason::BeyondScripts { what, by_choice });
            }
        }
    }
    Ok(())
}

/// Returns the objects of packages whose scripts build an undo package that are below a symbolic link which becomes a
/// directory, each with the link.
pub fn below_turning_links(scripted: &PatchPlan) -> Vec<(&ObjectPath, &ObjectPath)> {
    let becomes_directory = |change: &&Change| {
        let is_link = change.old.as_ref().is_some_and(|old| matches!(old.kind, LiveKind::Symlink(_)));
        let new = match &change.action {
            Action::Add(new) | Action::Replace(new) => Some(&new.body),
            _ => None,
        };
        is_link && matches!(new, Some(Body::Directory))
    };
    let links = scripted.plan.changes.iter().map(Box::as_ref).filter(becomes_directory);
    let links: Vec<&ObjectPath> = links.map(|change| &change.path).collect();
    let by_scripts = scripted
        .parts
        .iter()
        .filter(|part| part.chosen.bookkeeping == Bookkeeping::Scripts && !links.is_empty());
    let objects = by_scripts.flat_map(|part| part.mapped.iter().map(|one| &one.path).chain(&part.deletes));
    let below = objects.flat_map(|path| {
        let above = links.iter().filter(|link| path.is_below(link));
        above.map(move |link| (path, *link))
    });
    below.collect()
}

/// An object that scripts delete below a directory which becomes a symbolic link.
#[derive(Debug)]
pub struct DeletedBelowLink<'a> {
    pub path: &'a ObjectPath,
    /// The directory.
    pub link: &'a ObjectPath,
    /// The target of the link.
    pub target: &'a [u8],
}

pub fn deleted_below_links(scripted: &PatchPlan) -> Vec<DeletedBelowLink<'_>> {
    let links: Vec<(&ObjectPath, &[u8])> =
        scripted.plan.changes.iter().filter_map(|change| turned_into_link(change)).collect();
    let by_scripts = scripted.parts.iter().filter(|part| part.chosen.bookkeeping == Bookkeeping::Scripts);
    let mut deleted = Vec::new();
    for path in by_scripts.flat_map(|part| &part.deletes) {
        let above = links.iter().filter(|(link, _)| path.is_below(link));
        deleted.extend(above.map(|(link, target)| DeletedBelowLink { path, link, target }));
    }
    deleted
}

fn turned_into_link(change: &Change) -> Option<(&ObjectPath, &[u8])> {
    match &change.action {
        Action::Replace(NewObject { body: Body::Symlink(target), .. }) if turns(change) => {
            Some((&change.path, target))
        }
        _ => None,
    }
}

/// Returns true if scripts may save the earlier state: the patch is applied for the first time and can be backed out.
pub fn keeps_undo_data(scripted: &PatchPlan, command: Command) -> bool {
    command == Command::Patchadd && !scripted.no_undo && !scripted.again
}

/// Returns true if scripts run only at the request of the user.
pub fn is_by_choice(scripted: &PatchPlan) -> bool {
    let mut planned = scripted.parts.iter().flat_map(|part| &part.chosen.planned);
    planned.all(|script| script.why == ScriptReason::Forced)
}

fn by_class_scripts(part: &PackagePlan) -> BTreeSet<&ObjectPath> {
    let is_scripted = |class: &str| part.chosen.scripts.classes.contains_key(class);
    let files = part.mapped.iter().filter(|one| is_scripted(one.class.as_str()));
    files.map(|one| &one.path).collect()
}

fn is_delivered(change: &Change) -> bool {
    matches!(&change.action, Action::Add(new) | Action::Replace(new) if matches!(new.body, Body::Member(_)))
}

/// `is_listed`: a class action script installs the object. `saves`: scripts build the undo package.
fn obstacle(change: &Change, is_listed: bool, saves: bool) -> Option<&'static str> {
    let old = change.old.as_ref().map(|old| &old.kind);
    let has = |wanted: fn(u8) -> bool| change.path.as_bytes().iter().any(|byte| wanted(*byte));
    if is_listed {
        if has(|byte| byte.is_ascii_whitespace()) {
            return Some(
                "has white space in its name, which the list of files that a class action script reads cannot express",
            );
        }
        if matches!(old, Some(LiveKind::Directory)) {
            return Some("is a directory, which a class action script cannot replace with a file");
        }
    }
    if saves && matches!(old, Some(LiveKind::Symlink(_))) && has(|byte| byte == b'\n') {
        return Some(
            "is a symbolic link with a line feed in its name, which the scripts of the patch cannot save",
        );
    }
    None
}
