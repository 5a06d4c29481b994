//! The answers of queries about patches: all of them tell the same story.

use std::ops::Deref;

use serde_json::Value;

use super::{DpkgRoot, RpmRoot, Watched};

/// The expected state of a patch.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End<'a> {
    /// All of it is in force.
    Stands,
    /// Only these paths are lost.
    PartlyLost(&'a [&'a str]),
    /// It is lost at these paths; if others stand, it may be called partly lost.
    Lost(&'a [&'a str]),
    /// The version of the package contains it.
    Contained,
    /// Nothing alarms, and the queries need not mention it.
    Ended,
}

impl End<'_> {
    fn alarms(&self) -> bool {
        matches!(self, End::PartlyLost(_) | End::Lost(_))
    }

    /// Words that each answer about the patch must have, and words that it must not have.
    fn words(&self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            End::Stands => (&[], &["lost", "contained"]),
            End::PartlyLost(_) | End::Lost(_) => (&["lost"], &["did you mean"]),
            End::Contained => (&["contained"], &["lost", "did you mean"]),
            End::Ended => (&[], &["lost"]),
        }
    }

    fn lost_paths(&self) -> &[&str] {
        match self {
            End::PartlyLost(paths) | End::Lost(paths) => paths,
            _ => &[],
        }
    }
}

/// A root of dpkg or rpm, for stories of both.
pub(crate) trait NativeRoot: Deref<Target = Watched> {
    /// Removes a package and refreshes the registrations.
    fn erase(&self, name: &str);
    /// The paths that its package manager finds changed or missing.
    fn verified(&self) -> Vec<String>;
}

impl NativeRoot for DpkgRoot {
    fn erase(&self, name: &str) {
        self.dpkg_done(&format!("-r {name}"));
        self.refresh();
    }

    fn verified(&self) -> Vec<String> {
        Self::verified(self)
    }
}

impl NativeRoot for RpmRoot {
    fn erase(&self, name: &str) {
        self.rpm_done(&format!("-e {name}"));
        self.refresh();
    }

    fn verified(&self) -> Vec<String> {
        Self::verified(self)
    }
}

/// Patch 100-01 of a package added a file with these bytes, and another package owns it now. Asserts that it stays
/// when the patched package goes, and alarms nobody.
#[track_caller]
pub(crate) fn an_added_file_survives(
    root: &impl NativeRoot,
    (path, bytes): (&str, &str),
    owner: &str,
    patched: &str,
) {
    root.tells(&[("100-01", End::Stands)]);
    root.owned(&[path], owner);
    root.erase(patched);
    assert_eq!(root.content(path), bytes);
    assert!(root.verified().is_empty(), "{:?}", root.verified());
    root.tells(&[("100-01", End::Ended)]);
}

impl Watched {
    /// Asserts that all queries agree about these patches, which are all that the root has or had.
    #[track_caller]
    pub(crate) fn tells(&self, patches: &[(&str, End<'_>)]) {
        let wrong = self.contradictions(patches);
        assert!(wrong.is_empty(), "{patches:?}\n{}", wrong.join("\n"));
    }

    /// The wrong answers, as messages.
    pub(crate) fn contradictions(&self, patches: &[(&str, End<'_>)]) -> Vec<String> {
        let mut wrong = self.whole_root(patches);
        for (id, end) in patches {
            wrong.extend(self.about(id, end));
        }
        wrong
    }

    /// Errors in the answers about all patches.
    fn whole_root(&self, patches: &[(&str, End<'_>)]) -> Vec<String> {
        let mut wrong = Vec::new();
        let alarmed: Vec<&str> = patches.iter().filter(|(_, end)| end.alarms()).map(|(id, _)| *id).collect();
        let expected = if alarmed.is_empty() { 0 } else { 4 };
        let list = self.unwatched("list --check -R @ROOT@");
        if list.code != expected {
            wrong.push(format!("list --check: {} instead of {expected}: {}", list.code, list.said()));
        }
        for (id, end) in patches {
            let line = list.stdout.lines().find(|line| line.starts_with(id)).unwrap_or_default();
            let is_listed = !line.is_empty() || matches!(end, End::Ended);
            if let (false, _) | (_, Some(_)) = (is_listed, misfit(end, line)) {
                wrong.push(format!("list: {id} is {end:?}, not {line:?}"));
            }
        }
        let verify = self.unwatched("check --contents -R @ROOT@");
        if ![expected, 1].contains(&verify.code) {
            wrong.push(format!("check --contents: {} instead of {expected}: {}", verify.code, verify.said()));
        }
        let status = self.unwatched("status -R @ROOT@");
        let line = status.stdout.lines().find(|line| line.starts_with("Lost fixes ")).unwrap_or_default();
        let is_named = |id: &&str| line.split([' ', ',', ';']).any(|word| word == *id);
        let misnamed = patches.iter().filter(|(id, end)| is_named(id) != end.alarms());
        wrong.extend(misnamed.map(|(id, end)| format!("status: {id} is {end:?}, not {line:?}")));
        let is_quiet = status.stdout.contains("nothing to do");
        if status.code != 0 || is_quiet && !alarmed.is_empty() {
            wrong.push(format!("status: {} {}", status.code, status.said()));
        }
        let document = self.unwatched("status --json -R @ROOT@");
        let document: Value = serde_json::from_str(&document.stdout).unwrap();
        let lost = document["lost"].as_array().cloned().unwrap_or_default();
        let lost: Vec<&str> = lost.iter().filter_map(|lost| lost["id"].as_str()).collect();
        let differs = |(id, end): &&(&str, End<'_>)| lost.contains(id) != end.alarms();
        wrong.extend(
            patches
                .iter()
                .filter(differs)
                .map(|(id, end)| format!("status --json: {id} is {end:?}, {lost:?}")),
        );
        wrong
    }

    /// Errors in the answers about one patch.
    fn about(&self, id: &str, end: &End<'_>) -> Vec<String> {
        let mut wrong = Vec::new();
        let commands = ["show", "show --files", "remove --dry-run"];
        // A patch that went with its package may be unknown.
        for command in commands.iter().filter(|_| !matches!(end, End::Ended)) {
            let run = self.unwatched(&format!("{command} -R @ROOT@ {id}"));
            let is_answered = run.code == 0 || *command == "remove --dry-run" && !matches!(end, End::Stands);
            if let (false, _) | (_, Some(_)) = (is_answered, misfit(end, &run.said())) {
                wrong.push(format!("{command} {id}, which is {end:?}: {} {}", run.code, run.said()));
            }
        }
        let show = self.unwatched(&format!("show -R @ROOT@ {id}")).said();
        if matches!(end, End::PartlyLost(_)) && !show.contains("partly lost") {
            wrong.push(format!("show {id} does not say that it is partly lost: {show}"));
        }
        for path in end.lost_paths() {
            if !names(&show, path) {
                wrong.push(format!("show {id} does not name {path}: {show}"));
            }
            let run = self.unwatched(&format!("show -R @ROOT@ {path}"));
            let is_told = run.said().contains(id) && run.said().to_lowercase().contains("lost");
            if run.code != 0 || !is_told {
                wrong.push(format!("show {path} does not tell of {id}: {} {}", run.code, run.said()));
            }
        }
        wrong
    }

    /// Asserts that both spellings of a path have the same owner, and that it is this one.
    #[track_caller]
    pub(crate) fn owned(&self, spellings: &[&str], by: &str) {
        for path in spellings {
            let run = self.unwatched(&format!("show -R @ROOT@ {path}"));
            assert!(run.code == 0 && run.stdout.contains(by), "show {path}: {} {}", run.code, run.said());
        }
    }
}

/// A forbidden word in an answer, or a missing one.
fn misfit(end: &End<'_>, said: &str) -> Option<&'static str> {
    let said = said.to_lowercase();
    let (has, lacks) = end.words();
    has.iter()
        .find(|word| !said.contains(**word))
        .or_else(|| lacks.iter().find(|word| said.contains(**word)))
        .copied()
}

/// True if a text names a path, in any spelling of its directory.
fn names(text: &str, path: &str) -> bool {
    let of_usr = path.strip_prefix("/usr").unwrap_or(path);
    text.contains(of_usr)
}
