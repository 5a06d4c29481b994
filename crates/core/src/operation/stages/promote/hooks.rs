//! The hooks of a promotion, and the plan after the first of them has run.

use std::cell::RefCell;

use super::made_plan::{MadePlan, make_plan};
use super::request::PromoteRequest;
use super::sides::PromotedTree;
use crate::operation::failure::Failure;
use crate::operation::promotion_hooks::{HookDirection, HookRun, HookSubject};
use crate::operation::session::Session;
use crate::operation::stages::error::StageError;

/// Runs the hook that comes before a planned promotion, and makes the plan again, because the hook may have changed it.
/// Returns the hooks for the rest of the run, or why there are none.
pub(super) fn run_before<'a>(
    session: &'a Session<'a>,
    tree: &PromotedTree,
    request: &'a PromoteRequest,
    made: &mut MadePlan,
) -> Result<Result<Option<RefCell<HookRun<'a>>>, Failure>, StageError> {
    let subject = HookSubject { id: made.id.clone(), stage: tree.name.clone() };
    let opened = HookRun::open(session, &request.scripts, &made.hooks, (HookDirection::Promote, &[subject]));
    let hooks = match opened {
        Ok(Some(hooks)) => hooks,
        other => return Ok(other),
    };
    let ran = hooks.borrow_mut().before();
    match ran {
        Ok(false) => {}
        Ok(true) => {
            tree.keep_cache(made.cache().as_deref());
            let fingerprint = made.fingerprint.take();
            *made = make_plan(&session.ground, tree, request, session.caller)?;
            (made.hook_ends, made.fingerprint) = (hooks.borrow().ends(), fingerprint);
        }
        Err(failure) => {
            made.hook_ends = hooks.borrow().ends();
            return Ok(Err(failure));
        }
    }
    Ok(Ok(Some(hooks)))
}
