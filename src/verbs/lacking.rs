//! `patchadm list --missing`: finds roots without a patch.
//!
//! A later revision, or a patch that obsoletes it, has its changes.

use serde::Serialize;

use patchadm_cli::reply::words::{print_notes, unfinished_sentence};
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::queries::inspect::Inspection;
use patchadm_rootfs::Root;
use patchadm_svr4::patch::PatchId;

#[derive(Debug, Serialize)]
pub(super) struct LackingReport {
    pub(super) patch: String,
    pub(super) lacking: bool,
    /// The applied patch with its changes: itself, a later revision, or one that obsoletes it.
    has: Option<String>,
    unfinished: Option<String>,
    #[serde(skip)]
    remarks: Vec<String>,
}

impl LackingReport {
    pub(super) fn of(root: &Root, inspection: &Inspection, patch: &str) -> Result<Self, Stop> {
        let id = PatchId::parse(patch, &inspection.separator).map_err(|error| Stop::Refused {
            exit: Exit::new(8, ExitCause::Usage),
            message: error.to_string(),
        })?;
        let applied = &inspection.applied;
        let own = applied.get(&id).map(|patch| &patch.id);
        let has = own.or_else(|| applied.later_revision(&id));
        let has = has.or_else(|| applied.obsoleted_by(&id)?.by).map(ToString::to_string);
        let unfinished = inspection.unfinished.clone();
        let remarks = unfinished.iter().map(|run| unfinished_sentence(run, root.prefix())).collect();
        Ok(Self { patch: id.to_string(), lacking: has.is_none(), has, unfinished, remarks })
    }

    pub(super) fn line(&self) -> String {
        match &self.has {
            None => format!("is missing {}", self.patch),
            Some(has) if *has == self.patch => format!("has {has}"),
            Some(has) => format!("has {has}, which contains {}", self.patch),
        }
    }
}

impl CommandReport for LackingReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(output.line(format!("The root {}.", self.line()))?)
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(print_notes(output, &self.remarks)?)
    }
}
