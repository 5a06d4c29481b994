//! The scripts of a patch itself that were copied to the database when it was applied.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::input::BackOutInput;
use crate::operation::failure::Failure;
use crate::operation::patches::scripts::hooks::HookDirectory;
use crate::operation::patches::scripts::kept;
use crate::operation::session::RootAndPolicy;
use patchadm_inputs::policy::ScriptPolicy;
use patchadm_planning::plan::patch::engine::BACKING_OUT;
use patchadm_svr4::patch::PatchId;
use patchadm_svr4::places;

/// The directory of a patch in the database, as the host has it.
pub(super) fn hook_directory(ground: &RootAndPolicy, id: &PatchId) -> HookDirectory {
    let path = places::patches().join(id.as_str().as_bytes()).unwrap_or_else(|_| places::patches());
    HookDirectory::at(PathBuf::from(ground.root.show(&path)))
}

/// The names of the files in the directory of a patch, and what is to be said of the scripts among them. Refuses scripts
/// that may not run, where the policy lets any.
pub(super) fn kept_hooks(
    input: &BackOutInput<'_>,
    id: &PatchId,
) -> Result<(BTreeSet<String>, Vec<String>), Failure> {
    let Ok(path) = places::patches().join(id.as_str().as_bytes()) else { return Ok(Default::default()) };
    let names = input.ground.root.list(&path)?.unwrap_or_default();
    let hooks: BTreeSet<String> = names.into_iter().filter_map(|name| String::from_utf8(name).ok()).collect();
    let mut notes = Vec::new();
    if input.choice.policy == ScriptPolicy::Run {
        for name in BACKING_OUT.into_iter().filter(|name| hooks.contains(*name)) {
            notes.extend(kept::may_run(input.ground, id, name)?);
        }
    }
    Ok((hooks, notes))
}
