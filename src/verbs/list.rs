//! `patchadm list`: the patches of a root, or of many.

mod page;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, Utc};
use serde::Serialize;

use super::lacking::LackingReport;
use super::listed::ListedPatch;
use super::options::VerbOptions;
use super::overtaken::{NativeEntries, OvertakenEntry};
use super::package_entry::PackageEntry;
use crate::arguments::parse;
use crate::call::Invocation;
use crate::many_roots::list::ManyRoots;
use crate::many_roots::queries::{RootAnswer, RootsQuery, ask_many};
use crate::many_roots::root_report::RootReport;
use crate::reply::advice::damage_remark;
use crate::reply::failure::query_refused;
use crate::reply::json::DocumentHead;
use crate::reply::trial_standing::TrialStanding;
use crate::reply::words::{print_notes, unfinished_sentence};
use crate::reply::{CommandReport, Exit, Reply, Stop};
use crate::surroundings::caller::now;
use crate::surroundings::{Output, Surroundings, Zone};
use patchadm_core::operation::analysis::write_page;
use patchadm_core::operation::patches::overtaken::NativeOverview;
use patchadm_core::operation::queries::applied_signature::applied_signatures;
use patchadm_core::operation::queries::inspect::{InspectedPatch, Inspection, WantedWords, inspect};
use patchadm_inputs::format::overtaken::{OvertakenPatch, OvertakenState};
use patchadm_planning::plan::clock::Now;
use patchadm_rootfs::Root;
use patchadm_svr4::patch::FixId;

const USAGE: &str = "patchadm [-R root] list [--order id|date] [--applied-since date] [--fixes id] [--html file]\n\
     patchadm [-R root] list --lacking id\npatchadm list [option...] --roots file|dir";

/// List the patches of a root with their state, date and undo data
#[derive(clap::Parser)]
struct ListArgs {
    /// Say whether the root lacks this patch: neither it nor one that contains it is applied
    #[arg(long, value_name = "ID", conflicts_with_all = ["order", "applied_since", "fixes"])]
    lacking: Option<String>,
    /// The order of the list: by id, or by the date of application
    #[arg(long, value_name = "id|date", value_parser = order)]
    order: Option<ListOrder>,
    /// End with 68 if the fix of a patch is lost to an upgrade by dpkg or rpm, or a registration is stale
    #[arg(long)]
    check: bool,
    /// Only the patches that were applied at this moment (RFC 3339) or day, or later
    #[arg(long, value_name = "DATE")]
    applied_since: Option<String>,
    /// Write a page for a browser to this file, too
    #[arg(long, value_name = "FILE", conflicts_with_all = ["lacking", "lists", "named"])]
    html: Option<PathBuf>,
    /// Only the patches that fix this, such as CVE-2026-1234
    #[arg(long, value_name = "ID", value_parser = fix)]
    fixes: Option<FixId>,
    #[command(flatten)]
    many: ManyRoots,
    #[command(flatten)]
    common: VerbOptions,
}

/// The order of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ListOrder {
    #[default]
    Id,
    Date,
}

/// What is listed, and how.
#[derive(Clone, Debug)]
struct ListChoice {
    order: ListOrder,
    since: Option<DateTime<Utc>>,
    /// The fix that the patches have to bring.
    fixes: Option<FixId>,
    is_verbose: bool,
    /// Whether everything is told that a document or page has.
    is_whole: bool,
    /// Whether a lost fix and a stale registration have an exit code of their own.
    is_check: bool,
}

/// The patches of a root.
#[derive(Debug, Serialize)]
struct ListReport {
    /// The node name of the machine.
    machine: String,
    /// The moment of listing.
    at: String,
    /// The version of the program.
    version: &'static str,
    patches: Vec<ListedPatch>,
    /// Whether patches are left out because of what was asked for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    partial: bool,
    /// All installed packages, where a document is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    packages: Option<Vec<PackageEntry>>,
    /// The run that was interrupted, before which everything is told.
    unfinished: Option<String>,
    /// The patches that ended because dpkg or rpm changed their package.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    overtaken: Vec<OvertakenEntry>,
    /// The patches whose loss was accepted: nothing that a person has to be told again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    accepted: Vec<OvertakenEntry>,
    #[serde(flatten)]
    native: NativeEntries,
    /// Notes for a person.
    #[serde(skip)]
    remarks: Vec<String>,
    #[serde(skip)]
    choice: ListChoice,
}

/// Runs the verb.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: ListArgs = parse(call, USAGE)?;
    let since = args.applied_since.as_deref().map(|date| since(date, call.surroundings.zone)).transpose()?;
    let choice = ListChoice {
        order: args.order.unwrap_or_default(),
        since,
        fixes: args.fixes,
        is_verbose: call.output.is_verbose(),
        is_whole: call.in_json || args.html.is_some(),
        is_check: args.check,
    };
    let now = now(&call.surroundings);
    let lacking = args.lacking.as_deref();
    if args.many.are_named() {
        let surroundings = call.surroundings.clone();
        let query = RootsQuery { usage: USAGE, answered: "asked", lacking };
        return match lacking {
            None => ask_many(call, &args.many, query, &|root| {
                ListReport::of(root, choice.clone(), &now, &surroundings)
                    .map_or_else(|error| RootAnswer::failed(root, &error), ListReport::answer)
            }),
            Some(id) => ask_many(call, &args.many, query, &|root| {
                lacks(root, id).map_or_else(|error| RootAnswer::failed(root, &error), lacking_answer)
            }),
        };
    }
    let root = args.common.root.open(call)?;
    match lacking {
        None => {
            let report = ListReport::of(&root, choice, &now, &call.surroundings)?;
            if let Some(path) = &args.html {
                write_page(path, page::page_of(&root, &report).as_bytes())
                    .with_context(|| format!("the page {} was not written", path.display()))?;
            }
            Ok(Reply::about(&root, report.exit(), report))
        }
        Some(id) => {
            let report = lacks(&root, id)?;
            Ok(Reply::about(&root, if report.lacking { Exit::MISSING } else { Exit::OK }, report))
        }
    }
}

/// Returns the document that `list --json` prints about a root.
pub(super) fn own_inventory(root: &Root, call: &Invocation) -> anyhow::Result<Vec<u8>> {
    let choice = ListChoice {
        order: ListOrder::Id,
        since: None,
        fixes: None,
        is_verbose: false,
        is_whole: true,
        is_check: false,
    };
    let report = ListReport::of(root, choice, &now(&call.surroundings), &call.surroundings)?;
    let head = DocumentHead { command: "list", root: Some(root.prefix()), exit: Exit::OK };
    Ok(head.document(report).text()?)
}

fn lacks(root: &Root, id: &str) -> anyhow::Result<LackingReport> {
    let inspection = inspect(root, WantedWords::None).map_err(|failed| query_refused(root, &failed))?;
    Ok(LackingReport::of(root, &inspection, id)?)
}

fn lacking_answer(report: LackingReport) -> RootAnswer<LackingReport> {
    let (line, is_lacking) = (report.line(), report.lacking);
    RootAnswer { is_lacking, ..RootReport::of_answer(line, Vec::new(), report).into() }
}

fn fix(text: &str) -> Result<FixId, String> {
    FixId::new(text).map_err(|error| error.reason.to_owned())
}

fn order(text: &str) -> Result<ListOrder, String> {
    match text {
        "id" => Ok(ListOrder::Id),
        "date" => Ok(ListOrder::Date),
        _ => Err("it is id or date".to_owned()),
    }
}

/// Returns the moment that a date names: RFC 3339, or a day, which begins at midnight of the time zone.
fn since(text: &str, zone: Zone) -> Result<DateTime<Utc>, Stop> {
    let day = || {
        let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
        zone.moment(day.and_time(NaiveTime::MIN))
    };
    let moment = DateTime::parse_from_rfc3339(text).map(|moment| moment.to_utc()).ok();
    moment.or_else(day).ok_or_else(|| Stop::Usage {
        message: format!(
            "<{}> is no date: write 2026-11-20, or 2026-11-20T07:00:00+01:00",
            text.escape_debug()
        ),
        usage: USAGE,
    })
}

impl ListChoice {
    /// Returns the patches that ended and are listed.
    fn wanted<'a>(&self, ended: impl Iterator<Item = &'a OvertakenPatch>) -> Vec<OvertakenEntry> {
        let wants = |one: &&OvertakenPatch| {
            self.fixes.as_ref().is_none_or(|id| one.fixes.iter().any(|fix| fix == id.as_str()))
        };
        ended.filter(wants).map(OvertakenEntry::of).collect()
    }
}

impl ListReport {
    fn of(root: &Root, choice: ListChoice, now: &Now, surroundings: &Surroundings) -> anyhow::Result<Self> {
        let words = if choice.is_verbose || choice.is_whole { WantedWords::All } else { WantedWords::None };
        let Inspection { patches, unfinished, lost_copies, has_native, packages, .. } =
            inspect(root, words).map_err(|failed| query_refused(root, &failed))?;
        let mut remarks: Vec<String> =
            unfinished.iter().map(|run| unfinished_sentence(run, root.prefix())).collect();
        remarks.extend(lost_copies.iter().map(damage_remark));
        let mut patches: Vec<&InspectedPatch> = patches.iter().collect();
        if let Some(since) = choice.since {
            let undated = patches.iter().filter(|one| one.date.is_none()).count();
            if undated > 0 {
                remarks.push(format!(
                    "{undated} of the patches have no date that can be told as a moment; they are left out."
                ));
            }
            patches.retain(|one| one.date.is_some_and(|date| date >= since));
        }
        if let Some(id) = &choice.fixes {
            patches.retain(|one| one.fixes.fixes.contains(id.as_str()));
        }
        if choice.order == ListOrder::Date {
            let moment = |one: &&InspectedPatch| one.date.map_or((true, None), |date| (false, Some(date)));
            patches.sort_by_key(moment);
        }
        let overview = NativeOverview::as_far_as_known(root, now, has_native);
        let packages = choice.is_whole.then(|| PackageEntry::all(root, &packages, &overview));
        let native = NativeEntries::of(&overview);
        remarks.extend(native.remarks());
        let trial = TrialStanding::of(root, surroundings).map_err(|failed| query_refused(root, &failed))?;
        let mut signatures = if choice.is_whole { applied_signatures(root) } else { BTreeMap::new() };
        let listed = |one: &InspectedPatch| {
            let patch = ListedPatch::from(one).beside(&overview).on_trial(trial.as_ref());
            patch.signed(signatures.remove(one.patch.id.as_str()))
        };
        let patches = patches.into_iter().map(listed).collect();
        Ok(Self {
            machine: surroundings.machine.node.clone(),
            at: surroundings.now.to_rfc3339_opts(SecondsFormat::Secs, true),
            version: env!("CARGO_PKG_VERSION"),
            patches,
            partial: choice.since.is_some() || choice.fixes.is_some(),
            packages,
            unfinished,
            // What stands in part is among the patches.
            overtaken: choice
                .wanted(overview.ended.iter().filter(|one| one.state != OvertakenState::PartlyLost)),
            accepted: choice.wanted(overview.accepted()),
            native,
            remarks,
            choice,
        })
    }

    /// Returns how the command ends.
    fn exit(&self) -> Exit {
        if self.choice.is_check { self.native.checked(Exit::OK) } else { Exit::OK }
    }

    /// Returns the width of the ids.
    fn width(&self) -> usize {
        let ended = self.overtaken.iter().map(|one| one.id.len());
        self.patches.iter().map(|one| one.id.len()).chain(ended).max().unwrap_or_default()
    }

    /// Returns the lines below that of a patch: the programs for which it is not in force, and in longer lists its synopsis, what
    /// it fixes, and where that is lost.
    fn lines_below(&self, one: &ListedPatch, width: usize) -> Vec<String> {
        let synopsis = one.synopsis.iter().filter(|_| self.choice.is_verbose);
        let fixes = (self.choice.is_verbose && !one.fixes.is_empty())
            .then(|| format!("fixes {}", one.fixes.join(", ")));
        let trial = one.trial.iter().map(|trial| &trial.sentence);
        let below = trial.chain(one.kept_shlibs.sentences()).chain(synopsis).chain(&fixes);
        let below = below.map(|line| format!("{:<width$}  {line}", ""));
        below.chain(self.native.lost_paths(&one.id).filter_map(|path| self.lost_at(path, width))).collect()
    }

    /// Returns the line about a path at which a fix is lost, in longer lists.
    fn lost_at(&self, path: &str, width: usize) -> Option<String> {
        self.choice.is_verbose.then(|| format!("{:<width$}  lost at {path}", ""))
    }

    /// Returns the lines of the patches, and those below them.
    fn lines(&self) -> Vec<String> {
        let width = self.width();
        let of = |one| std::iter::once(ListedPatch::line(one, width)).chain(self.lines_below(one, width));
        self.patches.iter().flat_map(of).chain(self.overtaken_lines(width)).collect()
    }

    /// Returns the lines of the patches that ended.
    fn overtaken_lines(&self, width: usize) -> Vec<String> {
        let of = |one: &OvertakenEntry| {
            let line = format!("{:<width$}  {}", one.id, one.told);
            let at: Vec<String> = one.paths.iter().filter_map(|path| self.lost_at(path, width)).collect();
            std::iter::once(line).chain(at)
        };
        self.overtaken.iter().flat_map(of).collect()
    }

    fn empty(&self) -> String {
        match &self.choice {
            ListChoice { fixes: Some(id), .. } => format!("No applied patch says that it fixes {id}."),
            ListChoice { since: Some(_), .. } => "No patches were applied since then.".to_owned(),
            _ => "No patches are applied.".to_owned(),
        }
    }

    /// Returns the report of one root of many.
    fn answer(self) -> RootAnswer<Self> {
        let line = match self.patches.len() {
            0 => self.empty(),
            1 => "1 patch".to_owned(),
            number => format!("{number} patches"),
        };
        let remarks = self.remarks.iter().map(|remark| format!("note: {remark}"));
        let (exit, notes) = (self.exit(), self.lines().into_iter().chain(remarks).collect());
        RootReport { exit, ..RootReport::of_answer(line, notes, self) }.into()
    }
}

impl CommandReport for ListReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        if self.patches.is_empty() && self.overtaken.is_empty() {
            output.line(self.empty())?;
        }
        let width = self.width();
        for one in &self.patches {
            one.print(output, width)?;
            for line in self.lines_below(one, width) {
                output.line(line)?;
            }
        }
        self.overtaken_lines(width).into_iter().try_for_each(|line| output.line(line))?;
        Ok(())
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(print_notes(output, &self.remarks)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_a_day_or_a_moment() {
        for (text, expected) in [
            ("2026-11-20", Some("2026-11-20T00:00:00+00:00")),
            ("2026-11-20T07:00:00+01:00", Some("2026-11-20T06:00:00+00:00")),
            ("2026-11-20T07:00:00Z", Some("2026-11-20T07:00:00+00:00")),
            ("20.11.2026", None),
            ("2026-11-20T07:00:00", None),
            ("", None),
        ] {
            let moment = since(text, Zone::Utc).map(|moment| moment.to_rfc3339()).ok();
            assert_eq!(moment.as_deref(), expected, "{text}");
        }
    }
}
