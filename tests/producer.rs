//! A producer's workshop: a directory with sources, in which the commands that make packages run.
//!
//! Sources were last modified on 1 January 2020. Output has `@WORK@` for the path of the directory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use crate::packages::DELIVERED;
use crate::scenario::{Run, Scenario};

/// A pkginfo that lacks nothing.
pub(crate) const PKGINFO: &str = "PKG=ACMEfoo\nNAME=Foo tools\nARCH=all\nVERSION=1.0\nCATEGORY=application\n\
                                  BASEDIR=/opt/foo\nCLASSES=none\nPSTAMP=stamp\n";

/// A directory in which commands run.
pub(crate) struct Producer {
    pub(crate) stage: Scenario,
}

impl Producer {
    /// An empty directory, with `spool` in it for packages, and a root beside it.
    pub(crate) fn new() -> Self {
        let workshop = Self { stage: Scenario::new() };
        fs::create_dir_all(workshop.at("spool")).unwrap();
        workshop
    }

    /// The same with a pkginfo and this prototype.
    pub(crate) fn with(prototype: &str) -> Self {
        let workshop = Self::new();
        workshop.file("pkginfo", PKGINFO);
        workshop.file("prototype", prototype);
        workshop
    }

    /// The path of a workshop file on this machine.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.stage.beside("work").join(path)
    }

    /// Makes a file, 0644, with the directories above it.
    pub(crate) fn file(&self, path: &str, text: impl AsRef<[u8]>) {
        write(&self.at(path), text.as_ref(), DELIVERED);
    }

    /// Sets permission bits.
    pub(crate) fn mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.at(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// The program with these arguments, which are split at blanks, in the directory.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = self.stage.command(&line.replace("@WORK@", self.at("").to_str().unwrap()));
        command.current_dir(self.at(""));
        command
    }

    /// Runs the program with these arguments in the directory.
    pub(crate) fn run(&self, line: &str) -> Run {
        self.told(&self.command(line).output().unwrap())
    }

    /// The outcome of a command in the directory.
    pub(crate) fn told(&self, output: &Output) -> Run {
        let work = self.at("");
        let work = work.to_str().unwrap().trim_end_matches('/');
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap().replace(work, "@WORK@");
        Run {
            code: output.status.code().expect("the program ended by itself"),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Makes a package in `spool`, and returns the messages without the lines that begin with `##` and `part` and the
    /// names of the files written.
    #[track_caller]
    pub(crate) fn make(&self, options: &str) -> String {
        let run = self.run(&format!("pkgmk -d spool {options}"));
        assert_eq!(run.code, 0, "{}", run.stderr);
        let progress = |line: &&str| ["## ", "part ", "spool/"].iter().any(|word| line.starts_with(word));
        run.stderr.lines().filter(|line| !progress(line)).map(|line| format!("{line}\n")).collect()
    }

    /// The text of a file of the package `ACMEfoo`.
    #[track_caller]
    pub(crate) fn made(&self, file: &str) -> String {
        let path = self.at("spool/ACMEfoo").join(file);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The lines of the pkgmap of `ACMEfoo`, without the first one, and without that of the pkginfo.
    pub(crate) fn pkgmap(&self) -> Vec<String> {
        let lines = self.made("pkgmap");
        let lines = lines.lines().skip(1).filter(|line| !line.starts_with("1 i pkginfo "));
        lines.map(str::to_owned).collect()
    }
}

/// Writes a file, 0644, last modified at `mtime`, with the directories above it.
pub(crate) fn write(path: &Path, bytes: &[u8], mtime: i64) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(mtime).unwrap());
    fs::File::open(path).unwrap().set_modified(moment).unwrap();
}
