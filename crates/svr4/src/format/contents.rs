//! contents(4): the database of installed objects, one line per path.
//!
//! Reads and writes single lines ([`Line`]), streams a whole file ([`Reader`]), and finds the path of a line
//! without reading the rest of it ([`path_of`], [`key_of`]), so that a scan of 400,000 lines parses only the few
//! that it wants. Changing a file is [`contents_merge`](super::contents_merge)'s work. White space, `=` and
//! backslashes in paths and targets are `\ooo` escapes, as in a pkgmap.

use std::borrow::Cow;
use std::io::{self, BufRead};

use crate::package::{Ftype, Line, Object, ObjectPath, Owner, OwnerStatus, PkgInst, unescape};

use super::FieldError;
use super::fields::{self, Fields, is_blank};
use super::lines::{Found, LineTooLong, read_line};

/// Why a database cannot be read or merged.
#[derive(Debug, thiserror::Error)]
pub enum ContentsError {
    /// A line is no object.
    #[error("line {line}: {error}")]
    Line {
        /// Its number; the first is 1.
        line: u64,
        /// What is wrong.
        error: FieldError,
    },
    /// A line is too long.
    #[error(transparent)]
    LineTooLong(#[from] LineTooLong),
    /// A line belongs before the one above it; what was written so far is of no use.
    #[error("line {line}: the database is not sorted by path")]
    Unsorted {
        /// Its number; the first is 1.
        line: u64,
    },
    /// More lines than are sorted in memory.
    #[error("line {line}: too many lines to sort")]
    TooMany {
        /// Where the limit was passed.
        line: u64,
    },
    /// The database could not be read or the new one not written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Line {
    /// Reads one line, without its newline.
    pub fn parse(line: &[u8]) -> Result<Self, FieldError> {
        let mut fields = Fields::of(line);
        let (path, target) = fields.path_and_target()?;
        let volume = match fields.take_number() {
            Some(digits) => Some(
                fields::number(digits, u64::from(u32::MAX))
                    .and_then(|volume| u32::try_from(volume).ok())
                    .ok_or(FieldError::Volume)?,
            ),
            None => None,
        };
        let ftype = fields.ftype()?;
        if ftype == Ftype::Information {
            return Err(FieldError::Ftype);
        }
        let mut object = Object::new(ftype, &fields.class()?);
        object.target = fields::target(ftype, target)?;
        fields.details(&mut object)?;
        let owners = fields.map(parse_owner).collect::<Result<Vec<_>, _>>()?;
        if owners.is_empty() {
            return Err(FieldError::Package);
        }
        Ok(Self { path: ObjectPath::new(&path)?, volume, object, owners })
    }

    /// The line, without its newline.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        fields::write_path(&mut out, self.path.as_bytes(), self.object.target.as_ref());
        if let Some(volume) = self.volume {
            out.extend_from_slice(format!(" {volume}").as_bytes());
        }
        out.extend_from_slice(&[b' ', self.object.ftype.letter(), b' ']);
        out.extend_from_slice(self.object.class.as_bytes());
        fields::write_details(&mut out, &self.object);
        for owner in &self.owners {
            out.push(b' ');
            write_owner(&mut out, owner);
        }
        out
    }

    /// Takes over the owners of another line of the same path that this one lacks. Two lines of one path are a
    /// damaged database: what the first says about the object counts, but nobody who owns it is forgotten.
    pub fn adopt_owners(&mut self, later: Self) {
        for owner in later.owners {
            if self.owners.iter().all(|known| known.package != owner.package) {
                self.owners.push(owner);
            }
        }
    }
}

/// Reads `[status]package[\][:class]`.
fn parse_owner(field: &[u8]) -> Result<Owner, FieldError> {
    let status = field.first().copied().and_then(OwnerStatus::from_letter);
    let rest = if status.is_some() { field.get(1..).unwrap_or_default() } else { field };
    let (name, class) = match rest.iter().position(|&byte| byte == b':') {
        Some(at) => (&rest[..at], Some(fields::class(&rest[at + 1..])?)),
        None => (rest, None),
    };
    let (name, alternate) = match name.strip_suffix(b"\\") {
        Some(name) => (name, true),
        None => (name, false),
    };
    let package = std::str::from_utf8(name).ok().and_then(|name| PkgInst::new(name).ok());
    Ok(Owner { status, package: package.ok_or(FieldError::Package)?, alternate, class })
}

fn write_owner(out: &mut Vec<u8>, owner: &Owner) {
    out.extend(owner.status.map(OwnerStatus::letter));
    out.extend_from_slice(owner.package.as_str().as_bytes());
    if owner.alternate {
        out.push(b'\\');
    }
    if let Some(class) = &owner.class {
        out.push(b':');
        out.extend_from_slice(class.as_bytes());
    }
}

/// The path of a line as it stands there, escapes and all, without the target of a link. Cheap: it looks at no
/// other field. Empty for a blank line; a comment gives its first word.
pub fn path_of(line: &[u8]) -> &[u8] {
    let start = line.iter().position(|&byte| !is_blank(byte)).unwrap_or(line.len());
    let path = &line[start..];
    let end = path.iter().position(|&byte| byte == b'=' || is_blank(byte)).unwrap_or(path.len());
    &path[..end]
}

/// The path of a line as it compares: without escapes, and normalised as an [`ObjectPath`] is. The file is sorted
/// by the bytes of this key. A path that is none is its own key.
pub fn key_of(line: &[u8]) -> Cow<'_, [u8]> {
    let raw = path_of(line);
    let folded = |pair: &[u8]| pair == b"//" || pair == b"/.";
    let plain =
        !raw.contains(&b'\\') && !raw.windows(2).any(folded) && (raw.len() < 2 || !raw.ends_with(b"/"));
    if plain {
        return Cow::Borrowed(raw);
    }
    let path = unescape(raw);
    Cow::Owned(match ObjectPath::new(&path) {
        Ok(normal) => normal.as_bytes().to_vec(),
        Err(_) => path,
    })
}

/// Whether a line is a comment or blank rather than an object.
pub fn is_comment(line: &[u8]) -> bool {
    line.first().is_none_or(|&byte| byte == b'#') || line.iter().all(|&byte| is_blank(byte))
}

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An object.
    Object(Line),
    /// A comment (with its `#`) or a blank line, as it stands there.
    Comment(Vec<u8>),
}

/// Reads a database line by line: parsed as an iterator, or raw with [`Reader::next_line`].
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    buffer: Vec<u8>,
    line: u64,
}

impl<R: BufRead> Reader<R> {
    /// A reader that begins where `from` stands.
    pub fn new(from: R) -> Self {
        Self { from, buffer: Vec::new(), line: 0 }
    }

    /// The number of the line read last; 0 before the first.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The next line as it stands in the file, without its newline, comments included.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, ContentsError> {
        self.line += 1;
        match read_line(&mut self.from, &mut self.buffer)? {
            Found::Line => Ok(Some(&self.buffer)),
            Found::TooLong => Err(LineTooLong { line: self.line }.into()),
            Found::End => Ok(None),
        }
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Record, ContentsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.line + 1;
        match self.next_line() {
            Ok(None) => None,
            Ok(Some(raw)) if is_comment(raw) => Some(Ok(Record::Comment(raw.to_vec()))),
            Ok(Some(raw)) => {
                let object = Line::parse(raw).map_err(|error| ContentsError::Line { line, error });
                Some(object.map(Record::Object))
            }
            Err(error) => Some(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests;
