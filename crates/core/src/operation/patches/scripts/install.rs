//! The settings for installing the packages of a patch whose scripts maintain the records: as pkgadd(1M) would.

use super::request::PatchScriptRequest;
use crate::operation::packages::planning::{AddInput, AddRequest};
use crate::operation::session::Session;
use patchadm_inputs::policy::ScriptPolicy;
use patchadm_planning::plan::package::install::OfPatch;
use patchadm_planning::plan::patch::engine::ScriptChoice;
use patchadm_svr4::format::admin::{Admin, CheckAnswer, ConflictAnswer, InstanceAnswer, RequestUser};

/// Returns the answers that the classic patchadd(1M) gives in advance: an instance of the same version is updated, no
/// question is asked.
fn admin() -> Admin {
    Admin {
        instance: InstanceAnswer::Unique,
        partial: CheckAnswer::NoCheck,
        runlevel: CheckAnswer::NoCheck,
        idepend: CheckAnswer::NoCheck,
        rdepend: CheckAnswer::NoCheck,
        space: CheckAnswer::Quit,
        setuid: ConflictAnswer::NoCheck,
        conflict: ConflictAnswer::NoCheck,
        action: CheckAnswer::NoCheck,
        request_user: RequestUser::Root,
        ..Admin::delivered()
    }
}

/// The options for installing packages of a patch whose scripts maintain the records.
pub(crate) struct PatchInstall {
    admin: Admin,
    request: AddRequest,
    choice: ScriptChoice,
    patch: OfPatch,
}

impl PatchInstall {
    pub(crate) fn new(request: &PatchScriptRequest, choice: ScriptChoice, patch: OfPatch) -> Self {
        let request = AddRequest { scripts: request.settings.clone(), silent: true, ..AddRequest::default() };
        Self { admin: admin(), request, choice, patch }
    }

    /// Returns the input of the packages. The permission to run scripts has been checked before.
    pub(crate) fn input<'a>(&'a self, session: &'a Session<'a>) -> AddInput<'a> {
        AddInput {
            is_locked: true,
            ground: &session.ground,
            admin: &self.admin,
            system: &self.choice.system,
            policy: ScriptPolicy::Run,
            request: &self.request,
            caller: session.caller,
            patch: Some(&self.patch),
            mended: &[],
        }
    }
}
