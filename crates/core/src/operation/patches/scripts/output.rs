//! The output of the scripts of a patch: nothing is shown while they run, and everything goes into the log. This module
//! keeps what patchadd(1M) and patchrm(1M) have to say about it in the end.

use crate::operation::packages::report::PackageObserver;
use crate::operation::scripts::{OutputStream, ScriptOutput};
use crate::script::protocol::PatchMessage;

/// The longest part of the output that is searched for messages, from its end.
const KEPT: usize = 1 << 20;

/// The end of the output, and the notes for the outcome.
#[derive(Debug, Default)]
pub(super) struct PatchOutput {
    said: Vec<u8>,
    /// Sentences about problems that are not failures.
    pub(super) notes: Vec<String>,
}

impl PatchOutput {
    /// Returns the message of the scripts to the command, if there is one.
    pub(super) fn message(&self) -> Option<PatchMessage> {
        PatchMessage::last_in(&self.said)
    }

    fn note(&mut self, text: &str) {
        self.notes.push(text.trim().replace('\n', ": "));
    }
}

impl ScriptOutput for PatchOutput {
    fn heard(&mut self, _: OutputStream, bytes: &[u8]) {
        self.said.extend_from_slice(bytes);
        if self.said.len() > 2 * KEPT {
            self.said.drain(..self.said.len() - KEPT);
        }
    }

    fn complains(&mut self, text: &str) {
        self.note(text);
    }

    fn warns(&mut self, text: &str) {
        self.note(text);
    }
}

impl PackageObserver for PatchOutput {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_found_however_its_bytes_came_and_however_much_is_said() {
        let mut listener = PatchOutput::default();
        listener.heard(OutputStream::Out, &vec![b'x'; 3 * KEPT]);
        listener.heard(OutputStream::Out, b"\nPATCH_MSG 2 it is applied\n");
        assert_eq!(listener.message(), None, "the token is another");
        listener.heard(OutputStream::Err, b"PaTcH_M");
        listener.heard(OutputStream::Err, b"sG 8 it is not\ninstalled\n\n");
        let message = listener.message().unwrap();
        assert_eq!((message.number, message.text.as_str()), (8, "it is not installed"));
        assert!(listener.said.len() <= 2 * KEPT);
    }
}
