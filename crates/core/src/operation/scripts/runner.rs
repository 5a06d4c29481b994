//! Runs one procedure script with environment, output, log and process record. The caller decides which scripts run,
//! and handles results.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::operation::failure::Failure;
use crate::operation::scripts::failure::words;
use crate::operation::scripts::safety::check_above;
use crate::operation::session::RootAndPolicy;
use crate::script::environment::{EnvironmentInput, ProcedureScript, ScriptOrigin, environment};
use crate::script::{
    OutputStream, ProcessIdentity, RunAs, ScriptCall, ScriptEnd, ScriptError, ScriptHost, ScriptHostSettings,
    ScriptInput, ScriptListener, search_path,
};
use patchadm_changeset::format::journal::ScriptProcess;
use patchadm_changeset::transaction::{OUTPUT_LEFT_OUT, ScriptRecorder};
use patchadm_planning::plan::refusal::Reason;
use patchadm_svr4::package::{ObjectPath, Params, PkgInst};
use patchadm_svr4::places;

/// Methods do nothing by default.
pub trait ScriptOutput {
    /// Not called for class action scripts and request.
    fn executing(&mut self, _script: &str) {}

    /// Called before each script.
    fn begins(&mut self) {}

    /// In pieces of any size.
    fn heard(&mut self, _stream: OutputStream, _bytes: &[u8]) {}

    /// The script failed to do something; the work goes on.
    fn complains(&mut self, _text: &str) {}

    /// Text to show literally.
    fn says(&mut self, _text: &str) {}

    /// A script did something that was ignored.
    fn warns(&mut self, _text: &str) {}
}

pub(crate) struct ScriptRunner<'a> {
    pub(crate) shop: ScriptHost,
    pub(crate) ground: &'a RootAndPolicy,
    pub(crate) locale: &'a [(String, OsString)],
    interrupt: &'a dyn Fn() -> Option<i32>,
    trace: bool,
    limit: Option<Duration>,
    early: EarlyOutput,
}

/// Limit in bytes on the output of scripts before a run. The log leaves out the rest.
const MOST_EARLY: usize = 1 << 20;

/// Output before there is a run to log it: all lines about scripts, and the beginning of what they print.
#[derive(Debug, Default)]
struct EarlyOutput {
    text: Vec<u8>,
    printed: usize,
    is_cut: bool,
}

impl EarlyOutput {
    fn hear(&mut self, bytes: &[u8]) {
        let kept = bytes.get(..MOST_EARLY.saturating_sub(self.printed)).unwrap_or(bytes);
        self.text.extend_from_slice(kept);
        self.printed += kept.len();
        if kept.len() < bytes.len() && !self.is_cut {
            self.text.extend_from_slice(OUTPUT_LEFT_OUT);
            self.is_cut = true;
        }
    }
}

impl<'a> ScriptRunner<'a> {
    /// Refuses a root that others could move. `absolute`: scripts need commands at absolute paths, and are refused
    /// without them.
    pub(crate) fn open(
        ground: &'a RootAndPolicy,
        interrupt: &'a dyn Fn() -> Option<i32>,
        settings: &'a ScriptSettings,
        absolute: bool,
        refuse: impl Fn(Reason) -> Failure,
    ) -> Result<Self, Failure> {
        check_above(&ground.root).map_err(&refuse)?;
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
            early: EarlyOutput::default(),
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

    pub(crate) fn interrupted(&self) -> Option<i32> {
        (self.interrupt)()
    }

    /// Takes output from before the run, for its log.
    pub(crate) fn take_log(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.early).text
    }

    /// `run` is the surrounding run, if any.
    pub(crate) fn run(
        &mut self,
        mut call: ScriptCall,
        run: Option<&mut dyn ScriptRecorder>,
        output: &mut dyn ScriptOutput,
    ) -> Result<ScriptEnd, ScriptError> {
        // A user at a terminal may take their time.
        call.limit = call.limit.filter(|_| call.input != ScriptInput::Terminal);
        let name = call.name.as_str();
        self.early.is_cut = false;
        output.begins();
        let mut listener =
            OutputListener { name, run, early: &mut self.early, output, interrupt: self.interrupt };
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

struct OutputListener<'l, 'r> {
    name: &'l str,
    run: Option<&'l mut (dyn ScriptRecorder + 'r)>,
    early: &'l mut EarlyOutput,
    output: &'l mut dyn ScriptOutput,
    interrupt: &'l dyn Fn() -> Option<i32>,
}

impl OutputListener<'_, '_> {
    /// Errors are ignored: the output is heard anyway.
    fn log(&mut self, text: &[u8]) {
        match &mut self.run {
            Some(run) => drop(run.log(text)),
            None => self.early.text.extend_from_slice(text),
        }
    }
}

impl ScriptListener for OutputListener<'_, '_> {
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
        match &mut self.run {
            Some(run) => drop(run.log(bytes)),
            None => self.early.hear(bytes),
        }
    }

    fn interrupted(&mut self) -> bool {
        (self.interrupt)().is_some()
    }
}

/// Known to the command line only.
#[derive(Clone, Debug, Default)]
pub struct ScriptSettings {
    /// Started again to run scripts.
    pub executable: PathBuf,
    /// For private directories.
    pub temporary: PathBuf,
    /// Show each command (`pkgadd -v`).
    pub trace: bool,
    /// Seconds per script; 0 for no limit, `None` for the policy's.
    pub limit: Option<u64>,
    /// Of the caller.
    pub locale: Vec<(String, OsString)>,
}

#[derive(Clone, Debug)]
pub(crate) struct ScriptContext {
    /// The delivered parameters with future CLASSES and BASEDIR; at a removal, the installed ones.
    pub(crate) package: Params,
    pub(crate) installed: Option<Params>,
    pub(crate) response: Params,
    pub(crate) instance: PkgInst,
    pub(crate) base: Option<ObjectPath>,
    /// Contains the package directory; `None` at a removal.
    pub(crate) data_directory: Option<PathBuf>,
    pub(crate) install_date: Option<String>,
    pub(crate) has_begun: bool,
    /// Set once there is a run.
    pub(crate) run: Option<String>,
}

impl ScriptContext {
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

    /// Sets the final place and time of the installation.
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

    /// The directory with the scripts, or its parent for a package without scripts.
    pub(crate) fn working_directory(&self, prefix: &Path) -> PathBuf {
        let scripts = self.installed_scripts(prefix);
        match scripts.parent() {
            Some(above) if !scripts.is_dir() => above.to_owned(),
            _ => scripts,
        }
    }
}

/// The package's final place; all other parameters, classes included, as delivered.
pub(crate) fn delivered_as_placed(delivered: &Params, placed: &Params) -> Params {
    let mut package = delivered.clone();
    if let Some(value) = placed.get("BASEDIR") {
        package.set("BASEDIR", value);
    }
    package
}

pub(crate) fn base_of(params: &Params) -> Option<ObjectPath> {
    params.get("BASEDIR").map(<[u8]>::trim_ascii).and_then(|path| ObjectPath::new(path).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_output_is_cut_and_a_line_for_each_script_says_so() {
        let mut early = EarlyOutput::default();
        early.hear(&vec![b'x'; MOST_EARLY - 1]);
        for _ in 0..3 {
            early.hear(b"yz");
        }
        assert!(early.text.ends_with(&[&b"xy"[..], OUTPUT_LEFT_OUT].concat()));
        assert_eq!(early.text.len(), MOST_EARLY + OUTPUT_LEFT_OUT.len());
        early.is_cut = false;
        early.hear(b"of the next script");
        assert_eq!(early.text.len(), MOST_EARLY + 2 * OUTPUT_LEFT_OUT.len());
    }
}
