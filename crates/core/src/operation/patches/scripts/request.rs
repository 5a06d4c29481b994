//! The user's options for the scripts of patches, combined with the policy of the root.

use crate::operation::failure::Failure;
use crate::operation::scripts::ScriptSettings;
use crate::operation::scripts::system::system_scripts;
use crate::operation::session::RootAndPolicy;
use patchadm_inputs::policy::ScriptPolicy;
use patchadm_planning::plan::patch::engine::{Engine, ScriptChoice};

/// The options of a patch command about scripts.
#[derive(Clone, Debug, Default)]
pub struct PatchScriptRequest {
    /// The settings of scripts.
    pub settings: ScriptSettings,
    /// The engine that does the work of patch scripts: program or scripts.
    pub engine: Engine,
    /// Whether none may run, regardless of the policy of the root.
    pub none: bool,
}

impl PatchScriptRequest {
    /// Combines it with the policy and the class action scripts of a root.
    pub(crate) fn choice(&self, ground: &RootAndPolicy) -> Result<ScriptChoice, Failure> {
        let policy = match ground.policy.scripts {
            ScriptPolicy::Run | ScriptPolicy::Known if self.none => ScriptPolicy::Unwanted,
            policy => policy,
        };
        Ok(ScriptChoice { engine: self.engine, policy, system: system_scripts(ground)? })
    }
}
