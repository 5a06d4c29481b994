//! The runs of a root.

use patchadm_pages::{PageCell, PageList, PagePart, PageRow, PageStory, PageTable};
use patchadm_svr4::package::control::truncated;
use serde_json::Value;

use super::{Fields as _, LONGEST_NAME, PageHead, trial_words};

const COLUMNS: [&str; 9] =
    ["Run", "Began", "By", "Command", "Result", "Patches", "Packages", "Took (ms)", "Remarks"];

const KINDS: [(&str, &str); 3] =
    [("done", "done"), ("other", "that ended otherwise"), ("undone", "that were undone")];

const BY_HOOK: &str = "by the hook of a package manager";

pub(super) fn head(document: &Value) -> PageHead {
    let root = document.text("root").to_owned();
    let title = format!("History of {root}");
    let facts = vec![("Root", root), ("Runs", document.items("runs").len().to_string())];
    PageHead { title, facts, skip: "Skip to the runs" }
}

pub(super) fn parts(document: &Value) -> Vec<PagePart> {
    match document.items("runs") {
        // Only a requested single run has logs.
        [run] if run.get("logs").is_some() => vec![one(run)],
        runs => vec![all(runs)],
    }
}

fn one(run: &Value) -> PagePart {
    let story = PageStory {
        heading: format!("{}: {}", run.text("command"), run.text("result")),
        facts: facts(run).into_iter().filter(|(_, value)| !value.is_empty()).collect(),
        lines: run.texts("logs"),
        ..PageStory::default()
    };
    PagePart { heading: format!("Run {}", run.text("run")), stories: vec![story], ..PagePart::default() }
}

fn facts(run: &Value) -> Vec<(String, String)> {
    let because = run.object("because");
    let user = run.text("user");
    let user = if run.is_true("hook") { format!("{user}, {BY_HOOK}") } else { user.to_owned() };
    let took = run.number("duration_ms").map(|duration| format!("{duration} ms")).unwrap_or_default();
    let patch = |id: String| match because.some_text(&id) {
        Some(by) => ("Patch", format!("{id}, required by {}", truncated(&by, LONGEST_NAME))),
        None => ("Patch", id),
    };
    let mut facts = vec![
        ("Began", run.text("time").to_owned()),
        ("By", user),
        ("Result", run.text("result").to_owned()),
        ("Took", took),
    ];
    facts.extend(run.texts("patches").into_iter().map(patch));
    facts.extend([
        ("Packages", run.texts("packages").join(", ")),
        ("Note", run.text("note").to_owned()),
        ("Reverses", run.text("undoes").to_owned()),
        ("Undone by", run.text("undone_by").to_owned()),
    ]);
    let began = run.object("trial").some_text("until").map(|until| format!("until {until}"));
    let trial = trial_words(run.object("on_trial")).or(began);
    facts.extend(trial.into_iter().chain(trial_end(run)).map(|words| ("Trial", words)));
    facts.extend(run.items("refreshed").iter().map(|refreshed| ("Refreshed", refreshed_words(refreshed))));
    let merge = |merge: &Value| format!("{}: compare with {}", merge.text("path"), merge.text("beside"));
    facts.extend(run.items("merges").iter().map(|one| ("Merge", merge(one))));
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The run's effect on the trial of an earlier one.
fn trial_end(run: &Value) -> Option<String> {
    let end = run.object("trial_end");
    end.some_text("end").map(|word| format!("run {}: {word}", end.text("run")))
}

/// The outcome for an adopted package.
fn refreshed_words(refreshed: &Value) -> String {
    let field = |name| refreshed.text(name);
    let (package, name, from, manager) = (field("package"), field("name"), field("from"), field("manager"));
    match refreshed.some_text("to") {
        Some(to) if to == from => format!("{package}, {name} {to} installed again ({manager})"),
        Some(to) => format!("{package}, {name} from {from} to {to} ({manager})"),
        None => format!("{package}, {name} {from} removed ({manager})"),
    }
}

fn all(runs: &[Value]) -> PagePart {
    let heading = "Runs".to_owned();
    if runs.is_empty() {
        return PagePart { heading, remarks: vec!["No run is recorded.".to_owned()], ..PagePart::default() };
    }
    let table = PageTable {
        caption: format!("{} runs", runs.len()),
        columns: COLUMNS.map(Into::into).to_vec(),
        kinds: KINDS.to_vec(),
        rows: runs.iter().map(row).collect(),
    };
    PagePart { heading, table: Some(table), ..PagePart::default() }
}

fn row(run: &Value) -> PageRow {
    let is_done = run.text("result") == "done";
    let undone_by = run.some_text("undone_by");
    let mut kinds = vec![if is_done { "done" } else { "other" }];
    kinds.extend(undone_by.as_ref().map(|_| "undone"));
    let remarks = [
        run.some_text("note"),
        run.some_text("undoes").map(|run| format!("reverses {run}")),
        undone_by.map(|by| format!("undone by {by}")),
        run.is_true("hook").then(|| BY_HOOK.to_owned()),
        trial_words(run.object("on_trial")),
        trial_end(run),
    ];
    let name = run.text("run");
    let number = name.split_once('-').map_or(name, |(number, _)| number);
    let list = |names| PageCell::of_list(PageList { names, more: 0 });
    let cells = vec![
        PageCell { key: number.parse().ok(), ..PageCell::of(number) },
        PageCell { class: "moment", ..PageCell::of(run.text("time")) },
        PageCell::of(run.text("user")),
        PageCell::of(run.text("command")),
        PageCell { class: if is_done { "fine" } else { "warning" }, ..PageCell::of(run.text("result")) },
        list(run.texts("patches")),
        list(run.texts("packages")),
        PageCell::of_number(run.number("duration_ms"), |duration| duration.to_string()),
        PageCell::of(remarks.into_iter().flatten().collect::<Vec<_>>().join("; ")),
    ];
    PageRow { kind: kinds.join(" ").into(), cells }
}
