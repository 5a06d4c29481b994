//! The question and the answer.

use super::error::OrderError;
use super::stale::StaleEntry;
use patchadm_planning::order::{DependencyGraph, DependencyOrder, OrderDirection, OrderRequest};
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::patch::PatchId;

/// The things that are put in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderSubject {
    /// Packages, and programs and libraries of no package.
    Packages,
    /// Patches.
    Patches,
}

impl OrderSubject {
    /// Returns the word for it: `packages` or `patches`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Packages => "packages",
            Self::Patches => "patches",
        }
    }
}

/// A named thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderOperand {
    /// A package or patch.
    Name(String),
    /// A path, as the records have it.
    Path(ObjectPath),
}

/// The question.
#[derive(Clone, Debug, Default)]
pub struct OrderQuestion {
    /// The named things; if empty, all packages, or all patches of a depot.
    pub operands: Vec<OrderOperand>,
    /// The direction from there.
    pub direction: OrderDirection,
    /// Whether each comes before what it needs.
    pub is_reversed: bool,
    /// Whether only those are wanted that need a kept library or would load two versions of one.
    pub is_about_stale: bool,
    /// Whether the edges are wanted, too.
    pub with_edges: bool,
}

/// The answer.
#[derive(Clone, Debug)]
pub struct OrderAnswer {
    /// The things that were put in order.
    pub subject: OrderSubject,
    /// The groups, and the edges between their names if they are wanted.
    pub order: DependencyOrder,
    /// The stale things, in the order of the groups; `None` if they were not requested.
    pub stale: Option<Vec<StaleEntry>>,
    /// The files that were not understood, each with the reason, sorted.
    pub not_understood: Vec<(String, String)>,
    /// The directories that were not searched, sorted.
    pub skipped: Vec<String>,
}

impl OrderAnswer {
    /// Returns an order for which no file had to be looked into.
    pub(super) fn of(subject: OrderSubject, order: DependencyOrder) -> Self {
        Self { subject, order, stale: None, not_understood: Vec::new(), skipped: Vec::new() }
    }
}

impl OrderOperand {
    /// Returns the operand as messages show it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Name(name) => name.escape_debug().to_string(),
            Self::Path(path) => path.to_string(),
        }
    }
}

impl OrderQuestion {
    /// Sorts the nodes of a graph that are reached from some starts.
    pub(super) fn order(&self, graph: &DependencyGraph, starts: &[String]) -> DependencyOrder {
        let Self { direction, is_reversed, with_edges, .. } = *self;
        graph.order(&OrderRequest { operands: starts, direction, is_reversed, with_edges })
    }

    /// Returns the named patches, each as `known` spells it.
    pub(super) fn patches<'k>(
        &self,
        known: impl Fn(&PatchId) -> Option<&'k PatchId>,
    ) -> Result<Vec<String>, OrderError> {
        let named = |operand: &OrderOperand| match operand {
            OrderOperand::Name(name) => {
                let id = PatchId::new(name).ok().and_then(|id| known(&id));
                id.map(ToString::to_string).ok_or_else(|| OrderError::Unknown(operand.shown()))
            }
            OrderOperand::Path(_) => Err(OrderError::Mixed),
        };
        self.operands.iter().map(named).collect()
    }
}
