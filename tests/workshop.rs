//! The stage of tests about procedure scripts: a root, workshops for it, and a listener.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use patchadm_core::script::{
    OutputStream, ProcessIdentity, RunAs, ScriptCall, ScriptEnd, ScriptError, ScriptHost, ScriptHostSettings,
    ScriptInput, ScriptListener,
};
use patchadm_rootfs::Root;

pub(crate) use patchadm_testing::processes::{eventually, runs};

use crate::scenario::Scenario;

/// A root, and a directory for workshops beside it.
pub(crate) struct Stage {
    pub(crate) scenario: Scenario,
    pub(crate) root: Root,
}

/// Collects the output and the processes of a script, and reacts as a test wants.
#[derive(Default)]
pub(crate) struct Listener {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) began: Vec<ProcessIdentity>,
    pub(crate) refuses: bool,
    /// Once this has been heard, the script is to be ended.
    pub(crate) last_word: Option<&'static str>,
}

impl ScriptListener for Listener {
    fn began(&mut self, process: &ProcessIdentity) -> io::Result<()> {
        self.began.push(process.clone());
        if self.refuses { Err(io::Error::other("the journal is full")) } else { Ok(()) }
    }

    fn heard(&mut self, stream: OutputStream, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        match stream {
            OutputStream::Out => self.out.push_str(&text),
            OutputStream::Err => self.err.push_str(&text),
        }
    }

    fn interrupted(&mut self) -> bool {
        self.last_word.is_some_and(|word| self.out.contains(word))
    }
}

impl Stage {
    pub(crate) fn new() -> Self {
        let scenario = Scenario::new();
        fs::create_dir(scenario.beside("temporary")).unwrap();
        // A directory of a test is private; scripts of other users must get through it.
        for open in ["", "temporary"] {
            fs::set_permissions(scenario.beside(open), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let root = Root::open(&scenario.root()).unwrap();
        Self { scenario, root }
    }

    pub(crate) fn workshop(&self) -> ScriptHost {
        self.open(false).unwrap()
    }

    pub(crate) fn open(&self, absolute_tools: bool) -> Result<ScriptHost, ScriptError> {
        ScriptHost::open(&ScriptHostSettings {
            root: &self.root,
            executable: PathBuf::from(env!("CARGO_BIN_EXE_patchadm")),
            temporary: self.scenario.beside("temporary"),
            absolute_tools,
        })
    }

    /// A call of a script with this text.
    pub(crate) fn call(&self, name: &str, text: &str) -> ScriptCall {
        let file = self.scenario.beside(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        ScriptCall {
            name: name.to_owned(),
            file,
            arguments: vec![],
            environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
            user: RunAs::Caller,
            directory: PathBuf::from("/"),
            input: ScriptInput::Nothing,
            trace: false,
            limit: Some(Duration::from_secs(30)),
        }
    }

    /// Runs a script with this text in a workshop of its own.
    pub(crate) fn run(&self, text: &str) -> (ScriptEnd, Listener) {
        let mut ears = Listener::default();
        let ended = self.workshop().run(&self.call("script", text), &mut ears).unwrap();
        (ended, ears)
    }

    /// A process that runs the script of this stage, to be killed.
    pub(crate) fn engine(&self) -> std::process::Child {
        let mut engine = std::process::Command::new(std::env::current_exe().unwrap());
        engine.args(["--exact", "workshop::engine"]).env(STAGE, self.scenario.beside(""));
        engine.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap()
    }

    /// The leftovers in the directory for private directories.
    pub(crate) fn left_over(&self) -> Vec<String> {
        let entries = fs::read_dir(self.scenario.beside("temporary")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// The variable by which the process of [`engine`] finds its stage and its script.
pub(crate) const STAGE: &str = "PATCHADM_TEST_STAGE";
/// Set if that script is to read the terminal.
pub(crate) const AT_TERMINAL: &str = "PATCHADM_TEST_TERMINAL";

/// Not a test of its own: a program with a workshop, in a process that other tests can treat as they like. It runs the
/// script of the stage and writes what it heard to `heard`.
#[test]
fn engine() {
    let Some(stage) = std::env::var_os(STAGE).map(PathBuf::from) else { return };
    let root = Root::open(&stage.join("root")).unwrap();
    let mut workshop = ScriptHost::open(&ScriptHostSettings {
        root: &root,
        executable: PathBuf::from(env!("CARGO_BIN_EXE_patchadm")),
        temporary: stage.join("temporary"),
        absolute_tools: false,
    })
    .unwrap();
    let at_terminal = std::env::var_os(AT_TERMINAL).is_some();
    let call = ScriptCall {
        name: "script".into(),
        file: stage.join("script"),
        arguments: vec![],
        environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
        user: RunAs::Caller,
        directory: "/".into(),
        input: if at_terminal { ScriptInput::Terminal } else { ScriptInput::Nothing },
        trace: false,
        limit: None,
    };
    let mut ears = Listener::default();
    workshop.run(&call, &mut ears).unwrap();
    fs::write(stage.join("heard"), ears.out).unwrap();
}
