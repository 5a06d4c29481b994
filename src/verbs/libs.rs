//! `patchadm libs`: old shared libraries kept for running programs, and removal of unused ones.

use serde::Serialize;

use super::options::BriefVerbOptions;
use crate::as_owner::options::OwnerOptions;
use patchadm_cli::arguments::{one_of, parse, seconds};
use patchadm_cli::call::{Invocation, RunCommand};
use patchadm_cli::reply::failure::{change_or_plan_failed, hinted, verb_code};
use patchadm_cli::reply::words::{human, print_notes, print_recovery, recovery_sentence};
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, Stop};
use patchadm_cli::surroundings::{Output, installation_minute};
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::libraries::{
    KeptLibraryState, KeptLook, KeptReport, KeptRequest, kept_packages,
};
use patchadm_planning::plan::kept_libraries::MOST_LISTED;
use patchadm_planning::plan::refusal::{Command, Wording};
use patchadm_rootfs::Root;
use patchadm_svr4::package::{ObjectPath, Params, PkgInst};

const USAGE: &str = "patchadm [-R root] libs [list|prune] [ARGUMENT...]";
const USAGE_OF_LIST: &str = "patchadm [-R root] libs list [option...] [package...]";
const USAGE_OF_PRUNE: &str =
    "patchadm [-R root] libs prune [--dry-run] [--wait duration] [option...] [package...]";

/// The name in lock, journal and history.
const NAME: &str = "shlibs";

const ACTIONS: [(&str, RunCommand); 2] = [("list", list), ("prune", prune)];

/// List or prune old shared libraries still in use; `patchadm libs ACTION --help` lists the options of an action
#[derive(clap::Parser)]
struct LibsArgs {
    #[command(flatten)]
    _common: BriefVerbOptions,
    /// Action: list or prune [default: list]
    #[arg(value_name = "ACTION", value_parser = one_of(&ACTIONS), hide_possible_values = true)]
    _action: Option<RunCommand>,
}

/// List the old shared libraries that were kept, and the programs that use them
#[derive(clap::Parser)]
struct LibsListArgs {
    #[command(flatten)]
    common: BriefVerbOptions,
    /// Packages of kept libraries [default: all]
    #[arg(value_name = "KEPT_PKG")]
    packages: Vec<String>,
}

/// Remove kept libraries that no program uses
#[derive(clap::Parser)]
struct PruneArgs {
    /// Show what would be done, but change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Wait up to this long, such as 10m, for another command to finish [default: policy, else 0s]
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    wait: Option<u64>,
    #[command(flatten)]
    owner: OwnerOptions,
    #[command(flatten)]
    common: BriefVerbOptions,
    /// Packages of kept libraries [default: all]
    #[arg(value_name = "KEPT_PKG")]
    packages: Vec<String>,
}

#[derive(Serialize)]
struct LibsReport {
    kept: Vec<KeptPackageEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pruned: Option<Vec<PrunedEntry>>,
    /// Set by prune: the root differs now.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<bool>,
    scanned: u64,
    skipped: Vec<String>,
    #[serde(skip)]
    recovery: Option<String>,
    #[serde(skip)]
    notes: Vec<String>,
    /// Unneeded libraries that stay, and why.
    #[serde(skip)]
    remarks: Vec<String>,
    #[serde(skip)]
    is_planned: bool,
}

#[derive(Serialize)]
struct KeptPackageEntry {
    package: String,
    from: String,
    version: String,
    since: String,
    by: String,
    patches: Vec<String>,
    libraries: Vec<KeptLibraryState>,
}

#[derive(Serialize)]
struct PrunedEntry {
    package: String,
    name: String,
    paths: Vec<String>,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    if let Some(work) = call.take_action(&ACTIONS) {
        return work(call);
    }
    if call.has_only_options() {
        return list(call);
    }
    let _: LibsArgs = parse(call, USAGE)?;
    Err(Stop::Usage { message: "no action specified".to_owned(), usage: USAGE }.into())
}

fn list(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "libs list";
    let args: LibsListArgs = parse(call, USAGE_OF_LIST)?;
    let root = args.common.root.open(call)?;
    let request = KeptRequest { packages: args.packages, prune: false, dry_run: false };
    answer(call, &root, &request, None)
}

fn prune(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "libs prune";
    let args: PruneArgs = parse(call, USAGE_OF_PRUNE)?;
    let root = if args.dry_run {
        args.common.root.open(call)?
    } else {
        args.owner.open::<PruneArgs>(call, &args.common.root, Command::Patchadd)?
    };
    let request = KeptRequest { packages: args.packages, prune: true, dry_run: args.dry_run };
    answer(call, &root, &request, args.wait)
}

fn answer(call: &Invocation, root: &Root, request: &KeptRequest, wait: Option<u64>) -> anyhow::Result<Reply> {
    let report = call.change(root, NAME, wait, |caller| kept_packages(root, request, caller))?;
    let report = report.map_err(|failed| failed_as_verb(root, &failed, request.dry_run))?;
    if !report.unknown.is_empty() {
        let unknown = report.unknown.join(", ");
        let message = hinted(
            &format!("{unknown}: no package of kept libraries\nnothing was changed"),
            &Wording::of_verbs(root.prefix()).verb("libs list"),
        );
        return Err(Stop::Refused { exit: Exit::of_verb(ExitCause::Unknown), message }.into());
    }
    Ok(Reply::about(root, Exit::OK, LibsReport::of(root, report, request)))
}

/// Uses the words of a removal, and the codes of verbs that remove.
fn failed_as_verb(root: &Root, failed: &Failure, is_plan: bool) -> Stop {
    match change_or_plan_failed(root, Command::Pkgrm, failed, is_plan) {
        Stop::Ran { result, message, .. } => {
            Stop::Ran { exit: verb_code(Command::Patchrm, failed), result, message }
        }
        stop => stop,
    }
}

impl LibsReport {
    fn of(root: &Root, report: KeptReport, request: &KeptRequest) -> Self {
        let KeptReport { look, pruned, receipt, recovered, notes, .. } = report;
        let entry = |(package, params): (&PkgInst, &Params)| KeptPackageEntry::of(&look, package, params);
        let pruned = pruned.iter().map(|one| PrunedEntry {
            package: one.package.to_string(),
            name: one.name.clone(),
            paths: texts(&one.paths),
        });
        Self {
            kept: look.packages.iter().map(entry).collect(),
            pruned: request.prune.then(|| pruned.collect()),
            changed: request.prune.then_some(receipt.is_some()),
            scanned: look.scanned,
            skipped: look.skipped.iter().map(|path| root.show(path)).collect(),
            recovery: recovery_sentence(&recovered),
            notes: recovered.notes().to_vec(),
            remarks: notes,
            is_planned: request.dry_run,
        }
    }
}

impl KeptPackageEntry {
    fn of(look: &KeptLook, package: &PkgInst, params: &Params) -> Self {
        let libraries = look.libraries.iter().filter(|library| library.package == *package);
        let text = |name: &str| params.text(name).into_owned();
        Self {
            package: package.to_string(),
            from: look.from(package),
            version: text("VERSION"),
            since: text("INSTDATE"),
            by: text("KEPT_BY"),
            patches: text("KEPT_PATCHES").split_whitespace().map(str::to_owned).collect(),
            libraries: libraries.cloned().collect(),
        }
    }
}

fn texts(paths: &[ObjectPath]) -> Vec<String> {
    paths.iter().map(ToString::to_string).collect()
}

impl CommandReport for LibsReport {
    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(print_notes(output, &self.remarks)?)
    }

    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        print_recovery(output, self.recovery.as_deref(), &self.notes)?;
        let pruned = self.pruned.as_deref().unwrap_or_default();
        for pruned in pruned {
            let what = if self.is_planned { "would be removed" } else { "removed" };
            output.line(format!("{}: {what} ({})", pruned.name, pruned.package))?;
        }
        if !pruned.is_empty() && self.changed == Some(true) {
            return Ok(());
        }
        if self.kept.is_empty() {
            output.line("no libraries are kept")?;
        }
        for package in &self.kept {
            let KeptPackageEntry { package: name, from, version, since, by, .. } = package;
            let since = installation_minute(since);
            output.line(format!("{name}: from {from} {version}, since {since}, by {by}"))?;
            for library in &package.libraries {
                let KeptLibraryState { name, state, bytes, .. } = library;
                output.line(format!("  {name}  {}, {}", state.word(), human(*bytes)))?;
                for consumer in library.consumers.iter().take(MOST_LISTED) {
                    output.line(format!("    {consumer}"))?;
                }
            }
        }
        Ok(())
    }
}
