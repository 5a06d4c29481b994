//! Somebody before a terminal, or a script that reads what is printed: how a command about packages goes on, and what the
//! packages' own scripts say.
//!
//! Messages of the command go to standard error. What scripts say, on either stream, goes to standard output, as with
//! the classic pkgadd(1M); where a JSON document is wanted, to standard error. What each command tells beside that is in its `scene`.

use crate::call::Invocation;
use crate::operation::scripts::{Stream, Voice};
use crate::root::Root;
use crate::surroundings::Output;

/// What is told, and to whom.
pub(crate) struct Screen<'a, S> {
    pub(crate) output: Output,
    pub(crate) root: &'a Root,
    /// Whether the steps are told.
    pub(crate) progress: bool,
    /// Whether the outcome is told.
    pub(crate) outcome: bool,
    /// What is particular to the command.
    pub(crate) scene: S,
}

impl<'a, S> Screen<'a, S> {
    /// A screen for a call: where a JSON document is wanted, neither steps nor the outcome are told.
    pub(crate) fn new(call: &Invocation, root: &'a Root, progress: bool, scene: S) -> Self {
        let output = Output::new(call.program);
        Self { output, root, progress: progress && !call.in_json, outcome: !call.in_json, scene }
    }

    /// Prints where standard error can be written to; nothing depends on it.
    pub(crate) fn say(&mut self, text: &str) {
        drop(self.output.complain(text));
    }

    /// Tells a step, where steps are told.
    pub(crate) fn step(&mut self, text: &str) {
        if self.progress {
            self.say(text);
        }
    }
}

impl<S> Voice for Screen<'_, S> {
    fn executing(&mut self, script: &str) {
        self.step(&format!("## Executing {script} script.\n"));
    }

    fn heard(&mut self, _stream: Stream, bytes: &[u8]) {
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
