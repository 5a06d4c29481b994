//! One object held against its line of `contents`.

use std::io;

use super::{Aspects, Checked, Delivered, DeliveredFile, Differs, Finding};
use crate::package::checksum::Sum;
use crate::package::{Accounts, Ftype, Line, Object, ObjectPath, Sums};
use crate::root::{Dir, FileType, Resolver, Root, RootError, Seen};

/// What objects are held against.
pub(super) struct Comparison<'a> {
    pub(super) root: &'a Root,
    /// None where owners are recorded only.
    pub(super) accounts: Option<&'a Accounts>,
    pub(super) aspects: Aspects,
    /// What is known of files beside their records.
    pub(super) delivered: &'a Delivered,
}

impl Comparison<'_> {
    /// Compares each; what cannot be read is a finding of that object.
    pub(super) fn compare_all(&self, lines: &[Line]) -> Vec<Checked> {
        let resolver = self.root.resolver();
        lines.iter().map(|line| self.checked(&resolver, line)).collect()
    }

    /// Compares one, whatever was known of the way to it.
    pub(super) fn compare_one(&self, line: &Line) -> Checked {
        self.checked(&self.root.resolver(), line)
    }

    fn checked(&self, resolver: &Resolver<'_>, line: &Line) -> Checked {
        let findings =
            self.compare(resolver, line).unwrap_or_else(|error| vec![Finding::Unreadable(error.to_string())]);
        Checked { path: line.path.clone(), findings }
    }

    /// The directory that an object is or should be in, and its name there; the root has no name.
    pub(super) fn place(&self, path: &ObjectPath) -> Result<(Dir, Vec<u8>), RootError> {
        let physical = self.root.resolver().locate(path)?;
        let parent = physical.parent().unwrap_or_else(ObjectPath::root);
        Ok((self.root.dir(&parent)?, physical.name().to_vec()))
    }

    /// The object at a path: the directory that it is in, its name there, and what it looks like.
    pub(super) fn find(&self, path: &ObjectPath) -> Result<Option<(Dir, Vec<u8>, Seen)>, RootError> {
        self.look_up(&self.root.resolver(), path)
    }

    fn compare(&self, resolver: &Resolver<'_>, line: &Line) -> Result<Vec<Finding>, RootError> {
        let found = self.look_up(resolver, &line.path)?;
        let mut findings = Vec::new();
        let Some((dir, name, seen)) = found else {
            findings.push(Finding::Missing);
            if line.object.ftype == Ftype::Link && self.aspects.attributes {
                findings.extend(self.link(resolver, line, None)?);
            }
            return Ok(findings);
        };
        if self.aspects.attributes {
            findings.extend(match line.object.ftype {
                Ftype::Link => self.link(resolver, line, Some(&seen))?.into_iter().collect(),
                Ftype::Symlink => symlink(&dir, &name, &seen, &line.object)?.into_iter().collect(),
                _ => self.attributes(&line.object, &seen),
            });
        }
        if self.wants_content(line.object.ftype) && seen.file_type == FileType::Regular {
            let delivered = self.delivered.get(&line.path).filter(|file| file.object == line.object);
            findings.extend(content(&dir, &name, &seen, &line.object, delivered)?);
        }
        Ok(findings)
    }

    fn look_up(
        &self,
        resolver: &Resolver<'_>,
        path: &ObjectPath,
    ) -> Result<Option<(Dir, Vec<u8>, Seen)>, RootError> {
        let physical = resolver.locate(path)?;
        let Some(parent) = physical.parent() else {
            let top = self.root.dir(&physical)?;
            let seen = top.itself()?;
            return Ok(Some((top, Vec::new(), seen)));
        };
        let Some(dir) = self.root.dir_if_there(&parent)? else { return Ok(None) };
        let seen = dir.look(physical.name())?;
        Ok(seen.map(|seen| (dir, physical.name().to_vec(), seen)))
    }

    fn wants_content(&self, ftype: Ftype) -> bool {
        let changes = matches!(ftype, Ftype::Editable | Ftype::Volatile);
        ftype.is_regular() && self.aspects.contents && (self.aspects.changing_contents || !changes)
    }

    /// A hard link must be the same object as its source, by whatever name.
    fn link(
        &self,
        resolver: &Resolver<'_>,
        line: &Line,
        seen: Option<&Seen>,
    ) -> Result<Option<Finding>, RootError> {
        let target = line.object.target.as_deref().unwrap_or_default();
        let source = match line.path.link_source(target) {
            Ok(path) => self.look_up(resolver, &path)?.map(|(_, _, seen)| seen),
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

    /// Type, device numbers, permissions, group, owner; another type is the only finding where it is one.
    fn attributes(&self, object: &Object, seen: &Seen) -> Vec<Finding> {
        if !is_type(object.ftype, seen.file_type) {
            let types = Differs { expected: object.ftype.letter(), actual: letter(seen.file_type) };
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
                    None => Some(Finding::UnknownGroup(group.clone())),
                    Some(gid) if gid == seen.gid => None,
                    Some(_) => differ(group.clone(), accounts.group(seen.gid)).map(Finding::Group),
                });
            }
            if let Some(owner) = &attributes.owner {
                findings.extend(match accounts.uid(owner) {
                    None => Some(Finding::UnknownOwner(owner.clone())),
                    Some(uid) if uid == seen.uid => None,
                    Some(_) => differ(owner.clone(), accounts.user(seen.uid)).map(Finding::Owner),
                });
            }
        }
        findings
    }
}

fn symlink(dir: &Dir, name: &[u8], seen: &Seen, object: &Object) -> Result<Option<Finding>, RootError> {
    let target = object.target.as_deref().unwrap_or_default();
    if seen.file_type != FileType::Symlink {
        let types = Differs { expected: object.ftype.letter(), actual: letter(seen.file_type) };
        return Ok(Some(Finding::Type(types)));
    }
    let is_same = dir.read_link(name)? == target;
    Ok((!is_same).then(|| Finding::NotSymlinked(target.to_vec())))
}

/// Modification time, size and sum; where these are right, the digest of what a patch put there. The bytes are read even where the size
/// tells, because the sum is reported too.
fn content(
    dir: &Dir,
    name: &[u8],
    seen: &Seen,
    object: &Object,
    delivered: Option<&DeliveredFile>,
) -> Result<Vec<Finding>, RootError> {
    let expected = object.content;
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
    let read = sums(&mut dir.open_regular(name)?, delivered);
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
fn sums(file: &mut impl io::Read, delivered: Option<&DeliveredFile>) -> io::Result<(u16, bool)> {
    let Some(delivered) = delivered else {
        let mut sum = Sum::new();
        io::copy(file, &mut sum)?;
        return Ok((sum.finish(), true));
    };
    let sums = Sums::of(file)?;
    Ok((sums.cksum, sums.sha256 == delivered.sha256))
}

pub(super) fn differ<T: PartialEq>(expected: T, actual: T) -> Option<Differs<T>> {
    (expected != actual).then_some(Differs { expected, actual })
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
