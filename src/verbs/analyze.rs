//! `patchadm analyze`: which patches a machine lacks.

mod choice;
mod page;
mod report;
mod row;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;

use super::options::VerbOptions;
use crate::arguments::parse;
use crate::call::Invocation;
use crate::many_roots::list::ManyRoots;
use crate::many_roots::queries::{RootAnswer, RootsQuery, ask_many};
use crate::many_roots::root_report::RootReport;
use crate::reply::failure::{must_have_records, query_refused};
use crate::reply::page::PageSection;
use crate::reply::{Exit, ExitCause, Reply, Stop};
use choice::{AnalysisChoice, AnalysisOptions};
use page::{page_of, section_of};
use patchadm_core::analyze::{CrossReference, MachineFacts, analyse};
use patchadm_core::operation::analysis::{
    AnalysisError, facts_of_root, read_cross_reference, read_listings, write_page,
};
use patchadm_core::operation::queries::applied_patches::PatchesError;
use patchadm_rootfs::Root;
use report::{AnalysedMachine, AnalysisReport};

const USAGE: &str = "patchadm [-R root] analyze --xref file [option...] [group|id]...\n\
    patchadm analyze --xref file --from dir [option...] [group|id]...\n\
    patchadm analyze --xref file [option...] --roots file|dir [group|id]...";

/// A file that was named is none of what it should be, or is not there: the code of patchadd(1M) for it.
const NOT_USABLE: u8 = 33;

/// A list of packages or patches is damaged: the code of patchadd(1M) for a damaged pkginfo.
const DAMAGED_LIST: u8 = 28;

/// Show which patches a machine lacks
#[derive(clap::Parser)]
struct AnalyzeArgs {
    /// Compare with this cross-reference of patches, a patchdiag.xref
    #[arg(long, value_name = "FILE")]
    xref: Option<PathBuf>,
    /// Analyse the machine whose uname.out, pkginfo.out and showrev.out are in this directory
    #[arg(long, value_name = "DIR", conflicts_with_all = ["lists", "named", "root"])]
    from: Option<PathBuf>,
    /// Write a page for a browser to this file, too
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    options: AnalysisOptions,
    #[command(flatten)]
    many: ManyRoots,
    #[command(flatten)]
    common: VerbOptions,
    /// What is listed: missing (where nothing is said), installed, all, total, unbundled, bad, obsolete, with r, s or rs
    /// behind it only what is recommended or about security; or patches
    #[arg(value_name = "GROUP|ID")]
    words: Vec<String>,
}

/// Runs the verb. Exit 33 where a patch that was named is not known; with `--check` 66 where one is missing.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: AnalyzeArgs = parse(call, USAGE)?;
    let choice = AnalysisChoice::of(&args.options, &args.words, call.surroundings.now.date_naive())
        .map_err(|message| Stop::Usage { message, usage: USAGE })?;
    let Some(depot) = args.xref.as_deref() else {
        let message = "nothing to compare with is named: --xref says a file".to_owned();
        return Err(Stop::Usage { message, usage: USAGE }.into());
    };
    let reference = read_cross_reference(depot).map_err(|error| refused(&error))?;
    let analysed = Analysed { reference, depot, choice };
    let made = call.surroundings.now.format("%Y-%m-%d %H:%M UTC").to_string();
    let page = args.html.as_deref().map(|path| PageFile { path, made });
    if args.many.are_named() {
        return of_many(call, &args.many, &analysed, page.as_ref());
    }
    if let Some(directory) = &args.from {
        let listings = read_listings(directory).map_err(|error| refused(&error))?;
        let report = analysed.report(AnalysedMachine::Host(listings.host), &listings.facts);
        write(page.as_ref(), || vec![section_of(&report)])?;
        return Ok(Reply::new(report.exit(), report));
    }
    let root = args.common.root.open(call)?;
    let report = analysed.of_root(&root)?;
    write(page.as_ref(), || vec![section_of(&report)])?;
    Ok(Reply::about(&root, report.exit(), report))
}

/// Analyses every root; the page has a section for each that could be read.
fn of_many(
    call: &mut Invocation,
    many: &ManyRoots,
    analysed: &Analysed<'_>,
    page: Option<&PageFile<'_>>,
) -> anyhow::Result<Reply> {
    let query = RootsQuery { usage: USAGE, answered: "analysed", lacking: None };
    let sections: Mutex<BTreeMap<PathBuf, PageSection>> = Mutex::default();
    let reply = ask_many(call, many, query, &|root| match analysed.of_root(root) {
        Err(error) => RootAnswer::failed(root, &error),
        Ok(report) => {
            if page.is_some() {
                let mut sections = sections.lock().unwrap_or_else(PoisonError::into_inner);
                sections.insert(root.prefix().to_owned(), section_of(&report));
            }
            answer_of(report)
        }
    })?;
    write(page, || sections.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect())?;
    Ok(reply)
}

/// The file of a page, and when it is made.
struct PageFile<'a> {
    path: &'a Path,
    made: String,
}

/// Writes the page, if one is wanted.
fn write(page: Option<&PageFile<'_>>, sections: impl FnOnce() -> Vec<PageSection>) -> anyhow::Result<()> {
    let Some(PageFile { path, made }) = page else { return Ok(()) };
    write_page(path, page_of(sections(), made).as_bytes())
        .with_context(|| format!("the page {} was not written", path.display()))
}

/// What machines are compared with, and what is asked of them.
struct Analysed<'a> {
    reference: CrossReference,
    depot: &'a Path,
    choice: AnalysisChoice,
}

impl Analysed<'_> {
    fn of_root(&self, root: &Root) -> anyhow::Result<AnalysisReport> {
        must_have_records(root, 1)?;
        let facts = facts_of_root(root).map_err(|error| match error {
            PatchesError::Database(error) => query_refused(root, &error.into()),
            PatchesError::Policy(error) => query_refused(root, &error.into()),
        })?;
        Ok(self.report(AnalysedMachine::Root(root.prefix().to_owned()), &facts))
    }

    fn report(&self, machine: AnalysedMachine, facts: &MachineFacts) -> AnalysisReport {
        let analysis = analyse(&self.reference, facts, &self.choice.request);
        AnalysisReport::of(&self.reference, self.depot, machine, &self.choice, analysis)
    }
}

/// The answer of one root of many.
fn answer_of(report: AnalysisReport) -> RootAnswer<AnalysisReport> {
    let (exit, line, notes) = (report.exit(), report.line(), report.table());
    RootReport { exit, ..RootReport::of_answer(line, notes, report) }.into()
}

/// The refusal of a file.
fn refused(error: &AnalysisError) -> anyhow::Error {
    let (code, next) = match error {
        AnalysisError::File { .. } => (NOT_USABLE, "Look at the spelling and at the working directory."),
        AnalysisError::CrossReference { .. } => {
            (NOT_USABLE, "Get the file again, as it is, not as a page of a browser.")
        }
        AnalysisError::Patches { .. } | AnalysisError::Packages { .. } => {
            (DAMAGED_LIST, "Take the outputs of the commands again, whole and as they are.")
        }
    };
    let cause = match error {
        AnalysisError::File { reason, .. } if reason.kind() == std::io::ErrorKind::NotFound => {
            ExitCause::NotFound
        }
        AnalysisError::File { reason, .. } if reason.kind() == std::io::ErrorKind::PermissionDenied => {
            ExitCause::NoRights
        }
        AnalysisError::File { .. } => ExitCause::Internal,
        _ => ExitCause::DamagedInput,
    };
    Stop::Refused { exit: Exit::new(code, cause), message: format!("nothing was analysed\n{error}\n{next}") }
        .into()
}
