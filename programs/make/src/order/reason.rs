//! The reason for an edge, in words.

use patchadm_planning::order::{EdgeKind, NeedEdge};

/// Returns the reason for an edge.
pub(super) fn reason_of(edge: &NeedEdge) -> String {
    let object = edge.object.as_deref().unwrap_or_default();
    match edge.kind {
        EdgeKind::Depend => format!("{object} has {}", edge.need),
        EdgeKind::Elf => format!("{object} loads {}", edge.need),
        EdgeKind::Patch => format!("it requires {}", edge.need),
    }
}
