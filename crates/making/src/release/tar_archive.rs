//! Tar archives, as operands and inside Debian packages.
//!
//! Supports the seventh edition's form, ustar, GNU long names and pax records: names, times, owners, extended
//! attributes (`SCHILY.xattr.`). Refuses sparse files, access control lists as text, and other extensions. An archive
//! without zero blocks at its end is truncated.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};
use std::ops::ControlFlow;

use tar::{Archive, EntryType, Header};

use super::archive::{
    ArchiveContents, ContentVisit, FilePart, NumberedContents, ObjectCollector, content_of, read_limited,
};
use super::{ReleaseProblem, is_kept_attribute};
use patchadm_container::{ContainerFormat, open_container};
use patchadm_releases::{Device, ObjectOwner, ReleaseObject, ReleaseObjectKind, Upkeep};
use patchadm_rootfs::{Digest, Sums, Timestamp};
use patchadm_svr4::package::{Mode, ObjectPath, Word};

const LONGEST_RECORD: u64 = 1 << 20;

/// Padding after the end mark is read so that a compression around the archive is checked to its end.
const PADDING: u64 = 16 << 20;

const BUFFER: usize = 1 << 16;

pub(super) struct TarPart(pub(super) FilePart);

struct TarMember {
    object: ReleaseObject,
    kind: TarKind,
}

enum TarKind {
    File,
    Link(ObjectPath),
    Other,
}

type TarVisit<'a> = dyn FnMut(TarMember, &mut dyn Read) -> Result<ControlFlow<()>, ReleaseProblem> + 'a;

impl TarPart {
    pub(super) fn list(self) -> Result<(Vec<ReleaseObject>, ArchiveContents<Self>), ReleaseProblem> {
        let mut collector = ObjectCollector::default();
        let mut buffer = vec![0; BUFFER];
        self.walk(&mut |member, data| {
            let TarMember { mut object, kind } = member;
            match kind {
                TarKind::Other => collector.add(object)?,
                TarKind::Link(target) => collector.add_link(object, target)?,
                TarKind::File => {
                    let sums = Sums::through(&mut buffer, data).map_err(ReleaseProblem::of_archive)?;
                    let upkeep = Upkeep::default();
                    object.kind = ReleaseObjectKind::File { content: content_of(sums), upkeep, links: None };
                    collector.add_files([object])?;
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let (objects, names) = collector.finish()?;
        Ok((objects, ArchiveContents { archive: self, names }))
    }

    fn walk(&self, visit: &mut TarVisit<'_>) -> Result<(), ReleaseProblem> {
        let opened = open_container(self.0.reader()).map_err(ReleaseProblem::of_archive)?;
        match opened.form {
            ContainerFormat::Tar => walk_members(opened.reader, visit),
            ContainerFormat::Unsupported(what) => {
                Err(ReleaseProblem::Unsupported(format!("{what} compression")))
            }
            _ => Err(ReleaseProblem::bad("it is not a tar archive")),
        }
    }

    pub(super) fn each_file(
        &self,
        visit: &mut dyn FnMut(&ObjectPath, &mut dyn Read) -> Result<(), ReleaseProblem>,
    ) -> Result<(), ReleaseProblem> {
        self.walk(&mut |member, data| {
            if matches!(member.kind, TarKind::File) {
                visit(&member.object.path, data)?;
            }
            Ok(ControlFlow::Continue(()))
        })
    }
}

impl NumberedContents for TarPart {
    fn each_content(&self, visit: &mut ContentVisit<'_>) -> Result<(), ReleaseProblem> {
        let mut number = 0;
        self.walk(&mut |member, data| {
            if !matches!(member.kind, TarKind::File) {
                return Ok(ControlFlow::Continue(()));
            }
            number += 1;
            Ok(visit(number - 1, data))
        })
    }
}

fn walk_members(input: Box<dyn Read + '_>, visit: &mut TarVisit<'_>) -> Result<(), ReleaseProblem> {
    let input = ZeroTail { inner: BufReader::with_capacity(BUFFER, input), zeros: 0 };
    let mut archive = Archive::new(input);
    let mut records = PaxRecords::default();
    for entry in archive.entries().map_err(ReleaseProblem::of_archive)?.raw(true) {
        let mut entry = entry.map_err(ReleaseProblem::of_archive)?;
        let kind = entry.header().entry_type();
        let mut record = || read_limited(&mut entry, LONGEST_RECORD, "a record before a member");
        match kind {
            EntryType::GNULongName => records.path = Some(without_nuls(record()?)),
            EntryType::GNULongLink => records.link = Some(without_nuls(record()?)),
            EntryType::XHeader => records.read(&record()?)?,
            EntryType::XGlobalHeader => {}
            _ => {
                let records = std::mem::take(&mut records);
                let header = entry.header().clone();
                if let Some(member) = member(&header, records)?
                    && visit(member, &mut entry)?.is_break()
                {
                    return Ok(());
                }
            }
        }
    }
    let mut rest = archive.into_inner();
    io::copy(&mut (&mut rest).take(PADDING), &mut io::sink()).map_err(ReleaseProblem::of_archive)?;
    if rest.zeros < 512 {
        return Err(ReleaseProblem::bad("archive is damaged: it is cut before its end mark"));
    }
    Ok(())
}

fn without_nuls(mut name: Vec<u8>) -> Vec<u8> {
    while name.last() == Some(&0) {
        name.pop();
    }
    name
}

fn member(header: &Header, records: PaxRecords) -> Result<Option<TarMember>, ReleaseProblem> {
    let name = records.path.clone().unwrap_or_else(|| header.path_bytes().into_owned());
    let link = records.link.clone().or_else(|| header.link_name_bytes().map(Into::into)).unwrap_or_default();
    let size = header.entry_size().map_err(|error| damaged(&error))?;
    // Readers that disagree about a size see different archives (CVE-2025-62518).
    if records.size.is_some_and(|other| other != size) {
        return Err(ReleaseProblem::bad("a pax record gives a member a different size from its header"));
    }
    let Some(path) = member_path(&name)? else { return Ok(None) };
    let (kind, object) = kinds(header, (&name, &path), link)?;
    let seconds = header.mtime().map_err(|error| damaged(&error))?;
    let object = ReleaseObject {
        path,
        kind: object,
        mode: Mode::of(header.mode().map_err(|error| damaged(&error))?),
        owner: owner(records.user, header.username_bytes(), records.uid.or(header.uid().ok())),
        group: owner(records.group, header.groupname_bytes(), records.gid.or(header.gid().ok())),
        // Times before 1970 are two's complement.
        mtime: records.mtime.unwrap_or(Timestamp::whole(seconds.cast_signed())),
        xattrs: records.xattrs,
        class: Word::default(),
    };
    Ok(Some(TarMember { object, kind }))
}

fn kinds(
    header: &Header,
    (name, path): (&[u8], &ObjectPath),
    link: Vec<u8>,
) -> Result<(TarKind, ReleaseObjectKind), ReleaseProblem> {
    let device =
        |word: io::Result<Option<u32>>| word.map(Option::unwrap_or_default).map_err(|error| damaged(&error));
    let device = || {
        Ok::<_, ReleaseProblem>(Device {
            major: device(header.device_major())?,
            minor: device(header.device_minor())?,
        })
    };
    let nothing =
        ReleaseObjectKind::File { content: content_of(NOTHING), upkeep: Upkeep::default(), links: None };
    let directory = ReleaseObjectKind::Directory { exclusive: false };
    Ok(match header.entry_type() {
        // Before ustar a directory was a file whose name ends in a slash.
        EntryType::Regular | EntryType::Continuous if name.ends_with(b"/") => (TarKind::Other, directory),
        EntryType::Regular | EntryType::Continuous => (TarKind::File, nothing),
        EntryType::Directory => (TarKind::Other, directory),
        EntryType::Symlink => (TarKind::Other, ReleaseObjectKind::Symlink(link)),
        EntryType::Link if header.entry_size().map_err(|error| damaged(&error))? > 0 => {
            return Err(ReleaseProblem::Unsupported(format!(
                "<{path}>, a hard link with content of its own"
            )));
        }
        EntryType::Link => {
            let Some(target) = member_path(&link)? else {
                return Err(ReleaseProblem::bad(format!("<{path}> is a hard link to a directory")));
            };
            (TarKind::Link(target), nothing)
        }
        EntryType::Fifo => (TarKind::Other, ReleaseObjectKind::Pipe),
        EntryType::Block => (TarKind::Other, ReleaseObjectKind::Block(device()?)),
        EntryType::Char => (TarKind::Other, ReleaseObjectKind::Character(device()?)),
        EntryType::GNUSparse => {
            return Err(ReleaseProblem::Unsupported(format!("<{path}>, a sparse file in a tar archive")));
        }
        other => {
            let letter = char::from(other.as_byte()).escape_default();
            return Err(ReleaseProblem::Unsupported(format!("<{path}>, a tar member of type {letter}")));
        }
    })
}

fn damaged(error: &io::Error) -> ReleaseProblem {
    ReleaseProblem::BadForm(format!("archive is damaged: {error}"))
}

const NOTHING: Sums = Sums { size: 0, cksum: 0, b3: Digest([0; 32]) };

fn owner(record: Option<Vec<u8>>, name: Option<&[u8]>, id: Option<u64>) -> ObjectOwner {
    let name = record.or_else(|| name.map(<[u8]>::to_vec)).unwrap_or_default();
    let name = std::str::from_utf8(&name).ok().filter(|name| !name.is_empty()).map(Word::from);
    ObjectOwner { name, id: id.and_then(|id| u32::try_from(id).ok()) }
}

pub(super) fn member_path(name: &[u8]) -> Result<Option<ObjectPath>, ReleaseProblem> {
    let refused = |reason: &str| {
        let shown = name.get(..200).unwrap_or(name).escape_ascii().to_string();
        Err(ReleaseProblem::Unsafe { member: shown, reason: reason.to_owned() })
    };
    if name.is_empty() || name.first() == Some(&b'/') {
        return refused(if name.is_empty() { "has no name" } else { "has an absolute name" });
    }
    match ObjectPath::new(&[b"/", name].concat()) {
        Ok(path) if path.relative().is_empty() => Ok(None),
        Ok(path) => Ok(Some(path)),
        Err(error) => refused(error.reason),
    }
}

/// Counts the zero bytes before the current position.
struct ZeroTail<R> {
    inner: R,
    zeros: u64,
}

impl<R: Read> Read for ZeroTail<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let read = buffer.get(..count).unwrap_or_default();
        let zeros = read.iter().rev().take_while(|&&byte| byte == 0).count();
        self.zeros = if zeros == count { self.zeros + count as u64 } else { zeros as u64 };
        Ok(count)
    }
}

const XATTR: &[u8] = b"SCHILY.xattr.";

/// `XATTR_NAME_MAX` of Linux.
const LONGEST_NAME: usize = 255;

/// `XATTR_SIZE_MAX` of Linux.
const LONGEST_VALUE: usize = 64 << 10;

/// As Linux can list: a name has six bytes or more in a list of 64 KiB.
const MOST_ATTRIBUTES: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct PaxRecords {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) mtime: Option<Timestamp>,
    pub(super) user: Option<Vec<u8>>,
    pub(super) group: Option<Vec<u8>>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    /// Only those of objects.
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl PaxRecords {
    /// Parses repeated `LENGTH KEY=VALUE` and newline. Values may contain newlines.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Result<(), ReleaseProblem> {
        while !bytes.is_empty() {
            let (record, rest) =
                split(bytes).ok_or_else(|| ReleaseProblem::bad("archive is damaged: bad pax record"))?;
            let equals = record.iter().position(|&byte| byte == b'=');
            let equals = equals.ok_or_else(|| ReleaseProblem::bad("archive is damaged: bad pax record"))?;
            let (key, value) = record.split_at(equals);
            self.take(key, value.strip_prefix(b"=").unwrap_or_default())?;
            bytes = rest;
        }
        Ok(())
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), ReleaseProblem> {
        let damaged =
            || ReleaseProblem::bad(format!("archive is damaged: bad pax record {}", key.escape_ascii()));
        let number =
            || std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or_else(damaged);
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(number()?),
            b"mtime" => self.mtime = Some(time(value).ok_or_else(damaged)?),
            b"uname" => self.user = Some(value.to_vec()),
            b"gname" => self.group = Some(value.to_vec()),
            b"uid" => self.uid = Some(number()?),
            b"gid" => self.gid = Some(number()?),
            _ if key.starts_with(b"GNU.sparse.") => {
                return Err(ReleaseProblem::Unsupported("a sparse file in a tar archive".to_owned()));
            }
            _ if key.starts_with(b"SCHILY.acl.") => {
                return Err(ReleaseProblem::Unsupported(
                    "an access control list as text in a tar archive".to_owned(),
                ));
            }
            _ => {
                if let Some(name) = key.strip_prefix(XATTR).filter(|name| is_kept_attribute(name)) {
                    self.add_attribute(name, value)?;
                }
            }
        }
        Ok(())
    }

    fn add_attribute(&mut self, name: &[u8], value: &[u8]) -> Result<(), ReleaseProblem> {
        if name.len() > LONGEST_NAME || value.len() > LONGEST_VALUE {
            let reason = format!("an extended attribute is longer than Linux allows ({LONGEST_VALUE} bytes)");
            return Err(ReleaseProblem::BadForm(reason));
        }
        self.xattrs.insert(name.to_vec(), value.to_vec());
        if self.xattrs.len() > MOST_ATTRIBUTES {
            let reason = format!("a member has more than {MOST_ATTRIBUTES} extended attributes");
            return Err(ReleaseProblem::BadForm(reason));
        }
        Ok(())
    }
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = bytes.iter().take(20).position(|&byte| byte == b' ')?;
    let length: usize = std::str::from_utf8(bytes.get(..blank)?).ok()?.parse().ok()?;
    let record = bytes.get(blank + 1..length)?.strip_suffix(b"\n")?;
    Some((record, bytes.get(length..)?))
}

fn time(value: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let digits = fraction.get(..9).unwrap_or(fraction);
    let nanoseconds: u32 = format!("{digits:0<9}").parse().ok()?;
    if whole.starts_with('-') && nanoseconds > 0 {
        return Some(Timestamp { seconds: seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds });
    }
    Some(Timestamp { seconds, nanoseconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_may_hold_any_byte() {
        let mut records = PaxRecords::default();
        records.read(b"26 SCHILY.xattr.user.a=\nx\n30 mtime=1600000000.123456789\n").unwrap();
        assert_eq!(records.xattrs, BTreeMap::from([(b"user.a".to_vec(), b"\nx".to_vec())]));
        assert_eq!(records.mtime, Some(Timestamp { seconds: 1_600_000_000, nanoseconds: 123_456_789 }));
    }

    #[test]
    fn times_are_exact_and_may_be_before_1970() {
        assert_eq!(time(b"-1.25"), Some(Timestamp { seconds: -2, nanoseconds: 750_000_000 }));
        assert_eq!(time(b"7"), Some(Timestamp { seconds: 7, nanoseconds: 0 }));
        for bad in [&b"x"[..], b"1.x", b"", b"1.-5"] {
            assert_eq!(time(bad), None);
        }
    }

    fn record(name: &str, value: &[u8]) -> Vec<u8> {
        let rest = [b" SCHILY.xattr.", name.as_bytes(), b"=", value, b"\n"].concat();
        // The length counts itself.
        let length = (0..1 << 20).find(|length| length.to_string().len() + rest.len() == *length).unwrap();
        [length.to_string().into_bytes(), rest].concat()
    }

    #[test]
    fn attributes_that_linux_could_not_hold_are_refused() {
        let read = |name: &str, value: &[u8]| PaxRecords::default().read(&record(name, value));
        read("user.a", &vec![7; LONGEST_VALUE]).unwrap();
        let told = "an extended attribute is longer than Linux allows (65536 bytes)";
        assert_eq!(read("user.a", &vec![7; LONGEST_VALUE + 1]).unwrap_err().to_string(), told);
        assert!(read(&format!("user.{}", "a".repeat(251)), b"").is_err());
        read("security.selinux", &vec![7; LONGEST_VALUE + 1]).unwrap();
        let mut records = PaxRecords::default();
        let refused =
            (0..=MOST_ATTRIBUTES).find(|n| records.read(&record(&format!("user.{n}"), b"")).is_err());
        assert_eq!(refused, Some(MOST_ATTRIBUTES), "also in records one after the other");
    }

    #[test]
    fn lengths_that_lie_are_errors() {
        for bad in [&b"5 a=b\n"[..], b"99 a=b\n", b"a=b\n", b"0 \n", b"3 \n", b"18446744073709551615 a=b\n"] {
            assert!(PaxRecords::default().read(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
