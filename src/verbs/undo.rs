//! `patchadm undo`: takes a run back.

use super::confirmation::on_confirmed_root;
use super::options::{
    DryRunOption, ExchangeOptions, NoteOption, SignatureOptions, UndoDirOption, UnsignedOption, VerbOptions,
    WaitOption, YesOption,
};
use crate::as_owner::options::OwnerOptions;
use crate::patch_command::{ApplyCommand, PatchRequest, fetching};
use patchadm_cli::arguments::fetching::{DepotOption, OfflineOption};
use patchadm_cli::arguments::{LibraryOptions, ScriptOptions, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::{change_failed, hinted};
use patchadm_cli::reply::patches::EndCodes;
use patchadm_cli::reply::{Reply, Stop};
use patchadm_core::operation::patches::apply::{ApplyRequest, DepotOperands};
use patchadm_core::operation::patches::back_out::BackOutRequest;
use patchadm_core::operation::patches::undo::{RunWork, UndoneRun, number_of, run_to_undo};
use patchadm_planning::plan::edits::EditableFiles;
use patchadm_planning::plan::refusal::{Command, Wording};

const USAGE: &str = "patchadm [-R root] undo [option...] [-M depot] [run]";

/// Reverse the last run, or the one named: remove what it applied, or apply what it removed (from the depot or directory named by -M)
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
    let run = run_to_undo(&root, args.run.as_deref())
        .map_err(|failed| change_failed(&root, Command::Undo, &failed))?;
    let (wait, is_agreed) = (args.wait.seconds, args.yes.yes);
    let request = request(call, args, run, &Wording::of_verbs(root.prefix()))?;
    on_confirmed_root(call, root, &request, (wait, is_agreed))
}

fn request(
    call: &Invocation,
    args: UndoArgs,
    run: UndoneRun,
    wording: &Wording,
) -> Result<PatchRequest, Stop> {
    let UndoArgs { diff: texts, scripts, signature, unsigned, exchange, .. } = args;
    let (dry_run, undo_dir, depot) = (args.dry_run.dry_run, args.undo_dir.undo_dir, args.depot.depot);
    let exchanges = exchange.requests();
    let (scripts, note, shlibs) = (scripts.request(call), args.note.text, args.libraries.request());
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
            Err(Stop::Usage { message, usage: USAGE })
        }
        (RunWork::BackedOut(patches), None) => {
            let message = format!(
                "run {} removed patches: name the depot, or the directory of the patch files, that has {}",
                run.name,
                patches.join(", ")
            );
            let named = args.run.as_ref().map(|_| format!(" {}", number_of(&run.name)));
            let undo = format!("undo -M DEPOT{}", named.unwrap_or_default());
            let message = hinted(&message, &wording.verb(&undo));
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
        "{option} is for patches that are applied again, and undoing run {} only removes patches\nhint: leave it out",
        run.name
    );
    Err(Stop::Usage { message, usage: USAGE })
}
