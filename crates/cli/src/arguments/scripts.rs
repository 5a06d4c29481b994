//! Options about procedure scripts.

use super::words::{meant_by, one_of, word_for};
use crate::call::Invocation;
use patchadm_core::operation::patches::scripts::PatchScriptRequest;
use patchadm_core::operation::scripts::ScriptSettings;
use patchadm_inputs::format::plan_file::{PlanFileError, PlanOptions};
use patchadm_planning::plan::patch::engine::Engine;

const ENGINES: [(&str, Engine); 3] =
    [("auto", Engine::Auto), ("native", Engine::Native), ("script", Engine::Script)];

/// Who does the work of patch scripts, and how long a script may take.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ScriptOptions {
    /// Who does the work of patch scripts: auto, native (the program) or script (the scripts)
    #[arg(long, value_name = "ENGINE", value_parser = one_of(&ENGINES), hide_possible_values = true)]
    engine: Option<Engine>,
    /// End a script that takes longer than this, 0 for never; otherwise as the policy of the root says
    #[arg(long, value_name = "SECONDS")]
    script_timeout: Option<u64>,
}

impl ScriptOptions {
    /// Returns the request that the options stand for; `none` where no script may run.
    pub fn request(&self, call: &Invocation, none: bool) -> PatchScriptRequest {
        PatchScriptRequest {
            settings: script_settings(call, false, self.script_timeout),
            engine: self.engine.unwrap_or_default(),
            none,
        }
    }

    /// Writes them down in a plan file.
    pub fn write(&self, options: &mut PlanOptions) {
        options.engine = word_for(&ENGINES, self.engine);
        options.script_timeout = self.script_timeout;
    }

    /// Returns the options that a plan file has.
    pub fn of_plan(options: &PlanOptions) -> Result<Self, PlanFileError> {
        let engine = meant_by(&ENGINES, "engine", options.engine.as_deref())?;
        Ok(Self { engine, script_timeout: options.script_timeout })
    }
}

/// Returns how scripts are run: `trace` shows their commands, `limit` ends them after so many seconds.
pub fn script_settings(call: &Invocation, trace: bool, limit: Option<u64>) -> ScriptSettings {
    ScriptSettings { trace, limit, ..call.surroundings.script_settings() }
}
