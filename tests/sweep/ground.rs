//! The root that is damaged, made once and copied, and the commands that are run on it.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::damages::{Damage, Record};
use super::judge::{self, Answer, Cell};
use crate::delivery::Patch;
use crate::everyman::NOBODY;
use crate::packages::Package;
use crate::scenario::{ADMIN, Scenario};
use crate::tree::Tree;

/// Who runs the commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The user who runs the test and owns the root.
    Owner,
    /// An ordinary user who owns the root; the test is run by root.
    Ordinary,
}

/// The commands, each with whether it may change the root. `@PATCH@` is a patch that fits, `@SPOOL@` a directory of
/// packages, `@ADMIN@` an admin file that asks nothing.
pub(crate) const COMMANDS: [(&str, bool); 31] = [
    ("list -R @ROOT@", false),
    ("list -R @ROOT@ --json", false),
    ("show -R @ROOT@ 100-02", false),
    ("check --contents -R @ROOT@", false),
    ("check --contents -R @ROOT@ --json", false),
    ("plan -R @ROOT@ @PATCH@", false),
    ("remove -R @ROOT@ --dry-run 100-02", false),
    ("add -R @ROOT@ --dry-run @PATCH@", false),
    ("remove -R @ROOT@ --dry-run 200-01", false),
    ("patchadd -a -R @ROOT@ @PATCH@", false),
    ("patchrm -a -R @ROOT@ 100-02", false),
    ("patchadd -p -R @ROOT@", false),
    ("showrev -p -R @ROOT@", false),
    ("pkginfo -R @ROOT@", false),
    ("pkginfo -l -R @ROOT@ ACMEweb", false),
    ("pkgparam -R @ROOT@ ACMEweb PATCHLIST", false),
    ("pkgparam -R @ROOT@ ACMEdb", false),
    ("pkgchk -R @ROOT@", false),
    ("pkgchk -R @ROOT@ ACMEweb", false),
    ("pkgchk -l -R @ROOT@ -p /opt/ACMEweb/bin/httpd", false),
    ("add -R @ROOT@ @PATCH@", true),
    ("patchadd -R @ROOT@ @PATCH@", true),
    ("remove -R @ROOT@ 100-02", true),
    ("patchrm -R @ROOT@ 200-01", true),
    ("pkgadd -n -a @ADMIN@ -R @ROOT@ -d @SPOOL@ ACMEnew", true),
    ("pkgadd -n -a @ADMIN@ -R @ROOT@ -d @SPOOL@ ACMEcalm", true),
    ("pkgrm -n -a @ADMIN@ -R @ROOT@ ACMEcalm", true),
    ("installf -R @ROOT@ ACMEweb /opt/ACMEweb/made d 0755 root root", true),
    ("removef -R @ROOT@ ACMEweb /opt/ACMEweb/etc/conf", true),
    ("pkgchk -f -R @ROOT@ ACMEweb", true),
    ("recover -R @ROOT@", true),
];

/// The whole root, and the files that the commands read beside it.
pub(crate) struct Template {
    stage: Scenario,
}

impl Template {
    /// A root with three packages, and a patch of two revisions and another one on one of them.
    pub(crate) fn new() -> Self {
        let stage = Scenario::new();
        let web = || Package::new("ACMEweb");
        let calm = Package::new("ACMEcalm").file("lib/calm", 0o644, "calm\n");
        let delivered = web().file("bin/httpd", 0o755, "one\n").file("bin/tool", 0o755, "one\n");
        let delivered = delivered.file("etc/conf", 0o644, "port\n");
        stage.install(&delivered);
        stage.install(&Package::new("ACMEdb").file("bin/db", 0o755, "one\n"));
        stage.install(&calm);
        let patch = |id: &str, text: &str| {
            Patch::of(id, web().file("bin/httpd", 0o755, text))
                .package(Package::new("ACMEdb").file("bin/db", 0o755, text))
        };
        stage.patchadd("", &patch("100-01", "two\n")).ok();
        stage.patchadd("", &patch("100-02", "three\n")).ok();
        stage.patchadd("", &Patch::of("200-01", web().file("bin/tool", 0o755, "two\n"))).ok();
        stage.file("/etc/patchadm/policy", "undo_format=gz\nseparator=-\nscript_timeout=60\n");
        let template = Self { stage };
        patch("100-03", "four\n").write(&template.beside("patches"));
        for package in [Package::new("ACMEnew").file("bin/new", 0o755, "new\n"), calm, delivered] {
            package.write(&template.beside("packages"));
        }
        fs::write(template.beside("admin"), ADMIN).unwrap();
        template
    }

    /// Like [`Self::new`], but of an ordinary user, who has a copy of the program.
    pub(crate) fn of_ordinary_user() -> Self {
        let template = Self::new();
        give(&template.stage.root());
        let program = template.stage.command("list").get_program().to_owned();
        assert!(Command::new("cp").arg(program).arg(template.beside("patchadm")).status().unwrap().success());
        for reachable in [template.beside(""), template.beside("patchadm")] {
            fs::set_permissions(reachable, Permissions::from_mode(0o755)).unwrap();
        }
        template
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.stage.beside(name)
    }

    fn said(&self, line: &str) -> String {
        let path = |name: &str| self.beside(name).to_str().unwrap().to_owned();
        line.replace("@PATCH@", &path("patches/100-03"))
            .replace("@SPOOL@", &path("packages"))
            .replace("@ADMIN@", &path("admin"))
    }
}

/// A copy of the template, one record of it damaged.
pub(crate) struct Ground<'a> {
    template: &'a Template,
    caller: Caller,
    damaged: Option<(&'static Record, Damage)>,
    stage: Scenario,
    /// The root as it was made.
    before: Tree,
}

impl<'a> Ground<'a> {
    /// A root with this damage.
    pub(crate) fn damaged(
        template: &'a Template,
        caller: Caller,
        record: &'static Record,
        damage: Damage,
    ) -> Self {
        Self::made(template, caller, Some((record, damage)))
    }

    fn made(template: &'a Template, caller: Caller, damaged: Option<(&'static Record, Damage)>) -> Self {
        let stage = Scenario::new();
        fs::set_permissions(stage.beside(""), Permissions::from_mode(0o755)).unwrap();
        let mut ground = Self { template, caller, damaged, stage, before: Tree::default() };
        ground.make_anew();
        ground
    }

    fn make_anew(&mut self) {
        let root = self.stage.root();
        fs::remove_dir_all(&root).unwrap();
        let copied =
            Command::new("cp").arg("-a").arg(self.template.stage.root()).arg(&root).status().unwrap();
        assert!(copied.success());
        if let Some((record, damage)) = self.damaged {
            damage.inflict(&self.stage.at(record.path));
        }
        self.before = self.picture();
    }

    /// Everything except the files that a query may make.
    fn picture(&self) -> Tree {
        Tree::of(&self.stage.root(), &["var/sadm/install/.lockfile"])
    }

    /// The answers of all commands on the whole root.
    pub(crate) fn whole_answers(template: &'a Template, caller: Caller) -> BTreeMap<&'static str, Answer> {
        let mut ground = Self::made(template, caller, None);
        COMMANDS.iter().map(|(line, _)| (*line, ground.answer(line))).collect()
    }

    /// The answer of a command; the root is made anew if the command changed it.
    pub(crate) fn answer(&mut self, line: &str) -> Answer {
        let answer = self.typed(line);
        if answer.touched {
            self.make_anew();
        }
        answer
    }

    /// The answer of a command, whose changes are kept.
    pub(crate) fn typed(&self, line: &str) -> Answer {
        let kept = self.stage.beside("kept");
        let line = self.template.said(line).replace("@KEPT@", kept.to_str().unwrap());
        let output = self.command(&line).output().unwrap();
        let text = |bytes: &[u8]| {
            String::from_utf8_lossy(bytes).replace(self.stage.root().to_str().unwrap(), "@ROOT@")
        };
        let after = self.picture();
        Answer {
            code: output.status.code(),
            text: judge::without_chance(&(text(&output.stdout) + &text(&output.stderr))),
            touched: after != self.before,
            changed: self.before.difference(&after).lines().any(|line| !judge::is_of_a_run(line)),
            objects: Tree::of(&self.stage.root(), &["var", "etc"]),
            difference: self.before.difference(&after),
        }
    }

    /// Moves a record out of the root.
    pub(crate) fn move_away(&self, record: &Record) {
        fs::rename(self.stage.at(record.path), self.stage.beside("moved")).unwrap();
    }

    fn command(&self, line: &str) -> Command {
        let command = self.stage.command(line);
        if self.caller == Caller::Owner {
            return command;
        }
        let mut theirs = Command::new(self.template.beside("patchadm"));
        theirs.env_clear().args(command.get_args()).current_dir("/").stdin(Stdio::null());
        for (name, value) in command.get_envs() {
            theirs.env(name, value.unwrap_or_default());
        }
        theirs.uid(NOBODY).gid(NOBODY);
        theirs
    }

    /// Every command's answer, judged.
    pub(crate) fn cells(mut self, whole: &BTreeMap<&'static str, Answer>) -> Vec<Cell> {
        let Some((record, damage)) = self.damaged else { return Vec::new() };
        let judged = |(line, changes): &(&'static str, bool)| {
            let answer = self.answer(line);
            let verdict = judge::verdict(record, line, *changes, &answer, &whole[line]);
            Cell { record, damage, command: line, text: answer.text, verdict }
        };
        COMMANDS.iter().map(judged).collect()
    }
}

/// Gives a tree to the ordinary user.
fn give(path: &Path) {
    lchown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.symlink_metadata().unwrap().is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path()));
    }
}
