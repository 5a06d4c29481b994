use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use super::edges::{LibraryUses, ObjectOwners};
use crate::operation::depots::DepotError;
use crate::operation::failure::Failure;
use crate::operation::libraries::ScanError;
use patchadm_inputs::database::{DatabaseError, ViewError};
use patchadm_inputs::source::SourceError;
use patchadm_planning::order::{DependencyGraph, DependencyOrder, OrderDirection, OrderRequest};
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::patch::PatchId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderSubject {
    /// Includes programs and libraries of no package.
    Packages,
    Patches,
}

impl OrderSubject {
    /// `packages` or `patches`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Packages => "packages",
            Self::Patches => "patches",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderOperand {
    Name(String),
    /// As recorded.
    Path(ObjectPath),
}

#[derive(Clone, Debug, Default)]
pub struct OrderQuestion {
    /// If empty, all packages, or all patches of a depot.
    pub operands: Vec<OrderOperand>,
    pub direction: OrderDirection,
    /// Dependents first.
    pub is_reversed: bool,
    /// Only packages that need a kept library, or would load two versions of one.
    pub is_about_stale: bool,
    pub with_edges: bool,
}

#[derive(Clone, Debug)]
pub struct OrderAnswer {
    pub subject: OrderSubject,
    /// Groups, and edges if requested.
    pub order: DependencyOrder,
    /// In the order of the groups; `None` if not requested.
    pub stale: Option<Vec<StaleEntry>>,
    /// With reasons, sorted.
    pub not_understood: Vec<(String, String)>,
    /// Sorted.
    pub skipped: Vec<String>,
}

impl OrderAnswer {
    /// For orders that need no scan of files.
    pub(super) fn of(subject: OrderSubject, order: DependencyOrder) -> Self {
        Self { subject, order, stale: None, not_understood: Vec::new(), skipped: Vec::new() }
    }
}

impl OrderOperand {
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Name(name) => name.escape_debug().to_string(),
            Self::Path(path) => path.to_string(),
        }
    }
}

impl OrderQuestion {
    pub(super) fn order(&self, graph: &DependencyGraph, starts: &[String]) -> DependencyOrder {
        let Self { direction, is_reversed, with_edges, .. } = *self;
        graph.order(&OrderRequest { operands: starts, direction, is_reversed, with_edges })
    }

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

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StaleReason {
    /// Needs kept libraries.
    Kept,
    /// Would load several versions of one library.
    TwoVersions,
}

impl StaleReason {
    /// `kept` or `two-versions`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::TwoVersions => "two-versions",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleEntry {
    /// A package, or the path of an object without one.
    pub name: String,
    pub reason: StaleReason,
    /// Sorted.
    pub libraries: Vec<String>,
    /// A chain from a program to each library; sorted by program.
    pub ways: Vec<Vec<ObjectPath>>,
}

impl StaleEntry {
    /// True for an object without a package.
    pub fn is_object(&self) -> bool {
        self.name.starts_with('/')
    }
}

/// `kept` are packages of kept libraries, which need nothing for themselves.
pub(super) fn stale_entries(
    uses: &LibraryUses,
    owners: &ObjectOwners,
    kept: &BTreeSet<String>,
) -> Vec<StaleEntry> {
    let is_kept = |nodes: &[String]| nodes.iter().any(|node| kept.contains(node));
    let mut of_kept: BTreeMap<String, (BTreeSet<String>, Vec<Vec<ObjectPath>>)> = BTreeMap::new();
    for (path, uses) in uses.uses.iter().filter(|(path, _)| !is_kept(&owners.nodes(path))) {
        for one in uses.iter().filter(|one| is_kept(&owners.nodes(&one.library))) {
            for node in owners.nodes(path) {
                let (libraries, ways) = of_kept.entry(node).or_default();
                libraries.insert(one.name.clone());
                ways.push(vec![path.clone(), one.library.clone()]);
            }
        }
    }
    let mut doubles: BTreeMap<(String, Vec<String>), Vec<Vec<ObjectPath>>> = BTreeMap::new();
    for double in uses.doubles.iter().filter(|double| !is_kept(&owners.nodes(&double.program))) {
        for node in owners.nodes(&double.program) {
            doubles.entry((node, double.libraries.clone())).or_default().extend(double.ways.iter().cloned());
        }
    }
    let of_kept = of_kept.into_iter().map(|(name, (libraries, ways))| StaleEntry {
        name,
        reason: StaleReason::Kept,
        libraries: libraries.into_iter().collect(),
        ways,
    });
    let of_doubles = doubles.into_iter().map(|((name, libraries), ways)| StaleEntry {
        name,
        reason: StaleReason::TwoVersions,
        libraries,
        ways,
    });
    of_kept.chain(of_doubles).collect()
}

/// Also sorts the entries like the groups.
pub(super) fn only_stale(order: &mut DependencyOrder, mut entries: Vec<StaleEntry>) -> Vec<StaleEntry> {
    let stale: BTreeSet<&String> = entries.iter().map(|entry| &entry.name).collect();
    for group in &mut order.groups {
        group.retain(|name| stale.contains(name));
    }
    order.groups.retain(|group| !group.is_empty());
    order.edges.retain(|edge| stale.contains(&edge.from) && stale.contains(&edge.to));
    let places: HashMap<&String, usize> = order
        .groups
        .iter()
        .enumerate()
        .flat_map(|(at, group)| group.iter().map(move |name| (name, at)))
        .collect();
    entries.retain(|entry| places.contains_key(&entry.name));
    entries.sort_by(|one, other| {
        let key = |entry: &StaleEntry| {
            (places.get(&entry.name).copied(), entry.name.clone(), entry.reason, entry.libraries.clone())
        };
        key(one).cmp(&key(other))
    });
    entries
}

#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    #[error(transparent)]
    Failure(#[from] Failure),
    #[error("interrupted by signal {0}")]
    Interrupted(i32),
    #[error("{0} is not an existing package, patch or object")]
    Unknown(String),
    #[error("packages and patches cannot be put in one order: name one or the other")]
    Mixed,
    #[error("patches have no stale libraries: name packages or paths with --stale, or nothing")]
    StalePatches,
    #[error("--stale is about what is installed, and -M names something else")]
    StaleElsewhere,
    #[error("{} holds neither packages nor patches", .0.display())]
    Empty(PathBuf),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Depot(#[from] Box<DepotError>),
}

impl From<ScanError> for OrderError {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Root(error) => Self::Failure(error.into()),
            ScanError::Interrupted(signal) => Self::Interrupted(signal),
        }
    }
}

impl From<DatabaseError> for OrderError {
    fn from(error: DatabaseError) -> Self {
        Self::Failure(error.into())
    }
}

impl From<ViewError> for OrderError {
    fn from(error: ViewError) -> Self {
        Self::Failure(DatabaseError::from(error).into())
    }
}
