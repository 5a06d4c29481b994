//! What is done five times a second while a task is at work: whoever is told of it hears how far it is, and it is noted whether
//! the disk was full meanwhile.

use std::cell::Cell;
use std::path::Path;

use patchadm_bulk_values::journal::FailureCause;

use super::order::TaskFailure;
use super::step::{StepError, TaskError};
use super::teller::TaskTeller;
use crate::space::{SpaceSigns, is_full};

/// A task that is being watched.
pub(super) struct TaskWatch<'a> {
    teller: &'a TaskTeller,
    build_dir: &'a Path,
    /// Whether there was no space at some moment: another task may have made room since.
    was_full: Cell<bool>,
    signs: SpaceSigns,
}

impl<'a> TaskWatch<'a> {
    pub(super) fn of(teller: &'a TaskTeller, build_dir: &'a Path) -> Self {
        Self { teller, build_dir, was_full: Cell::new(false), signs: SpaceSigns::begin(build_dir) }
    }

    /// Notes what is told of the task, and whether there is space; returns whether it is to end.
    pub(super) fn tick(&self, memory: u64, log: u64) -> bool {
        self.look_at_space();
        self.teller.tick(memory, log)
    }

    fn look_at_space(&self) {
        self.was_full.set(self.was_full.get() || is_full(self.build_dir));
    }

    /// Makes it the failure of the machine that a package has failed by what a program does that finds no space, and tells the
    /// other tasks that there was none, before this one makes room.
    pub(super) fn blame(&self, error: StepError) -> StepError {
        let error = self.blamed(error);
        if matches!(error, StepError::Machine(TaskError::FullBuildDir(_))) {
            // Without it the others only look for themselves.
            let _ = self.signs.give();
        }
        error
    }

    fn blamed(&self, error: StepError) -> StepError {
        let StepError::Package(TaskFailure { cause, .. }) = &error else { return error };
        let is_possible = matches!(
            cause,
            FailureCause::Exit
                | FailureCause::Signal
                | FailureCause::Distfile
                | FailureCause::Install
                | FailureCause::Result
                | FailureCause::Check
        );
        self.look_at_space();
        if is_possible && (self.was_full.get() || self.signs.has_sign()) {
            return StepError::Machine(TaskError::FullBuildDir(self.build_dir.to_owned()));
        }
        error
    }
}
