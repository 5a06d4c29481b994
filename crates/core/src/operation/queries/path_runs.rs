//! The runs that changed a path. The history names the patches and packages of a run; which paths they changed is known from
//! `contents` and from the undo data of applied patches.

use crate::operation::queries::patch_objects::ObjectAction;
use crate::operation::queries::path_owners::PathOwners;
use crate::operation::queries::runs::{APPLYING, PastRun, PastRuns, REMOVING};

/// The runs that changed a path.
#[derive(Clone, Debug)]
pub struct PathRuns<'a> {
    /// The runs, oldest first.
    pub runs: Vec<&'a PastRun>,
    /// The number of runs of removed patches that changed a package of the path, and maybe the path.
    pub unknown: usize,
}

/// Returns the runs that changed a path, as far as that is known.
pub fn path_runs<'a>(past: &'a PastRuns, owners: &PathOwners) -> PathRuns<'a> {
    let packages = owners.line.iter().flat_map(|line| &line.owners);
    let packages: Vec<String> = packages.map(|owner| owner.package.to_string()).collect();
    // The newest patch is the first. What a patch added did not come with a package.
    let is_added = owners.patches.last().is_some_and(|patch| patch.action == Some(ObjectAction::Added));
    let patches = owners.patches.iter().filter(|patch| patch.action != Some(ObjectAction::Unchanged));
    let patches: Vec<&str> = patches.map(|patch| patch.id.as_str()).collect();
    let has_left_merge = |run: &PastRun| {
        let mut merges = run.merges.iter().flat_map(|(_, merges)| merges);
        merges.any(|merge| merge.path == owners.path || owners.names.contains(&merge.path))
    };
    let is_of_package = |run: &PastRun| run.line.packages.iter().any(|name| packages.contains(name));
    let is_about = |run: &PastRun| match run.line.patches.as_slice() {
        [] => !is_added && is_of_package(run),
        of_run => of_run.iter().any(|id| patches.contains(&id.as_str())) || has_left_merge(run),
    };
    let is_removed = |id: &String| {
        let done = past.runs.iter().rev().filter(|run| run.line.result == "done");
        let mut commands =
            done.filter(|run| run.line.patches.contains(id)).map(|run| run.line.command.as_str());
        let last = commands.find(|command| APPLYING.contains(command) || REMOVING.contains(command));
        last.is_some_and(|command| REMOVING.contains(&command))
    };
    // What a removed patch did is not known: its undo data is gone.
    let is_unknown = |run: &PastRun| is_of_package(run) && run.line.patches.iter().any(is_removed);
    let mut found = PathRuns { runs: Vec::new(), unknown: 0 };
    for run in &past.runs {
        if is_about(run) {
            found.runs.push(run);
        } else if is_unknown(run) {
            found.unknown += 1;
        }
    }
    found
}
