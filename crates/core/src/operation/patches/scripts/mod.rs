//! Patches with scripts: hooks, questions, and packages, all in one run.
//!
//! ```text
//!   plan ─► prepatch ─► checkinstall of each package ─► plan again ─► run begins
//!        ─► package by package: its course ─► records of the patch ─► postpatch ─► commit
//! ```
//! A backout is the same with prebackout and postbackout. A failure before the commit restores all files of the
//! packages; other effects of prepatch stay.

pub(in crate::operation) mod hooks;
pub(super) mod run;

use std::collections::HashMap;

use crate::operation::failure::Failure;
use crate::operation::scripts::runner::base_of;
use crate::operation::scripts::safety::{check_above, check_places};
use crate::operation::scripts::{ScriptSettings, system_scripts};
use crate::operation::session::RootAndPolicy;
use patchadm_inputs::policy::ScriptPolicy;
use patchadm_planning::plan::patch::beyond_scripts::{
    DeletedBelowLink, below_turning_links, check_scripts_can, deleted_below_links, is_by_choice,
    keeps_undo_data,
};
use patchadm_planning::plan::patch::engine::{Engine, ScriptChoice};
use patchadm_planning::plan::patch::patch_plan::PatchPlan;
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_planning::plan::{Action, Change};
use patchadm_svr4::package::ObjectPath;

pub(super) use hooks::must_be_executable;

#[derive(Clone, Debug, Default)]
pub struct PatchScriptRequest {
    pub settings: ScriptSettings,
    /// Who does the work of patch scripts: the program or the scripts.
    pub engine: Engine,
    /// Forbids scripts, whatever the policy says.
    pub none: bool,
}

impl PatchScriptRequest {
    pub(crate) fn choice(&self, ground: &RootAndPolicy) -> Result<ScriptChoice, Failure> {
        let policy = match ground.policy.scripts {
            ScriptPolicy::Run | ScriptPolicy::Known if self.none => ScriptPolicy::Unwanted,
            policy => policy,
        };
        Ok(ScriptChoice { engine: self.engine, policy, system: system_scripts(ground)? })
    }
}

/// Refuses scripts if others could move the root, if the host resolves their places differently, or if they cannot do
/// their part of a change.
pub(super) fn must_be_safe(
    ground: &RootAndPolicy,
    command: Command,
    id: &str,
    patch_plan: &PatchPlan,
) -> Result<(), Failure> {
    if patch_plan.has_scripts() {
        check_above(&ground.root).map_err(|reason| reason.of(command, &id))?;
    }
    let parts = patch_plan.parts.iter().filter(|_| patch_plan.has_scripts());
    for part in parts {
        check_places(ground, &part.package, base_of(&part.params).as_ref())
            .map_err(|reason| reason.of(command, &id))?;
    }
    check_scripts_can(patch_plan, command, |path| ground.root.show(path))
        .map_err(|reason| reason.of(command, &id))?;
    if keeps_undo_data(patch_plan, command) {
        must_not_look_through_links(ground, id, patch_plan)?;
    }
    must_not_delete_through_links(ground, (command, id), patch_plan)
}

/// Refuses scripts that would save a link's target as if it lay in the replacing directory: the undo package would have
/// objects below a link.
fn must_not_look_through_links(
    ground: &RootAndPolicy,
    id: &str,
    patch_plan: &PatchPlan,
) -> Result<(), Failure> {
    let resolver = ground.root.resolver();
    for (path, link) in below_turning_links(patch_plan) {
        let Some(above) = path.parent() else { continue };
        let Some((behind, _)) = resolver.directory_behind(&above)? else { continue };
        if ground.root.dir(&behind)?.look(path.name())?.is_some() {
            let (path, link) = (ground.root.show(path), ground.root.show(link));
            let what = format!(
                "{link} becomes a directory, and the scripts of the patch would save {path} although it is behind that link"
            );
            let reason = Reason::BeyondScripts { what, by_choice: is_by_choice(patch_plan) };
            return Err(reason.of(Command::Patchadd, &id).into());
        }
    }
    Ok(())
}

/// Refuses scripts that would delete behind a new link by names of the replaced directory: they delete when the link
/// exists.
fn must_not_delete_through_links(
    ground: &RootAndPolicy,
    (command, id): (Command, &str),
    patch_plan: &PatchPlan,
) -> Result<(), Failure> {
    let deleted = deleted_below_links(patch_plan);
    if deleted.is_empty() {
        return Ok(());
    }
    let changes = changes_by_place(ground, patch_plan)?;
    for deleted in deleted {
        if let Some(victim) = behind(ground, &deleted, &changes)? {
            let (path, link, victim) =
                (ground.root.show(deleted.path), ground.root.show(deleted.link), ground.root.show(&victim));
            let what = format!(
                "{link} becomes a symbolic link, and the scripts of the patch would delete {victim} behind it for {path}"
            );
            let reason = Reason::BeyondScripts { what, by_choice: is_by_choice(patch_plan) };
            return Err(reason.of(command, &id).into());
        }
    }
    Ok(())
}

fn changes_by_place<'p>(
    ground: &RootAndPolicy,
    patch_plan: &'p PatchPlan,
) -> Result<HashMap<ObjectPath, &'p Change>, Failure> {
    let resolver = ground.root.resolver();
    let changes = patch_plan.plan.changes.iter().map(Box::as_ref);
    changes.map(|change| Ok((resolver.locate_object(&change.path)?, change))).collect()
}

/// Excludes objects that are removed anyway.
fn behind(
    ground: &RootAndPolicy,
    deleted: &DeletedBelowLink<'_>,
    changes: &HashMap<ObjectPath, &Change>,
) -> Result<Option<ObjectPath>, Failure> {
    let resolver = ground.root.resolver();
    let Some(lead) = resolver.lead_of(deleted.link, deleted.target)? else { return Ok(None) };
    let rest = deleted.path.as_bytes().get(deleted.link.as_bytes().len() + 1..).unwrap_or_default();
    let Ok(place) = lead.join(rest) else { return Ok(None) };
    let place = resolver.locate_object(&place)?;
    if place.is_below(deleted.link) {
        return Ok(None);
    }
    let stays = match changes.get(&place).map(|change| &change.action) {
        Some(Action::Delete | Action::RemoveDirectory) => false,
        Some(Action::Add(_) | Action::Replace(_)) => true,
        Some(Action::Attributes(_)) | None => {
            let dir = ground.root.dir_of_object(&place.parent().unwrap_or_else(ObjectPath::root))?;
            dir.map(|dir| dir.look(place.name())).transpose()?.flatten().is_some()
        }
    };
    Ok(stays.then_some(place))
}
