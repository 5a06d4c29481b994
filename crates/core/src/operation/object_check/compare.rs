use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::rc::Rc;

use crate::operation::failure::Failure;
use crate::operation::mend::MendedRecord;
use crate::operation::queries::packages::QueryError;
use patchadm_changeset::transaction::Recovered;
use patchadm_inputs::database::{
    DatabaseError, RecordDamage, RecordError, RecordView, ViewError, contents, installed,
};
use patchadm_inputs::native::{NativeManager, NativeOrigin, NativeOwner, dpkg};
use patchadm_rootfs::{
    Digest, Dir, FileType, Interrupt, InterruptibleRead, ObjectStatus, Resolver, Root, RootError, Sums,
};
use patchadm_svr4::package::checksum::sum_of;
use patchadm_svr4::package::{
    Accounts, ContentsLine, Ftype, Mode, Object, ObjectAttributes, ObjectPath, PkgInst,
};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckedAspects {
    /// Type, permissions, owner, group, device numbers, and targets of links.
    pub attributes: bool,
    /// Size and modification time, without reading; part of `contents`.
    pub sizes: bool,
    /// Size, sum and modification time.
    pub contents: bool,
    /// Includes files that are expected to change (`e`, `v`).
    pub changing_contents: bool,
    /// Tells which editable files have other contents, which is no finding.
    pub edits: bool,
    /// Finds objects without an owner in exclusive directories.
    pub exclusive: bool,
}

/// By undo manifests; the last one of each path.
pub(in crate::operation) type DeliveredFiles = HashMap<ObjectPath, DeliveredFile>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::operation) struct DeliveredFile {
    /// As recorded then. If the record differs now, someone else has replaced the file.
    pub(in crate::operation) object: Object,
    /// BLAKE3.
    pub(in crate::operation) b3: Digest,
    pub(in crate::operation) patch: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectFinding {
    Missing,
    /// Letters of pkgmap(4); `?` for types that no package can deliver.
    Type(Difference<u8>),
    /// Major and minor.
    Device(Difference<(u32, u32)>),
    Mode(Difference<Mode>),
    Group(Difference<String>),
    Owner(Difference<String>),
    /// The root has no such group.
    UnknownGroup(String),
    /// The root has no such user.
    UnknownOwner(String),
    /// Differs from this hard link source.
    NotLinked(Vec<u8>),
    /// Should be a symbolic link to this target.
    NotSymlinked(Vec<u8>),
    /// Seconds since 1970.
    Mtime(Difference<i64>),
    /// Bytes.
    Size(Difference<u64>),
    Cksum(Difference<u16>),
    /// Size and sum fit, but not the BLAKE3 in this patch's undo manifest.
    NotDelivered(String),
    Unreadable(String),
    /// In an exclusive directory, without an owner.
    Hidden,
    Unfixed(UnfixedReason),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnfixedReason {
    Attributes,
    /// Left as they are: the bytes are not the recorded ones.
    OtherBytes,
    /// Left as they are: another user could have put it there.
    Exchangeable(String),
    Mtime,
    Directory,
    Node,
    Link(Vec<u8>),
    Hidden,
    /// Left as it is: this native package owns it, and no package of its record stands for that.
    Native(NativeOwner),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference<T> {
    pub expected: T,
    pub actual: T,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedObject {
    pub path: ObjectPath,
    /// In the order of a report; empty if all is as recorded.
    pub findings: Vec<ObjectFinding>,
    /// An editable file with other content than recorded, which is no finding.
    pub is_edited: bool,
}

impl CheckedObject {
    pub fn is_missing(&self) -> bool {
        self.findings.first() == Some(&ObjectFinding::Missing)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectCheckReport {
    /// In order of paths or of the pkgmap; objects without an owner last.
    pub checked: Vec<CheckedObject>,
    /// Objects repaired in part or whole.
    pub fixed: usize,
    pub unknown: UnmatchedOperands,
    /// Damage that stops no comparison.
    pub damage: Vec<RecordDamage>,
    /// Rebuilt records; no object is compared then.
    pub mended: Vec<MendedRecord>,
    pub recovered: Recovered,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnmatchedOperands {
    pub packages: Vec<String>,
    /// Words for packages that own nothing.
    pub empty: Vec<String>,
    pub paths: Vec<ObjectPath>,
}

#[derive(Debug, thiserror::Error)]
pub enum ObjectCheckError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("{}", told(.0))]
    Damaged(Vec<RecordDamage>),
    /// The run is active, or waits for its recovery.
    #[error(
        "a change of {0} is not finished: nothing can be checked until it is; if it was interrupted, run `patchadm -R {0} recover`"
    )]
    Unfinished(String),
    #[error("{path}: {reason}")]
    Map {
        path: String,
        /// With the line.
        reason: String,
    },
    #[error("no package of category <{0}> is installed")]
    NoCategory(String),
    #[error(transparent)]
    Parameters(#[from] QueryError),
    #[error(transparent)]
    Operation(#[from] Failure),
}

fn told(damage: &[RecordDamage]) -> String {
    damage.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl From<RecordError> for ObjectCheckError {
    fn from(error: RecordError) -> Self {
        Self::Database(error.into())
    }
}

impl From<ViewError> for ObjectCheckError {
    fn from(error: ViewError) -> Self {
        Self::Database(error.into())
    }
}

impl From<RootError> for ObjectCheckError {
    fn from(error: RootError) -> Self {
        ViewError::from(error).into()
    }
}

/// Most files are read as a whole, and a buffer fits into the processor cache.
const BUFFER: usize = 1 << 17;

pub(super) struct ObjectComparison<'a> {
    pub(super) root: &'a Root,
    /// `None` if owners are only recorded.
    pub(super) accounts: Option<&'a Accounts>,
    pub(super) aspects: CheckedAspects,
    pub(super) delivered: &'a DeliveredFiles,
    /// Accept a symbolic link to a recorded directory: a pkgmap that is not installed knows no links.
    pub(super) follows_links: bool,
    /// Attributes that replace recorded ones.
    pub(super) overridden: OverriddenAttributes,
    /// After a signal, no content is read and no object is repaired.
    pub(super) interrupt: Interrupt<'a>,
}

/// One thread's walk: it caches directories, holds the last one open, and owns a read buffer.
pub(super) struct ComparisonWalk<'a> {
    comparison: &'a ObjectComparison<'a>,
    resolver: Resolver<'a>,
    last: Option<(ObjectPath, Option<Rc<Dir>>)>,
    buffer: Vec<u8>,
}

/// Directory and status of an existing object. The root is in itself.
pub(super) type OpenedObject = (Rc<Dir>, ObjectStatus);

impl ComparisonWalk<'_> {
    /// An unreadable object is a finding.
    pub(super) fn checked(&mut self, line: &ContentsLine) -> CheckedObject {
        let (findings, is_edited) = (self.findings(line), self.is_edited(line));
        CheckedObject { findings, is_edited, path: line.path.clone() }
    }

    /// Reads a file of the recorded size only if its time differs, or if all contents are read.
    fn is_edited(&mut self, line: &ContentsLine) -> bool {
        let comparison = self.comparison;
        let aspects = comparison.aspects;
        if line.object.ftype != Ftype::Editable || !aspects.edits {
            return false;
        }
        let Ok(Some((dir, seen))) = self.look_up(&line.path) else { return false };
        if seen.file_type != FileType::Regular {
            return false;
        }
        let found = sizes(line, &seen);
        if found.iter().any(|finding| matches!(finding, ObjectFinding::Size(_))) {
            return true;
        }
        if found.is_empty() && !aspects.contents {
            return false;
        }
        self.buffer.resize(BUFFER, 0);
        let found = content(&dir, line, Vec::new(), None, (&seen, &mut self.buffer, comparison.interrupt));
        found.is_ok_and(|found| found.iter().any(|finding| matches!(finding, ObjectFinding::Cksum(_))))
    }

    fn findings(&mut self, line: &ContentsLine) -> Vec<ObjectFinding> {
        let line = self.comparison.overridden.line(line);
        self.compare(&line).unwrap_or_else(|error| vec![ObjectFinding::Unreadable(in_full(&error))])
    }

    fn compare(&mut self, line: &ContentsLine) -> Result<Vec<ObjectFinding>, RootError> {
        let found = self.look_up(&line.path)?;
        let comparison = self.comparison;
        let mut findings = Vec::new();
        let Some((dir, seen)) = found else {
            findings.push(ObjectFinding::Missing);
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
            let mut found = sizes(line, &seen);
            if comparison.aspects.contents {
                let delivered =
                    comparison.delivered.get(&line.path).filter(|file| file.object == line.object);
                self.buffer.resize(BUFFER, 0);
                found =
                    content(&dir, line, found, delivered, (&seen, &mut self.buffer, comparison.interrupt))?;
            }
            findings.extend(found);
        }
        Ok(findings)
    }

    fn behind(&self, path: &ObjectPath, seen: &ObjectStatus) -> Result<Option<ObjectStatus>, RootError> {
        if seen.file_type != FileType::Symlink || !self.comparison.follows_links {
            return Ok(None);
        }
        Ok(self.resolver.directory_behind(path)?.map(|(_, seen)| seen))
    }

    fn look_up(&mut self, path: &ObjectPath) -> Result<Option<OpenedObject>, RootError> {
        if path.relative().is_empty() {
            let top = self.comparison.root.dir(path)?;
            let seen = top.itself()?;
            return Ok(Some((Rc::new(top), seen)));
        }
        let Some(dir) = self.directory_of(path)? else { return Ok(None) };
        let seen = dir.look(path.name())?;
        Ok(seen.map(|seen| (dir, seen)))
    }

    fn directory_of(&mut self, path: &ObjectPath) -> Result<Option<Rc<Dir>>, RootError> {
        let above = path.as_bytes().strip_suffix(path.name()).and_then(|above| above.strip_suffix(b"/"));
        if let Some((_, dir)) = self.last.as_ref().filter(|(last, _)| above == Some(last.as_bytes())) {
            return Ok(dir.clone());
        }
        let parent = path.parent().unwrap_or_else(ObjectPath::root);
        let root = self.comparison.root;
        let dir = match root.dir_if_there(&parent) {
            Ok(Some(dir)) => Some(dir),
            // A symbolic link may be on the way; this does not follow it.
            _ => root.dir_if_there(&self.resolver.locate_dir(&parent)?)?,
        };
        let dir = dir.map(Rc::new);
        self.last = Some((parent, dir.clone()));
        Ok(dir)
    }

    fn link(
        &mut self,
        line: &ContentsLine,
        seen: Option<&ObjectStatus>,
    ) -> Result<Option<ObjectFinding>, RootError> {
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
        Ok((!is_linked).then(|| ObjectFinding::NotLinked(target.to_vec())))
    }
}

impl ObjectComparison<'_> {
    pub(super) fn walk(&self) -> ComparisonWalk<'_> {
        ComparisonWalk { comparison: self, resolver: self.root.resolver(), last: None, buffer: Vec::new() }
    }

    pub(super) fn compare_one(&self, line: &ContentsLine) -> CheckedObject {
        self.walk().checked(line)
    }

    pub(super) fn place(&self, path: &ObjectPath) -> Result<(Dir, Vec<u8>), RootError> {
        self.place_of(&self.root.resolver().locate(path)?)
    }

    /// For setting attributes: a directory behind a symbolic link is resolved.
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

    pub(super) fn find(&self, path: &ObjectPath) -> Result<Option<OpenedObject>, RootError> {
        self.walk().look_up(path)
    }

    fn wants_content(&self, ftype: Ftype) -> bool {
        let changes = matches!(ftype, Ftype::Editable | Ftype::Volatile);
        let CheckedAspects { sizes, contents, changing_contents, .. } = self.aspects;
        ftype.is_regular() && (sizes || contents) && (changing_contents || !changes)
    }

    /// A different type is the only finding.
    fn attributes(&self, object: &Object, seen: &ObjectStatus) -> Vec<ObjectFinding> {
        if !is_type(object.ftype, seen.file_type) {
            let types = Difference { expected: object.ftype.letter(), actual: letter(seen.file_type) };
            return vec![ObjectFinding::Type(types)];
        }
        let mut findings = Vec::new();
        if let Some((major, minor)) = object.device {
            let expected = (major.unwrap_or(seen.device.0), minor.unwrap_or(seen.device.1));
            findings.extend(differ(expected, seen.device).map(ObjectFinding::Device));
        }
        let attributes = &object.attributes;
        if let Some(mode) = attributes.mode {
            findings.extend(differ(mode, seen.mode).map(ObjectFinding::Mode));
        }
        if let Some(accounts) = self.accounts {
            if let Some(group) = &attributes.group {
                findings.extend(match accounts.gid(group) {
                    None => Some(ObjectFinding::UnknownGroup(group.to_string())),
                    Some(gid) if gid == seen.gid => None,
                    Some(_) => {
                        differ(group.to_string(), accounts.group(seen.gid).into()).map(ObjectFinding::Group)
                    }
                });
            }
            if let Some(owner) = &attributes.owner {
                findings.extend(match accounts.uid(owner) {
                    None => Some(ObjectFinding::UnknownOwner(owner.to_string())),
                    Some(uid) if uid == seen.uid => None,
                    Some(_) => {
                        differ(owner.to_string(), accounts.user(seen.uid).into()).map(ObjectFinding::Owner)
                    }
                });
            }
        }
        findings
    }
}

fn in_full(error: &RootError) -> String {
    match error {
        RootError::Untrusted(told) => {
            format!("{}: {}", told.to_string().trim_end_matches('.'), told.way_on())
        }
        error => error.to_string(),
    }
}

fn symlink(dir: &Dir, line: &ContentsLine, seen: &ObjectStatus) -> Result<Option<ObjectFinding>, RootError> {
    let object = &line.object;
    let target = object.target.as_deref().unwrap_or_default();
    if seen.file_type != FileType::Symlink {
        let types = Difference { expected: object.ftype.letter(), actual: letter(seen.file_type) };
        return Ok(Some(ObjectFinding::Type(types)));
    }
    let is_same = dir.read_link(line.path.name())? == target;
    Ok((!is_same).then(|| ObjectFinding::NotSymlinked(target.to_vec())))
}

fn sizes(line: &ContentsLine, seen: &ObjectStatus) -> Vec<ObjectFinding> {
    let expected = line.object.content;
    let mut findings = Vec::new();
    if let Some(mtime) = expected.mtime {
        findings.extend(differ(mtime, seen.mtime.seconds).map(ObjectFinding::Mtime));
    }
    if let Some(size) = expected.size {
        findings.extend(differ(size, seen.size).map(ObjectFinding::Size));
    }
    findings
}

/// Compares the sum, then the digest of the patch that delivered the file. Reads the bytes even if the size differs,
/// because the sum is reported.
fn content(
    dir: &Dir,
    line: &ContentsLine,
    mut findings: Vec<ObjectFinding>,
    delivered: Option<&DeliveredFile>,
    (seen, buffer, interrupt): (&ObjectStatus, &mut [u8], Interrupt<'_>),
) -> Result<Vec<ObjectFinding>, RootError> {
    let expected = line.object.content;
    if expected.cksum.is_none() && delivered.is_none() {
        return Ok(findings);
    }
    let mut file = InterruptibleRead::new(dir.open_still(line.path.name())?, interrupt);
    let read = sums(&mut file, seen.size, delivered, buffer);
    match read {
        Ok((cksum, is_delivered)) => {
            findings.extend(
                expected.cksum.and_then(|expected| differ(expected, cksum)).map(ObjectFinding::Cksum),
            );
            let is_news = |finding: &ObjectFinding| {
                !matches!(finding, ObjectFinding::Size(_) | ObjectFinding::Cksum(_))
            };
            if let Some(file) = delivered.filter(|_| !is_delivered && findings.iter().all(is_news)) {
                findings.push(ObjectFinding::NotDelivered(file.patch.clone()));
            }
        }
        Err(error) => findings.push(ObjectFinding::Unreadable(format!("cannot be read: {error}"))),
    }
    Ok(findings)
}

/// Returns the sum, and whether the delivered digest fits, if it is known.
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

fn is_type(ftype: Ftype, actual: FileType) -> bool {
    FileType::of(ftype).is_none_or(|expected| expected == actual)
}

fn letter(file_type: FileType) -> u8 {
    file_type.ftype().map_or(b'?', Ftype::letter)
}

#[derive(Debug, Default)]
pub(super) struct OverriddenAttributes(BTreeMap<ObjectPath, ObjectAttributes>);

impl OverriddenAttributes {
    /// If dpkg would refuse the file, a comparison ignores it, and a repair fails.
    pub(super) fn of(view: &RecordView<'_>, fixes: bool) -> Result<Self, ObjectCheckError> {
        let overrides = match dpkg::overrides(view.root()) {
            Err(error) if fixes => return Err(ObjectCheckError::Operation(error.into())),
            read => read.unwrap_or_default(),
        };
        if overrides.is_empty() {
            return Ok(Self::default());
        }
        let paths: BTreeSet<ObjectPath> = overrides.paths().cloned().collect();
        let lines = contents::lines_at(view, &paths, &[]).map_err(DatabaseError::from)?;
        let (mut adopted, mut attributes) = (BTreeMap::new(), BTreeMap::new());
        for (path, line) in lines {
            if let Some(one) = overrides.of(&path)
                && is_of_dpkg(view, &line, &mut adopted)?
            {
                attributes.insert(path, one.attributes());
            }
        }
        Ok(Self(attributes))
    }

    pub(super) fn line<'l>(&self, line: &'l ContentsLine) -> Cow<'l, ContentsLine> {
        match self.0.get(&line.path).filter(|_| !line.object.ftype.is_link()) {
            None => Cow::Borrowed(line),
            Some(attributes) => {
                let mut line = line.clone();
                line.object.attributes = attributes.clone();
                Cow::Owned(line)
            }
        }
    }
}

fn is_of_dpkg(
    view: &RecordView<'_>,
    line: &ContentsLine,
    known: &mut BTreeMap<PkgInst, bool>,
) -> Result<bool, DatabaseError> {
    for owner in &line.owners {
        if !known.contains_key(&owner.package) {
            let params = installed::params(view, &owner.package)?;
            let origin = params.and_then(|params| NativeOrigin::of(&params));
            let is_of_it = origin.is_some_and(|origin| origin.manager == NativeManager::Dpkg);
            known.insert(owner.package.clone(), is_of_it);
        }
        if known.get(&owner.package) == Some(&true) {
            return Ok(true);
        }
    }
    Ok(false)
}
