//! The lists of patches of packages (PATCHLIST) before and after a plan.

use std::collections::BTreeMap;

use serde::Serialize;

use patchadm_core::operation::patches::apply::ApplyOutcome;
use patchadm_planning::plan::refusal::Command;
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::{PatchId, PatchList};

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct PatchListEntry {
    package: String,
    before: Vec<String>,
    after: Vec<String>,
}

impl PatchListEntry {
    /// Sorted by package; `None` for a promotion, which makes its patches itself.
    pub(super) fn all(command: Command, outcomes: &[ApplyOutcome]) -> Option<Vec<Self>> {
        if command == Command::Promote {
            return None;
        }
        let mut lists: BTreeMap<&PkgInst, (&PatchList, PatchList)> = BTreeMap::new();
        for change in outcomes.iter().flat_map(|outcome| &outcome.lists) {
            if let Some(before) = &change.before {
                lists.entry(&change.package).or_insert_with(|| (before, before.clone()));
            }
        }
        let planned = outcomes.iter().filter(|outcome| outcome.result.is_ok());
        for change in planned.flat_map(|outcome| &outcome.lists) {
            let Some((_, after)) = lists.get_mut(&change.package) else { continue };
            match command {
                Command::Patchrm => after.remove(&change.patch),
                _ => after.push(change.patch.clone()),
            };
        }
        let changed = lists.into_iter().filter(|(_, (before, after))| *before != after);
        let entry = |(package, (before, after)): (&PkgInst, (&PatchList, PatchList))| Self {
            package: package.to_string(),
            before: words(before),
            after: words(&after),
        };
        Some(changed.map(entry).collect())
    }
}

fn words(list: &PatchList) -> Vec<String> {
    list.iter().map(PatchId::to_string).collect()
}
