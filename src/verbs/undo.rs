//! `patchadm undo`: takes a run back.

use super::confirmation::on_confirmed_root;
use super::options::{
    DryRunOption, ExchangeOptions, NoteOption, SignatureOptions, UndoDirOption, UnsignedOption, VerbOptions,
    WaitOption, YesOption,
};
use crate::as_owner::options::OwnerOptions;
use crate::patch_command::{ApplyCommand, PatchRequest, fetching};
use patchadm_changeset::records::open_run;
use patchadm_changeset::transaction::{
    ForeseenRecovery, Recovered, foresee_recovery, leftover_stages, run_undone_by,
};
use patchadm_cli::arguments::fetching::{DepotOption, OfflineOption};
use patchadm_cli::arguments::{LibraryOptions, ScriptOptions, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::{change_failed, hinted, joined};
use patchadm_cli::reply::patches::{EndCodes, PatchFace, PatchesReport};
use patchadm_cli::reply::words::{print_recovery, recovery_sentence};
use patchadm_cli::reply::{CommandReport, Reply, ResultWord, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::patches::apply::{ApplyReport, ApplyRequest, DepotOperands};
use patchadm_core::operation::patches::back_out::BackOutRequest;
use patchadm_core::operation::patches::undo::{RunWork, UndoneRun, number_of, run_to_undo};
use patchadm_core::operation::queries::runs::past_runs;
use patchadm_core::operation::recover::{Recovery, recover_root};
use patchadm_planning::plan::edits::EditableFiles;
use patchadm_planning::plan::refusal::{Command, Wording};
use patchadm_rootfs::{Lock, Root};
use serde::Serialize;

const USAGE: &str = "patchadm [-R root] undo [option...] [-M depot] [run]";

/// Reverse the last run, or the one named: remove the patches that it applied, or reapply the patches that it
/// removed, which requires -M
#[derive(clap::Parser)]
struct UndoArgs {
    #[command(flatten)]
    dry_run: DryRunOption,
    #[command(flatten)]
    yes: YesOption,
    /// Show the changed lines of text files
    #[arg(long, requires = "dry_run")]
    diff: bool,
    #[command(flatten)]
    wait: WaitOption,
    #[command(flatten)]
    note: NoteOption,
    #[command(flatten)]
    libraries: LibraryOptions,
    #[command(flatten)]
    scripts: ScriptOptions,
    #[command(flatten)]
    undo_dir: UndoDirOption,
    #[command(flatten)]
    depot: DepotOption,
    #[command(flatten)]
    signature: SignatureOptions,
    #[command(flatten)]
    unsigned: UnsignedOption,
    #[command(flatten)]
    exchange: ExchangeOptions,
    #[command(flatten)]
    network: OfflineOption,
    #[command(flatten)]
    owner: OwnerOptions,
    #[command(flatten)]
    common: VerbOptions,
    /// The number or name of the run, as `history` lists it [default: the last one that changed something]
    #[arg(value_name = "RUN")]
    run: Option<String>,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: UndoArgs = parse(call, USAGE)?;
    let root = args.owner.open::<UndoArgs>(call, &args.common.root, Command::Undo)?;
    let found = run_to_undo(&root, args.run.as_deref());
    let found = match recovered_first(call, &root, &args)? {
        RecoveredFirst::Nothing => found,
        RecoveredFirst::Undo(run) => run_to_undo(&root, run.as_deref()),
        RecoveredFirst::Instead(reply) => return Ok(reply),
    };
    let run = found.map_err(|failed| change_failed(&root, Command::Undo, &failed))?;
    let (wait, is_agreed) = (args.wait.seconds, args.yes.yes);
    let request = request(call, args, run, &Wording::of_verbs(root.prefix()))?;
    on_confirmed_root(call, &root, &request, (wait, is_agreed))
}

enum RecoveredFirst {
    Nothing,
    /// The last run had been completed, or the interrupted run should have undone this one.
    Undo(Option<String>),
    Instead(Reply),
}

/// Recovers from an interrupted run before the last run is undone: the user means the run that was interrupted, and not
/// the one before it; of an interrupted undo, the run that it should have undone.
fn recovered_first(call: &mut Invocation, root: &Root, args: &UndoArgs) -> anyhow::Result<RecoveredFirst> {
    if args.run.is_some() {
        return Ok(RecoveredFirst::Nothing);
    }
    if args.dry_run.dry_run {
        // The plan reports what cannot be foreseen.
        let Ok(ForeseenRecovery::Root(foreseen)) = foresee_recovery(root, None) else {
            return Ok(RecoveredFirst::Nothing);
        };
        let (_, recovered) = *foreseen;
        let Recovered::Foreseen { run, is_rolled_back: true, .. } = recovered else {
            return Ok(RecoveredFirst::Nothing);
        };
        if Lock::is_held(root).unwrap_or(true) {
            return Ok(RecoveredFirst::Nothing);
        }
        if let Some(undone) = run_undone_by(root, &run) {
            return Ok(RecoveredFirst::Undo(Some(undone)));
        }
        let line = format!("Run {run} was interrupted: `undo` would roll it back and undo no other run.");
        let report = report_of_recovery(call, root, Recovered::Nothing).of_plan(true);
        return Ok(RecoveredFirst::Instead(instead(root, report, line)));
    }
    // Recovery reports a damaged journal, but another command may be at work.
    let is_interrupted = open_run(root).is_ok_and(|run| run.is_some())
        || leftover_stages(root).is_ok_and(|left| !left.runs.is_empty());
    if !is_interrupted {
        return Ok(RecoveredFirst::Nothing);
    }
    call.output.heedless();
    let undo_dir = args.undo_dir.undo_dir.as_deref();
    let recovery = call.change(root, Command::Undo.name(), args.wait.seconds, |caller| {
        recover_root(root, undo_dir, caller)
    })?;
    let Recovery { run, trial, .. } =
        recovery.map_err(|failed| change_failed(root, Command::Undo, &failed))?;
    let undone = undone_by(root, &run);
    if trial.is_none() {
        match &run {
            Recovered::Finished { .. } if undone.is_some() => {}
            Recovered::RolledBack { .. } | Recovered::Cleared { .. } if undone.is_none() => {}
            Recovered::RolledBack { .. } | Recovered::Cleared { .. } | Recovered::Finished { .. } => {
                print_recovery(&mut call.output, recovery_sentence(&run).as_deref(), run.notes())?;
                return Ok(RecoveredFirst::Undo(undone));
            }
            Recovered::Nothing | Recovered::PassedOver { .. } | Recovered::Foreseen { .. } => {
                return Ok(RecoveredFirst::Nothing);
            }
        }
    }
    let result =
        if matches!(run, Recovered::RolledBack { .. }) { ResultWord::RolledBack } else { ResultWord::Done };
    let mut line = match &undone {
        Some(undone) if matches!(run, Recovered::Finished { .. }) => {
            format!("It had undone run {}. No other run was undone.", number_of(undone))
        }
        _ => "No other run was undone.".to_owned(),
    };
    if let Ok(last) = run_to_undo(root, None) {
        let depot = if matches!(last.work, RunWork::BackedOut(_)) { " -M DEPOT" } else { "" };
        let undo = Wording::of_verbs(root.prefix()).verb(&format!("undo{depot} {}", number_of(&last.name)));
        line = format!("{line} {undo} undoes the run before.");
    }
    let mut report = report_of_recovery(call, root, run.with_notes(trial.into_iter().collect()));
    (report.result, report.changed) = (result, true);
    Ok(RecoveredFirst::Instead(instead(root, report, line)))
}

/// Returns the run that the interrupted one should have undone.
fn undone_by(root: &Root, recovered: &Recovered) -> Option<String> {
    let interrupted = match recovered {
        Recovered::RolledBack { run, .. } | Recovered::Finished { run, .. } => run,
        Recovered::Cleared { runs, .. } => runs.last()?,
        Recovered::Nothing | Recovered::PassedOver { .. } | Recovered::Foreseen { .. } => return None,
    };
    let past = past_runs(root).ok()?;
    past.runs.into_iter().rev().find(|past| past.line.run == *interrupted)?.line.undoes
}

fn report_of_recovery(call: &Invocation, root: &Root, recovered: Recovered) -> PatchesReport {
    let report = ApplyReport { recovered, ..ApplyReport::default() };
    PatchesReport::of(root, Command::Patchrm, Ok(report), PatchFace::Verb, call.surroundings.began)
}

fn instead(root: &Root, mut report: PatchesReport, line: String) -> Reply {
    report.notes = vec![line];
    Reply::about(root, report.exit, RecoveredInstead { report })
}

#[derive(Serialize)]
#[serde(transparent)]
struct RecoveredInstead {
    report: PatchesReport,
}

impl CommandReport for RecoveredInstead {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let Self { report } = self;
        print_recovery(output, report.recovered.as_deref(), &report.recovery_notes)?;
        Ok(report.notes.iter().try_for_each(|line| output.line(line))?)
    }
}

fn request(
    call: &Invocation,
    args: UndoArgs,
    run: UndoneRun,
    wording: &Wording,
) -> Result<PatchRequest, Stop> {
    let UndoArgs { diff: texts, scripts, signature, unsigned, exchange, .. } = args;
    let (dry_run, undo_dir, depot) = (args.dry_run.dry_run, args.undo_dir.undo_dir, args.depot.depot);
    let exchanges = exchange.exchange;
    let (scripts, note, shlibs) = (scripts.request(call), args.note.text, args.libraries.request());
    let named = args.run.as_ref().map(|_| format!(" {}", number_of(&run.name))).unwrap_or_default();
    match (&run.work, depot) {
        (RunWork::Applied(_), None) => {
            let about_depots = args.network.said().into_iter().chain(signature.said()).chain(unsigned.said());
            must_not_be_said(&run, about_depots)?;
            let request = BackOutRequest {
                moved_to: undo_dir,
                dry_run,
                texts,
                note,
                exchanges,
                scripts,
                shlibs,
                ..BackOutRequest::default()
            };
            Ok(PatchRequest::UndoApplication(run, request))
        }
        (RunWork::Applied(_), Some(_)) => {
            let message = format!("run {} applied patches, and removing them needs no depot", run.name);
            let message = hinted(&message, &wording.verb(&format!("undo{named}")));
            Err(Stop::Usage { message, usage: USAGE })
        }
        (RunWork::BackedOut(patches), None) => {
            let message = format!(
                "run {} removed patches: specify the depot, or the directory of the patch files, that has {}",
                run.name,
                patches.join(", ")
            );
            let further = run.earlier.as_ref().map(|earlier| {
                let undo = wording.verb(&format!("undo {earlier}"));
                let number = number_of(&run.name);
                let was = match &run.reverted {
                    Some(trial) => format!("ended the trial of run {} by reverting it", number_of(trial)),
                    None => "was itself an undo".to_owned(),
                };
                format!("run {number} {was}; to go further back, name a run: {undo}")
            });
            let message = joined([message, further.unwrap_or_default()]);
            let message = hinted(&message, &wording.verb(&format!("undo -M DEPOT{named}")));
            Err(Stop::Usage { message, usage: USAGE })
        }
        (RunWork::BackedOut(_), Some(depot)) => {
            let signature = unsigned.added_to(signature.request());
            let apply = ApplyRequest {
                editable: EditableFiles::Keep,
                undo_dir,
                signature,
                dry_run,
                texts,
                note,
                exchanges,
                scripts,
                shlibs,
                depot: Some(DepotOperands { depot: Some(depot), ..DepotOperands::default() }),
                ..ApplyRequest::default()
            };
            let fetching = fetching(call, args.network.into(), args.wait.seconds);
            let command = ApplyCommand { apply, fetching, codes: EndCodes::default() };
            Ok(PatchRequest::UndoBackout(run, Box::new(command)))
        }
    }
}

/// Refuses options about foreign patches if the undo backs patches out.
fn must_not_be_said(
    run: &UndoneRun,
    mut options: impl Iterator<Item = (&'static str, bool)>,
) -> Result<(), Stop> {
    let Some((option, _)) = options.find(|(_, is_said)| *is_said) else { return Ok(()) };
    let message = format!(
        "{option} applies only to patches that are reapplied, and undoing run {} only removes patches\nhint: leave it out",
        run.name
    );
    Err(Stop::Usage { message, usage: USAGE })
}
