//! `patchadm history`: the runs of a root, those of a patch or a path, or one of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta};
use serde::Serialize;

use super::options::PolicylessOptions;
use patchadm_changeset::format::history::{RefreshRecord, TrialEnd, TrialStart};
use patchadm_cli::arguments::parse;
use patchadm_cli::arguments::paths::paths_in_root;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::{hinted, query_refused};
use patchadm_cli::reply::merge_entry::MergeEntry;
use patchadm_cli::reply::trial::TrialStanding;
use patchadm_cli::reply::words::{LONGEST_VALUE, named_value, print_notes, unfinished_sentence};
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, Stop};
use patchadm_cli::surroundings::{Output, Shade, Zone};
use patchadm_core::operation::queries::inspect::interrupted_run;
use patchadm_core::operation::queries::path_owners::{PathRuns, path_owners, path_runs};
use patchadm_core::operation::queries::runs::{PastRun, PastRuns, logs_of_run, past_runs};
use patchadm_planning::plan::refusal::Wording;
use patchadm_rootfs::Root;
use patchadm_svr4::package::control::{on_one_line, truncated};

const USAGE: &str = "patchadm [-R root] history [option...] [run|id|path]";

/// For a run that no person asked for.
const BY_HOOK: &str = "by the hook of a package manager";

/// Names in a line of the table; the rest is counted.
const NAMES_IN_LINE: usize = 4;

/// Of the columns before the last, in characters. The single view shows more of a longer field.
const WIDEST_COLUMN: usize = 40;

/// Of the last column without `-v`.
const WIDEST_LAST_COLUMN: usize = 400;

/// In the single view; the rest is counted.
const MOST_LINES: usize = 5_000;

/// List the runs that changed the root, or show one of them
#[derive(clap::Parser)]
struct HistoryArgs {
    #[command(flatten)]
    common: PolicylessOptions,
    /// The name or number of a run, the id of a patch with or without its revision, or a path (./WORD forces a path)
    #[arg(value_name = "RUN|ID|PATH")]
    about: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct HistoryReport {
    runs: Vec<RunEntry>,
    #[serde(skip)]
    is_one: bool,
    #[serde(skip)]
    is_verbose: bool,
    #[serde(skip)]
    remarks: Vec<String>,
}

#[derive(Debug, Serialize)]
struct RunEntry {
    run: String,
    time: String,
    user: String,
    command: String,
    /// The command line as it was typed; absent if the history does not have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    typed: Option<String>,
    /// A hook of a package manager ran it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    hook: bool,
    patches: Vec<String>,
    packages: Vec<String>,
    result: String,
    /// Known only of a run that came to its end by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
    note: Option<String>,
    /// The patch that required each unnamed one.
    because: BTreeMap<String, String>,
    undoes: Option<String>,
    undone_by: Option<String>,
    /// Why its trial ended with a backout.
    #[serde(skip)]
    reverted: Option<String>,
    /// Refreshed registrations, and what the system's package manager had done.
    refreshed: Vec<RefreshRecord>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    merges: Vec<MergeEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trial: Option<TrialStart>,
    /// Its effect on an earlier trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    trial_end: Option<TrialEnd>,
    /// Set while the run is on trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    on_trial: Option<TrialStanding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logs: Option<Vec<String>>,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let HistoryArgs { common, about } = parse(call, USAGE)?;
    let root = common.root.open(call)?;
    let past = past_runs(&root).map_err(|failed| query_refused(&root, &failed))?;
    let trial =
        TrialStanding::of(&root, &call.surroundings).map_err(|failed| query_refused(&root, &failed))?;
    let mut remarks = remarks(&root, &past);
    let unfinished = interrupted_run(&root).map_err(|failed| query_refused(&root, &failed))?;
    remarks.extend(unfinished.map(|run| unfinished_sentence(&run, root.prefix())));
    let mut is_one = false;
    let found: Vec<&PastRun> = match &about {
        None => past.runs.iter().collect(),
        Some(path) if path.to_string_lossy().contains('/') => {
            let (runs, remark) = runs_of_path(&root, &past, path)?;
            remarks.extend(remark);
            runs
        }
        Some(word) => {
            let word = word.to_string_lossy();
            let run = past.named(&word);
            is_one = run.is_some();
            let found = run.map_or_else(|| past.of_patch(&word), |run| vec![run]);
            if found.is_empty() {
                let what = format!(
                    "the history has no run or patch {word}; specify the number or name of a run, the id of a patch, or a path"
                );
                return Err(unknown(&root, &what).into());
            }
            found
        }
    };
    let mut runs: Vec<RunEntry> = found.iter().map(|run| RunEntry::of(&root, run)).collect();
    if let ([run], [entry], true) = (found.as_slice(), runs.as_mut_slice(), is_one) {
        entry.logs = Some(logs_of_run(&root, run));
    }
    for run in &mut runs {
        run.on_trial = trial.clone().filter(|trial| trial.run == run.run);
    }
    let is_verbose = call.output.is_verbose();
    Ok(Reply::about(&root, Exit::OK, HistoryReport { runs, is_one, is_verbose, remarks }))
}

/// Returns the runs that changed a path as the user typed it, and a remark if others may have.
fn runs_of_path<'a>(
    root: &Root,
    past: &'a PastRuns,
    word: &Path,
) -> anyhow::Result<(Vec<&'a PastRun>, Option<String>)> {
    let paths = paths_in_root(root, &[word.to_owned()], USAGE)?;
    let owners = path_owners(root, &paths).map_err(|failed| query_refused(root, &failed))?;
    let shown = word.display();
    let Some(owners) = owners.first() else { return Ok((Vec::new(), None)) };
    let found = path_runs(root, past, owners).map_err(|failed| query_refused(root, &failed))?;
    let PathRuns { runs, unknown: others } = found;
    if runs.is_empty() && others.is_empty() {
        return Err(unknown(root, &format!("the history has no run that changed {shown}")).into());
    }
    let which = if others.len() == 1 { "1 run".to_owned() } else { format!("{} runs", others.len()) };
    let numbers = others.iter().take(NAMES_IN_LINE).map(|run| number(&run.line.run).to_owned());
    let more = others.len().checked_sub(NAMES_IN_LINE).filter(|more| *more > 0);
    let numbers: Vec<String> = numbers.chain(more.map(|more| format!("and {more} more"))).collect();
    let remark = format!(
        "{which} ({}) of patches that are no longer applied may have changed {shown}, too: their undo data is gone",
        numbers.join(", ")
    );
    Ok((runs, (!others.is_empty()).then_some(remark)))
}

/// Enough to name a run.
fn number(run: &str) -> &str {
    run.split_once('-').map_or(run, |(number, _)| number)
}

fn unknown(root: &Root, what: &str) -> Stop {
    let history = Wording::of_verbs(root.prefix()).verb("history");
    let message = hinted(what, &history);
    Stop::Refused { exit: Exit::of_verb(ExitCause::Unknown), message }
}

fn remarks(root: &Root, past: &PastRuns) -> Vec<String> {
    let path = root.show(&patchadm_svr4::places::history());
    let foreign = (past.unreadable > 0).then(|| {
        let lines = if past.unreadable == 1 { "line that is" } else { "lines that are" };
        format!("{path} has {} {lines} not a record of a run; skipped", past.unreadable)
    });
    let torn = past.is_torn.then(|| format!("the last line of {path} is incomplete: its run is not listed"));
    foreign.into_iter().chain(torn).collect()
}

impl RunEntry {
    fn of(root: &Root, past: &PastRun) -> Self {
        let line = past.line.clone();
        Self {
            run: line.run,
            time: line.time,
            user: line.user,
            command: line.command,
            typed: line.typed,
            hook: line.hook,
            patches: line.patches,
            packages: line.packages,
            result: line.result,
            duration_ms: Some(line.duration).filter(|duration| *duration > 0),
            note: line.note,
            because: line.because,
            undoes: line.undoes,
            undone_by: past.undone_by.clone(),
            reverted: past.reverted.clone(),
            refreshed: line.refreshed,
            merges: past
                .merges
                .iter()
                .flat_map(|(patch, merges)| MergeEntry::of_plan(root, patch, merges))
                .collect(),
            trial: line.trial,
            trial_end: line.trial_end,
            on_trial: None,
            logs: None,
        }
    }
}

impl RunEntry {
    /// True if the run failed before anything live changed; its duration is unknown.
    fn is_attempt(&self) -> bool {
        ["interrupted", "failed"].contains(&self.result.as_str())
    }

    /// True if nobody typed the backout: a trial failed or expired.
    fn is_revert(&self) -> bool {
        let has_reverted = |end: &TrialEnd| ["failed", "expired"].contains(&end.end.as_str());
        self.typed.is_none() && self.undoes.is_some() && self.trial_end.as_ref().is_some_and(has_reverted)
    }

    /// True if the trial was only that of a probe, as its command line says.
    fn is_only_probed(&self) -> bool {
        let has = |option: &str| {
            let words = self.typed.iter().flat_map(|typed| typed.split(' '));
            words.filter_map(|word| word.split('=').next()).any(|name| name == option)
        };
        has("--probe") && !has("--trial")
    }

    /// Returns the command as it was typed, without the root: all runs have the same.
    fn listed_command(&self) -> String {
        match &self.typed {
            _ if self.is_revert() => "revert".to_owned(),
            Some(typed) => without_root(typed),
            None => self.command.clone(),
        }
    }

    fn result_words(&self) -> &str {
        if self.result == "rolled-back" { "rolled back" } else { &self.result }
    }

    fn columns(&self, is_verbose: bool, zone: Zone) -> [String; 6] {
        let names = if self.patches.is_empty() { &self.packages } else { &self.patches };
        let shown = if is_verbose { names.len() } else { NAMES_IN_LINE };
        let more = names.len().checked_sub(shown).filter(|more| *more > 0);
        let is_removed = |name: &String| {
            self.refreshed.iter().any(|refreshed| refreshed.package == *name && refreshed.to.is_none())
        };
        let told = |name: &String| if is_removed(name) { format!("{name} (removed)") } else { name.clone() };
        let words = names.iter().take(shown).map(told);
        let words = words.chain(more.map(|more| format!("and {more} more")));
        let undone = self.undone_by.as_ref().map(|by| match &self.reverted {
            Some(why) => format!("(by {by}: {})", why.split(": ").next().unwrap_or_default()),
            None => format!("(undone by {by})"),
        });
        let words = words.chain(undone);
        let end = self.trial_end.as_ref().map(|end| format!("(run {}: {})", end.run, end.told()));
        let trial = self.on_trial.as_ref().map(|trial| format!("({})", trial.sentence));
        let hook = self.hook.then(|| BY_HOOK.to_owned());
        let words = words.chain(end).chain(trial).chain(hook.map(|hook| format!("({hook})")));
        let what = words.collect::<Vec<_>>().join(" ");
        let run = if is_verbose {
            &*self.run
        } else if self.is_attempt() {
            // The next run has the same number.
            "-"
        } else {
            number(&self.run)
        };
        let widest_last = if is_verbose { LONGEST_VALUE } else { WIDEST_LAST_COLUMN };
        [
            field(run, WIDEST_COLUMN),
            field(&zone.minute_of(&self.time), WIDEST_COLUMN),
            field(&self.user, WIDEST_COLUMN),
            field(&self.listed_command(), WIDEST_COLUMN),
            field(if self.reverted.is_some() { "reverted" } else { self.result_words() }, WIDEST_COLUMN),
            field(&what, widest_last),
        ]
    }

    fn shown_result(&self) -> String {
        match &self.reverted {
            Some(why) => format!("reverted: {why}"),
            None => self.result_words().to_owned(),
        }
    }

    fn shown_command(&self) -> String {
        match &self.trial_end {
            Some(end) if self.is_revert() => format!("backout of the {} trial of run {}", end.end, end.run),
            _ => self.typed.as_ref().unwrap_or(&self.command).clone(),
        }
    }

    /// Everything about the run, a name and a value per line.
    fn lines(&self, zone: Zone) -> Vec<(&'static str, String)> {
        let mut lines = vec![
            ("Run", self.run.clone()),
            ("Began", zone.minute_of(&self.time)),
            ("By", if self.hook { format!("{}, {BY_HOOK}", self.user) } else { self.user.clone() }),
            ("Command", self.shown_command()),
            ("Result", self.shown_result()),
            ("Took", self.duration_ms.map(|duration| format!("{duration} ms")).unwrap_or_default()),
            ("Packages", self.packages.join(", ")),
            ("Note", self.note.clone().unwrap_or_default()),
            ("Takes back", self.undoes.clone().unwrap_or_default()),
            ("Undone by", self.undone_by.clone().unwrap_or_default()),
        ];
        let patch = |id: &String| match self.because.get(id) {
            Some(by) => ("Patch", format!("{id}, required by {by}")),
            None => ("Patch", id.clone()),
        };
        lines.splice(6..6, self.patches.iter().map(patch));
        let trial = match (&self.on_trial, &self.trial) {
            (Some(trial), _) => Some(trial.sentence.clone()),
            (None, Some(trial)) => {
                let until = deadline(&self.time, &trial.until, zone);
                let whose = if self.is_only_probed() { "of the probe, " } else { "" };
                Some(format!("{whose}until {until}"))
            }
            (None, None) => None,
        };
        lines.extend(trial.map(|trial| ("Trial", trial)));
        let end = self.trial_end.iter().map(|end| format!("{} of run {}", end.told(), end.run));
        lines.extend(end.map(|end| ("Trial", end)));
        lines.extend(self.refreshed.iter().map(|refreshed| ("Refreshed", refreshed_words(refreshed))));
        lines.extend(self.merges.iter().map(|merge| ("Merge", merge.sentence())));
        lines.extend(self.logs.iter().flatten().map(|log| ("Log", log.clone())));
        lines
    }
}

/// A blank inside quotes ends no word.
fn without_root(typed: &str) -> String {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let mut words = typed.split(|letter: char| {
        is_quoted ^= letter == '\'' && !is_escaped;
        is_escaped = letter == '\\' && !is_quoted;
        letter == ' ' && !is_quoted
    });
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        if ["-R", "--root"].contains(&word) {
            words.next();
        } else if !word.starts_with("--root=") {
            kept.push(word);
        }
    }
    kept.join(" ")
}

/// Returns the deadline of a trial that began at a time, both as recorded.
fn deadline(began: &str, until: &str, zone: Zone) -> String {
    match (DateTime::parse_from_rfc3339(began), DateTime::parse_from_rfc3339(until)) {
        (Ok(began), Ok(until)) => {
            zone.deadline(until.to_utc(), until.signed_duration_since(began) < TimeDelta::hours(1))
        }
        _ => zone.minute_of(until),
    }
}

/// A record may have any text: the owner of a root can write it.
fn field(text: &str, widest: usize) -> String {
    truncated(&String::from_utf8_lossy(&on_one_line(text.as_bytes())), widest).into_owned()
}

fn refreshed_words(RefreshRecord { package, manager, name, from, to }: &RefreshRecord) -> String {
    match to {
        Some(to) if to == from => format!("{package}, {name} {to} installed again ({manager})"),
        Some(to) => format!("{package}, {name} from {from} to {to} ({manager})"),
        None => format!("{package}, {name} {from} removed ({manager})"),
    }
}

impl CommandReport for HistoryReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let zone = output.zone();
        if self.is_one {
            let lines = self.runs.iter().flat_map(|run| run.lines(zone));
            let lines: Vec<_> = lines.filter(|(_, value)| !value.is_empty()).collect();
            for (name, value) in lines.iter().take(MOST_LINES) {
                output.line(named_value(name, &field(value, LONGEST_VALUE)))?;
            }
            let more = lines.len().saturating_sub(MOST_LINES);
            if more > 0 {
                output.line(named_value("", &format!("and {more} more")))?;
            }
            return Ok(());
        }
        if self.runs.is_empty() {
            return Ok(output.line("No run is recorded.")?);
        }
        let rows: Vec<[String; 6]> = self.runs.iter().map(|run| run.columns(self.is_verbose, zone)).collect();
        let widths: [usize; 6] = std::array::from_fn(|column| {
            rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
        });
        for row in &rows {
            print_row(row, &widths, output)?;
        }
        Ok(())
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(print_notes(output, &self.remarks)?)
    }
}

fn print_row(row: &[String; 6], widths: &[usize; 6], output: &mut Output) -> anyhow::Result<()> {
    let [run, time, user, command, result, what] = row;
    let pad = |text: &str, width: usize| " ".repeat(width.saturating_sub(text.chars().count()));
    let shade = if result == "done" { Shade::Effective } else { Shade::Bad };
    output.print(pad(run, widths[0]))?;
    output.shaded(Some(Shade::Id), run)?;
    output.print(format!("  {time}{}  {user}{}", pad(time, widths[1]), pad(user, widths[2])))?;
    output.print(format!("  {command}{}  ", pad(command, widths[3])))?;
    output.shaded(Some(shade), result)?;
    Ok(output.line(format!("{}  {what}", pad(result, widths[4])))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_leaves_out_the_root_of_a_command() {
        for (typed, listed) in [
            ("adopt -R /a --refresh", "adopt --refresh"),
            (r"remove --note 'it'\''s' -R '/a b' 100-01", r"remove --note 'it'\''s' 100-01"),
            ("add --root=/a 100-01 --root /b", "add 100-01"),
            ("add -R", "add"),
            ("", ""),
        ] {
            assert_eq!(without_root(typed), listed, "{typed}");
        }
    }
}
