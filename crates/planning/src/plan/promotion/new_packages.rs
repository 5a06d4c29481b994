//! The lines of `contents` of packages that only the stage has. They come as the stage has them, and shared objects
//! still belong to the other packages of the root, too.

use super::input::PromotionInput;
use crate::plan::plan_builder::PlanBuilder;
use crate::plan::refusal::{BroughtReason, PromotionReason, Reason};
use patchadm_svr4::package::{ObjectPath, PkgInst};

/// Records what the new packages own. What is promoted already is recorded with their lines.
pub(super) fn record_new_packages(
    draft: &mut PlanBuilder<'_>,
    input: &PromotionInput<'_>,
) -> Result<(), Reason> {
    for (package, new) in &input.new_packages {
        for (path, staged) in &new.lines {
            let is_promoted = input.taken.contains_key(path) || input.record.paths.contains(path);
            let is_shared = draft.old(path).is_some_and(|live| is_promoted || live.is_directory());
            if !is_shared && !input.taken.contains_key(path) {
                return Err(refuse(input, package, path));
            }
            let line = draft.inventory.lines.get(path).map_or_else(
                || staged.clone(),
                |live| {
                    let mut line = live.clone();
                    line.owners
                        .extend(staged.owners.iter().filter(|owner| owner.package == *package).cloned());
                    line
                },
            );
            draft.set_line(package, path, Some(line));
        }
    }
    Ok(())
}

fn refuse(input: &PromotionInput<'_>, package: &PkgInst, path: &ObjectPath) -> Reason {
    let reason = BroughtReason::NewOutside { package: package.clone(), path: path.clone() };
    Reason::Promotion(PromotionReason::Brought { stage: input.stage.clone(), reason })
}
