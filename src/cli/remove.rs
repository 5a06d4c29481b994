//! `patchadm remove`: back patches out.

use std::path::PathBuf;
use std::time::Instant;

use super::Invocation;
use super::caller::{patience, with_caller};
use super::exit::{Exit, Stop};
use super::many::{Verb, of_patches, on_many};
use super::options::parse;
use super::report::{self, PatchEntry};
use super::verb::{Changing, Common, refuse, tell};
use super::words;
use crate::operation::patches::back_out::{BackOutRequest, back_out_patches};
use crate::plan::refusal::Command;

const USAGE: &str =
    "patchadm [-R root] remove [option...] id...\npatchadm remove [option...] --roots file id...";

/// Back applied patches out
#[derive(clap::Parser)]
struct Args {
    #[command(flatten)]
    changing: Changing,
    /// The directory that holds the undo data, when it was moved
    #[arg(long, value_name = "DIR")]
    undo_dir: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
    /// The ids of the patches
    #[arg(value_name = "ID")]
    ids: Vec<String>,
}

/// Runs it.
pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Exit> {
    let args: Args = parse(call, USAGE)?;
    remove::<Args>(call, "remove", &args.common, args.changing, args.undo_dir, args.ids, USAGE)
}

/// Backs patches out, or plans that.
pub(super) fn remove<A: clap::CommandFactory>(
    call: &mut Invocation,
    verb: &'static str,
    common: &Common,
    changing: Changing,
    moved_to: Option<PathBuf>,
    ids: Vec<String>,
    usage: &'static str,
) -> anyhow::Result<Exit> {
    if ids.is_empty() {
        return Err(Stop::Usage { message: "no patch is named".to_owned(), usage }.into());
    }
    let Changing { dry_run, wait, scripts, no_scripts, many, owner } = changing;
    let json = common.extensions.json;
    let scripts = scripts.request(call, no_scripts);
    let request = BackOutRequest { ids, force: false, moved_to, dry_run, scripts };
    if many.are_named() {
        let done = if dry_run { "planned" } else { "done" };
        let verb =
            Verb { name: verb, program: "patchrm", usage, json, wait, done, idle: "with nothing to do" };
        if !dry_run {
            call.output.heedless();
        }
        return on_many::<A, _>(call, (&many, owner), verb, &|root, caller| {
            let began = Instant::now();
            let result = back_out_patches(root, &request, caller);
            of_patches(Command::Patchrm, root, began, result.as_ref().map(report::backed_out))
        });
    }
    let root = owner.open::<A>(call, &common.root, Command::Patchrm)?;
    let wait = patience(&root, wait);
    if !request.dry_run {
        call.output.heedless();
    }
    let result = with_caller(call, "patchrm", wait, |caller| back_out_patches(&root, &request, caller))?;
    if json {
        return report::json(call, verb, &root, Command::Patchrm, result.as_ref().map(report::backed_out));
    }
    let report = match result {
        Ok(report) => report,
        Err(failed) => return refuse(call, Command::Patchrm, "the patch", &failed),
    };
    words::recovered(&mut call.output, &report.recovered)?;
    let entries: Vec<PatchEntry> = report.patches.iter().map(report::backed_out_entry).collect();
    for (one, entry) in report.patches.iter().zip(&entries) {
        let plan = one.plan.as_ref().map(|plan| (plan, one.scripts.as_slice()));
        tell(call, &root, Command::Patchrm, entry, plan, one.result.as_ref().err())?;
    }
    Ok(report::exit(&entries))
}
