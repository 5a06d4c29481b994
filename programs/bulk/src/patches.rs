//! `patchadm-bulk patches`: makes patches from the released set to the newest one, and publishes them if configured.

use patchadm_building::patches::{MadePatches, MakePatchesError, PatchesRequest, make_patches};
use patchadm_building::run::{RunBase, RunError};
use patchadm_bulk_values::report::{ReportedPatches, patches_text};
use patchadm_cli::arguments::parse;
use patchadm_cli::arguments::verbs::DryRunOption;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_cli::surroundings::caller::with_signals;
use patchadm_making::build::BuildRequest;
use patchadm_producing::ends::{of_release, stop as stopped};
use patchadm_producing::patch_options::{PatchOptions, read_by_shell};
use patchadm_svr4::patch::PatchId;
use serde::Serialize;

use crate::ends::{run_failed, set_failed, work_failed};
use crate::preparation::{LockOption, WorkOperand, must_have_installer};
use crate::publishing::{Publisher, made_patch};

const USAGE: &str = "patchadm-bulk patches WORK [--dry-run] [--wait DURATION]";

/// Make patches that update the released set to the newest one, and test that each can be applied and removed
#[derive(clap::Parser)]
struct PatchesArgs {
    #[command(flatten)]
    dry_run: DryRunOption,
    #[command(flatten)]
    wait: LockOption,
    #[command(flatten)]
    work: WorkOperand,
}

#[derive(Serialize)]
struct BulkPatchesReport {
    #[serde(flatten)]
    patches: ReportedPatches,
    published: Option<serde_json::Value>,
    #[serde(skip)]
    lines: Vec<String>,
}

impl CommandReport for BulkPatchesReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        output.print(patches_text(&self.patches))?;
        Ok(self.lines.iter().try_for_each(|line| output.line(line))?)
    }
}

enum PatchesFailure {
    Run(RunError),
    Patches(MakePatchesError),
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "bulk patches";
    let args: PatchesArgs = parse(call, USAGE)?;
    let work = args.work.open()?;
    let _lock = args.wait.lock(call, &work)?;
    must_have_installer(call)?;
    let publisher = if args.dry_run.dry_run { None } else { Publisher::of(call, &work)? };
    let template = template(call.surroundings.now.timestamp())?;
    let patch = |id: PatchId| BuildRequest { id, ..template.clone() };
    let cores = call.surroundings.processors;
    let busy = call.busy("comparing");
    let done = with_signals(|interrupt| {
        let base = RunBase::prepare(&work, interrupt).map_err(PatchesFailure::Run)?;
        let request = PatchesRequest {
            work: &work,
            base: base.with_digest(),
            patch: &patch,
            syntax: read_by_shell,
            cores,
            is_dry_run: args.dry_run.dry_run,
            before: None,
            interrupt,
            meter: busy.meter().clone(),
        };
        let made = make_patches(&request).map_err(PatchesFailure::Patches)?;
        let publisher = publisher.as_ref().filter(|_| made.refused.is_none() && made_patch(&made));
        let published = publisher.map(|publisher| publisher.publish(&|| interrupt()));
        Ok((made, published))
    })?;
    let (made, published) = done.map_err(|failure| match failure {
        PatchesFailure::Run(error) => run_failed(&error),
        PatchesFailure::Patches(error) => patches_failed(&error),
    })?;
    let published = published.transpose()?;
    let exit = exit_of(&made);
    let (published, lines) = published.map_or((None, Vec::new()), |one| (Some(one.document), one.lines));
    Ok(Reply::new(exit, BulkPatchesReport { patches: made.report, published, lines }))
}

/// The defaults of `patchadm-make delta` at the time `now`, with a placeholder as id.
pub(crate) fn template(now: i64) -> anyhow::Result<BuildRequest> {
    Ok(PatchOptions::default().request(PatchId::new("source-01")?, now, USAGE)?)
}

fn exit_of(made: &MadePatches) -> Exit {
    if made.failed > 0 || made.refused.is_some() {
        return Exit::PARTLY;
    }
    Exit::OK
}

pub(crate) fn patches_failed(error: &MakePatchesError) -> Stop {
    let (exit, advice) = match error {
        MakePatchesError::NothingReleased => (
            Exit::failed(ExitCause::NotApplicable),
            "no patch was made\nhint: specify the run that users have: `patchadm bulk release WORK RUN`",
        ),
        MakePatchesError::NoSet => (
            Exit::failed(ExitCause::NotApplicable),
            "no patch was made\nhint: make a set with a run of all packages: `patchadm bulk run WORK`",
        ),
        MakePatchesError::Ids { .. } => (
            Exit::of_verb(ExitCause::Settings),
            "no patch was made\nhint: correct the file that `ids` of bulk.conf names",
        ),
        MakePatchesError::Work(error) => return work_failed(error),
        MakePatchesError::Set(error) => return set_failed(error),
        MakePatchesError::Package(error) => {
            let (exit, _) = of_release(error);
            (exit, "no patch was made\nhint: run the build again; it makes a new set")
        }
        MakePatchesError::Delta(error) => return stopped(error),
        MakePatchesError::Root(error) => {
            (Exit::failed(patchadm_cli::reply::cause_of::of_root(error)), "hint: check the named directory")
        }
        MakePatchesError::Interrupted(signal) => {
            (Exit::by_signal(*signal), "hint: run the command again; finished patches are kept")
        }
    };
    Stop::Refused { exit, message: format!("{error}\n{advice}") }
}
