use super::duration::seconds;
use super::words::{meant_by, one_of, word_for};
use crate::call::Invocation;
use patchadm_core::operation::patches::scripts::PatchScriptRequest;
use patchadm_core::operation::scripts::ScriptSettings;
use patchadm_inputs::format::plan_file::{PlanFileError, PlanOptions};
use patchadm_planning::plan::patch::engine::Engine;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ScriptHandling {
    engine: Option<Engine>,
    /// Refuse a patch that needs a script.
    is_refused: bool,
}

const HANDLING: [(&str, ScriptHandling); 4] = [
    ("auto", ScriptHandling { engine: Some(Engine::Auto), is_refused: false }),
    ("native", ScriptHandling { engine: Some(Engine::Native), is_refused: false }),
    ("run", ScriptHandling { engine: Some(Engine::Script), is_refused: false }),
    ("refuse", ScriptHandling { engine: None, is_refused: true }),
];

/// Values of `engine` in a plan file.
const PLAN_ENGINES: [(&str, Engine); 3] =
    [("auto", Engine::Auto), ("native", Engine::Native), ("script", Engine::Script)];

/// How patch scripts are handled, and how long a script may take.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ScriptOptions {
    /// Set how patch scripts are handled: auto, native (do their work without running them), run, or refuse
    /// [default: auto]
    #[arg(long, value_name = "WORD", value_parser = one_of(&HANDLING), hide_possible_values = true)]
    scripts: Option<ScriptHandling>,
    #[command(flatten)]
    limit: ScriptTimeout,
}

/// How long a script may take.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct ScriptTimeout {
    /// Stop scripts that run longer than this; 0 for no limit [default: policy]
    #[arg(long = "script-timeout", id = "script_timeout", value_name = "DURATION", value_parser = seconds)]
    pub seconds: Option<u64>,
}

impl ScriptOptions {
    pub fn request(&self, call: &Invocation) -> PatchScriptRequest {
        PatchScriptRequest {
            settings: script_settings(call, false, self.limit),
            engine: self.scripts.and_then(|scripts| scripts.engine).unwrap_or_default(),
            none: self.scripts.is_some_and(|scripts| scripts.is_refused),
        }
    }

    pub fn write(&self, options: &mut PlanOptions) {
        options.engine = word_for(&PLAN_ENGINES, self.scripts.and_then(|scripts| scripts.engine));
        options.no_scripts = self.scripts.is_some_and(|scripts| scripts.is_refused);
        options.script_timeout = self.limit.seconds;
    }

    pub fn of_plan(options: &PlanOptions) -> Result<Self, PlanFileError> {
        let engine = meant_by(&PLAN_ENGINES, "engine", options.engine.as_deref())?;
        let handling = ScriptHandling { engine, is_refused: options.no_scripts };
        let is_said = handling.engine.is_some() || handling.is_refused;
        Ok(Self {
            scripts: is_said.then_some(handling),
            limit: ScriptTimeout { seconds: options.script_timeout },
        })
    }
}

/// Returns how scripts are run: `trace` shows their commands.
pub fn script_settings(call: &Invocation, trace: bool, limit: ScriptTimeout) -> ScriptSettings {
    ScriptSettings { trace, limit: limit.seconds, ..call.surroundings.script_settings() }
}
