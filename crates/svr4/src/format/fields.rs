//! The blank-separated fields common to pkgmap(4) and contents(4) lines, each with its limit and error.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::Write as _;

use crate::package::{
    ContentInfo, Ftype, Mode, NO_ACCOUNT, Object, ObjectAttributes, PathError, Word, is_class, rule,
    unescape, unescaped, write_escaped,
};

/// Owner or group, in bytes. pkgmap(4) documents 14; every implementation accepts 64.
const LONGEST_WORD: usize = 64;
/// In bytes (`PATH_MAX` - 1).
const LONGEST_TARGET: usize = 4095;

/// The fault in a field of a pkgmap or `contents` line. Messages are those of the SVR4 tools if they have one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldError {
    /// A part (volume) that is not a number or not a part of the package.
    #[error("bad volume number")]
    Volume,
    /// A type that is not a letter of pkgmap(4).
    #[error("unknown ftype")]
    Ftype,
    /// A class that is missing, too long, or not made of letters, digits and `_ - . +`.
    #[error("unable to read class token")]
    Class,
    /// A missing path.
    #[error("unable to read pathname field")]
    Pathname,
    /// An invalid path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A `/` in the name of an information file.
    #[error("the name of an information file has a `/` in it")]
    InformationName,
    /// A link without a valid `=target`, or a target on an object that is not a link.
    #[error("missing or invalid link specification")]
    Link,
    /// A missing or invalid major or minor number.
    #[error("unable to read major/minor device numbers")]
    Device,
    /// A mode that is missing or not octal.
    #[error("mode is not numeric.")]
    Mode,
    /// A mode above 7777.
    #[error("invalid bits set in mode.")]
    ModeBits,
    /// An owner that is missing or not printable UTF-8.
    #[error("unable to read owner")]
    Owner,
    /// An owner longer than 64 bytes.
    #[error("owner string is too long.")]
    OwnerLength,
    /// A group that is missing or not printable UTF-8.
    #[error("unable to read group")]
    Group,
    /// The owner or group 2^32-1, which tells system calls to leave it unchanged.
    #[error("owner or group 4294967295 is not valid")]
    ReservedNumber,
    /// A group longer than 64 bytes.
    #[error("group string is too long.")]
    GroupLength,
    /// A missing or invalid size, checksum or modification time.
    #[error("unable to read content info")]
    Content,
    /// A missing or invalid package name at the end of a `contents` line.
    #[error("unable to read package name")]
    Package,
    /// Text after the last field.
    #[error("extra tokens on input line")]
    Extra,
}

/// A path and the target of a link, unescaped.
pub(crate) type PathAndTarget<'a> = (Cow<'a, [u8]>, Option<Vec<u8>>);

/// The blank-separated fields of one line, from left to right.
#[derive(Clone, Debug)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Returns the fields of a line.
    pub fn new(line: &'a [u8]) -> Self {
        Self(line)
    }

    /// Returns the next field without consuming it.
    pub(crate) fn peek(&self) -> Option<&'a [u8]> {
        self.clone().next()
    }

    pub(crate) fn take_number(&mut self) -> Option<&'a [u8]> {
        let field = self.peek().filter(|field| field.first().is_some_and(u8::is_ascii_digit))?;
        self.next();
        Some(field)
    }

    /// Consumes the type.
    pub fn ftype(&mut self) -> Result<Ftype, FieldError> {
        match self.next() {
            Some(&[letter]) => Ftype::from_letter(letter).ok_or(FieldError::Ftype),
            _ => Err(FieldError::Ftype),
        }
    }

    /// Consumes the class.
    pub fn class(&mut self) -> Result<&'a str, FieldError> {
        class(self.next().unwrap_or_default())
    }

    /// Consumes `path` or `path=target` and returns both parts unescaped.
    pub fn path_and_target(&mut self) -> Result<PathAndTarget<'a>, FieldError> {
        let field = self.next().ok_or(FieldError::Pathname)?;
        let (path, target) = match field.iter().position(|&byte| byte == b'=') {
            Some(at) => (&field[..at], field.get(at + 1..).map(unescape)),
            None => (field, None),
        };
        Ok((unescaped(path), target))
    }

    /// Consumes the device numbers, attributes and content that an object of this type has.
    pub(crate) fn details(&mut self, object: &mut Object) -> Result<(), FieldError> {
        if object.ftype.is_link() {
            return Ok(());
        }
        if object.ftype.is_device() {
            object.device = Some(self.device()?);
        }
        object.attributes = self.attributes()?;
        if object.ftype.is_regular() {
            object.content = self.content()?;
        }
        Ok(())
    }

    /// Consumes major and minor number.
    pub(crate) fn device(&mut self) -> Result<(Option<u32>, Option<u32>), FieldError> {
        Ok((self.device_number()?, self.device_number()?))
    }

    /// Consumes mode, owner and group.
    pub(crate) fn attributes(&mut self) -> Result<ObjectAttributes, FieldError> {
        Ok(ObjectAttributes {
            mode: self.mode()?,
            owner: name(self.next(), FieldError::Owner, FieldError::OwnerLength)?,
            group: name(self.next(), FieldError::Group, FieldError::GroupLength)?,
        })
    }

    /// Consumes size, checksum and modification time.
    pub(crate) fn content(&mut self) -> Result<ContentInfo, FieldError> {
        let mut next = |most| known(self.next(), |digits| number(digits, most), FieldError::Content);
        Ok(ContentInfo {
            size: next(u64::MAX)?,
            cksum: next(u64::from(u16::MAX))?.and_then(|cksum| u16::try_from(cksum).ok()),
            mtime: next(i64::MAX.unsigned_abs())?.and_then(|mtime| i64::try_from(mtime).ok()),
        })
    }

    /// Refuses a line that has more fields.
    pub fn end(&mut self) -> Result<(), FieldError> {
        if self.next().is_none() { Ok(()) } else { Err(FieldError::Extra) }
    }

    pub(crate) fn device_number(&mut self) -> Result<Option<u32>, FieldError> {
        known(self.next(), |digits| u32::try_from(number(digits, u64::MAX)?).ok(), FieldError::Device)
    }

    /// Reads the permission bits; `None` for `?`.
    pub(crate) fn mode(&mut self) -> Result<Option<Mode>, FieldError> {
        match self.next() {
            Some(b"?") => Ok(None),
            Some(digits) if !digits.is_empty() && digits.iter().all(|d| (b'0'..=b'7').contains(d)) => {
                let bits = digits
                    .iter()
                    .fold(0u32, |bits, digit| bits.saturating_mul(8).saturating_add(u32::from(digit - b'0')));
                Mode::new(bits).map(Some).ok_or(FieldError::ModeBits)
            }
            _ => Err(FieldError::Mode),
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.0.iter().position(|byte| !is_blank(*byte))?;
        let rest = &self.0[start..];
        let end = rest.iter().position(|byte| is_blank(*byte)).unwrap_or(rest.len());
        let (field, tail) = rest.split_at(end);
        self.0 = tail;
        Some(field)
    }
}

pub(crate) fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

pub(crate) fn class(field: &[u8]) -> Result<&str, FieldError> {
    std::str::from_utf8(field).ok().filter(|_| is_class(field)).ok_or(FieldError::Class)
}

/// Checks a link's target against its type.
pub(crate) fn target(ftype: Ftype, target: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, FieldError> {
    let fits = target
        .as_ref()
        .is_none_or(|target| (1..=LONGEST_TARGET).contains(&target.len()) && !target.contains(&0));
    if fits && target.is_some() == ftype.is_link() { Ok(target) } else { Err(FieldError::Link) }
}

/// Parses a decimal number of digits only, at most `most`.
pub(crate) fn number(digits: &[u8], most: u64) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| {
        let digit = u64::from(digit.checked_sub(b'0').filter(|digit| *digit <= 9)?);
        value.checked_mul(10)?.checked_add(digit).filter(|value| *value <= most)
    })
}

fn known<T>(
    field: Option<&[u8]>,
    read: impl Fn(&[u8]) -> Option<T>,
    error: FieldError,
) -> Result<Option<T>, FieldError> {
    match field {
        Some(b"?") => Ok(None),
        Some(field) => read(field).map(Some).ok_or(error),
        None => Err(error),
    }
}

/// Parses an owner or group: `?`, or a name. A `$VARIABLE` of the installation is kept as it is.
pub(crate) fn name(
    field: Option<&[u8]>,
    error: FieldError,
    too_long: FieldError,
) -> Result<Option<Word>, FieldError> {
    let field = field.ok_or_else(|| error.clone())?;
    if field == b"?" {
        return Ok(None);
    }
    if field.len() > LONGEST_WORD {
        return Err(too_long);
    }
    let is_printable = |name: &&str| {
        name.bytes().all(|byte| byte.is_ascii_graphic())
            || !name.chars().any(|c| c.is_control() || c.is_whitespace())
    };
    let means_none = field.first().is_some_and(u8::is_ascii_digit)
        && number(field, u64::MAX).is_some_and(|number| number == u64::from(NO_ACCOUNT));
    if !rule::holds("contents.owner", !means_none) {
        return Err(FieldError::ReservedNumber);
    }
    let printable = std::str::from_utf8(field).ok().filter(is_printable);
    printable.map(|name| Some(name.into())).ok_or(error)
}

pub(crate) fn write_path(out: &mut Vec<u8>, path: &[u8], target: Option<&Vec<u8>>) {
    write_escaped(out, path);
    if let Some(target) = target {
        out.push(b'=');
        write_escaped(out, target);
    }
}

/// Writes the fields that [`Fields::details`] reads.
pub(crate) fn write_details(out: &mut Vec<u8>, object: &Object) {
    let ftype = object.ftype;
    if ftype.is_link() {
        return;
    }
    if ftype.is_device() {
        write_device(out, object.device.unwrap_or_default());
    }
    write_attributes(out, &object.attributes);
    if ftype.is_regular() {
        write_content(out, object.content);
    }
}

pub(crate) fn write_device(out: &mut Vec<u8>, (major, minor): (Option<u32>, Option<u32>)) {
    write_known(out, major);
    write_known(out, minor);
}

pub(crate) fn write_attributes(out: &mut Vec<u8>, attributes: &ObjectAttributes) {
    let ObjectAttributes { mode, owner, group } = attributes;
    match mode {
        Some(mode) => _ = write!(out, " {:04o}", mode.bits()),
        None => out.extend_from_slice(b" ?"),
    }
    write_known(out, owner.as_ref());
    write_known(out, group.as_ref());
}

pub(crate) fn write_content(out: &mut Vec<u8>, content: ContentInfo) {
    write_known(out, content.size);
    write_known(out, content.cksum);
    // No reader, here or elsewhere, takes a time before 1970.
    write_known(out, content.mtime.filter(|mtime| *mtime >= 0));
}

pub(crate) fn write_known(out: &mut Vec<u8>, value: Option<impl Display>) {
    // Writing to memory cannot fail.
    match value {
        Some(value) => _ = write!(out, " {value}"),
        None => out.extend_from_slice(b" ?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_within_a_limit() {
        assert_eq!(number(b"18446744073709551615", u64::MAX), Some(u64::MAX));
        for bad in [&b""[..], b"+1", b"-1", b"1x", b"18446744073709551616", b"0x10"] {
            assert_eq!(number(bad, u64::MAX), None);
        }
        assert_eq!(number(b"65536", 65535), None);
    }

    #[test]
    fn a_time_before_1970_is_written_as_unknown_so_that_the_line_can_be_read() {
        let mut written = Vec::new();
        write_content(&mut written, ContentInfo { size: Some(1), cksum: Some(2), mtime: Some(-1) });
        assert_eq!(written, b" 1 2 ?");
        let content = Fields::new(&written).content().unwrap();
        assert_eq!(content, ContentInfo { size: Some(1), cksum: Some(2), mtime: None });
    }

    #[test]
    fn a_class_is_a_word_that_is_safe_in_a_file_name() {
        assert_eq!(class(b"cswcpsample-conf_1.x+").unwrap(), "cswcpsample-conf_1.x+");
        for bad in [&b""[..], b"a/b", b"../x", b"a b", b"caf\xe9", &[b'c'; 65]] {
            assert_eq!(class(bad), Err(FieldError::Class));
        }
    }

    #[test]
    fn fields_stand_between_any_blanks() {
        let fields: Vec<_> = Fields::new(b" \ta\t\tb c ").collect();
        assert_eq!(fields, [b"a", b"b", b"c"]);
    }
}
