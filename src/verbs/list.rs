//! `patchadm list`: the patches of a root, or of many.

mod page;

use std::path::PathBuf;

use anyhow::Context as _;
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};

use super::lacking::LackingReport;
use super::options::VerbOptions;
use crate::many_roots::list::ManyRoots;
use crate::many_roots::queries::{RootAnswer, RootsQuery, ask_many};
use crate::many_roots::root_report::RootReport;
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::query_refused;
use patchadm_cli::reply::patch_list::{ListChoice, ListOrder, ListReport};
use patchadm_cli::reply::{Exit, Reply, Stop};
use patchadm_cli::surroundings::Zone;
use patchadm_cli::surroundings::caller::now;
use patchadm_core::operation::analysis::write_page;
use patchadm_core::operation::queries::inspect::{WantedWords, inspect};
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
    /// End with 4 if the fix of a patch is lost to an upgrade by dpkg or rpm, or a registration is stale
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
                    .map_or_else(|error| RootAnswer::failed(root, &error), answer)
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

/// Returns the report of one root of many.
fn answer(report: ListReport) -> RootAnswer<ListReport> {
    let line = match report.patches.len() {
        0 => report.empty(),
        1 => "1 patch".to_owned(),
        number => format!("{number} patches"),
    };
    let remarks = report.remarks.iter().map(|remark| format!("note: {remark}"));
    let (exit, notes) = (report.exit(), report.lines().into_iter().chain(remarks).collect());
    RootReport { exit, ..RootReport::of_answer(line, notes, report) }.into()
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
