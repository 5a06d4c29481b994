//! One hostile case: how it is made, the command that is run on it, the expected result, and the judgement.
//!
//! Whatever the case is about, these hold: the command ends by itself within the bounds of time and memory, it does not
//! panic, and it changes nothing beside the root.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::bench::Bench;
use crate::records::Before;
use crate::scenario::Run;
use crate::tree::Tree;

/// The most memory that a command may write to, in KiB: `RLIMIT_DATA`, beyond which the kernel gives no more and the
/// program aborts.
pub(super) const MEMORY: u64 = 256 << 10;

/// CPU seconds that a command may take, and a giant. Waiting takes no CPU time: by the clock a command may take
/// [`CROWD`] times as long, as other tests run beside this one.
const PATIENCE: [u64; 2] = [10, 60];
const CROWD: u64 = 6;

/// Applies the source.
pub(super) const ADD: &str = "patchadd -R @ROOT@ @SOURCE@";
/// Applies the source, whatever happened to the objects since they were installed.
pub(super) const FORCE: &str = "patchadd -u -R @ROOT@ @SOURCE@";
/// Only looks whether it could be applied.
pub(super) const TRY: &str = "patchadd -a -R @ROOT@ @SOURCE@";
/// Says what would be done.
pub(super) const PLAN: &str = "plan -R @ROOT@ @SOURCE@";
/// Installs a package.
pub(super) const INSTALL: &str = "pkgadd -n -S -R @ROOT@ -d @SOURCE@ all";
/// Installs a package with an admin file that allows scripts and set-id programs.
pub(super) const TRUST: &str = "pkgadd -n -S -a @ADMIN@ -R @ROOT@ -d @SOURCE@ all";
/// Unpacks packages, or packs them.
pub(super) const UNPACK: &str = "pkgtrans @SOURCE@ @OUT@ all";
pub(super) const PACK: &str = "pkgtrans -s @SOURCE@ @OUT@/stream all";
/// Looks at packages that are not installed.
pub(super) const CHECK: &str = "pkgchk -d @SOURCE@ all";
pub(super) const INFO: &str = "pkginfo -l -d @SOURCE@";
pub(super) const PARAM: &str = "pkgparam -v -d @SOURCE@ ACMEweb";
/// Backs the patch out.
pub(super) const REMOVE: &str = "patchrm -R @ROOT@ 900-01";

/// The expected result.
#[derive(Clone, Debug)]
pub(super) enum Then {
    /// The command ends with this code (of a classic command or of a verb), its output contains these words, and the
    /// root is unchanged.
    Refused(i32, String),
    /// The command succeeds, and these are all the objects of the root that changed, or all that it unpacked:
    /// `path type mode content`, or `- path` for a removed object; paths below the directory of the package leave that
    /// out. Every change can be undone, and then the root is as before.
    Handled(Vec<String>),
    /// The command succeeds, says this, and changes nothing.
    Says(String),
}

/// [`Then::Refused`].
pub(super) fn refused(code: i32, words: &str) -> Then {
    Then::Refused(code, words.to_owned())
}

/// [`Then::Handled`].
pub(super) fn handled(objects: &[&str]) -> Then {
    Then::Handled(objects.iter().map(ToString::to_string).collect())
}

/// [`Then::Says`].
pub(super) fn says(words: &str) -> Then {
    Then::Says(words.to_owned())
}

/// A line of the table.
pub(super) struct Case {
    /// Its class of hostile input.
    pub(super) class: u8,
    pub(super) name: String,
    pub(super) line: &'static str,
    make: Box<dyn Fn(&Bench) -> PathBuf + Send + Sync>,
    pub(super) then: Then,
    /// True for a slow case, which is played with the whole only.
    pub(super) giant: bool,
    /// True if only root can make the source.
    pub(super) privileged: bool,
    /// The memory limit of its commands, in KiB.
    memory: u64,
}

/// A line of the table: class, name, command, how the source is made, what must happen.
pub(super) fn case(
    class: u8,
    name: impl Into<String>,
    line: &'static str,
    make: impl Fn(&Bench) -> PathBuf + Send + Sync + 'static,
    then: Then,
) -> Case {
    Case {
        class,
        name: name.into(),
        line,
        make: Box::new(make),
        then,
        giant: false,
        privileged: false,
        memory: MEMORY,
    }
}

impl Case {
    /// Makes the case one for the whole run only.
    pub(super) fn giant(self) -> Self {
        Self { giant: true, ..self }
    }

    /// Gives the case a memory limit of its own, in KiB, which legal input may need.
    pub(super) fn within(self, memory: u64) -> Self {
        Self { memory, ..self }
    }

    /// Makes the case one for root only.
    pub(super) fn privileged(self) -> Self {
        Self { privileged: true, ..self }
    }

    /// Plays the case on a copy of the root; an error says what is wrong.
    pub(super) fn play(&self, template: &Bench) -> Result<(), String> {
        let bench = Bench::copy_of(template);
        let out = bench.stage.beside("out");
        fs::create_dir(&out).unwrap();
        let source = (self.make)(&bench);
        let (before, everything) = (Before::of(&bench.stage), bench.stage.everything());
        let around = surroundings(&bench);
        let line = self.line.replace("@OUT@", out.to_str().unwrap());
        let run = self.run(&bench, &line.replace("@SOURCE@", source.to_str().unwrap()))?;
        let said = || format!("{}: code {}\n{}{}", self.line, run.code, run.stdout, run.stderr);
        let differs = surroundings(&bench).difference(&around);
        if !differs.is_empty() {
            return Err(format!("ESCAPE: {}{differs}", said()));
        }
        let changed = everything.difference(&bench.stage.everything());
        match &self.then {
            Then::Refused(code, words) => {
                let is_as_told =
                    run.code == *code && (run.stdout.clone() + &run.stderr).contains(words.as_str());
                if !is_as_told || !changed.is_empty() || !strays(&bench).is_empty() {
                    return Err(format!("not refused with {code} <{words}>: {}{changed}", said()));
                }
            }
            Then::Says(words) => {
                if run.code != 0 || !run.stdout.contains(words.as_str()) || !changed.is_empty() {
                    return Err(format!("does not say <{words}>: {}{changed}", said()));
                }
            }
            Then::Handled(objects) => {
                let writes_elsewhere = self.line.contains("@OUT@");
                if run.code != 0 || writes_elsewhere && !changed.is_empty() || !strays(&bench).is_empty() {
                    return Err(format!("not handled: {}{changed}", said()));
                }
                let found = if writes_elsewhere {
                    changes(&BTreeMap::new(), &pictures(&out))
                } else {
                    changes(&pictures(&template.stage.root()), &pictures(&bench.stage.root()))
                };
                if found != *objects {
                    return Err(format!("other objects than expected: {found:#?}\n{}", said()));
                }
                self.undo(&bench, &before)?;
            }
        }
        Ok(())
    }

    /// Checks what was installed, undoes it, and compares the root with its state before.
    fn undo(&self, bench: &Bench, before: &Before) -> Result<(), String> {
        let back = match self.line {
            ADD | FORCE => REMOVE,
            INSTALL | TRUST => "pkgrm -n -a @ADMIN@ -R @ROOT@ ACMEa",
            _ => return Ok(()),
        };
        for line in ["pkgchk -R @ROOT@", back] {
            let run = self.run(bench, line)?;
            if run.code != 0 {
                return Err(format!("{line}: {}{}{}", run.code, run.stdout, run.stderr));
            }
        }
        if back == REMOVE {
            before.assert_again(&bench.stage, &self.name);
        }
        Ok(())
    }

    /// Runs a command within the bounds.
    fn run(&self, bench: &Bench, line: &str) -> Result<Run, String> {
        let line = &line.replace("@ADMIN@", bench.stage.beside("admin").to_str().unwrap());
        let output = bounded(&bench.stage.command(line), PATIENCE[usize::from(self.giant)], self.memory)
            .output()
            .unwrap();
        let root = bench.stage.root();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(root.to_str().unwrap(), "@ROOT@");
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        match output.status.code() {
            Some(code @ 0..100) if code != 70 && !stderr.contains("panicked") => {
                Ok(Run { code, stdout, stderr })
            }
            code => {
                let ended = (code, output.status.signal());
                Err(format!("PANIC, or out of bounds: {line}: {ended:?}\n{stdout}{stderr}"))
            }
        }
    }
}

/// Limits a command: it is killed if it takes more than this many seconds or KiB of memory.
pub(super) fn bounded(command: &Command, seconds: u64, memory: u64) -> Command {
    let mut bounded = Command::new("sh");
    let clock = seconds * CROWD;
    let limits =
        format!("ulimit -d {memory} && ulimit -t {seconds} && exec timeout -s KILL {clock} \"$0\" \"$@\"");
    bounded.args(["-c", &limits]).arg(command.get_program()).args(command.get_args()).env_clear();
    for (name, value) in command.get_envs() {
        bounded.env(name, value.unwrap_or_default());
    }
    if let Some(directory) = command.get_current_dir() {
        bounded.current_dir(directory);
    }
    bounded.stdin(std::process::Stdio::null());
    bounded
}

/// Everything beside the root except the output that a command was told to write.
fn surroundings(bench: &Bench) -> Tree {
    Tree::of(&bench.stage.beside(""), &["root", "out"])
}

/// Stages that no finished run leaves.
fn strays(bench: &Bench) -> Vec<PathBuf> {
    let stage = bench.stage.at("/var/sadm/patchadm/stage");
    fs::read_dir(stage).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

/// Descriptions of objects, by path.
type Pictures = BTreeMap<String, String>;

/// The objects below a directory except those of the package database, in the notation of [`Then::Handled`].
fn pictures(root: &Path) -> Pictures {
    let mut bodies = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let seen = fs::symlink_metadata(&path).unwrap();
            let below = path.strip_prefix(root).unwrap();
            let name = below.as_os_str().as_bytes().escape_ascii().to_string().replace("\\\\", "\\");
            if name == "var" {
                continue;
            }
            if seen.is_dir() {
                open.push(path.clone());
            }
            let name = name.strip_prefix("opt/ACMEweb/").map_or(format!("/{name}"), str::to_owned);
            bodies.insert(name, picture(&path, &seen));
        }
    }
    bodies
}

fn picture(path: &Path, seen: &fs::Metadata) -> String {
    use std::os::unix::fs::MetadataExt as _;
    let mode = seen.mode() & 0o7777;
    let mut text = match seen.mode() & 0o170_000 {
        0o040_000 => format!("d {mode:o}"),
        0o120_000 => format!("-> {}", fs::read_link(path).unwrap().as_os_str().as_bytes().escape_ascii()),
        0o010_000 => format!("p {mode:o}"),
        kind @ (0o020_000 | 0o060_000) => {
            let (letter, device) = (if kind == 0o020_000 { 'c' } else { 'b' }, seen.rdev());
            format!("{letter} {mode:o} {} {}", rustix::fs::major(device), rustix::fs::minor(device))
        }
        _ => match fs::read(path).unwrap() {
            bytes if bytes.len() > 40 => format!("f {mode:o} {} bytes", bytes.len()),
            bytes => format!("f {mode:o} {}", bytes.escape_ascii()),
        },
    };
    if seen.nlink() > 1 && !seen.is_dir() {
        let _ = write!(text, " +{}", seen.nlink() - 1);
    }
    text
}

/// The lines of [`Then::Handled`] that turn the one tree into the other.
fn changes(before: &Pictures, after: &Pictures) -> Vec<String> {
    let gone = before.keys().filter(|path| !after.contains_key(*path)).map(|path| format!("- {path}"));
    let other = after.iter().filter(|(path, picture)| before.get(*path) != Some(picture));
    let other = other.map(|(path, picture)| format!("{path} {picture}"));
    gone.chain(other).collect()
}
