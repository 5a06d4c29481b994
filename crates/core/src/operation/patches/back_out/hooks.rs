//! A patch's own scripts, copied to the database by its application.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;

use super::input::BackOutInput;
use crate::operation::failure::Failure;
use crate::operation::patches::scripts::hooks::{HookDirectory, may_run};
use crate::operation::promotion_hooks::{HookDirection, HookFiles, HookRun, HookSubject};
use crate::operation::promotion_records::{PromotionRecordFault, read_promotion};
use crate::operation::scripts::ScriptSettings;
use crate::operation::session::{RootAndPolicy, Session};
use patchadm_inputs::database::RecordView;
use patchadm_inputs::policy::ScriptPolicy;
use patchadm_planning::plan::patch::engine::BACKING_OUT;
use patchadm_planning::plan::refusal::HookReason;
use patchadm_svr4::patch::PatchId;
use patchadm_svr4::places;

pub(super) fn hook_directory(ground: &RootAndPolicy, id: &PatchId) -> HookDirectory {
    let path = places::patches().join(id.as_str().as_bytes()).unwrap_or_else(|_| places::patches());
    HookDirectory::at(PathBuf::from(ground.root.show(&path)))
}

/// Returns file names in a patch's directory, and notes on scripts. Refuses scripts that may not run, if the policy
/// allows any.
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
            notes.extend(may_run(input.ground, id, name)?);
        }
    }
    Ok((hooks, notes))
}

#[derive(Debug, Default)]
pub(super) struct BackoutHooks {
    subjects: Vec<HookSubject>,
    files: HookFiles,
}

impl BackoutHooks {
    /// Refuses the backout of a promotion if a hook may not or cannot run.
    pub(super) fn of(input: &BackOutInput<'_>, ids: &[PatchId]) -> Result<Self, Failure> {
        let policy = &input.ground.policy;
        let has_none = policy.promote_before.is_none() && policy.promote_after.is_none();
        if has_none || input.without_scripts {
            return Ok(Self::default());
        }
        let subjects = ids.iter().filter_map(|id| subject(input, id).transpose());
        let subjects = subjects.collect::<Result<Vec<_>, _>>()?;
        let Some(first) = subjects.first() else { return Ok(Self::default()) };
        let files = HookFiles::of(input.ground, input.choice.policy, HookDirection::BackOut);
        let files = files.map_err(|reason| HookDirection::BackOut.refuse(reason, &first.id))?;
        Ok(Self { subjects, files })
    }

    pub(super) fn notes(&self) -> impl Iterator<Item = String> {
        let named = self.files.named().filter(|_| !self.subjects.is_empty());
        named.map(|(key, path)| format!("the hook {key} runs: {path}"))
    }

    pub(super) fn open<'a>(
        &self,
        session: &'a Session<'a>,
        settings: &'a ScriptSettings,
    ) -> Result<Option<RefCell<HookRun<'a>>>, Failure> {
        HookRun::open(session, settings, &self.files, (HookDirection::BackOut, &self.subjects))
    }
}

fn subject(input: &BackOutInput<'_>, id: &PatchId) -> Result<Option<HookSubject>, Failure> {
    let view = RecordView::live(&input.ground.root);
    let record = read_promotion(&view, id).map_err(|fault| match fault {
        PromotionRecordFault::View(error) => error.into(),
        PromotionRecordFault::Damaged { path, error } => {
            HookDirection::BackOut.refuse(HookReason::Record { path, why: error.to_string() }, id)
        }
    })?;
    Ok(record.map(|record| HookSubject { id: record.id, stage: record.name }))
}
