//! prototype(4): what a package is to be made of, one line per object, with commands between them.
//!
//! Reads and writes single lines, each with its number, so that whoever makes a package can report all that is wrong
//! with a file at once. A path or target that the classic format cannot carry is written with `\ooo` escapes (see
//! [`escape`](crate::package::escape)). Nothing is looked up here: variables stay as they are, `!include` is only
//! told of, and whether an object is there is the matter of pkgmk(1).
//!
//! As with the SVR4 tools, fields behind the last one that a line needs are passed over (real files have modes behind
//! symbolic links); [`PrototypeEntry::has_more`] tells of them.

mod parse;
mod write;

use crate::package::{Ftype, Mode, PackagePath};

use super::FieldError;
use super::fields;
use super::lines::LONGEST_LINE;

/// The longest path of a source, of an included file or of a directory to be searched, in bytes (`PATH_MAX` - 1).
const LONGEST_PATH: usize = 4095;
/// The longest name of a variable, in bytes: as much as a pkginfo keeps.
const LONGEST_NAME: usize = super::params::LONGEST_NAME;

/// A line that says something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrototypeLine {
    /// Its number; the first line of the file is 1.
    pub number: u64,
    /// What it says.
    pub item: PrototypeItem,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrototypeItem {
    /// An object or information file.
    Entry(PrototypeEntry),
    /// A line that begins with `!`.
    Command(PrototypeCommand),
}

/// An object or information file to be packaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrototypeEntry {
    /// The part (volume) that it is wanted in.
    pub part: Option<u32>,
    /// Its type.
    pub ftype: Ftype,
    /// Its class; empty for an information file.
    pub class: String,
    /// Its path in the package, variables as they are; for an information file its name, without any `/`.
    pub path: PackagePath,
    /// What stands behind the `=`: the target of a link, or where the content of a file comes from (for types without
    /// content it means nothing). Never empty.
    pub right: Option<Vec<u8>>,
    /// Major and minor number, for `b` and `c` only; `None` inside is `?`.
    pub device: Option<(Option<u32>, Option<u32>)>,
    /// Mode, owner and group; all missing for links and information files.
    pub attributes: PrototypeAttributes,
    /// Whether the line goes on behind its last field.
    pub has_more: bool,
}

/// Mode, owner and group as a line gives them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrototypeAttributes {
    /// Permission bits.
    pub mode: AttributeSetting<Mode>,
    /// Owner. A `$VARIABLE` of the installation counts as a value.
    pub owner: AttributeSetting<String>,
    /// Group, likewise.
    pub group: AttributeSetting<String>,
}

/// One attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AttributeSetting<T> {
    /// The line ends before it.
    #[default]
    Missing,
    /// `?`: what is there when the package is installed stays.
    Kept,
    /// This value.
    Value(T),
    /// The value of a variable, known when the package is made; its name without the `$`.
    Variable(String),
}

/// A line that begins with `!`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrototypeCommand {
    /// `!include`: goes on in another file.
    Include(Vec<u8>),
    /// `!search`: directories that are searched for the last component of a path, instead of those before.
    Search(Vec<Vec<u8>>),
    /// `!rsearch`: directories that are searched for the whole path, instead of those before.
    SearchWhole(Vec<Vec<u8>>),
    /// `!default`: mode, owner and group of entries that lack them.
    Default(PrototypeAttributes),
    /// `!NAME=value`: gives a variable a value.
    Set {
        /// Its name.
        name: String,
        /// Its value.
        value: Vec<u8>,
    },
}

/// Why a line says nothing that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct PrototypeError {
    /// Its number; the first line of the file is 1.
    pub line: u64,
    /// The path that it is about, where one could be read; for a person.
    pub pathname: Option<String>,
    /// What is wrong.
    pub problem: PrototypeProblem,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrototypeProblem {
    /// A field of an entry.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// What stands behind the `=` of a file is empty, too long, or has a NUL byte.
    #[error("unable to read the source behind the `=`")]
    Source,
    /// A `$` without the name of a variable, or an install variable as a mode.
    #[error("<{0}> cannot be a variable here")]
    Variable(String),
    /// Not mode, owner and group behind `!default`.
    #[error("garbled default settings")]
    Default,
    /// None of the commands.
    #[error("unknown command <!{0}>")]
    Command(String),
    /// A command without a file or directory, or with one that cannot be used.
    #[error("<!{0}> needs a path that can be used")]
    Argument(&'static str),
    /// Not the name of a variable before the `=`.
    #[error("<{0}> is not the name of a variable")]
    Name(String),
    /// The line is too long.
    #[error("longer than {LONGEST_LINE} bytes")]
    TooLong,
}

impl PrototypeAttributes {
    /// Whether mode, owner or group is missing.
    pub fn lack(&self) -> bool {
        self.mode == AttributeSetting::Missing
            || self.owner == AttributeSetting::Missing
            || self.group == AttributeSetting::Missing
    }
}

impl<T: Clone> AttributeSetting<T> {
    /// This setting, or that one where this is missing.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        if matches!(self, Self::Missing) { other.clone() } else { self.clone() }
    }
}

impl PrototypeEntry {
    /// An entry of which no more is known than type, class and path.
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

/// Whether a word can be the class of an object: 1 to 64 letters, digits and `_ - . +`.
pub fn is_class(word: &[u8]) -> bool {
    fields::class(word).is_ok()
}

/// The lines that say something, in order; blank ones and comments (`#`, and `:` as in a pkgmap) are passed over.
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
