//! Takes all directories that are exchanged through the first step of a run.

use crate::format::journal::OpKind;
use crate::transaction::error::Cause;
use crate::transaction::stage::domains::OpenDomains;
use crate::transaction::stage::layout_items::{LaidTree, Layout, TreeState};
use crate::transaction::tree::comparing::OldTree;
use crate::transaction::tree::preparing::{PreparedTree, prepare};
use crate::transaction::tree::request::{ExchangeReport, ExchangeWay};
use crate::transaction::tree::settling::{KnownTree, settle};
use crate::transaction::tree::survey::below;
use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;

/// A directory that is ready to be exchanged.
#[derive(Debug)]
pub(crate) struct StagedExchange {
    /// Its place: a physical path.
    live: ObjectPath,
    /// The new one, and after the exchange the old one: a physical path in the stage.
    staged: ObjectPath,
    known: KnownTree,
    /// Notes for the operator.
    pub(crate) notes: Vec<String>,
}

impl StagedExchange {
    /// Checks that the old directory, now in the stage, is still as it was when it was copied.
    pub(crate) fn must_be_as_known(&self, root: &Root) -> Result<(), Cause> {
        let (live, staged, known) = (&self.live, self.staged.clone(), &self.known);
        OldTree { root, live, staged, known }.must_be_as_known()
    }
}

/// Reports how the changes below each directory of a layout become visible.
pub(crate) fn reports(trees: &[LaidTree]) -> Vec<ExchangeReport> {
    let report = |tree: &LaidTree| {
        let nothing = ExchangeReport::nothing(&tree.request.directory);
        match &tree.state {
            TreeState::Untouched => nothing,
            TreeState::Renames(reason) => {
                ExchangeReport { way: ExchangeWay::Renames, reason: Some(reason.clone()), ..nothing }
            }
            TreeState::Exchange(tree) => {
                ExchangeReport { way: ExchangeWay::Exchange, holders: tree.survey.holders(), ..nothing }
            }
        }
    };
    trees.iter().map(report).collect()
}

/// Makes the new directories, each with its place among all.
pub(crate) fn prepare_trees<'t>(
    root: &'t Root,
    domains: &OpenDomains,
    layout: &Layout<'_>,
    trees: &'t [LaidTree],
) -> Result<Vec<(usize, PreparedTree<'t>)>, Cause> {
    let exchanged = trees.iter().enumerate().filter_map(|(number, tree)| match &tree.state {
        TreeState::Exchange(tree) => Some((number, &**tree)),
        _ => None,
    });
    exchanged.map(|tree| Ok((tree.0, prepare(root, domains, layout, tree)?))).collect()
}

/// Completes the new directories, in which everything is staged now.
pub(crate) fn settle_trees(
    prepared: Vec<(usize, PreparedTree<'_>)>,
    domains: &OpenDomains,
    layout: &mut Layout<'_>,
) -> Result<Vec<StagedExchange>, Cause> {
    let mut staged = Vec::new();
    for (number, prepared) in prepared {
        let tree = prepared.tree;
        let settled = settle(prepared, domains, layout, number)?;
        let is_it = |kind, stage: &str| kind == OpKind::Tree && stage == tree.stage;
        for item in layout.items.iter_mut().filter(|item| is_it(item.op.kind, &item.op.stage)) {
            item.op.new = Some(settled.new.clone());
            item.op.list = Some(Box::new(settled.digest.into()));
        }
        let stage = &domains.get(tree.domain)?.entry.stage;
        staged.push(StagedExchange {
            live: tree.survey.path.clone(),
            staged: below(stage, tree.stage.as_bytes())?,
            known: settled.known,
            notes: settled.notes,
        });
    }
    Ok(staged)
}
