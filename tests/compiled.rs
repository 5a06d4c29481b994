//! Libraries and programs that tests make with cc(1). They are minimal and have no libc, so they need only what the
//! test says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A compiler and its working directory.
pub(crate) struct Compiler {
    dir: TempDir,
}

#[derive(Clone, Default)]
pub(crate) struct Source<'a> {
    /// C code.
    pub(crate) text: &'a str,
    /// Names of libraries to link with, which were made before.
    pub(crate) with: &'a [&'a str],
    /// More options of cc(1).
    pub(crate) options: &'a [&'a str],
}

impl Compiler {
    /// The compiler of this machine. `None`, with a note, if there is none.
    pub(crate) fn found(test: &str) -> Option<Self> {
        let compiler = Self { dir: tempfile::tempdir().unwrap() };
        if Command::new("cc").arg("--version").output().is_ok_and(|output| output.status.success()) {
            return Some(compiler);
        }
        crate::missing("cc", test);
        None
    }

    /// A library with this SONAME, which is also its name in `with`.
    #[track_caller]
    pub(crate) fn library(&self, soname: &str, source: &Source<'_>) -> Vec<u8> {
        let option = format!("-Wl,-soname,{soname}");
        self.made(soname, source, &["-shared", "-fPIC", &option])
    }

    #[track_caller]
    pub(crate) fn program(&self, source: &Source<'_>) -> Vec<u8> {
        let text = format!("{}\nvoid _start(void) {{ use(); for (;;) ; }}\n", source.text);
        self.made("program", &Source { text: &text, ..source.clone() }, &["-pie", "-fPIE"])
    }

    /// A program that calls a function of each of these libraries.
    #[track_caller]
    pub(crate) fn program_with(&self, libraries: &[&str], options: &[&str]) -> Vec<u8> {
        self.program(&Source { text: &calls("use", libraries), with: libraries, options })
    }

    /// A library with the function that [`function`] names, which calls those of these libraries.
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

    /// A program that needs a library without a SONAME.
    #[track_caller]
    pub(crate) fn program_with_plain(&self, name: &str) -> Vec<u8> {
        let (directory, library) = (format!("-L{}", self.dir.path().display()), format!("-l:{name}"));
        let options = [&directory[..], &library];
        self.program(&Source { text: &calls("use", &[name]), options: &options, ..Source::default() })
    }

    /// Writes a file that options can name.
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

/// The function of a library with this SONAME: `libx.so.1` has `libx_f`.
pub(crate) fn function(soname: &str) -> String {
    format!("{}_f", soname.split('.').next().unwrap())
}

/// C code of a function that calls those of some libraries.
fn calls(name: &str, libraries: &[&str]) -> String {
    let functions: Vec<String> = libraries.iter().map(|library| function(library)).collect();
    let declared: String = functions.iter().map(|function| format!("void {function}(void);\n")).collect();
    let called: String = functions.iter().map(|function| format!("{function}(); ")).collect();
    format!("{declared}void {name}(void) {{ {called}}}\n")
}
