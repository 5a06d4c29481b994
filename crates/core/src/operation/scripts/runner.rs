//! Running one procedure script: who listens, what the log gets, and where its process is noted.
//!
//! The same for every command: which scripts run when, and what follows from their results, is the caller's matter.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::format::journal::ScriptProcess;
use crate::operation::failure::Failure;
use crate::operation::session::Ground;
use crate::script::{As, Call, Ears, Ended, Input, Process, ScriptError, Setting, Stream, Workshop};
use crate::transaction::ScriptedRun;

/// How scripts are run: what only the command line knows.
#[derive(Clone, Debug, Default)]
pub struct ScriptSettings {
    /// The program itself, which is started once more to run them.
    pub executable: PathBuf,
    /// Where private directories are made.
    pub temporary: PathBuf,
    /// Whether the shell shows each command (`pkgadd -v`).
    pub trace: bool,
    /// Seconds that one script may take, 0 for ever; none leaves it to the policy of the root.
    pub limit: Option<u64>,
}

/// Somebody who hears what scripts say while they run, and is told about them. Every method has a default that does
/// nothing.
pub trait Voice {
    /// A procedure script (not that of a class, and not request) is about to run.
    fn executing(&mut self, _script: &str) {}

    /// A script said something, in pieces of any size.
    fn heard(&mut self, _stream: Stream, _bytes: &[u8]) {}

    /// A script did not do what it should, and the work goes on.
    fn complains(&mut self, _text: &str) {}

    /// Something is said as it is.
    fn says(&mut self, _text: &str) {}

    /// Something that a script did was passed over.
    fn warns(&mut self, _text: &str) {}
}

/// A script to be run.
#[derive(Clone, Debug)]
pub(in crate::operation) struct Procedure {
    /// What it is called: `preinstall`, `i.none`.
    pub(in crate::operation) name: String,
    /// Where it is.
    pub(in crate::operation) file: PathBuf,
    /// Its arguments.
    pub(in crate::operation) arguments: Vec<OsString>,
    /// Its whole environment.
    pub(in crate::operation) environment: Vec<(OsString, OsString)>,
    /// Who runs it.
    pub(in crate::operation) user: As,
    /// Where it starts.
    pub(in crate::operation) directory: PathBuf,
    /// What it reads.
    pub(in crate::operation) input: Input,
}

/// What runs the scripts of one package or patch.
pub(in crate::operation) struct Procedures<'a> {
    pub(in crate::operation) shop: Workshop,
    interrupt: &'a dyn Fn() -> Option<i32>,
    trace: bool,
    limit: Option<Duration>,
    /// What scripts said before there was a run that could log it.
    said: Vec<u8>,
}

impl<'a> Procedures<'a> {
    /// Gets ready for the scripts of a root. `absolute` says whether they need commands in their absolute places.
    pub(in crate::operation) fn open(
        ground: &Ground,
        interrupt: &'a dyn Fn() -> Option<i32>,
        settings: &ScriptSettings,
        absolute: bool,
    ) -> Result<Self, Failure> {
        let shop = Workshop::open(&Setting {
            root: &ground.root,
            executable: settings.executable.clone(),
            temporary: settings.temporary.clone(),
            absolute_tools: absolute,
        })?;
        let seconds = settings.limit.unwrap_or(ground.policy.script_timeout);
        Ok(Self {
            shop,
            interrupt,
            trace: settings.trace,
            limit: (seconds > 0).then(|| Duration::from_secs(seconds)),
            said: Vec::new(),
        })
    }

    /// The signal that asks the command to end, if one came.
    pub(in crate::operation) fn interrupted(&self) -> Option<i32> {
        (self.interrupt)()
    }

    /// What scripts said before the run, for its log.
    pub(in crate::operation) fn take_log(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.said)
    }

    /// Runs a script to its end, as a part of `run` where there is one.
    pub(in crate::operation) fn run(
        &mut self,
        procedure: Procedure,
        run: Option<&mut ScriptedRun<'_>>,
        voice: &mut dyn Voice,
    ) -> Result<Ended, ScriptError> {
        let Procedure { name, file, arguments, environment, user, directory, input } = procedure;
        // somebody at a terminal may take their time
        let limit = self.limit.filter(|_| input != Input::Terminal);
        let trace = self.trace;
        let call =
            Call { name: name.clone(), file, arguments, environment, user, directory, input, trace, limit };
        let mut listener =
            Listener { name: &name, run, said: &mut self.said, voice, interrupt: self.interrupt };
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

/// How a script ended, for the log and for messages.
pub(in crate::operation) fn words(ended: Ended) -> String {
    match ended {
        Ended::Exited(code) => format!("exit code {code}"),
        Ended::Signalled(signal) => format!("ended by signal {signal}"),
        Ended::TimedOut => "ended because it took too long".to_owned(),
        Ended::Interrupted => "ended on request".to_owned(),
    }
}

struct Listener<'l, 'r> {
    name: &'l str,
    run: Option<&'l mut ScriptedRun<'r>>,
    said: &'l mut Vec<u8>,
    voice: &'l mut dyn Voice,
    interrupt: &'l dyn Fn() -> Option<i32>,
}

impl Listener<'_, '_> {
    /// A log that cannot be written stops nothing: what was said is heard in any case.
    fn log(&mut self, text: &[u8]) {
        match &mut self.run {
            Some(run) => drop(run.log(text)),
            None => self.said.extend_from_slice(text),
        }
    }
}

impl Ears for Listener<'_, '_> {
    fn began(&mut self, process: &Process) -> io::Result<()> {
        let Some(run) = &mut self.run else { return Ok(()) };
        let process = ScriptProcess {
            name: self.name.to_owned(),
            group: process.group,
            boot_id: process.boot_id.clone(),
            start_time: process.start_time,
        };
        run.script_begins(&process).map_err(io::Error::other)
    }

    fn heard(&mut self, stream: Stream, bytes: &[u8]) {
        self.voice.heard(stream, bytes);
        self.log(bytes);
    }

    fn interrupted(&mut self) -> bool {
        (self.interrupt)().is_some()
    }
}
