//! The archive of an rpm package: a compressed cpio archive whose members are the files that the header lists.
//!
//! Names of one file follow each other, and the last one has the content. Members have their names and sizes themselves,
//! or, in a package with a file of 4 GiB or more, in the header.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, BufReader, Read};
use std::ops::ControlFlow;

use super::stripped::{self, StrippedMembers, StrippedReader};
use crate::release::archive_file::FilePart;
use crate::release::collector::{
    ArchiveContents, ContentVisit, NumberedContents, ObjectCollector, content_of,
};
use crate::release::error::ReleaseProblem;
use crate::release::tar_archive::member_path;
use patchadm_container::{ContainerFormat, open_container};
use patchadm_inputs::sha256::Sha256;
use patchadm_releases::{FileContent, ReleaseObject, ReleaseObjectKind};
use patchadm_rootfs::{Digest, Sums};
use patchadm_svr4::format::cpio::{CpioError, CpioHeader, CpioReader};
use patchadm_svr4::package::ObjectPath;

/// The most bytes after the archive: padding, skipped so that the compression around it is checked to its end.
const PADDING: u64 = 16 << 20;

/// Bytes read at once.
const BUFFER: usize = 1 << 16;

/// The payload of a package.
pub(super) struct Payload {
    /// Its place in the file.
    pub(super) part: FilePart,
    /// The SHA-256 that the header announces, in hexadecimal digits.
    pub(super) sha256: Option<String>,
    /// The members of an archive without names and sizes, where the header has what they lack.
    pub(super) stripped: Option<StrippedMembers>,
}

type MemberVisit<'a> = dyn FnMut(&CpioHeader, &mut dyn Read) -> Result<ControlFlow<()>, ReleaseProblem> + 'a;

impl Payload {
    /// Reads all members into the objects of the header, with the sums of the files.
    pub(super) fn list(
        self,
        mut listed: BTreeMap<ObjectPath, ReleaseObject>,
    ) -> Result<(Vec<ReleaseObject>, ArchiveContents<Self>), ReleaseProblem> {
        let mut collector = ObjectCollector::default();
        let mut names = LinkedNames::default();
        let mut met = BTreeSet::new();
        let mut buffer = vec![0; BUFFER];
        self.walk(&mut |member, data| {
            let Some(path) = cpio_path(&member.name)? else { return Ok(ControlFlow::Continue(())) };
            if !met.insert(path.clone()) {
                return Err(ReleaseProblem::BadForm(format!("two members are called <{path}>")));
            }
            if !member.is_file() {
                return Ok(ControlFlow::Continue(()));
            }
            let Some(object) = listed.remove(&path) else {
                let reason = format!("the archive has a file <{path}> that the header does not list");
                return Err(ReleaseProblem::BadForm(reason));
            };
            if let Some(objects) = names.add(member, object) {
                let content =
                    content_of(Sums::through(&mut buffer, data).map_err(ReleaseProblem::of_archive)?);
                collector.add_files(objects.into_iter().map(|object| with_content(object, content)));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        for objects in names.left() {
            collector.add_files(objects);
        }
        for (path, object) in listed {
            if object.content().is_some() {
                return Err(ReleaseProblem::BadForm(format!(
                    "the archive lacks <{path}>, which the header lists"
                )));
            }
            collector.add(object);
        }
        let (objects, names) = collector.finish()?;
        Ok((objects, ArchiveContents { archive: self, names }))
    }

    fn walk(&self, visit: &mut MemberVisit<'_>) -> Result<(), ReleaseProblem> {
        let mut digested = Digested { inner: self.part.reader(), sha256: Sha256::new() };
        {
            let opened = open_container(&mut digested).map_err(ReleaseProblem::of_archive)?;
            if let ContainerFormat::Unsupported(what) = opened.form {
                return Err(ReleaseProblem::Unsupported(format!("{what} compression")));
            }
            let input = BufReader::with_capacity(BUFFER, opened.reader);
            let ControlFlow::Continue(rest) = self.walk_members(input, visit)? else { return Ok(()) };
            io::copy(&mut rest.take(PADDING), &mut io::sink()).map_err(ReleaseProblem::of_archive)?;
        }
        let found = Digest(digested.sha256.finalize()).to_string();
        match &self.sha256 {
            Some(announced) if !announced.eq_ignore_ascii_case(&found) => Err(ReleaseProblem::bad(
                "the package is damaged: its payload does not have the digest of its header",
            )),
            _ => Ok(()),
        }
    }
}

impl Payload {
    /// Visits the members, whichever archive it is, and returns what follows them.
    fn walk_members<R: Read>(
        &self,
        mut input: R,
        visit: &mut MemberVisit<'_>,
    ) -> Result<ControlFlow<(), R>, ReleaseProblem> {
        let mut magic = [0; 6];
        input.read_exact(&mut magic).map_err(ReleaseProblem::of_archive)?;
        if magic != stripped::MAGIC {
            let mut archive = CpioReader::new(magic.chain(input));
            while let Some(member) = archive.next_member().map_err(of_cpio)? {
                if visit(&member, &mut archive)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            return Ok(ControlFlow::Continue(archive.into_inner().into_inner().1));
        }
        let lacking =
            || ReleaseProblem::bad("the archive names no files, and the header has no sizes of them");
        let members = self.stripped.as_ref().ok_or_else(lacking)?;
        let mut archive = StrippedReader::behind_magic(input, members);
        while let Some(member) = archive.next_member()? {
            if visit(member, &mut archive)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(archive.into_inner()))
    }
}

impl NumberedContents for Payload {
    fn each_content(&self, visit: &mut ContentVisit<'_>) -> Result<(), ReleaseProblem> {
        let mut number = 0;
        self.walk(&mut |member, data| {
            if !member.is_file() || is_name_only(member) {
                return Ok(ControlFlow::Continue(()));
            }
            number += 1;
            Ok(visit(number - 1, data))
        })
    }
}

/// Tells whether a member is one of several names of a file, but not the one with the content.
fn is_name_only(member: &CpioHeader) -> bool {
    member.nlink > 1 && member.size == 0
}

fn cpio_path(name: &[u8]) -> Result<Option<ObjectPath>, ReleaseProblem> {
    // Packages of long ago have absolute names.
    member_path(name.strip_prefix(b"/").unwrap_or(name))
}

fn of_cpio(error: CpioError) -> ReleaseProblem {
    ReleaseProblem::of_archive(error.into())
}

fn with_content(mut object: ReleaseObject, of_bytes: FileContent) -> ReleaseObject {
    if let ReleaseObjectKind::File { content, .. } = &mut object.kind {
        *content = of_bytes;
    }
    object
}

/// Names of files whose content is still to come, by device and inode.
#[derive(Default)]
struct LinkedNames(HashMap<((u32, u32), u32), Vec<ReleaseObject>>);

impl LinkedNames {
    /// Takes a name; returns all names of the file where this member has the content.
    fn add(&mut self, member: &CpioHeader, object: ReleaseObject) -> Option<Vec<ReleaseObject>> {
        if member.nlink < 2 {
            return Some(vec![object]);
        }
        let key = (member.dev, member.ino);
        self.0.entry(key).or_default().push(object);
        if is_name_only(member) { None } else { self.0.remove(&key) }
    }

    /// Returns the names of empty files, in an order that does not change.
    fn left(self) -> Vec<Vec<ReleaseObject>> {
        let mut left: Vec<_> = self.0.into_iter().collect();
        left.sort_by_key(|(key, _)| *key);
        left.into_iter().map(|(_, objects)| objects).collect()
    }
}

/// Bytes that are digested while they pass.
struct Digested<R> {
    inner: R,
    sha256: Sha256,
}

impl<R: Read> Read for Digested<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.sha256.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}
