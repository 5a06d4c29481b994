//! Options about procedure scripts.

use std::path::PathBuf;

use crate::call::Invocation;
use patchadm_core::operation::patches::scripts::PatchScriptRequest;
use patchadm_core::operation::scripts::ScriptSettings;
use patchadm_core::plan::patch::engine::Engine;

/// Who does the work of patch scripts, and how long a script may take.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ScriptOptions {
    /// Who does the work of patch scripts: auto, native (the program) or script (the scripts)
    #[arg(long, value_name = "ENGINE", value_parser = engine)]
    engine: Option<Engine>,
    /// End a script that takes longer than this, 0 for never; otherwise as the policy of the root says
    #[arg(long, value_name = "SECONDS")]
    script_timeout: Option<u64>,
}

impl ScriptOptions {
    /// The request that the options stand for; `none` where no script may run.
    pub(crate) fn request(&self, call: &Invocation, none: bool) -> PatchScriptRequest {
        PatchScriptRequest {
            settings: script_settings(call, false, self.script_timeout),
            engine: self.engine.unwrap_or_default(),
            none,
        }
    }
}

/// How scripts are run: `trace` shows their commands, `limit` ends them after so many seconds.
pub(crate) fn script_settings(call: &Invocation, trace: bool, limit: Option<u64>) -> ScriptSettings {
    let temporary = call.surroundings.temporary.clone();
    let locale = call.surroundings.locale.clone();
    ScriptSettings { executable: PathBuf::from("/proc/self/exe"), temporary, trace, limit, locale }
}

fn engine(text: &str) -> Result<Engine, String> {
    match text {
        "auto" => Ok(Engine::Auto),
        "native" => Ok(Engine::Native),
        "script" => Ok(Engine::Script),
        _ => Err("it is auto, native or script".to_owned()),
    }
}
