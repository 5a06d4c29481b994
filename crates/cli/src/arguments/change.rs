//! Options of a change: its scripts, its shared libraries, its trial.

use super::duration::{seconds, trial as trial_duration};
use super::typed::SecretText;
use super::words::{meant_by, one_of, word_for};
use crate::call::Invocation;
use patchadm_core::operation::libraries::LibraryRequest;
use patchadm_core::operation::patches::scripts::PatchScriptRequest;
use patchadm_core::operation::scripts::ScriptSettings;
use patchadm_core::operation::trial::{TrialCheckRequest, TrialRequest};
use patchadm_inputs::format::plan_file::{PlanFileError, PlanOptions};
use patchadm_inputs::policy::LibraryWords;
use patchadm_inputs::trial::{MOST_REBOOTS, TrialDuration};
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

const REPORT: LibraryWords = LibraryWords { keep: false, stop: false };
const KEEP: LibraryWords = LibraryWords { keep: true, stop: false };
const STOP: LibraryWords = LibraryWords { keep: false, stop: true };
const KEEP_OR_STOP: LibraryWords = LibraryWords { keep: true, stop: true };

const LIBRARIES: [(&str, LibraryRequest); 5] = [
    ("report", LibraryRequest { words: Some(REPORT), keep: false, always: false }),
    ("stop", LibraryRequest { words: Some(STOP), keep: false, always: false }),
    ("keep", LibraryRequest { words: Some(KEEP), keep: false, always: false }),
    ("keep-or-stop", LibraryRequest { words: Some(KEEP_OR_STOP), keep: false, always: false }),
    ("keep-always", LibraryRequest { words: Some(KEEP), keep: true, always: true }),
];

/// Values of `shlibs` in a plan file, as in a policy.
const PLAN_WORDS: [(&str, LibraryWords); 4] =
    [("report", REPORT), ("keep", KEEP), ("stop", STOP), ("keep,stop", KEEP_OR_STOP)];

/// Values of `keep_shlibs` in a plan file; true if libraries stay even if the patch forbids it.
const PLAN_KEEPING: [(&str, bool); 2] = [("allowed", false), ("always", true)];

/// What happens to libraries that a change takes away.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct LibraryOptions {
    /// Set what happens to old libraries that other objects still need: report, stop, keep, keep-or-stop, or
    /// keep-always (even if the patch forbids it) [default: policy]
    #[arg(long, value_name = "WORD", value_parser = one_of(&LIBRARIES), hide_possible_values = true)]
    libs: Option<LibraryRequest>,
}

impl LibraryOptions {
    pub fn request(&self) -> LibraryRequest {
        self.libs.unwrap_or_default()
    }

    pub fn write(&self, options: &mut PlanOptions) {
        let request = self.request();
        options.shlibs = word_for(&PLAN_WORDS, request.words);
        options.keep_shlibs = word_for(&PLAN_KEEPING, request.keep.then_some(request.always));
    }

    pub fn of_plan(options: &PlanOptions) -> Result<Self, PlanFileError> {
        let words = meant_by(&PLAN_WORDS, "shlibs", options.shlibs.as_deref())?;
        let keeping = meant_by(&PLAN_KEEPING, "keep_shlibs", options.keep_shlibs.as_deref())?;
        let request = LibraryRequest { words, keep: keeping.is_some(), always: keeping == Some(true) };
        Ok(Self { libs: Some(request).filter(|request| *request != LibraryRequest::default()) })
    }
}

const CHECK_SECONDS: u64 = 60;

/// Options that put a run on trial, and let a command check it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TrialOptions {
    /// Revert the change after this time, such as 10m, unless you confirm it
    #[arg(long, value_name = "DURATION", value_parser = trial_duration, conflicts_with = "no_undo")]
    trial: Option<TrialDuration>,
    /// Continue the trial across this many reboots [default: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(MOST_REBOOTS)), requires = "trial")]
    trial_reboots: Option<u32>,
    /// Run this shell command (60 s at most); revert the change if it fails
    #[arg(long, value_name = "COMMAND", value_parser = command_text, conflicts_with = "no_undo")]
    probe: Option<SecretText>,
}

fn command_text(text: &str) -> Result<SecretText, String> {
    if text.trim().is_empty() {
        return Err("it is empty".to_owned());
    }
    Ok(SecretText(text.to_owned()))
}

impl TrialOptions {
    pub fn request(self) -> TrialRequest {
        let check = self.probe.map(|command| TrialCheckRequest { command: command.0, limit: CHECK_SECONDS });
        TrialRequest { duration: self.trial, reboots: self.trial_reboots.unwrap_or_default(), check }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_file_says_what_the_option_says() {
        for (word, request) in LIBRARIES {
            let mut written = PlanOptions::default();
            LibraryOptions { libs: Some(request) }.write(&mut written);
            let read = LibraryOptions::of_plan(&written).unwrap();
            assert_eq!(read.request(), request, "{word}");
        }
        let of = |shlibs: Option<&str>, keep: Option<&str>| {
            let options = PlanOptions {
                shlibs: shlibs.map(str::to_owned),
                keep_shlibs: keep.map(str::to_owned),
                ..PlanOptions::default()
            };
            LibraryOptions::of_plan(&options).map(|options| options.request())
        };
        let kept = LibraryRequest { words: Some(REPORT), keep: true, always: false };
        assert_eq!(of(Some("report"), Some("allowed")).unwrap(), kept);
        assert_eq!(of(None, None).unwrap(), LibraryRequest::default());
        assert!(of(Some("lose"), None).is_err() && of(None, Some("never")).is_err());
    }

    #[test]
    fn a_probe_may_take_a_minute() {
        let options = TrialOptions { probe: Some(SecretText("true".to_owned())), ..TrialOptions::default() };
        assert_eq!(options.request().check.map(|check| check.limit), Some(60));
    }
}
