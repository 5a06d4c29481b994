//! pkgmap(4): the list of the objects and information files that a package delivers.
//!
//! Writes the form of pkgmk(1) byte for byte, without comments. A path may occur only once. Paths and targets that the
//! classic format cannot express have `\ooo` escapes ([`escape`](crate::package::escape)). Variables stay as they are.
//!
//! ```
//! use patchadm_svr4::format::pkgmap::{Pkgmap, PkgmapError};
//!
//! let text = b": 1 2\n1 d none bin 0755 root root\n1 f none bin/hello 0755 root root 12 1030 1600000000\n";
//! let map = Pkgmap::parse(text)?;
//! assert_eq!(map.entries[1].path.to_string(), "bin/hello");
//! assert_eq!(map.entries[1].object.content.size, Some(12));
//! assert_eq!(map.write(), text);
//! # Ok::<(), PkgmapError>(())
//! ```

use crate::package::{Ftype, Object, PackagePath, is_room_for};

use super::FieldError;
use super::fields::{self, Fields};
use super::lines::{LineTooLong, numbered_lines};

/// The largest number of entries in a pkgmap.
pub const MOST_ENTRIES: usize = 8_000_000;

/// Memory of an entry besides the bytes of its line: the value and the overhead of its allocations.
const ROOM_PER_ENTRY: usize = size_of::<PkgmapEntry>() + 4 * 32 + 8;

/// A pkgmap file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pkgmap {
    /// The number of parts (volumes), at least 1.
    pub parts: u32,
    /// The space that the largest part needs, in blocks of 512 bytes.
    pub max_blocks: u64,
    /// The space for compressed class archives; only old media have this field.
    pub compressed_blocks: Option<u64>,
    /// The entries, in the order of the file.
    pub entries: Vec<PkgmapEntry>,
}

/// One object or information file of a pkgmap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PkgmapEntry {
    /// The part that contains it, counted from 1.
    pub part: u32,
    /// The path as the package writes it; for an information file its name, without a `/`.
    pub path: PackagePath,
    /// Type, class, attributes and content.
    pub object: Object,
}

/// The reason a pkgmap cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PkgmapError {
    /// A first line other than `: parts blocks [compressed blocks]`.
    #[error("line 1: not the `: <parts> <blocks>` line that begins a pkgmap")]
    FirstLine,
    /// A malformed entry.
    #[error("line {line}: {error}")]
    Entry {
        /// The line number, counted from 1.
        line: u64,
        /// The fault in the entry's fields.
        error: FieldError,
    },
    /// Two entries with the same path after normalisation.
    #[error("line {line}: path <{path}> is already on line {first}")]
    Duplicate {
        /// The number of the later line.
        line: u64,
        /// The number of the earlier line.
        first: u64,
        /// The path of both entries.
        path: PackagePath,
    },
    /// More entries than [`MOST_ENTRIES`].
    #[error("more than {MOST_ENTRIES} entries")]
    TooMany,
    /// Not enough memory for this number of entries.
    #[error("not enough memory for {0} entries")]
    NoRoom(usize),
    /// A line longer than [`LONGEST_LINE`](super::LONGEST_LINE).
    #[error(transparent)]
    LineTooLong(#[from] LineTooLong),
}

impl Pkgmap {
    /// Parses a whole pkgmap.
    pub fn parse(text: &[u8]) -> Result<Self, PkgmapError> {
        let (_, first) = numbered_lines(text).next().ok_or(PkgmapError::FirstLine)??;
        let mut map = parse_first_line(first).ok_or(PkgmapError::FirstLine)?;
        // Counted first, so that an endless list costs nothing.
        let (mut count, mut room) = (0, 0);
        for (_, content) in entry_lines(text).filter_map(Result::ok) {
            count += 1;
            room += (ROOM_PER_ENTRY + content.len()) as u64;
            if count > MOST_ENTRIES {
                return Err(PkgmapError::TooMany);
            }
        }
        if !is_room_for(room) {
            return Err(PkgmapError::NoRoom(count));
        }
        map.entries.reserve_exact(count);
        for line in entry_lines(text) {
            let (line, content) = line?;
            let entry =
                PkgmapEntry::parse(content, map.parts).map_err(|error| PkgmapError::Entry { line, error })?;
            map.entries.push(entry);
        }
        refuse_duplicates(&map.entries, text)?;
        Ok(map)
    }

    /// Formats the file as pkgmk does, with the entries in order.
    pub fn write(&self) -> Vec<u8> {
        self.write_with(&self.entries)
    }

    /// Formats the file like [`write`](Self::write), with other entries.
    pub fn write_with<'e>(&self, entries: impl IntoIterator<Item = &'e PkgmapEntry>) -> Vec<u8> {
        let mut out = format!(": {} {}", self.parts, self.max_blocks).into_bytes();
        if let Some(blocks) = self.compressed_blocks {
            out.extend_from_slice(format!(" {blocks}").as_bytes());
        }
        out.push(b'\n');
        for entry in entries {
            entry.write_to(&mut out);
            out.push(b'\n');
        }
        out
    }
}

impl PkgmapEntry {
    fn parse(line: &[u8], parts: u32) -> Result<Self, FieldError> {
        let mut fields = Fields::new(line);
        let part = match fields.take_number() {
            // A part that is missing or 0 is the first one.
            Some(digits) => fields::number(digits, u64::from(parts))
                .and_then(|part| u32::try_from(part.max(1)).ok())
                .ok_or(FieldError::Volume)?,
            None => 1,
        };
        let ftype = fields.ftype()?;
        let class = if ftype == Ftype::Information { "" } else { fields.class()? };
        let (path, target) = fields.path_and_target()?;
        let mut object = Object::new(ftype, class);
        object.target = fields::target(ftype, target)?;
        if ftype == Ftype::Information {
            if path.contains(&b'/') {
                return Err(FieldError::InformationName);
            }
            // The manual allows an owner and a group here, which no reader uses.
            if fields.peek().is_some() {
                object.content = fields.content()?;
            }
        } else {
            fields.details(&mut object)?;
            fields.end()?;
        }
        Ok(Self { part, path: PackagePath::new(&path)?, object })
    }

    fn write_to(&self, out: &mut Vec<u8>) {
        let object = &self.object;
        out.extend_from_slice(self.part.to_string().as_bytes());
        out.extend_from_slice(&[b' ', object.ftype.letter(), b' ']);
        let information = object.ftype == Ftype::Information;
        if !information {
            out.extend_from_slice(object.class.as_bytes());
            out.push(b' ');
        }
        fields::write_path(out, self.path.as_bytes(), object.target.as_ref());
        if !information {
            fields::write_details(out, object);
        } else if object.content != crate::package::ContentInfo::default() {
            fields::write_content(out, object.content);
        }
    }

    /// Returns true if the entry is an information file (`i`) and not an object.
    pub fn is_information(&self) -> bool {
        self.object.ftype == Ftype::Information
    }

    /// Returns the place of its content in a package directory: `pkginfo` and `install/…`, or that of [`member_name`].
    pub fn member_name(&self) -> Vec<u8> {
        match self.path.as_bytes() {
            b"pkginfo" if self.is_information() => b"pkginfo".to_vec(),
            name if self.is_information() => [b"install/", name].concat(),
            _ => member_name(&self.path),
        }
    }
}

fn entry_lines(text: &[u8]) -> impl Iterator<Item = Result<(u64, &[u8]), LineTooLong>> {
    numbered_lines(text).skip(1).filter(|line| !line.as_ref().is_ok_and(|(_, content)| is_comment(content)))
}

fn is_comment(line: &[u8]) -> bool {
    line.iter().find(|byte| !fields::is_blank(**byte)).is_none_or(|byte| b":#".contains(byte))
}

fn parse_first_line(line: &[u8]) -> Option<Pkgmap> {
    let mut fields = Fields::new(line.strip_prefix(b":")?);
    let parts = u32::try_from(fields::number(fields.next()?, u64::MAX)?).ok()?.max(1);
    let max_blocks = fields::number(fields.next()?, u64::MAX)?;
    let compressed_blocks = match fields.next() {
        Some(digits) => Some(fields::number(digits, u64::MAX)?),
        None => None,
    };
    fields.end().ok()?;
    Some(Pkgmap { parts, max_blocks, compressed_blocks, entries: Vec::new() })
}

/// Refuses two entries with one path. Information files have their own name space, so `pkginfo` may occur twice.
fn refuse_duplicates(entries: &[PkgmapEntry], text: &[u8]) -> Result<(), PkgmapError> {
    let key = |at: &u32| entries.get(*at as usize).map(|entry| (entry.is_information(), &entry.path));
    // Most lists are in this order already; equal names keep theirs.
    let mut order: Vec<u32> = (0..).take(entries.len()).collect();
    order.sort_by(|one, other| key(one).cmp(&key(other)));
    let pairs = order.iter().zip(order.iter().skip(1));
    let again = pairs.filter(|(one, other)| key(one) == key(other)).min_by_key(|(_, other)| **other);
    let Some((&first, &later)) = again else { return Ok(()) };
    let line_of = |at: u32| entry_lines(text).nth(at as usize)?.ok().map(|(line, _)| line);
    let Some(entry) = entries.get(later as usize) else { return Ok(()) };
    let (line, first) = (line_of(later).unwrap_or_default(), line_of(first).unwrap_or_default());
    Err(PkgmapError::Duplicate { line, first, path: entry.path.clone() })
}

/// Returns the place of an object's content in a package directory: `root/…` for an absolute path, otherwise `reloc/…`.
pub fn member_name(path: &PackagePath) -> Vec<u8> {
    let place: &[u8] = if path.is_absolute() { b"root" } else { b"reloc/" };
    [place, path.as_bytes()].concat()
}

#[cfg(test)]
pub(super) mod tests;
