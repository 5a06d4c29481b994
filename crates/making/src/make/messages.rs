use std::path::PathBuf;
use std::{fmt, io};

use patchadm_rootfs::{Interrupt, RootError};
use patchadm_svr4::format::params::ParamsError;
use patchadm_svr4::format::pkgmap::MOST_ENTRIES;
use patchadm_svr4::format::prototype;
use patchadm_svr4::package::{PathError, PkgInst};

/// Nothing remains of a failed package.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    #[error("no prototype file specified, and there is neither prototype nor Prototype here")]
    NoPrototype,
    #[error("unable to build pkgmap from prototype file")]
    Prototype(Vec<PrototypeTrouble>),
    #[error("required pkginfo file is not specified in prototype file")]
    NoPkginfo,
    #[error("{}: {error}", path.display())]
    Pkginfo { path: PathBuf, error: ParamsError },
    #[error("parameter <{name}> is not defined in <{}>", path.display())]
    Parameter { name: &'static str, path: PathBuf },
    #[error("parameter <{name}> {reason}")]
    Value { name: &'static str, reason: &'static str },
    #[error("invalid package abbreviation <{0}>")]
    Abbreviation(String),
    #[error("PKG parameter <{parameter}> does not match instance <{instance}>")]
    Instance { parameter: String, instance: PkgInst },
    #[error(
        "the package takes {blocks} blocks, which is more than the limit of {limit}; it is not made in parts"
    )]
    Limit {
        /// Of 512 bytes.
        blocks: u64,
        /// Of 512 bytes.
        limit: u64,
    },
    #[error("must use -o option to overwrite <{}>", .0.display())]
    Exists(PathBuf),
    #[error("<{}> is not a package, and is not overwritten", .0.display())]
    Foreign(PathBuf),
    #[error("unable to read <{}>: {error}", path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Path(PathError),
    #[error(transparent)]
    Write(#[from] RootError),
    #[error("{}", patchadm_rootfs::INTERRUPTED)]
    Interrupted(i32),
}

#[derive(Debug)]
pub struct PrototypeTrouble {
    pub file: PathBuf,
    /// 0 for the whole file.
    pub line: u64,
    pub kind: PrototypeTroubleKind,
}

#[derive(Debug, thiserror::Error)]
pub enum PrototypeTroubleKind {
    #[error("garbled entry\n- pathname: {}\n- problem: {problem}", pathname.as_deref().unwrap_or("Unknown"))]
    Garbled { pathname: Option<String>, problem: prototype::PrototypeProblem },
    #[error("unable to open prototype <{}>: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    /// Includes are nested too deeply, or too many.
    #[error("!include is nested too deeply, or names too many files")]
    Include,
    #[error("more than {MOST_ENTRIES} entries")]
    TooMany,
    #[error("no value for the variable in <{0}>")]
    Variable(String),
    #[error("<{value}>, the value of ${name}, {reason}")]
    Value { name: String, value: String, reason: String },
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Object(#[from] NoObject),
    #[error("duplicate pathname <{path}>, first in {} on line {line}", file.display())]
    Duplicate { path: String, file: PathBuf, line: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no object for <{name}> found in {place}")]
pub struct NoObject {
    /// The name that was searched.
    pub name: String,
    pub place: SearchPlace,
}

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
    /// As pkgmk prints it: the file, the indented fault, and the line.
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MakeStep {
    Building,
    Processing,
    /// Entries without the pkginfo.
    Volumizing(usize),
    Part {
        /// Of 512 bytes.
        blocks: u64,
        /// Files and directories, as the classic pkgmk counts them.
        entries: usize,
    },
    Packaging,
    Writing(PathBuf),
    Validating,
    Complete,
    Warning(MakeWarning),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MakeWarning {
    /// Neither the pkginfo nor the command line gives it.
    #[error("parameter <{name}> set to \"{value}\"")]
    Parameter { name: &'static str, value: String },
    /// A path begins with an install variable.
    #[error("parametric paths may ignore BASEDIR")]
    Parametric,
    /// The directory of an object has no entry.
    #[error("missing directory entry for <{0}>")]
    Directory(String),
    #[error("unreferenced class <{0}> in prototype file")]
    Class(String),
    /// The class of a script is missing in CLASSES.
    #[error("script <{script}> is of class <{class}>, which CLASSES does not name")]
    Script { script: String, class: String },
    #[error("attributes set to {attributes} for <{path}>")]
    Attributes { attributes: String, path: String },
    /// The classic format cannot express this path.
    #[error("line {line}: <{path}> is written with escapes, which classic tools cannot install")]
    Escaped { line: u64, path: String },
    /// Fields after the last one of an entry.
    #[error("line {line}: extra fields after <{path}> are ignored")]
    Extra { line: u64, path: String },
    /// An invalid patch id.
    #[error("SUNW_PATCHID: {0}; an id is a base, a hyphen and a revision, such as 100001-01")]
    PatchId(String),
    /// A patch lacks a parameter that must equal that of its package.
    #[error("{name} of a patch must match the package that it is for, which \"{value}\" probably does not")]
    OfPatch { name: &'static str, value: String },
    #[error("the file deletes has no effect: without SUNW_PATCHID the package is not a patch")]
    DeletesOfNoPatch,
    #[error("the file deletes: {0}")]
    Deletes(String),
    /// An owner or group is a person of this machine.
    #[error("{kind} <{name}> of <{path}>{} is an account of this machine, which other roots may not know", more(*.others))]
    Account {
        kind: &'static str,
        name: String,
        path: String,
        /// Number of other objects.
        others: usize,
    },
    /// A part other than the first.
    #[error("line {line}: part {part} is ignored: a package is made in one part")]
    Part { line: u64, part: u32 },
}

fn more(others: usize) -> String {
    match others {
        0 => String::new(),
        others => format!(" and {others} more"),
    }
}

pub struct MakeWatch<'a> {
    pub tell: &'a mut dyn FnMut(MakeStep),
    /// Returns the signal to stop.
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
