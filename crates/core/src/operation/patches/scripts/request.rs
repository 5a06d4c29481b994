//! What the user and the root say about the scripts of patches.

use crate::operation::failure::Failure;
use crate::operation::scripts::ScriptSettings;
use crate::operation::scripts::system::system_scripts;
use crate::operation::session::Ground;
use crate::package::ScriptPolicy;
use crate::plan::engine::{Engine, ScriptChoice};

/// What the user of a patch command wants of scripts.
#[derive(Clone, Debug, Default)]
pub struct PatchScriptRequest {
    /// How scripts are run.
    pub settings: ScriptSettings,
    /// Who does the work of patch scripts.
    pub engine: Engine,
    /// Whether none may run, whatever the policy of the root says.
    pub none: bool,
}

impl PatchScriptRequest {
    /// Joins it with the policy and the class action scripts of a root.
    pub(crate) fn choice(&self, ground: &Ground) -> Result<ScriptChoice, Failure> {
        let policy = if self.none { ScriptPolicy::None } else { ground.policy.scripts };
        Ok(ScriptChoice { engine: self.engine, policy, system: system_scripts(ground)? })
    }
}
