//! The common end of both ways to plan a promotion: a draft, its records and its undo data become a plan.

use crate::plan::clock::Now;
use crate::plan::plan_builder::PlanBuilder;
use crate::plan::refusal::{Command, Reason};
use crate::plan::{Direction, Plan, RecordChange, UndoArchive, space};
use patchadm_svr4::package::PkgInst;

/// The parts of a plan apart from the objects and lines of its draft.
pub(super) struct FinishedParts<'a> {
    pub(super) command: Command,
    /// The ids of the patches.
    pub(super) patches: Vec<String>,
    /// The packages that are changed.
    pub(super) packages: Vec<PkgInst>,
    pub(super) records: Vec<RecordChange>,
    pub(super) undo: Vec<UndoArchive>,
    /// The package that the trailer of `contents` names.
    pub(super) last: &'a PkgInst,
}

/// Makes the plan; refused where the disk has no room for it.
pub(super) fn finished(draft: PlanBuilder<'_>, parts: FinishedParts<'_>, now: &Now) -> Result<Plan, Reason> {
    let FinishedParts { command, patches, packages, records, undo, last } = parts;
    let inventory = draft.inventory;
    let changes: Vec<_> = draft.changes.into_values().collect();
    let space = space::needs(inventory, &changes, &records, &undo.iter().collect::<Vec<_>>(), &[]);
    space::enough(&space)?;
    Ok(Plan {
        command: command.name(),
        patches,
        changes,
        records,
        contents: draft.lines.into_iter().map(|(path, (_, line))| (path, line)).collect(),
        trailer: now.trailer("pkgadd", last),
        packages,
        undo,
        versions: Vec::new(),
        space,
        discard: Vec::new(),
        notes: draft.notes,
        signature: None,
        merges: Vec::new(),
        direction: Direction::Forward,
    })
}
