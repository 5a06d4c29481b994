//! What both faces say of a run: patch by patch, as values; `words` has the text.

use std::time::Instant;

use serde::Serialize;

use super::exit::Exit;
use super::words::sentence_of;
use super::{Invocation, failure, json};
use crate::operation::failure::Failure;
use crate::operation::patches::apply::{Applied, ApplyReport};
use crate::operation::patches::back_out::{BackOutReport, BackedOut};
use crate::plan::engine::PlannedScript;
use crate::plan::refusal::{Command, Reason};
use crate::plan::rights::{Grant, grants};
use crate::plan::{Action, Body, Plan};
use crate::root::Root;
use crate::transaction::{Receipt, Recovered, RootCondition};

/// One patch in the JSON document of a changing command.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PatchEntry {
    /// Its id.
    pub(super) id: String,
    /// What became of it.
    pub(super) verdict: &'static str,
    /// The exit code that it alone would have had.
    pub(super) code: u8,
    /// Why; empty where it went well.
    pub(super) reason: String,
    /// The packages that it changes.
    pub(super) packages: Vec<String>,
    /// How many objects of each kind of change.
    pub(super) files: Counts,
    /// Bytes of new objects.
    pub(super) bytes: u64,
    /// Where its undo data is, by package; empty without.
    pub(super) undo: Vec<String>,
    /// What it asks for after installation.
    pub(super) reboot: Option<&'static str>,
    /// Programs that run the old version until they are restarted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) in_use: Vec<UserEntry>,
    /// The set-id programs and devices that it makes or changes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) privileged: Vec<GrantEntry>,
    /// The procedure scripts that run, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) scripts: Vec<ScriptEntry>,
    /// What it needs on each file system.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) space: Vec<SpaceEntry>,
    /// What a person should know.
    pub(super) notes: Vec<String>,
    /// Each object with what happens to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) changes: Option<Vec<ChangeEntry>>,
}

impl PatchEntry {
    /// Whether it is in force anyway or has no package here, so that there is nothing to be done.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.verdict, "already-applied" | "superseded" | "obsoleted" | "not-applicable")
    }

    /// Whether what was asked for was not done.
    pub(super) fn has_failed(&self) -> bool {
        self.code != 0 && !self.is_idle()
    }
}

/// How many objects of each kind of change.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Counts {
    replaced: u64,
    added: u64,
    deleted: u64,
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} replaced, {} added, {} deleted", self.replaced, self.added, self.deleted)
    }
}

/// One object in a plan.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ChangeEntry {
    package: String,
    path: String,
    action: &'static str,
    size: Option<u64>,
}

/// A set-id program or device in a plan.
#[derive(Clone, Debug, Serialize)]
pub(super) struct GrantEntry {
    package: String,
    path: String,
    kind: &'static str,
    /// Octal, four digits.
    mode: String,
    owner: String,
    group: String,
}

impl From<Grant> for GrantEntry {
    fn from(grant: Grant) -> Self {
        Self {
            package: grant.package.to_string(),
            path: grant.path.to_string(),
            kind: grant.kind.words(),
            mode: grant.mode.to_string(),
            owner: grant.owner,
            group: grant.group,
        }
    }
}

/// A procedure script that runs.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ScriptEntry {
    /// Its package; none for a script of the patch itself.
    package: Option<String>,
    name: String,
    why: &'static str,
}

impl From<&PlannedScript> for ScriptEntry {
    fn from(script: &PlannedScript) -> Self {
        let package = script.package.as_ref().map(ToString::to_string);
        Self { package, name: script.name.clone(), why: script.why.words() }
    }
}

/// A process that uses what is replaced.
#[derive(Clone, Debug, Serialize)]
pub(super) struct UserEntry {
    pub(super) process: u32,
    pub(super) program: String,
    pub(super) paths: Vec<String>,
}

/// What is needed on a file system, in bytes.
#[derive(Clone, Debug, Serialize)]
pub(super) struct SpaceEntry {
    file_system: String,
    needed: u64,
    free: u64,
}

/// What became of a command as a whole.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Outcome {
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<u64>,
    /// Patch by patch.
    pub(super) patches: Vec<PatchEntry>,
    /// Whether the root differs now.
    pub(super) changed: bool,
    /// What an earlier run needed, as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) recovered: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    duration_ms: u64,
    #[serde(skip)]
    exit: Exit,
}

/// The values of an application.
pub(super) fn applied(report: &ApplyReport) -> Outcome {
    let runs = report.patches.iter().map(|one| run_of(&one.result)).collect();
    outcome(report.patches.iter().map(applied_entry).collect(), runs, &report.recovered)
}

/// The values of a backout.
pub(super) fn backed_out(report: &BackOutReport) -> Outcome {
    let runs = report.patches.iter().map(|one| run_of(&one.result)).collect();
    outcome(report.patches.iter().map(backed_out_entry).collect(), runs, &report.recovered)
}

fn run_of(result: &Result<Option<Receipt>, Failure>) -> Option<u64> {
    let receipt = result.as_ref().ok()?.as_ref()?;
    receipt.run.split('-').next()?.parse().ok()
}

fn outcome(patches: Vec<PatchEntry>, runs: Vec<Option<u64>>, found: &Recovered) -> Outcome {
    let exit = exit(&patches);
    let run = runs.into_iter().flatten().next_back();
    let recovered = sentence_of(found);
    let result = match exit {
        Exit::OK if run.is_some() => "done",
        Exit::OK => "nothing-to-do",
        _ => "failed",
    };
    Outcome {
        result,
        run,
        changed: run.is_some() || recovered.is_some(),
        patches,
        recovered,
        error: None,
        duration_ms: 0,
        exit,
    }
}

/// One patch of an application.
pub(super) fn applied_entry(one: &Applied) -> PatchEntry {
    let in_use = one.in_use.iter().map(|user| UserEntry {
        process: user.process,
        program: user.program.clone(),
        paths: user.paths.clone(),
    });
    PatchEntry {
        reboot: one.reboot,
        in_use: in_use.collect(),
        scripts: one.scripts.iter().map(ScriptEntry::from).collect(),
        ..entry(Command::Patchadd, &one.id, one.plan.as_ref(), &one.result)
    }
}

/// One patch of a backout.
pub(super) fn backed_out_entry(one: &BackedOut) -> PatchEntry {
    let scripts = one.scripts.iter().map(ScriptEntry::from).collect();
    PatchEntry { scripts, ..entry(Command::Patchrm, &one.id, one.plan.as_ref(), &one.result) }
}

fn entry(
    command: Command,
    id: &str,
    plan: Option<&Plan>,
    result: &Result<Option<Receipt>, Failure>,
) -> PatchEntry {
    let (verdict, code, reason) = match result {
        Ok(Some(_)) if command == Command::Patchadd => ("applied", Exit::OK, String::new()),
        Ok(Some(_)) => ("removed", Exit::OK, String::new()),
        Ok(None) => ("planned", Exit::OK, String::new()),
        Err(failed) => (verdict_of(failed), failure::code(command, failed), reason_of(failed)),
    };
    let receipt = result.as_ref().ok().and_then(Option::as_ref);
    let mut notes = plan.map(|plan| plan.notes.clone()).unwrap_or_default();
    notes.extend(receipt.iter().flat_map(|receipt| receipt.notes.iter().cloned()));
    PatchEntry {
        id: id.to_owned(),
        verdict,
        code: code.code(),
        reason,
        packages: plan.iter().flat_map(|plan| plan.packages.iter().map(ToString::to_string)).collect(),
        files: plan.map(counts).unwrap_or_default(),
        bytes: receipt.map_or_else(|| plan.map_or(0, new_bytes), |receipt| receipt.bytes),
        undo: plan.map(undo_paths).unwrap_or_default(),
        reboot: None,
        in_use: Vec::new(),
        privileged: plan.iter().flat_map(|plan| grants(plan)).map(GrantEntry::from).collect(),
        scripts: Vec::new(),
        space: plan.filter(|_| receipt.is_none()).map(space).unwrap_or_default(),
        notes,
        changes: plan.filter(|_| receipt.is_none()).map(changes),
    }
}

fn reason_of(failed: &Failure) -> String {
    match failed {
        Failure::Refused(refusal) => refusal.why(),
        other => other.to_string(),
    }
}

fn verdict_of(failed: &Failure) -> &'static str {
    match failed {
        Failure::Refused(refusal) => match *refusal.reason {
            Reason::AlreadyApplied(_) => "already-applied",
            Reason::LaterRevision(_) => "superseded",
            Reason::Obsoleted { .. } if refusal.command == Command::Patchadd => "obsoleted",
            Reason::NotInstalled(_) => "not-applicable",
            _ => "refused",
        },
        failure if failure.left() == RootCondition::RolledBack => "rolled-back",
        _ => "failed",
    }
}

/// The exit code of a command about several patches: with one its own code; with several nothing that is in force
/// anyway is a failure, and the first failure counts.
pub(super) fn exit(entries: &[PatchEntry]) -> Exit {
    if let [only] = entries {
        return Exit::new(only.code);
    }
    first_failure(entries)
}

/// The exit code where a patch that is in force anyway, or has no package here, is no failure.
pub(super) fn first_failure(entries: &[PatchEntry]) -> Exit {
    entries.iter().find(|entry| entry.has_failed()).map_or(Exit::OK, |entry| Exit::new(entry.code))
}

/// Prints the JSON document of a changing command.
pub(super) fn json(
    call: &mut Invocation,
    name: &'static str,
    root: &Root,
    command: Command,
    outcome: Result<Outcome, &Failure>,
) -> anyhow::Result<Exit> {
    let mut outcome = match outcome {
        Ok(outcome) => outcome,
        Err(failure) if name == command.name() => failed(failure, failure::code(command, failure)),
        Err(failure) => failed(failure, failure::verb_code(command, failure)),
    };
    outcome.duration_ms = json::milliseconds_since(call.surroundings.began);
    call.output.print(json::document(name, Some(root), outcome.exit, &outcome)?)?;
    Ok(outcome.exit)
}

/// The values of a command that failed before it came to its patches.
pub(super) fn failed(failure: &Failure, exit: Exit) -> Outcome {
    Outcome {
        result: "failed",
        run: None,
        patches: Vec::new(),
        changed: !matches!(failure.left(), RootCondition::Unchanged | RootCondition::RolledBack),
        recovered: None,
        error: Some(failure.to_string()),
        duration_ms: 0,
        exit,
    }
}

impl Outcome {
    /// The same as one of many roots, begun at `began`: a patch that is in force anyway is no failure there.
    pub(super) fn among_others(mut self, began: Instant) -> Self {
        if self.error.is_none() {
            self.exit = first_failure(&self.patches);
        }
        self.result = match (self.exit, self.run) {
            (Exit::OK, Some(_)) => "done",
            (Exit::OK, None) => "nothing-to-do",
            _ => "failed",
        };
        self.duration_ms = json::milliseconds_since(began);
        self
    }

    /// The exit code.
    pub(super) fn exit(&self) -> Exit {
        self.exit
    }

    /// Why nothing was tried, where that is so.
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }
}

pub(super) fn counts(plan: &Plan) -> Counts {
    let mut counts = Counts::default();
    for change in &plan.changes {
        match change.action {
            Action::Add(_) => counts.added += 1,
            Action::Replace(_) | Action::Attributes(_) => counts.replaced += 1,
            Action::Delete | Action::RemoveDirectory => counts.deleted += 1,
        }
    }
    counts
}

pub(super) fn size_of(action: &Action) -> Option<u64> {
    match action {
        Action::Add(new) | Action::Replace(new) => match &new.body {
            Body::Member(member) => Some(member.size),
            _ => None,
        },
        _ => None,
    }
}

fn new_bytes(plan: &Plan) -> u64 {
    plan.changes.iter().filter_map(|change| size_of(&change.action)).sum()
}

fn space(plan: &Plan) -> Vec<SpaceEntry> {
    let entry = |need: &crate::plan::SpaceNeed| SpaceEntry {
        file_system: need.file_system.clone(),
        needed: need.bytes,
        free: need.free,
    };
    plan.space.iter().map(entry).collect()
}

fn undo_paths(plan: &Plan) -> Vec<String> {
    let path = |undo: &crate::plan::UndoArchive| match &undo.place {
        crate::plan::UndoPlace::Save
        | crate::plan::UndoPlace::Snapshot
        | crate::plan::UndoPlace::ManifestOnly => {
            format!("/var/sadm/pkg/{}/save/{}/undo{}", undo.package, undo.patch, undo.format.suffix())
        }
        crate::plan::UndoPlace::Remote(path) => path.display().to_string(),
    };
    plan.archives().map(path).collect()
}

pub(super) fn action_word(action: &Action) -> &'static str {
    match action {
        Action::Add(_) => "add",
        Action::Replace(_) => "replace",
        Action::Delete => "delete",
        Action::Attributes(_) => "attributes",
        Action::RemoveDirectory => "remove-directory",
    }
}

fn changes(plan: &Plan) -> Vec<ChangeEntry> {
    let entry = |change: &crate::plan::Change| ChangeEntry {
        package: change.package.to_string(),
        path: change.path.to_string(),
        action: action_word(&change.action),
        size: size_of(&change.action),
    };
    plan.changes.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(verdict: &'static str, code: u8) -> PatchEntry {
        PatchEntry {
            id: "1-01".to_owned(),
            verdict,
            code,
            reason: String::new(),
            packages: Vec::new(),
            files: Counts::default(),
            bytes: 0,
            undo: Vec::new(),
            reboot: None,
            in_use: Vec::new(),
            privileged: Vec::new(),
            scripts: Vec::new(),
            space: Vec::new(),
            notes: Vec::new(),
            changes: None,
        }
    }

    #[test]
    fn one_patch_keeps_its_code_and_of_several_only_a_real_failure_counts() {
        assert_eq!(exit(&[entry("already-applied", 2)]), Exit::new(2));
        assert_eq!(exit(&[entry("already-applied", 2), entry("applied", 0)]), Exit::OK);
        assert_eq!(exit(&[entry("superseded", 35), entry("refused", 25), entry("failed", 5)]), Exit::new(25));
    }
}
