//! Lays out the changes below directories that are exchanged as a whole: they are staged in the new directory, and a
//! single op replaces theirs.

use super::layout::LayoutBuilder;
use super::layout_items::{ExchangedTree, LayoutItem, TreeState, turn};
use crate::format::journal::{Op, OpKind};
use crate::transaction::error::Cause;
use crate::transaction::objects::identity::identity;
use crate::transaction::objects::rename_support::RenameSupport;
use crate::transaction::tree::survey::survey;
use patchadm_svr4::package::ObjectPath;

/// Where an item is staged: its staged name, and the path below that if it is in a directory.
type StagedPlace = (String, Option<Box<[u8]>>);

impl<'p> LayoutBuilder<'_, 'p> {
    /// Returns the place, among the exchanged directories, of the one that contains or is the target. The first target
    /// settles whether the directory can be exchanged.
    pub(super) fn tree_of(&mut self, physical: &ObjectPath) -> Result<Option<usize>, Cause> {
        let is_in = |path: &ObjectPath| physical == path || physical.is_below(path);
        let Some(place) = self.trees.iter().position(|tree| is_in(&tree.request.directory)) else {
            return Ok(None);
        };
        if self.trees.get(place).is_some_and(|tree| matches!(tree.state, TreeState::Untouched)) {
            let settled = self.settle_tree(place);
            let Some(tree) = self.trees.get_mut(place) else { return Ok(None) };
            tree.state = match settled {
                Ok(exchanged) => TreeState::Exchange(Box::new(exchanged)),
                Err(Cause::NoExchange(refusal)) if !tree.request.or_stop => {
                    TreeState::Renames(refusal.reason)
                }
                Err(other) => return Err(other),
            };
        }
        Ok(self.trees.get(place).filter(|tree| matches!(tree.state, TreeState::Exchange(_))).map(|_| place))
    }

    /// Determines whether a directory can be exchanged, and in which domain.
    fn settle_tree(&mut self, place: usize) -> Result<ExchangedTree, Cause> {
        let path = self.trees.get(place).map(|tree| tree.request.directory.clone());
        let path = path.ok_or_else(|| Cause::Internal("there is no such directory".to_owned()))?;
        let survey = survey(self.root, &path)?;
        let (domain, _) = self.domain_of(&path)?;
        let support = RenameSupport::of(&self.domains.get(domain)?.entry);
        if !support.exchange || !support.no_replace {
            let reason = "its file system cannot exchange two names".to_owned();
            return Err(Cause::no_exchange(self.root, &path, reason));
        }
        Ok(ExchangedTree { domain, stage: format!("o/tree.{place}"), survey })
    }

    /// Returns a directory that is exchanged.
    pub(super) fn exchanged(&mut self, place: usize) -> Result<&mut ExchangedTree, Cause> {
        match self.trees.get_mut(place).map(|tree| &mut tree.state) {
            Some(TreeState::Exchange(tree)) => Ok(tree),
            _ => Err(Cause::Internal("a directory is not exchanged".to_owned())),
        }
    }

    /// Returns where the object of a target in an exchanged directory is staged.
    pub(super) fn place_in_tree(
        &mut self,
        place: usize,
        physical: &ObjectPath,
        kind: OpKind,
    ) -> Result<StagedPlace, Cause> {
        let root = self.root;
        let tree = self.exchanged(place)?;
        let path = &tree.survey.path;
        if physical == path && kind != OpKind::Attr {
            let reason = "the run replaces or removes the directory itself".to_owned();
            return Err(Cause::no_exchange(root, path, reason));
        }
        let below = physical.as_bytes().get(path.as_bytes().len()..).unwrap_or_default();
        let inside = below.strip_prefix(b"/").unwrap_or(below);
        Ok((tree.stage.clone(), Some(inside.into())))
    }

    /// Checks that no op of its own has a target in an exchanged directory.
    pub(super) fn must_be_apart(&self, item: &LayoutItem<'p>) -> Result<(), Cause> {
        if item.tree.is_some() || self.trees.is_empty() {
            return Ok(());
        }
        let targets = [Some(&item.op.path), item.op.to.as_ref()];
        let is_in = |directory: &ObjectPath, path: &ObjectPath| path == directory || path.is_below(directory);
        for tree in &self.trees {
            let directory = &tree.request.directory;
            let is_exchanged = matches!(tree.state, TreeState::Exchange(_)) && item.op.kind != OpKind::Tree;
            if is_exchanged && targets.into_iter().flatten().any(|path| is_in(directory, path)) {
                let reason = format!("{} below it is a record", self.root.show(&item.op.path));
                return Err(Cause::no_exchange(self.root, directory, reason));
            }
        }
        Ok(())
    }

    /// Adds one item for each exchanged directory, in the order in which they are asked for.
    pub(super) fn exchanges(&mut self) -> Result<(), Cause> {
        for place in 0..self.trees.len() {
            let Some(TreeState::Exchange(tree)) = self.trees.get(place).map(|tree| &tree.state) else {
                continue;
            };
            let (path, domain, stage) = (tree.survey.path.clone(), tree.domain, tree.stage.clone());
            let old = Some(Box::new(identity(&tree.survey.top, None, None)));
            let (_, parent) = self.domain_of(&path)?;
            let op = Op { parent, old, ..Op::new(OpKind::Tree, path.clone(), domain, stage) };
            self.push(LayoutItem {
                op,
                new: None,
                live: None,
                client: path,
                inside: None,
                is_folded: false,
                tree: None,
                rank: (turn::EXCHANGE, self.items.len()),
            })?;
        }
        Ok(())
    }
}
