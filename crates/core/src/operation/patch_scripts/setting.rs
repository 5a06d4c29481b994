//! What the user and the root say about the scripts of patches, and with what their packages are installed.

use std::ffi::OsString;

use crate::format::admin::{Admin, Alteration, Check, Instance, RequestUser};
use crate::operation::add_package::{AddRequest, Place};
use crate::operation::failure::Failure;
use crate::operation::scripts::{ScriptSettings, system_scripts};
use crate::operation::session::{Ground, Session};
use crate::package::ScriptPolicy;
use crate::plan::engine::{Engine, ScriptChoice};
use crate::plan::install::OfPatch;

/// What the user of a patch command says about scripts.
#[derive(Clone, Debug, Default)]
pub struct PatchScriptRequest {
    /// How scripts are run.
    pub settings: ScriptSettings,
    /// Who does the work of patch scripts.
    pub engine: Engine,
    /// Whether none may run, whatever the policy of the root says.
    pub none: bool,
    /// Language and time zone, for scripts.
    pub locale: Vec<(String, OsString)>,
}

impl PatchScriptRequest {
    /// What decides about scripts on a root.
    pub(in crate::operation) fn choice(&self, ground: &Ground) -> Result<ScriptChoice, Failure> {
        let policy = if self.none { ScriptPolicy::None } else { ground.policy.scripts };
        Ok(ScriptChoice { engine: self.engine, policy, system: system_scripts(ground)? })
    }
}

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
pub(in crate::operation) struct Installing {
    admin: Admin,
    request: AddRequest,
    choice: ScriptChoice,
    patch: OfPatch,
}

impl Installing {
    pub(in crate::operation) fn new(
        request: &PatchScriptRequest,
        choice: ScriptChoice,
        patch: OfPatch,
    ) -> Self {
        let request = AddRequest {
            scripts: request.settings.clone(),
            locale: request.locale.clone(),
            silent: true,
            ..AddRequest::default()
        };
        Self { admin: admin(), request, choice, patch }
    }

    /// The place of the packages. Which scripts may run has been asked before.
    pub(in crate::operation) fn place<'a>(&'a self, session: &'a Session<'a>) -> Place<'a> {
        Place {
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
