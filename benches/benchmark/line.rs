//! Command lines: values that are built once and run many times.

use std::ffi::{OsStr, OsString};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, anyhow};

/// A program with its arguments.
#[derive(Clone)]
pub(crate) struct Line {
    words: Vec<OsString>,
}

impl Line {
    /// A program without arguments.
    pub(crate) fn new(program: impl Into<OsString>) -> Self {
        Self { words: vec![program.into()] }
    }

    /// The program under test: the one that was built with the benchmark, or the one that `PATCHADM_BENCH_PROGRAM`
    /// names.
    pub(crate) fn patchadm() -> Self {
        let named = std::env::var_os("PATCHADM_BENCH_PROGRAM");
        Self::new(named.unwrap_or_else(|| env!("CARGO_BIN_EXE_patchadm").into()))
    }

    /// The benchmark itself, as one of its small programs; see [`inner`](crate::inner).
    pub(crate) fn inner(name: &str) -> Result<Self> {
        Ok(Self::new(std::env::current_exe()?).arg(name))
    }

    /// A script for sh(1). Arguments that are added become `$0`, `$1` …
    pub(crate) fn shell(text: &str) -> Self {
        Self::new("sh").arg("-ec").arg(text)
    }

    pub(crate) fn program(&self) -> &OsStr {
        &self.words[0]
    }

    /// Adds an argument.
    pub(crate) fn arg(mut self, word: impl Into<OsString>) -> Self {
        self.words.push(word.into());
        self
    }

    /// Adds arguments, split at blanks.
    pub(crate) fn words(mut self, text: &str) -> Self {
        self.words.extend(text.split_whitespace().map(OsString::from));
        self
    }

    /// Adds another command line as arguments, program first.
    pub(crate) fn line(mut self, other: &Self) -> Self {
        self.words.extend(other.words.iter().cloned());
        self
    }

    /// Returns a command without standard input, in English, and without roots from the environment.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).env("LC_ALL", "C").stdin(Stdio::null());
        for name in ["PKG_INSTALL_ROOT", "SOURCE_DATE_EPOCH", "DPKG_ROOT", "DPKG_ADMINDIR"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs it unmeasured, and fails unless it succeeds.
    pub(crate) fn run(&self) -> Result<()> {
        self.output().map(drop)
    }

    /// Like [`run`](Self::run), but returns its standard output.
    pub(crate) fn output(&self) -> Result<Vec<u8>> {
        let program = self.program().to_string_lossy();
        let output = self.command().output().with_context(|| format!("cannot run {program}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            let failed = format!("{program} failed, {}", output.status);
            return Err(anyhow!("{self}\n{}", tail(&said)).context(failed));
        }
        Ok(output.stdout)
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words: Vec<_> = self.words.iter().map(|word| word.to_string_lossy()).collect();
        let line = words.join(" ");
        out.write_str(line.get(..300).unwrap_or(&line))
    }
}

/// Returns the last lines of the output of a command.
pub(crate) fn tail(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// Returns true if `PATH` has a program of this name.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}
