//! The records of the root about the paths at which the trees differ.

use crate::operation::stages::tree::Tree;
use crate::three_way::PathFacts;
use patchadm_inputs::policy::Edited;
use patchadm_planning::plan::edits::EditChoice;
use patchadm_rootfs::LiveKind;
use patchadm_svr4::package::{ContentsLine, Ftype, ObjectPath};
use std::collections::BTreeMap;

/// The lines of the paths, the live tree, and the request.
pub(super) struct RecordedFacts<'a> {
    pub(super) lines: &'a BTreeMap<ObjectPath, ContentsLine>,
    pub(super) live: &'a Tree,
    pub(super) choice: &'a EditChoice,
}

impl PathFacts for RecordedFacts<'_> {
    fn choice(&self, path: &ObjectPath) -> Edited {
        self.choice.of(path)
    }

    fn is_volatile(&self, path: &ObjectPath) -> bool {
        self.lines.get(path).is_some_and(|line| line.object.ftype == Ftype::Volatile)
    }

    fn is_edited(&self, path: &ObjectPath) -> bool {
        let (Some(line), Some(live)) = (self.lines.get(path), self.live.object(path)) else { return false };
        let object = &line.object;
        match (&live.live.kind, object.ftype) {
            (LiveKind::Regular { size, cksum, .. }, ftype) if ftype.is_regular() => {
                object.content.size.is_some_and(|known| known != *size)
                    || object.content.cksum.is_some_and(|known| known != *cksum)
            }
            (LiveKind::Symlink(target), Ftype::Symlink) => object.target.as_ref() != Some(target),
            (LiveKind::Directory, ftype) => !ftype.is_directory(),
            (LiveKind::Pipe, Ftype::Pipe)
            | (LiveKind::Device { .. }, Ftype::Block | Ftype::Character)
            | (_, Ftype::Link) => false,
            _ => true,
        }
    }
}
