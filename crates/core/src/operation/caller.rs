//! The caller of a changing command: everything that only the command line knows.

use crate::operation::scripts::runner::ScriptSettings;
use patchadm_changeset::transaction::{ExchangeRequest, ProgressEvent};
use patchadm_inputs::trial::Moment;
use patchadm_planning::plan::clock::Now;
use patchadm_rootfs::{LockHolder, never};

pub use super::history_watch::HistoryListener;

/// What a changing command passes on: everything that only the command line knows.
pub struct Caller<'a> {
    /// The command, by its name in lock, journal and history.
    pub program: &'static str,
    /// The clock and the host.
    pub now: Now,
    /// The start of the command, RFC 3339.
    pub time: String,
    /// The user who runs the command.
    pub user: String,
    /// Decides whether to wait once more for the lock of this holder. It does the waiting itself.
    pub wait: &'a dyn Fn(&LockHolder) -> bool,
    /// Returns the signal that asks the run to end, if one arrived.
    pub interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
    /// Receives the progress of the run.
    pub progress: &'a (dyn Fn(ProgressEvent) + Sync),
    /// Receives what the history of a root got, each time that the root is given back.
    pub told: HistoryListener<'a>,
    /// Returns the clocks as they stand, by which a trial is judged.
    pub moment: &'a dyn Fn() -> Moment,
    /// How scripts are run by what a command does unasked: the end of a trial.
    pub scripts: ScriptSettings,
    /// Returns the milliseconds since the command began.
    pub elapsed: &'a dyn Fn() -> u64,
    /// The run that the command undoes, for the history.
    pub undoes: Option<String>,
    /// Whether a hook of a package manager calls, and not a person; for the history.
    pub is_hook: bool,
    /// A remark on the run that is reported later, for the history.
    pub note: Option<String>,
    /// The directories of the root whose changes become visible at once, in the order of their switch.
    pub exchanges: Vec<ExchangeRequest>,
}

impl Caller<'_> {
    /// Returns the same caller for a command that undoes a run.
    pub(super) fn undoing(&self, run: &str) -> Self {
        Self {
            now: self.now.clone(),
            time: self.time.clone(),
            user: self.user.clone(),
            scripts: self.scripts.clone(),
            undoes: Some(run.to_owned()),
            note: self.note.clone(),
            exchanges: self.exchanges.clone(),
            ..*self
        }
    }

    /// Returns the same caller for a command of this name, which was not asked for: it has no note and no directories.
    pub(super) fn doing(&self, program: &'static str) -> Self {
        Self {
            program,
            now: self.now.clone(),
            time: self.time.clone(),
            user: self.user.clone(),
            scripts: self.scripts.clone(),
            undoes: None,
            note: None,
            exchanges: Vec::new(),
            ..*self
        }
    }

    /// Returns the same caller for work that no signal interrupts: one that came has been obeyed.
    pub(super) fn doing_to_its_end(&self) -> Self {
        Self { interrupt: &never, ..self.doing(self.program) }
    }

    /// Returns the same caller for a command with a remark that is reported later.
    #[must_use]
    pub fn noting(&self, note: Option<&str>) -> Self {
        Self {
            now: self.now.clone(),
            time: self.time.clone(),
            user: self.user.clone(),
            scripts: self.scripts.clone(),
            undoes: self.undoes.clone(),
            note: note.map(str::to_owned),
            exchanges: self.exchanges.clone(),
            ..*self
        }
    }

    /// Returns the same caller for a command that a hook of a package manager calls.
    #[must_use]
    pub fn as_hook(&self) -> Self {
        Self { is_hook: true, ..self.noting(self.note.as_deref()) }
    }

    /// Returns the same caller for a command whose changes become visible at once below these directories.
    #[must_use]
    pub fn exchanging(&self, exchanges: &[ExchangeRequest]) -> Self {
        Self { exchanges: exchanges.to_vec(), ..self.noting(self.note.as_deref()) }
    }
}
