//! Random commands on one root: each one is planned first, then run.

use std::fs;
use std::process::Command;

use super::story::{self, Delivered, PATHS, Said, said_by};
use crate::everyman::as_ordinary_user;
use crate::random::Random;
use crate::scenario::Scenario;
use crate::tree::Tree;

/// The user who runs the commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The user who runs the test, and owns the root.
    Caller,
    /// An ordinary user who owns the root.
    Everyman,
}

/// A root, and the commands on it.
pub(super) struct Play {
    stage: Scenario,
    random: Random,
    patches: Vec<Delivered>,
    pub(super) owner: Owner,
    /// The number of commands that were planned and run.
    pub(super) asked: u64,
    told: Vec<String>,
}

impl Play {
    pub(super) fn new(template: &Scenario, mut random: Random) -> Self {
        let stage = story::copy(template);
        fs::create_dir(stage.beside("undo")).unwrap();
        let patches = story::patches(&mut random, &stage);
        Self { stage, random, patches, owner: Owner::Caller, asked: 0, told: Vec::new() }
    }

    /// Plays the sequence; returns the first difference between a plan and its run.
    pub(super) fn play(&mut self) -> Option<String> {
        for _ in 0..10 {
            let found = match self.random.below(8) {
                0 | 1 => {
                    self.meddle();
                    None
                }
                2..=5 => self.add(),
                _ => self.remove(),
            };
            if let Some(found) = found {
                return Some(format!("{found}\n  after\n    {}", self.told.join("\n    ")));
            }
        }
        None
    }

    /// Changes the root like people and accidents do.
    fn meddle(&mut self) {
        let package = *self.random.one(&["ACMEweb", "ACMEdb"]);
        let path = format!("/opt/{package}/{}", self.random.one(&PATHS));
        let at = self.stage.at(&path);
        let id = &self.random.one(&self.patches).id;
        let what = match self.random.below(8) {
            0..=2 if at.exists() => {
                fs::write(&at, format!("edited {}\n", self.told.len())).unwrap();
                format!("edit {path}")
            }
            3 => {
                let _ = fs::remove_file(&at);
                format!("rm {path}")
            }
            4 => {
                let _ = fs::remove_dir_all(self.stage.at(&format!("/opt/{package}/share")));
                format!("rm -r /opt/{package}/share")
            }
            5 => {
                let save = self.stage.at(&format!("/var/sadm/pkg/{package}/save/{id}"));
                for name in ["undo.gz", "obsolete.gz"] {
                    let _ = fs::write(save.join(name), "no archive");
                    let _ = fs::remove_file(save.join(name)).or_else(|_| fs::remove_dir_all(&save));
                }
                format!("rm save/{id} of {package}")
            }
            6 => {
                let policy =
                    *self.random.one(&["restricted=^10[01]\n", "edited=replace\n", "scripts=none\n", ""]);
                self.stage.file("/etc/patchadm/policy", policy);
                format!("policy {policy:?}")
            }
            _ => "nothing".to_owned(),
        };
        self.told.push(what);
    }

    fn add(&mut self) -> Option<String> {
        let (classic, verb) =
            (["", "-d", "-u"], ["", "--no-undo", "--edited replace", "--edited keep", "--scripts refuse"]);
        let undo = format!("{} {}", "--undo-dir", self.stage.beside("undo").display());
        let mut operands = Vec::new();
        for _ in 0..=self.random.below(3) {
            operands.push(match self.random.below(20) {
                0 => "/nowhere/100-01".to_owned(),
                _ => self.random.one(&self.patches).at.display().to_string(),
            });
        }
        let operands = operands.join(" ");
        if self.random.once_in(3) {
            let options = *self.random.one(&classic);
            return self.compare(
                &format!("patchadd -a {options} --json -R @ROOT@ {operands}"),
                &format!("patchadd {options} --json -R @ROOT@ {operands}"),
            );
        }
        let options = if self.random.once_in(10) { undo } else { (*self.random.one(&verb)).to_owned() };
        let ask = *self.random.one(&["plan", "add --dry-run"]);
        self.compare(
            &format!("{ask} {options} --json -R @ROOT@ {operands}"),
            &format!("add {options} --json -R @ROOT@ {operands}"),
        )
    }

    fn remove(&mut self) -> Option<String> {
        let mut ids = Vec::new();
        for _ in 0..=self.random.below(4) {
            ids.push(match self.random.below(25) {
                0 => "999-01".to_owned(),
                1 => "nonsense".to_owned(),
                _ => self.random.one(&self.patches).id.clone(),
            });
        }
        // Half of the time, from the applied patches.
        if self.random.once_in(2) {
            let listed = self.stage.run("list -R @ROOT@").stdout;
            let applied: Vec<&str> =
                listed.lines().filter_map(|line| line.split_ascii_whitespace().next()).collect();
            let applied: Vec<&str> = applied.into_iter().filter(|word| word.contains("-0")).collect();
            if !applied.is_empty() {
                ids = ids.iter().map(|_| (*self.random.one(&applied)).to_owned()).collect();
            }
        }
        let ids = ids.join(" ");
        let (ask, give) = match self.random.below(4) {
            0 => ("patchrm -a", "patchrm"),
            1 => ("patchrm -f -a", "patchrm -f"),
            _ => ("remove --dry-run", "remove"),
        };
        self.compare(&format!("{ask} --json -R @ROOT@ {ids}"), &format!("{give} --json -R @ROOT@ {ids}"))
    }

    /// Plans a command and runs it; returns the difference between the two.
    fn compare(&mut self, ask: &str, give: &str) -> Option<String> {
        let is_backout = give.starts_with("patchrm") || give.starts_with("remove");
        let mut ask_now = self.command(ask);
        let before = self.tree();
        let plan = said_by(&self.stage, &mut ask_now);
        let plan = if is_backout { plan.of_backout() } else { plan };
        let after = self.tree().difference(&before);
        let run = said_by(&self.stage, &mut self.command(give));
        self.asked += 1;
        let shown = |said: &Said| format!("{} {:?} {:#?}", said.code, said.error, said.patches);
        self.told.push(
            format!("{give}: {} {:?}", run.code, run.verdicts())
                .replace(self.stage.beside("").to_str().unwrap(), ""),
        );
        if !after.is_empty() {
            return Some(format!("{ask} has changed something: {after}"));
        }
        (plan != run).then(|| format!("{ask} said {}\n{give} said {}", shown(&plan), shown(&run)))
    }

    fn tree(&self) -> Tree {
        self.stage.everything()
    }

    fn command(&self, line: &str) -> Command {
        match self.owner {
            Owner::Caller => self.stage.command(line),
            Owner::Everyman => {
                let (root, undo) = (self.stage.root(), self.stage.beside("undo"));
                as_ordinary_user(&self.stage, line, &[&root, &undo])
            }
        }
    }
}
