//! `patchadm shlibs`: show the libraries that are kept for programs which still need them, and remove the others.

use serde::Serialize;

use super::options::BriefVerbOptions;
use crate::as_owner::options::OwnerOptions;
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::{change_failed, verb_code};
use patchadm_cli::reply::shlibs_entry::{ConsumerEntry, consumers};
use patchadm_cli::reply::words::{human, print_notes, print_recovery, recovery_sentence};
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::kept_packages::{KeptReport, KeptRequest, kept_packages};
use patchadm_core::operation::libraries::{KeptLibraryState, KeptLook};
use patchadm_planning::plan::refusal::{Command, Wording};
use patchadm_rootfs::Root;
use patchadm_svr4::package::{ObjectPath, Params, PkgInst};

const USAGE: &str = "patchadm [-R root] shlibs [--prune] [--dry-run] [--wait seconds] [package...]";

/// The name in the lock, the journal and the history.
const NAME: &str = "shlibs";

/// Show the libraries that are kept for programs which still need them, or remove those that nobody needs
#[derive(clap::Parser)]
struct ShlibsArgs {
    /// Remove what nobody needs any more, or what is missing
    #[arg(long)]
    prune: bool,
    /// Print what would be removed, change nothing
    #[arg(long, requires = "prune")]
    dry_run: bool,
    /// Wait this many seconds for another command to finish
    #[arg(long, value_name = "SECONDS", requires = "prune")]
    wait: Option<u64>,
    #[command(flatten)]
    owner: OwnerOptions,
    #[command(flatten)]
    common: BriefVerbOptions,
    /// The packages of kept libraries; all of them where none is named
    #[arg(value_name = "KEPT_PKG")]
    packages: Vec<String>,
}

/// What is kept.
#[derive(Serialize)]
struct ShlibsReport {
    kept: Vec<PackageEntry>,
    pruned: Vec<PrunedEntry>,
    /// Whether the root differs now.
    changed: bool,
    scanned: u64,
    skipped: Vec<String>,
    #[serde(skip)]
    recovery: Option<String>,
    #[serde(skip)]
    notes: Vec<String>,
    /// What stays although nothing needs it, and why.
    #[serde(skip)]
    remarks: Vec<String>,
    #[serde(skip)]
    is_planned: bool,
}

/// A package of kept libraries.
#[derive(Serialize)]
struct PackageEntry {
    package: String,
    from: String,
    version: String,
    since: String,
    by: String,
    patches: Vec<String>,
    libraries: Vec<LibraryEntry>,
}

/// A kept library.
#[derive(Serialize)]
struct LibraryEntry {
    name: String,
    paths: Vec<String>,
    bytes: u64,
    state: &'static str,
    consumers: Vec<ConsumerEntry>,
}

/// What was removed.
#[derive(Serialize)]
struct PrunedEntry {
    package: String,
    name: String,
    paths: Vec<String>,
}

/// Runs the verb.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: ShlibsArgs = parse(call, USAGE)?;
    args.must_change_for_owner_options()?;
    let is_run = args.prune && !args.dry_run;
    let root = if is_run {
        args.owner.open::<ShlibsArgs>(call, &args.common.root, Command::Patchadd)?
    } else {
        args.common.root.open(call)?
    };
    let request = KeptRequest { packages: args.packages, prune: args.prune, dry_run: args.dry_run };
    let report = call.change(&root, NAME, args.wait, |caller| kept_packages(&root, &request, caller))?;
    let report = report.map_err(|failed| failed_as_verb(&root, &failed))?;
    if !report.unknown.is_empty() {
        let message = format!(
            "nothing was changed\n{}: no package of kept libraries.\n{} shows those that there are.",
            report.unknown.join(", "),
            Wording::of_verbs(root.prefix()).verb("shlibs")
        );
        return Err(Stop::Refused { exit: Exit::of_verb(ExitCause::Unknown), message }.into());
    }
    let shown = ShlibsReport::of(&root, report, args.dry_run);
    Ok(Reply::about(&root, Exit::OK, shown))
}

impl ShlibsArgs {
    /// Refuses options about the root's owner if nothing is to be changed.
    fn must_change_for_owner_options(&self) -> Result<(), Stop> {
        let said = [("--as-owner", self.owner.as_owner), ("--trust-root", self.owner.trust_root)];
        let Some((option, _)) = said.iter().filter(|_| !self.prune).find(|(_, is_said)| *is_said) else {
            return Ok(());
        };
        let message = format!("{option} is for what changes a root: with --prune\nLeave it out.");
        Err(Stop::Usage { message, usage: USAGE })
    }
}

/// Returns the end of a run that failed: in the words of a removal, with the codes of the verbs that remove.
fn failed_as_verb(root: &Root, failed: &Failure) -> Stop {
    match change_failed(root, Command::Pkgrm, failed) {
        Stop::Ran { result, message, .. } => {
            Stop::Ran { exit: verb_code(Command::Patchrm, failed), result, message }
        }
        stop => stop,
    }
}

impl ShlibsReport {
    fn of(root: &Root, report: KeptReport, is_planned: bool) -> Self {
        let KeptReport { look, pruned, receipt, recovered, notes, .. } = report;
        let entry = |(package, params): (&PkgInst, &Params)| PackageEntry::of(&look, package, params);
        let pruned = pruned.iter().map(|one| PrunedEntry {
            package: one.package.to_string(),
            name: one.name.clone(),
            paths: texts(&one.paths),
        });
        Self {
            kept: look.packages.iter().map(entry).collect(),
            pruned: pruned.collect(),
            changed: receipt.is_some(),
            scanned: look.scanned,
            skipped: look.skipped.iter().map(|path| root.show(path)).collect(),
            recovery: recovery_sentence(&recovered),
            notes: recovered.notes().to_vec(),
            remarks: notes,
            is_planned,
        }
    }
}

impl PackageEntry {
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
            libraries: libraries.map(LibraryEntry::of).collect(),
        }
    }
}

impl LibraryEntry {
    fn of(library: &KeptLibraryState) -> Self {
        Self {
            name: library.name.clone(),
            paths: texts(&library.paths),
            bytes: library.bytes,
            state: library.state.word(),
            consumers: consumers(&library.consumers),
        }
    }
}

fn texts(paths: &[ObjectPath]) -> Vec<String> {
    paths.iter().map(ToString::to_string).collect()
}

impl CommandReport for ShlibsReport {
    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(print_notes(output, &self.remarks)?)
    }

    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        print_recovery(output, self.recovery.as_deref(), &self.notes)?;
        for pruned in &self.pruned {
            let what = if self.is_planned { "would be removed" } else { "removed" };
            output.line(format!("{}: {what} ({})", pruned.name, pruned.package))?;
        }
        if !self.pruned.is_empty() && self.changed {
            return Ok(());
        }
        if self.kept.is_empty() {
            output.line("no libraries are kept")?;
        }
        for package in &self.kept {
            let PackageEntry { package: name, from, version, since, by, .. } = package;
            output.line(format!("{name}: from {from} {version}, since {since}, by {by}"))?;
            for library in &package.libraries {
                let LibraryEntry { name, state, bytes, .. } = library;
                output.line(format!("  {name}  {state}, {}", human(*bytes)))?;
                for consumer in &library.consumers {
                    output.line(format!("    {consumer}"))?;
                }
            }
        }
        Ok(())
    }
}
