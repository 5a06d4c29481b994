//! Lays the records of a plan out over the disk: `contents`, the files of packages and patches, ledgers, undo archives.

use super::layout::LayoutBuilder;
use super::layout_items::{LayoutItem, ToStage, turn};
use crate::format::journal::{Identity, Op, OpKind};
use crate::ledgers::Ledgers;
use crate::plan::{Plan, RecordChange};
use crate::records::RecordView;
use crate::transaction::error::Cause;
use crate::transaction::objects::dirs::is_replaceable_hint;
use crate::transaction::objects::identity::{identity, is_layered};
use patchadm_rootfs::Dir;
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::places;

impl<'p> LayoutBuilder<'_, 'p> {
    /// Lays out the merged `contents`.
    pub(super) fn contents(&mut self) -> Result<(), Cause> {
        self.write_record(&places::contents(), ToStage::Contents, turn::CONTENTS)
    }

    /// Lays out the stamp, after `contents` if the plan writes that. If there is a stamp, every run leaves one; if
    /// there is none, only a run that writes `contents` does.
    pub(super) fn stamp(&mut self, plan: &Plan, writes_contents: bool) -> Result<(), Cause> {
        let is_new = writes_contents || brings_contents(plan);
        if !is_new && RecordView::live(self.root).last_records().is_none() {
            return Ok(());
        }
        let stamp = places::contents_stamp();
        let physical = self.parents(&stamp)?;
        match self.dirs.parent(&physical)? {
            Some(dir) if !is_replaceable_hint(&dir, physical.name())? => Ok(()),
            _ => self.write_record(&stamp, ToStage::ContentsStamp, turn::CONTENTS),
        }
    }

    /// Lays out the removal of the log of another tool, whose changes are in the `contents` that the plan writes: with the
    /// old log beside it, that tool would undo changes of this run.
    pub(super) fn logged_contents(&mut self, plan: &Plan, writes_contents: bool) -> Result<(), Cause> {
        let path = places::pkglog();
        let physical = self.resolver.locate(&path)?;
        let dir = self.dirs.parent(&physical)?;
        let is_there = dir.map(|dir| dir.look(physical.name())).transpose()?.flatten().is_some();
        if !is_there || !writes_contents && !brings_contents(plan) {
            return Ok(());
        }
        let item = self.record_item(OpKind::Delete, &path, physical)?;
        self.must_be_removable(&path)?;
        self.push(item)
    }

    /// Returns whether the plan makes a package while there is no `contents` yet: every root with packages has one.
    pub(super) fn lacks_contents(&mut self, plan: &Plan) -> Result<bool, Cause> {
        let mut is_made = false;
        for record in &plan.records {
            is_made |= match record {
                RecordChange::Write { path, .. } if path.name() == b"pkginfo" => {
                    let physical = self.resolver.locate(path)?;
                    self.dirs.parent(&physical)?.is_none()
                }
                RecordChange::AddTree { path, files } => {
                    path.parent() == Some(places::packages())
                        && files.iter().any(|file| file.name == b"pkginfo")
                }
                _ => false,
            };
        }
        if !is_made {
            return Ok(false);
        }
        let physical = self.resolver.locate(&places::contents())?;
        let dir = self.dirs.parent(&physical)?;
        let is_there = dir.map(|dir| dir.look(physical.name())).transpose()?.flatten().is_some();
        Ok(!is_there && !self.has_packages()?)
    }

    /// Returns whether the root has packages. If it has, a missing list of paths is damage, which no other run may
    /// hide.
    fn has_packages(&mut self) -> Result<bool, Cause> {
        let packages = self.resolver.locate_dir(&places::packages())?;
        Ok(self
            .dirs
            .get(&packages)?
            .map(|dir| dir.names())
            .transpose()?
            .is_some_and(|names| !names.is_empty()))
    }

    /// Lays out the change of a record.
    pub(super) fn record(
        &mut self,
        record: &'p RecordChange,
        plan: &Plan,
        ledgers: &dyn Ledgers,
    ) -> Result<(), Cause> {
        match record {
            RecordChange::Write { path, bytes, mode, mtime } => {
                let rank = if *path == places::contents() { turn::CONTENTS } else { turn::RECORD };
                self.write_record(path, ToStage::Bytes(bytes, *mode, mtime), rank)
            }
            RecordChange::Copy { path, copied, mode } => {
                self.write_record(path, ToStage::Copied(copied, *mode), turn::RECORD)
            }
            RecordChange::AddTree { path, files } => {
                let physical = self.parents(path)?;
                let mut item = self.record_item(OpKind::Add, path, physical)?;
                item.op.whole = true;
                item.new = Some(ToStage::Tree(files));
                self.push(item)
            }
            RecordChange::RemoveFile(path) | RecordChange::RemoveTree(path) => {
                let physical = self.resolver.locate(path)?;
                let mut item = self.record_item(OpKind::Delete, path, physical)?;
                if item.op.old.is_none() {
                    return Err(Cause::Changed(self.root.show(path)));
                }
                item.op.whole = matches!(record, RecordChange::RemoveTree(_));
                self.must_be_removable(path)?;
                if item.op.whole && is_layered(&self.domains.get(item.op.domain)?.dir)? {
                    return self.remove_piecemeal(path);
                }
                self.push(item)
            }
            RecordChange::Move { from, to } => {
                let physical = self.resolver.locate(from)?;
                let to = self.resolver.locate(to)?;
                let mut item = self.record_item(OpKind::Move, from, physical)?;
                item.op.to = Some(to);
                self.push(item)
            }
            RecordChange::Ledger(change) => match ledgers.draft(self.root, plan, change)? {
                Some(draft) if !draft.is_empty() => {
                    self.write_record(&change.path, ToStage::Ledger(draft), turn::RECORD)
                }
                Some(draft) if draft.is_there() => {
                    let physical = self.resolver.locate(&change.path)?;
                    let item = self.record_item(OpKind::Delete, &change.path, physical)?;
                    self.push(item)
                }
                Some(_) | None => Ok(()),
            },
            RecordChange::Undo { path, archive, part } => {
                self.write_record(path, ToStage::Undo(*archive, part), turn::RECORD)
            }
        }
    }

    /// Refuses a record that could be moved into the stage and never removed from there: then no other run could begin.
    fn must_be_removable(&mut self, path: &ObjectPath) -> Result<(), Cause> {
        let physical = self.resolver.locate(path)?;
        let Some(parent) = physical.parent() else { return Ok(()) };
        match self.dirs.get(&parent)? {
            Some(dir) => Ok(dir.must_be_removable(physical.name())?),
            None => Ok(()),
        }
    }

    /// Removes a record directory that cannot be renamed because a lower layer of an overlayfs has it: its files one
    /// by one, and the directories, once empty, after the commit.
    fn remove_piecemeal(&mut self, path: &ObjectPath) -> Result<(), Cause> {
        let physical = self.resolver.locate(path)?;
        let Some(dir) = self.dirs.get(&physical)? else {
            let item = self.record_item(OpKind::Delete, path, physical)?;
            return self.push(item);
        };
        for name in dir.names()? {
            let inner = path.join(&name).map_err(|error| Cause::Internal(error.to_string()))?;
            self.remove_piecemeal(&inner)?;
        }
        let mut item = self.record_item(OpKind::Rmdir, path, physical)?;
        item.rank.0 = turn::REMOVE_DIRECTORY;
        self.push(item)
    }

    /// Replaces a record file, or adds it together with the missing directories above it.
    fn write_record(&mut self, path: &ObjectPath, new: ToStage<'p>, rank: u8) -> Result<(), Cause> {
        let physical = self.parents(path)?;
        let mut item = self.record_item(OpKind::Replace, path, physical)?;
        match &item.op.old {
            None => item.op.kind = OpKind::Add,
            Some(old) if old.file_type == 'f' => {}
            // No reader uses a stamp that is not a file.
            Some(_) if matches!(new, ToStage::ContentsStamp) => {}
            // The plan was made from a file, so this is another object.
            Some(_) => return Err(Cause::Changed(self.root.show(path))),
        }
        item.new = Some(new);
        item.rank.0 = rank;
        self.push(item)
    }

    fn record_item(
        &mut self,
        kind: OpKind,
        path: &ObjectPath,
        physical: ObjectPath,
    ) -> Result<LayoutItem<'p>, Cause> {
        let (domain, parent) = self.domain_of(&physical)?;
        let old = match self.dirs.parent(&physical)? {
            // The merge knows or takes the digest of a long file.
            Some(dir) if path.as_bytes() == places::CONTENTS.as_bytes() => {
                dir.look(physical.name())?.map(|seen| Box::new(identity(&seen, None, None)))
            }
            Some(dir) => live_identity(&dir, physical.name())?,
            None => None,
        };
        let number = self.items.len();
        let stage = format!("db/{}{number}", self.prefix);
        let op = Op { parent, old, db: true, ..Op::new(kind, physical, domain, stage) };
        Ok(LayoutItem {
            op,
            new: None,
            live: None,
            client: path.clone(),
            inside: None,
            is_folded: false,
            tree: None,
            rank: (turn::RECORD, number),
        })
    }

    /// Adds the missing directories above a record, and returns the record's physical path.
    fn parents(&mut self, path: &ObjectPath) -> Result<ObjectPath, Cause> {
        let physical = self.resolver.locate(path)?;
        self.must_lead_somewhere(path)?;
        let mut missing = Vec::new();
        for above in physical.ancestors() {
            if self.made.contains_key(&above) || self.dirs.get(&above)?.is_some() {
                break;
            }
            missing.push(above);
        }
        for above in missing.into_iter().rev() {
            let mut item = self.record_item(OpKind::Add, &above, above.clone())?;
            self.made.insert(above, item.op.domain);
            item.new = Some(ToStage::Directory);
            self.push(item)?;
        }
        Ok(physical)
    }

    /// Refuses a path on which a symbolic link leads nowhere. Directories are made only where the path itself says;
    /// otherwise, a user who made that link in the meantime would decide where the record goes.
    fn must_lead_somewhere(&mut self, path: &ObjectPath) -> Result<(), Cause> {
        for above in path.ancestors() {
            let followed = self.resolver.locate_dir(&above)?;
            if self.made.contains_key(&followed) || self.dirs.get(&followed)?.is_some() {
                break;
            }
            if followed != self.resolver.locate(&above)? {
                return Err(Cause::Changed(self.root.show(&above)));
            }
        }
        Ok(())
    }
}

/// Returns the identity of a record, with its digest.
fn live_identity(dir: &Dir, name: &[u8]) -> Result<Option<Box<Identity>>, Cause> {
    let Some(live) = dir.live(name)? else { return Ok(None) };
    let Some(seen) = dir.look(name)? else { return Ok(None) };
    Ok(Some(Box::new(identity(&seen, live.digest(), None))))
}

/// Tells whether a plan has the whole `contents` among its records.
fn brings_contents(plan: &Plan) -> bool {
    let is_contents = |record: &RecordChange| matches!(record, RecordChange::Write { path, .. } if *path == places::contents());
    plan.records.iter().any(is_contents)
}
