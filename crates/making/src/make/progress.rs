//! The messages while a package is made, and their receiver.

use std::path::PathBuf;

use super::error::MakeError;
use patchadm_rootfs::Interrupt;

/// A message while a package is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MakeStep {
    /// The prototype is read.
    Building,
    /// The parameters are put together.
    Processing,
    /// So many entries are to be packaged, the pkginfo not counted.
    Volumizing(usize),
    /// The space that the part takes.
    Part {
        /// Blocks of 512 bytes.
        blocks: u64,
        /// Files and directories, as the classic pkgmk counts them.
        entries: usize,
    },
    /// Writing begins.
    Packaging,
    /// This file is being written.
    Writing(PathBuf),
    /// The scripts are looked at.
    Validating,
    /// The package is in its place.
    Complete,
    /// Something that is no error.
    Warning(MakeWarning),
}

/// Something that the producer of a package should know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MakeWarning {
    /// A parameter without a given value.
    #[error("parameter <{name}> set to \"{value}\"")]
    Parameter {
        /// Its name.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// A path begins with a variable of the installation.
    #[error("parametric paths may ignore BASEDIR")]
    Parametric,
    /// No entry for the directory of an object.
    #[error("missing directory entry for <{0}>")]
    Directory(String),
    /// A class that CLASSES lacks.
    #[error("unreferenced class <{0}> in prototype file")]
    Class(String),
    /// A class action script of a class that CLASSES lacks.
    #[error("script <{script}> is of class <{class}>, which CLASSES does not name")]
    Script {
        /// The script.
        script: String,
        /// Its class.
        class: String,
    },
    /// Attributes that an entry lacks and no default gives.
    #[error("attributes set to {attributes} for <{path}>")]
    Attributes {
        /// Mode, owner and group as the pkgmap has them.
        attributes: String,
        /// The entry.
        path: String,
    },
    /// A path that the classic format cannot carry.
    #[error("line {line}: <{path}> is written with escapes, which classic tools cannot install")]
    Escaped {
        /// The line of the prototype.
        line: u64,
        /// The path.
        path: String,
    },
    /// Fields after the last one of an entry.
    #[error("line {line}: extra fields behind <{path}> are passed over")]
    Extra {
        /// The line of the prototype.
        line: u64,
        /// The path.
        path: String,
    },
    /// The id of a patch is none.
    #[error("SUNW_PATCHID: {0}; an id is a base, a hyphen and a revision, such as 100001-01")]
    PatchId(String),
    /// A patch without a parameter that must equal that of the package it is for.
    #[error("{name} of a patch is that of the package that it is for, which \"{value}\" hardly is")]
    OfPatch {
        /// The parameter.
        name: &'static str,
        /// The value that it got.
        value: String,
    },
    /// A file `deletes` in a package that is not a patch.
    #[error("the file deletes has no effect: without SUNW_PATCHID the package is no patch")]
    DeletesOfNoPatch,
    /// A file `deletes` that says what it cannot.
    #[error("the file deletes: {0}")]
    Deletes(String),
    /// An owner or group that is a person of this machine.
    #[error("{kind} <{name}> of <{path}>{} is an account of this machine, which other roots may not know", more(*.others))]
    Account {
        /// `owner` or `group`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The first object that has it.
        path: String,
        /// How many others have it.
        others: usize,
    },
    /// A part other than the first.
    #[error("line {line}: part {part} is passed over: a package is made in one part")]
    Part {
        /// The line of the prototype.
        line: u64,
        /// The part.
        part: u32,
    },
}

/// Returns how many objects there are beside one that is named.
fn more(others: usize) -> String {
    match others {
        0 => String::new(),
        others => format!(" and {others} more"),
    }
}

/// The observer of the making: told of each step, asked whether it shall end.
pub struct MakeWatch<'a> {
    /// Told of each step.
    pub tell: &'a mut dyn FnMut(MakeStep),
    /// The signal that wants the run to end, if one came.
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
