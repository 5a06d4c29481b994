//! Options about procedure scripts, the same for every command about patches.

use super::Invocation;
use super::pkgadd::script_settings;
use crate::operation::patches::scripts::PatchScriptRequest;
use crate::plan::engine::Engine;

/// Who does the work of patch scripts, and how long a script may take.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct ScriptOptions {
    /// Who does the work of patch scripts: auto, native (the program) or script (the scripts)
    #[arg(long, value_name = "ENGINE", value_parser = engine)]
    engine: Option<Engine>,
    /// End a script that takes longer than this, 0 for never; otherwise as the policy of the root says
    #[arg(long, value_name = "SECONDS")]
    script_timeout: Option<u64>,
}

impl ScriptOptions {
    /// What they say; `none` where no script may run.
    pub(super) fn request(&self, call: &Invocation, none: bool) -> PatchScriptRequest {
        PatchScriptRequest {
            settings: script_settings(call, false, self.script_timeout),
            engine: self.engine.unwrap_or_default(),
            none,
        }
    }
}

fn engine(text: &str) -> Result<Engine, String> {
    match text {
        "auto" => Ok(Engine::Auto),
        "native" => Ok(Engine::Native),
        "script" => Ok(Engine::Script),
        _ => Err("it is auto, native or script".to_owned()),
    }
}
