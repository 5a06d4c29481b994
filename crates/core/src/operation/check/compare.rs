//! One object held against its line of `contents`.

use std::io;
use std::rc::Rc;

use super::findings::{CheckedAspects, CheckedObject, DeliveredFile, DeliveredFiles, Difference, Finding};
use patchadm_rootfs::Sums;
use patchadm_rootfs::{Dir, FileType, ObjectStatus, Resolver, Root, RootError};
use patchadm_svr4::package::checksum::sum_of;
use patchadm_svr4::package::{Accounts, ContentsLine, Ftype, Object, ObjectPath};

/// What is read at once: most files as a whole, and no more than the cache of a processor holds beside other things.
const BUFFER: usize = 1 << 17;

/// What objects are held against.
pub(super) struct Comparison<'a> {
    pub(super) root: &'a Root,
    /// None where owners are recorded only.
    pub(super) accounts: Option<&'a Accounts>,
    pub(super) aspects: CheckedAspects,
    /// What is known of files beside their records.
    pub(super) delivered: &'a DeliveredFiles,
    /// Whether a symbolic link may stand where a directory is recorded: a pkgmap that was not installed knows of none.
    pub(super) follows_links: bool,
}

/// The way of one thread through the objects: it knows the directories that it has seen, holds the last one open, and
/// has room to read into.
pub(super) struct ComparisonWalk<'a> {
    comparison: &'a Comparison<'a>,
    resolver: Resolver<'a>,
    /// The directory that the object before was in, as its path says, and itself if it is there.
    last: Option<(ObjectPath, Option<Rc<Dir>>)>,
    buffer: Vec<u8>,
}

/// An object that is there: the directory that it is in, and what it looks like. Its name there is that of its path; the
/// root has none, and is in itself.
pub(super) type FoundObject = (Rc<Dir>, ObjectStatus);

impl ComparisonWalk<'_> {
    /// Compares an object; what cannot be read is a finding of it.
    pub(super) fn checked(&mut self, line: &ContentsLine) -> CheckedObject {
        CheckedObject { findings: self.findings(line), path: line.path.clone() }
    }

    /// What is wrong with an object.
    pub(super) fn findings(&mut self, line: &ContentsLine) -> Vec<Finding> {
        self.compare(line).unwrap_or_else(|error| vec![Finding::Unreadable(error.to_string())])
    }

    fn compare(&mut self, line: &ContentsLine) -> Result<Vec<Finding>, RootError> {
        let found = self.look_up(&line.path)?;
        let comparison = self.comparison;
        let mut findings = Vec::new();
        let Some((dir, seen)) = found else {
            findings.push(Finding::Missing);
            if line.object.ftype == Ftype::Link && comparison.aspects.attributes {
                findings.extend(self.link(line, None)?);
            }
            return Ok(findings);
        };
        if comparison.aspects.attributes {
            findings.extend(match line.object.ftype {
                Ftype::Link => self.link(line, Some(&seen))?.into_iter().collect(),
                Ftype::Symlink => symlink(&dir, line, &seen)?.into_iter().collect(),
                ftype if ftype.is_directory() => {
                    let behind = self.behind(&line.path, &seen)?;
                    comparison.attributes(&line.object, behind.as_ref().unwrap_or(&seen))
                }
                _ => comparison.attributes(&line.object, &seen),
            });
        }
        if comparison.wants_content(line.object.ftype) && seen.file_type == FileType::Regular {
            let delivered = comparison.delivered.get(&line.path).filter(|file| file.object == line.object);
            self.buffer.resize(BUFFER, 0);
            findings.extend(content(&dir, line, &seen, delivered, &mut self.buffer)?);
        }
        Ok(findings)
    }

    /// The directory that a symbolic link in the place of a directory leads to.
    fn behind(&self, path: &ObjectPath, seen: &ObjectStatus) -> Result<Option<ObjectStatus>, RootError> {
        if seen.file_type != FileType::Symlink || !self.comparison.follows_links {
            return Ok(None);
        }
        Ok(self.resolver.directory_behind(path)?.map(|(_, seen)| seen))
    }

    fn look_up(&mut self, path: &ObjectPath) -> Result<Option<FoundObject>, RootError> {
        if path.relative().is_empty() {
            let top = self.comparison.root.dir(path)?;
            let seen = top.itself()?;
            return Ok(Some((Rc::new(top), seen)));
        }
        let Some(dir) = self.directory_of(path)? else { return Ok(None) };
        let seen = dir.look(path.name())?;
        Ok(seen.map(|seen| (dir, seen)))
    }

    /// The directory that an object is or should be in, if it is there.
    fn directory_of(&mut self, path: &ObjectPath) -> Result<Option<Rc<Dir>>, RootError> {
        let above = path.as_bytes().strip_suffix(path.name()).and_then(|above| above.strip_suffix(b"/"));
        if let Some((_, dir)) = self.last.as_ref().filter(|(last, _)| above == Some(last.as_bytes())) {
            return Ok(dir.clone());
        }
        let parent = path.parent().unwrap_or_else(ObjectPath::root);
        let root = self.comparison.root;
        let dir = match root.dir_if_there(&parent) {
            Ok(Some(dir)) => Some(dir),
            // A symbolic link may be on the way or at its end, which this does not follow.
            _ => root.dir_if_there(&self.resolver.locate_dir(&parent)?)?,
        };
        let dir = dir.map(Rc::new);
        self.last = Some((parent, dir.clone()));
        Ok(dir)
    }

    /// A hard link must be the same object as its source, by whatever name.
    fn link(
        &mut self,
        line: &ContentsLine,
        seen: Option<&ObjectStatus>,
    ) -> Result<Option<Finding>, RootError> {
        let target = line.object.target.as_deref().unwrap_or_default();
        let source = match line.path.link_source(target) {
            Ok(path) => self.look_up(&path)?.map(|(_, seen)| seen),
            Err(_) => None,
        };
        let is_linked = match (seen, source) {
            (Some(seen), Some(source)) => {
                seen.inode == source.inode && seen.file_system == source.file_system
            }
            _ => false,
        };
        Ok((!is_linked).then(|| Finding::NotLinked(target.to_vec())))
    }
}

impl Comparison<'_> {
    /// A way that begins here.
    pub(super) fn walk(&self) -> ComparisonWalk<'_> {
        ComparisonWalk { comparison: self, resolver: self.root.resolver(), last: None, buffer: Vec::new() }
    }

    /// Compares one, whatever was known of the way to it.
    pub(super) fn compare_one(&self, line: &ContentsLine) -> CheckedObject {
        self.walk().checked(line)
    }

    /// The directory that an object is or should be in, and its name there; the root has no name.
    pub(super) fn place(&self, path: &ObjectPath) -> Result<(Dir, Vec<u8>), RootError> {
        self.place_of(&self.root.resolver().locate(path)?)
    }

    /// The same of what attributes are set of: a directory that is reached through a symbolic link is behind it.
    pub(super) fn place_behind(&self, line: &ContentsLine) -> Result<(Dir, Vec<u8>), RootError> {
        let linked =
            line.object.ftype.is_directory().then(|| self.root.resolver().directory_behind(&line.path));
        match linked.transpose()?.flatten() {
            Some((physical, _)) => self.place_of(&physical),
            None => self.place(&line.path),
        }
    }

    fn place_of(&self, physical: &ObjectPath) -> Result<(Dir, Vec<u8>), RootError> {
        let parent = physical.parent().unwrap_or_else(ObjectPath::root);
        Ok((self.root.dir(&parent)?, physical.name().to_vec()))
    }

    /// The object at a path.
    pub(super) fn find(&self, path: &ObjectPath) -> Result<Option<FoundObject>, RootError> {
        self.walk().look_up(path)
    }

    fn wants_content(&self, ftype: Ftype) -> bool {
        let changes = matches!(ftype, Ftype::Editable | Ftype::Volatile);
        ftype.is_regular() && self.aspects.contents && (self.aspects.changing_contents || !changes)
    }

    /// Type, device numbers, permissions, group, owner; another type is the only finding where it is one.
    fn attributes(&self, object: &Object, seen: &ObjectStatus) -> Vec<Finding> {
        if !is_type(object.ftype, seen.file_type) {
            let types = Difference { expected: object.ftype.letter(), actual: letter(seen.file_type) };
            return vec![Finding::Type(types)];
        }
        let mut findings = Vec::new();
        if let Some((major, minor)) = object.device {
            let expected = (major.unwrap_or(seen.device.0), minor.unwrap_or(seen.device.1));
            findings.extend(differ(expected, seen.device).map(Finding::Device));
        }
        let attributes = &object.attributes;
        if let Some(mode) = attributes.mode {
            findings.extend(differ(mode, seen.mode).map(Finding::Mode));
        }
        if let Some(accounts) = self.accounts {
            if let Some(group) = &attributes.group {
                findings.extend(match accounts.gid(group) {
                    None => Some(Finding::UnknownGroup(group.to_string())),
                    Some(gid) if gid == seen.gid => None,
                    Some(_) => differ(group.to_string(), accounts.group(seen.gid).into()).map(Finding::Group),
                });
            }
            if let Some(owner) = &attributes.owner {
                findings.extend(match accounts.uid(owner) {
                    None => Some(Finding::UnknownOwner(owner.to_string())),
                    Some(uid) if uid == seen.uid => None,
                    Some(_) => differ(owner.to_string(), accounts.user(seen.uid).into()).map(Finding::Owner),
                });
            }
        }
        findings
    }
}

fn symlink(dir: &Dir, line: &ContentsLine, seen: &ObjectStatus) -> Result<Option<Finding>, RootError> {
    let object = &line.object;
    let target = object.target.as_deref().unwrap_or_default();
    if seen.file_type != FileType::Symlink {
        let types = Difference { expected: object.ftype.letter(), actual: letter(seen.file_type) };
        return Ok(Some(Finding::Type(types)));
    }
    let is_same = dir.read_link(line.path.name())? == target;
    Ok((!is_same).then(|| Finding::NotSymlinked(target.to_vec())))
}

/// Modification time, size and sum; where these are right, the digest of what a patch put there. The bytes are read
/// even where the size tells, because the sum is reported too.
fn content(
    dir: &Dir,
    line: &ContentsLine,
    seen: &ObjectStatus,
    delivered: Option<&DeliveredFile>,
    buffer: &mut [u8],
) -> Result<Vec<Finding>, RootError> {
    let expected = line.object.content;
    let mut findings = Vec::new();
    if let Some(mtime) = expected.mtime {
        findings.extend(differ(mtime, seen.mtime.seconds).map(Finding::Mtime));
    }
    if let Some(size) = expected.size {
        findings.extend(differ(size, seen.size).map(Finding::Size));
    }
    if expected.cksum.is_none() && delivered.is_none() {
        return Ok(findings);
    }
    let mut file = dir.open_still(line.path.name())?;
    let read = sums(&mut file, seen.size, delivered, buffer);
    match read {
        Ok((cksum, is_delivered)) => {
            findings.extend(expected.cksum.and_then(|expected| differ(expected, cksum)).map(Finding::Cksum));
            let is_news = |finding: &Finding| !matches!(finding, Finding::Size(_) | Finding::Cksum(_));
            if let Some(file) = delivered.filter(|_| !is_delivered && findings.iter().all(is_news)) {
                findings.push(Finding::NotDelivered(file.patch.clone()));
            }
        }
        Err(error) => findings.push(Finding::Unreadable(format!("cannot be read: {error}"))),
    }
    Ok(findings)
}

/// The sum of a file, and whether it has the digest of what was delivered. A digest is only taken where one is known.
fn sums(
    file: &mut impl io::Read,
    size: u64,
    delivered: Option<&DeliveredFile>,
    buffer: &mut [u8],
) -> io::Result<(u16, bool)> {
    let Some(delivered) = delivered else {
        return Ok((sum_of(file, buffer, Some(size))?.1, true));
    };
    let sums = Sums::through(buffer, file)?;
    Ok((sums.cksum, sums.b3 == delivered.b3))
}

pub(super) fn differ<T: PartialEq>(expected: T, actual: T) -> Option<Difference<T>> {
    (expected != actual).then_some(Difference { expected, actual })
}

/// Whether an object of this file type can be what a line of this ftype stands for.
fn is_type(ftype: Ftype, actual: FileType) -> bool {
    match ftype {
        Ftype::File | Ftype::Editable | Ftype::Volatile | Ftype::Information => actual == FileType::Regular,
        Ftype::Directory | Ftype::Exclusive => actual == FileType::Directory,
        Ftype::Pipe => actual == FileType::Pipe,
        Ftype::Block => actual == FileType::Block,
        Ftype::Character => actual == FileType::Character,
        Ftype::Symlink => actual == FileType::Symlink,
        Ftype::Link => true,
    }
}

/// The letter of a pkgmap for what is there.
fn letter(file_type: FileType) -> u8 {
    match file_type {
        FileType::Regular => b'f',
        FileType::Directory => b'd',
        FileType::Symlink => b's',
        FileType::Pipe => b'p',
        FileType::Block => b'b',
        FileType::Character => b'c',
        FileType::Socket => b'?',
    }
}
