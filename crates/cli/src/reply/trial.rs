//! Trials: how one ended, and the one that a root is on.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::cause::ExitCause;
use super::exit::Exit;
use super::failure::verb_code;
use super::result_word::ResultWord;
use crate::surroundings::{Surroundings, Zone};
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::trial::{TrialOutcome, TrialOutcomeEnd, TrialStatus, trial_status};
use patchadm_planning::plan::refusal::{Command, Wording};
use patchadm_rootfs::Root;

/// The check failed, and everything is backed out.
const CHECK_FAILED: Exit = Exit::new(75, ExitCause::Check);

#[derive(Debug, Serialize)]
pub struct TrialEntry {
    run: String,
    until: String,
    /// The deadline for people.
    #[serde(skip)]
    moment: DateTime<Utc>,
    #[serde(skip)]
    is_short: bool,
    /// `on-trial`, `confirmed`, `backed-out` or `failed`.
    state: &'static str,
    /// Only if one followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<CheckEntry>,
    /// Why the step after the check was not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip)]
    exit: Option<(Exit, ResultWord)>,
    /// The command that keeps the patches on trial.
    #[serde(skip)]
    confirm: String,
}

#[derive(Debug, Serialize)]
struct CheckEntry {
    good: bool,
    /// As a clause.
    end: String,
    /// The last lines.
    output: Vec<String>,
}

impl TrialEntry {
    pub fn of(root: &Root, command: Command, outcome: TrialOutcome) -> Self {
        let check = outcome.check.map(|check| CheckEntry {
            good: check.end == patchadm_core::operation::trial::TrialCheckEnd::Good,
            end: check.end.clause(),
            output: check.lines,
        });
        let (state, exit) = match &outcome.end {
            TrialOutcomeEnd::OnTrial => ("on-trial", None),
            TrialOutcomeEnd::Confirmed => ("confirmed", None),
            TrialOutcomeEnd::BackedOut => ("backed-out", Some((CHECK_FAILED, ResultWord::RolledBack))),
            TrialOutcomeEnd::Failed(failure) => {
                ("failed", Some((verb_code(command, failure), ResultWord::Failed)))
            }
        };
        let error = match outcome.end {
            TrialOutcomeEnd::Failed(failure) => Some(failure.to_string()),
            _ => None,
        };
        let (until, moment) = (outcome.record.deadline(), outcome.record.until);
        let is_short = outcome.record.duration.is_short();
        let confirm = Wording::of_verbs(root.prefix()).verb("confirm");
        Self { run: outcome.record.run, until, moment, is_short, state, check, error, exit, confirm }
    }

    /// Returns `None` if the trial does not determine them.
    pub fn exit(&self) -> Option<(Exit, ResultWord)> {
        self.exit
    }

    /// Returns the trial in sentences, the output of a failed check before the last.
    pub fn lines(&self, zone: Zone) -> Vec<String> {
        let until = zone.deadline(self.moment, self.is_short);
        let mut lines = Vec::new();
        if let Some(check) = &self.check {
            lines.push(format!("the probe {}", check.end));
            if !check.good {
                lines.extend(check.output.iter().map(|line| format!("  {line}")));
            }
        }
        let run = &self.run;
        lines.push(match (self.state, &self.error) {
            ("on-trial", _) => {
                format!("run {run} is on trial until {until}; it is reverted unless you confirm it")
            }
            ("confirmed", _) => format!("run {run} is confirmed"),
            ("backed-out", _) => format!("run {run} was reverted"),
            (_, error) => {
                format!("run {run} is still on trial until {until}: {}", error.as_deref().unwrap_or_default())
            }
        });
        if self.state == "on-trial" {
            lines.push(format!("hint: {}", self.confirm.trim_matches('`')));
        }
        lines
    }
}

/// The trial of a root, in answers of queries.
#[derive(Clone, Debug, Serialize)]
pub struct TrialStanding {
    /// The run on trial.
    pub run: String,
    /// The deadline.
    until: String,
    /// The next command that changes the root backs it out.
    over: bool,
    /// Why a trial that is over could not be backed out.
    stuck: Option<String>,
    patches: Vec<String>,
    /// Without full stop.
    #[serde(skip)]
    pub sentence: String,
    /// Its deadline for people.
    #[serde(skip)]
    deadline: String,
    /// Its probe is running, and other commands wait for it.
    #[serde(skip)]
    is_probed: bool,
}

impl TrialStanding {
    pub fn of(root: &Root, surroundings: &Surroundings) -> Result<Option<Self>, Failure> {
        let status = trial_status(root, &surroundings.moment())?;
        Ok(status.map(|status| Self::of_status(&status, surroundings.zone)))
    }

    fn of_status(status: &TrialStatus, zone: Zone) -> Self {
        let record = &status.record;
        let deadline = zone.deadline(record.until, record.duration.is_short());
        Self {
            run: record.run.clone(),
            until: record.deadline(),
            over: status.is_over,
            stuck: record.stuck.clone(),
            patches: record.patches.clone(),
            sentence: status.sentence(&deadline),
            deadline,
            is_probed: status.is_probed,
        }
    }

    pub fn is_over(&self) -> bool {
        self.over
    }

    pub fn is_probed(&self) -> bool {
        self.is_probed
    }

    pub fn is_about(&self, patch: &str) -> bool {
        self.patches.iter().any(|id| id == patch)
    }

    /// Returns the trial with its run and its patches, as a sentence.
    pub fn remark(&self) -> String {
        format!("run {} ({}): {}", self.run, self.patches.join(", "), self.sentence)
    }

    /// Returns what is on trial, until when, and the command that keeps it, as a sentence. A trial that is
    /// over, or whose probe is running, has its remark.
    pub fn reminder(&self, root: &Root) -> String {
        if self.over || self.is_probed {
            return self.remark();
        }
        let (what, them) = match self.patches.len() {
            0 => (format!("run {} is", self.run), "it"),
            1 => ("1 patch is".to_owned(), "it"),
            number => (format!("{number} patches are"), "them"),
        };
        let confirm = Wording::of_verbs(root.prefix()).verb("confirm");
        format!("{what} on trial until {}; {confirm} keeps {them}", self.deadline)
    }
}
