//! The stage of a test: a root of its own, and the program run on it in a clean environment.
//!
//! A scenario has a fixed clock (20 November 2026, 07:00:00 UTC), no environment but `PATH` and what the test sets,
//! and accounts of its own: `root`, `bin` and `sys` are the caller, so that tests need no privilege and mean the same
//! with and without it. Everything is removed when the value is dropped. Output has `@ROOT@` for the path of the root,
//! as the goldens have.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use patchadm_svr4::package::checksum;
use tempfile::TempDir;

use crate::checkout;
use crate::in_memory::{directory, directory_on_disk};
use crate::programs::{PATCHADM, sibling};
use crate::schema::assert_document_if_asked;
use crate::tools::skipped;
use crate::tree::Tree;

/// The clock of every scenario: 2026-11-20 07:00:00 UTC.
pub const NOW: u64 = 1_795_158_000;

/// The admin file of the goldens: it asks nothing and refuses nothing but a lack of space.
pub const ADMIN: &str = "mail=\ninstance=unique\npartial=nocheck\nrunlevel=nocheck\nidepend=nocheck\n\
                                rdepend=nocheck\nspace=quit\nsetuid=nocheck\nconflict=nocheck\naction=nocheck\n\
                                basedir=default\n";

/// A root, and the program and environment of commands on it.
pub struct Scenario {
    program: PathBuf,
    dir: TempDir,
    environment: Vec<(String, String)>,
}

/// The result of a command.
#[derive(Debug, PartialEq, Eq)]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Scenario {
    /// Returns a root with accounts and an empty package database. `program` is one of ours, which cargo built for the
    /// test; commands are those of the `patchadm` beside it.
    pub fn new(program: &Path) -> Self {
        Self::in_directory(program, directory())
    }

    /// Like [`new`](Self::new), but on a disk, for tests that need the file system of a disk.
    pub fn on_disk(program: &Path) -> Self {
        Self::in_directory(program, directory_on_disk())
    }

    fn in_directory(program: &Path, dir: TempDir) -> Self {
        let program = sibling(program, PATCHADM);
        let scenario = Self { program, dir, environment: Vec::new() };
        let own = fs::metadata(scenario.dir.path()).unwrap();
        let (uid, gid) = (own.uid(), own.gid());
        scenario.file("/etc/passwd", format!("root:x:{uid}:{gid}::/:/bin/sh\nadm:x:54321:4::/:/bin/false\n"));
        scenario.file("/etc/group", format!("root:x:{gid}:\nbin:x:{gid}:\nsys:x:{gid}:\nadm:x:54321:\n"));
        scenario.directory("/var/sadm/install");
        scenario.directory("/var/sadm/pkg");
        scenario.directory("/var/sadm/patch");
        scenario
    }

    /// Returns an empty root, without even a package database. It is on a disk, whose listings have the order of those
    /// of the classic tools.
    pub fn bare(program: &Path) -> Self {
        Self::bare_in_directory(program, directory_on_disk())
    }

    /// Like [`bare`](Self::bare), but in memory, for tests to which the order of listings does not matter.
    pub fn bare_in_memory(program: &Path) -> Self {
        Self::bare_in_directory(program, directory())
    }

    fn bare_in_directory(program: &Path, dir: TempDir) -> Self {
        let program = sibling(program, PATCHADM);
        let scenario = Self { program, dir, environment: Vec::new() };
        scenario.directory("/");
        fs::set_permissions(scenario.root(), fs::Permissions::from_mode(0o755)).unwrap();
        scenario
    }

    /// Returns the directory that `-R` names.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// Returns a path beside the root, for inputs of commands that must not be in the root.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Returns the path on this machine of a path in the root.
    pub fn at(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    /// Sets a variable of the environment of later commands.
    pub fn set(&mut self, name: &str, value: impl AsRef<OsStr>) {
        self.environment.push((name.to_owned(), value.as_ref().to_str().unwrap().to_owned()));
    }

    /// Makes a directory and those above it, 0755.
    pub fn directory(&self, path: &str) {
        let mut at = self.root();
        fs::create_dir_all(&at).unwrap();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            at.push(part);
            if !at.exists() {
                fs::create_dir(&at).unwrap();
                fs::set_permissions(&at, fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
    }

    /// Makes a file of the root, 0644, last modified on 2001-02-03 04:05:06.
    pub fn file(&self, path: &str, text: impl AsRef<[u8]>) {
        self.directory(Path::new(path).parent().unwrap().to_str().unwrap());
        fs::write(self.at(path), text).unwrap();
        self.mode(path, 0o644);
        self.mtime(path, 981_173_106);
    }

    /// Sets permission bits.
    pub fn mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.at(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Sets the modification time, in seconds since 1970.
    pub fn mtime(&self, path: &str, seconds: u64) {
        let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        fs::File::open(self.at(path)).unwrap().set_modified(moment).unwrap();
    }

    /// Makes a symbolic link.
    pub fn symlink(&self, path: &str, target: &str) {
        symlink(target, self.at(path)).unwrap();
    }

    /// Makes a hard link to `source`.
    pub fn link(&self, path: &str, source: &str) {
        fs::hard_link(self.at(source), self.at(path)).unwrap();
    }

    /// Makes a named pipe, 0600.
    pub fn pipe(&self, path: &str) {
        let made = Command::new("mkfifo").args(["-m", "600"]).arg(self.at(path)).status().unwrap();
        assert!(made.success());
    }

    /// Runs the program behind a command of the shell that limits it, such as `ulimit -n 20`.
    pub fn limited(&self, limit: &str, line: &str) -> Run {
        let program = self.command(line);
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &format!("{limit} && exec \"$@\""), "sh"]);
        command.arg(program.get_program()).args(program.get_args()).env_clear();
        for (name, value) in program.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        let output = command.current_dir(program.get_current_dir().unwrap()).output().unwrap();
        assert_document_if_asked(&self.program, line, &output.stdout);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let code = output.status.code().expect("the program ended by itself");
        Run { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Removes our records of undo data, as if a classic tool had applied the patches of the root.
    pub fn forget_ledgers(&self) {
        let _ = fs::remove_dir_all(self.at("/var/sadm/patchadm/ledger"));
    }

    /// Enters a package into the database by hand.
    pub fn package(&self, instance: &str, pkginfo: &str) {
        self.file(&format!("/var/sadm/pkg/{instance}/pkginfo"), pkginfo);
    }

    /// Writes the `contents` of the database: these lines, and the two that end it.
    pub fn contents(&self, lines: &[&str]) {
        let trailer = "# Last modified by pkgadd for SUNWstuf package\n# Fri Nov 20 07:00:00 2026\n";
        let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.file("/var/sadm/install/contents", lines + trailer);
    }

    /// Makes a package to be installed, in the directory `at` of the root: its pkginfo, and a pkgmap of these lines
    /// and the one of the pkginfo. The test makes the objects.
    pub fn spooled(&self, at: &str, pkginfo: &str, pkgmap: &[&str]) {
        self.file(&format!("{at}/pkginfo"), pkginfo);
        let (size, sum) = (pkginfo.len(), checksum::sum(pkginfo.as_bytes()));
        let information = format!("1 i pkginfo {size} {sum} 981173106");
        let lines = [": 1 100", &information].into_iter().chain(pkgmap.iter().copied());
        self.file(
            &format!("{at}/pkgmap"),
            lines.map(|line| format!("{line}\n")).collect::<Vec<_>>().concat(),
        );
    }

    /// Returns the program with these arguments, which are split at blanks; `@ROOT@` is the root.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(
                line.split_ascii_whitespace()
                    .map(|word| word.replace("@ROOT@", self.root().to_str().unwrap())),
            )
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.dir.path())
            .env("TZ", "UTC0")
            .env("SOURCE_DATE_EPOCH", NOW.to_string())
            .env("PATCHADM_EVENTS", "none")
            .envs(rules_left_out())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        command
    }

    /// Reads everything in the root but what a refused change may leave: the lock file and our own directory.
    pub fn everything(&self) -> Tree {
        Tree::of(&self.root(), &["var/sadm/install/.lockfile", "var/sadm/patchadm"])
    }

    /// Reads everything outside the package database.
    pub fn tree(&self) -> Tree {
        Tree::of(&self.root(), &["var"])
    }

    /// Returns the lines of `contents` without the two that end it.
    pub fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.at("/var/sadm/install/contents")).unwrap_or_default();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    /// Runs the program with these arguments. If they ask for a document, asserts that it conforms to its schema.
    #[track_caller]
    pub fn run(&self, line: &str) -> Run {
        let output = self.command(line).output().unwrap();
        assert_document_if_asked(&self.program, line, &output.stdout);
        let text = |bytes: Vec<u8>| {
            String::from_utf8(bytes).unwrap().replace(self.root().to_str().unwrap(), "@ROOT@")
        };
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        assert_two_commands_at_most(line, &stderr);
        Run { code: output.status.code().expect("the program ended by itself"), stdout, stderr }
    }
}

/// Asserts that each refusal suggests two commands at most.
#[track_caller]
fn assert_two_commands_at_most(line: &str, stderr: &str) {
    let refusals = stderr.split("ERROR: ").skip(1).chain(stderr.split("error: ").skip(1));
    for refusal in refusals {
        let quoted = refusal.split('`').skip(1).step_by(2);
        let commands = quoted.filter(|words| words.starts_with("patchadm") || words.starts_with("pkg"));
        assert!(commands.count() <= 2, "{line}: {refusal}");
    }
}

impl Run {
    /// Returns the text on both streams.
    pub fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Returns the text on standard output of a command that succeeded and had nothing to complain about.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "stdout: {}", self.stdout);
        self.stdout
    }

    /// Returns the text of a command that succeeded, on both streams.
    #[track_caller]
    pub fn done(self) -> String {
        assert_eq!(self.code, 0, "stdout: {}stderr: {}", self.stdout, self.stderr);
        self.stdout + &self.stderr
    }

    /// Returns the text on standard error of a command that ended with `code`.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "stdout: {}stderr: {}", self.stdout, self.stderr);
        self.stderr
    }
}

/// Returns the rules to leave out, passed on from the environment of the test. Only a build for the suite `lies` reads
/// them.
fn rules_left_out() -> Option<(&'static str, String)> {
    const NAME: &str = "PATCHADM_RULES_LEFT_OUT";
    Some((NAME, std::env::var(NAME).ok()?))
}

/// Returns the exit code of a line: classic commands keep their own, verbs have another.
pub fn code_of(line: &str, classic: i32, verb: i32) -> i32 {
    const CLASSIC: [&str; 15] = [
        "installf", "patchadd", "patchrm", "pkgadd", "pkgask", "pkgchk", "pkginfo", "pkgmk", "pkgparam",
        "pkgproto", "pkgrm", "pkgtrans", "puttext", "removef", "showrev",
    ];
    let command = line.split_whitespace().next().unwrap_or_default();
    if CLASSIC.contains(&command) { classic } else { verb }
}

/// Returns true if the superuser runs the test.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Returns a file of the material that is shared between projects. If there is no such material, says so and returns
/// `None`.
pub fn shared(test: &str, path: &str) -> Option<PathBuf> {
    let shared = checkout().join("../shared");
    if !shared.exists() {
        skipped(&format!("{test}: ../shared is not here"));
        return None;
    }
    Some(shared.join(path))
}

/// Makes the stage of the tests of one program: a [`Scenario`](crate::scenario::Scenario) that knows it. The expression is the path
/// of the program, which only the tests of its package know.
#[macro_export]
macro_rules! stage {
    ($program:expr) => {
        /// The program under test.
        pub(crate) const PROGRAM: &str = $program;

        /// A root, and the program and environment of commands on it.
        pub(crate) struct Scenario($crate::scenario::Scenario);

        #[allow(dead_code)] // not every program needs all of them
        impl Scenario {
            /// Returns a root with accounts and an empty package database.
            pub(crate) fn new() -> Self {
                Self($crate::scenario::Scenario::new(PROGRAM.as_ref()))
            }

            /// Like `new`, but on a disk, for tests that need the file system of a disk.
            pub(crate) fn on_disk() -> Self {
                Self($crate::scenario::Scenario::on_disk(PROGRAM.as_ref()))
            }

            /// Returns an empty root, without even a package database; on a disk.
            pub(crate) fn bare() -> Self {
                Self($crate::scenario::Scenario::bare(PROGRAM.as_ref()))
            }

            /// Like `bare`, but in memory, for tests to which the order of listings does not matter.
            pub(crate) fn bare_in_memory() -> Self {
                Self($crate::scenario::Scenario::bare_in_memory(PROGRAM.as_ref()))
            }

            /// Returns a root on which these packages are installed.
            #[track_caller]
            pub(crate) fn with(packages: &[$crate::packages::Package]) -> Self {
                Self($crate::scenario::Scenario::new(PROGRAM.as_ref()).with(packages))
            }

            /// Sets a variable of the environment of later commands.
            pub(crate) fn set(&mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) {
                self.0.set(name, value);
            }
        }

        impl std::ops::Deref for Scenario {
            type Target = $crate::scenario::Scenario;

            fn deref(&self) -> &Self::Target {
                &self.0
            }
        }
    };
}
