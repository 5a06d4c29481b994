//! The progress of a command about packages, and the output of the packages' own scripts, as a person or a script reads
//! them.
//!
//! Messages of the command go to standard error. The output of scripts, on either stream, goes to standard output, as
//! with the classic pkgadd(1M); where a JSON document is wanted, to standard error. Each command adds its own messages
//! by its `details`.

use patchadm_cli::call::Invocation;
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::scripts::{OutputStream, ScriptOutput};
use patchadm_rootfs::Root;

/// The output of a command about packages.
pub(crate) struct Console<'a, S> {
    pub(crate) output: Output,
    pub(crate) root: &'a Root,
    /// Whether the steps are told.
    pub(crate) progress: bool,
    /// Whether the outcome is told.
    pub(crate) outcome: bool,
    /// The part that is particular to the command.
    pub(crate) details: S,
}

impl<'a, S> Console<'a, S> {
    /// A console for a call: where a JSON document is wanted, neither steps nor the outcome are told.
    pub(crate) fn new(call: &Invocation, root: &'a Root, progress: bool, details: S) -> Self {
        let output = Output::new(call.program);
        Self { output, root, progress: progress && !call.in_json, outcome: !call.in_json, details }
    }

    /// Prints where standard error can be written to; nothing depends on it.
    pub(crate) fn print_message(&mut self, text: &str) {
        drop(self.output.complain(text));
    }

    /// Prints a step, where steps are told.
    pub(crate) fn print_step(&mut self, text: &str) {
        if self.progress {
            self.print_message(text);
        }
    }
}

impl<S> ScriptOutput for Console<'_, S> {
    fn executing(&mut self, script: &str) {
        self.print_step(&format!("## Executing {script} script.\n"));
    }

    fn heard(&mut self, stream: OutputStream, bytes: &[u8]) {
        // Without a reader of the output, the script goes on nevertheless.
        if self.outcome {
            drop(self.output.print_piece(stream, bytes));
            drop(self.output.flush());
        } else {
            drop(self.output.complain_piece(stream, bytes));
        }
    }

    fn complains(&mut self, text: &str) {
        drop(self.output.error(text));
    }

    fn says(&mut self, text: &str) {
        if self.outcome {
            self.print_message(text);
        }
    }

    fn warns(&mut self, text: &str) {
        drop(self.output.warning(text));
    }
}
