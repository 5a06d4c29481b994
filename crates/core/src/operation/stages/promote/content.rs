//! The promoted tree as the content of a run: files are read through the capability that resolves inside it.

use std::collections::BTreeMap;

use crate::operation::stages::tree::directory_of;
use patchadm_changeset::transaction::{ContentSource, FileSink, StreamError, WantedFile};
use patchadm_planning::plan::{Action, Body, Plan};
use patchadm_rootfs::{Dir, Root};
use patchadm_svr4::package::{ObjectPath, PackagePath};

/// The files of a tree that a plan takes.
pub(super) struct StageContent<'a> {
    root: &'a Root,
    files: BTreeMap<&'a ObjectPath, &'a PackagePath>,
}

impl<'a> StageContent<'a> {
    pub(super) fn of(root: &'a Root, plan: &'a Plan) -> Self {
        let file = |(path, action): (&'a ObjectPath, &'a Action)| match action {
            Action::Add(new) | Action::Replace(new) => match &new.body {
                Body::Member(member) => Some((path, &member.path)),
                _ => None,
            },
            _ => None,
        };
        let files = plan.changes.iter().filter_map(|change| file((&change.path, &change.action)));
        Self { root, files: files.collect() }
    }
}

impl ContentSource for StageContent<'_> {
    fn stream(&mut self, wanted: &WantedFile<'_>, sink: &mut FileSink<'_>) -> Result<(), StreamError> {
        let mut open: Option<Dir> = None;
        for (path, member) in self.files.iter().filter(|(_, member)| wanted(0, member)) {
            let failed = |error: patchadm_rootfs::RootError| StreamError::Source(Box::new(error));
            let directory = directory_of(self.root, &mut open, path).map_err(failed)?;
            let mut file = directory.open_regular(path.name()).map_err(failed)?;
            sink(0, member, &mut file).map_err(StreamError::Sink)?;
        }
        Ok(())
    }
}
