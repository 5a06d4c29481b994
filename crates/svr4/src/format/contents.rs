//! contents(4): the database of installed objects, one line per path, sorted by path.
//!
//! Paths can be found without parsing the rest of a line ([`path_of`], [`key_of`]), so that a scan of 400,000 lines stays
//! cheap. White space, `=` and backslashes in paths and targets are `\ooo` escapes, as in a pkgmap; some delivered systems
//! have unescaped blanks ([`with_escaped_blanks`]).
//!
//! ```
//! use patchadm_svr4::format::FieldError;
//! use patchadm_svr4::format::contents::path_of;
//! use patchadm_svr4::package::ContentsLine;
//!
//! let raw = b"/opt/bin/shop=hello s none ACMEshop";
//! assert_eq!(path_of(raw), b"/opt/bin/shop");
//! let line = ContentsLine::parse(raw)?;
//! assert_eq!(line.object.target.as_deref(), Some(&b"hello"[..]));
//! assert_eq!(line.owners[0].package.as_str(), "ACMEshop");
//! assert_eq!(line.write(), raw);
//! # Ok::<(), FieldError>(())
//! ```

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::{self, BufRead};

use crate::package::{
    ContentsLine, Ftype, Object, ObjectPath, OwnerStatus, OwningPackage, PkgInst, unescape,
};

use super::FieldError;
use super::fields::{self, Fields, is_blank};
use super::lines::{LineRead, LineTooLong, read_line};

/// The reason a database cannot be read or merged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContentsError {
    /// A line that does not describe an object.
    #[error("line {line}: {error}")]
    Line {
        /// The line number, counted from 1.
        line: u64,
        /// The fault in the line's fields.
        error: FieldError,
    },
    /// A line longer than [`LONGEST_LINE`](super::LONGEST_LINE).
    #[error(transparent)]
    LineTooLong(#[from] LineTooLong),
    /// A line that sorts before the one above it. The output written so far is useless.
    #[error("line {line}: the database is not sorted by path")]
    Unsorted {
        /// The line number, counted from 1.
        line: u64,
    },
    /// More lines than can be sorted in memory.
    #[error("line {line}: too many lines to sort")]
    TooMany {
        /// The number of the line that passed the limit.
        line: u64,
    },
    /// A failure to read the database or to write the new one.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ContentsLine {
    /// Parses a line without its newline. Blanks in its path need no escapes if the line has no other meaning.
    pub fn parse(line: &[u8]) -> Result<Self, FieldError> {
        Self::parse_strictly(line).or_else(|error| {
            let escaped = with_escaped_blanks(line).ok_or(error)?;
            Self::parse_strictly(&escaped)
        })
    }

    fn parse_strictly(line: &[u8]) -> Result<Self, FieldError> {
        let mut fields = Fields::new(line);
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
        let mut object = Object::new(ftype, fields.class()?);
        object.target = fields::target(ftype, target)?;
        fields.details(&mut object)?;
        // Nearly all lines have one owner, and a package may have a million lines.
        let mut owners = Vec::with_capacity(1);
        for field in fields {
            owners.push(parse_owner(field)?);
        }
        if owners.is_empty() {
            return Err(FieldError::Package);
        }
        Ok(Self { path: ObjectPath::new(&path)?, volume, object, owners })
    }

    /// Formats the line, without a newline.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        fields::write_path(&mut out, self.path.as_bytes(), self.object.target.as_ref());
        if let Some(volume) = self.volume {
            fields::write_known(&mut out, Some(volume));
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

    /// Adds the owners of further lines of the same path, a fault of the database. The first line describes the object.
    pub fn adopt_owners(&mut self, later: impl IntoIterator<Item = OwningPackage>) {
        let mut known: HashSet<PkgInst> = self.owners.iter().map(|owner| owner.package.clone()).collect();
        self.owners.extend(later.into_iter().filter(|owner| known.insert(owner.package.clone())));
    }
}

fn parse_owner(field: &[u8]) -> Result<OwningPackage, FieldError> {
    let status = field.first().copied().and_then(OwnerStatus::from_letter);
    let rest = if status.is_some() { field.get(1..).unwrap_or_default() } else { field };
    let (name, class) = match rest.iter().position(|&byte| byte == b':') {
        Some(at) => (&rest[..at], Some(fields::class(&rest[at + 1..])?.into())),
        None => (rest, None),
    };
    let (name, alternate) = match name.strip_suffix(b"\\") {
        Some(name) => (name, true),
        None => (name, false),
    };
    let package = std::str::from_utf8(name).ok().and_then(|name| PkgInst::new(name).ok());
    Ok(OwningPackage { status, package: package.ok_or(FieldError::Package)?, alternate, class })
}

fn write_owner(out: &mut Vec<u8>, owner: &OwningPackage) {
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

const LONGEST_WITH_BLANKS: usize = 2 * 4096;

/// Escapes blanks in path and target if only that makes the line valid: `/usr/two words f none …`.
pub fn with_escaped_blanks(line: &[u8]) -> Option<Vec<u8>> {
    let at = place_of_type(line)?;
    let (path, rest) = line.split_at_checked(at)?;
    let mut escaped = Vec::with_capacity(line.len() + 16);
    for &byte in path.trim_ascii_end() {
        match byte {
            b' ' => escaped.extend_from_slice(b"\\040"),
            b'\t' => escaped.extend_from_slice(b"\\011"),
            byte => escaped.push(byte),
        }
    }
    escaped.push(b' ');
    escaped.extend_from_slice(rest);
    Some(escaped)
}

/// Finds the type, or the number before it, in a line whose path has blanks.
fn place_of_type(line: &[u8]) -> Option<usize> {
    if line.first() != Some(&b'/') {
        return None;
    }
    // Nearly every line ends here, so this must be cheap.
    let end = line.iter().position(|&byte| is_blank(byte))?;
    let blanks = line.get(end..)?.iter().position(|&byte| !is_blank(byte))?;
    if is_type_or_number(field_at(line, end + blanks)) {
        return None;
    }
    // The path stays a name of one object, whatever follows it.
    let is_line = |at: &usize| {
        let rest = line.get(*at..).unwrap_or_default();
        let has_target = line.get(..*at).is_some_and(|path| path.contains(&b'='));
        let first: &[u8] = if has_target { b"/=x " } else { b"/ " };
        is_type_or_number(field_at(line, *at))
            && ContentsLine::parse_strictly(&[first, rest].concat()).is_ok()
    };
    field_starts(line).skip(2).take_while(|at| *at <= LONGEST_WITH_BLANKS).find(is_line)
}

fn field_starts(line: &[u8]) -> impl Iterator<Item = usize> {
    let begins = |at: &usize| {
        let is_in = |at: usize| line.get(at).is_some_and(|&byte| !is_blank(byte));
        is_in(*at) && at.checked_sub(1).is_none_or(|before| !is_in(before))
    };
    (0..line.len()).filter(begins)
}

fn field_at(line: &[u8], at: usize) -> &[u8] {
    let rest = line.get(at..).unwrap_or_default();
    rest.split(|&byte| is_blank(byte)).next().unwrap_or_default()
}

fn is_type_or_number(field: &[u8]) -> bool {
    match field {
        [letter] => letter.is_ascii_digit() || b"fevdxpbcsl".contains(letter),
        field => !field.is_empty() && field.iter().all(u8::is_ascii_digit),
    }
}

/// Returns the path of a line as written, without a link's target. A comment's path is its first word.
pub fn path_of(line: &[u8]) -> &[u8] {
    let start = line.iter().position(|&byte| !is_blank(byte)).unwrap_or(line.len());
    let path = &line[start..];
    let end = path.iter().position(|&byte| byte == b'=' || is_blank(byte)).unwrap_or(path.len());
    &path[..end]
}

/// Returns the sort key of a line: its path without escapes, normalised like an [`ObjectPath`], or as it is if invalid.
pub fn key_of(line: &[u8]) -> Cow<'_, [u8]> {
    match with_escaped_blanks(line) {
        Some(escaped) => Cow::Owned(plain_key(&escaped).into_owned()),
        None => plain_key(line),
    }
}

fn plain_key(line: &[u8]) -> Cow<'_, [u8]> {
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

/// Returns the packages of a line, without status, mark and class; `None` if there are too few fields.
pub fn owner_names(line: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let with_blanks = place_of_type(line);
    let rest = with_blanks.and_then(|at| line.get(at..)).unwrap_or(line);
    let mut fields = rest.split(|&byte| is_blank(byte)).filter(|field| !field.is_empty());
    if with_blanks.is_none() {
        let _path = fields.next()?;
    }
    let mut ftype = fields.next()?;
    if ftype.iter().all(u8::is_ascii_digit) {
        ftype = fields.next()?;
    }
    let details = match ftype {
        b"s" | b"l" => 0,
        b"d" | b"x" | b"p" => 3,
        b"b" | b"c" => 5,
        b"f" | b"e" | b"v" => 6,
        _ => return None,
    };
    // The class precedes them.
    for _ in 0..=details {
        fields.next()?;
    }
    Some(fields.map(bare_name))
}

fn bare_name(field: &[u8]) -> &[u8] {
    let status = field.first().copied().and_then(OwnerStatus::from_letter);
    let rest = if status.is_some() { field.get(1..).unwrap_or_default() } else { field };
    let end = rest.iter().position(|&byte| byte == b':').unwrap_or(rest.len());
    let name = rest.get(..end).unwrap_or_default();
    name.strip_suffix(b"\\").unwrap_or(name)
}

/// Returns true if a line is a comment or blank, and so describes no object.
pub fn is_comment(line: &[u8]) -> bool {
    line.first().is_none_or(|&byte| byte == b'#') || line.iter().all(|&byte| is_blank(byte))
}

/// One line of a `contents` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentsRecord {
    /// A line that describes an object.
    Object(ContentsLine),
    /// A comment (with its `#`) or a blank line, unchanged.
    Comment(Vec<u8>),
}

/// A `contents` file read line by line: parsed as [`ContentsRecord`]s, or raw with [`next_line`](Self::next_line).
#[derive(Debug)]
pub struct ContentsReader<R> {
    from: R,
    buffer: Vec<u8>,
    line: u64,
}

impl<R: BufRead> ContentsReader<R> {
    /// Creates a reader that starts at the current position of `from`.
    pub fn new(from: R) -> Self {
        Self { from, buffer: Vec::new(), line: 0 }
    }

    /// Returns the number of the line read last, or 0 before the first.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Reads the next line, comments included, and returns it without its newline; `None` at the end.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, ContentsError> {
        self.line += 1;
        match read_line(&mut self.from, &mut self.buffer)? {
            LineRead::Line => Ok(Some(&self.buffer)),
            LineRead::TooLong => Err(LineTooLong { line: self.line }.into()),
            LineRead::End => Ok(None),
        }
    }
}

impl<R: BufRead> Iterator for ContentsReader<R> {
    type Item = Result<ContentsRecord, ContentsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.line + 1;
        match self.next_line() {
            Ok(None) => None,
            Ok(Some(raw)) if is_comment(raw) => Some(Ok(ContentsRecord::Comment(raw.to_vec()))),
            Ok(Some(raw)) => {
                let object = ContentsLine::parse(raw).map_err(|error| ContentsError::Line { line, error });
                Some(object.map(ContentsRecord::Object))
            }
            Err(error) => Some(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests;
