//! Running one procedure script: who receives its output, what the log gets, and where its process is recorded.
//!
//! This is the same for every command. The caller decides which scripts run when, and what follows from their results.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::failure::words;
use crate::operation::failure::Failure;
use crate::operation::session::RootAndPolicy;
use crate::script::{
    OutputStream, ProcessIdentity, RunAs, ScriptCall, ScriptEnd, ScriptError, ScriptHost, ScriptHostSettings,
    ScriptInput, ScriptListener,
};
use patchadm_changeset::format::journal::ScriptProcess;
use patchadm_changeset::transaction::ScriptRecorder;
use patchadm_planning::plan::refusal::Reason;

use super::settings::ScriptSettings;

/// Receives the output of running scripts, and remarks on them. Every method does nothing by default.
pub trait ScriptOutput {
    /// Called when a procedure script is about to run, except for class action scripts and request.
    fn executing(&mut self, _script: &str) {}

    /// Receives output of a script, in pieces of any size.
    fn heard(&mut self, _stream: OutputStream, _bytes: &[u8]) {}

    /// Receives what a script failed to do; the work goes on.
    fn complains(&mut self, _text: &str) {}

    /// Receives text to be shown as it is.
    fn says(&mut self, _text: &str) {}

    /// Receives a warning of something that a script did and that was ignored.
    fn warns(&mut self, _text: &str) {}
}

/// Runs the scripts of one package or patch.
pub(crate) struct ScriptRunner<'a> {
    pub(crate) shop: ScriptHost,
    pub(crate) ground: &'a RootAndPolicy,
    pub(crate) locale: &'a [(String, OsString)],
    interrupt: &'a dyn Fn() -> Option<i32>,
    trace: bool,
    limit: Option<Duration>,
    /// The output of scripts from before there was a run that could log it.
    said: Vec<u8>,
}

impl<'a> ScriptRunner<'a> {
    /// Prepares for the scripts of a root. `absolute` says whether they need commands in their absolute places. If these
    /// cannot be put there, the scripts are refused.
    pub(crate) fn open(
        ground: &'a RootAndPolicy,
        interrupt: &'a dyn Fn() -> Option<i32>,
        settings: &'a ScriptSettings,
        absolute: bool,
        refuse: impl Fn(Reason) -> Failure,
    ) -> Result<Self, Failure> {
        let shop = ScriptHost::open(&ScriptHostSettings {
            root: &ground.root,
            executable: settings.executable.clone(),
            temporary: settings.temporary.clone(),
            absolute_tools: absolute,
        })?;
        if absolute {
            shop.absolute_tools().map_err(|reason| {
                refuse(Reason::ScriptsUnsafe(format!(
                    "its scripts use commands of this program under /usr, and they cannot be put there: {reason}"
                )))
            })?;
        }
        let seconds = settings.limit.unwrap_or(ground.policy.script_timeout);
        Ok(Self {
            shop,
            ground,
            locale: &settings.locale,
            interrupt,
            trace: settings.trace,
            limit: (seconds > 0).then(|| Duration::from_secs(seconds)),
            said: Vec::new(),
        })
    }

    /// Makes the call of a script that the caller runs in `/`, without arguments, environment or input.
    pub(crate) fn call(&self, name: String, file: PathBuf) -> ScriptCall {
        ScriptCall {
            name,
            file,
            arguments: Vec::new(),
            environment: Vec::new(),
            user: RunAs::Caller,
            directory: PathBuf::from("/"),
            input: ScriptInput::Nothing,
            trace: self.trace,
            limit: self.limit,
        }
    }

    /// Returns the signal that asks the command to end, if one came.
    pub(crate) fn interrupted(&self) -> Option<i32> {
        (self.interrupt)()
    }

    /// Takes the output of scripts from before the run, for its log.
    pub(crate) fn take_log(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.said)
    }

    /// Runs a script to its end, as a part of `run` if there is one.
    pub(crate) fn run(
        &mut self,
        mut call: ScriptCall,
        run: Option<&mut dyn ScriptRecorder>,
        output: &mut dyn ScriptOutput,
    ) -> Result<ScriptEnd, ScriptError> {
        // a user at a terminal may take their time
        call.limit = call.limit.filter(|_| call.input != ScriptInput::Terminal);
        let name = call.name.as_str();
        let mut listener = Listener { name, run, said: &mut self.said, output, interrupt: self.interrupt };
        listener.log(format!("## {name} begins\n").as_bytes());
        let ended = self.shop.run(&call, &mut listener);
        let words = match &ended {
            Ok(ended) => words(*ended),
            Err(error) => error.to_string(),
        };
        listener.log(format!("## {name}: {words}\n").as_bytes());
        ended
    }
}

struct Listener<'l, 'r> {
    name: &'l str,
    run: Option<&'l mut (dyn ScriptRecorder + 'r)>,
    said: &'l mut Vec<u8>,
    output: &'l mut dyn ScriptOutput,
    interrupt: &'l dyn Fn() -> Option<i32>,
}

impl Listener<'_, '_> {
    /// Adds to the log. A log that cannot be written stops nothing: the output is heard in any case.
    fn log(&mut self, text: &[u8]) {
        match &mut self.run {
            Some(run) => drop(run.log(text)),
            None => self.said.extend_from_slice(text),
        }
    }
}

impl ScriptListener for Listener<'_, '_> {
    fn began(&mut self, process: &ProcessIdentity) -> io::Result<()> {
        let Some(run) = &mut self.run else { return Ok(()) };
        let process = ScriptProcess {
            name: self.name.to_owned(),
            group: process.group,
            boot_id: process.boot_id.clone(),
            start_time: process.start_time,
        };
        run.script_begins(&process).map_err(io::Error::other)
    }

    fn heard(&mut self, stream: OutputStream, bytes: &[u8]) {
        self.output.heard(stream, bytes);
        self.log(bytes);
    }

    fn interrupted(&mut self) -> bool {
        (self.interrupt)().is_some()
    }
}
