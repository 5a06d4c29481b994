//! Finds the run to undo, and checks that its changes are in place: the history names its patches, records and ledgers
//! their state.

use chrono::NaiveDate;

use crate::operation::failure::Failure;
use crate::operation::patches::later_patches::run_of;
use crate::operation::session::{RootAndPolicy, STAGE_REFRESH, UNDO_LIMIT, must_have_database};
use patchadm_changeset::format::run::Run;
use patchadm_inputs::database::history::{HistoryEntry, readable_history};
use patchadm_inputs::database::undo_data::ArchiveError;
use patchadm_inputs::database::{RecordView, ledger};
use patchadm_planning::plan::refusal::{Command, Reason, UndoReason};
use patchadm_rootfs::Root;
use patchadm_svr4::patch::{AppliedPatches, PatchId};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndoneRun {
    pub name: String,
    /// No run was named.
    is_last: bool,
    pub work: RunWork,
    /// Arguments of `undo` for an earlier run, if no run was named and this one was itself an undo.
    pub earlier: Option<String>,
    /// The run whose trial this one ended.
    pub reverted: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunWork {
    /// In this order.
    Applied(Vec<String>),
    /// In this order.
    BackedOut(Vec<String>),
}

impl RunWork {
    /// `None` if the run is none of patches.
    fn of(lines: &[&HistoryEntry]) -> Option<Self> {
        let patches = lines.iter().flat_map(|line| line.patches.iter().cloned()).collect();
        match lines.first()?.command.as_str() {
            "patchadd" | "promote" => Some(Self::Applied(patches)),
            "patchrm" => Some(Self::BackedOut(patches)),
            _ => None,
        }
    }

    pub(super) fn patches(&self) -> &[String] {
        match self {
            Self::Applied(patches) | Self::BackedOut(patches) => patches,
        }
    }
}

/// Finds a run by name or number, or else the last one that changed something.
pub fn run_to_undo(root: &Root, word: Option<&str>) -> Result<UndoneRun, Failure> {
    must_have_database(root)?;
    let history = readable_history(&RecordView::live(root));
    let last = last_run(&history);
    let name = match word {
        Some(word) => named_run(&history, word).ok_or_else(|| {
            let instead = verb_for(&history, word);
            refusal(UndoReason::UnknownRun { instead }, word)
        })?,
        None => last.ok_or_else(|| refusal(UndoReason::NoRun, ""))?,
    };
    let lines: Vec<&HistoryEntry> = history.iter().filter(|line| line.run == name).collect();
    if lines.iter().any(|line| line.result != DONE) {
        return Err(refusal(UndoReason::RolledBack, name));
    }
    let earlier = |skips_undos: bool| {
        let last = last_of_patches(&history, skips_undos);
        let last = last.filter(|line| word.is_none() && can_be_undone(root, &history, line));
        last.map(arguments_of_undo)
    };
    let Some(work) = RunWork::of(&lines) else {
        let command = lines.first().map(|line| line.command.clone()).unwrap_or_default();
        return Err(refusal(UndoReason::OtherCommand { command, earlier: earlier(false) }, name));
    };
    let earlier = lines.first().filter(|line| line.undoes.is_some()).and_then(|_| earlier(true));
    let ended = lines.first().and_then(|line| line.trial_end.as_ref());
    let ended = ended.filter(|end| ["failed", "expired"].contains(&end.end.as_str()));
    let reverted = ended.map(|end| end.run.clone());
    let run = UndoneRun { name: name.to_owned(), is_last: word.is_none(), work, earlier, reverted };
    run.must_be_gone(root)?;
    Ok(run)
}

const DONE: &str = "done";

/// Runs that concern an earlier run, a stage or undo data, and change no object.
const OF_EARLIER: [&str; 7] =
    ["confirm", "trial", "repack", STAGE_REFRESH, "undo-export", "undo-import", UNDO_LIMIT];

impl UndoneRun {
    /// Fails if something that the run applied has changed. The caller holds the lock, or plans without one.
    pub(super) fn must_stand(&self, root: &Root, applied: &AppliedPatches) -> Result<(), Failure> {
        let view = RecordView::live(root);
        let history = readable_history(&view);
        match last_run(&history) {
            Some(last) if self.is_last && last != self.name => {
                return Err(refusal(UndoReason::NoLongerLast(last.to_owned()), &self.name));
            }
            _ => {}
        }
        let number = Run::parse(&self.name).map(|run| run.number);
        let RunWork::Applied(patches) = &self.work else { return Ok(()) };
        for patch in patches {
            let gone = || refusal(UndoReason::NoLongerApplied(patch.clone()), &self.name);
            let known = applied.iter().find(|known| known.id.as_str() == patch).ok_or_else(gone)?;
            for package in &known.packages {
                let by = run_of(&ledger::counting(&view, package).map_err(ArchiveError::from)?, patch);
                if by.is_none() || by != number {
                    let by = by.map_or("an unknown run".to_owned(), |by| format!("run {by}"));
                    let (patch, package) = (patch.clone(), package.to_string());
                    return Err(refusal(UndoReason::AppliedOtherwise { patch, package, by }, &self.name));
                }
            }
        }
        Ok(())
    }

    fn must_be_gone(&self, root: &Root) -> Result<(), Failure> {
        let RunWork::BackedOut(patches) = &self.work else { return Ok(()) };
        let ground = RootAndPolicy::of(root)?;
        let applied = ground.recorded(&ground.packages()?)?;
        let is_applied = |patch: &&String| {
            PatchId::parse(patch, &ground.policy.separator).is_ok_and(|id| applied.get(&id).is_some())
        };
        match patches.iter().find(is_applied) {
            Some(patch) => Err(refusal(UndoReason::AppliedAgain(patch.clone()), &self.name)),
            None => Ok(()),
        }
    }
}

/// Skips runs of hooks, which follow a package manager and cannot be undone here.
fn last_run(history: &[HistoryEntry]) -> Option<&str> {
    let has_changed = |line: &&HistoryEntry| {
        line.result == DONE && !line.hook && !OF_EARLIER.contains(&line.command.as_str())
    };
    history.iter().rev().find(has_changed).map(|line| line.run.as_str())
}

/// Returns the last run that applied or removed patches and was not undone.
fn last_of_patches(history: &[HistoryEntry], skips_undos: bool) -> Option<&HistoryEntry> {
    let is_undone =
        |run: &str| history.iter().any(|line| line.result == DONE && line.undoes.as_deref() == Some(run));
    let can_be_meant = |line: &&HistoryEntry| {
        line.result == DONE
            && !line.hook
            && !(skips_undos && line.undoes.is_some())
            && ["patchadd", "promote", "patchrm"].contains(&line.command.as_str())
            && !is_undone(&line.run)
    };
    history.iter().rev().find(can_be_meant)
}

fn arguments_of_undo(line: &HistoryEntry) -> String {
    let number = number_of(&line.run);
    if line.command == "patchrm" { format!("-M DEPOT {number}") } else { number.to_owned() }
}

/// Returns true as far as that is known without a plan.
fn can_be_undone(root: &Root, history: &[HistoryEntry], line: &HistoryEntry) -> bool {
    let lines: Vec<&HistoryEntry> = history.iter().filter(|other| other.run == line.run).collect();
    let Some(work) = RunWork::of(&lines) else { return false };
    // The packages of removed patches may have other versions since.
    let of_later = history.iter().rev().take_while(|other| other.run != line.run);
    let mut of_later = of_later.filter(|other| other.result == DONE && !changes_no_package(other));
    let is_changed =
        of_later.any(|later| later.packages.iter().any(|package| line.packages.contains(package)));
    let run = UndoneRun { name: line.run.clone(), is_last: false, work, earlier: None, reverted: None };
    let applied = || {
        let ground = RootAndPolicy::of(root)?;
        ground.recorded(&ground.packages()?)
    };
    match run.work {
        RunWork::Applied(_) => applied().and_then(|applied| run.must_stand(root, &applied)).is_ok(),
        RunWork::BackedOut(_) => !is_changed && run.must_be_gone(root).is_ok(),
    }
}

fn changes_no_package(line: &HistoryEntry) -> bool {
    ["patchadd", "promote", "patchrm"].contains(&line.command.as_str())
        || OF_EARLIER.contains(&line.command.as_str())
}

/// Returns the verb and arguments for a word that names no run: it may be a patch or a day.
fn verb_for(history: &[HistoryEntry], word: &str) -> String {
    if NaiveDate::parse_from_str(word, "%Y-%m-%d").is_ok() {
        return format!("remove --down-to {word}");
    }
    let is_about =
        |line: &&HistoryEntry| line.result == DONE && line.patches.iter().any(|patch| patch == word);
    match history.iter().rev().find(is_about).map(|line| line.command.as_str()) {
        Some("patchadd" | "promote") if PatchId::new(word).is_ok() => format!("remove {word}"),
        _ => "history".to_owned(),
    }
}

/// Returns the number of a run, which is enough to name it.
pub fn number_of(run: &str) -> &str {
    run.split_once('-').map_or(run, |(number, _)| number)
}

pub(super) fn named_run<'h>(history: &'h [HistoryEntry], word: &str) -> Option<&'h str> {
    let is_it = |run: &str| run == word || run.split_once('-').is_some_and(|(number, _)| number == word);
    history.iter().map(|line| line.run.as_str()).find(|run| is_it(run))
}

fn refusal(reason: UndoReason, run: &str) -> Failure {
    Reason::NotUndone(reason).of(Command::Undo, &run).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(run: &str, result: &str) -> HistoryEntry {
        let line = format!(
            "{{\"run\":\"{run}\",\"time\":\"\",\"user\":\"\",\"command\":\"patchadd\",\"result\":\"{result}\",\"duration\":1}}"
        );
        HistoryEntry::parse(line.as_bytes()).unwrap()
    }

    #[test]
    fn a_run_is_named_by_its_name_or_its_number() {
        let history = [line("1-00000000000000aa", "done"), line("12-00000000000000bb", "done")];
        assert_eq!(named_run(&history, "12"), Some("12-00000000000000bb"));
        assert_eq!(named_run(&history, "1-00000000000000aa"), Some("1-00000000000000aa"));
        assert_eq!(named_run(&history, "2"), None);
        assert_eq!(named_run(&history, "1-00000000000000bb"), None);
    }

    #[test]
    fn a_run_of_a_hook_is_not_the_last_one() {
        let by_hook = HistoryEntry { hook: true, ..line("2-00000000000000bb", "done") };
        let history = [line("1-00000000000000aa", "done"), by_hook.clone()];
        assert_eq!(last_run(&history), Some("1-00000000000000aa"));
        assert_eq!(last_run(&[by_hook]), None);
    }

    #[test]
    fn a_word_that_is_no_run_may_be_a_patch_or_a_day() {
        let of = |patch: &str, run: &str, command: &str| HistoryEntry {
            patches: vec![patch.to_owned()],
            command: command.to_owned(),
            ..line(run, "done")
        };
        let history = [
            of("100-01", "1-00000000000000aa", "patchadd"),
            of("200-01", "2-00000000000000bb", "patchadd"),
            of("200-01", "3-00000000000000cc", "patchrm"),
        ];
        assert_eq!(verb_for(&history, "100-01"), "remove 100-01");
        assert_eq!(verb_for(&history, "200-01"), "history", "it was removed");
        assert_eq!(verb_for(&history, "2026-11-28"), "remove --down-to 2026-11-28");
        assert_eq!(verb_for(&history, "9"), "history");
        let arguments = |history: &[HistoryEntry]| last_of_patches(history, false).map(arguments_of_undo);
        assert_eq!(arguments(&history).as_deref(), Some("-M DEPOT 3"));
        assert_eq!(arguments(&history[..2]).as_deref(), Some("2"));
        let undo = HistoryEntry {
            undoes: Some("2-00000000000000bb".to_owned()),
            command: "remove".to_owned(),
            ..line("4-00000000000000dd", "done")
        };
        let history = [&history[..2], &[undo]].concat();
        assert_eq!(arguments(&history).as_deref(), Some("1"), "2 was undone");
    }

    #[test]
    fn a_run_that_was_rolled_back_is_not_the_last_one() {
        let history = [line("1-00000000000000aa", "done"), line("2-00000000000000bb", "rolled-back")];
        assert_eq!(last_run(&history), Some("1-00000000000000aa"));
        assert_eq!(last_run(&[]), None);
    }
}
