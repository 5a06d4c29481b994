//! prototype(4): the recipe of a package, one line per object, with commands between them.
//!
//! Reads and writes single numbered lines, so that a caller can report all faults of a file at once. Paths
//! and targets that the classic format cannot express are written with `\ooo` escapes (see
//! [`escape`](crate::package::escape)). Nothing is looked up: variables stay as they are, `!include` is
//! returned as a command, and the existence of objects is not checked.
//!
//! Extra fields at the end of a line are ignored, as by the SVR4 tools, because real files have modes after
//! symbolic links; [`PrototypeEntry::has_more`] reports them.

mod parse;
mod write;

use crate::package::{Ftype, Mode, PackagePath};

use super::FieldError;
use super::fields;
use super::lines::LONGEST_LINE;

/// The length of the longest path of a source, an included file or a search directory, in bytes (`PATH_MAX` -
/// 1).
const LONGEST_PATH: usize = 4095;
/// The length of the longest variable name, in bytes: that of a pkginfo parameter.
const LONGEST_NAME: usize = super::params::LONGEST_NAME;

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
    /// The text after the `=`: the target of a link, or the source of a file's content (meaningless for types
    /// without content). Never empty.
    pub right: Option<Vec<u8>>,
    /// The major and minor number, for `b` and `c` only; an inner `None` is `?`.
    pub device: Option<(Option<u32>, Option<u32>)>,
    /// Mode, owner and group; all missing for links and information files.
    pub attributes: PrototypeAttributes,
    /// Whether the line has extra fields at its end.
    pub has_more: bool,
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
    /// Returns whether mode, owner or group is missing.
    pub fn lack(&self) -> bool {
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
            has_more: false,
        }
    }
}

/// Returns whether a word can be the class of an object: 1 to 64 letters, digits and `_ - . +`.
pub fn is_class(word: &[u8]) -> bool {
    fields::class(word).is_ok()
}

/// Parses the lines in order, skipping blank lines and comments (`#`, and `:` as in a pkgmap).
pub fn lines(text: &[u8]) -> impl Iterator<Item = Result<PrototypeLine, PrototypeError>> {
    super::lines::numbered(text).filter_map(|line| match line {
        Err(error) => {
            Some(Err(PrototypeError { line: error.line, pathname: None, problem: PrototypeProblem::TooLong }))
        }
        Ok((number, content)) => parse::line(content)
            .transpose()
            .map(|item| item.map(|item| PrototypeLine { number, item }).map_err(|error| error.on(number))),
    })
}

#[cfg(test)]
mod tests;
