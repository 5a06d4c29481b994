//! The parameter syntax of pkginfo(4), `NAME=value`, used by pkginfo, admin files, response files and patchinfo.
//!
//! [`ParamFile`] is lossless: an unchanged file is written back byte for byte. [`write()`] gives the plain form. Nothing is
//! expanded, and names are not checked.
//!
//! The rules are those of the SVR4 reader. A name ends at the first `:`, `=` or newline. A value loses the blanks before it
//! (on continuation lines, too) and all white space after it. Backslash-newline continues the value and leaves the newline.
//! A quote opens only at the start of a line, the next quote of either kind closes it, and later ones are text. Newer
//! illumos readers close at the *last* quote, which differs only for quotes inside quotes; the writer produces none.
//!
//! ```
//! use patchadm_svr4::format::params::{self, ParamFile, ParamsError};
//!
//! let text = b"# the shop\nPKG=ACMEshop\nNAME=\"A shop\"\n";
//! assert_eq!(params::parse(text)?.text("NAME"), "A shop");
//!
//! let mut file = ParamFile::parse(text)?;
//! file.set("VERSION", b"1.0");
//! assert_eq!(file.write(), b"# the shop\nPKG=ACMEshop\nNAME=\"A shop\"\nVERSION=1.0\n");
//! # Ok::<(), ParamsError>(())
//! ```

use std::borrow::Cow;

use crate::package::Params;

use super::lines::{LONGEST_LINE, LineTooLong, numbered_lines};

/// The size of the largest parameter file, in bytes: 16 MiB.
pub const LARGEST_FILE: usize = 16 << 20;
/// The largest number of parameters in a file.
pub const MOST_PARAMETERS: usize = 100_000;
/// The number of significant bytes in a name; further ones are dropped, as by SVR4 readers.
pub const LONGEST_NAME: usize = 127;

/// The reason a parameter file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParamsError {
    /// A file larger than [`LARGEST_FILE`].
    #[error("parameter file of {size} bytes is larger than {LARGEST_FILE} bytes")]
    TooLarge {
        /// The size of the file, in bytes.
        size: usize,
    },
    /// A physical line longer than [`LONGEST_LINE`].
    #[error(transparent)]
    LineTooLong(#[from] LineTooLong),
    /// More parameters than [`MOST_PARAMETERS`].
    #[error("line {line}: more than {MOST_PARAMETERS} parameters")]
    TooMany {
        /// The number of the line that passed the limit.
        line: u64,
    },
    /// A quote that is not closed before the end of its entry.
    #[error("line {line}: parsing error in parameter file: the quote that opens {name} is not closed")]
    UnclosedQuote {
        /// The number of the entry's first line, counted from 1.
        line: u64,
        /// The parameter's name, escaped.
        name: String,
    },
    /// A NUL byte, refused by [`check`] only.
    #[error("it holds NUL bytes")]
    Nul,
    /// A name that is not printable ASCII, refused by [`check`] only.
    #[error("<{name}> is not a valid parameter name")]
    Name {
        /// The parameter's name, escaped.
        name: String,
    },
}

/// A parameter file with all its text, comments included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParamFile {
    entries: Vec<ParamLine>,
}

/// A parameter, or the text between two, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ParamLine {
    raw: Vec<u8>,
    param: Option<(String, Vec<u8>)>,
}

impl ParamFile {
    /// Parses a whole file. An unclosed quote in a comment is not an error.
    pub fn parse(text: &[u8]) -> Result<Self, ParamsError> {
        let mut file = Self::default();
        entries(text, |raw, param| {
            let param = param.map(|(name, value)| (name.into_owned(), value.into_owned()));
            match file.entries.last_mut().filter(|last| last.param.is_none() && param.is_none()) {
                Some(text) => text.raw.extend_from_slice(raw),
                None => file.entries.push(ParamLine { raw: raw.to_vec(), param }),
            }
        })?;
        Ok(file)
    }

    /// Returns the parameters in the order of the file, repeated names included.
    pub fn params(&self) -> Params {
        self.entries.iter().filter_map(|entry| entry.param.clone()).collect()
    }

    /// Returns the text of the file, with the changes made since it was read.
    pub fn write(&self) -> Vec<u8> {
        self.entries.iter().flat_map(|entry| entry.raw.iter().copied()).collect()
    }

    /// Sets a parameter: in place of its first definition, or at the end if it is new.
    pub fn set(&mut self, name: &str, value: &[u8]) {
        let new = ParamLine::written(name, value);
        let first = self.entries.iter_mut().find(|e| e.param.as_ref().is_some_and(|(n, _)| n == name));
        if let Some(first) = first {
            *first = new;
            return;
        }
        if let Some(last) = self.entries.last_mut() {
            last.end_line();
        }
        self.entries.push(new);
    }

    /// Removes all definitions of `name`.
    pub fn remove(&mut self, name: &str) {
        self.entries.retain(|entry| entry.param.as_ref().is_none_or(|(n, _)| n != name));
    }
}

impl ParamLine {
    fn written(name: &str, value: &[u8]) -> Self {
        let mut raw = Vec::new();
        write_entry(&mut raw, name, value);
        Self { raw, param: Some((name.to_owned(), value.to_vec())) }
    }

    fn end_line(&mut self) {
        if self.raw.ends_with(b"\n") && !self.raw.ends_with(b"\\\n") {
            return;
        }
        match self.param.take() {
            Some((name, value)) => *self = Self::written(&name, &value),
            None if self.raw.ends_with(b"\\") => self.raw.extend_from_slice(b"\n\n"),
            None => self.raw.push(b'\n'),
        }
    }
}

/// Parses parameters like [`ParamFile::params`], at less cost, from a file that is not written back.
pub fn parse(text: &[u8]) -> Result<Params, ParamsError> {
    let mut params = Params::of_text(text);
    entries(text, |_, param| {
        if let Some((name, value)) = param {
            params.push(&name, value);
        }
    })?;
    Ok(params)
}

/// Calls `take` with the text of each entry, and its parameter if any.
fn entries(text: &[u8], mut take: impl FnMut(&[u8], Option<Param<'_>>)) -> Result<(), ParamsError> {
    if text.len() > LARGEST_FILE {
        return Err(ParamsError::TooLarge { size: text.len() });
    }
    if text.len() > LONGEST_LINE {
        for line in numbered_lines(text) {
            line?;
        }
    }
    let (mut rest, mut line, mut count) = (text, 1, 0);
    while !rest.is_empty() {
        let (param, length) = read_entry(rest, line)?;
        let (raw, tail) = rest.split_at(length);
        count += usize::from(param.is_some());
        if count > MOST_PARAMETERS {
            return Err(ParamsError::TooMany { line });
        }
        take(raw, param);
        line += raw.split(|&byte| byte == b'\n').skip(1).count() as u64;
        rest = tail;
    }
    Ok(())
}

type Param<'t> = (Cow<'t, str>, Cow<'t, [u8]>);

/// Parses the entry at the start of `text`.
fn read_entry(text: &[u8], line: u64) -> Result<(Option<Param<'_>>, usize), ParamsError> {
    let Some(end) = text.iter().position(|byte| matches!(byte, b':' | b'=' | b'\n')) else {
        return Ok((None, text.len()));
    };
    let (name, separator) = text.split_at(end);
    let Some((_, rest)) = separator.split_first().filter(|(byte, _)| **byte != b'\n') else {
        return Ok((None, end + 1));
    };
    let value = read_value(rest);
    let length = end + 1 + value.length;
    if name.starts_with(b"#") {
        return Ok((None, length));
    }
    let name = String::from_utf8_lossy(&name[..name.len().min(LONGEST_NAME)]);
    if value.closed {
        Ok((Some((name, value.bytes)), length))
    } else {
        Err(ParamsError::UnclosedQuote { line, name: name.escape_debug().to_string() })
    }
}

struct Value<'t> {
    bytes: Cow<'t, [u8]>,
    length: usize,
    closed: bool,
}

fn read_value(text: &[u8]) -> Value<'_> {
    read_plain_value(text).unwrap_or_else(|| read_any_value(text))
}

/// Parses a value of one line without an opening quote, as nearly all are.
fn read_plain_value(text: &[u8]) -> Option<Value<'_>> {
    let end = text.iter().position(|&byte| byte == b'\n')?;
    let line = text.get(..end)?;
    let start = line.iter().position(|byte| !b" \t".contains(byte)).unwrap_or(line.len());
    let value = line.get(start..)?;
    if value.ends_with(b"\\") || matches!(value.first(), Some(b'\'' | b'"')) {
        return None;
    }
    let kept = value.iter().rposition(|&byte| !is_space(byte)).map_or(0, |last| last + 1);
    Some(Value { bytes: value.get(..kept)?.into(), length: end + 1, closed: true })
}

fn read_any_value(text: &[u8]) -> Value<'_> {
    let mut bytes = Vec::new();
    let mut length = 0;
    let (mut quoted, mut escaped, mut beginning) = (false, false, true);
    for &byte in text {
        length += 1;
        match byte {
            b' ' | b'\t' if beginning => continue,
            b'\n' if !escaped => break,
            b'\n' => {
                // The backslash is removed, the newline stays.
                bytes.pop();
                bytes.push(b'\n');
                (escaped, beginning) = (false, true);
                continue;
            }
            b'\'' | b'"' if !escaped && (beginning || quoted) => {
                quoted = beginning;
                beginning = false;
                continue;
            }
            _ => {}
        }
        escaped = byte == b'\\';
        beginning = false;
        bytes.push(byte);
    }
    let kept = bytes.iter().rposition(|&byte| !is_space(byte)).map_or(0, |last| last + 1);
    bytes.truncate(kept);
    Value { bytes: bytes.into(), length, closed: !quoted }
}

/// C's `isspace`, which includes the vertical tab, unlike Rust's ASCII white space.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// Refuses a pkginfo that some readers would misunderstand: a value ends at a NUL, and a name is printable ASCII.
pub fn check(text: &[u8], params: &Params) -> Result<(), ParamsError> {
    if text.contains(&0) {
        return Err(ParamsError::Nul);
    }
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_graphic());
    match params.iter().find(|(name, _)| !is_name(name)) {
        Some((name, _)) => Err(ParamsError::Name { name: name.escape_debug().to_string() }),
        None => Ok(()),
    }
}

/// Removes all white space from a value, as readers do for ARCH and CATEGORY.
pub fn compact(value: &[u8]) -> Vec<u8> {
    value.iter().copied().filter(|&byte| !is_space(byte)).collect()
}

/// Formats `NAME=value` entries in order, with a newline inside a value as backslash-newline.
///
/// [`ParamFile::parse`] reads them back, except for white space at the end of a value. A value line that starts with a
/// blank or quote is quoted (`'x` as `""'x`), and a final backslash gets a blank. Names must be valid: at most 127
/// bytes, without `:`, `=` and newline, and without `#` in front.
pub fn write(params: &Params) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in params.iter() {
        write_entry(&mut out, name, value);
    }
    out
}

fn write_entry(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.push(b'=');
    for (index, line) in value.split(|&byte| byte == b'\n').enumerate() {
        if index > 0 {
            out.extend_from_slice(b"\\\n");
        }
        write_value_line(out, line);
    }
    if value.ends_with(b"\\") {
        out.push(b' ');
    }
    out.push(b'\n');
}

fn write_value_line(out: &mut Vec<u8>, line: &[u8]) {
    match line.first() {
        Some(b' ' | b'\t') if !line.iter().any(|byte| b"'\"\\".contains(byte)) => {
            out.push(b'"');
            out.extend_from_slice(line);
            out.push(b'"');
        }
        Some(b' ' | b'\t' | b'\'' | b'"') => {
            // After an empty pair of quotes the reader takes blanks and quotes as text.
            out.extend_from_slice(b"\"\"");
            out.extend_from_slice(line);
        }
        _ => out.extend_from_slice(line),
    }
}

#[cfg(test)]
mod tests;
