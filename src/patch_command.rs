//! The course that patchadd, patchrm and the verbs `add`, `remove` and `plan` share: a request, carried out on a root,
//! becomes a report that each of them prints in its own words.

use std::path::Path;

use serde::Serialize;

use crate::arguments::{RootOption, inside};
use crate::as_owner::options::OwnerOptions;
use crate::call::{Invocation, PROGRAM};
use crate::reply::patches::{PatchFace, PatchesReport, as_applied};
use crate::reply::{CommandReport, Reply, Stop};
use crate::surroundings::Output;
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::patches::apply::{ApplyReport, ApplyRequest, apply_patches};
use patchadm_core::operation::patches::back_out::{BackOutRequest, back_out_patches};
use patchadm_core::operation::patches::spool::{SpooledPatch, spooled_patch};
use patchadm_core::operation::session::Caller;
use patchadm_core::plan::refusal::Command;
use patchadm_rootfs::Root;
use patchadm_svr4::patch::PatchId;

/// The request to a command about patches.
#[derive(Clone, Debug)]
pub(crate) enum PatchRequest {
    Apply(ApplyRequest),
    BackOut(BackOutRequest),
}

impl PatchRequest {
    /// The classic command that does this.
    pub(crate) fn command(&self) -> Command {
        match self {
            Self::Apply(_) => Command::Patchadd,
            Self::BackOut(_) => Command::Patchrm,
        }
    }

    pub(crate) fn is_dry_run(&self) -> bool {
        match self {
            Self::Apply(request) => request.dry_run,
            Self::BackOut(request) => request.dry_run,
        }
    }

    /// Refuses a request that names no patch.
    pub(crate) fn must_name_patches(&self, usage: &'static str) -> Result<(), Stop> {
        let names_none = match self {
            Self::Apply(request) => request.patches.is_empty(),
            Self::BackOut(request) => request.ids.is_empty() && request.down_to.is_none(),
        };
        if names_none { Err(Stop::Usage { message: "no patch is named".to_owned(), usage }) } else { Ok(()) }
    }

    /// Takes from the spool directory of this machine what is named by an id alone and is not in the working directory, and
    /// says so.
    pub(crate) fn look_into_spool(&mut self, output: &mut Output) -> anyhow::Result<()> {
        let Self::Apply(request) = self else { return Ok(()) };
        for patch in &mut request.patches {
            let id = patch.to_str().and_then(|word| PatchId::new(word).ok());
            let Some(id) = id.filter(|_| patch.symlink_metadata().is_err()) else { continue };
            // Without access to the directory there is nothing for this caller in it.
            let found = Root::open(Path::new("/")).and_then(|host| spooled_patch(&host, &id));
            match found.unwrap_or(SpooledPatch::Missing) {
                SpooledPatch::Missing => {}
                SpooledPatch::Found(path) => {
                    output.complain(format!("NOTE: {id} is taken from {}.\n", path.display()))?;
                    *patch = path;
                }
                SpooledPatch::Distrusted(path, stranger) => output.complain(format!(
                    "NOTE: {path} is not taken, because {stranger}. Name its path if it is the right one.\n"
                ))?,
            }
        }
        Ok(())
    }

    /// Carries the request out on a root.
    pub(crate) fn carry_out(&self, root: &Root, caller: &Caller<'_>) -> Result<ApplyReport, Failure> {
        match self {
            Self::Apply(request) => {
                let request = ApplyRequest {
                    overridden: inside(root, &request.overridden),
                    preserved: inside(root, &request.preserved),
                    ..request.clone()
                };
                apply_patches(root, &request, caller)
            }
            Self::BackOut(request) => back_out_patches(root, request, caller).map(as_applied),
        }
    }
}

/// Prints the report of a command in that command's words.
pub(crate) type PrintPatches = fn(&Root, &PatchesReport, &mut Output) -> anyhow::Result<()>;

/// The report about a root, with the words for it.
#[derive(Serialize)]
#[serde(transparent)]
struct WordedReport {
    report: PatchesReport,
    #[serde(skip)]
    root: Root,
    #[serde(skip)]
    print: PrintPatches,
}

impl CommandReport for WordedReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        (self.print)(&self.root, &self.report, output)
    }
}

/// Carries a request out on the root that the command line names. `A` are the arguments of the command.
pub(crate) fn on_root<A: clap::CommandFactory>(
    call: &mut Invocation,
    (root, owner): (&RootOption, OwnerOptions),
    request: &PatchRequest,
    wait: Option<u64>,
    print: PrintPatches,
) -> anyhow::Result<Reply> {
    let command = request.command();
    let root = owner.open::<A>(call, root, command)?;
    if !request.is_dry_run() {
        call.output.heedless();
    }
    let result = call.change(&root, command.name(), wait, |caller| request.carry_out(&root, caller))?;
    let face = if call.program == PROGRAM { PatchFace::Verb } else { PatchFace::Classic };
    let report = PatchesReport::of(&root, command, result, face, call.surroundings.began);
    let report = report.of_plan(request.is_dry_run());
    Ok(Reply::about(&root.clone(), report.exit, WordedReport { report, root, print }))
}
