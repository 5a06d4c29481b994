//! The arena for lies: a scene with its roots, and the effects of one command on a root that lies, as seen from
//! outside.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use regex::Regex;

use super::records::{Field, Form, Record, Told};
use super::roots::{self, Owner, Template};
use super::values::Outside;
use super::watch::{self, Look, Watch};
use crate::scenario::Scenario;
use crate::tree::Tree;

/// The option with which the program would work on anybody's root.
const TRUST: &str = " --trust-root";

/// The variable that names the rules that a build for this suite leaves out.
pub(super) const LEFT_OUT: &str = "PATCHADM_RULES_LEFT_OUT";

/// A scene with its roots.
pub(super) struct Arena {
    pub(super) stage: Scenario,
    pub(super) templates: Vec<Template>,
    watch: Watch,
    pub(super) outside: Outside,
    /// The undo archives outside the root, in their original state.
    backout: Vec<(PathBuf, Look)>,
    expected: BTreeMap<(usize, String), Expected>,
    /// True if the program checks who owns the root, and can be told to trust the owner.
    asks: bool,
}

/// Result of a command on the unspoiled root.
pub(super) struct Expected {
    pub(super) picture: BTreeSet<String>,
    rights: BTreeSet<String>,
}

/// One lie on one root, and the command that meets it.
pub(super) struct Attempt<'a> {
    pub(super) template: usize,
    pub(super) record: &'a Record,
    pub(super) told: &'a [Told],
    pub(super) command: &'a str,
    /// True if the command runs under strace(1).
    pub(super) is_traced: bool,
    /// True if the program is told to trust the owner of the root.
    pub(super) is_trusted: bool,
    /// Another build of the program, and a rule that it leaves out.
    pub(super) build: Option<(&'a Path, &'a str)>,
}

/// Result of a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) code: i32,
    pub(super) said: String,
    /// Effects that no lie may achieve.
    pub(super) wrongs: Vec<String>,
    pub(super) picture: BTreeSet<String>,
}

impl Arena {
    pub(super) fn new() -> Self {
        let mut stage = roots::scene();
        fs::create_dir(stage.beside("temporary")).unwrap();
        stage.set("TMPDIR", stage.beside("temporary"));
        roots::copy(&stage.beside("backout"), &stage.beside("backout-good"));
        let templates = Template::all(&stage);
        let backout = put_backout(&stage);
        let watch = Watch::new(&stage);
        let outside = Outside::new(&stage.beside("canary"), watch.victim());
        let help = stage.command("patchadd --help").output().unwrap();
        let asks = String::from_utf8_lossy(&help.stdout).contains(TRUST.trim());
        Self { stage, templates, watch, outside, backout, expected: BTreeMap::new(), asks }
    }

    /// True if it makes a difference to this root that the program is told to trust its owner.
    pub(super) fn is_asked(&self, template: usize) -> bool {
        self.asks && self.templates[template].owner == Owner::User
    }

    /// Result of the command on the unspoiled root; the test fails if the command does not succeed.
    pub(super) fn expected(&mut self, template: usize, line: &str) -> &Expected {
        let key = (template, line.to_owned());
        if !self.expected.contains_key(&key) {
            self.put(template);
            let (code, said) = run(self.command(template, line, true), line);
            let (state, owner) = (self.templates[template].state, self.templates[template].owner);
            assert_eq!(code, 0, "{state:?} {owner:?}: {line}: {said}");
            let wrongs = self.watch.wrongs(false);
            assert!(wrongs.is_empty(), "{line}: {wrongs:?}");
            let expected = Expected {
                picture: picture(&self.stage, &everything(&self.stage)),
                rights: watch::rights(&self.stage.root()),
            };
            self.expected.insert(key.clone(), expected);
        }
        &self.expected[&key]
    }

    /// Puts an unspoiled root in its place, with the archives outside it.
    pub(super) fn put(&mut self, template: usize) {
        self.templates[template].put(&self.stage.root());
        if watch::looks(&self.stage.beside("backout")) != self.backout {
            self.backout = put_backout(&self.stage);
        }
        self.watch.begin();
    }

    fn command(&self, template: usize, line: &str, is_trusted: bool) -> Command {
        match line.split_once(' ') {
            Some((program, rest)) if is_trusted && self.is_asked(template) => {
                self.stage.command(&format!("{program}{TRUST} {rest}"))
            }
            _ => self.stage.command(line),
        }
    }

    /// Tells the true value of a field as a lie would be told, and runs a command. An error says how the result differs
    /// from that on the unspoiled root.
    pub(super) fn tell_the_truth(
        &mut self,
        template: usize,
        field: &Field,
        line: &str,
    ) -> Result<(), String> {
        let expected = self.expected(template, line).picture.clone();
        self.put(template);
        // Each copy of a root has its own inodes and owners.
        let values = field.record.read(&self.stage.root());
        let truth = values.get(field.line).and_then(|line| line.pointer(&field.pointer));
        let told = truth.map(|truth| (field.line, field.pointer.clone(), truth.clone()));
        assert!(field.record.tell(&self.stage.root(), told.as_slice()), "{field:?}");
        let (code, said) = run(self.command(template, line, true), line);
        let found = picture(&self.stage, &everything(&self.stage));
        let difference: Vec<&String> = expected.symmetric_difference(&found).collect();
        if code == 0 && difference.is_empty() {
            return Ok(());
        }
        let place = (&field.record.path, field.line, &field.pointer);
        Err(format!("the truth in {place:?}: {line}: {code} {said}\n{difference:?}"))
    }

    /// Tells a lie and runs a command; none if the lie cannot be told.
    pub(super) fn attempt(&mut self, attempt: &Attempt<'_>) -> Option<Outcome> {
        let Attempt { template, record, command: line, .. } = *attempt;
        self.expected(template, line);
        self.put(template);
        let root = self.stage.root();
        if !record.tell(&root, attempt.told) {
            return None;
        }
        self.watch.begin();
        let may_differ = line.starts_with("pkgchk") || !self.templates[template].state.is_at_rest();
        let before = (!may_differ).then(|| everything(&self.stage));
        let had = watch::rights(&root);
        let trace = self.stage.beside("trace");
        let mut command = self.command(template, line, attempt.is_trusted);
        if let Some((program, rule)) = attempt.build {
            command = with_program(&command, program);
            command.env(LEFT_OUT, rule);
        }
        if attempt.is_traced {
            command = watch::traced(&command, &trace);
        }
        let (code, said) = run(command, line);
        let is_trusted = attempt.is_trusted && self.is_asked(template);
        let mut wrongs = self.watch.wrongs(is_trusted);
        if attempt.is_traced {
            let own = ["root", "delivered", "spool", "temporary", "backout"];
            let own = own.into_iter().chain(is_trusted.then_some(watch::ARCHIVE.trim_start_matches('/')));
            let own: Vec<PathBuf> = own.map(|name| self.stage.beside(name)).collect();
            wrongs.extend(watch::strayed(&trace, &own));
        }
        wrongs.extend(self.given(attempt, &had));
        if code == 70 || code == 101 || said.contains("panicked") {
            wrongs.push(format!("failed itself ({code}): {said}"));
        }
        let after = everything(&self.stage);
        if let Some(before) = before.filter(|before| code != 0 && *before != after) {
            wrongs.push(format!("was refused ({code}) and changed:\n{}", before.difference(&after)));
        }
        if !wrongs.is_empty() {
            self.watch = Watch::new(&self.stage);
            self.outside = Outside::new(&self.stage.beside("canary"), self.watch.victim());
        }
        Some(Outcome { code, said, wrongs, picture: picture(&self.stage, &after) })
    }

    /// Rights that an object has now and had neither before nor after the command on the unspoiled root.
    fn given(&self, attempt: &Attempt<'_>, had: &BTreeSet<String>) -> Vec<String> {
        // An archive that the ledger binds counts as the statement of the root's owner about the root.
        if matches!(attempt.record.form, Form::Manifest | Form::Stored) {
            return Vec::new();
        }
        let expected = &self.expected[&(attempt.template, attempt.command.to_owned())].rights;
        // The accounts of the root decide who owns a program.
        let is_accounts = ["passwd", "group"].contains(&attempt.record.kind);
        let bare = |one: &str| one.split(" of ").next().map(str::to_owned);
        // An object that is kept under another name has the rights that it had under its own.
        let kept = Regex::new(r"\.edited-\S+:").unwrap();
        let same = |one: &str, other: &str| {
            let one = kept.replace(one, ":");
            one == other || is_accounts && bare(&one) == bare(other)
        };
        let is_known = |one: &String| had.iter().chain(expected).any(|known| same(one, known));
        // The mode of a file is what `contents` says it is: whoever owns the root may give away rights of their own.
        let root = fs::metadata(self.stage.root()).unwrap();
        let own = format!(" of {}:{} ", root.uid(), root.gid());
        let is_own = |one: &String| attempt.record.kind == "contents" && one.contains(&own);
        let given = watch::rights(&self.stage.root()).into_iter();
        let given = given.filter(|one| !is_known(one) && !is_own(one));
        given.map(|one| format!("gave {one}")).collect()
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        roots::unmount(&self.stage.root());
    }
}

/// The result of a command in a root, as far as it is the same each time: the software with all attributes, the
/// existence and owners of the records, and the lines of `contents`.
fn picture(stage: &Scenario, tree: &Tree) -> BTreeSet<String> {
    let objects = tree.objects().iter().map(|(path, columns)| {
        let is_record = ["var/", "etc/"].iter().any(|place| path.starts_with(place));
        let columns = if is_record { &columns[..4] } else { &columns[..] };
        format!("{path} {}", columns.join(" "))
    });
    objects.chain(stage.lines()).collect()
}

/// Everything of a root except what a refused change may leave.
fn everything(stage: &Scenario) -> Tree {
    Tree::of(&stage.root(), &["var/sadm/install/.lockfile", "var/sadm/patchadm"])
}

/// Restores the undo archives outside the root. Returns their state.
fn put_backout(stage: &Scenario) -> Vec<(PathBuf, Look)> {
    let at = stage.beside("backout");
    let _ = fs::remove_dir_all(&at);
    roots::copy(&stage.beside("backout-good"), &at);
    watch::looks(&at)
}

/// The same command by another program.
fn with_program(command: &Command, program: &Path) -> Command {
    let mut other = Command::new(program);
    other.args(command.get_args()).env_clear();
    other.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    other.current_dir(command.get_current_dir().unwrap()).stdin(Stdio::null());
    other
}

/// Runs a command to its end. Returns its code and output; the test fails if it does not end by itself.
fn run(mut command: Command, what: &str) -> (i32, String) {
    let mut out = tempfile::tempfile().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    command.stdout(Stdio::from(out.try_clone().unwrap())).stderr(Stdio::from(out.try_clone().unwrap()));
    let mut child = command.spawn().unwrap();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > until {
            child.kill().unwrap();
            panic!("{what} hangs");
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let mut said = Vec::new();
    std::io::Seek::rewind(&mut out).unwrap();
    std::io::Read::read_to_end(&mut out, &mut said).unwrap();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert_eq!(status.signal(), None, "{what}: {said}");
    (status.code().unwrap(), said)
}
