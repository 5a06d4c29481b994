//! The parser of one prototype line.

use super::{
    AttributeSetting, LONGEST_NAME, LONGEST_PATH, PrototypeAttributes, PrototypeCommand, PrototypeEntry,
    PrototypeError, PrototypeItem, PrototypeProblem,
};
use crate::format::FieldError;
use crate::format::fields::{self, Fields};
use crate::package::{Ftype, PackagePath, unescape};

/// A fault and the path concerned.
pub(super) struct ParseTrouble {
    pathname: Option<String>,
    problem: PrototypeProblem,
}

impl ParseTrouble {
    pub(super) fn on(self, line: u64) -> PrototypeError {
        PrototypeError { line, pathname: self.pathname, problem: self.problem }
    }
}

impl<P: Into<PrototypeProblem>> From<P> for ParseTrouble {
    fn from(problem: P) -> Self {
        Self { pathname: None, problem: problem.into() }
    }
}

/// Parses a line; `None` if it is blank or a comment.
pub(super) fn line(line: &[u8]) -> Result<Option<PrototypeItem>, ParseTrouble> {
    let text = line.trim_ascii();
    match text.first() {
        None | Some(b'#' | b':') => Ok(None),
        Some(b'!') => command(text.get(1..).unwrap_or_default().trim_ascii_start())
            .map(|command| Some(PrototypeItem::Command(command)))
            .map_err(ParseTrouble::from),
        Some(_) => entry(text).map(|entry| Some(PrototypeItem::Entry(entry))),
    }
}

fn entry(text: &[u8]) -> Result<PrototypeEntry, ParseTrouble> {
    let mut fields = Fields::of(text);
    let part = match fields.take_number() {
        Some(digits) => {
            let part = fields::number(digits, u64::from(u32::MAX)).and_then(|part| u32::try_from(part).ok());
            Some(part.ok_or(FieldError::Volume)?)
        }
        None => None,
    };
    let ftype = fields.ftype()?;
    let class = if ftype == Ftype::Information { "" } else { fields.class()? };
    let (path, right) = fields.path_and_target()?;
    let about = |problem| ParseTrouble { pathname: Some(shown(&path)), problem };
    let name = PackagePath::new(&path).map_err(|error| about(FieldError::from(error).into()))?;
    let mut entry = PrototypeEntry { part, ..PrototypeEntry::new(ftype, class, name) };
    rest(&mut entry, &mut fields, right).map_err(about)?;
    entry.has_more = fields.peek().is_some();
    Ok(entry)
}

/// Parses the fields after the path.
fn rest(
    entry: &mut PrototypeEntry,
    fields: &mut Fields<'_>,
    right: Option<Vec<u8>>,
) -> Result<(), PrototypeProblem> {
    let ftype = entry.ftype;
    if ftype == Ftype::Information && entry.path.as_bytes().contains(&b'/') {
        return Err(FieldError::InformationName.into());
    }
    entry.right = if ftype.is_link() {
        fields::target(ftype, right)?
    } else {
        right.map(|source| usable(source).ok_or(PrototypeProblem::Source)).transpose()?
    };
    if ftype.is_link() || ftype == Ftype::Information {
        return Ok(());
    }
    if ftype.is_device() {
        entry.device = Some((fields.device_number()?, fields.device_number()?));
    }
    entry.attributes = attributes(fields)?;
    Ok(())
}

fn attributes(fields: &mut Fields<'_>) -> Result<PrototypeAttributes, PrototypeProblem> {
    let mode = match fields.peek() {
        None => AttributeSetting::Missing,
        Some(field) if field.starts_with(b"$") => {
            fields.next();
            AttributeSetting::Variable(build_variable(field)?)
        }
        Some(_) => fields.mode()?.map_or(AttributeSetting::Kept, AttributeSetting::Value),
    };
    Ok(PrototypeAttributes {
        mode,
        owner: account(fields.next(), FieldError::Owner, FieldError::OwnerLength)?,
        group: account(fields.next(), FieldError::Group, FieldError::GroupLength)?,
    })
}

/// Parses an owner or group. A variable with a lower-case initial is one of the build, with an upper-case
/// initial one of the installation (prototype(4)).
fn account(
    field: Option<&[u8]>,
    error: FieldError,
    too_long: FieldError,
) -> Result<AttributeSetting<String>, PrototypeProblem> {
    let Some(field) = field else { return Ok(AttributeSetting::Missing) };
    if field.first() == Some(&b'$') && field.get(1).is_some_and(u8::is_ascii_lowercase) {
        return Ok(AttributeSetting::Variable(build_variable(field)?));
    }
    let name = fields::name(Some(field), error, too_long)?.map(String::from);
    Ok(name.map_or(AttributeSetting::Kept, AttributeSetting::Value))
}

/// Parses the name of a `$variable` of the build.
fn build_variable(field: &[u8]) -> Result<String, PrototypeProblem> {
    let name = field.strip_prefix(b"$").and_then(variable_name);
    let name = name.filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()));
    name.ok_or_else(|| PrototypeProblem::Variable(shown(field)))
}

/// Parses the name of a variable: a letter, then letters, digits and `_ - .`.
fn variable_name(bytes: &[u8]) -> Option<String> {
    let fits = bytes.len() <= LONGEST_NAME
        && bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(byte));
    std::str::from_utf8(bytes).ok().filter(|_| fits).map(str::to_owned)
}

fn command(text: &[u8]) -> Result<PrototypeCommand, PrototypeProblem> {
    let mut words = Fields::of(text);
    let word = words.next().unwrap_or_default();
    match word {
        b"include" => {
            let path = words.next().and_then(|path| usable(unescape(path)));
            words.end()?;
            path.map(PrototypeCommand::Include).ok_or(PrototypeProblem::Argument("include"))
        }
        b"search" => {
            directories(words).map(PrototypeCommand::Search).ok_or(PrototypeProblem::Argument("search"))
        }
        b"rsearch" => {
            directories(words).map(PrototypeCommand::SearchWhole).ok_or(PrototypeProblem::Argument("rsearch"))
        }
        b"default" => match attributes(&mut words) {
            Ok(attributes) if !attributes.lack() && words.next().is_none() => {
                Ok(PrototypeCommand::Default(attributes))
            }
            _ => Err(PrototypeProblem::Default),
        },
        _ => assignment(text, word),
    }
}

fn assignment(text: &[u8], word: &[u8]) -> Result<PrototypeCommand, PrototypeProblem> {
    let Some(equals) = text.iter().position(|&byte| byte == b'=') else {
        return Err(PrototypeProblem::Command(shown(word)));
    };
    let (name, value) = text.split_at(equals);
    let name = name.trim_ascii();
    let name = variable_name(name).ok_or_else(|| PrototypeProblem::Name(shown(name)))?;
    let value = value.get(1..).unwrap_or_default().trim_ascii();
    let unquoted = [b"\"", b"'"].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    Ok(PrototypeCommand::Set { name, value: unquoted.unwrap_or(value).to_vec() })
}

fn directories(words: Fields<'_>) -> Option<Vec<Vec<u8>>> {
    let directories: Option<Vec<_>> = words.map(|word| usable(unescape(word))).collect();
    directories.filter(|directories| !directories.is_empty())
}

/// Returns the path if a system call would accept it.
fn usable(path: Vec<u8>) -> Option<Vec<u8>> {
    ((1..=LONGEST_PATH).contains(&path.len()) && !path.contains(&0)).then_some(path)
}

/// Returns bytes as a message shows them, cut to a readable length.
fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..200).unwrap_or(bytes)).escape_debug().to_string()
}
