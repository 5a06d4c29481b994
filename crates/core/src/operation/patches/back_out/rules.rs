//! What the rules of a backout ask about.

use super::input::BackOutInput;
use crate::operation::failure::Failure;
use patchadm_inputs::database::{RecordView, installed, saves};
use patchadm_inputs::inventory::{Inventory, Touched};
use patchadm_svr4::patch::{PatchId, PatchList};

/// Surveys every package, with its records, and the save directories of those that have one of the patches.
pub(super) fn rules(input: &BackOutInput<'_>, ids: &[PatchId]) -> Result<Inventory, Failure> {
    let mut rules = input.survey(input.packages()?, &Touched::default())?;
    for (package, installed) in &mut rules.packages {
        let list = PatchList::parse(&installed.params.text("PATCHLIST"), &input.ground.policy.separator);
        if list.is_ok_and(|list| ids.iter().any(|id| list.contains(id))) {
            let view = RecordView::live(&input.ground.root);
            installed.saves = saves::saves(&view, package)?;
            installed.interruption = installed::interruption(&view, package)?;
        }
    }
    Ok(input.before.onto(rules))
}
