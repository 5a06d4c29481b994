//! The plan file of a promotion: the findings on both sides, and the changes that it will make.

use std::collections::{BTreeMap, HashMap};

use super::made_plan::MadePlan;
use super::request::PromoteRequest;
use super::sides::PromotedTree;
use crate::operation::failure::Failure;
use crate::operation::patches::apply::plan_parts::{
    found, planned_change, planned_libraries, planned_records,
};
use crate::operation::plan_file::{PlanFault, save_plan};
use crate::operation::session::RootAndPolicy;
use crate::operation::stages::tree::{Tree, TreeObject};
use patchadm_changeset::format::manifest::encode;
use patchadm_inputs::database::{last_run, marker};
use patchadm_inputs::format::plan_differences::PlanDifferences;
use patchadm_inputs::format::plan_file::{MOST_STATES, PromotionStates, STATE_DIGITS};
use patchadm_inputs::format::plan_file::{PLANNED, PlanFile, PlannedPatch, PlannedScriptRun};
use patchadm_rootfs::{Digest, Digesting, FileType, Timestamp};
use patchadm_svr4::package::ObjectPath;

/// Refuses a plan that differs from the file it must match, and saves the plan if that was requested. A refused plan is not
/// saved.
pub(super) fn settle_plan_file(
    ground: &RootAndPolicy,
    tree: &PromotedTree,
    request: &PromoteRequest,
    made: &mut MadePlan,
) {
    let asked = &request.plan_file;
    if !asked.is_made() {
        return;
    }
    let settled = plan_file(ground, tree, request, made).and_then(|plan| {
        made.fingerprint = plan.promotion.as_ref().map(|states| states.fingerprint.clone());
        if let Some(expected) = &asked.expected
            && let Some(differences) = PlanDifferences::between(&expected.plan, &plan)
        {
            return Err(PlanFault::Differs { path: expected.path.clone(), differences }.into());
        }
        match asked.save.as_ref().filter(|_| made.plan.is_ok()) {
            Some(path) => Ok(save_plan(path, &plan)?),
            None => Ok(()),
        }
    });
    if let Err(failure) = settled {
        made.plan = Err(failure);
    }
}

/// Returns the plan in the form of a file.
fn plan_file(
    ground: &RootAndPolicy,
    tree: &PromotedTree,
    request: &PromoteRequest,
    made: &MadePlan,
) -> Result<PlanFile, Failure> {
    let asked = &request.plan_file;
    let mut file = PlanFile::new(asked.command.to_owned(), asked.options.clone());
    file.root = marker(&ground.root)?;
    file.applied = made.applied.iter().map(ToString::to_string).collect();
    file.promotion = Some(states(made, last_run(&ground.root)?));
    file.libraries = planned_libraries(made.id.as_str(), made.libraries.as_ref());
    let Ok(Some(plan)) = &made.plan else { return Ok(file) };
    let source = tree.root.prefix().display().to_string();
    file.patches = plan.patches.iter().map(|id| of_promotion(id, &source)).collect();
    let id = made.id.to_string();
    file.changes = plan.changes.iter().map(|change| planned_change(&id, change)).collect();
    file.records = plan.records.iter().flat_map(planned_records).collect();
    let hooks = made.hooks.named();
    let of_hook =
        |(key, _): (&str, _)| PlannedScriptRun { patch: id.clone(), package: None, name: key.to_owned() };
    file.scripts = hooks.map(of_hook).collect();
    let expected = asked.expected.as_ref().map(|expected| &expected.plan);
    file.found = found(&ground.root, &[plan], expected)?;
    Ok(file)
}

fn of_promotion(id: &str, source: &str) -> PlannedPatch {
    PlannedPatch {
        id: id.to_owned(),
        source: Some(source.to_owned()),
        sha256: None,
        verdict: PLANNED.to_owned(),
        reason: String::new(),
    }
}

/// Returns the states of both trees, the base and the root.
fn states(made: &MadePlan, run: u64) -> PromotionStates {
    let mut digesting = Digesting::default();
    if let Some(force) = &made.base {
        digesting.update(format!("base {} {}\n", force.name, force.base.digest()).as_bytes());
    }
    digesting.update(format!("run {run}\n").as_bytes());
    let are_few = made.stage.objects.len() + made.live.objects.len() <= MOST_STATES;
    let mut side = |name: &str, tree: &Tree| {
        let (mut states, firsts) = (BTreeMap::new(), first_names(tree));
        for object in &tree.objects {
            let (path, digest) = (encode(object.path.as_bytes()), state_digest(object, &firsts).to_string());
            digesting.update(format!("{name} {path} {digest}\n").as_bytes());
            if are_few {
                states.insert(path, digest.chars().take(STATE_DIGITS).collect());
            }
        }
        states
    };
    let (staged, live) = (side("stage", &made.stage), side("live", &made.live));
    PromotionStates {
        fingerprint: format!("b3:{}", digesting.finish()),
        stage: made.stage_id.clone(),
        base: made.base.as_ref().map(|force| force.name.clone()),
        run,
        staged,
        live,
    }
}

/// Returns the first name of each file that has several.
fn first_names(tree: &Tree) -> HashMap<u32, &ObjectPath> {
    let mut firsts = HashMap::new();
    for TreeObject { path, group, .. } in &tree.objects {
        if let Some(group) = group {
            firsts.entry(*group).or_insert(path);
        }
    }
    firsts
}

/// Returns the digest of everything that a promotion compares of an object: its names count, not the numbers of groups, and
/// a directory has no time.
fn state_digest(object: &TreeObject, firsts: &HashMap<u32, &ObjectPath>) -> Digest {
    let mut state = object.state();
    let first = state.group.take().and_then(|group| firsts.get(&group));
    if state.kind == FileType::Directory {
        state.mtime = Timestamp::whole(0);
    }
    // These are strings, numbers and a map with string keys: serialising them cannot fail.
    let mut text = serde_json::to_vec(&state).unwrap_or_default();
    text.extend(first.into_iter().flat_map(|first| first.as_bytes().iter().copied()));
    Digest::of(&text)
}
