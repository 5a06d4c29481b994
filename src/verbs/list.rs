//! `patchadm list`: the patches of a root.

use serde::Serialize;

use super::options::VerbOptions;
use crate::arguments::parse;
use crate::call::Invocation;
use crate::reply::failure::query_refused;
use crate::reply::words::human;
use crate::reply::{CommandReport, Exit, Reply};
use crate::surroundings::Output;
use patchadm_core::operation::queries::inspect::{InspectedPatch, inspect};
use patchadm_svr4::patch::PatchList;

const USAGE: &str = "patchadm [-R root] list";

/// List the patches of a root with their state, date and undo data
#[derive(clap::Parser)]
struct ListArgs {
    #[command(flatten)]
    common: VerbOptions,
}

/// An applied patch; its fields are those of the JSON documents of `list` and `show`.
#[derive(Serialize)]
pub(super) struct ListedPatch {
    pub(super) id: String,
    pub(super) state: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) by: Option<String>,
    pub(super) date: Option<String>,
    pub(super) host: Option<String>,
    pub(super) packages: Vec<String>,
    pub(super) obsoletes: Vec<String>,
    pub(super) requires: Vec<String>,
    pub(super) incompatibles: Vec<String>,
    /// Bytes; null where there is none, or where it is kept elsewhere.
    undo_bytes: Option<u64>,
    removable: bool,
    /// Whether all of the undo data is where the records say.
    #[serde(skip)]
    has_undo: bool,
}

impl From<&InspectedPatch> for ListedPatch {
    fn from(one: &InspectedPatch) -> Self {
        let words = |list: &PatchList| list.iter().map(ToString::to_string).collect();
        Self {
            id: one.patch.id.to_string(),
            state: one.state.clone(),
            by: one.by.clone(),
            date: one.date.clone(),
            host: one.host.clone(),
            packages: one.patch.packages.iter().map(ToString::to_string).collect(),
            obsoletes: words(&one.patch.obsoletes),
            requires: one.patch.requires.iter().map(ToString::to_string).collect(),
            incompatibles: words(&one.patch.incompatibles),
            undo_bytes: undo_bytes(one),
            removable: one.is_removable,
            has_undo: one.undo.iter().all(|undo| undo.is_there),
        }
    }
}

impl ListedPatch {
    /// The state with the patch that is behind it.
    pub(super) fn state_text(&self) -> String {
        let by = self.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        format!("{}{by}", self.state.join(", "))
    }
}

fn undo_bytes(one: &InspectedPatch) -> Option<u64> {
    let sizes: Option<Vec<u64>> = one.undo.iter().map(|undo| undo.bytes).collect();
    sizes.map(|sizes| sizes.iter().sum())
}

#[derive(Serialize)]
struct ListReport {
    patches: Vec<ListedPatch>,
}

/// Runs the verb.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: ListArgs = parse(call, USAGE)?;
    let root = args.common.root.open(call)?;
    let patches = inspect(&root)
        .map_err(|failed| query_refused(&root, &failed))?
        .iter()
        .map(ListedPatch::from)
        .collect();
    Ok(Reply::about(&root, Exit::OK, ListReport { patches }))
}

impl CommandReport for ListReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        if self.patches.is_empty() {
            output.line("No patches are applied.")?;
        }
        let width = self.patches.iter().map(|one| one.id.len()).max().unwrap_or_default();
        for one in &self.patches {
            let undo = match (one.undo_bytes, one.has_undo) {
                (Some(bytes), _) => human(bytes),
                (None, true) => "elsewhere".to_owned(),
                (None, false) => "none".to_owned(),
            };
            let state = one.state_text();
            let date = one.date.as_deref().unwrap_or("no date recorded");
            output.line(format!("{:<width$}  {state:<24}  {date}  undo data: {undo}", one.id))?;
        }
        Ok(())
    }
}
