//! Progress of a command about packages, and the output of package scripts.
//!
//! Messages go to standard error. Scripts' output goes to standard output as in pkgadd(1M), or to standard error if a
//! JSON document is wanted. `details` adds messages of each command.

use patchadm_cli::call::Invocation;
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::scripts::{OutputStream, ScriptOutput};
use patchadm_rootfs::Root;

pub(crate) struct Console<'a, S> {
    pub(crate) output: Output,
    pub(crate) root: &'a Root,
    pub(crate) progress: bool,
    pub(crate) outcome: bool,
    pub(crate) details: S,
}

impl<'a, S> Console<'a, S> {
    /// A JSON document replaces steps and outcome.
    pub(crate) fn new(call: &Invocation, root: &'a Root, progress: bool, details: S) -> Self {
        let output = Output::new(call.program).telling_of(call.output.recovery());
        Self { output, root, progress: progress && !call.in_json, outcome: !call.in_json, details }
    }

    /// Ignores failures of standard error.
    pub(crate) fn print_message(&mut self, text: &str) {
        drop(self.output.complain(text));
    }

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
