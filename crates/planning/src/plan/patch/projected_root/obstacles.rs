//! What ends a run before its next patch.
//!
//! Each of these is a situation in which the next patch might be planned otherwise than after a commit: it would be no
//! error to go on, but no longer exact. Files with several names that the run has touched are among them, and
//! directories that are removed or become something else, symbolic links above a path, and ACLs.

use std::collections::BTreeMap;

use super::ProjectedRoot;
use crate::plan::SpaceNeed;
use crate::plan::links::root_of;
use crate::plan::refusal::Reason;
use crate::plan::space::{BALLAST, enough};
use crate::plan::{Action, Body, Change, Plan};
use patchadm_changeset::format::manifest::ObjectRecord;
use patchadm_inputs::inventory::{Touched, has_names};
use patchadm_rootfs::{Inode, Live, LiveKind};
use patchadm_svr4::package::{Ftype, ObjectPath};

/// Files by which owners get their numbers.
const ACCOUNTS: [&[u8]; 2] = [b"/etc/passwd", b"/etc/group"];

impl ProjectedRoot {
    /// Whether the run ends before a patch that touches this; asked before it is planned.
    pub fn ends_before(&self, touched: &Touched) -> bool {
        if self.patches == 0 {
            return false;
        }
        let surveyed = &self.surveyed;
        let is_surveyed = touched.paths.is_subset(&surveyed.paths)
            && touched.not_directories.is_subset(&surveyed.not_directories)
            && touched.packages.is_subset(&surveyed.packages);
        self.accounts
            || !is_surveyed
            || touched.paths.iter().chain(&touched.not_directories).any(|path| self.is_unclear(path))
    }

    /// Whether the run ends before a patch with this plan, which touches `touched`. Where there is no patch before it,
    /// it is one that has to be surveyed by itself.
    pub fn ends_with(&self, touched: &Touched, plan: &Plan) -> bool {
        if self.knows_more_names(touched, plan) {
            return true;
        }
        if self.patches == 0 {
            return false;
        }
        let unclear = |path: &ObjectPath| self.is_unclear(path);
        let records = plan.undo.iter().flat_map(|undo| &undo.manifest.objects);
        plan.changes.iter().any(|change| unclear(&change.path) || self.cannot_follow(change))
            || plan.contents.keys().any(unclear)
            || records.filter_map(ObjectRecord::object_path).any(|path| self.uncertain.contains(&path))
    }

    /// Refuses where a file system has no room for the run with one more patch.
    pub fn check_room(&self, plan: &Plan) -> Result<(), Reason> {
        enough(&self.needs_with(plan))
    }

    /// Whether it is not known exactly what will be at a path, or where it will be.
    fn is_unclear(&self, path: &ObjectPath) -> bool {
        let place = self.place_of(path);
        let within = || {
            let itself = std::iter::once(path.clone());
            itself.chain(path.ancestors()).any(|at| self.closed.contains(&at))
                || path.ancestors().any(|at| self.turned.contains(&at))
        };
        self.uncertain.contains(path)
            || self.reshaped && (place != *path || within())
            || self.places.get(&place).is_some_and(|other| other != path)
            || self.is_doubtful(path)
    }

    /// Whether the digest in an undo archive of the run would be asked whether the file was edited: its time is not the
    /// recorded one, and all else is.
    fn is_doubtful(&self, path: &ObjectPath) -> bool {
        if !self.mentioned.contains(path) {
            return false;
        }
        let line = self.inventory.lines.get(path);
        let live = self.inventory.live.get(path);
        match (line.map(|line| line.object.content), live.map(|live| (&live.kind, live.mtime.seconds))) {
            (Some(recorded), Some((LiveKind::Regular { size, cksum, .. }, mtime))) => {
                recorded.size == Some(*size)
                    && recorded.cksum == Some(*cksum)
                    && recorded.mtime.is_some_and(|recorded| recorded != mtime)
            }
            _ => false,
        }
    }

    /// Whether a change cannot be one with what the run does there already.
    fn cannot_follow(&self, change: &Change) -> bool {
        let path = &change.path;
        match &change.action {
            // It may stay because of what is in it, and then with the attributes that the run has given it.
            Action::RemoveDirectory => self.changed.contains(path),
            Action::Add(new) | Action::Replace(new) => {
                let becomes_directory = matches!(new.body, Body::Directory);
                let comes_back = becomes_directory && self.changed.contains(path);
                let body = match &new.body {
                    Body::CopyOf(of) => self.made.contains(of),
                    Body::Link(source) => self.uncertain.contains(source),
                    _ => false,
                };
                body || comes_back || turns(change) && self.has_changed_within(path)
            }
            Action::Delete | Action::Attributes(_) => false,
        }
    }

    /// Whether the run has changed a path or something below it.
    fn has_changed_within(&self, path: &ObjectPath) -> bool {
        let after = self.changed.range(path.clone()..);
        let from = path.as_bytes();
        after
            .take_while(|changed| changed.as_bytes().starts_with(from))
            .any(|changed| changed == path || changed.is_below(path))
    }

    /// Whether the survey knows a name of a changed file that one of this patch alone would not know.
    fn knows_more_names(&self, touched: &Touched, plan: &Plan) -> bool {
        let inventory = &self.inventory;
        let several = plan.changes.iter().filter(|change| change.old.as_deref().is_some_and(has_names));
        let files: BTreeMap<Inode, &ObjectPath> =
            several.filter_map(|change| Some((change.old.as_deref()?.inode, &change.path))).collect();
        if files.is_empty() {
            return false;
        }
        let is_known = |path: &ObjectPath, of: &ObjectPath| {
            let itself = std::iter::once(path.clone()).chain(path.ancestors());
            touched.paths.contains(path)
                || plan.changes.iter().any(|change| change.path == *path)
                || inventory.lines.get(path).is_some_and(|line| line.object.ftype == Ftype::Link)
                || root_of(of, &inventory.lines).as_ref() == Some(path)
                || itself.into_iter().any(|above| touched.not_directories.contains(&above))
        };
        let mut names = inventory.objects_with_names();
        names.any(|(path, live)| files.get(&live.inode).is_some_and(|of| !is_known(path, of)))
    }

    /// What the run needs with one more patch on each file system that this uses.
    pub(super) fn needs_with(&self, plan: &Plan) -> Vec<SpaceNeed> {
        let inventory = &self.inventory;
        let records = inventory.file_systems.get(inventory.records_on);
        let passing = plan.changes.iter().filter(|change| self.made.contains(&change.path));
        let passing: u64 = passing.filter_map(|change| change.old.as_deref().and_then(Live::size)).sum();
        let with = |need: &SpaceNeed| {
            let before = self.needs.get(&need.file_system).copied();
            let (mut bytes, inodes) = (need.bytes, need.inodes);
            let holds_records = records.is_some_and(|records| records.name == need.file_system);
            if holds_records {
                bytes = bytes.saturating_add(passing);
            }
            if before.is_some() {
                // `contents` and the ballast are there once
                let once = if holds_records { inventory.contents_size } else { 0 };
                bytes = bytes.saturating_sub(BALLAST).saturating_sub(once);
            }
            let (bytes_before, inodes_before) = before.unwrap_or_default();
            let (bytes, inodes) = (bytes.saturating_add(bytes_before), inodes.saturating_add(inodes_before));
            SpaceNeed { bytes, inodes, ..need.clone() }
        };
        plan.space.iter().map(with).collect()
    }

    /// Remembers what a plan closes for the patches after it.
    pub(super) fn close(&mut self, plan: &Plan) {
        for change in &plan.changes {
            let (path, place) = (&change.path, self.place_of(&change.path));
            let new = match &change.action {
                Action::Add(new) | Action::Replace(new) => Some(&new.body),
                _ => None,
            };
            let goes = !matches!(change.action, Action::Attributes(_) | Action::Add(_));
            let link = matches!(new, Some(Body::Symlink(_)))
                || goes && change.old.as_deref().is_some_and(|old| matches!(old.kind, LiveKind::Symlink(_)));
            if link {
                self.turned.extend([path.clone(), place.clone()]);
            }
            let removed = matches!(change.action, Action::RemoveDirectory);
            if removed || turns(change) {
                self.closed.extend([path.clone(), place.clone()]);
            }
            self.reshaped |= link || removed || turns(change) || matches!(new, Some(Body::Directory));
            self.accounts |= ACCOUNTS.contains(&path.as_bytes()) || ACCOUNTS.contains(&place.as_bytes());
        }
    }
}

/// Whether a directory becomes something else, or something else a directory.
fn turns(change: &Change) -> bool {
    let Action::Replace(new) = &change.action else { return false };
    let was_directory = change.old.as_deref().is_some_and(Live::is_directory);
    matches!(new.body, Body::Directory) != was_directory
}
