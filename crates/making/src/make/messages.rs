//! Errors, warnings and progress of making a package.

use std::path::PathBuf;
use std::{fmt, io};

use patchadm_rootfs::{Interrupt, RootError};
use patchadm_svr4::format::params::ParamsError;
use patchadm_svr4::format::pkgmap::MOST_ENTRIES;
use patchadm_svr4::format::prototype;
use patchadm_svr4::package::{PathError, PkgInst};

/// A failed making. Nothing of it remains.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// No prototype was named, and the working directory has none.
    #[error("no prototype file is named, and there is neither prototype nor Prototype here")]
    NoPrototype,
    /// Malformed lines of prototypes, in their order.
    #[error("unable to build pkgmap from prototype file")]
    Prototype(Vec<PrototypeTrouble>),
    /// The prototype has no line for the pkginfo.
    #[error("required pkginfo file is not specified in prototype file")]
    NoPkginfo,
    /// The pkginfo is no parameter file.
    #[error("{}: {error}", path.display())]
    Pkginfo { path: PathBuf, error: ParamsError },
    /// A parameter that a package must have.
    #[error("parameter <{name}> is not defined in <{}>", path.display())]
    Parameter { name: &'static str, path: PathBuf },
    /// A value that no package can have.
    #[error("parameter <{name}> {reason}")]
    Value { name: &'static str, reason: &'static str },
    #[error("invalid package abbreviation <{0}>")]
    Abbreviation(String),
    /// An instance other than PKG was requested.
    #[error("PKG parameter <{parameter}> does not match instance <{instance}>")]
    Instance { parameter: String, instance: PkgInst },
    /// The package takes more than `-l` allows.
    #[error(
        "the package takes {blocks} blocks, which is more than the limit of {limit}; it is not made in parts"
    )]
    Limit {
        /// Blocks of 512 bytes that it takes.
        blocks: u64,
        /// Blocks that it may take.
        limit: u64,
    },
    /// The package is there already.
    #[error("must use -o option to overwrite <{}>", .0.display())]
    Exists(PathBuf),
    /// The existing object under the name of the package is not a package.
    #[error("<{}> is not a package, and is not overwritten", .0.display())]
    Foreign(PathBuf),
    /// A file cannot be read.
    #[error("unable to read <{}>: {error}", path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Path(PathError),
    #[error(transparent)]
    Write(#[from] RootError),
    #[error("interrupted by signal {0}")]
    Interrupted(i32),
}

/// A line of a prototype that cannot be used.
#[derive(Debug)]
pub struct PrototypeTrouble {
    pub file: PathBuf,
    /// 0 if the file as a whole is meant.
    pub line: u64,
    pub kind: PrototypeTroubleKind,
}

/// The faults of a line of a prototype.
#[derive(Debug, thiserror::Error)]
pub enum PrototypeTroubleKind {
    #[error("garbled entry\n- pathname: {}\n- problem: {problem}", pathname.as_deref().unwrap_or("Unknown"))]
    Garbled { pathname: Option<String>, problem: prototype::PrototypeProblem },
    /// The prototype, or one that it includes, cannot be read.
    #[error("unable to open prototype <{}>: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    /// Includes are nested too deeply, or too many.
    #[error("too many levels or files of !include")]
    Include,
    /// More entries than a pkgmap can have.
    #[error("more than {MOST_ENTRIES} entries")]
    TooMany,
    /// A variable without a required value.
    #[error("no value for the variable in <{0}>")]
    Variable(String),
    /// A variable with an invalid value.
    #[error("<{value}>, the value of ${name}, {reason}")]
    Value { name: String, value: String, reason: String },
    /// The path is invalid with the values of its variables.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The source of the content is missing.
    #[error(transparent)]
    Object(#[from] NoObject),
    /// Another line has the same path.
    #[error("duplicate pathname <{path}>, first in {} on line {line}", file.display())]
    Duplicate { path: String, file: PathBuf, line: u64 },
}

/// No regular file was found for an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no object for <{name}> found in {place}")]
pub struct NoObject {
    /// The name that was looked for.
    pub name: String,
    pub place: SearchPlace,
}

/// Where objects are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchPlace {
    /// Below the directories of `-r` and `-b`.
    Root,
    /// At the path of the entry itself.
    Local,
    /// In the directories of `!search` and `!rsearch`, and beside the prototype.
    Search,
}

impl fmt::Display for SearchPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root directory",
            Self::Local => "local path",
            Self::Search => "search path",
        })
    }
}

impl fmt::Display for PrototypeTrouble {
    /// As pkgmk prints it: the file, then the indented fault, and the line at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ERROR in {}:", self.file.display())?;
        for line in self.kind.to_string().lines() {
            write!(f, "\n    {line}")?;
        }
        if self.line > 0 {
            write!(f, "\n    - line: {}", self.line)?;
        }
        Ok(())
    }
}

/// A message during the making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MakeStep {
    Building,
    /// The parameters are put together.
    Processing,
    /// The number of entries without the pkginfo.
    Volumizing(usize),
    /// The space that the part takes.
    Part {
        /// Blocks of 512 bytes.
        blocks: u64,
        /// Files and directories, as the classic pkgmk counts them.
        entries: usize,
    },
    Packaging,
    /// This file is being written.
    Writing(PathBuf),
    /// The scripts are looked at.
    Validating,
    /// The package is in its place.
    Complete,
    Warning(MakeWarning),
}

/// A warning for the producer of a package.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MakeWarning {
    /// A parameter without a given value.
    #[error("parameter <{name}> set to \"{value}\"")]
    Parameter { name: &'static str, value: String },
    /// A path begins with an install variable.
    #[error("parametric paths may ignore BASEDIR")]
    Parametric,
    /// The directory of an object has no entry.
    #[error("missing directory entry for <{0}>")]
    Directory(String),
    /// A class that CLASSES lacks.
    #[error("unreferenced class <{0}> in prototype file")]
    Class(String),
    /// A class action script of a class that CLASSES lacks.
    #[error("script <{script}> is of class <{class}>, which CLASSES does not name")]
    Script { script: String, class: String },
    /// Attributes with neither a value nor a default.
    #[error("attributes set to {attributes} for <{path}>")]
    Attributes {
        /// Mode, owner and group as in the pkgmap.
        attributes: String,
        path: String,
    },
    /// A path that the classic format cannot express.
    #[error("line {line}: <{path}> is written with escapes, which classic tools cannot install")]
    Escaped {
        /// The line of the prototype.
        line: u64,
        path: String,
    },
    /// Fields after the last one of an entry.
    #[error("line {line}: extra fields behind <{path}> are passed over")]
    Extra {
        /// The line of the prototype.
        line: u64,
        path: String,
    },
    /// The id of a patch is none.
    #[error("SUNW_PATCHID: {0}; an id is a base, a hyphen and a revision, such as 100001-01")]
    PatchId(String),
    /// A patch without a parameter that must equal that of its package.
    #[error("{name} of a patch is that of the package that it is for, which \"{value}\" hardly is")]
    OfPatch {
        name: &'static str,
        /// The value that it got.
        value: String,
    },
    /// A file `deletes` in a package that is no patch.
    #[error("the file deletes has no effect: without SUNW_PATCHID the package is no patch")]
    DeletesOfNoPatch,
    /// A file `deletes` with invalid content.
    #[error("the file deletes: {0}")]
    Deletes(String),
    /// An owner or group that is a person of this machine.
    #[error("{kind} <{name}> of <{path}>{} is an account of this machine, which other roots may not know", more(*.others))]
    Account {
        /// `owner` or `group`.
        kind: &'static str,
        name: String,
        /// The first object that has it.
        path: String,
        /// The number of other objects.
        others: usize,
    },
    /// A part other than the first.
    #[error("line {line}: part {part} is passed over: a package is made in one part")]
    Part {
        /// The line of the prototype.
        line: u64,
        part: u32,
    },
}

fn more(others: usize) -> String {
    match others {
        0 => String::new(),
        others => format!(" and {others} more"),
    }
}

/// The observer of the making.
pub struct MakeWatch<'a> {
    /// Told of each step.
    pub tell: &'a mut dyn FnMut(MakeStep),
    /// Returns the signal that ends the run, if one came.
    pub interrupt: Interrupt<'a>,
}

impl MakeWatch<'_> {
    pub(super) fn warn(&mut self, warning: MakeWarning) {
        (self.tell)(MakeStep::Warning(warning));
    }

    pub(super) fn check(&self) -> Result<(), MakeError> {
        (self.interrupt)().map_or(Ok(()), |signal| Err(MakeError::Interrupted(signal)))
    }
}
