//! The history of a root: runs, patches and open merges. Unreadable lines are counted or skipped; nothing depends on
//! the history.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::operation::failure::Failure;
use crate::operation::session::must_have_database;
use patchadm_changeset::format::history::SignatureRecord;
use patchadm_changeset::format::run::Run;
use patchadm_changeset::plan::Merge;
use patchadm_inputs::database::history::{HistoryEntry, LARGEST_HISTORY, history_text, readable_history};
use patchadm_inputs::database::{DatabaseError, RecordView, read_consistently};
use patchadm_planning::plan::refusal::Command;
use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::patch::PatchId;
use patchadm_svr4::places;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastRun {
    /// The first line, with `patches`, `packages` and `because` of all lines.
    pub line: HistoryEntry,
    pub undone_by: Option<String>,
    /// Why its trial ended with a backout, as a clause.
    pub reverted: Option<String>,
    /// Edited files that stayed, by patch.
    pub merges: Vec<(String, Vec<Merge>)>,
}

impl PastRun {
    /// True if the command removes patches.
    pub fn is_removal(&self) -> bool {
        REMOVING.contains(&self.line.command.as_str())
    }

    /// True if the run ended before anything live changed.
    pub fn is_attempt(&self) -> bool {
        ["interrupted", "failed"].contains(&self.line.result.as_str())
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PastRuns {
    /// Oldest first.
    pub runs: Vec<PastRun>,
    /// Lines that this program did not write.
    pub unreadable: usize,
    /// The last line is incomplete.
    pub is_torn: bool,
}

/// Empty if there is none.
pub fn past_runs(root: &Root) -> Result<PastRuns, Failure> {
    must_have_database(root)?;
    let (history, attempts) = read_consistently(root, |view| {
        let history = history_text(view)?;
        // Attempts are optional.
        let attempts = view.read(&places::attempts(), LARGEST_HISTORY).ok().flatten().unwrap_or_default();
        Ok::<_, DatabaseError>((history, attempts))
    })?;
    let mut past = PastRuns::parse(&history);
    past.add_attempts(&attempts);
    Ok(past)
}

/// Returns logs of the run's patches, or else the root's.
pub fn logs_of_run(root: &Root, run: &PastRun) -> Vec<String> {
    let view = RecordView::live(root);
    let is_there = |path: &ObjectPath| view.look(path).is_ok_and(|seen| seen.is_some());
    let is_application = run.line.command == "patchadd" && run.line.result == "done";
    let own = run.line.patches.iter().filter(|_| is_application);
    let own = own.filter_map(|patch| places::patch_log(patch).ok()).filter(is_there);
    let logs: Vec<String> = own.map(|path| root.show(&path)).collect();
    let of_root = places::own_directory().join(b"log").ok().filter(|path| logs.is_empty() && is_there(path));
    logs.into_iter().chain(of_root.map(|path| root.show(&path))).collect()
}

impl PastRuns {
    fn parse(text: &[u8]) -> Self {
        let end = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let (whole, rest) = text.split_at(end);
        let mut past = Self { is_torn: !rest.trim_ascii().is_empty(), ..Self::default() };
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        for line in whole.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            match HistoryEntry::parse(line) {
                Err(_) => past.unreadable += 1,
                Ok(line) => past.add(line, &mut places),
            }
        }
        past.link();
        past
    }

    fn add(&mut self, line: HistoryEntry, places: &mut BTreeMap<String, usize>) {
        let known = places.get(&line.run).and_then(|place| self.runs.get_mut(*place));
        let Some(run) = known.filter(|run| run.line.result == line.result) else {
            places.insert(line.run.clone(), self.runs.len());
            let merges = merges_of(&line);
            self.runs.push(PastRun { line, undone_by: None, reverted: None, merges });
            return;
        };
        let merges = merges_of(&line);
        for (all, more) in [(&mut run.line.patches, line.patches), (&mut run.line.packages, line.packages)] {
            for one in more {
                if !all.contains(&one) {
                    all.push(one);
                }
            }
        }
        run.merges.extend(merges);
        run.line.because.extend(line.because);
        run.line.note = run.line.note.take().or(line.note);
    }

    fn add_attempts(&mut self, text: &[u8]) {
        let number = |run: &str| Run::parse(run).map_or(0, |run| run.number);
        for line in text.split(|&byte| byte == b'\n').filter_map(|line| HistoryEntry::parse(line).ok()) {
            if self.runs.iter().any(|run| run.line.run == line.run) {
                continue;
            }
            let of_line = number(&line.run);
            let is_later = |run: &PastRun| {
                number(&run.line.run) > of_line || !run.is_attempt() && number(&run.line.run) == of_line
            };
            let place = self.runs.iter().position(is_later).unwrap_or(self.runs.len());
            self.runs.insert(place, PastRun { line, undone_by: None, reverted: None, merges: Vec::new() });
        }
    }

    fn link(&mut self) {
        let undone: BTreeMap<String, String> = self
            .runs
            .iter()
            .filter(|run| run.line.result == "done")
            .filter_map(|run| Some((run.line.undoes.clone()?, run.line.run.clone())))
            .collect();
        let done = self.runs.iter().filter(|run| run.line.result == "done");
        let reverted: BTreeMap<String, String> = done.filter_map(|run| reverted_by(&run.line)).collect();
        for run in &mut self.runs {
            run.undone_by = undone.get(&run.line.run).cloned();
            run.reverted = reverted.get(&run.line.run).cloned();
        }
    }

    /// Accepts a name or a number. An attempt has only a name: the next run takes the same number.
    pub fn named(&self, name: &str) -> Option<&PastRun> {
        let mut runs = self.runs.iter().rev();
        let number: Option<u64> = name.parse().ok();
        let has_number =
            |run: &PastRun| !run.is_attempt() && Run::parse(&run.line.run).map(|run| run.number) == number;
        let is_it = |run: &&PastRun| run.line.run == name || number.is_some() && has_number(run);
        runs.find(is_it)
    }

    /// Returns the runs of a patch, or of all revisions of a patch that is named without one.
    pub fn of_patch(&self, id: &str) -> Vec<&PastRun> {
        let is_meant =
            |patch: &String| patch == id || PatchId::new(patch).is_ok_and(|patch| patch.base() == id);
        self.runs.iter().filter(|run| run.line.patches.iter().any(is_meant)).collect()
    }
}

/// Returns the run whose trial the line ended with a backout, and why.
fn reverted_by(line: &HistoryEntry) -> Option<(String, String)> {
    let end = line.trial_end.as_ref()?;
    let why = match end.end.as_str() {
        "failed" => line.note.clone().unwrap_or_else(|| "its probe failed".to_owned()),
        "expired" => "its trial expired".to_owned(),
        _ => return None,
    };
    Some((end.run.clone(), why))
}

fn merges_of(line: &HistoryEntry) -> Vec<(String, Vec<Merge>)> {
    let merges = Some(line.merges.clone()).filter(|merges| !merges.is_empty());
    merges.map(|merges| (line.patches.join(", "), merges)).into_iter().collect()
}

/// The commands that apply patches.
pub(super) const APPLYING: [&str; 2] = ["patchadd", "promote"];

/// The commands that remove patches.
pub(in crate::operation) const REMOVING: [&str; 2] = ["patchrm", "remove"];

/// The last run that applied each patch.
pub(super) struct AppliedRuns(HashMap<String, HistoryEntry>);

impl AppliedRuns {
    pub(super) fn of(view: &RecordView<'_>) -> Self {
        let mut runs = HashMap::new();
        let done = readable_history(view).into_iter().filter(|run| run.result == "done");
        // Only the first line of a run has what was typed.
        let (mut last, mut typed) = (String::new(), None);
        for mut run in done.filter(|run| APPLYING.contains(&run.command.as_str())) {
            if run.run != last {
                (last, typed) = (run.run.clone(), run.typed.clone());
            }
            run.typed.clone_from(&typed);
            for patch in &run.patches {
                runs.insert(patch.clone(), run.clone());
            }
        }
        Self(runs)
    }

    pub(super) fn of_patch(&self, id: &PatchId) -> Option<String> {
        self.line(id).map(|line| line.run.clone())
    }

    pub(super) fn line(&self, id: &PatchId) -> Option<&HistoryEntry> {
        self.0.get(id.as_str())
    }
}

/// Returns the verdict of the last run that applied the patch, if any. Anyone who may write to the root could forge it:
/// it decides nothing.
pub fn applied_signature(root: &Root, id: &PatchId) -> Option<SignatureRecord> {
    let history = readable_history(&RecordView::live(root));
    let mut runs = history.into_iter().rev().filter(is_application);
    runs.find(|run| run.patches.iter().any(|patch| patch == id.as_str()))?.signature
}

/// Returns signatures by patch id.
pub fn applied_signatures(root: &Root) -> BTreeMap<String, SignatureRecord> {
    let mut signatures = BTreeMap::new();
    for run in readable_history(&RecordView::live(root)).into_iter().filter(is_application) {
        for id in run.patches {
            // A later run counts, even if it checked nothing.
            match &run.signature {
                Some(signature) => signatures.insert(id, signature.clone()),
                None => signatures.remove(&id),
            };
        }
    }
    signatures
}

fn is_application(run: &HistoryEntry) -> bool {
    run.result == "done" && run.command == Command::Patchadd.name()
}

/// Only lines with this field are parsed.
const FIELD: &[u8] = b"\"merges\":";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenMerge {
    /// The edited file, and the patch's version.
    pub merge: Merge,
    pub patch: String,
    pub run: String,
}

/// Sorted by path, then newest first.
pub fn open_merges(root: &Root) -> Result<Vec<OpenMerge>, Failure> {
    let text = read_consistently(root, history_text)?;
    let view = RecordView::live(root);
    // An unreachable path has no file.
    let is_open = |beside: &ObjectPath| view.look(beside).is_ok_and(|found| found.is_some());
    Ok(recorded_merges(&text).into_iter().filter(|one| is_open(&one.merge.beside)).collect())
}

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
             \"command\":\"patchadd\",\"patches\":[\"{patch}\"],\"packages\":[\"X\"],\"result\":\"done\",\
             \"duration\":3{more}}}\n"
        )
    }

    #[test]
    fn the_lines_of_a_run_are_one_and_what_cannot_be_read_is_counted() {
        let text = [
            &line("1", "100-01", ""),
            &line("1", "100-02", ",\"because\":{\"100-02\":\"100-01\"}"),
            "what is this\n",
            &line("2", "100-02", ",\"undoes\":\"1-00000000000000ab\",\"of_tomorrow\":[1]"),
            "{\"run\":\"3-",
        ]
        .concat();
        let past = PastRuns::parse(text.as_bytes());
        assert_eq!((past.runs.len(), past.unreadable, past.is_torn), (2, 1, true));
        let first = past.named("1").unwrap();
        assert_eq!(first.line.patches, ["100-01", "100-02"]);
        assert_eq!(first.line.packages, ["X"]);
        assert_eq!(first.line.because["100-02"], "100-01");
        assert_eq!(first.undone_by.as_deref(), Some("2-00000000000000ab"));
        assert_eq!(past.named("2-00000000000000ab"), past.runs.last());
        assert_eq!(past.named("4"), None);
        assert_eq!(PastRuns::parse(b""), PastRuns::default());
    }

    fn merge_line(run: &str, patch: &str, more: &str) -> String {
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
            merge_line("1", "100-01", &done("b", "100-01")),
            merge_line("2", "100-02", &done("b", "100-02")),
            merge_line("3", "200-01", "done\",\"duration\":3,\"note\":\"merges\""),
            merge_line("4", "300-01", &format!("rolled-back\",\"duration\":3,{}", merge("c", "300-01"))),
            merge_line("5", "400-01", &done("a%20x", "400-01")),
            merge_line("6", "400-01", &done("a%20x", "400-01")),
            merge_line("7", "500-01", &done("../../x", "500-01")),
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
