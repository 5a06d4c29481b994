//! `patchadm list`: the patches of a root, or of many.

use serde::Serialize;

use super::options::VerbOptions;
use crate::many_roots::list::ManyRoots;
use crate::many_roots::queries::{RootAnswer, RootsQuery, ask_many};
use crate::many_roots::root_report::RootReport;
use patchadm_cli::arguments::duration::PointInTime;
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::query_refused;
use patchadm_cli::reply::patch_list::{ListChoice, ListOrder, ListReport};
use patchadm_cli::reply::words::{counted_patches, print_notes, unfinished_sentence};
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_cli::surroundings::caller::now;
use patchadm_core::operation::queries::applied_patches::applied_revisions;
use patchadm_core::operation::queries::inspect::{Inspection, WantedWords, inspect};
use patchadm_rootfs::Root;
use patchadm_svr4::patch::{FixId, PatchId};

const USAGE: &str = "patchadm [-R root] list [--order id|date] [--applied-since date] [--fixes id]\n\
     patchadm [-R root] list --missing id\npatchadm list [option...] --roots file|dir";

/// List applied patches with their state, date and undo data
#[derive(clap::Parser)]
struct ListArgs {
    /// Check whether this patch is missing: neither it nor a patch that contains it is applied
    #[arg(long, value_name = "ID", conflicts_with_all = ["order", "applied_since", "fixes"])]
    missing: Option<String>,
    /// Sort by id or by date applied [default: id]
    #[arg(long, value_name = "id|date", value_parser = order)]
    order: Option<ListOrder>,
    /// Exit with 4 if a fix is lost or a registration is stale
    #[arg(long)]
    check: bool,
    /// List only patches applied on or after this day (2026-11-27) or time ('2026-11-27 06:52' or RFC 3339)
    #[arg(long, value_name = "DATE", value_parser = PointInTime::parse)]
    applied_since: Option<PointInTime>,
    /// List only patches that fix this, such as CVE-2026-1234
    #[arg(long, value_name = "ID", value_parser = fix)]
    fixes: Option<FixId>,
    #[command(flatten)]
    many: ManyRoots,
    #[command(flatten)]
    common: VerbOptions,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let mut args: ListArgs = parse(call, USAGE)?;
    args.many.also(&args.common.root);
    let since = args.applied_since.and_then(|since| since.first(call.surroundings.zone));
    let choice = ListChoice {
        order: args.order.unwrap_or_default(),
        since,
        fixes: args.fixes,
        is_verbose: call.output.is_verbose(),
        is_whole: call.in_json,
        is_check: args.check,
    };
    let now = now(&call.surroundings);
    let lacking = args.missing.as_deref();
    if args.many.are_named() {
        let surroundings = call.surroundings.clone();
        let query = RootsQuery { usage: USAGE, answered: "answered", lacking };
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

fn answer(report: ListReport) -> RootAnswer<ListReport> {
    let line = match report.patches.len() {
        0 => report.empty(),
        number => counted_patches(number),
    };
    let remarks = report.remarks.iter().map(|remark| format!("note: {remark}"));
    let (exit, notes) = (report.exit(), report.lines().into_iter().chain(remarks).collect());
    RootReport { exit, ..RootReport::of_answer(line, notes, report) }.into()
}

/// The answer of `--missing`.
#[derive(Debug, Serialize)]
struct LackingReport {
    patch: String,
    lacking: bool,
    /// The applied patch with its changes: itself, a later revision, or one that obsoletes it.
    has: Option<String>,
    unfinished: Option<String>,
    #[serde(skip)]
    remarks: Vec<String>,
}

impl LackingReport {
    fn of(root: &Root, inspection: &Inspection, patch: &str) -> Result<Self, Stop> {
        let applied = &inspection.applied;
        let id = PatchId::parse(patch, &inspection.separator).map_err(|error| {
            let named = applied_revisions(patch, applied.iter());
            let named = named.map(|named| format!("; {named}")).unwrap_or_default();
            Stop::Refused { exit: Exit::new(8, ExitCause::Usage), message: format!("{error}{named}") }
        })?;
        let own = applied.get(&id).map(|patch| &patch.id);
        let has = own.or_else(|| applied.later_revision(&id));
        let has = has.or_else(|| applied.obsoleted_by(&id)?.by).map(ToString::to_string);
        let unfinished = inspection.unfinished.clone();
        let remarks = unfinished.iter().map(|run| unfinished_sentence(run, root.prefix())).collect();
        Ok(Self { patch: id.to_string(), lacking: has.is_none(), has, unfinished, remarks })
    }

    fn line(&self) -> String {
        match &self.has {
            None => format!("is missing {}", self.patch),
            Some(has) if *has == self.patch => format!("has {has}"),
            Some(has) => format!("has {has}, which contains {}", self.patch),
        }
    }
}

impl CommandReport for LackingReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(output.line(format!("The root {}.", self.line()))?)
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(print_notes(output, &self.remarks)?)
    }
}
