//! The open merges of a root: edited files that a patch left in place, with the version of the patch still beside them.
//!
//! The history tells which files these are, and a merge ends when the file beside is gone. No other file is looked at.

use std::collections::BTreeSet;

use crate::operation::failure::Failure;
use patchadm_changeset::plan::Merge;
use patchadm_inputs::database::history::{HistoryEntry, history_text};
use patchadm_inputs::database::{RecordView, read_consistently};
use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;

/// The name of the field in a line with merges. Only these lines are parsed.
const FIELD: &[u8] = b"\"merges\":";

/// A merge that nobody has resolved yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenMerge {
    /// The edited file, and the version of the patch beside it.
    pub merge: Merge,
    /// The patch.
    pub patch: String,
    /// The run that applied it.
    pub run: String,
}

/// Returns the open merges of a root, sorted by path; of one path, the newest first.
pub fn open_merges(root: &Root) -> Result<Vec<OpenMerge>, Failure> {
    let text = read_consistently(root, history_text)?;
    let view = RecordView::live(root);
    // A path that cannot be looked at, like one behind a link that leads nowhere, has no file.
    let is_open = |beside: &ObjectPath| view.look(beside).is_ok_and(|found| found.is_some());
    Ok(recorded_merges(&text).into_iter().filter(|one| is_open(&one.merge.beside)).collect())
}

/// Returns the merges of a history, each once, sorted by path; of one path, the newest first.
fn recorded_merges(history: &[u8]) -> Vec<OpenMerge> {
    let lines = history.split(|&byte| byte == b'\n');
    let lines = lines.filter(|line| line.windows(FIELD.len()).any(|part| part == FIELD));
    let entries: Vec<HistoryEntry> = lines.filter_map(|line| HistoryEntry::parse(line).ok()).collect();
    let mut seen = BTreeSet::new();
    let mut merges = Vec::new();
    for entry in entries.into_iter().rev().filter(|entry| entry.result == "done") {
        let patch = entry.patches.join(", ");
        for merge in entry.merges {
            if seen.insert(merge.beside.clone()) {
                merges.push(OpenMerge { merge, patch: patch.clone(), run: entry.run.clone() });
            }
        }
    }
    merges.sort_by(|one, other| one.merge.path.cmp(&other.merge.path));
    merges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(run: &str, patch: &str, more: &str) -> String {
        format!(
            "{{\"run\":\"{run}-00000000000000ab\",\"time\":\"2026-11-20T06:37:39Z\",\"user\":\"root\",\
             \"command\":\"patchadd\",\"patches\":[\"{patch}\"],\"result\":\"{more}}}\n"
        )
    }

    #[test]
    fn each_file_beside_an_edited_one_is_a_merge_once_and_the_newest_comes_first() {
        let merge = |name: &str, id: &str| {
            format!("\"merges\":[{{\"path\":\"/etc/{name}\",\"beside\":\"/etc/{name}.patch-{id}\"}}]")
        };
        let done = |name, id| format!("done\",\"duration\":3,{}", merge(name, id));
        let text = [
            line("1", "100-01", &done("b", "100-01")),
            line("2", "100-02", &done("b", "100-02")),
            line("3", "200-01", "done\",\"duration\":3,\"note\":\"merges\""),
            line("4", "300-01", &format!("rolled-back\",\"duration\":3,{}", merge("c", "300-01"))),
            line("5", "400-01", &done("a%20x", "400-01")),
            line("6", "400-01", &done("a%20x", "400-01")),
            line("7", "500-01", &done("../../x", "500-01")),
        ]
        .concat();
        let found = recorded_merges(text.as_bytes());
        let shown = |one: &OpenMerge| format!("{} {} {}", &one.run[..1], one.patch, one.merge.beside);
        let shown: Vec<String> = found.iter().map(shown).collect();
        assert_eq!(
            shown,
            [
                "6 400-01 /etc/a x.patch-400-01",
                "2 100-02 /etc/b.patch-100-02",
                "1 100-01 /etc/b.patch-100-01"
            ]
        );
    }
}
