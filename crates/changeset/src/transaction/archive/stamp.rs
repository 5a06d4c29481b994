//! The stamp that a run leaves beside `contents`: the identity of the file, whether this run or an earlier one wrote
//! it, and the facts about the records of packages.

use std::io;

use super::bound_packages;
use crate::format::contents_merge::{self, ContentsEdits};
use crate::format::contents_stamp::ContentsStamp;
use crate::format::journal::Identity;
use crate::plan::{Plan, RecordChange};
use crate::records::RecordView;
use crate::transaction::error::Cause;
use patchadm_rootfs::{Digest, Root};
use patchadm_svr4::places;

/// The facts of a stamp about one `contents`.
pub(crate) struct ContentsFacts {
    /// The file; only the lengths of its lists are missing.
    stamp: ContentsStamp,
    links: Vec<u8>,
    owners: Vec<u8>,
}

/// The facts about the lines of a new `contents`.
pub(crate) struct ContentsLists {
    /// The number of bytes before its closing comments.
    pub(crate) body: u64,
    /// The lines of hard links, or `None` if they are too many for a stamp.
    pub(crate) links: Option<Vec<u8>>,
    /// The lines of packages, or `None` if a line of the file cannot be parsed.
    pub(crate) owners: Option<Vec<u8>>,
}

impl ContentsFacts {
    /// Returns the facts about a file that the run has staged.
    pub(crate) fn of_staged(new: &Identity, b3: Digest, lists: ContentsLists, run: u64) -> Self {
        let ContentsLists { body, links, owners } = lists;
        let lists = links.zip(owners);
        let is_listed = lists.is_some();
        let (links, owners) = lists.unwrap_or_default();
        let (inode, size, mtime) = (new.inode, new.size, new.mtime);
        let stamp = ContentsStamp {
            inode,
            size,
            mtime,
            body,
            b3,
            links: 0,
            owners: 0,
            packages: 0,
            run,
            by: run,
            is_listed,
            lines: Digest([0; 32]),
        };
        Self { stamp, links, owners }
    }

    /// Returns the facts about a file that the plan writes as a whole.
    pub(crate) fn of_bytes(bytes: &[u8], new: &Identity, plan: &Plan, run: u64) -> Option<Self> {
        let (none, by) = (ContentsEdits::new(), &plan.trailer);
        let merged = contents_merge::merge(bytes, io::sink(), &none, by).ok()?;
        let (links, owners) = (merged.links.into_bytes(), merged.owners.into_bytes());
        let lists = ContentsLists { body: merged.body, links, owners };
        Some(Self::of_staged(new, Digest::of(bytes), lists, run))
    }

    /// Returns the facts of the previous stamp, for a run that does not write `contents`.
    pub(crate) fn of_last(view: &RecordView<'_>) -> Option<Self> {
        let last = view.last_records()?;
        let (links, owners) = (last.links().to_vec(), last.owner_lines().to_vec());
        Some(Self { stamp: last.stamp.clone(), links, owners })
    }

    /// Returns the bytes of the stamp of run number `run`.
    pub(crate) fn stamp(self, root: &Root, plan: &Plan, run: u64) -> Result<Vec<u8>, Cause> {
        let packages = bound_packages::after(&RecordView::live(root), plan, run)?.write();
        Ok(ContentsStamp { by: run, ..self.stamp }.write(&self.links, &self.owners, &packages))
    }
}

/// Notes that the run takes over each old record that the plan rewrites and that someone else has changed since a run
/// left it. `contents` is the digest of the old file if the plan writes that file.
pub(crate) fn taken_over(root: &Root, plan: &Plan, contents: Option<Digest>) -> Result<Vec<String>, Cause> {
    let view = RecordView::live(root);
    let Some(last) = view.last_records() else { return Ok(Vec::new()) };
    let said = |path: &patchadm_svr4::package::ObjectPath, run: u64| {
        format!("{}: changed since run {run}, not by this program; the change is taken over", root.show(path))
    };
    let mut notes = Vec::new();
    if contents.is_some_and(|contents| contents != last.stamp.b3) {
        notes.push(said(&places::contents(), last.stamp.run));
    }
    for record in &plan.records {
        let RecordChange::Write { path, .. } = record else { continue };
        let package = bound_packages::package_of(path).filter(|package| *path == places::pkginfo(package));
        let Some(bound) = package.and_then(|package| last.packages().get(&package)) else { continue };
        let now = view.read(path, bound_packages::LARGEST)?;
        if now.is_some_and(|now| Digest::of(&now) != bound.pkginfo) {
            notes.push(said(path, bound.run));
        }
    }
    Ok(notes)
}
