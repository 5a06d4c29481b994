//! A source that is a tar archive, read from beginning to end.
//!
//! The supported forms are the seventh edition's form, ustar, GNU long names and pax names. The records that carry long
//! names are read here, with a limit, because the tar crate reads them whole, regardless of the size that they claim. A
//! pax record that gives a member another size than its header is refused: readers that disagree about it see different
//! archives (CVE-2025-62518).

use std::io::{self, Read};

use tar::{Archive, EntryType, PaxExtensions};

use super::SourceError;
use super::error::SourceProblem;
use super::member::{Kind, MemberStamp, SourceMember, Visit, check_target, checked_name};

/// The longest record before a member: names and other contents of pax headers.
const LONGEST_RECORD: u64 = 1 << 20;

/// The most bytes after the end mark: padding, skipped so that a compression around the archive is checked to its end.
const PADDING: u64 = 16 << 20;

/// The information on a member from the records before it.
#[derive(Default)]
struct Announced {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

/// Gives each member.
pub(super) fn walk<E: From<SourceError>>(
    input: Box<dyn Read + '_>,
    visit: &mut Visit<'_, E>,
    fail: &dyn Fn(SourceProblem) -> SourceError,
) -> Result<(), E> {
    let broken = |error| fail(SourceProblem::of_archive(error));
    let mut archive = Archive::new(input);
    let mut announced = Announced::default();
    for entry in archive.entries().map_err(broken)?.raw(true) {
        let mut entry = entry.map_err(broken)?;
        let record = entry.header().entry_type();
        match record {
            EntryType::GNULongName => announced.name = Some(text(&mut entry).map_err(fail)?),
            EntryType::GNULongLink => announced.link = Some(text(&mut entry).map_err(fail)?),
            EntryType::XHeader => announced.read_pax(&mut entry).map_err(fail)?,
            EntryType::XGlobalHeader => {}
            _ => {
                let announced = std::mem::take(&mut announced);
                let size = entry.size();
                if announced.size.is_some_and(|other| other != size) {
                    let reason = "a pax record gives a member another size than its header".to_owned();
                    return Err(fail(SourceProblem::BadForm(reason)).into());
                }
                let name = announced.name.unwrap_or_else(|| entry.header().path_bytes().into_owned());
                let link = announced.link.or_else(|| entry.header().link_name_bytes().map(Into::into));
                let stamp = stamp(entry.header());
                if let Some(member) = member(&name, link, record, size, stamp).map_err(fail)? {
                    visit(&member, &mut entry)?;
                }
            }
        }
    }
    io::copy(&mut archive.into_inner().take(PADDING), &mut io::sink()).map_err(broken)?;
    Ok(())
}

fn member(
    name: &[u8],
    link: Option<Vec<u8>>,
    entry_type: EntryType,
    size: u64,
    stamp: MemberStamp,
) -> Result<Option<SourceMember>, SourceProblem> {
    let Some(path) = checked_name(name)? else { return Ok(None) };
    let link = link.unwrap_or_default();
    let kind = match entry_type {
        // Before ustar a directory was a file whose name ends in a slash.
        EntryType::Regular | EntryType::Continuous if name.ends_with(b"/") => Kind::Directory,
        EntryType::Regular | EntryType::Continuous => Kind::File,
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => {
            check_target(&path, &link)?;
            Kind::Symlink
        }
        EntryType::Link => match checked_name(&link)? {
            Some(target) => Kind::HardLink(target),
            None => Kind::Other,
        },
        _ => Kind::Other,
    };
    let size = if kind == Kind::File { size } else { 0 };
    Ok(Some(SourceMember { path, kind, size, group: None, stamp }))
}

fn stamp(header: &tar::Header) -> MemberStamp {
    let mtime = header.mtime().ok().and_then(|mtime| i64::try_from(mtime).ok());
    MemberStamp {
        mode: header.mode().unwrap_or(MemberStamp::UNKNOWN.mode) & 0o7777,
        mtime: mtime.unwrap_or(MemberStamp::UNKNOWN.mtime),
    }
}

fn record(entry: &mut impl Read) -> Result<Vec<u8>, SourceProblem> {
    let mut data = Vec::new();
    entry.take(LONGEST_RECORD + 1).read_to_end(&mut data).map_err(SourceProblem::of_archive)?;
    if data.len() as u64 > LONGEST_RECORD {
        return Err(SourceProblem::BadForm("a record before a member is longer than 1 MiB".to_owned()));
    }
    Ok(data)
}

/// Returns a record that is one name, ended by NUL.
fn text(entry: &mut impl Read) -> Result<Vec<u8>, SourceProblem> {
    let mut data = record(entry)?;
    while data.last() == Some(&0) {
        data.pop();
    }
    Ok(data)
}

impl Announced {
    fn read_pax(&mut self, entry: &mut impl Read) -> Result<(), SourceProblem> {
        let data = record(entry)?;
        for extension in PaxExtensions::new(&data) {
            let extension = extension.map_err(SourceProblem::of_archive)?;
            let value = extension.value_bytes();
            match extension.key_bytes() {
                b"path" => self.name = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
                    let bad =
                        || SourceProblem::BadForm("the size in a pax record is not a number".to_owned());
                    self.size = Some(size.ok_or_else(bad)?);
                }
                _ => {}
            }
        }
        Ok(())
    }
}
