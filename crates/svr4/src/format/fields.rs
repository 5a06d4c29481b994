//! The blank-separated fields that a pkgmap line and a `contents` line have in common.
//!
//! pkgmap(4) and contents(4) write the same object in another order around the same fields: this module reads and
//! writes those fields, each with its limit and its error. Where a line begins and ends is the two formats' matter.

use std::borrow::Cow;

use crate::package::{
    Attributes, Content, Ftype, Mode, NOBODYS_NUMBER, Object, PathError, escape, rule, unescape, unescaped,
};

/// The longest class, owner or group, in bytes (pkgmap(4) documents 12 and 14; every implementation takes 64).
const LONGEST_WORD: usize = 64;
/// The longest target of a link, in bytes (`PATH_MAX` - 1).
const LONGEST_TARGET: usize = 4095;

/// What is wrong with a pkgmap or `contents` line. The texts are those of the SVR4 tools where they have one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The part (volume) is no number, or no part of the package.
    #[error("bad volume number")]
    Volume,
    /// The type is none of the letters of pkgmap(4).
    #[error("unknown ftype")]
    Ftype,
    /// The class is missing, too long, or not made of letters, digits and `_ - . +`.
    #[error("unable to read class token")]
    Class,
    /// There is no path.
    #[error("unable to read pathname field")]
    Pathname,
    /// The path is none that can be used.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The name of an information file has a `/` in it.
    #[error("the name of an information file has a `/` in it")]
    InformationName,
    /// A link has no `=target` or one that cannot be used, or something that is no link has one.
    #[error("missing or invalid link specification")]
    Link,
    /// Major or minor number.
    #[error("unable to read major/minor device numbers")]
    Device,
    /// The mode is missing or not octal.
    #[error("mode is not numeric.")]
    Mode,
    /// The mode is above 7777.
    #[error("invalid bits set in mode.")]
    ModeBits,
    /// The owner is missing or not printable UTF-8.
    #[error("unable to read owner")]
    Owner,
    /// The owner is longer than 64 bytes.
    #[error("owner string is too long.")]
    OwnerLength,
    /// The group is missing or not printable UTF-8.
    #[error("unable to read group")]
    Group,
    /// The owner or group is 2^32-1, by which system calls mean that none is to be set.
    #[error("owner or group 4294967295 is none")]
    NoNumber,
    /// The group is longer than 64 bytes.
    #[error("group string is too long.")]
    GroupLength,
    /// Size, checksum or modification time.
    #[error("unable to read content info")]
    Content,
    /// No package, or something that is no package, at the end of a `contents` line.
    #[error("unable to read package name")]
    Package,
    /// Something behind the last field.
    #[error("extra tokens on input line")]
    Extra,
}

/// A path and the target of a link, unescaped.
pub type PathAndTarget<'a> = (Cow<'a, [u8]>, Option<Vec<u8>>);

/// The fields of one line, from left to right.
#[derive(Clone, Debug)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The fields of a line.
    pub fn of(line: &'a [u8]) -> Self {
        Self(line)
    }

    /// The field that comes next, without taking it.
    pub fn peek(&self) -> Option<&'a [u8]> {
        self.clone().next()
    }

    /// The next field, if it is a number that stands in the place of an optional one.
    pub fn take_number(&mut self) -> Option<&'a [u8]> {
        let field = self.peek().filter(|field| field.first().is_some_and(u8::is_ascii_digit))?;
        self.next();
        Some(field)
    }

    /// Reads the file type.
    pub fn ftype(&mut self) -> Result<Ftype, FieldError> {
        match self.next() {
            Some(&[letter]) => Ftype::from_letter(letter).ok_or(FieldError::Ftype),
            _ => Err(FieldError::Ftype),
        }
    }

    /// Reads the class of an object.
    pub fn class(&mut self) -> Result<String, FieldError> {
        class(self.next().unwrap_or_default())
    }

    /// `path` or `path=target`, unescaped.
    pub fn path_and_target(&mut self) -> Result<PathAndTarget<'a>, FieldError> {
        let field = self.next().ok_or(FieldError::Pathname)?;
        let (path, target) = match field.iter().position(|&byte| byte == b'=') {
            Some(at) => (&field[..at], field.get(at + 1..).map(unescape)),
            None => (field, None),
        };
        Ok((unescaped(path), target))
    }

    /// What follows the path, or in `contents` the class: device numbers, attributes and content as the type has.
    pub fn details(&mut self, object: &mut Object) -> Result<(), FieldError> {
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

    /// Major and minor number.
    pub fn device(&mut self) -> Result<(Option<u32>, Option<u32>), FieldError> {
        Ok((self.device_number()?, self.device_number()?))
    }

    /// Mode, owner and group.
    pub fn attributes(&mut self) -> Result<Attributes, FieldError> {
        Ok(Attributes {
            mode: self.mode()?,
            owner: name(self.next(), FieldError::Owner, FieldError::OwnerLength)?,
            group: name(self.next(), FieldError::Group, FieldError::GroupLength)?,
        })
    }

    /// Reads size, sum and modification time.
    pub fn content(&mut self) -> Result<Content, FieldError> {
        let mut next = |most| known(self.next(), |digits| number(digits, most), FieldError::Content);
        Ok(Content {
            size: next(u64::MAX)?,
            cksum: next(u64::from(u16::MAX))?.and_then(|cksum| u16::try_from(cksum).ok()),
            mtime: next(i64::MAX.unsigned_abs())?.and_then(|mtime| i64::try_from(mtime).ok()),
        })
    }

    /// Refuses a line that has more fields.
    pub fn end(&mut self) -> Result<(), FieldError> {
        if self.next().is_none() { Ok(()) } else { Err(FieldError::Extra) }
    }

    /// Reads a major or minor number; `None` for `?`.
    pub fn device_number(&mut self) -> Result<Option<u32>, FieldError> {
        known(self.next(), |digits| u32::try_from(number(digits, u64::MAX)?).ok(), FieldError::Device)
    }

    /// Reads the permission bits; `None` for `?`.
    pub fn mode(&mut self) -> Result<Option<Mode>, FieldError> {
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

/// What separates fields: blanks and tabs.
pub fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// A class name. The names of its scripts (`i.<class>`) are made of it, so that a `/` in it could lead elsewhere.
pub fn class(field: &[u8]) -> Result<String, FieldError> {
    let fits = (1..=LONGEST_WORD).contains(&field.len())
        && field.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-.+".contains(byte));
    let class = std::str::from_utf8(field).ok().filter(|_| fits);
    class.map(str::to_owned).ok_or(FieldError::Class)
}

/// A link's target, where the type has one.
pub fn target(ftype: Ftype, target: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, FieldError> {
    let fits = target
        .as_ref()
        .is_none_or(|target| (1..=LONGEST_TARGET).contains(&target.len()) && !target.contains(&0));
    if fits && target.is_some() == ftype.is_link() { Ok(target) } else { Err(FieldError::Link) }
}

/// A decimal number of digits only, not above `most`.
pub fn number(digits: &[u8], most: u64) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| {
        let digit = u64::from(digit.checked_sub(b'0').filter(|digit| *digit <= 9)?);
        value.checked_mul(10)?.checked_add(digit).filter(|value| *value <= most)
    })
}

/// A field that may be `?`, the unknown.
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

/// An owner or group: `?`, or a name (a `$VARIABLE` of the installation is kept as it is).
pub fn name(
    field: Option<&[u8]>,
    error: FieldError,
    too_long: FieldError,
) -> Result<Option<String>, FieldError> {
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
        && number(field, u64::MAX).is_some_and(|number| number == u64::from(NOBODYS_NUMBER));
    if !rule::holds("contents.owner", !means_none) {
        return Err(FieldError::NoNumber);
    }
    let printable = std::str::from_utf8(field).ok().filter(is_printable);
    printable.map(|name| Some(name.to_owned())).ok_or(error)
}

/// Writes `path` or `path=target`.
pub fn write_path(out: &mut Vec<u8>, path: &[u8], target: Option<&Vec<u8>>) {
    out.extend_from_slice(&escape(path));
    if let Some(target) = target {
        out.push(b'=');
        out.extend_from_slice(&escape(target));
    }
}

/// Writes what [`Fields::details`] reads, each field behind a blank.
pub fn write_details(out: &mut Vec<u8>, object: &Object) {
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

/// Writes major and minor number, each behind a blank.
pub fn write_device(out: &mut Vec<u8>, (major, minor): (Option<u32>, Option<u32>)) {
    write_known(out, major);
    write_known(out, minor);
}

/// Writes mode, owner and group, each behind a blank.
pub fn write_attributes(out: &mut Vec<u8>, attributes: &Attributes) {
    let Attributes { mode, owner, group } = attributes;
    write_known(out, mode.map(|mode| format!("{:04o}", mode.bits())));
    write_known(out, owner.as_ref());
    write_known(out, group.as_ref());
}

/// Writes size, checksum and modification time, each behind a blank.
pub fn write_content(out: &mut Vec<u8>, content: Content) {
    write_known(out, content.size);
    write_known(out, content.cksum);
    write_known(out, content.mtime);
}

/// Appends a value behind a blank, `?` where it is not known.
pub fn write_known(out: &mut Vec<u8>, value: Option<impl ToString>) {
    out.push(b' ');
    out.extend_from_slice(value.map_or_else(|| "?".to_owned(), |value| value.to_string()).as_bytes());
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
    fn a_class_is_a_word_that_is_safe_in_a_file_name() {
        assert_eq!(class(b"cswcpsample-conf_1.x+").unwrap(), "cswcpsample-conf_1.x+");
        for bad in [&b""[..], b"a/b", b"../x", b"a b", b"caf\xe9", &[b'c'; 65]] {
            assert_eq!(class(bad), Err(FieldError::Class));
        }
    }

    #[test]
    fn fields_stand_between_any_blanks() {
        let fields: Vec<_> = Fields::of(b" \ta\t\tb c ").collect();
        assert_eq!(fields, [b"a", b"b", b"c"]);
    }
}
