//! Edges from the requirements of patches.

use patchadm_planning::order::{DependencyGraph, EdgeKind, NeedEdge};
use patchadm_svr4::patch::AppliedPatches;

/// Makes the graph of patches: each requirement leads to the patch that meets it, if one does.
pub(super) fn patch_graph(patches: &AppliedPatches) -> DependencyGraph {
    let names = patches.iter().map(|patch| patch.id.to_string());
    let mut edges = Vec::new();
    for patch in patches.iter() {
        for requirement in &patch.requires {
            let Some(provider) = patches.satisfies(requirement) else { continue };
            edges.push(NeedEdge {
                from: patch.id.to_string(),
                to: provider.to_string(),
                kind: EdgeKind::Patch,
                object: None,
                need: requirement.to_string(),
            });
        }
    }
    DependencyGraph::new(names, edges)
}
