//! The recovery table: the next step in undoing an op, by the states of its target and of its stage.

use crate::format::journal::{Op, OpKind};
use crate::transaction::objects::identity::ObjectState;

/// The next step in undoing an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UndoStep {
    /// The op is undone.
    Nothing,
    /// Exchange target and stage.
    Exchange,
    /// Move the staged object to the free target.
    PutBack,
    /// Move the target into the stage.
    TakeAway,
    /// Keep the foreign staged object beside the target.
    KeepStaged,
    /// Keep foreign work on the new object under another name.
    KeepTarget,
    /// Remove the new directory if it is empty.
    RemoveDirectory,
    /// Leave the foreign object alone.
    Leave,
    /// Rebuild the old object from the undo archive.
    Rebuild,
}

/// Returns the next step in undoing an op, by the recovery table.
#[allow(clippy::match_same_arms)] // in the order of the table, so that the two can be read side by side
pub(crate) fn undo_step(op: &Op, target: ObjectState, stage: ObjectState) -> UndoStep {
    use ObjectState::{New, NewTouched, None, Old, Other};
    let empty_directory = !op.whole && op.new.as_ref().is_some_and(|new| new.file_type == 'd');
    match (op.kind, target, stage) {
        (OpKind::Replace | OpKind::Delete | OpKind::Tree, Old, NewTouched | Other) => UndoStep::KeepStaged,
        (OpKind::Replace | OpKind::Delete | OpKind::Tree, None, Old) => UndoStep::PutBack,
        (OpKind::Replace | OpKind::Delete | OpKind::Tree, New | NewTouched | Other, Old) => {
            UndoStep::Exchange
        }
        (OpKind::Tree, Other | None, New | NewTouched) => UndoStep::Leave,
        // The old directory exists nowhere, not even in an archive.
        (OpKind::Tree, New | NewTouched | Other | None, _) => UndoStep::Rebuild,
        (OpKind::Replace, Other | None, New | NewTouched | Other) => UndoStep::Leave,
        (OpKind::Replace, New | NewTouched, Other) => UndoStep::KeepStaged,
        (OpKind::Replace, New | NewTouched | Other | None, None) | (OpKind::Delete, None, None) => {
            UndoStep::Rebuild
        }
        (OpKind::Add, New | NewTouched, None) if empty_directory => UndoStep::RemoveDirectory,
        (OpKind::Add, New, None) => UndoStep::TakeAway,
        (OpKind::Add, NewTouched, None) if op.whole => UndoStep::TakeAway,
        (OpKind::Add, NewTouched, _) => UndoStep::KeepTarget,
        (OpKind::Add, Other | Old, _) | (OpKind::Delete, Other, None) => UndoStep::Leave,
        _ => UndoStep::Nothing,
    }
}
