//! `patchadm status`, and `patchadm` alone: the state of a root in a few lines, and next steps.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat};
use serde::Serialize;

use super::missing::{MissingPatches, missing_patches};
use super::options::BriefVerbOptions;
use patchadm_changeset::transaction::{LeftoverStages, StuckStage, leftover_stages, stuck_stage};
use patchadm_cli::arguments::fetching::OfflineOption;
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::query_refused;
use patchadm_cli::reply::merge_entry::MergeEntry;
use patchadm_cli::reply::overtaken::NativeEntries;
use patchadm_cli::reply::trial::TrialStanding;
use patchadm_cli::reply::words::{LONGEST_VALUE, counted_patches, human};
use patchadm_cli::reply::{CommandReport, Exit, Reply};
use patchadm_cli::surroundings::caller::now;
use patchadm_cli::surroundings::{Output, Shade, Zone};
use patchadm_core::operation::depot_memory::last_used_depot;
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::patches::apply::lacks_trust;
use patchadm_core::operation::patches::overtaken::NativeOverview;
use patchadm_core::operation::queries::inspect::{Inspection, WantedWords, inspect};
use patchadm_core::operation::queries::runs::open_merges;
use patchadm_core::operation::session::{RootAndPolicy, must_have_database};
use patchadm_inputs::password::without_password;
use patchadm_planning::plan::refusal::Wording;
use patchadm_rootfs::{Lock, Root};
use patchadm_svr4::package::control::truncated;

const USAGE: &str = "patchadm [-R root] [status] [option...]";

/// Commands named as the next step.
const MOST_STEPS: usize = 2;

/// Names in a line; the rest is counted.
const NAMED: usize = 4;

/// Summarize the root and suggest the next step
#[derive(clap::Parser)]
struct StatusArgs {
    #[command(flatten)]
    network: OfflineOption,
    #[command(flatten)]
    common: BriefVerbOptions,
}

#[derive(Debug, Default, Serialize)]
struct StatusReport {
    /// Something was recorded there.
    has_database: bool,
    applied: usize,
    /// Superseded or obsoleted by a later patch.
    #[serde(skip)]
    superseded: usize,
    /// Superseded, obsoleted or otherwise not in force.
    not_in_force: usize,
    missing: MissingEntry,
    #[serde(flatten)]
    native: NativeEntries,
    #[serde(skip_serializing_if = "Option::is_none")]
    trial: Option<TrialStanding>,
    /// Edited files left in place and not merged yet.
    merges: Vec<MergeEntry>,
    unfinished: Option<String>,
    /// The command that is changing the root now.
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<RunningEntry>,
    /// Leftovers of runs that ended before they changed anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    leftovers: Option<LeftoverStages>,
    /// The stage of a run that is over, which nobody may remove.
    #[serde(skip_serializing_if = "Option::is_none")]
    stuck_stage: Option<StuckStage>,
    next: Vec<NextStep>,
}

/// A command that holds the lock of the root.
#[derive(Debug, Serialize)]
struct RunningEntry {
    /// The program and the process, if the lock file names them.
    command: Option<String>,
    process: Option<u32>,
    /// The moment at which it took the lock.
    since: Option<String>,
    /// The same as a clause.
    #[serde(skip)]
    words: String,
}

#[derive(Debug, Default, Serialize)]
struct MissingEntry {
    depot: Option<String>,
    /// Patches that the root lacks; null if unknown.
    patches: Option<usize>,
    /// Why it is unknown.
    reason: Option<String>,
    /// The last used depot, if the policy names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used: Option<String>,
    /// A network depot without a trusted key.
    #[serde(rename = "unvouched", skip_serializing_if = "std::ops::Not::not")]
    is_unvouched: bool,
    /// Why the depot of the root's own policy is not used.
    #[serde(rename = "ignored", skip_serializing_if = "Option::is_none")]
    ignored_depot: Option<String>,
}

#[derive(Debug, Serialize)]
struct NextStep {
    command: String,
    does: String,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: StatusArgs = parse(call, USAGE)?;
    let root = args.common.root.open(call)?;
    let report = match must_have_database(&root) {
        Err(Failure::NoDatabase(_)) => StatusReport::of_nothing(&root),
        found => {
            found.map_err(|failed| query_refused(&root, &failed))?;
            StatusReport::of(call, &root, args.network.offline)?
        }
    };
    Ok(Reply::about(&root, Exit::OK, report))
}

impl StatusReport {
    fn of(call: &mut Invocation, root: &Root, is_offline: bool) -> anyhow::Result<Self> {
        let Inspection { patches, unfinished, has_native, .. } =
            inspect(root, WantedWords::None).map_err(|failed| query_refused(root, &failed))?;
        let overview = NativeOverview::as_far_as_known(root, &now(&call.surroundings), has_native);
        let trial =
            TrialStanding::of(root, &call.surroundings).map_err(|failed| query_refused(root, &failed))?;
        let merges = open_merges(root).map_err(|failed| query_refused(root, &failed))?;
        let is_in_force = |state: &[&str], id: &str| {
            state.contains(&"effective")
                && overview.would_end(id).is_none()
                && overview.partly_lost(id).is_none()
        };
        let in_force =
            patches.iter().filter(|one| is_in_force(&one.state, &one.patch.id.to_string())).count();
        let is_superseded = |state: &[&str]| state.contains(&"superseded") || state.contains(&"obsoleted");
        let superseded = patches.iter().filter(|one| is_superseded(&one.state)).count();
        let mut running = RunningEntry::of(root, call.surroundings.zone);
        let mut leftovers = if running.is_none() { leftovers_of(root) } else { None };
        if leftovers.is_some() {
            // They may be those of a command that has begun meanwhile.
            running = RunningEntry::of(root, call.surroundings.zone);
            leftovers = leftovers.filter(|_| running.is_none());
        }
        let mut report = Self {
            has_database: true,
            applied: patches.len(),
            superseded,
            not_in_force: patches.len() - in_force,
            missing: MissingEntry::of(call, root, is_offline),
            native: NativeEntries::of(root, &overview),
            trial,
            merges: MergeEntry::of_open(root, &merges),
            unfinished,
            running,
            leftovers,
            stuck_stage: stuck_stage(root).ok().flatten(),
            next: Vec::new(),
        };
        report.next = report.steps(root);
        Ok(report)
    }

    fn of_nothing(root: &Root) -> Self {
        let registrations = Wording::of_verbs(root.prefix()).first_packages();
        let step = |(what, command): (&str, String)| {
            NextStep::new(command.trim_matches('`'), &format!("registers {what}"))
        };
        Self { next: registrations.map(step).into(), ..Self::default() }
    }

    /// The most urgent first.
    fn steps(&self, root: &Root) -> Vec<NextStep> {
        let wording = Wording::of_verbs(root.prefix());
        let step = |verb: &str, does: &str| NextStep::new(wording.verb(verb).trim_matches('`'), does);
        let is_over = self.trial.as_ref().is_some_and(TrialStanding::is_over);
        let mut steps = Vec::new();
        if self.unfinished.is_some() {
            steps.push(step("recover", "rolls back the interrupted run"));
        } else if self.stuck_stage.is_some() {
            steps.push(step("recover", "removes the stage"));
        } else if self.leftovers.is_some() {
            steps.push(step("recover", "removes the leftovers"));
        } else if is_over {
            steps.push(step("recover", "reverts the changes on trial"));
        } else if self.trial.as_ref().is_some_and(|trial| !trial.is_probed()) {
            steps.push(step("confirm", "keeps the changes on trial"));
        }
        if let Some(finish) = self.native.finishing_command() {
            steps.push(NextStep::new(finish.trim_matches('`'), "finishes the change that dpkg began"));
        }
        if self.native.is_settled() || self.native.finishing_command().is_some() {
            steps.push(step("adopt --refresh", "updates the registrations of dpkg or rpm packages"));
        } else if self.native.is_stale() {
            steps.push(step("list", "names the packages that dpkg or rpm has not finished with"));
        }
        if self.missing.is_unvouched {
            steps.push(step("key trust FILE", "trusts the key of the depot, which `update` requires"));
        } else if self.missing.patches.is_some_and(|missing| missing > 0) {
            steps.push(step("update", "applies the missing patches"));
        } else if let Some(id) = self.native.entirely_lost() {
            steps.push(step("add PATCH", &format!("applies a patch that brings back the fix of {id}")));
        } else if let Some((id, _)) = self.native.lost().next() {
            steps.push(step(&format!("show {id}"), "shows what can be done about the lost fix"));
        }
        // The end of a trial may remove the file beside.
        if let Some(merge) = self.merges.first().filter(|_| self.trial.is_none()) {
            let (command, does) = merge.next_step();
            steps.push(NextStep::new(&command, does));
        }
        steps.truncate(MOST_STEPS);
        steps
    }

    /// Returns the unfinished run, the stage that stops every change although its run is over, the leftovers of runs that changed
    /// nothing, or the command at work.
    fn unfinished_words(&self) -> String {
        if let Some(run) = &self.unfinished {
            run.clone()
        } else if let Some(running) = &self.running {
            format!("no; {}", running.words)
        } else if let Some(StuckStage { path, run, reason }) = &self.stuck_stage {
            format!("the stage {path} of run {run}, which is over, cannot be removed: {reason}")
        } else if let Some(LeftoverStages { runs, bytes, has_last_run }) = &self.leftovers {
            let what = if runs.len() == 1 { "run" } else { "runs" };
            let unchanged = if *has_last_run { "" } else { "; the root is unchanged" };
            format!("leftovers of {what} {} ({}){unchanged}", named_or_none(runs), human(*bytes))
        } else {
            "no".to_owned()
        }
    }

    /// Tells whether `recover` has something to do.
    fn has_interrupted(&self) -> bool {
        self.unfinished.is_some() || self.stuck_stage.is_some() || self.leftovers.is_some()
    }

    /// Returns the edited files that wait to be merged: how many, and the first of them. Several versions of one file
    /// are named themselves.
    fn merge_words(&self) -> String {
        let by_path = self.merges.chunk_by(|one, other| one.shown() == other.shown());
        let names = by_path.flat_map(|merges| {
            let name = if merges.len() == 1 { MergeEntry::listed } else { MergeEntry::shown_beside };
            merges.iter().map(name)
        });
        let names: Vec<&str> = names.collect();
        match names.len() {
            0 => "none".to_owned(),
            number => format!("{number}: {}", named_or_none(&names)),
        }
    }

    /// Subject, state and color.
    fn lines(&self) -> [(&'static str, String, Option<Shade>); 6] {
        let bad = |is_bad: bool| if is_bad { Shade::Bad } else { Shade::Effective };
        let applied = match (self.applied, self.not_in_force) {
            (0, _) => "no patches".to_owned(),
            (applied, 0) => counted_patches(applied),
            (applied, rest) => {
                let superseded = counted_if_any(self.superseded, "superseded");
                let others = counted_if_any(rest - self.superseded.min(rest), "not effective");
                let counts: Vec<String> = superseded.into_iter().chain(others).collect();
                format!("{} ({})", counted_patches(applied), counts.join(", "))
            }
        };
        let lost: Vec<&str> = self.native.lost().map(|(id, _)| id).collect();
        let trial = self.trial.as_ref();
        [
            ("Applied", applied, None),
            ("Missing", self.missing.words(), self.missing.shade()),
            ("Lost fixes", named_or_none(&lost), Some(bad(!lost.is_empty()))),
            (
                "Trial",
                trial.map_or_else(|| "none".to_owned(), TrialStanding::remark),
                trial.map(|_| Shade::Replaced),
            ),
            (
                "Merges",
                self.merge_words(),
                Some(if self.merges.is_empty() { Shade::Effective } else { Shade::Replaced }),
            ),
            ("Interrupted", self.unfinished_words(), Some(bad(self.has_interrupted()))),
        ]
    }
}

impl MissingEntry {
    fn of(call: &mut Invocation, root: &Root, is_offline: bool) -> Self {
        let known = RootAndPolicy::of(root).and_then(|ground| {
            let ignored = ground.ignored_depot.as_ref().map(ToString::to_string);
            Ok((lacks_trust(&ground)?, ground.policy.depot, ignored))
        });
        let (is_unvouched, depot, ignored_depot) = match known {
            Ok((is_unvouched, Some(depot), ignored)) => (is_unvouched, without_password(&depot), ignored),
            Ok((_, None, ignored_depot)) => {
                let last_used = last_used_depot(root).map(|last| without_password(&last));
                return Self { last_used, ignored_depot, ..Self::default() };
            }
            Err(failed) => return Self::unknown(None, &query_refused(root, &failed).to_string()),
        };
        let found = match missing_patches(call, root, is_offline) {
            Ok(MissingPatches { depot, missing }) => {
                Self { depot: Some(depot), patches: Some(missing), ..Self::default() }
            }
            Err(error) => Self::unknown(Some(depot), &format!("{error:#}")),
        };
        Self { is_unvouched, ignored_depot, ..found }
    }

    fn unknown(depot: Option<String>, reason: &str) -> Self {
        let reason = reason.lines().next().unwrap_or_default();
        let reason = reason.strip_prefix("nothing was analyzed: ").unwrap_or(reason);
        Self { depot, reason: Some(reason.to_owned()), ..Self::default() }
    }

    fn words(&self) -> String {
        let unvouched = if self.is_unvouched { "; no trusted key verifies it" } else { "" };
        let ignored = self.ignored_depot.as_ref().map(|ignored| format!("; {ignored}")).unwrap_or_default();
        self.known_words() + unvouched + &ignored
    }

    fn known_words(&self) -> String {
        match (&self.depot, self.patches, &self.reason) {
            (Some(depot), Some(0), _) => format!("none of {depot}"),
            (Some(depot), Some(missing), _) => format!("{} of {depot}", counted_patches(missing)),
            (_, None, Some(reason)) => format!("unknown: {reason}"),
            _ => match &self.last_used {
                Some(last) => format!("unknown: no depot configured; the last one used was {last}"),
                None if self.ignored_depot.is_some() => "unknown: no depot configured".to_owned(),
                None => "unknown: no depot configured; specify one with `missing -M DEPOT`".to_owned(),
            },
        }
    }

    fn shade(&self) -> Option<Shade> {
        if self.is_unvouched {
            return Some(Shade::Bad);
        }
        self.patches.map(|missing| if missing == 0 { Shade::Effective } else { Shade::Replaced })
    }
}

impl RunningEntry {
    /// Returns the command that holds the lock. One that the caller may not know of is none.
    fn of(root: &Root, zone: Zone) -> Option<Self> {
        let holder = Lock::holder(root).ok().flatten()?;
        let since = holder.since().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        let words = match holder.since() {
            Some(seconds) => {
                let since = zone.at(seconds).format("%Y-%m-%d %H:%M");
                format!("{} has been changing the root since {since}", holder.describe())
            }
            None => format!("{} is changing the root", holder.describe()),
        };
        let is_doubtful = holder.is_of_stranger() && holder.process().is_some();
        let source = if is_doubtful { ", according to the lock file" } else { "" };
        let words = format!("{words}{source}");
        Some(Self {
            command: holder.program().map(str::to_owned),
            process: holder.process(),
            since: since.map(|since| since.to_rfc3339_opts(SecondsFormat::Secs, true)),
            words,
        })
    }
}

/// Nothing is known of a place that cannot be read.
fn leftovers_of(root: &Root) -> Option<LeftoverStages> {
    leftover_stages(root).ok().filter(|left| !left.runs.is_empty())
}

impl NextStep {
    fn new(command: &str, does: &str) -> Self {
        Self { command: command.to_owned(), does: does.to_owned() }
    }

    fn sentence(&self) -> String {
        format!("`{}` {}", self.command, self.does)
    }
}

impl CommandReport for StatusReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        if self.has_database {
            for (name, words, shade) in self.lines() {
                output.print(format!("{name:<13}"))?;
                output.shaded(shade, &*truncated(&words, LONGEST_VALUE))?;
                output.line("")?;
            }
        } else {
            output.line("No package or patch was ever recorded below this root.")?;
        }
        let steps: Vec<String> = self.next.iter().map(NextStep::sentence).collect();
        let next = if steps.is_empty() { "nothing to do".to_owned() } else { steps.join("; ") };
        Ok(output.line(format!("{:<13}{next}", "Next"))?)
    }
}

fn counted_if_any(number: usize, word: &str) -> Option<String> {
    (number > 0).then(|| format!("{number} {word}"))
}

/// Returns names with commas between them, of many the first.
fn named_or_none(names: &[impl AsRef<str>]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let named: Vec<&str> = names.iter().take(NAMED).map(AsRef::as_ref).collect();
    let mut text = named.join(", ");
    let more = names.len().saturating_sub(NAMED);
    if more > 0 {
        // Writing to a string does not fail.
        let _ = write!(text, " and {more} more");
    }
    text
}
