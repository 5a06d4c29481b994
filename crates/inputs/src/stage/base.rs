//! A base: the staged objects as they were copied or promoted, with all attributes and digests, a line for each. The
//! header has their number and a digest of all, so that a truncated or edited base is detected. At most one line of
//! text is in memory.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, BufRead, Read as _, Write};

use serde::{Deserialize, Serialize};

use super::identity::{StageFileError, StageId};
use super::records::{patch, scope, stage, written_paths};
use super::scope::Scope;
use patchadm_changeset::format::manifest::{RecordedState, decode, encoded, unhex};
use patchadm_changeset::format::run::Run;
use patchadm_rootfs::{Digest, Digesting, FileType, Timestamp};
use patchadm_svr4::package::{ObjectPath, PkgInst, is_room_for, rule};
use patchadm_svr4::patch::PatchId;

const VERSION: u32 = 1;

pub const MOST_OBJECTS: u64 = 8_000_000;

/// An object may have 64 KiB of attributes, written as two digits per byte.
const LONGEST_LINE: u64 = 1 << 20;

const PIECE: usize = 1 << 16;
const LEAST_MEMORY: u64 = 200;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    pub header: BaseHeader,
    /// Sorted by path, each path once.
    pub objects: Vec<BaseObject>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseHeader {
    pub stage: StageId,
    /// With its run; `None` for the base of `stage new`.
    pub promotion: Option<(PatchId, String)>,
    pub paths: Scope,
    /// Of a stage with records, each with its version.
    pub packages: BTreeMap<PkgInst, String>,
}

#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    #[error(transparent)]
    Read(#[from] io::Error),
    #[error("it ends after {found} of {expected} objects")]
    Cut { expected: u64, found: u64 },
    /// Well-formed, but not as written.
    #[error("it does not match the digest in its first line")]
    Digest,
    #[error(transparent)]
    Line(#[from] StageFileError),
    #[error("it belongs to another stage, {0}")]
    OtherStage(StageId),
    #[error("it has {0} objects, more than can be read")]
    TooLarge(u64),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenHeader {
    base: u32,
    stage: String,
    id: Option<String>,
    run: Option<String>,
    paths: Vec<String>,
    packages: BTreeMap<String, String>,
    objects: u64,
    digest: String,
}

fn objects_digest<'o>(objects: impl Iterator<Item = &'o BaseObject>) -> Digest {
    let mut digest = Digesting::default();
    // Nothing is written, so nothing fails.
    let _ = each_piece(objects, |piece| {
        digest.update(piece);
        Ok(())
    });
    digest.finish()
}

#[derive(Debug)]
pub struct BaseObjects {
    objects: Vec<BaseObject>,
    digest: Digest,
}

impl BaseObjects {
    pub fn new(mut objects: Vec<BaseObject>) -> Self {
        objects.sort_by(|one, other| one.path.cmp(&other.path));
        let digest = objects_digest(objects.iter());
        Self { objects, digest }
    }

    pub fn count(&self) -> u64 {
        self.objects.len() as u64
    }

    pub fn seal(&self, header: &BaseHeader) -> Digest {
        header.seal(self.count(), self.digest)
    }
}

pub fn write_base(out: &mut impl Write, header: &BaseHeader, objects: &BaseObjects) -> io::Result<()> {
    out.write_all(&header.line(objects.count(), objects.digest))?;
    each_piece(objects.objects.iter(), |piece| out.write_all(piece))
}

fn each_piece<'o>(
    objects: impl Iterator<Item = &'o BaseObject>,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut piece = Vec::with_capacity(PIECE + 4096);
    for object in objects {
        object.append_to(&mut piece);
        if piece.len() >= PIECE {
            take(&piece)?;
            piece.clear();
        }
    }
    take(&piece)
}

impl Base {
    /// Returns the digest of its objects, which is in its first line.
    pub fn digest(&self) -> Digest {
        objects_digest(self.objects.iter())
    }

    pub fn read(input: &mut impl BufRead) -> Result<Self, BaseError> {
        Ok(Self::read_with_seal(input)?.0)
    }

    pub fn read_with_seal(input: &mut impl BufRead) -> Result<(Self, Digest), BaseError> {
        let mut line = Vec::new();
        if !next_line(input, &mut line, 1)? {
            return Err(StageFileError::at(1, "its end is missing").into());
        }
        let (header, expected, digest) =
            BaseHeader::parse(&line).map_err(|reason| StageFileError::at(1, reason))?;
        if expected > MOST_OBJECTS || !is_room_for(expected.saturating_mul(LEAST_MEMORY)) {
            return Err(BaseError::TooLarge(expected));
        }
        let mut reader = BaseReader::new(&header.paths);
        let mut digesting = Digesting::default();
        loop {
            let found = reader.objects.len() as u64;
            let number = reader.objects.len() + 2;
            if !next_line(input, &mut line, number)? {
                if found < expected || !line.is_empty() {
                    return Err(BaseError::Cut { expected, found });
                }
                break;
            }
            if !rule::holds("base.objects", found < expected) {
                let reason = "there are more objects than the first line says";
                return Err(StageFileError::at(number, reason).into());
            }
            digesting.update(&line);
            digesting.update(b"\n");
            reader.take(&line).map_err(|reason| StageFileError::at(number, reason))?;
        }
        let objects = reader.objects;
        if !rule::holds("base.digest", digesting.finish() == digest) {
            return Err(BaseError::Digest);
        }
        let seal = header.seal(expected, digest);
        Ok((Self { header, objects }, seal))
    }

    pub fn object(&self, path: &ObjectPath) -> Option<&BaseObject> {
        let at = self.objects.binary_search_by(|object| object.path.cmp(path)).ok()?;
        self.objects.get(at)
    }
}

impl BaseHeader {
    /// Reads only the header of a base, and returns it with the seal. The rest is not checked.
    pub fn read(input: &mut impl BufRead) -> Result<(Self, Digest), BaseError> {
        let mut line = Vec::new();
        if !next_line(input, &mut line, 1)? {
            return Err(StageFileError::at(1, "its end is missing").into());
        }
        let (header, objects, digest) = Self::parse(&line).map_err(|reason| StageFileError::at(1, reason))?;
        let seal = header.seal(objects, digest);
        Ok((header, seal))
    }

    /// Returns the seal of a base with this header and these objects: the digest of its first line as it is without a
    /// run, because a run gets its name only after its records are written. The root of the stage records it.
    fn seal(&self, objects: u64, digest: Digest) -> Digest {
        Digest::of(&Self { promotion: None, ..self.clone() }.line(objects, digest))
    }

    fn line(&self, objects: u64, digest: Digest) -> Vec<u8> {
        let written = WrittenHeader {
            base: VERSION,
            stage: self.stage.to_string(),
            id: self.promotion.as_ref().map(|(id, _)| id.to_string()),
            run: self.promotion.as_ref().map(|(_, run)| run.clone()),
            paths: written_paths(&self.paths),
            packages: self
                .packages
                .iter()
                .map(|(name, version)| (name.to_string(), version.clone()))
                .collect(),
            objects,
            digest: format!("b3:{digest}"),
        };
        // Strings, numbers and a map with string keys: serialising these cannot fail.
        let mut line = serde_json::to_vec(&written).unwrap_or_default();
        line.push(b'\n');
        line
    }

    fn parse(line: &[u8]) -> Result<(Self, u64, Digest), String> {
        let written: WrittenHeader = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if !rule::holds("base.version", written.base == VERSION) {
            return Err("the version in `base` is not 1".to_owned());
        }
        let promotion = match (written.id, written.run) {
            (None, None) => None,
            (Some(id), Some(run)) if rule::holds("base.run", Run::is_name(&run)) => Some((patch(&id)?, run)),
            _ => return Err("`id` and `run` do not belong to a promotion".to_owned()),
        };
        let digest = written.digest.strip_prefix("b3:").and_then(Digest::from_hex);
        let packages = written
            .packages
            .into_iter()
            .map(|(name, version)| Ok((PkgInst::new(&name).map_err(|error| error.to_string())?, version)));
        let header = Self {
            stage: stage(&written.stage)?,
            promotion,
            paths: scope(&written.paths)?,
            packages: packages.collect::<Result<_, String>>()?,
        };
        Ok((header, written.objects, digest.ok_or("`digest` is not a digest")?))
    }
}

/// Returns false at the end, where `line` holds what lacks a newline.
fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>, number: usize) -> Result<bool, BaseError> {
    line.clear();
    input.take(LONGEST_LINE).read_until(b'\n', line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(true);
    }
    if line.len() as u64 == LONGEST_LINE {
        return Err(StageFileError::at(number, format!("it is longer than {LONGEST_LINE} bytes")).into());
    }
    Ok(false)
}

struct BaseReader<'a> {
    paths: &'a Scope,
    objects: Vec<BaseObject>,
    groups: HashMap<u32, usize>,
    mounts: BTreeSet<ObjectPath>,
}

impl<'a> BaseReader<'a> {
    fn new(paths: &'a Scope) -> Self {
        Self { paths, objects: Vec::new(), groups: HashMap::new(), mounts: BTreeSet::new() }
    }

    fn take(&mut self, line: &[u8]) -> Result<(), String> {
        let object = BaseObject::parse(line)?;
        let is_after = self.objects.last().is_none_or(|last| last.path < object.path);
        if !rule::holds("base.order", is_after) {
            return Err("its path does not come after the one before it".to_owned());
        }
        let is_inside = !object.path.relative().is_empty() && self.paths.contains(&object.path);
        if !rule::holds("base.scope", is_inside) {
            return Err("its path is not one of the staged paths".to_owned());
        }
        let is_below_one =
            !self.mounts.is_empty() && object.path.ancestors_bytes().any(|above| self.mounts.contains(above));
        if !rule::holds("base.mount.below", !is_below_one) {
            return Err("its path lies below a mount point".to_owned());
        }
        if !rule::holds("base.group", self.is_like_its_group(&object)) {
            return Err("it differs from the other names of the same object".to_owned());
        }
        if object.state == BaseState::Mount {
            self.mounts.insert(object.path.clone());
        }
        self.objects.push(object);
        Ok(())
    }

    fn is_like_its_group(&mut self, object: &BaseObject) -> bool {
        let Some(group) = object.object().and_then(|state| state.group) else { return true };
        let at = self.objects.len();
        let first = *self.groups.entry(group).or_insert(at);
        self.objects.get(first).is_none_or(|first| first.state == object.state)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseObject {
    pub path: ObjectPath,
    pub state: BaseState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BaseState {
    /// Objects with the same `group` are names of one object.
    Object(Box<RecordedState>),
    /// Not entered.
    Mount,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenObject<'a> {
    #[serde(borrow)]
    path: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    mount: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kind: Option<FileType>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mtime: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    b3: Option<Cow<'a, str>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    target: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device: Option<(u32, u32)>,
    #[serde(default, skip_serializing_if = "is_none_or_empty")]
    xattrs: Option<Cow<'a, BTreeMap<String, String>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<u32>,
}

#[allow(clippy::ref_option)] // serde hands down a reference to the field
fn is_none_or_empty(xattrs: &Option<Cow<'_, BTreeMap<String, String>>>) -> bool {
    xattrs.as_ref().is_none_or(|xattrs| xattrs.is_empty())
}

impl BaseObject {
    /// `None` for a mount point.
    pub fn object(&self) -> Option<&RecordedState> {
        match &self.state {
            BaseState::Object(state) => Some(state),
            BaseState::Mount => None,
        }
    }

    /// Numbers link groups after `last`, so that they differ from those of another list.
    #[must_use]
    pub fn numbered_behind(mut self, last: u32) -> Self {
        if let BaseState::Object(state) = &mut self.state {
            state.group = state.group.map(|group| group.saturating_add(last));
        }
        self
    }

    pub(super) fn parse(line: &[u8]) -> Result<Self, String> {
        let written: WrittenObject<'_> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let path = ObjectPath::new(&decode(&written.path)).map_err(|error| error.to_string())?;
        if !rule::holds("base.path", encoded(path.as_bytes()) == written.path) {
            return Err("`path` is not as this program writes it".to_owned());
        }
        let state = if written.mount {
            if !rule::holds("base.mount.bare", written.is_bare()) {
                return Err("a mount point may have only its path".to_owned());
            }
            BaseState::Mount
        } else {
            BaseState::Object(Box::new(written.state()?))
        };
        Ok(Self { path, state })
    }

    pub(super) fn append_to(&self, out: &mut Vec<u8>) {
        let mut written = WrittenObject::at(&self.path);
        match &self.state {
            BaseState::Mount => written.mount = true,
            BaseState::Object(state) => {
                written.kind = Some(state.kind);
                written.mode = Some(state.mode);
                written.uid = Some(state.uid);
                written.gid = Some(state.gid);
                written.mtime = Some(state.mtime);
                written.size = state.size;
                written.b3 = state.b3.as_deref().map(|b3| Cow::Owned(b3.to_string()));
                written.target = state.target.as_deref().map(Cow::Borrowed);
                written.device = state.device;
                written.xattrs = Some(Cow::Borrowed(&state.xattrs));
                written.group = state.group;
            }
        }
        // Strings, numbers and a map with string keys, into memory: this cannot fail.
        let _ = serde_json::to_writer(&mut *out, &written);
        out.push(b'\n');
    }
}

impl<'a> WrittenObject<'a> {
    fn at(path: &'a ObjectPath) -> Self {
        Self { path: encoded(path.as_bytes()), ..Self::default() }
    }

    fn is_bare(&self) -> bool {
        let is_attributed = self.kind.is_some()
            || self.mode.is_some()
            || self.uid.is_some()
            || self.gid.is_some()
            || self.mtime.is_some()
            || self.xattrs.is_some()
            || self.group.is_some();
        !is_attributed
            && self.size.is_none()
            && self.b3.is_none()
            && self.target.is_none()
            && self.device.is_none()
    }

    fn state(self) -> Result<RecordedState, String> {
        let (Some(kind), Some(mode), Some(uid), Some(gid), Some(mtime)) =
            (self.kind, self.mode, self.uid, self.gid, self.mtime)
        else {
            return Err("it needs `kind`, `mode`, `uid`, `gid` and `mtime`".to_owned());
        };
        let digest = self.b3.as_deref().and_then(Digest::from_hex);
        if !rule::holds("base.mode", mode <= 0o7777) {
            return Err("`mode` has bits other than permission bits".to_owned());
        }
        if !rule::holds("base.owner", uid != u32::MAX && gid != u32::MAX) {
            return Err("`uid` or `gid` is not an account".to_owned());
        }
        if !rule::holds("base.mtime", mtime.nanoseconds < 1_000_000_000) {
            return Err("`mtime` has more than a second in nanoseconds".to_owned());
        }
        if !rule::holds("base.b3", self.b3.is_none() || digest.is_some()) {
            return Err("`b3` is not a digest".to_owned());
        }
        if !rule::holds("base.kind", self.fits(kind)) {
            return Err("its fields do not match its `kind`".to_owned());
        }
        let xattrs = self.xattrs.map(Cow::into_owned).unwrap_or_default();
        if !rule::holds("base.xattrs", xattrs.values().all(|value| unhex(value).is_some())) {
            return Err("`xattrs` has a value that is not hexadecimal".to_owned());
        }
        Ok(RecordedState {
            kind,
            mode,
            uid,
            gid,
            mtime,
            size: self.size,
            b3: digest.map(|digest| Box::new(digest.into())),
            target: self.target.map(|target| target.into_owned().into()),
            device: self.device,
            xattrs,
            group: self.group,
        })
    }

    /// An object must have what its type requires, and nothing else.
    fn fits(&self, kind: FileType) -> bool {
        let is_file = kind == FileType::Regular;
        let is_link = kind == FileType::Symlink;
        let is_device = matches!(kind, FileType::Block | FileType::Character);
        let is_grouped = self.group.is_some();
        self.size.is_some() == is_file
            && self.b3.is_some() == is_file
            && self.target.is_some() == is_link
            && self.device.is_some() == is_device
            && !(is_grouped && kind == FileType::Directory)
            && kind != FileType::Socket
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::staged_path;
    use patchadm_changeset::format::manifest::RecordedState;
    use patchadm_rootfs::{FileType, Timestamp};

    use proptest::prelude::*;

    fn file(path: &str, byte: u8, group: Option<u32>) -> BaseObject {
        let state = RecordedState {
            kind: FileType::Regular,
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: Timestamp { seconds: 1_754_377_781, nanoseconds: 1 },
            size: Some(12),
            b3: Some(Box::new(Digest([byte; 32]).into())),
            target: None,
            device: None,
            xattrs: BTreeMap::new(),
            group,
        };
        let path = ObjectPath::new(path.as_bytes()).unwrap();
        BaseObject { path, state: BaseState::Object(Box::new(state)) }
    }

    fn mount(path: &str) -> BaseObject {
        BaseObject { path: ObjectPath::new(path.as_bytes()).unwrap(), state: BaseState::Mount }
    }

    fn header() -> BaseHeader {
        BaseHeader {
            stage: StageId::parse("5f0c2a9be1d47788").unwrap(),
            promotion: None,
            paths: Scope::new(vec![staged_path(b"usr/pkg").unwrap()]).unwrap(),
            packages: [(PkgInst::new("DEBopenssl").unwrap(), "3.0.15-1".to_owned())].into(),
        }
    }

    fn written(objects: &[BaseObject]) -> String {
        let mut out = Vec::new();
        // In the given order, which is not always that of a base.
        let objects = BaseObjects { objects: objects.to_vec(), digest: objects_digest(objects.iter()) };
        write_base(&mut out, &header(), &objects).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn read(text: &str) -> Result<Base, BaseError> {
        Base::read(&mut text.as_bytes())
    }

    fn objects() -> Vec<BaseObject> {
        vec![file("/usr/pkg/a", 1, Some(1)), file("/usr/pkg/b", 1, Some(1)), mount("/usr/pkg/data")]
    }

    #[test]
    fn a_base_comes_back_and_its_header_has_the_names_of_the_contract() {
        let text = written(&objects());
        let digest = objects_digest(objects().iter());
        let first = format!(
            "{{\"base\":1,\"stage\":\"5f0c2a9be1d47788\",\"id\":null,\"run\":null,\"paths\":[\"/usr/pkg\"],\
             \"packages\":{{\"DEBopenssl\":\"3.0.15-1\"}},\"objects\":3,\"digest\":\"b3:{digest}\"}}"
        );
        assert_eq!(text.lines().next().unwrap(), first);
        let (_, lines) = text.split_once('\n').unwrap();
        assert_eq!(Digest::of(lines.as_bytes()), digest);
        let base = read(&text).unwrap();
        assert_eq!((&base.header, &base.objects), (&header(), &objects()));
        let path = ObjectPath::new(b"/usr/pkg/b").unwrap();
        assert_eq!(base.object(&path).unwrap().path, path);
        let promotion = Some((PatchId::new("web-02").unwrap(), "17-9c1d6f20aa31b7e4".to_owned()));
        let later = BaseHeader { promotion, ..header() };
        let mut out = Vec::new();
        write_base(&mut out, &later, &BaseObjects::new(Vec::new())).unwrap();
        assert_eq!(Base::read(&mut &out[..]).unwrap().header, later);
    }

    #[test]
    fn the_seal_of_a_base_is_the_digest_of_its_first_line_before_a_promotion_is_named() {
        let text = written(&objects());
        let first = text.split_inclusive('\n').next().unwrap();
        let (base, seal) = Base::read_with_seal(&mut text.as_bytes()).unwrap();
        assert_eq!(seal, Digest::of(first.as_bytes()));
        assert_eq!(BaseHeader::read(&mut text.as_bytes()).unwrap(), (base.header, seal));
        let objects = BaseObjects::new(objects());
        let promotion = Some((PatchId::new("web-02").unwrap(), "17-9c1d6f20aa31b7e4".to_owned()));
        assert_eq!(objects.seal(&BaseHeader { promotion, ..header() }), seal);
        let paths = Scope::new(vec![staged_path(b"usr").unwrap()]).unwrap();
        assert_ne!(objects.seal(&BaseHeader { paths, ..header() }), seal);
    }

    #[test]
    fn a_base_cut_short_anywhere_is_damaged() {
        let text = written(&objects());
        for length in 0..text.len() {
            assert!(read(&text[..length]).is_err(), "{length}");
        }
        let lines: Vec<&str> = text.lines().collect();
        let cut = read(&format!("{}\n{}\n", lines[0], lines[1])).unwrap_err();
        assert_eq!(cut.to_string(), "it ends after 1 of 3 objects");
        let changed = read(&text.replace("\"size\":12", "\"size\":13")).unwrap_err();
        assert!(matches!(changed, BaseError::Digest));
        let more = read(&format!("{text}{}\n", lines[3].replace("data", "more"))).unwrap_err();
        assert_eq!(more.to_string(), "line 5: there are more objects than the first line says");
    }

    #[test]
    fn objects_that_no_tree_has_together_are_refused_by_their_line() {
        let mut other = file("/usr/pkg/b", 2, Some(1));
        for (objects, reason) in [
            (vec![objects().remove(1), objects().remove(0)], "does not come after"),
            (vec![objects().remove(0), objects().remove(0)], "does not come after"),
            (vec![file("/usr/a", 1, None)], "not one of the staged"),
            (vec![mount("/usr/pkg/a"), file("/usr/pkg/a/b", 1, None)], "below a mount point"),
            (
                vec![mount("/usr/pkg/a"), mount("/usr/pkg/a-"), file("/usr/pkg/a/b/c", 1, None)],
                "below a mount point",
            ),
            (vec![objects().remove(0), other.clone()], "other names of the same object"),
        ] {
            let error = read(&written(&objects)).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        other.path = ObjectPath::new(b"/usr/pkg").unwrap();
        assert!(read(&written(&[other])).is_ok(), "a staged path itself is an object");
    }

    #[test]
    fn a_base_of_many_mount_points_is_read_in_no_time() {
        let mounts: Vec<BaseObject> =
            (0..100_000).map(|number| mount(&format!("/usr/pkg/{number:06}"))).collect();
        assert_eq!(read(&written(&mounts)).unwrap().objects.len(), mounts.len());
    }

    #[test]
    fn what_no_run_writes_into_the_first_line_is_refused() {
        let text = written(&objects());
        for (old, new) in [
            ("\"base\":1", "\"base\":2"),
            ("\"id\":null", "\"id\":\"web-01\""),
            ("\"id\":null,\"run\":null", "\"id\":\"web-01\",\"run\":\"x\""),
            ("\"id\":null,\"run\":null", "\"id\":\"web\",\"run\":\"17-9c1d6f20aa31b7e4\""),
            ("5f0c2a9be1d47788", "5f"),
            ("[\"/usr/pkg\"]", "[]"),
            ("DEBopenssl", "../x"),
            ("\"digest\":\"b3:", "\"digest\":\"sha256:"),
            ("\"objects\":3", "\"objects\":8000001"),
            ("\"objects\":3", "\"objects\":18446744073709551615"),
            ("\"objects\":3", "\"objects\":2"),
            ("\"objects\":3", "\"objects\":3,\"more\":1"),
        ] {
            let changed = text.replacen(old, new, 1);
            assert!(changed != text && read(&changed).is_err(), "{new}");
        }
        let endless = format!("{{\"base\":\"{}", "x".repeat(2 << 20));
        assert!(read(&endless).unwrap_err().to_string().contains("longer than"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Base::read(&mut &bytes[..]);
        }
    }
}

#[cfg(test)]
mod base_line_tests {
    use super::*;

    const FILE: &str = "{\"path\":\"/usr/pkg/bin/a\",\"kind\":\"file\",\"mode\":493,\"uid\":0,\"gid\":0,\
        \"mtime\":{\"seconds\":1754377781,\"nanoseconds\":0},\"size\":12,\"b3\":\"@\",\"group\":1}";

    fn file() -> String {
        FILE.replace('@', &"5f".repeat(32))
    }

    #[test]
    fn a_line_has_the_names_of_the_contract_and_comes_back() {
        let device = "{\"path\":\"/dev/a%20%FF\",\"kind\":\"block\",\"mode\":384,\"uid\":1,\"gid\":2,\
            \"mtime\":{\"seconds\":-1,\"nanoseconds\":5},\"device\":[8,1],\"xattrs\":{\"user.a\":\"00ff\"}}";
        let link = "{\"path\":\"/l\",\"kind\":\"symlink\",\"mode\":511,\"uid\":0,\"gid\":0,\
            \"mtime\":{\"seconds\":1,\"nanoseconds\":0},\"target\":\"../%0A\"}";
        let device = &device.replace("%20", " ");
        for line in [&file(), device, link, "{\"path\":\"/usr/pkg/data\",\"mount\":true}"] {
            let object = BaseObject::parse(line.as_bytes()).unwrap();
            let mut written = Vec::new();
            object.append_to(&mut written);
            assert_eq!(std::str::from_utf8(&written).unwrap(), format!("{line}\n"));
        }
        assert!(BaseObject::parse(file().as_bytes()).unwrap().object().is_some());
    }

    #[test]
    fn what_no_reading_of_a_tree_writes_into_a_line_is_refused() {
        for (old, new) in [
            ("/usr/pkg/bin/a", "usr/pkg/bin/a"),
            ("/usr/pkg/bin/a", "/usr/pkg/../a"),
            ("/usr/pkg/bin/a", "/usr//pkg/bin/a"),
            ("/usr/pkg/bin/a", "/usr/pkg/bin/%61"),
            ("\"mode\":493", "\"mode\":33261"),
            ("\"uid\":0", "\"uid\":4294967295"),
            ("\"gid\":0", "\"gid\":4294967295"),
            ("\"nanoseconds\":0", "\"nanoseconds\":1000000000"),
            ("5f5f", "5fxx"),
            ("\"size\":12,", ""),
            ("\"kind\":\"file\"", "\"kind\":\"directory\""),
            ("\"kind\":\"file\"", "\"kind\":\"socket\""),
            ("\"size\":12", "\"size\":12,\"target\":\"x\""),
            ("\"size\":12", "\"size\":12,\"xattrs\":{\"user.a\":\"0\"}"),
            ("\"size\":12", "\"size\":12,\"more\":1"),
            ("\"mode\":493", "\"mount\":true,\"mode\":493"),
            ("\"uid\":0,", ""),
        ] {
            let line = file().replacen(old, new, 1);
            assert!(line != file() && BaseObject::parse(line.as_bytes()).is_err(), "{new}");
        }
    }
}
