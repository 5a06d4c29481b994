//! The hooks that run around the backout of promotions.

use std::cell::RefCell;

use super::input::BackOutInput;
use crate::operation::failure::Failure;
use crate::operation::promotion_hooks::{HookDirection, HookFiles, HookRun, HookSubject};
use crate::operation::promotion_records::{PromotionRecordFault, read_promotion};
use crate::operation::scripts::ScriptSettings;
use crate::operation::session::Session;
use patchadm_inputs::database::RecordView;
use patchadm_planning::plan::refusal::HookReason;
use patchadm_svr4::patch::PatchId;

/// The hooks of patches that go, of which some are promotions.
#[derive(Debug, Default)]
pub(super) struct BackoutHooks {
    subjects: Vec<HookSubject>,
    files: HookFiles,
}

impl BackoutHooks {
    /// Finds them. Refused where a promotion goes, and a hook may or can not be run.
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

    /// What a plan says of them.
    pub(super) fn notes(&self) -> impl Iterator<Item = String> {
        let named = self.files.named().filter(|_| !self.subjects.is_empty());
        named.map(|(key, path)| format!("the hook {key} runs: {path}"))
    }

    /// Gets ready to run them; `None` where there is none.
    pub(super) fn open<'a>(
        &self,
        session: &'a Session<'a>,
        settings: &'a ScriptSettings,
    ) -> Result<Option<RefCell<HookRun<'a>>>, Failure> {
        HookRun::open(session, settings, &self.files, (HookDirection::BackOut, &self.subjects))
    }
}

/// What a hook is told of a patch; `None` where it is no promotion.
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
