//! With what the packages of a patch are installed where their scripts keep the records: as pkgadd(1M) would.

use super::request::PatchScriptRequest;
use crate::format::admin::{Admin, Alteration, Check, Instance, RequestUser};
use crate::operation::packages::add::input::{AddInput, AddRequest};
use crate::operation::session::Session;
use crate::package::ScriptPolicy;
use crate::plan::engine::ScriptChoice;
use crate::plan::install::OfPatch;

/// What the classic patchadd(1M) answers in advance: an instance of the same version is updated, nothing is asked.
fn admin() -> Admin {
    Admin {
        instance: Instance::Unique,
        partial: Check::NoCheck,
        runlevel: Check::NoCheck,
        idepend: Check::NoCheck,
        rdepend: Check::NoCheck,
        space: Check::Quit,
        setuid: Alteration::NoCheck,
        conflict: Alteration::NoCheck,
        action: Check::NoCheck,
        request_user: RequestUser::Root,
        ..Admin::delivered()
    }
}

/// What packages of a patch are installed with where their scripts keep the records: as pkgadd(1M) would.
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

    /// The input of the packages. Which scripts may run has been asked before.
    pub(crate) fn input<'a>(&'a self, session: &'a Session<'a>) -> AddInput<'a> {
        AddInput {
            ground: &session.ground,
            admin: &self.admin,
            system: &self.choice.system,
            policy: ScriptPolicy::Run,
            request: &self.request,
            caller: session.caller,
            patch: Some(&self.patch),
        }
    }
}
