//! `patchadm-make delta`: makes the patches of a stable branch.

mod options;
mod report;

use std::collections::BTreeMap;

use options::{DeltaArgs, USAGE};
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{Exit, Reply, ResultWord};
use patchadm_cli::surroundings::caller::with_signals;
use patchadm_making::build::BuildRequest;
use patchadm_making::delta::{DeltaReport, DeltaRequest, delta};
use patchadm_producing::ends::{of_failure, stop as stopped};
use patchadm_svr4::patch::PatchId;
use report::DeltaReply;

/// Runs the verb. The exit is that of the first source that failed; the others have their patches all the same.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: DeltaArgs = parse(call, USAGE)?;
    let template = args.template(call.surroundings.now.timestamp())?;
    let patch = |id: PatchId| BuildRequest { id, ..template.clone() };
    let bases = args.bases()?;
    let busy = call.busy("comparing");
    let made = with_signals(|interrupt| {
        let request = DeltaRequest {
            release: &args.release,
            stable: &args.stable,
            work: &args.work,
            bases,
            only: &args.only,
            form: args.format,
            rebuild: args.rebuild,
            is_dry_run: args.dry_run,
            patch: &patch,
            against: &args.patch.against,
            needs: BTreeMap::new(),
            trials: None,
            cores: call.surroundings.processors,
            interrupt,
            meter: busy.meter().clone(),
        };
        delta(&request, &mut |_| false)
    })?;
    let report = made.map_err(|error| stopped(&error))?;
    let exit = report.first_failure().map_or(Exit::OK, of_failure);
    let result = result_word(&report, args.dry_run);
    Ok(Reply::new(exit, DeltaReply::of(&report, result, call.surroundings.began)))
}

fn result_word(report: &DeltaReport, is_dry_run: bool) -> ResultWord {
    match (report.count("failed"), report.count("built")) {
        (0, 0) => ResultWord::NothingToDo,
        (0, _) if is_dry_run => ResultWord::Planned,
        (0, _) => ResultWord::Done,
        _ => ResultWord::Failed,
    }
}
