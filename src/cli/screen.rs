//! Somebody before a terminal, or a script that reads what is printed: how a command about packages goes on, and what the
//! packages' own scripts say.
//!
//! Messages of the command go to standard error. What scripts say, on either stream, goes to standard output, as with
//! the classic pkgadd(1M); where a JSON document is wanted, to standard error. What each command tells beside that is in its `scene`.

use super::output::Output;
use crate::operation::scripts::{OutputStream, ScriptOutput};
use crate::root::Root;

/// What is told, and to whom.
pub(super) struct Screen<'a, S> {
    pub(super) output: Output,
    pub(super) root: &'a Root,
    /// Whether the steps are told.
    pub(super) progress: bool,
    /// Whether the outcome is told.
    pub(super) outcome: bool,
    /// What is particular to the command.
    pub(super) scene: S,
}

impl<S> Screen<'_, S> {
    /// Prints where standard error can be written to; nothing depends on it.
    pub(super) fn say(&mut self, text: &str) {
        drop(self.output.complain(text));
    }

    /// Tells a step, where steps are told.
    pub(super) fn step(&mut self, text: &str) {
        if self.progress {
            self.say(text);
        }
    }
}

impl<S> ScriptOutput for Screen<'_, S> {
    fn executing(&mut self, script: &str) {
        self.step(&format!("## Executing {script} script.\n"));
    }

    fn heard(&mut self, _stream: OutputStream, bytes: &[u8]) {
        // Where nobody reads any more, the script goes on nevertheless.
        if self.outcome {
            drop(self.output.raw(bytes));
            drop(self.output.flush());
        } else {
            drop(self.output.raw_to_error(bytes));
        }
    }

    fn complains(&mut self, text: &str) {
        drop(self.output.error(text));
    }

    fn says(&mut self, text: &str) {
        if self.outcome {
            self.say(text);
        }
    }

    fn warns(&mut self, text: &str) {
        drop(self.output.warning(text));
    }
}
