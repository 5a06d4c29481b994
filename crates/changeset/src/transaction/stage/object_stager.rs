//! Makes staged objects, final in every attribute; one stager per thread. A stored object is linked from its undo
//! directory if it already is what the plan makes; with the noted status it is not even read. Others are copied, as are
//! set-id programs, whose old files lost the bits for good.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::io::{BufRead, Read as _};
use std::ops::Deref;

use rustix::io::Errno;

use crate::format::journal::Identity;
use crate::format::undo_files;
use crate::format::undo_files::{IDENTITIES, StoredIdentity, run_of_directory};
use crate::plan::{Body, Member, NewObject, NewXattrs};
use crate::stored_file::{StoredFile, StoredFileError, open_undo_directory};
use crate::transaction::error::Cause;
use crate::transaction::objects::copies::{may_be_left_out, set_xattrs};
use crate::transaction::objects::identity::{identity, identity_of};
use crate::transaction::objects::names::Dirs;
use crate::transaction::settings::ContentSource;
use crate::transaction::stage::domains::OpenDomains;
use crate::transaction::stage::layout::{LayoutItem, StageLayout};
use patchadm_rootfs::{
    ACCESS_LIST, DEFAULT_LIST, Digest, Dir, FileType, Interrupt, InterruptibleRead, LiveKind, ObjectStatus,
    Root, RootError, Summing, Sums, WritableFile, Xattrs, is_label,
};
use patchadm_svr4::package::{Mode, ObjectPath};

/// Reserves all space of files up to this size at once, so that a full disk shows early.
const WRITTEN_AT_ONCE: u64 = 128 << 10;

pub(crate) struct ObjectStager<'a, 'p> {
    root: &'a Root,
    domains: &'a OpenDomains,
    layout: &'a StageLayout<'p>,
    interrupt: Interrupt<'a>,
    dirs: Dirs,
    handed_down: Option<(ObjectPath, Xattrs)>,
    keeps_digests: bool,
    made: StagedObjects,
}

#[derive(Debug, Default)]
pub(crate) struct StagedContent {
    pub(crate) digests: BTreeMap<ObjectPath, Digest>,
    pub(crate) bytes: u64,
}

#[derive(Debug, Default)]
pub(crate) struct StagedObjects {
    pub(crate) content: StagedContent,
    pub(crate) identities: Vec<(usize, Box<Identity>)>,
}

pub(crate) enum Within<'a> {
    Stage(&'a Dir),
    Below(Dir),
}

impl Deref for Within<'_> {
    type Target = Dir;

    fn deref(&self) -> &Dir {
        match self {
            Self::Stage(dir) => dir,
            Self::Below(dir) => dir,
        }
    }
}

impl<'a, 'p> ObjectStager<'a, 'p> {
    pub(crate) fn new(
        root: &'a Root,
        domains: &'a OpenDomains,
        layout: &'a StageLayout<'p>,
        (keeps_digests, interrupt): (bool, Interrupt<'a>),
    ) -> Self {
        Self {
            root,
            domains,
            layout,
            interrupt,
            dirs: Dirs::new(root),
            handed_down: None,
            keeps_digests,
            made: StagedObjects::default(),
        }
    }

    pub(crate) fn finish(self) -> StagedObjects {
        self.made
    }

    pub(crate) fn place(&self, index: usize) -> Result<(Within<'a>, Vec<u8>), Cause> {
        let item = self.item(index)?;
        let domain = self.domains.get(item.op.domain)?;
        let top = item.op.stage.rsplit('/').next().unwrap_or_default().as_bytes().to_vec();
        let Some(inside) = &item.inside else { return Ok((Within::Stage(&domain.objects), top)) };
        let mut dir = domain.objects.dir(&top)?;
        let mut parts: Vec<&[u8]> = inside.split(|&b| b == b'/').collect();
        let name = parts.pop().unwrap_or_default().to_vec();
        for part in parts {
            dir = dir.dir(part)?;
        }
        Ok((Within::Below(dir), name))
    }

    pub(crate) fn item(&self, index: usize) -> Result<&'a LayoutItem<'p>, Cause> {
        self.layout.items.get(index).ok_or_else(|| Cause::Internal(format!("there is no item {index}")))
    }

    pub(crate) fn without_content(&mut self, index: usize) -> Result<(), Cause> {
        let (dir, name) = self.place(index)?;
        let Some(new) = self.item(index)?.object() else { return Ok(()) };
        match &new.body {
            // Its mode may forbid writing, so it is set last.
            Body::Directory => {
                drop(dir.make_dir(&name, Mode::of(0o700))?);
                return Ok(());
            }
            Body::Symlink(target) => dir.make_symlink(&name, target)?,
            Body::Pipe => dir.make_node(&name, FileType::Pipe, (0, 0))?,
            Body::Device { major, minor, .. } => {
                dir.make_node(&name, new.body.file_type(), (*major, *minor))?;
            }
            Body::CopyOf(path) => return self.copy(index, &dir, &name, path),
            Body::Member(_) | Body::Link(_) => return Ok(()),
        }
        self.attributes(index, &dir, &name, new)
    }

    pub(crate) fn settle_directory(&mut self, index: usize) -> Result<(), Cause> {
        let (dir, name) = self.place(index)?;
        match self.item(index)?.object() {
            Some(new) => self.attributes(index, &dir, &name, new),
            None => Ok(()),
        }
    }

    fn copy(&mut self, index: usize, dir: &Dir, name: &[u8], path: &ObjectPath) -> Result<(), Cause> {
        let changed = || Cause::Changed(self.root.show(path));
        let physical = self.root.resolver().locate(path)?;
        let from = self.dirs.parent(&physical)?.ok_or_else(changed)?;
        let buffer = &mut vec![0; 1 << 16];
        let live = from.live_until(buffer, physical.name(), None, self.interrupt)?.ok_or_else(changed)?;
        let mut file = dir.create(name)?;
        file.reserve(live.size().unwrap_or_default())?;
        let LiveKind::Regular { b3, size, .. } = live.kind else { return Err(changed()) };
        // A file that grows meanwhile may never end.
        let source = from.open_regular(physical.name())?.take(size);
        io::copy(&mut InterruptibleRead::new(source, self.interrupt), &mut file)
            .map_err(|error| file.write_error(&error))?;
        let copied = dir.live_until(buffer, name, None, self.interrupt)?;
        if copied.and_then(|copy| copy.digest()) != Some(b3) {
            return Err(changed());
        }
        if self.root.is_privileged() {
            file.set_owner(live.uid, live.gid)?;
        }
        set_xattrs(dir, name, &live.xattrs)?;
        file.set_mode(live.mode)?;
        file.set_mtime(live.mtime)?;
        self.made.content.bytes += size;
        self.made_file(index, &file, b3)
    }

    fn made_file(&mut self, index: usize, file: &WritableFile, digest: Digest) -> Result<(), Cause> {
        self.made_seen(index, &file.look()?, Some(digest))
    }

    fn made_seen(&mut self, index: usize, seen: &ObjectStatus, digest: Option<Digest>) -> Result<(), Cause> {
        let item = self.item(index)?;
        if let Some(digest) = digest.filter(|_| self.keeps_digests) {
            self.made.content.digests.insert(item.client.clone(), digest);
        }
        if item.inside.is_none() {
            self.made.identities.push((index, Box::new(identity(seen, digest, None))));
        }
        Ok(())
    }

    pub(crate) fn root(&self) -> &'a Root {
        self.root
    }

    pub(crate) fn package_of(&self, index: usize) -> String {
        let client = self.layout.items.get(index).map(|item| &item.client);
        client.and_then(|client| self.layout.package_of(client)).map(ToString::to_string).unwrap_or_default()
    }

    pub(crate) fn corrupt(&self, index: usize, reason: String) -> Cause {
        let path = self.layout.items.get(index).map(|item| self.root.show(&item.client)).unwrap_or_default();
        Cause::Corrupt { package: self.package_of(index), path, reason }
    }

    pub(crate) fn missing(&self, index: usize) -> Result<Cause, Cause> {
        let path = self.root.show(&self.item(index)?.client);
        Ok(Cause::Missing { package: self.package_of(index), path })
    }

    /// Copies the file for further items of the same member. `passed` receives numbers of bytes.
    pub(crate) fn member(
        &mut self,
        indexes: &[usize],
        data: &mut dyn BufRead,
        passed: &dyn Fn(u64),
    ) -> Result<(), Cause> {
        let Some((&first, others)) = indexes.split_first() else { return Ok(()) };
        let (dir, name) = self.place(first)?;
        let Some(new) = self.item(first)?.object() else { return Ok(()) };
        let Body::Member(member) = &new.body else { return Ok(()) };
        let mut file = create(&dir, &name, new)?;
        if member.size > WRITTEN_AT_ONCE {
            file.reserve(member.size)?;
        }
        let digest = self.pour(first, member, data, &mut file, passed)?;
        self.file_attributes(first, &file, (new, digest))?;
        for &other in others {
            let (to, to_name) = self.place(other)?;
            let Some(new) = self.item(other)?.object() else { continue };
            let mut copy = create(&to, &to_name, new)?;
            let mut source = InterruptibleRead::new(dir.open_regular(&name)?, self.interrupt);
            io::copy(&mut source, &mut copy).map_err(|error| copy.write_error(&error))?;
            self.file_attributes(other, &copy, (new, digest))?;
        }
        Ok(())
    }

    fn pour(
        &mut self,
        index: usize,
        member: &Member,
        data: &mut dyn BufRead,
        file: &mut WritableFile,
        passed: &dyn Fn(u64),
    ) -> Result<Digest, Cause> {
        let mut summing = Summing::default();
        loop {
            let bytes = match data.fill_buf() {
                Ok([]) => break,
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.corrupt(index, error.to_string())),
            };
            let count = bytes.len();
            summing.update(bytes);
            if summing.size() > member.size {
                let reason = format!("size {} expected, more delivered", member.size);
                return Err(self.corrupt(index, reason));
            }
            file.put(bytes)?;
            data.consume(count);
            passed(count as u64);
        }
        let Sums { size, cksum, b3 } = summing.finish();
        let reason = if size != member.size {
            format!("file size <{}> expected <{size}> actual", member.size)
        } else if cksum != member.cksum {
            format!("file cksum <{}> expected <{cksum}> actual", member.cksum)
        } else if member.b3.as_deref().is_some_and(|expected| *expected != b3) {
            "its BLAKE3 digest differs from the recorded one".to_owned()
        } else {
            self.made.content.bytes += size;
            return Ok(b3);
        };
        Err(self.corrupt(index, reason))
    }

    pub(crate) fn link(&mut self, index: usize, digests: &BTreeMap<ObjectPath, Digest>) -> Result<(), Cause> {
        let Some(NewObject { body: Body::Link(source), .. }) = self.item(index)?.object() else {
            return Ok(());
        };
        let (dir, name) = self.place(index)?;
        let staged = self.layout.place_of(source);
        let staged = staged.filter(|&of| self.layout.items.get(of).is_some_and(LayoutItem::is_made));
        let made = if let Some(of) = staged {
            let (from, from_name) = self.place(of)?;
            dir.make_link(&name, &from, &from_name)
        } else {
            let physical = self.root.resolver().locate(source)?;
            let changed = || Cause::Changed(self.root.show(source));
            let from = self.dirs.parent(&physical)?.ok_or_else(changed)?;
            dir.make_link(&name, &from, physical.name())
        };
        made.map_err(|error| self.unlinked(index, source, error))?;
        // The other name may be a link made here.
        let known = digests.get(source).or_else(|| self.made.content.digests.get(source));
        self.made_name(index, &dir, &name, known.copied())
    }

    /// The plan compares file systems, but encrypted directories or project ids separate directories of one.
    fn unlinked(&self, index: usize, source: &ObjectPath, error: RootError) -> Cause {
        if error.errno() != Some(Errno::XDEV) {
            return error.into();
        }
        let client = self.layout.items.get(index).map(|item| &item.client);
        Cause::LinkAcross {
            path: client.map(|client| self.root.show(client)).unwrap_or_default(),
            source_path: self.root.show(source),
        }
    }

    fn made_name(
        &mut self,
        index: usize,
        dir: &Dir,
        name: &[u8],
        digest: Option<Digest>,
    ) -> Result<(), Cause> {
        let item = self.item(index)?;
        if let Some(digest) = digest.filter(|_| self.keeps_digests) {
            self.made.content.digests.insert(item.client.clone(), digest);
        }
        if item.inside.is_none() {
            self.made.identities.push((index, Box::new(identity_of(dir, name, digest)?)));
        }
        Ok(())
    }

    /// In an order in which none resets another.
    fn file_attributes(
        &mut self,
        index: usize,
        file: &WritableFile,
        (new, bytes): (&NewObject, Digest),
    ) -> Result<(), Cause> {
        // Only the superuser can give objects away. For others, the owner is only recorded.
        let is_theirs = self.domains.get(self.item(index)?.op.domain)?.gives == (new.uid, new.gid);
        if self.root.is_privileged() && !is_theirs {
            file.set_owner(new.uid, new.gid)?;
        }
        // Only the superuser could set `user.*` once an access list forbids the owner to write: backwards.
        for (key, value) in self.xattrs_of(index, new, Some(bytes))?.iter().rev() {
            match file.set_xattr(key, value) {
                Err(error) if may_be_left_out(self.root, &error) => {}
                other => other?,
            }
        }
        if let Some(mtime) = new.mtime {
            file.set_mtime(mtime)?;
        }
        let seen = file.look()?;
        if seen.mode == new.mode {
            return self.made_seen(index, &seen, Some(bytes));
        }
        file.set_mode(new.mode)?;
        self.made_file(index, file, bytes)
    }

    fn attributes(&mut self, index: usize, dir: &Dir, name: &[u8], new: &NewObject) -> Result<(), Cause> {
        if self.root.is_privileged() {
            dir.set_owner(name, Some(new.uid), Some(new.gid))?;
        }
        set_xattrs(dir, name, &self.xattrs_of(index, new, None)?)?;
        if !matches!(new.body, Body::Symlink(_)) {
            dir.set_mode(name, new.mode)?;
        }
        if let Some(mtime) = new.mtime.filter(|_| !matches!(new.body, Body::Directory)) {
            dir.set_mtime(name, mtime)?;
        }
        self.made_name(index, dir, name, None)
    }

    /// `bytes` is the digest of a file.
    fn xattrs_of(&mut self, index: usize, new: &NewObject, bytes: Option<Digest>) -> Result<Xattrs, Cause> {
        match &new.xattrs {
            NewXattrs::Exact(xattrs) => Ok(xattrs.clone()),
            NewXattrs::Inherited if matches!(new.body, Body::Symlink(_)) => Ok(Xattrs::new()),
            NewXattrs::Inherited => {
                let mut xattrs = self.inherited(index, matches!(new.body, Body::Directory), bytes)?;
                if matches!(new.body, Body::Pipe | Body::Device { .. }) {
                    xattrs.retain(|key, _| !key.starts_with(b"user."));
                }
                Ok(xattrs)
            }
            NewXattrs::Given(given) => {
                let mut xattrs = self.inherited(index, false, None)?;
                xattrs.retain(|key, _| is_label(key));
                xattrs.extend(given.iter().map(|(key, value)| (key.clone(), value.clone())));
                Ok(xattrs)
            }
        }
    }

    /// Label, ACL and `user.*` of the replaced object, or label and default ACL of the directory. Only the same `bytes`
    /// keep capabilities; integrity digests are never inherited.
    fn inherited(
        &mut self,
        index: usize,
        is_directory: bool,
        bytes: Option<Digest>,
    ) -> Result<Xattrs, Cause> {
        let item = self.item(index)?;
        if item.is_folded {
            return Ok(Xattrs::new());
        }
        if let Some(live) = item.live {
            return Ok(live.handed_on(bytes.is_some() && live.digest() == bytes));
        }
        let Some(path) = item.op.path.parent() else { return Ok(Xattrs::new()) };
        let mut found = self.handed_down(&path)?;
        if !is_directory {
            found.remove(DEFAULT_LIST);
        }
        Ok(found)
    }

    fn handed_down(&mut self, path: &ObjectPath) -> Result<Xattrs, Cause> {
        if let Some((of, known)) = &self.handed_down
            && of == path
        {
            return Ok(known.clone());
        }
        let mut found = Xattrs::new();
        if let Some(parent) = self.dirs.get(path)? {
            for (key, value) in parent.xattrs(b"")? {
                if is_label(&key) {
                    found.insert(key, value);
                } else if key == DEFAULT_LIST {
                    found.insert(ACCESS_LIST.to_vec(), value.clone());
                    found.insert(key, value);
                }
            }
        }
        self.handed_down = Some((path.clone(), found.clone()));
        Ok(found)
    }
}

/// Only its owner can enter the stage, so a file may have its mode at once. Two kinds get it last: a program that runs as
/// another user, whose owner and bytes must be right before, and a file that its owner may not write, whose attributes
/// only the superuser could set.
fn create(dir: &Dir, name: &[u8], new: &NewObject) -> patchadm_rootfs::Result<WritableFile> {
    let is_writable = new.mode.bits() & 0o600 == 0o600;
    if is_writable && !new.mode.is_set_id() { dir.create_as(name, new.mode) } else { dir.create(name) }
}

const LARGEST_IDENTITIES: u64 = 64 << 20;

pub(crate) struct UndoDirectories<'a> {
    root: &'a Root,
    open: BTreeMap<ObjectPath, Option<UndoDirectory>>,
}

type UndoDirectory = (Dir, BTreeMap<String, StoredIdentity>);

impl<'a> UndoDirectories<'a> {
    pub(crate) fn new(root: &'a Root) -> Self {
        Self { root, open: BTreeMap::new() }
    }

    /// With its noted identity; `None` without a directory.
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
        Ok(text) => Ok(undo_files::parse_identities(&text.unwrap_or_default(), run)),
        // A valid hint is a file, and not too large.
        Err(RootError::TooLarge { .. } | RootError::Hollow(_)) => Ok(BTreeMap::new()),
        Err(error) if matches!(error.errno(), Some(Errno::LOOP | Errno::ISDIR)) => Ok(BTreeMap::new()),
        Err(error) => Err(error.into()),
    }
}

impl ObjectStager<'_, '_> {
    /// Returns false if it must be copied.
    pub(crate) fn link_stored(
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
            return Err(spoilt("is not a plain file"));
        }
        if seen.size != member.size || !has_content((dir, name), member, (&seen, noted), self.interrupt)? {
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
        // A new name changes nothing that identifies it.
        self.made_seen(index, &seen, bytes)?;
        Ok(true)
    }

    fn is_as_planned(&self, new: &NewObject, seen: &ObjectStatus) -> bool {
        seen.mode == new.mode
            && !new.mode.is_set_id()
            && new.mtime == Some(seen.mtime)
            && (!self.root().is_privileged() || (seen.uid, seen.gid) == (new.uid, new.gid))
    }
}

fn has_content(
    (dir, name): (&Dir, &[u8]),
    member: &Member,
    (seen, noted): (&ObjectStatus, Option<StoredIdentity>),
    interrupt: Interrupt<'_>,
) -> Result<bool, Cause> {
    // Without a digest, the copy is compared with the sum.
    let Some(b3) = member.b3.as_deref() else { return Ok(true) };
    if noted == Some(StoredIdentity::of(seen)) {
        return Ok(true);
    }
    let file = dir.open_regular(name)?.take(member.size.saturating_add(1));
    let read = Sums::of(&mut InterruptibleRead::new(file, interrupt));
    let sums = read.map_err(|error| Cause::Root(dir.read_error(name, &error)))?;
    Ok(sums.b3 == *b3)
}

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

fn is_no_place_for_links(errno: Option<Errno>) -> bool {
    matches!(errno, Some(Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::NOTSUP | Errno::ACCESS))
}
