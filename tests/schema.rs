//! Every JSON document that the suite sees is one of `docs/schema`, and each of `docs/schema` is seen.

mod kinds_seen;

use std::path::Path;

use patchadm_testing::schema::kinds;
pub(crate) use patchadm_testing::schema::official;

use crate::links::classic_commands;
use crate::scenario::PROGRAM;
use crate::verb_options::verbs_and_actions;

/// Asserts that what a command printed with `--json` is one document of its schema. Gives the kind.
#[track_caller]
pub(crate) fn assert_document(line: &str, printed: &[u8]) -> String {
    patchadm_testing::schema::assert_document(Path::new(PROGRAM), line, printed)
}

/// Asserts the same of a command that was run, where it was asked for a document.
#[track_caller]
pub(crate) fn assert_document_if_asked(line: &str, printed: &[u8]) {
    patchadm_testing::schema::assert_document_if_asked(Path::new(PROGRAM), line, printed);
}

#[test]
fn every_command_has_a_schema() {
    for command in verbs_and_actions().into_iter().chain(classic_commands()) {
        assert!(command.ends_with(" enter") || !kinds(&command).is_empty(), "{command}");
    }
}
