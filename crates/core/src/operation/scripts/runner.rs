//! Runs one procedure script: its environment, the receivers of its output, the log, and the record of its process.
//!
//! This is the same for every command. The caller decides which scripts run when, and handles their results.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::operation::failure::Failure;
use crate::operation::scripts::failure::words;
use crate::operation::session::RootAndPolicy;
use crate::script::environment::{EnvironmentInput, ProcedureScript, ScriptOrigin, environment};
use crate::script::{
    OutputStream, ProcessIdentity, RunAs, ScriptCall, ScriptEnd, ScriptError, ScriptHost, ScriptHostSettings,
    ScriptInput, ScriptListener, search_path,
};
use patchadm_changeset::format::journal::ScriptProcess;
use patchadm_changeset::transaction::ScriptRecorder;
use patchadm_planning::plan::refusal::Reason;
use patchadm_svr4::package::{ObjectPath, Params, PkgInst};
use patchadm_svr4::places;

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

/// The settings of scripts that only the command line knows.
#[derive(Clone, Debug, Default)]
pub struct ScriptSettings {
    /// The program itself, which is started once more to run them.
    pub executable: PathBuf,
    /// The directory below which private directories are made.
    pub temporary: PathBuf,
    /// True if the shell shows each command (`pkgadd -v`).
    pub trace: bool,
    /// The seconds that one script may take, 0 for no limit; `None` leaves it to the policy of the root.
    pub limit: Option<u64>,
    /// Language and time zone of the caller.
    pub locale: Vec<(String, OsString)>,
}

/// The knowledge of a command about a package whose scripts it runs; the same for installation, removal and patches.
#[derive(Clone, Debug)]
pub(crate) struct ScriptContext {
    /// The parameters of the package: the delivered ones, with the future CLASSES and BASEDIR; at a removal, the installed
    /// ones.
    pub(crate) package: Params,
    pub(crate) installed: Option<Params>,
    pub(crate) response: Params,
    pub(crate) instance: PkgInst,
    pub(crate) base: Option<ObjectPath>,
    /// The directory that holds the package directory; `None` at a removal.
    pub(crate) data_directory: Option<PathBuf>,
    pub(crate) install_date: Option<String>,
    pub(crate) has_begun: bool,
    /// The name of the run, once there is one.
    pub(crate) run: Option<String>,
}

impl ScriptContext {
    /// Returns the context of a package for which only its parameters and its place are known.
    pub(crate) fn new(instance: PkgInst, package: Params, base: Option<ObjectPath>) -> Self {
        Self {
            package,
            installed: None,
            response: Params::new(),
            instance,
            base,
            data_directory: None,
            install_date: None,
            has_begun: false,
            run: None,
        }
    }

    /// Adopts the decisions about the installation of a package: its place, and the time from which it is there.
    pub(crate) fn settle(&mut self, delivered: &Params, params: &Params) {
        self.package = delivered_as_placed(delivered, params);
        self.base = base_of(params);
        self.install_date = Some(params.text("INSTDATE").into_owned());
    }

    pub(crate) fn environment(
        &self,
        runner: &ScriptRunner<'_>,
        script: &ProcedureScript,
        origin: ScriptOrigin,
    ) -> Vec<(OsString, OsString)> {
        let path = search_path(runner.shop.tools());
        let basis = EnvironmentInput {
            package: &self.package,
            installed: self.installed.as_ref(),
            response: &self.response,
            instance: &self.instance,
            root: runner.ground.root.prefix(),
            base: self.base.as_ref(),
            data_directory: self.data_directory.as_deref(),
            temporary: runner.shop.directory(),
            install_date: self.install_date.as_deref(),
            has_begun: self.has_begun,
            locale: runner.locale,
            path: &path,
            run: self.run.as_deref(),
        };
        environment(&basis, script, origin)
    }

    pub(crate) fn installed_scripts(&self, prefix: &Path) -> PathBuf {
        prefix.join(OsStr::from_bytes(places::package_scripts(&self.instance).relative()))
    }

    /// Returns the directory in which scripts start: the one that contains them, or for a package without its own, the one
    /// above.
    pub(crate) fn working_directory(&self, prefix: &Path) -> PathBuf {
        let scripts = self.installed_scripts(prefix);
        match scripts.parent() {
            Some(above) if !scripts.is_dir() => above.to_owned(),
            _ => scripts,
        }
    }
}

/// Returns the parameters that scripts receive: the place of the package, and all others as delivered, including its own
/// classes.
pub(crate) fn delivered_as_placed(delivered: &Params, placed: &Params) -> Params {
    let mut package = delivered.clone();
    if let Some(value) = placed.get("BASEDIR") {
        package.set("BASEDIR", value);
    }
    package
}

/// Returns the directory of relative paths, by the parameters of a package.
pub(crate) fn base_of(params: &Params) -> Option<ObjectPath> {
    params.get("BASEDIR").map(<[u8]>::trim_ascii).and_then(|path| ObjectPath::new(path).ok())
}
