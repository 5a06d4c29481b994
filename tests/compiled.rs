//! Libraries and programs that a test makes with cc(1), as small as they can be: without libc, so that what they need is
//! what the test says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A compiler, and the directory in which it works.
pub(crate) struct Compiler {
    dir: TempDir,
}

/// What is to be made.
#[derive(Clone, Default)]
pub(crate) struct Source<'a> {
    /// Its text in C.
    pub(crate) text: &'a str,
    /// What it is linked with: names of libraries that were made before.
    pub(crate) with: &'a [&'a str],
    /// More options of cc(1).
    pub(crate) options: &'a [&'a str],
}

impl Compiler {
    /// The compiler of this machine; says so and gives none where there is none.
    pub(crate) fn found(test: &str) -> Option<Self> {
        let compiler = Self { dir: tempfile::tempdir().unwrap() };
        if Command::new("cc").arg("--version").output().is_ok_and(|output| output.status.success()) {
            return Some(compiler);
        }
        crate::missing("cc", test);
        None
    }

    /// A library of this SONAME, which others can be linked with by that name.
    #[track_caller]
    pub(crate) fn library(&self, soname: &str, source: &Source<'_>) -> Vec<u8> {
        let option = format!("-Wl,-soname,{soname}");
        self.made(soname, source, &["-shared", "-fPIC", &option])
    }

    /// A program.
    #[track_caller]
    pub(crate) fn program(&self, source: &Source<'_>) -> Vec<u8> {
        let text = format!("{}\nvoid _start(void) {{ use(); for (;;) ; }}\n", source.text);
        self.made("program", &Source { text: &text, ..source.clone() }, &["-pie", "-fPIE"])
    }

    /// A program that calls a function of each of these libraries, as [`calls`] has it.
    #[track_caller]
    pub(crate) fn program_with(&self, libraries: &[&str], options: &[&str]) -> Vec<u8> {
        self.program(&Source { text: &calls("use", libraries), with: libraries, options })
    }

    /// A library with the function `NAME_f`, as [`function`] says it, that calls those of these libraries.
    #[track_caller]
    pub(crate) fn library_with(&self, soname: &str, libraries: &[&str], options: &[&str]) -> Vec<u8> {
        self.library(soname, &Source { text: &calls(&function(soname), libraries), with: libraries, options })
    }

    /// A library without a SONAME.
    #[track_caller]
    pub(crate) fn plain_library(&self, name: &str) -> Vec<u8> {
        self.made(
            name,
            &Source { text: &calls(&function(name), &[]), ..Source::default() },
            &["-shared", "-fPIC"],
        )
    }

    /// A program that needs such a library by its name.
    #[track_caller]
    pub(crate) fn program_with_plain(&self, name: &str) -> Vec<u8> {
        let (directory, library) = (format!("-L{}", self.dir.path().display()), format!("-l:{name}"));
        let options = [&directory[..], &library];
        self.program(&Source { text: &calls("use", &[name]), options: &options, ..Source::default() })
    }

    /// A file for the options of a call.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let at = self.dir.path().join(name);
        fs::write(&at, text).unwrap();
        at
    }

    #[track_caller]
    fn made(&self, name: &str, source: &Source<'_>, options: &[&str]) -> Vec<u8> {
        let text = self.file("source.c", source.text);
        let at = self.dir.path().join(name);
        let _ = fs::remove_file(&at);
        let mut command = Command::new("cc");
        command.args(["-O1", "-nostdlib", "-fno-stack-protector", "-Wl,--build-id=none,--no-as-needed"]);
        command.args(["-Wl,--unresolved-symbols=ignore-all", "-Wl,-z,noexecstack", "-o"]).arg(&at);
        command.args(options).arg(&text).args(source.options);
        command.args(source.with.iter().map(|library| self.dir.path().join(library)));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        read(&at)
    }
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

/// The function that a library of this SONAME has: `libx.so.1` has `libx_f`.
pub(crate) fn function(soname: &str) -> String {
    format!("{}_f", soname.split('.').next().unwrap())
}

/// A function that calls those of some libraries.
fn calls(name: &str, libraries: &[&str]) -> String {
    let functions: Vec<String> = libraries.iter().map(|library| function(library)).collect();
    let declared: String = functions.iter().map(|function| format!("void {function}(void);\n")).collect();
    let called: String = functions.iter().map(|function| format!("{function}(); ")).collect();
    format!("{declared}void {name}(void) {{ {called}}}\n")
}
