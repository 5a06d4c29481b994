//! The history of a root: runs, patches and open merges. Unreadable lines are counted or skipped; nothing depends on
//! the history.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::operation::failure::Failure;
use crate::operation::session::must_have_database;
use patchadm_changeset::format::history::{LARGEST_ATTEMPTS_READ, LONGEST_TEXT, SignatureRecord};
use patchadm_changeset::format::run::Run;
use patchadm_changeset::plan::Merge;
use patchadm_inputs::database::history::{HistoryEntry, history_text, readable_history};
use patchadm_inputs::database::{DatabaseError, RecordView, read_consistently};
use patchadm_planning::plan::refusal::Command;
use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::package::control::truncated;
use patchadm_svr4::patch::PatchId;
use patchadm_svr4::places;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastRun {
    /// The first line, with `patches`, `packages` and `because` of all lines, without `merges`.
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
        let attempts =
            view.read(&places::attempts(), LARGEST_ATTEMPTS_READ).ok().flatten().unwrap_or_default();
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

/// A run that may have more lines.
struct BegunRun {
    place: usize,
    /// Its patches and packages, from its second line on.
    names: Option<[HashSet<String>; 2]>,
}

impl PastRuns {
    fn parse(text: &[u8]) -> Self {
        let end = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let (whole, rest) = text.split_at(end);
        let mut past = Self { is_torn: !rest.trim_ascii().is_empty(), ..Self::default() };
        let mut begun = HashMap::new();
        for line in whole.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            match HistoryEntry::parse(line) {
                Err(_) => past.unreadable += 1,
                Ok(line) => past.add(line, &mut begun),
            }
        }
        past.link();
        past
    }

    fn add(&mut self, mut line: HistoryEntry, begun: &mut HashMap<String, BegunRun>) {
        let merges = merges_of(&mut line);
        let known = begun.get_mut(&line.run);
        let known = known.and_then(|known| Some((self.runs.get_mut(known.place)?, &mut known.names)));
        let Some((run, names)) = known.filter(|(run, _)| run.line.result == line.result) else {
            begun.insert(line.run.clone(), BegunRun { place: self.runs.len(), names: None });
            self.runs.push(PastRun { line, undone_by: None, reverted: None, merges });
            return;
        };
        let set = |names: &[String]| -> HashSet<String> { names.iter().cloned().collect() };
        let [patches, packages] =
            names.get_or_insert_with(|| [set(&run.line.patches), set(&run.line.packages)]);
        run.line.patches.extend(line.patches.into_iter().filter(|name| patches.insert(name.clone())));
        run.line.packages.extend(line.packages.into_iter().filter(|name| packages.insert(name.clone())));
        run.merges.extend(merges);
        run.line.because.extend(line.because);
        run.line.note = run.line.note.take().or(line.note);
    }

    /// Puts each attempt before the first later run. The run that followed it may have its number.
    fn add_attempts(&mut self, text: &[u8]) {
        let number = |line: &HistoryEntry| Run::parse(&line.run).map_or(0, |run| run.number);
        let mut names: HashSet<String> = self.runs.iter().map(|run| run.line.run.clone()).collect();
        let lines = text.split(|&byte| byte == b'\n').filter_map(|line| HistoryEntry::parse(line).ok());
        let lines = lines.filter(|line| names.insert(line.run.clone()));
        let of_line = |line| PastRun { line, undone_by: None, reverted: None, merges: Vec::new() };
        let mut attempts: Vec<PastRun> = lines.map(of_line).collect();
        attempts.sort_by_key(|run| (number(&run.line), !run.is_attempt()));
        let mut attempts = attempts.into_iter().peekable();
        for run in std::mem::take(&mut self.runs) {
            let place = (number(&run.line), !run.is_attempt());
            while let Some(attempt) = attempts.next_if(|attempt| (number(&attempt.line), false) < place) {
                self.runs.push(attempt);
            }
            self.runs.push(run);
        }
        self.runs.extend(attempts);
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

fn merges_of(line: &mut HistoryEntry) -> Vec<(String, Vec<Merge>)> {
    let merges = Some(line.made_merges()).filter(|merges| !merges.is_empty());
    merges.map(|merges| (joined_patches(line), merges)).into_iter().collect()
}

/// For a line about merges: no longer than any other text, because each merge shows it.
fn joined_patches(line: &HistoryEntry) -> String {
    truncated(&line.patches.join(", "), LONGEST_TEXT).into_owned()
}

/// The commands that apply patches.
pub(super) const APPLYING: [&str; 2] = ["patchadd", "promote"];

/// The commands that remove patches.
pub(in crate::operation) const REMOVING: [&str; 2] = ["patchrm", "remove"];

/// The last run that applied each patch.
#[derive(Default)]
pub(super) struct AppliedRuns {
    lines: Vec<HistoryEntry>,
    /// The command as typed; only the first line of a run has it.
    typed: Vec<String>,
    /// Places in `lines` and `typed`, by patch.
    places: HashMap<String, (usize, Option<usize>)>,
}

impl AppliedRuns {
    pub(super) fn of(view: &RecordView<'_>) -> Self {
        Self::of_lines(readable_history(view))
    }

    fn of_lines(history: Vec<HistoryEntry>) -> Self {
        let mut runs = Self::default();
        let done = history.into_iter().filter(|run| run.result == "done");
        let (mut last, mut typed) = (String::new(), None);
        for mut run in done.filter(|run| APPLYING.contains(&run.command.as_str())) {
            let words = run.typed.take();
            if run.run != last {
                last.clone_from(&run.run);
                typed = words.map(|words| {
                    runs.typed.push(words);
                    runs.typed.len() - 1
                });
            }
            for patch in std::mem::take(&mut run.patches) {
                runs.places.insert(patch, (runs.lines.len(), typed));
            }
            runs.lines.push(run);
        }
        runs
    }

    pub(super) fn of_patch(&self, id: &PatchId) -> Option<String> {
        self.line(id).map(|line| line.run.clone())
    }

    /// Without the patches, and without what was typed.
    pub(super) fn line(&self, id: &PatchId) -> Option<&HistoryEntry> {
        self.places.get(id.as_str()).and_then(|(line, _)| self.lines.get(*line))
    }

    pub(super) fn typed(&self, id: &PatchId) -> Option<&str> {
        let (_, typed) = self.places.get(id.as_str())?;
        self.typed.get((*typed)?).map(String::as_str)
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
pub fn applied_signatures(root: &Root) -> BTreeMap<String, Arc<SignatureRecord>> {
    let mut signatures = BTreeMap::new();
    for run in readable_history(&RecordView::live(root)).into_iter().filter(is_application) {
        let signature = run.signature.map(Arc::new);
        for id in run.patches {
            // A later run counts, even if it checked nothing.
            match &signature {
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
    /// The patches of the run, as they are shown.
    pub patch: Arc<str>,
    pub run: Arc<str>,
}

/// Sorted by path, then newest first.
pub fn open_merges(root: &Root) -> Result<Vec<OpenMerge>, Failure> {
    let text = read_consistently(root, history_text)?;
    let view = RecordView::live(root);
    // An unreachable path has no file.
    let is_open = |merge: &Merge| view.look(&merge.beside).is_ok_and(|found| found.is_some());
    Ok(recorded_merges(&text, is_open))
}

fn recorded_merges(history: &[u8], is_open: impl Fn(&Merge) -> bool) -> Vec<OpenMerge> {
    let lines = history.rsplit(|&byte| byte == b'\n');
    let lines = lines.filter(|line| line.windows(FIELD.len()).any(|part| part == FIELD));
    let entries = lines.filter_map(|line| HistoryEntry::parse(line).ok());
    let mut seen = BTreeSet::new();
    let mut merges = Vec::new();
    for mut entry in entries {
        let mut of_entry = entry.made_merges();
        of_entry.retain(|merge| seen.insert(merge.beside.clone()) && is_open(merge));
        if of_entry.is_empty() {
            continue;
        }
        let (patch, run): (Arc<str>, Arc<str>) = (joined_patches(&entry).into(), entry.run.into());
        merges.extend(of_entry.into_iter().map(|merge| OpenMerge {
            merge,
            patch: patch.clone(),
            run: run.clone(),
        }));
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
        let found = recorded_merges(text.as_bytes(), |_| true);
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

    #[test]
    fn a_merge_that_is_over_hides_older_ones_beside_the_same_file_and_is_not_listed() {
        let merge = |name: &str| {
            format!(
                "done\",\"duration\":3,\"merges\":[{{\"path\":\"/{name}\",\"beside\":\"/{name}.patch\"}}]"
            )
        };
        let text = [merge_line("1", "100-01", &merge("a")), merge_line("2", "100-02", &merge("b"))].concat();
        let found = recorded_merges(text.as_bytes(), |merge| merge.path.as_bytes() == b"/b");
        assert_eq!(found.iter().map(|one| &*one.patch).collect::<Vec<_>>(), ["100-02"]);
    }

    #[test]
    fn the_merges_of_a_line_share_the_names_of_its_patches() {
        let merges: Vec<String> =
            (0..5_000).map(|at| format!("{{\"path\":\"/{at}\",\"beside\":\"/{at}.patch\"}}")).collect();
        let patches = vec!["x".repeat(LONGEST_TEXT - 3); 450].join("\",\"");
        let more = format!("done\",\"duration\":3,\"merges\":[{}]", merges.join(","));
        let text = merge_line("1", &patches, &more);
        let found = recorded_merges(text.as_bytes(), |_| true);
        assert_eq!(found.len(), merges.len());
        assert!(found.iter().all(|one| Arc::ptr_eq(&one.patch, &found[0].patch)));
        assert_eq!(found[0].patch.chars().count(), LONGEST_TEXT);
        let past = PastRuns::parse(text.as_bytes());
        assert_eq!(past.runs[0].merges.len(), 1);
        assert_eq!(past.runs[0].merges[0].0.as_str(), &*found[0].patch);
        assert!(past.runs[0].line.merges.is_empty());
    }

    #[test]
    fn a_line_of_the_history_is_kept_once_for_all_its_patches() {
        let entry = |text: &str| HistoryEntry::parse(text.trim().as_bytes()).unwrap();
        let patches = (0..3_000).map(|at| format!("{at}-01")).collect::<Vec<_>>().join("\",\"");
        let typed = ",\"typed\":\"update now\"";
        let runs = AppliedRuns::of_lines(vec![
            entry(&line("1", &patches, typed)),
            entry(&line("1", "7000-01", "")),
            entry(&line("2", "17-01", "")),
        ]);
        assert_eq!((runs.lines.len(), runs.typed.len(), runs.places.len()), (3, 1, 3_001));
        let of = |id: &str| {
            let id = PatchId::new(id).unwrap();
            (runs.of_patch(&id), runs.typed(&id))
        };
        assert_eq!(of("2999-01"), (Some("1-00000000000000ab".to_owned()), Some("update now")));
        assert_eq!(of("7000-01"), (Some("1-00000000000000ab".to_owned()), Some("update now")));
        assert_eq!(of("17-01"), (Some("2-00000000000000ab".to_owned()), None));
    }

    #[test]
    fn an_attempt_comes_before_the_run_that_took_its_number() {
        let history = [line("1", "1-01", ""), line("3", "3-01", ""), line("2", "2-01", "")].concat();
        let mut past = PastRuns::parse(history.as_bytes());
        let attempt = |run: &str| {
            format!(
                "{{\"run\":\"{run}\",\"time\":\"2026-11-20T06:37:39Z\",\"user\":\"root\",\
                 \"command\":\"patchadd\",\"result\":\"failed\",\"duration\":0}}\n"
            )
        };
        let names = ["3-00000000000000cd", "2-00000000000000cd", "3-00000000000000ce", "2-00000000000000cd"];
        let later = ["9-00000000000000cd", "1-00000000000000ab"];
        past.add_attempts(names.iter().chain(&later).map(|run| attempt(run)).collect::<String>().as_bytes());
        let shown: Vec<String> =
            past.runs.iter().map(|run| run.line.run.replace("-00000000000000", "")).collect();
        assert_eq!(shown, ["1ab", "2cd", "3cd", "3ce", "3ab", "2ab", "9cd"]);
    }

    #[test]
    fn a_run_of_many_lines_and_many_attempts_are_read_in_one_pass_each() {
        let history: String = (0..100_000).map(|at| line("1", &format!("{at}-01"), "")).collect();
        let mut past = PastRuns::parse(history.as_bytes());
        let attempts: String = (0..50_000).rev().map(|at| line(&at.to_string(), "1-01", "")).collect();
        past.add_attempts(attempts.as_bytes());
        assert_eq!(past.runs.len(), 50_000);
        assert_eq!(past.runs[1].line.patches.len(), 100_000);
    }
}
