//! The runs of a root, from its history: for people, with a count of everything that cannot be read.

use std::collections::BTreeMap;

use crate::operation::failure::Failure;
use crate::operation::session::must_have_database;
use patchadm_changeset::format::run::Run;
use patchadm_changeset::plan::Merge;
use patchadm_inputs::database::history::{HistoryEntry, LARGEST_HISTORY, history_text};
use patchadm_inputs::database::{DatabaseError, RecordView, read_consistently};
use patchadm_rootfs::Root;
use patchadm_svr4::places;

/// A run with everything that the history says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastRun {
    /// Its first line; `patches`, `packages` and `because` are those of all its lines.
    pub line: HistoryEntry,
    /// The run that undid it.
    pub undone_by: Option<String>,
    /// The edited files that each of its patches left in place.
    pub merges: Vec<(String, Vec<Merge>)>,
}

/// The runs of a root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PastRuns {
    /// The runs, oldest first.
    pub runs: Vec<PastRun>,
    /// The number of lines that this program did not write.
    pub unreadable: usize,
    /// Whether the last line was torn off.
    pub is_torn: bool,
}

/// Reads the history of a root; empty if there is none.
pub fn past_runs(root: &Root) -> Result<PastRuns, Failure> {
    must_have_database(root)?;
    let (history, attempts) = read_consistently(root, |view| {
        let history = history_text(view)?;
        // Attempts are told as far as they can be read.
        let attempts = view.read(&places::attempts(), LARGEST_HISTORY).ok().flatten().unwrap_or_default();
        Ok::<_, DatabaseError>((history, attempts))
    })?;
    let mut past = PastRuns::parse(&history);
    past.add_attempts(&attempts);
    Ok(past)
}

/// Returns the existing logs of a run: those of its patches, or that of the root if none of them has one.
pub fn logs_of_run(root: &Root, run: &PastRun) -> Vec<String> {
    let view = RecordView::live(root);
    let is_there =
        |path: &patchadm_svr4::package::ObjectPath| view.look(path).is_ok_and(|seen| seen.is_some());
    let is_application = run.line.command == "patchadd" && run.line.result == "done";
    let own = run.line.patches.iter().filter(|_| is_application);
    let own = own.filter_map(|patch| places::patch_log(patch).ok()).filter(is_there);
    let logs: Vec<String> = own.map(|path| root.show(&path)).collect();
    let of_root = places::own_directory().join(b"log").ok().filter(|path| logs.is_empty() && is_there(path));
    logs.into_iter().chain(of_root.map(|path| root.show(&path))).collect()
}

impl PastRuns {
    /// Reads the text of a history.
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

    /// Adds a line; a run of several patches has one for each.
    fn add(&mut self, line: HistoryEntry, places: &mut BTreeMap<String, usize>) {
        let known = places.get(&line.run).and_then(|place| self.runs.get_mut(*place));
        let Some(run) = known.filter(|run| run.line.result == line.result) else {
            places.insert(line.run.clone(), self.runs.len());
            let merges = merges_of(&line);
            self.runs.push(PastRun { line, undone_by: None, merges });
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

    /// Adds the attempts that came to nothing, each before the run that has its number or a later one.
    fn add_attempts(&mut self, text: &[u8]) {
        let number = |run: &str| Run::parse(run).map_or(0, |run| run.number);
        for line in text.split(|&byte| byte == b'\n').filter_map(|line| HistoryEntry::parse(line).ok()) {
            if self.runs.iter().any(|run| run.line.run == line.run) {
                continue;
            }
            let of_line = number(&line.run);
            let is_later = |run: &PastRun| {
                let is_attempt = ["interrupted", "failed"].contains(&run.line.result.as_str());
                number(&run.line.run) > of_line || !is_attempt && number(&run.line.run) == of_line
            };
            let place = self.runs.iter().position(is_later).unwrap_or(self.runs.len());
            self.runs.insert(place, PastRun { line, undone_by: None, merges: Vec::new() });
        }
    }

    /// Records for each run which run undid it.
    fn link(&mut self) {
        let undone: BTreeMap<String, String> = self
            .runs
            .iter()
            .filter(|run| run.line.result == "done")
            .filter_map(|run| Some((run.line.undoes.clone()?, run.line.run.clone())))
            .collect();
        for run in &mut self.runs {
            run.undone_by = undone.get(&run.line.run).cloned();
        }
    }

    /// Returns the run of this name, or with this number.
    pub fn named(&self, name: &str) -> Option<&PastRun> {
        let mut runs = self.runs.iter().rev();
        let number: Option<u64> = name.parse().ok();
        let is_it = |run: &&PastRun| {
            run.line.run == name
                || number.is_some() && Run::parse(&run.line.run).map(|run| run.number) == number
        };
        runs.find(is_it)
    }
}

/// Returns the edited files that the patch of a line left in place.
fn merges_of(line: &HistoryEntry) -> Vec<(String, Vec<Merge>)> {
    let merges = Some(line.merges.clone()).filter(|merges| !merges.is_empty());
    merges.map(|merges| (line.patches.join(", "), merges)).into_iter().collect()
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
}
