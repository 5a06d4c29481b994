//! The command: options and formats.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::builder::NonEmptyStringValueParser;
use patchadm_cli::arguments::comparison::{ComparisonOptions, ReferenceComparison};
use patchadm_cli::arguments::fetching::{FetchOptions, OfflineOption};
use patchadm_cli::arguments::verbs::BriefVerbOptions;
use patchadm_cli::arguments::{one_of, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::json::DocumentHead;
use patchadm_cli::reply::{Exit, ExitCause, Reply, Stop};
use patchadm_core::operation::analysis::write_page;
use patchadm_planning::fleet::{Fleet, FleetChanges, FleetHost, FleetReport, compare_hosts};
use patchadm_rootfs::Root;

use crate::answer::{FleetAnswer, FleetText, WrittenDocument};
use crate::made::{ComparedWith, MadeReport, TwoHosts, past_report, read_sources, too_large};
use crate::{csv, document_page, host_documents, page, prometheus, text};

pub(crate) const USAGE: &str = "patchadm-report [-R root] [option...] [-M depot] [--since file] [--compare host host] [inventory...]\n\
    patchadm-report --format csv|html|openvex|cyclonedx|prometheus [-o file] [inventory...]\n\
    patchadm-report page [-o file] [document|-]";

/// Show which patches each host has and which it is missing, from the output of `list --json` on each host
#[derive(clap::Parser)]
struct ReportArgs {
    #[command(flatten)]
    compared: ComparisonOptions,
    #[command(flatten)]
    network: OfflineOption,
    /// Set the output format: text, json, csv, html, openvex, cyclonedx, or prometheus [default: text]
    #[arg(long, value_name = "FORM", value_parser = one_of(&FORMATS), hide_possible_values = true)]
    format: Option<ReportFormat>,
    /// Print a row for each patch on each host, as comma-separated values
    #[arg(long, conflicts_with = "format")]
    csv: bool,
    /// Also write an HTML page to FILE
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the output to FILE
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    output: Option<PathBuf>,
    /// Set the author of an OpenVEX or CycloneDX document [default: the machine]
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    author: Option<String>,
    /// Show what changed since the report in FILE, the output of `report --json`
    #[arg(long, value_name = "FILE")]
    since: Option<PathBuf>,
    /// Compare two hosts
    #[arg(long, num_args = 2, value_name = "HOST")]
    compare: Vec<String>,
    /// Exit with 4 if a host is missing a patch or has lost a fix
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    common: BriefVerbOptions,
    /// Output of `list --json`: a file, a directory of .json files, or - for standard input
    /// [default: the root itself]
    #[arg(value_name = "INVENTORY")]
    inventories: Vec<PathBuf>,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    if let Some(page) = call.take_action(&[("page", document_page::run)]) {
        return page(call);
    }
    let args: ReportArgs = parse(call, USAGE)?;
    let format = args.chosen_format(call)?;
    let root = args.common.root.open(call)?;
    let is_compared = args.compared.is_said();
    let open =
        || ReferenceComparison::open(call, (&args.compared, &FetchOptions::from(args.network)), &root, USAGE);
    let comparison = is_compared.then(open).transpose()?;
    let stale = comparison.as_ref().map(|comparison| comparison.must_be_current(&root)).transpose()?;
    let past = args.since.as_deref().map(past_report).transpose()?;
    let files = read_sources(call, &root, &args.inventories)?;
    let fleet = Fleet::of(files.inventories);
    let reference = comparison.as_ref().map(|comparison| &comparison.reference);
    let report = FleetReport::of(&fleet.hosts, reference).map_err(|error| too_large(&error.to_string()))?;
    let made = MadeReport {
        at: call.surroundings.now,
        zone: call.surroundings.zone,
        documents: files.documents,
        unread: files.unread,
        passed_over: files.passed_over,
        compared_with: ComparedWith::of(comparison.as_ref()),
        remarks: stale.flatten().into_iter().chain(comparison.and_then(|one| one.passed_over())).collect(),
        changes: past.map(|past| (FleetChanges::since(&past, &report), past)),
        two: two_hosts(&fleet.hosts, &args.compare)?,
        is_check: args.check,
        author: args.author,
        fleet: &fleet,
        report,
    };
    if let Some(path) = &args.html {
        write(path, page::page_of(&made).as_bytes(), "page")?;
    }
    let own = args.inventories.is_empty().then_some(&root);
    answered(own, &made, format, args.output.as_deref())
}

impl ReportArgs {
    fn chosen_format(&self, call: &mut Invocation) -> Result<ReportFormat, Stop> {
        let wrong = |message: &str| Stop::Usage { message: message.to_owned(), usage: USAGE };
        let format = self.format.or(self.csv.then_some(ReportFormat::Csv));
        match format {
            Some(other) if call.in_json && other != ReportFormat::Json => {
                return Err(wrong("--json prints one document: use it without another format"));
            }
            _ if call.in_json && self.output.is_some() => {
                return Err(wrong("--json prints its document; --format json -o FILE writes it to a file"));
            }
            _ => {}
        }
        if format == Some(ReportFormat::Json) && self.output.is_none() {
            call.in_json = true;
        }
        Ok(format.unwrap_or(if call.in_json { ReportFormat::Json } else { ReportFormat::Text }))
    }
}

fn two_hosts<'f>(hosts: &'f [FleetHost], names: &[String]) -> Result<Option<TwoHosts<'f>>, Stop> {
    let [first, second] = names else { return Ok(None) };
    let host = |name: &String| {
        let unknown = || Stop::Refused {
            exit: Exit::of_verb(ExitCause::Unknown),
            message: format!(
                "no inventory is from a host {}: `patchadm report` lists them",
                name.escape_debug()
            ),
        };
        hosts.iter().find(|host| host.name == *name).ok_or_else(unknown)
    };
    let (first, second) = (host(first)?, host(second)?);
    Ok(Some(TwoHosts { first, second, comparison: compare_hosts(first, second) }))
}

/// `own` is the root of the report if no inventory is named.
fn answered(
    own: Option<&Root>,
    made: &MadeReport<'_>,
    format: ReportFormat,
    path: Option<&Path>,
) -> anyhow::Result<Reply> {
    let exit = made.exit();
    let reply = |report: WrittenDocument| Ok(Reply::new(exit, report));
    let text = match (format, path) {
        (ReportFormat::Text, None) => return Ok(Reply::new(exit, FleetText::of(made))),
        (ReportFormat::Json, None) => return Ok(Reply::new(exit, FleetAnswer::of(made))),
        (ReportFormat::Text, Some(_)) => text::lines(made).join("\n") + "\n",
        (ReportFormat::Json, Some(_)) => {
            let head = DocumentHead::of_verb("report", None, exit);
            String::from_utf8(head.document(FleetAnswer::of(made)).text()?)?
        }
        (ReportFormat::Csv, _) => csv::rows_of(&made.report, csv::LARGEST)?,
        (ReportFormat::Html, _) => page::page_of(made),
        (ReportFormat::OpenVex, _) => host_documents::openvex(made)?,
        (ReportFormat::CycloneDx, _) => host_documents::cyclonedx(made)?,
        (ReportFormat::Prometheus, _) => prometheus::document(own, made)?,
    };
    match path {
        None => reply(WrittenDocument { text: Some(text), messages: made.messages() }),
        Some(path) => {
            write(path, text.as_bytes(), "report")?;
            reply(WrittenDocument { text: None, messages: made.messages() })
        }
    }
}

fn write(path: &Path, text: &[u8], what: &str) -> anyhow::Result<()> {
    write_page(path, text).with_context(|| format!("the {what} {} was not written", path.display()))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReportFormat {
    Text,
    Json,
    Csv,
    Html,
    OpenVex,
    CycloneDx,
    Prometheus,
}

const FORMATS: [(&str, ReportFormat); 7] = [
    ("text", ReportFormat::Text),
    ("json", ReportFormat::Json),
    ("csv", ReportFormat::Csv),
    ("html", ReportFormat::Html),
    ("openvex", ReportFormat::OpenVex),
    ("cyclonedx", ReportFormat::CycloneDx),
    ("prometheus", ReportFormat::Prometheus),
];
