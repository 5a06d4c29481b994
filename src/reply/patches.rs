//! The answer of a command about patches: patch by patch, what was decided and done.
//!
//! Every face takes its words from these values, and each is made once, whether patches were applied or backed out.

use std::time::Instant;

use serde::Serialize;

use super::exit::Exit;
use super::json::milliseconds_since;
use super::patch_entry::PatchEntry;
use super::result_word::ResultWord;
use super::words::recovery_sentence;
use patchadm_changeset::transaction::{Receipt, RootCondition};
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::patches::apply::{ApplyOutcome, ApplyReport};
use patchadm_core::operation::patches::back_out::{BackOutOutcome, BackOutReport};
use patchadm_core::plan::refusal::Command;
use patchadm_rootfs::Root;

/// A command about patches that has ended.
#[derive(Debug, Serialize)]
pub(crate) struct PatchesReport {
    #[serde(skip)]
    pub(crate) command: Command,
    pub(crate) result: ResultWord,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<u64>,
    /// The patches, in the order in which they were taken.
    pub(crate) patches: Vec<PatchEntry>,
    /// Whether the root differs now.
    pub(crate) changed: bool,
    /// Whether the command would change the root if it were not only a plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    would_change: Option<bool>,
    /// The outcome of the recovery of an earlier run, as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) recovered: Option<String>,
    /// The reason why the command ended before it came to its patches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    duration_ms: u64,
    #[serde(skip)]
    pub(crate) exit: Exit,
    /// Notes about the recovery, in sentences.
    #[serde(skip)]
    pub(crate) recovery_notes: Vec<String>,
    #[serde(skip)]
    pub(crate) failure: Option<Failure>,
}

impl PatchesReport {
    /// The report of a command that began at `began`; `code` gives the exit code of a failure.
    pub(crate) fn of(
        root: &Root,
        command: Command,
        result: Result<ApplyReport, Failure>,
        code: fn(Command, &Failure) -> Exit,
        began: Instant,
    ) -> Self {
        let (mut patches, mut run, mut recovered, mut recovery_notes) = (Vec::new(), None, None, Vec::new());
        let failure = match result {
            Err(failure) => Some(failure),
            Ok(report) => {
                recovered = recovery_sentence(&report.recovered);
                recovery_notes = report.recovered.notes().to_vec();
                run = report.patches.iter().filter_map(|one| run_of(&one.result)).next_back();
                patches =
                    report.patches.into_iter().map(|one| PatchEntry::of(root, command, one, code)).collect();
                None
            }
        };
        let exit = failure.as_ref().map_or_else(|| exit(&patches), |failure| code(command, failure));
        let is_half_done = |failure: &Failure| {
            !matches!(failure.left(), RootCondition::Unchanged | RootCondition::RolledBack)
        };
        Self {
            command,
            result: result_of(failure.as_ref(), exit, &patches),
            run,
            patches,
            changed: run.is_some() || recovered.is_some() || failure.as_ref().is_some_and(is_half_done),
            would_change: None,
            recovered,
            error: failure.as_ref().map(ToString::to_string),
            duration_ms: milliseconds_since(began),
            exit,
            recovery_notes,
            failure,
        }
    }

    /// Turns the report into that of a plan, where it is one.
    pub(crate) fn of_plan(mut self, is_plan: bool) -> Self {
        self.would_change = is_plan.then(|| self.patches.iter().any(PatchEntry::is_planned));
        self
    }

    /// Turns the report into that of one root of many: a patch that is in force anyway is no failure there.
    pub(crate) fn among_others(mut self) -> Self {
        if self.error.is_none() {
            self.exit = first_failure(&self.patches);
        }
        self.result = result_of(self.failure.as_ref(), self.exit, &self.patches);
        self
    }
}

/// A backout in the form of an application.
pub(crate) fn as_applied(report: BackOutReport) -> ApplyReport {
    let patches = report.patches.into_iter().map(|BackOutOutcome { id, plan, scripts, result }| {
        ApplyOutcome { id, plan, scripts, reboot: None, in_use: Vec::new(), result }
    });
    ApplyReport { recovered: report.recovered, patches: patches.collect() }
}

/// The word for all patches together: where the exit code is that of one of them, its word.
fn result_of(failure: Option<&Failure>, exit: Exit, entries: &[PatchEntry]) -> ResultWord {
    if let Some(failure) = failure {
        return ResultWord::of_failure(failure);
    }
    if exit != Exit::OK {
        let decisive = entries.iter().find(|entry| entry.exit == exit);
        return decisive.map_or(ResultWord::Failed, PatchEntry::result);
    }
    let words = || entries.iter().map(PatchEntry::result);
    [ResultWord::Done, ResultWord::Planned]
        .into_iter()
        .find(|word| words().any(|one| one == *word))
        .unwrap_or(ResultWord::NothingToDo)
}

fn run_of(result: &Result<Option<Receipt>, Failure>) -> Option<u64> {
    let receipt = result.as_ref().ok()?.as_ref()?;
    receipt.run.split('-').next()?.parse().ok()
}

/// The exit code of a command about several patches: with one its own code; with several nothing that is in force
/// anyway is a failure, and the first failure counts.
fn exit(entries: &[PatchEntry]) -> Exit {
    if let [only] = entries {
        return only.exit;
    }
    first_failure(entries)
}

/// The exit code where a patch that is in force anyway, or has no package here, is no failure.
fn first_failure(entries: &[PatchEntry]) -> Exit {
    entries.iter().find(|entry| entry.has_failed()).map_or(Exit::OK, |entry| entry.exit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::cause::ExitCause;
    use crate::reply::patch_entry::ChangeCounts;

    fn entry(verdict: &'static str, exit: Exit) -> PatchEntry {
        PatchEntry {
            id: "1-01".to_owned(),
            verdict,
            exit,
            reason: String::new(),
            packages: Vec::new(),
            files: ChangeCounts::default(),
            bytes: 0,
            undo: Vec::new(),
            reboot: None,
            in_use: Vec::new(),
            privileged: Vec::new(),
            scripts: Vec::new(),
            space: Vec::new(),
            notes: Vec::new(),
            changes: None,
            saved_bytes: 0,
            has_plan: false,
            carried_out: None,
            failure: None,
        }
    }

    #[test]
    fn one_patch_keeps_its_code_and_of_several_only_a_real_failure_counts() {
        let applied = Exit::new(2, ExitCause::AlreadyApplied);
        let (later, refused) = (Exit::new(35, ExitCause::Superseded), Exit::new(25, ExitCause::Dependency));
        assert_eq!(exit(&[entry("already-applied", applied)]), applied);
        assert_eq!(exit(&[entry("already-applied", applied), entry("applied", Exit::OK)]), Exit::OK);
        let failed = entry("failed", Exit::new(5, ExitCause::Internal));
        assert_eq!(exit(&[entry("superseded", later), entry("refused", refused), failed]), refused);
    }
}
