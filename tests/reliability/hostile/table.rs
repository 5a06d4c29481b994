//! The table: every hostile case, by kind of defect.

mod bombs;
mod floods;
mod giants;
mod links;
mod lists;
mod names;
mod objects;
mod parameters;
mod sizes;
mod undo;

use super::case::Case;

/// All cases, in a stable order.
pub(super) fn table() -> Vec<Case> {
    let mut table = Vec::new();
    table.extend(names::cases());
    table.extend(links::cases());
    table.extend(objects::cases());
    table.extend(sizes::cases());
    table.extend(undo::cases());
    table.extend(lists::cases());
    table.extend(giants::cases());
    table.extend(floods::cases());
    table.extend(parameters::cases());
    table.extend(bombs::cases());
    table
}
