//! Stored objects that come back themselves: linked into the stage from the undo directory, where they stay until the run
//! has committed.
//!
//! Only an object that already is what the plan makes is linked. One that nobody changed since its directory was made is
//! not even read. Any other object is copied, like a file of an archive, and so is a set-id program: its old file has lost
//! the bits for good, because somebody may still have it open.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use rustix::io::Errno;

use super::object_stager::ObjectStager;
use crate::format::stored_identities::{self, IDENTITIES, StoredIdentity};
use crate::format::undo_files::run_of_directory;
use crate::plan::{Body, Member, NewObject};
use crate::stored_file::{StoredFile, StoredFileError, open_undo_directory};
use crate::transaction::content_source::ContentSource;
use crate::transaction::error::Cause;
use patchadm_rootfs::{Dir, FileType, ObjectStatus, Root, RootError, Sums};
use patchadm_svr4::package::ObjectPath;

/// The largest file of identities that is read.
const LARGEST_IDENTITIES: u64 = 64 << 20;

/// Undo directories that are open, with what is known of their objects.
pub(super) struct UndoDirectories<'a> {
    root: &'a Root,
    open: BTreeMap<ObjectPath, Option<UndoDirectory>>,
}

/// An open undo directory, with the identities noted in it.
type UndoDirectory = (Dir, BTreeMap<String, StoredIdentity>);

impl<'a> UndoDirectories<'a> {
    pub(super) fn new(root: &'a Root) -> Self {
        Self { root, open: BTreeMap::new() }
    }

    /// Opens the directory of a stored object, with the identity noted of that; `None` where there is no directory.
    fn of(&mut self, file: &StoredFile) -> Result<Option<(&Dir, Option<StoredIdentity>)>, Cause> {
        let opened = match self.open.entry(file.directory.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => {
                let dir = open_undo_directory(self.root, &file.directory)?;
                let run = run_of_directory(&file.directory);
                free.insert(
                    dir.map(|dir| noted_identities(&dir, &run).map(|noted| (dir, noted))).transpose()?,
                )
            }
        };
        Ok(opened.as_ref().map(|(dir, noted)| (dir, noted.get(&file.name).copied())))
    }
}

fn noted_identities(dir: &Dir, run: &str) -> Result<BTreeMap<String, StoredIdentity>, Cause> {
    match dir.read_regular(IDENTITIES, LARGEST_IDENTITIES) {
        Ok(text) => Ok(stored_identities::parse(&text.unwrap_or_default(), run)),
        // What is no file, or too large, is no hint.
        Err(RootError::TooLarge { .. }) => Ok(BTreeMap::new()),
        Err(error) if matches!(error.errno(), Some(Errno::LOOP | Errno::ISDIR)) => Ok(BTreeMap::new()),
        Err(error) => Err(error.into()),
    }
}

impl ObjectStager<'_, '_> {
    /// Links a stored object into the stage as the object of an item. Returns false if it must be copied instead.
    pub(super) fn link_stored(
        &mut self,
        index: usize,
        file: &StoredFile,
        directories: &mut UndoDirectories<'_>,
    ) -> Result<bool, Cause> {
        let Some(new) = self.item(index)?.object() else { return Ok(false) };
        let Body::Member(member) = &new.body else { return Ok(false) };
        let spoilt = |what: &'static str| {
            let shown = format!("{}/{}", self.root().show(&file.directory), file.name);
            Cause::StoredFile(StoredFileError::Spoilt { package: self.package_of(index), shown, what })
        };
        let Some((dir, noted)) = directories.of(file)? else {
            return Err(spoilt("is gone with its directory"));
        };
        let name = file.name.as_bytes();
        let Some(seen) = dir.look(name)? else { return Err(spoilt("is gone")) };
        if seen.file_type != FileType::Regular {
            return Err(spoilt("is no plain file"));
        }
        if seen.size != member.size || !has_content(dir, name, member, &seen, noted)? {
            return Err(spoilt("is not what was saved"));
        }
        let bytes = member.b3.as_deref().copied();
        if !self.is_as_planned(new, &seen) || dir.xattrs(name)? != self.xattrs_of(index, new, bytes)? {
            return Ok(false);
        }
        let (stage, staged) = self.place(index)?;
        match stage.make_link(&staged, dir, name) {
            Err(error) if is_no_place_for_links(error.errno()) => return Ok(false),
            linked => linked?,
        }
        // Its new name changes nothing that identifies it.
        self.made_seen(index, &seen, bytes)?;
        Ok(true)
    }

    /// Tells whether a stored object has the attributes that the plan gives.
    fn is_as_planned(&self, new: &NewObject, seen: &ObjectStatus) -> bool {
        seen.mode == new.mode
            && !new.mode.is_set_id()
            && new.mtime == Some(seen.mtime)
            && (!self.root().is_privileged() || (seen.uid, seen.gid) == (new.uid, new.gid))
    }
}

/// Tells whether a stored object has the content that was saved: by how it looks, or else by its bytes.
fn has_content(
    dir: &Dir,
    name: &[u8],
    member: &Member,
    seen: &ObjectStatus,
    noted: Option<StoredIdentity>,
) -> Result<bool, Cause> {
    // Without a digest, the copy is compared with the sum.
    let Some(b3) = member.b3.as_deref() else { return Ok(true) };
    if noted == Some(StoredIdentity::of(seen)) {
        return Ok(true);
    }
    let read = Sums::of(&mut dir.open_regular(name)?);
    let sums = read.map_err(|error| Cause::Root(dir.read_error(name, &error)))?;
    Ok(sums.b3 == *b3)
}

/// Names the stored object whose content is not what was saved, if a cause is about one of these new files: their paths in the
/// root, and their members of the source.
pub(crate) fn name_stored<'m>(
    cause: Cause,
    root: &Root,
    content: &dyn ContentSource,
    mut files: impl Iterator<Item = (&'m ObjectPath, &'m Member)>,
) -> Cause {
    let Cause::Corrupt { package, path, .. } = &cause else { return cause };
    let stored = files.find(|(of, _)| root.show(of) == *path);
    let stored = stored.and_then(|(_, member)| content.stored(member.package, &member.path));
    let Some(StoredFile { directory, name }) = stored else { return cause };
    let shown = format!("{}/{name}", root.show(directory));
    StoredFileError::Spoilt { package: package.clone(), shown, what: "is not what was saved" }.into()
}

/// Tells whether links cannot be made from one directory into the other, or not of this file.
fn is_no_place_for_links(errno: Option<Errno>) -> bool {
    matches!(errno, Some(Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::NOTSUP | Errno::ACCESS))
}
