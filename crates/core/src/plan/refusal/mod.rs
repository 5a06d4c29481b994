//! Why a change is refused: one variant per reason, with the ids, packages and paths that it is about.
//!
//! A refusal is made before anything is touched. It knows the exit code of its command (patchadd(1M), patchrm(1M),
//! pkgadd(1M), pkgrm(1M)) and its words; printing them is the command's matter.

mod advice;
mod set;
mod shown;
mod undo;
mod words;

use std::path::PathBuf;

pub use advice::Wording;
use patchadm_svr4::package::{Ftype, ObjectPath, PkgInst};
use patchadm_svr4::patch::{PatchId, Requirement};
pub use set::SetReason;
pub use undo::UndoReason;

/// Which command refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// patchadd(1M).
    Patchadd,
    /// patchrm(1M).
    Patchrm,
    /// pkgadd(1M).
    Pkgadd,
    /// pkgrm(1M).
    Pkgrm,
    /// installf(1M).
    Installf,
    /// removef(1M).
    Removef,
    /// `patchadm adopt`.
    Adopt,
    /// `patchadm adopt --forget`.
    Forget,
    /// `patchadm commit`.
    Commit,
    /// `patchadm undo`, before it is known what it has to do.
    Undo,
}

impl Command {
    /// Its name, as history and journal have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Patchadd => "patchadd",
            Self::Patchrm => "patchrm",
            Self::Pkgadd => "pkgadd",
            Self::Pkgrm => "pkgrm",
            Self::Installf => "installf",
            Self::Removef => "removef",
            Self::Adopt | Self::Forget => "adopt",
            Self::Commit => "commit",
            Self::Undo => "undo",
        }
    }
}

/// A change that is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", self.what(), self.why())]
pub struct Refusal {
    /// Who refuses.
    pub command: Command,
    /// The patch or package that was asked for.
    pub subject: String,
    /// Why.
    pub reason: Box<Reason>,
    /// What is known of the patch that stands in the way of a backout.
    pub way_out: WayOut,
}

/// What is known of the patch that stands in the way of a backout, if one does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WayOut {
    /// Nothing: nobody has looked.
    #[default]
    Unknown,
    /// This one can go now, before any other.
    First(String),
    /// This one cannot go either.
    Blocked {
        /// The patch.
        patch: String,
        /// Why not.
        why: String,
    },
}

/// Why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The id of the patch is none.
    BadId(String),
    /// What is delivered is not one patch.
    BadPatch(String),
    /// The pkginfo of a package, delivered or installed, does not say what it must.
    BadPkginfo {
        /// The package.
        package: String,
        /// What is wrong.
        reason: String,
    },
    /// A file of the `install` directory of a package says what it cannot.
    BadInformation {
        /// The package.
        package: String,
        /// Its name.
        file: &'static str,
        /// What is wrong, with its line.
        reason: String,
    },
    /// No package of the patch is installed in the version that it is for: `PKG (ARCH) VERSION` of each.
    NotInstalled(Vec<String>),
    /// It is applied to all the packages that it patches.
    AlreadyApplied(Vec<PkgInst>),
    /// This later revision is applied.
    LaterRevision(PatchId),
    /// It is contained in what an applied patch obsoletes.
    Obsoleted {
        /// The applied patch, where a record names it.
        by: Option<PatchId>,
        /// The obsoleted revision.
        entry: PatchId,
    },
    /// A restricted patch is applied to a package.
    Restricted {
        /// The applied patch.
        restricted: PatchId,
        /// The package.
        package: PkgInst,
    },
    /// It cannot be together with an applied patch.
    Incompatible {
        /// The applied patch.
        applied: PatchId,
        /// The word of the list that says so.
        named: PatchId,
        /// Whether the list is that of the applied patch.
        says_applied: bool,
    },
    /// It needs a patch that is not applied.
    Required(Requirement),
    /// The policy of the root excludes it.
    Excluded,
    /// Another patch of the same set, or the depot, is the reason.
    InSet(SetReason),
    /// A run is not undone.
    NotUndone(UndoReason),
    /// The directory for undo archives is not an absolute path.
    BackoutDirectory(PathBuf),
    /// It is applied to another package with undo data and would be applied to this one without, or the reverse.
    UndoMismatch {
        /// The package that it is applied to.
        package: PkgInst,
        /// Whether undo data is there.
        kept: bool,
    },
    /// A save directory of the patch is there although the patch is not applied.
    StaleSave(PkgInst),
    /// The patch wants a conversation, and nobody can be asked.
    Interactive,
    /// A zone parameter of the package is not that of the installed one.
    Zone {
        /// The package.
        package: PkgInst,
        /// The parameter.
        parameter: &'static str,
        /// Its installed value.
        installed: String,
        /// Its delivered value.
        delivered: String,
    },
    /// A package whose own scripts keep the records of the patch, where the program is to do that.
    RecordsByScripts(String),
    /// A script that the policy of the root does not allow.
    ScriptForbidden {
        /// The package; none for a script of the patch itself.
        package: Option<String>,
        /// The script.
        script: String,
        /// Whether an option of the command line forbids it, and not the policy.
        by_option: bool,
    },
    /// A response gives an installed package another base directory.
    BasedirAnswered {
        /// Where it is.
        installed: String,
        /// What the response says.
        answered: String,
    },
    /// A package without request script was to be asked.
    NothingToAsk,
    /// Scripts cannot be run for this root: what they would be told to use is not there, or somewhere else.
    ScriptsUnsafe(String),
    /// Files that the administrator edited would be replaced.
    Edited {
        /// The files.
        paths: Vec<ObjectPath>,
        /// Whether they could be kept: there is undo data that says so later.
        can_keep: bool,
    },
    /// An edited file would be kept, but without undo data nobody could say so later.
    KeepWithoutUndo(ObjectPath),
    /// An object cannot be installed or removed as asked.
    Object {
        /// Its package.
        package: PkgInst,
        /// Its path, as far as it could be resolved.
        path: String,
        /// What stands in the way.
        problem: ObjectProblem,
    },
    /// A file system is too small.
    NoSpace {
        /// Its topmost directory.
        file_system: String,
        /// What is needed: bytes, or objects.
        needed: u64,
        /// What is free.
        free: u64,
        /// Whether objects are meant, not bytes.
        inodes: bool,
        /// How much of it is undo data, which could be elsewhere.
        undo: u64,
    },
    /// A file system of the root, named by its topmost directory, is read-only, and objects on it would change.
    ReadOnly(String),
    /// The patch to be backed out is not applied.
    NotApplied,
    /// The patch to be backed out is superseded by this later revision.
    Superseded(PatchId),
    /// A later patch changed the same path.
    ChangedLater {
        /// The path.
        path: ObjectPath,
        /// The later patch, where it is known.
        by: Option<String>,
    },
    /// What the patch saved of a path cannot be handed on to the later patch that has the path.
    NotHandedOn {
        /// The path.
        path: ObjectPath,
        /// The later patch.
        by: String,
        /// Why.
        why: HandOnProblem,
    },
    /// A patch that was applied later has objects below something that the patch made.
    UsedLater {
        /// What it made: a directory, or a link that leads to one.
        path: ObjectPath,
        /// That patch.
        by: String,
    },
    /// A patch that was applied later has paths of this one; which, only who may read the undo data knows.
    SharedLater {
        /// That patch.
        by: String,
    },
    /// An applied patch needs the one to be backed out.
    Needed {
        /// The patch that needs it.
        by: PatchId,
        /// What it needs.
        requirement: Requirement,
    },
    /// There is no undo data for a package.
    NoUndoData(PkgInst),
    /// A tool without recovery died while it applied the patch to a package: its records name the patch, and what was
    /// replaced was not saved.
    Interrupted {
        /// The package.
        package: PkgInst,
        /// Whether a later call of such a tool put the records of before the patch back.
        is_put_aside: bool,
    },
    /// A tool without recovery left another patch half applied to a package, and scripts of this one would run there: with
    /// them the lock would go, by which that is known.
    OtherInterrupted {
        /// The package.
        package: PkgInst,
        /// The other patch.
        patch: PatchId,
    },
    /// The undo data of a package cannot be used.
    BadUndoData {
        /// The package.
        package: PkgInst,
        /// Why.
        reason: String,
    },
    /// The package is not installed.
    NoSuchPackage,
    /// The package was adopted from another package manager, to which its files belong.
    Adopted {
        /// The package.
        package: PkgInst,
        /// Where from: `dpkg NAME:ARCH`, `rpm NAME`.
        from: String,
    },
    /// The package was installed and not adopted, so that its files came with it.
    NotAdopted,
    /// The admin file ends the run (`quit`).
    Administration {
        /// What was found.
        found: String,
        /// The line of an admin file that would let it pass, where there is one.
        answer: Option<&'static str>,
    },
    /// A package without the patches that are applied to the installed one would go over it.
    PatchesApplied {
        /// The package.
        package: PkgInst,
        /// Their ids, from the last to the first, separated by blanks.
        patches: String,
    },
    /// The admin file wants the user to be asked (`ask`), and nobody can be.
    Interaction {
        /// What was found.
        found: String,
        /// The line of an admin file that decides it.
        answer: &'static str,
    },
    /// Other packages use objects that would become different (`conflict` in admin(4)).
    InUse {
        /// The objects.
        objects: Vec<ObjectInUse>,
        /// Whether the admin file wants the user to be asked, who cannot be; else it ends the run.
        is_question: bool,
    },
}

/// An object that other packages use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInUse {
    /// Where it is.
    pub path: ObjectPath,
    /// Whether mode, owner and group alone would become different.
    pub attributes_only: bool,
}

/// Why what a patch saved of a path cannot be handed on to the later patch that has the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandOnProblem {
    /// The later patch has undo data without a manifest.
    #[error("its undo data was not made by this program")]
    Foreign,
    /// The later patch has undo data of an earlier form.
    #[error("its undo data was made by an earlier form of this program")]
    Earlier,
    /// The type or the class of the path says that what came depends on what was there.
    #[error(
        "what it put there depends on what it found: the type of the path is e or v, or its class has a script"
    )]
    LooksAtFile,
    /// Scripts ran with one of the two patches.
    #[error("scripts ran with it or with the earlier one")]
    Scripts,
    /// One of the two has names of the file that the other does not have.
    #[error("the two have different names of that file (hard links)")]
    OtherNames,
    /// The earlier patch made a directory something else, or something else a directory.
    #[error("the earlier one turned a directory into something else there, or the other way round")]
    TypeChange,
    /// The earlier patch made, changed or took away a symbolic link.
    #[error("the earlier one changed a symbolic link there")]
    Symlink,
    /// The later patch took over attributes that the earlier one had given.
    #[error("it took over attributes that the earlier one had changed")]
    Attributes,
}

/// What stands in the way of an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectProblem {
    /// Its path is none, or uses a variable without value.
    #[error("{0}")]
    BadPath(String),
    /// The owner is not known in the root.
    #[error("owner {0} is not known in this root")]
    UnknownUser(String),
    /// The group is not known in the root.
    #[error("group {0} is not known in this root")]
    UnknownGroup(String),
    /// Two entries are one place on the disk.
    #[error("it is the same place as {0}")]
    SamePlace(ObjectPath),
    /// Two packages of the patch deliver different objects under one path.
    #[error("package {0} of the same patch delivers another object there")]
    DeliveredTwice(PkgInst),
    /// The way to it leads through a symbolic link that the same run makes.
    #[error("the way to it leads through {0}, a symbolic link that is delivered together with it")]
    ThroughOwnLink(ObjectPath),
    /// Something above it is no directory.
    #[error("{0} is not a directory")]
    NotADirectory(ObjectPath),
    /// A symbolic link on the way to it has a target that is not there.
    #[error("{0} on the way to it is a symbolic link that leads nowhere")]
    LeadsNowhere(ObjectPath),
    /// It is, or is another name of, a record of packages and patches.
    #[error("it is a record of packages and patches, which no package delivers")]
    Record,
    /// It is the root directory, which has no name that could be another object's.
    #[error("it is the root directory itself, which no package delivers")]
    RootDirectory,
    /// It is, or is another name of, a setting of this program.
    #[error("it belongs to the settings of patchadm(8), which no package delivers, replaces or deletes")]
    Settings,
    /// An object that no rename may touch.
    #[error("{at} {obstacle}")]
    Obstacle {
        /// The object.
        at: ObjectPath,
        /// What it is: `is immutable`, `is append-only`, `is a mount point`, `may not be written to by its owner`.
        obstacle: &'static str,
    },
    /// A directory would become something else while it holds this.
    #[error("it is a directory that holds {0}, which is not taken away")]
    NotEmpty(ObjectPath),
    /// Only root may make it.
    #[error("only root can make {0}")]
    NotPermitted(&'static str),
    /// A directory that belongs to another user than the caller.
    #[error("the directory {0} belongs to another user")]
    ForeignDirectory(ObjectPath),
    /// Other packages own it as something else.
    #[error("other packages own it with ftype <{}>", char::from(.0.letter()))]
    OtherType(Ftype),
    /// It is given an extended attribute that its type cannot have.
    #[error("no object of ftype <{}> has the attribute {name}", char::from(.ftype.letter()))]
    CannotHave {
        /// Its type.
        ftype: Ftype,
        /// The attribute.
        name: String,
    },
    /// An attribute is `?` where nothing is there to take it from.
    #[error("its {0} is not known")]
    Unknown(&'static str),
    /// The object that a hard link names is neither there nor delivered, or is no file.
    #[error("{0}, which it is to be another name of, is not a file")]
    LinkSource(ObjectPath),
}

impl Reason {
    /// The verdict on a patch that `command` leaves out for this reason.
    pub fn verdict(&self, command: Command) -> &'static str {
        match self {
            Self::AlreadyApplied(_) => "already-applied",
            Self::LaterRevision(_) | Self::InSet(SetReason::LaterInSet(_)) => "superseded",
            Self::InSet(SetReason::ContainedInSet(_)) => "obsoleted",
            Self::Obsoleted { .. } if command == Command::Patchadd => "obsoleted",
            Self::NotInstalled(_) => "not-applicable",
            _ => "refused",
        }
    }
}

impl Refusal {
    /// The exit code of the command.
    pub fn code(&self) -> u8 {
        match self.command {
            Command::Patchadd | Command::Adopt | Command::Forget => self.reason.patchadd_code(),
            Command::Patchrm | Command::Commit | Command::Undo => self.reason.patchrm_code(),
            Command::Pkgadd | Command::Pkgrm => match *self.reason {
                Reason::Administration { .. }
                | Reason::PatchesApplied { .. }
                | Reason::InUse { is_question: false, .. }
                | Reason::Object { problem: ObjectProblem::Settings, .. } => 4,
                Reason::Interaction { .. } | Reason::InUse { is_question: true, .. } => 5,
                Reason::BasedirAnswered { .. } => 99,
                _ => 1,
            },
            Command::Installf | Command::Removef => 1,
        }
    }
}

impl Reason {
    /// Makes it the refusal of a command about a patch or package.
    pub fn of(self, command: Command, subject: &impl ToString) -> Refusal {
        let (subject, reason) = (subject.to_string(), Box::new(self));
        Refusal { command, subject, reason, way_out: WayOut::Unknown }
    }

    /// The applied patch because of which another cannot be backed out.
    pub fn stands_in_the_way(&self) -> Option<String> {
        match self {
            Self::Superseded(by) | Self::Obsoleted { by: Some(by), .. } | Self::Needed { by, .. } => {
                Some(by.to_string())
            }
            Self::ChangedLater { by, .. } => by.clone(),
            Self::NotHandedOn { by, .. } | Self::UsedLater { by, .. } | Self::SharedLater { by } => {
                Some(by.clone())
            }
            _ => None,
        }
    }

    fn patchadd_code(&self) -> u8 {
        match self {
            Self::AlreadyApplied(_) => 2,
            Self::StaleSave(_) | Self::NoUndoData(_) | Self::BadUndoData { .. } => 4,
            Self::Obsoleted { .. }
            | Self::Superseded(_)
            | Self::ChangedLater { .. }
            | Self::NotHandedOn { .. }
            | Self::UsedLater { .. } => 6,
            Self::NotInstalled(_) | Self::NoSuchPackage => 8,
            Self::ReadOnly(_) => 7,
            Self::UndoMismatch { .. } => 17,
            Self::NoSpace { .. } => 18,
            Self::Restricted { .. } => 23,
            Self::Incompatible { .. } => 24,
            Self::Required(_) => 25,
            Self::BadPkginfo { .. } | Self::BadInformation { .. } => 28,
            Self::BadId(_) => 29,
            Self::BadPatch(_) => 33,
            Self::LaterRevision(_) => 35,
            Self::BackoutDirectory(_) => 37,
            Self::InSet(reason) => reason.patchadd_code(),
            _ => 10,
        }
    }

    fn patchrm_code(&self) -> u8 {
        match self {
            Self::NotUndone(reason) => reason.code(),
            Self::InSet(reason) => reason.patchadd_code(),
            Self::NotApplied => 2,
            Self::ReadOnly(_) => 7,
            Self::NoUndoData(_) | Self::BadUndoData { .. } => 4,
            Self::Superseded(_)
            | Self::Obsoleted { .. }
            | Self::ChangedLater { .. }
            | Self::NotHandedOn { .. }
            | Self::UsedLater { .. }
            | Self::SharedLater { .. } => 6,
            Self::BadId(_) => 8,
            Self::Interrupted { .. } | Self::OtherInterrupted { .. } => 14,
            Self::Needed { .. } => 15,
            Self::NoSpace { .. } => 20,
            _ => 5,
        }
    }
}
