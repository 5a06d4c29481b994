//! prototype(4): the recipe of a package, one line per object, with commands between them.
//!
//! Nothing is looked up or expanded. Extra fields at the end of a line are ignored and reported
//! ([`PrototypeEntry::has_extra_fields`]), because real files have modes after symbolic links.

#[cfg(test)]
mod tests;

use crate::format::FieldError;
use crate::format::LONGEST_LINE;
use crate::format::fields::{self, Fields};
use crate::package::{ContentInfo, Ftype, Mode, PackagePath, escape, unescape};

const LONGEST_PATH: usize = 4095;
const LONGEST_NAME: usize = crate::format::params::LONGEST_NAME;

/// A line that is neither blank nor a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrototypeLine {
    /// The line number, counted from 1.
    pub number: u64,
    /// The entry or command on the line.
    pub item: PrototypeItem,
}

/// An entry or a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrototypeItem {
    /// An object or information file.
    Entry(PrototypeEntry),
    /// A line that starts with `!`.
    Command(PrototypeCommand),
}

/// An object or information file to be packaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrototypeEntry {
    /// The part (volume) that should contain it.
    pub part: Option<u32>,
    /// The object's type.
    pub ftype: Ftype,
    /// The object's class; empty for an information file.
    pub class: String,
    /// The path in the package, with variables as written; for an information file its name, without a `/`.
    pub path: PackagePath,
    /// The text after the `=`: the target of a link, or the source of a file's content. Never empty.
    pub right: Option<Vec<u8>>,
    /// The major and minor number, for `b` and `c` only; an inner `None` is `?`.
    pub device: Option<(Option<u32>, Option<u32>)>,
    /// Mode, owner and group; all missing for links and information files.
    pub attributes: PrototypeAttributes,
    /// True if the line has extra fields at its end.
    pub has_extra_fields: bool,
}

/// Mode, owner and group as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrototypeAttributes {
    /// The permission bits.
    pub mode: AttributeSetting<Mode>,
    /// The owner. A `$VARIABLE` of the installation counts as a value.
    pub owner: AttributeSetting<String>,
    /// The group, likewise.
    pub group: AttributeSetting<String>,
}

/// One attribute as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AttributeSetting<T> {
    /// Missing: the line ends before it.
    #[default]
    Missing,
    /// `?`: the attribute found at installation is kept.
    Kept,
    /// A fixed value.
    Value(T),
    /// The value of a variable of the build; the variable's name, without the `$`.
    Variable(String),
}

/// A line that starts with `!`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrototypeCommand {
    /// `!include`: continues with another file.
    Include(Vec<u8>),
    /// `!search`: replaces the directories that are searched for the last component of a path.
    Search(Vec<Vec<u8>>),
    /// `!rsearch`: replaces the directories that are searched for the whole path.
    SearchWhole(Vec<Vec<u8>>),
    /// `!default`: sets mode, owner and group of entries that lack them.
    Default(PrototypeAttributes),
    /// `!NAME=value`: sets a variable.
    Set {
        /// The variable's name.
        name: String,
        /// The variable's value.
        value: Vec<u8>,
    },
}

/// The reason a line cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
#[non_exhaustive]
pub struct PrototypeError {
    /// The line number, counted from 1.
    pub line: u64,
    /// The path of the entry, if it could be read, as a message shows it.
    pub pathname: Option<String>,
    /// The fault in the line.
    pub problem: PrototypeProblem,
}

/// The fault in a line of a prototype.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrototypeProblem {
    /// A fault in a field of an entry.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// A source after the `=` that is empty, too long, or has a NUL byte.
    #[error("unable to read the source behind the `=`")]
    Source,
    /// A `$` without a variable name, or a variable of the installation as a mode.
    #[error("<{0}> cannot be a variable here")]
    Variable(String),
    /// A `!default` without valid mode, owner and group.
    #[error("garbled default settings")]
    Default,
    /// An unknown command.
    #[error("unknown command <!{0}>")]
    Command(String),
    /// A command without a usable file or directory.
    #[error("<!{0}> needs a path that can be used")]
    Argument(&'static str),
    /// An invalid variable name before the `=`.
    #[error("<{0}> is not the name of a variable")]
    Name(String),
    /// A line longer than [`LONGEST_LINE`].
    #[error("longer than {LONGEST_LINE} bytes")]
    TooLong,
}

impl PrototypeAttributes {
    /// Returns true if mode, owner or group is missing.
    pub fn is_incomplete(&self) -> bool {
        self.mode == AttributeSetting::Missing
            || self.owner == AttributeSetting::Missing
            || self.group == AttributeSetting::Missing
    }
}

impl<T: Clone> AttributeSetting<T> {
    /// Returns this setting, or `other` if this one is missing.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        if matches!(self, Self::Missing) { other.clone() } else { self.clone() }
    }
}

impl PrototypeEntry {
    /// Creates an entry with a type, a class and a path, and nothing else.
    pub fn new(ftype: Ftype, class: &str, path: PackagePath) -> Self {
        Self {
            part: None,
            ftype,
            class: class.to_owned(),
            path,
            right: None,
            device: None,
            attributes: PrototypeAttributes::default(),
            has_extra_fields: false,
        }
    }
}

/// Parses the lines in order, skipping blank lines and comments (`#`, and `:` as in a pkgmap).
pub fn lines(text: &[u8]) -> impl Iterator<Item = Result<PrototypeLine, PrototypeError>> {
    crate::format::lines::numbered_lines(text).filter_map(|line| match line {
        Err(error) => {
            Some(Err(PrototypeError { line: error.line, pathname: None, problem: PrototypeProblem::TooLong }))
        }
        Ok((number, content)) => parse_line(content)
            .transpose()
            .map(|item| item.map(|item| PrototypeLine { number, item }).map_err(|error| error.on(number))),
    })
}

struct ParseTrouble {
    pathname: Option<String>,
    problem: PrototypeProblem,
}

impl ParseTrouble {
    fn on(self, line: u64) -> PrototypeError {
        PrototypeError { line, pathname: self.pathname, problem: self.problem }
    }
}

impl<P: Into<PrototypeProblem>> From<P> for ParseTrouble {
    fn from(problem: P) -> Self {
        Self { pathname: None, problem: problem.into() }
    }
}

fn parse_line(line: &[u8]) -> Result<Option<PrototypeItem>, ParseTrouble> {
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
    let mut fields = Fields::new(text);
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
    entry.has_extra_fields = fields.peek().is_some();
    Ok(entry)
}

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

/// A lower-case initial belongs to the build, an upper-case one to the installation (prototype(4)).
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

fn build_variable(field: &[u8]) -> Result<String, PrototypeProblem> {
    let name = field.strip_prefix(b"$").and_then(variable_name);
    let name = name.filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()));
    name.ok_or_else(|| PrototypeProblem::Variable(shown(field)))
}

fn variable_name(bytes: &[u8]) -> Option<String> {
    let fits = bytes.len() <= LONGEST_NAME
        && bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(byte));
    std::str::from_utf8(bytes).ok().filter(|_| fits).map(str::to_owned)
}

fn command(text: &[u8]) -> Result<PrototypeCommand, PrototypeProblem> {
    let mut words = Fields::new(text);
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
            Ok(attributes) if !attributes.is_incomplete() && words.next().is_none() => {
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

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..200).unwrap_or(bytes)).escape_debug().to_string()
}

impl PrototypeItem {
    /// Formats the line, without a newline.
    pub fn write(&self) -> Vec<u8> {
        match self {
            Self::Entry(entry) => entry.write(None),
            Self::Command(command) => command.write(),
        }
    }
}

impl PrototypeEntry {
    /// Formats the line, without a newline. `content` is appended, as pkgproto(1) does on request.
    pub fn write(&self, content: Option<ContentInfo>) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(part) = self.part {
            out.extend_from_slice(format!("{part} ").as_bytes());
        }
        out.extend_from_slice(&[self.ftype.letter(), b' ']);
        if self.ftype != Ftype::Information {
            out.extend_from_slice(self.class.as_bytes());
            out.push(b' ');
        }
        fields::write_path(&mut out, self.path.as_bytes(), self.right.as_ref());
        if let Some((major, minor)) = self.device {
            fields::write_known(&mut out, major);
            fields::write_known(&mut out, minor);
        }
        self.attributes.write_to(&mut out);
        if let Some(content) = content {
            fields::write_content(&mut out, content);
        }
        out
    }
}

impl PrototypeAttributes {
    fn write_to(&self, out: &mut Vec<u8>) {
        write_setting(out, &self.mode, |mode: &Mode| format!("{:04o}", mode.bits()));
        write_setting(out, &self.owner, Clone::clone);
        write_setting(out, &self.group, Clone::clone);
    }
}

impl PrototypeCommand {
    fn write(&self) -> Vec<u8> {
        let with = |word: &str, paths: &[Vec<u8>]| {
            let mut out = format!("!{word}").into_bytes();
            for path in paths {
                out.push(b' ');
                out.extend_from_slice(&escape(path));
            }
            out
        };
        match self {
            Self::Include(path) => with("include", std::slice::from_ref(path)),
            Self::Search(paths) => with("search", paths),
            Self::SearchWhole(paths) => with("rsearch", paths),
            Self::Default(attributes) => {
                let mut out = b"!default".to_vec();
                attributes.write_to(&mut out);
                out
            }
            Self::Set { name, value } => [b"!", name.as_bytes(), b"=\"", value, b"\""].concat(),
        }
    }
}

fn write_setting<T>(out: &mut Vec<u8>, setting: &AttributeSetting<T>, text: impl Fn(&T) -> String) {
    let text = match setting {
        AttributeSetting::Missing => return,
        AttributeSetting::Kept => "?".to_owned(),
        AttributeSetting::Value(value) => text(value),
        AttributeSetting::Variable(name) => format!("${name}"),
    };
    out.push(b' ');
    out.extend_from_slice(text.as_bytes());
}
