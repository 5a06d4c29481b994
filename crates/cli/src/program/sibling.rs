//! Installed programs that do some verbs of this one. The process becomes the other program, as in git and cargo. It is
//! looked for beside this one and in `../libexec/patchadm`, never in `PATH`: root runs this.

use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::call::{Applet, COMPLETE, Invocation, PROGRAM, SCHEMA, Sibling, Work};
use crate::reply::{Exit, ExitCause, Reply, Stop};
use patchadm_rootfs::{may_others_write_at, strange_above};

/// All programs of an installation have the same version.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The second place of both, relative to the directory of the running program.
const LIBEXEC: &str = "../libexec/patchadm";
const BIN: &str = "../../bin";

#[derive(Debug, thiserror::Error)]
pub enum NotRun {
    #[error(
        "{verb} is part of {name}, which is not installed beside patchadm (package {name}; from source: cargo install --path {source_path}; in a checkout: cargo build)"
    )]
    Missing { verb: String, name: &'static str, source_path: &'static str },
    #[error(
        "{needed_by} needs patchadm, which is not installed beside it (package patchadm; from source: cargo install --path .)"
    )]
    WithoutOperators { needed_by: &'static str },
    #[error("{} is not run: {reason}", shown(path))]
    Untrusted { path: PathBuf, reason: String },
    /// The two versions may not understand each other.
    #[error(
        "{} is not run: it is `{found}`, not patchadm {VERSION}\nhint: install the same version of both",
        shown(path)
    )]
    OtherVersion { path: PathBuf, found: String },
    #[error("{} cannot be run: {reason}", shown(path))]
    Failed { path: PathBuf, reason: io::Error },
}

fn shown(path: &Path) -> String {
    path.display().to_string().escape_debug().to_string()
}

impl From<NotRun> for Stop {
    fn from(error: NotRun) -> Self {
        let cause = match &error {
            NotRun::Missing { .. } | NotRun::WithoutOperators { .. } => ExitCause::NotFound,
            NotRun::Untrusted { .. } => ExitCause::NoRights,
            NotRun::OtherVersion { .. } | NotRun::Failed { .. } => ExitCause::Internal,
        };
        Self::Refused { exit: Exit::failed(cause), message: error.to_string() }
    }
}

/// Runs a command of this program, or becomes the program that has it.
pub fn run_here_or_become(applet: &Applet, call: &mut Invocation) -> anyhow::Result<Reply> {
    match applet.work {
        Work::Here(run) => run(call),
        Work::Beside(sibling) => Err(sibling.take_over(call).into()),
    }
}

impl Sibling {
    /// Becomes the program. Returns only with the reason why it does not.
    pub fn take_over(&self, call: &Invocation) -> Stop {
        self.take_over_as(call.name, call)
    }

    /// Under another verb.
    pub fn take_over_as(&self, verb: &str, call: &Invocation) -> Stop {
        let said = self.takes_verb.then(|| OsString::from(verb));
        let words = said.into_iter().chain(call.arguments.iter().cloned());
        self.become_it(call, verb, words.collect()).into()
    }

    /// Becomes the program to answer a shell's question about a line of `verb`, if it is that program's. Returns if
    /// that is not possible.
    pub fn complete(&self, call: &Invocation, verb: Option<&str>) {
        let words = self.words_of_shell(&call.arguments, verb);
        let words = std::iter::once(COMPLETE.into()).chain(words);
        // Completion prints no errors.
        let _ = self.become_it(call, verb.unwrap_or_default(), words.collect());
    }

    /// Becomes the program. Returns only with the reason why it does not.
    pub fn print_schema(&self, call: &Invocation, verb: &str, command: &str) -> Stop {
        self.become_it(call, verb, vec![SCHEMA.into(), command.into()]).into()
    }

    /// Turns a shell's question about a line of `patchadm` into one about a line of this program.
    fn words_of_shell(&self, asked: &[OsString], verb: Option<&str>) -> Vec<OsString> {
        let mut asked = asked.to_vec();
        let Some(verb) = verb else { return asked };
        if let Some(called) = asked.get_mut(PLACE_OF_PROGRAM) {
            *called = self.name.into();
        }
        let place = asked.iter().skip(PLACE_OF_PROGRAM + 1).position(|word| word == verb);
        let current = asked.get(1).and_then(|number| number.to_str()?.parse::<usize>().ok());
        if let (false, Some(place), Some(current)) = (self.takes_verb, place, current) {
            asked.remove(PLACE_OF_PROGRAM + 1 + place);
            if let Some(number) = asked.get_mut(1) {
                *number = current.saturating_sub(1).to_string().into();
            }
        }
        asked
    }

    fn become_it(&self, call: &Invocation, verb: &str, words: Vec<OsString>) -> NotRun {
        let surroundings = &call.surroundings;
        let path = match self.find(surroundings.binary.as_deref(), &format!("{} {verb}", call.of.name)) {
            Ok(path) => path,
            Err(error) => return error,
        };
        // The program sets its own umask, and gives the caller's to commands that it starts.
        rustix::process::umask(rustix::fs::Mode::from_bits_truncate(surroundings.umask));
        let reason = Command::new(&path).arg0(self.name).args(words).exec();
        NotRun::Failed { path, reason }
    }

    /// Finds the program for the commands of scripts, which run it directly and do not check its version.
    pub fn find_for_scripts(&self, running: Option<&Path>) -> Option<PathBuf> {
        trusted_in(running, LIBEXEC, self.name).ok().flatten()
    }

    fn find(&self, running: Option<&Path>, verb: &str) -> Result<PathBuf, NotRun> {
        let missing = || NotRun::Missing { verb: verb.to_owned(), name: self.name, source_path: self.source };
        found_in(running, LIBEXEC, self.name)?.ok_or_else(missing)
    }
}

/// Looks beside the running program, or from `../libexec/patchadm` in `../../bin`.
pub fn find_operators_program(running: Option<&Path>, needed_by: &'static str) -> Result<PathBuf, NotRun> {
    found_in(running, BIN, PROGRAM)?.ok_or(NotRun::WithoutOperators { needed_by })
}

fn found_in(running: Option<&Path>, elsewhere: &str, name: &str) -> Result<Option<PathBuf>, NotRun> {
    let found = trusted_in(running, elsewhere, name)?;
    if let Some(path) = &found {
        check_version(path, name)?;
    }
    Ok(found)
}

/// Does not start it to ask for its version.
fn trusted_in(running: Option<&Path>, elsewhere: &str, name: &str) -> Result<Option<PathBuf>, NotRun> {
    let Some(own) = running.and_then(Path::parent) else { return Ok(None) };
    for path in [own.join(name), own.join(elsewhere).join(name)] {
        match path.metadata() {
            Ok(seen) => {
                check_rights(&path, &seen)?;
                return Ok(Some(path));
            }
            Err(error) if is_nowhere(&error) => {}
            Err(reason) => return Err(NotRun::Failed { path, reason }),
        }
    }
    Ok(None)
}

fn check_version(path: &Path, name: &str) -> Result<(), NotRun> {
    let failed = |reason| NotRun::Failed { path: path.to_owned(), reason };
    let mut command = Command::new(path);
    command.arg0(name).arg("--version");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut asked = command.spawn().map_err(failed)?;
    let mut said = Vec::new();
    let output = asked.stdout.take();
    let read = output.map_or(Ok(0), |output| output.take(MOST_READ).read_to_end(&mut said));
    let ended = asked.wait().map_err(failed)?;
    read.map_err(failed)?;
    let found = String::from_utf8_lossy(&said).trim_end().chars().take(MOST_SHOWN).collect::<String>();
    if ended.success() && found == format!("{name} {VERSION}") {
        return Ok(());
    }
    Err(NotRun::OtherVersion { path: path.to_owned(), found: found.escape_debug().to_string() })
}

/// The index of the program's name in a shell's question, behind the shell and the index of the current word.
const PLACE_OF_PROGRAM: usize = 2;

const MOST_SHOWN: usize = 100;

/// Bytes of a version.
const MOST_READ: u64 = 4096;

fn is_nowhere(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Refuses a program that another user could change or replace. A sticky directory keeps others from replacing a
/// program, but not from adding a missing one.
fn check_rights(path: &Path, seen: &Metadata) -> Result<(), NotRun> {
    let failed = |reason| NotRun::Failed { path: path.to_owned(), reason };
    let untrusted = |reason| NotRun::Untrusted { path: path.to_owned(), reason };
    let real = path.canonicalize().map_err(failed)?;
    let directory = real.parent().unwrap_or(OsStr::new("/").as_ref());
    let of_directory = directory.metadata().map_err(failed)?;
    for (what, at, seen) in [("it", real.as_path(), seen), ("its directory", directory, &of_directory)] {
        let owners = [0, rustix::process::geteuid().as_raw()];
        if !owners.contains(&seen.uid()) {
            return Err(untrusted(format!("{what} belongs to uid {}", seen.uid())));
        }
        if may_others_write_at(at, seen.mode(), is_own_group(seen)) {
            return Err(untrusted(format!("others may write to {what}")));
        }
    }
    match strange_above(path) {
        Ok(None) => Ok(()),
        Ok(Some(strange)) => Err(untrusted(strange.to_string())),
        Err(error) => Err(untrusted(error.to_string())),
    }
}

/// Returns true for the superuser's group, and for an ordinary user's own.
fn is_own_group(seen: &Metadata) -> bool {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    seen.gid() == 0 || (!uid.is_root() && seen.gid() == gid.as_raw())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use super::*;

    const REPORT: Sibling =
        Sibling { name: "patchadm-report", about: "", source: "programs/report", takes_verb: false };

    fn installation() -> tempfile::TempDir {
        let top = tempfile::tempdir().unwrap();
        for directory in ["bin", "libexec/patchadm"] {
            fs::create_dir_all(top.path().join(directory)).unwrap();
            fs::set_permissions(top.path().join(directory), Permissions::from_mode(0o755)).unwrap();
        }
        top
    }

    fn put(top: &Path, at: &str, says: &str) -> PathBuf {
        let path = top.join(at).join(REPORT.name);
        // In another process: a file that this one, or a child of another test, has open for writing cannot be run.
        let write = "printf '#!/bin/sh\\necho \"%s\"\\n' \"$2\" >\"$1\" && chmod 755 \"$1\"";
        let written =
            Command::new("/bin/sh").args(["-c", write, "sh"]).arg(&path).arg(says).status().unwrap();
        assert!(written.success());
        path
    }

    fn found(top: &Path) -> Result<PathBuf, String> {
        let running = top.join("bin/patchadm");
        REPORT.find(Some(&running), "patchadm report").map_err(|error| error.to_string())
    }

    fn this_one() -> String {
        format!("patchadm-report {VERSION}")
    }

    #[test]
    fn a_program_is_looked_for_beside_this_one_and_then_in_libexec() {
        let top = installation();
        assert_eq!(
            found(top.path()).unwrap_err(),
            "patchadm report is part of patchadm-report, which is not installed beside patchadm (package patchadm-report; \
             from source: cargo install --path programs/report; in a checkout: cargo build)"
        );
        put(top.path(), "libexec/patchadm", &this_one());
        assert_eq!(found(top.path()).unwrap(), top.path().join("bin/../libexec/patchadm/patchadm-report"));
        let beside = put(top.path(), "bin", &this_one());
        assert_eq!(found(top.path()).unwrap(), beside);
        // A damaged installation is an error.
        put(top.path(), "bin", "patchadm-report 0.0.0");
        assert!(found(top.path()).unwrap_err().contains("it is `patchadm-report 0.0.0`"));
        // It prints without end.
        put(top.path(), "bin", "x\"; exec yes \"y");
        assert!(found(top.path()).unwrap_err().contains("it is `x\\n"));
    }

    #[test]
    fn a_program_that_others_could_change_is_not_run() {
        let top = installation();
        let path = put(top.path(), "bin", &this_one());
        let bin = top.path().join("bin");
        let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        for (what, place, bad, good) in [
            ("others may write to it", &path, 0o757, 0o755),
            ("others may write to its directory", &bin, 0o757, 0o755),
            ("others may write to its directory", &bin, 0o1777, 0o755),
        ] {
            mode(place, bad);
            let said = found(top.path()).unwrap_err();
            assert_eq!(said, format!("{} is not run: {what}", path.display()), "{bad:o}");
            mode(place, good);
            assert_eq!(found(top.path()).unwrap(), path);
        }
        mode(top.path(), 0o757);
        assert!(found(top.path()).unwrap_err().contains(" is not run: "));
        mode(top.path(), 0o755);
        // Only the superuser gives files away.
        if chown(&path, Some(54_321), None).is_ok() {
            let said = found(top.path()).unwrap_err();
            assert_eq!(said, format!("{} is not run: it belongs to uid 54321", path.display()));
            chown(&path, Some(0), None).unwrap();
            chown(&bin, Some(54_321), None).unwrap();
            let said = found(top.path()).unwrap_err();
            assert_eq!(said, format!("{} is not run: its directory belongs to uid 54321", path.display()));
        }
    }

    #[test]
    fn the_operators_program_is_found_from_both_places() {
        let top = installation();
        let found = |running: &str| {
            find_operators_program(Some(&top.path().join(running)), "patchadm-bulk")
                .map_err(|error| error.to_string())
        };
        assert_eq!(
            found("bin/patchadm-bulk").unwrap_err(),
            "patchadm-bulk needs patchadm, which is not installed beside it (package patchadm; from source: cargo install --path .)"
        );
        let path = put(top.path(), "bin", &format!("patchadm {VERSION}"));
        fs::rename(&path, top.path().join("bin/patchadm")).unwrap();
        assert_eq!(found("bin/patchadm-bulk").unwrap(), top.path().join("bin/patchadm"));
        let from_libexec = top.path().join("libexec/patchadm/../../bin/patchadm");
        assert_eq!(found("libexec/patchadm/patchadm-bulk").unwrap(), from_libexec);
    }

    #[test]
    fn a_program_that_cannot_be_run_is_named() {
        let top = installation();
        let path = put(top.path(), "bin", &this_one());
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let said = found(top.path()).unwrap_err();
        assert!(said.starts_with(&format!("{} cannot be run: ", path.display())), "{said}");
    }

    #[test]
    fn what_a_shell_asks_is_handed_on_without_the_verb() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        let asked = words("zsh 4 patchadm -R / report --csv");
        assert_eq!(REPORT.words_of_shell(&asked, Some("report")), words("zsh 3 patchadm-report -R / --csv"));
        let make = Sibling { name: "patchadm-make", takes_verb: true, ..REPORT };
        let asked = words("bash 2 patchadm build --out");
        assert_eq!(make.words_of_shell(&asked, Some("build")), words("bash 2 patchadm-make build --out"));
        let own = words("fish 1 patchadm-report --csv");
        assert_eq!(REPORT.words_of_shell(&own, None), own);
    }
}
