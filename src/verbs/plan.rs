//! `patchadm plan`: show what `add` would do.

mod page;

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::change::{application, change, settle_plan_file};
use super::options::{ApplicationOptions, BriefVerbOptions, ChangeOptions, NoteOption};
use super::patch_lines::print_report;
use crate::as_owner::options::OwnerOptions;
use crate::many_roots::list::ManyRoots;
use crate::patch_command::{PatchRequest, reply_of, report_on};
use patchadm_cli::arguments::{LibraryOptions, RootOption, ScriptOptions, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::Reply;
use patchadm_core::operation::analysis::write_page;

const USAGE: &str = "patchadm [-R root] plan [option...] patch...\npatchadm [-R root] plan [option...] -M depot [id|listfile...]\n\
     patchadm plan [option...] --roots file patch...";

/// Show what `add` would do, without doing it
#[derive(clap::Parser)]
struct PlanArgs {
    /// Show the lines of text files that would change, too
    #[arg(long, conflicts_with_all = ["lists", "named"])]
    diff: bool,
    /// Write a page for a browser to this file, too
    #[arg(long, value_name = "FILE", conflicts_with_all = ["lists", "named"])]
    html: Option<PathBuf>,
    #[command(flatten)]
    options: ApplicationOptions,
    #[command(flatten)]
    scripts: ScriptOptions,
    /// Refuse what needs a procedure script to be run
    #[arg(long)]
    no_scripts: bool,
    #[command(flatten)]
    shlibs: LibraryOptions,
    #[command(flatten)]
    many: ManyRoots,
    #[command(flatten)]
    owner: OwnerOptions,
    #[command(flatten)]
    common: BriefVerbOptions,
    /// The patches to apply
    #[arg(value_name = "PATCH")]
    patches: Vec<PathBuf>,
}

/// Runs the verb.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let mut args: PlanArgs = parse(call, USAGE)?;
    let mut changing = ChangeOptions {
        dry_run: true,
        diff: args.diff,
        wait: None,
        note: NoteOption::default(),
        scripts: args.scripts,
        no_scripts: args.no_scripts,
        shlibs: args.shlibs,
        many: args.many,
        owner: args.owner,
    };
    let (options, patches) = (&mut args.options, &mut args.patches);
    let plan_file = settle_plan_file(options, &mut changing, patches, "add", USAGE)?;
    let command = application(call, &changing, args.options, args.patches, plan_file);
    let request = PatchRequest::Apply(Box::new(command));
    match &args.html {
        None => change::<PlanArgs>(call, USAGE, &args.common.root, &changing, request),
        Some(path) => with_page(call, (&args.common.root, path), &changing, request),
    }
}

/// Makes the plan, and the page about it.
fn with_page(
    call: &mut Invocation,
    (root, path): (&RootOption, &Path),
    changing: &ChangeOptions,
    mut request: PatchRequest,
) -> anyhow::Result<Reply> {
    request.must_name_patches(USAGE)?;
    request.look_into_spool(&mut call.output)?;
    let root = changing.owner.open::<PlanArgs>(call, root, request.command())?;
    let report = report_on(call, &root, &request, changing.wait)?;
    let made = call.surroundings.now.format("%Y-%m-%d %H:%M UTC").to_string();
    write_page(path, page::page_of(&root, &report, made).as_bytes())
        .with_context(|| format!("the page {} was not written", path.display()))?;
    Ok(reply_of(root, report, print_report))
}
