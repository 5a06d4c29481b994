//! A step of ours next to the recorded one: the items that are compared, and their differences.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sha2::{Digest, Sha256};

use super::differences::UNDONE;
use super::envdump::{self, Order};
use super::play::Play;
use super::seen::{self, LISTING, Seen, Snapshot};

/// A difference from the recorded step.
#[derive(Debug)]
pub(super) struct Difference {
    pub(super) scenario: &'static str,
    pub(super) step: String,
    /// The item that differs, as [`seen`] calls it.
    pub(super) what: String,
    pub(super) classic: String,
    pub(super) ours: String,
}

impl Play {
    /// Compares the effects of a command with the record of a step.
    pub(super) fn compare(&mut self, step: &str, output: &Output) {
        let text = |bytes: &[u8]| self.there(&String::from_utf8_lossy(bytes));
        let mut ours = Seen::new();
        let code = output.status.code().map_or_else(|| "a signal".to_owned(), |code| code.to_string());
        ours.insert("exit code".to_owned(), code);
        seen::printed(&mut ours, "stdout", &text(&output.stdout));
        seen::printed(&mut ours, "stderr", &text(&output.stderr));
        for part in self.parts.clone() {
            let step = if part.is_empty() { step.to_owned() } else { format!("{part}/{step}") };
            let mut ours = ours.clone();
            let mut state = self.state_of(&step);
            let mut classic = Seen::new();
            let has_snapshot = state.join("snap").is_dir();
            if has_snapshot {
                look_back(&mut classic, &state.join("snap"));
                self.look(&mut ours);
                state = self.results().join(&step);
            }
            let read = |name: &str| fs::read_to_string(state.join(name)).unwrap();
            classic.insert("exit code".to_owned(), read("rc").trim().to_owned());
            seen::printed(&mut classic, "stdout", &read("stdout"));
            seen::printed(&mut classic, "stderr", &read("stderr"));
            self.enter_differences(&step, &classic, &ours);
        }
    }

    /// The directory with the recorded state after a step: that of the step, or, if all is undone, that of one that
    /// changed nothing.
    fn state_of(&mut self, step: &str) -> PathBuf {
        for (scenario, undone, other) in UNDONE {
            if let Some(rest) = step.strip_prefix(undone).filter(|_| *scenario == self.scenario) {
                let stand_in = format!("{other}{rest}");
                self.differ(step, "state", "of a step that failed half-way", &format!("as after {stand_in}"));
                return self.results().join(stand_in);
            }
        }
        self.results().join(step)
    }

    /// Compares both sides of a step.
    pub(super) fn enter_differences(&mut self, step: &str, classic: &Seen, ours: &Seen) {
        self.driven.insert(step.to_owned());
        for (what, classic, ours) in seen::differences(classic, ours) {
            self.differ(step, &what, &classic, &ours);
        }
    }

    pub(super) fn differ(&mut self, step: &str, what: &str, classic: &str, ours: &str) {
        let [step, what, classic, ours] = [step, what, classic, ours].map(str::to_owned);
        self.differences.push(Difference { scenario: self.scenario, step, what, classic, ours });
    }

    /// Looks at our root as the snapshots were made.
    fn look(&self, seen: &mut Seen) {
        let root = self.stage().root();
        let mut find = Command::new("find");
        let output =
            find.args([".", "-printf", LISTING]).current_dir(&root).env("TZ", "UTC0").output().unwrap();
        let listing = self.there(&String::from_utf8(output.stdout).unwrap());
        let digest = |path: &str| {
            let digest = Sha256::digest(fs::read(root.join(path)).unwrap());
            Some(format!("{digest:x}")[..16].to_owned())
        };
        let contents = fs::read_to_string(root.join("var/sadm/install/contents")).unwrap_or_default();
        let packages = root.join("var/sadm/pkg");
        let places = |text: &str| self.there(text);
        let snapshot = Snapshot {
            listing: &listing,
            digest: &digest,
            contents: &contents,
            packages: &packages,
            places: &places,
        };
        seen::snapshot(seen, &snapshot);
    }

    /// Compares the dumps of scripts in the whole scenario.
    pub(super) fn dumps(&mut self) {
        let [mut classic, mut ours] = [Seen::new(), Seen::new()];
        envdump::dumps(&mut classic, &self.results().join("envdump"), Order::Process, &str::to_owned);
        envdump::dumps(&mut ours, &self.stage().at("/envdump"), Order::Time, &|value| self.there(value));
        self.enter_differences("envdump", &classic, &ours);
    }

    /// Compares `contents` with a copy that was taken between two steps.
    pub(super) fn contents_as_in(&mut self, file: &str) {
        let [mut classic, mut ours] = [Seen::new(), Seen::new()];
        seen::contents(&mut classic, &fs::read_to_string(self.results().join(file)).unwrap());
        let live = fs::read_to_string(self.stage().at("/var/sadm/install/contents")).unwrap();
        seen::contents(&mut ours, &live);
        self.enter_differences(file, &classic, &ours);
    }

    /// Compares a text that we made with one of the results.
    pub(super) fn text_as_in(&mut self, file: &str, text: &str) {
        self.texts(file, &fs::read_to_string(self.results().join(file)).unwrap(), text);
    }

    /// As `text_as_in`, for lines in the order of a file system.
    pub(super) fn listing_as_in(&mut self, file: &str, text: &str) {
        let sorted = |text: &str| {
            let mut lines: Vec<&str> = text.lines().collect();
            lines.sort_unstable();
            lines.join("\n")
        };
        self.texts(file, &sorted(&fs::read_to_string(self.results().join(file)).unwrap()), &sorted(text));
    }

    fn texts(&mut self, file: &str, result: &str, text: &str) {
        let [mut classic, mut ours] = [Seen::new(), Seen::new()];
        seen::printed(&mut classic, "text", result);
        seen::printed(&mut ours, "text", &self.there(text));
        self.enter_differences(file, &classic, &ours);
    }
}

/// Reads a snapshot of the classic tools.
fn look_back(seen: &mut Seen, snapshot: &Path) {
    let read = |name: &str| fs::read_to_string(snapshot.join(name)).unwrap_or_default();
    let sums = read("sums");
    let digest = |path: &str| {
        let line = sums.lines().find(|line| line.split_once("  ").is_some_and(|(_, of)| of == path));
        line.map(|line| line[..16].to_owned())
    };
    let (listing, contents) = (read("tree"), read("contents"));
    let snapshot = Snapshot {
        listing: &listing,
        digest: &digest,
        contents: &contents,
        packages: &snapshot.join("pkg"),
        places: &str::to_owned,
    };
    seen::snapshot(seen, &snapshot);
}
