//! The reasons for refusing a change that belong to one subject: objects, sets of patches, libraries, hooks,
//! and runs to be undone.

use std::fmt;

use patchadm_svr4::package::{Ftype, ObjectPath, PkgInst};
use patchadm_svr4::patch::{PatchId, Requirement};

use super::{Command, Wording};

/// An object that other packages use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInUse {
    /// Its path.
    pub path: ObjectPath,
    /// True if only mode, owner and group would change.
    pub attributes_only: bool,
    /// True if no package owns it.
    pub is_unowned: bool,
}

/// The reason that the saved state of a path cannot be handed on to a later patch with the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandOnProblem {
    /// The later patch has undo data without a manifest.
    #[error("its undo data was not made by this program")]
    Foreign,
    /// The later patch has undo data of an earlier form.
    #[error("its undo data was made by an earlier form of this program")]
    Earlier,
    /// The type or the class of the path makes the result depend on the earlier state.
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

/// The obstacle to a change of an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectProblem {
    /// Its path is invalid, or uses a variable without value.
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
    /// An object above it is not a directory.
    #[error("{0} is not a directory")]
    NotADirectory(ObjectPath),
    /// A symbolic link on the way to it has a target that is not there.
    #[error("{0} on the way to it is a symbolic link that leads nowhere")]
    LeadsNowhere(ObjectPath),
    /// A symbolic link on the way to it leads elsewhere once the same run is over.
    #[error("{0} on the way to it is a symbolic link that leads elsewhere afterwards")]
    LeadsElsewhere(ObjectPath),
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
        /// The obstacle: `is immutable`, `is append-only`, `is a mount point`, `may not be written to by its
        /// owner`.
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
    /// A package of dpkg or rpm owns it now, and is not the one that is patched.
    #[error("it belongs to {owner} ({manager}), which patchadm does not change")]
    NativeOwner {
        /// Name and version of that package.
        owner: String,
        /// Its package manager.
        manager: &'static str,
    },
    /// The present owner cannot be read from the records of dpkg or rpm, for this reason.
    #[error("nobody knows who owns it now: {0}")]
    OwnerUnknown(String),
    /// It has another name, which a package of dpkg or rpm owns.
    #[error("another name of it, {name}, belongs to {owner} ({manager}), which patchadm does not change")]
    NativeName {
        /// The other name.
        name: ObjectPath,
        /// Name and version of that package.
        owner: String,
        /// Its package manager.
        manager: &'static str,
    },
    /// Somebody has diverted it (dpkg-divert(1)): the file of the package is elsewhere.
    #[error("it is diverted to {to} by {by}, and nothing is there")]
    Diverted {
        /// The place of the file of the package.
        to: ObjectPath,
        /// The package that diverts it, or the administrator.
        by: String,
    },
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
    /// An attribute is `?`, and there is no object to take it from.
    #[error("its {0} is not known")]
    Unknown(&'static str),
    /// The object that a hard link names is neither present nor delivered, or is a directory.
    #[error("{0}, which it is to be another name of, is not a file")]
    LinkSource(ObjectPath),
    /// The object that a hard link names is on another file system, or on another mount of the same one.
    #[error("{0}, which it is to be another name of, is on another file system")]
    LinkAcross(ObjectPath),
}

/// An attribute that an administrator and a patch both changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EditedAttribute {
    /// The path.
    pub path: ObjectPath,
    /// The attribute with the value that the administrator gave it: `mode 0600`.
    pub local: String,
    /// The value that the patch gives it.
    pub delivered: String,
}

impl fmt::Display for EditedAttribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, local, delivered } = self;
        write!(f, "{path} (has {local}, and the patch has {delivered})")
    }
}

/// A reason that only several patches, or a depot, can give.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetReason {
    /// A later revision is in the set.
    #[error("{0} of this set is a later revision")]
    LaterInSet(PatchId),
    /// A patch of the set obsoletes it, directly or through others.
    #[error("{0} of this set contains it")]
    ContainedInSet(PatchId),
    /// It needs a patch that is not available.
    #[error("it requires {requirement} or later, which is neither applied nor in {depot}")]
    RequiredNowhere {
        /// The requirement.
        requirement: Requirement,
        /// The depot, as it was named.
        depot: String,
    },
    /// It needs a patch that does not go in either.
    #[error("it requires {requirement} or later, which is refused: {reason}")]
    RequiredRefused {
        /// The requirement.
        requirement: Requirement,
        /// The reason that the required patch does not go in, in words.
        reason: String,
    },
    /// It conflicts with a patch that was taken before.
    #[error("it and {other} exclude each other ({says} says so); {other} was taken first")]
    ExcludeEachOther {
        /// The patch that was taken before.
        other: PatchId,
        /// The one of the two whose list says so.
        says: PatchId,
    },
    /// Each of these patches has to come before the one named before it, the last before the first.
    #[error("its requirements form a circle: {}", arrows(.0))]
    Circle(Vec<PatchId>),
    /// The depot no longer offers it.
    #[error("the depot marks it as withdrawn")]
    Withdrawn,
    /// Two sources have it, and they differ.
    #[error("it comes twice with different content: {0} and {1}")]
    TwoContents(String, String),
    /// The search for its requirements was given up.
    #[error("too many alternatives to decide")]
    TooManyAlternatives,
    /// It has scripts, so that it cannot be one transaction with others.
    #[error("its scripts need a run of their own")]
    OwnRun,
    /// It was named, and the depot, as it was named, has no such patch.
    #[error("{0} does not have it")]
    NotInDepot(String),
    /// It depends on what the patches before it leave, so that it cannot be one transaction with them.
    #[error("it can be planned only when the patches before it are applied")]
    PlannedAfterwards,
    /// It cannot be backed out in one run with others: its undo data is that of another tool, or others have
    /// its paths in other packages.
    #[error("it cannot be backed out in one run with the others")]
    NotTogether,
    /// An option of the command leaves it out.
    #[error("--exclude names it")]
    ExcludedByOption,
    /// A restricted patch is not taken because another one needs it.
    #[error("it is a restricted patch, which is taken only where it is named")]
    RestrictedUnasked,
}

impl SetReason {
    pub(super) fn patchadd_code(&self) -> u8 {
        match self {
            Self::ContainedInSet(_) => 6,
            Self::ExcludeEachOther { .. } => 24,
            Self::RequiredNowhere { .. } | Self::RequiredRefused { .. } => 25,
            Self::NotInDepot(_) => 33,
            Self::LaterInSet(_) => 35,
            Self::Circle(_)
            | Self::Withdrawn
            | Self::TwoContents(..)
            | Self::TooManyAlternatives
            | Self::OwnRun
            | Self::PlannedAfterwards
            | Self::NotTogether
            | Self::ExcludedByOption
            | Self::RestrictedUnasked => 10,
        }
    }

    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::OwnRun | Self::PlannedAfterwards | Self::NotTogether => "leave out --all-or-nothing",
            Self::RequiredNowhere { .. } => "put it into the depot, or leave this patch out with --exclude",
            Self::NotInDepot(_) => "`patchadm missing total` with this depot lists what it has",
            Self::TwoContents(..) => "take one of the two away",
            Self::Withdrawn => {
                "if it is wanted all the same, name it with its revision and --allow-withdrawn"
            }
            _ => "",
        }
    }
}

fn arrows(ids: &[PatchId]) -> String {
    ids.iter().map(PatchId::as_str).collect::<Vec<_>>().join(" → ")
}

const MOST_NAMED: usize = 3;

/// A library that a consumer loses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibraryLoss {
    /// The name under which it is needed.
    pub library: String,
    /// The missing versions and symbols, if another library has the name.
    pub missing: Vec<String>,
    /// The reason that it does not stay, in words.
    pub why: &'static str,
    /// Its consumers.
    pub consumers: Vec<ObjectPath>,
}

impl fmt::Display for LibraryLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.consumers.iter().take(MOST_NAMED).map(ToString::to_string);
        write!(f, "{}", named.collect::<Vec<_>>().join(", "))?;
        if self.consumers.len() > MOST_NAMED {
            write!(f, " and {} more", self.consumers.len() - MOST_NAMED)?;
        }
        write!(f, " would lose {}", self.library)?;
        if let [first, rest @ ..] = self.missing.as_slice() {
            write!(f, " ({first}{})", if rest.is_empty() { "" } else { ", …" })?;
        }
        write!(f, ": {}", self.why)
    }
}

/// A reason in a hook.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HookReason {
    /// The policy lets no scripts of the root run.
    #[error("the policy names a hook, {hook}={path}, and lets none run (scripts={scripts})")]
    Forbidden {
        /// The key of the policy.
        hook: &'static str,
        /// The hook.
        path: String,
        /// The policy's setting for scripts.
        scripts: &'static str,
        /// True if a backout is refused.
        is_backout: bool,
    },
    /// The hook cannot be run, or not safely.
    #[error("the hook {hook} cannot be run: {why}")]
    Unfit {
        /// The key of the policy.
        hook: &'static str,
        /// Its fault, with its path.
        why: String,
        /// The remedy.
        remedy: String,
    },
    /// True if the patch is a promotion cannot be told.
    #[error("{path}: {why}")]
    Record {
        /// The record.
        path: String,
        /// Its fault.
        why: String,
    },
}

impl HookReason {
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Forbidden { is_backout: true, .. } => {
                "`--scripts refuse` removes it without the hook".to_owned()
            }
            Self::Forbidden { .. } => "--no-hooks promotes without it".to_owned(),
            Self::Unfit { remedy, .. } => remedy.clone(),
            Self::Record { .. } => "put the file back from a backup, as it was".to_owned(),
        }
    }
}

/// A reason in the run, or in later changes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UndoReason {
    /// The history of the root has no run that changed something.
    #[error("the history of the root has no run that changed something")]
    NoRun,
    /// The history of the root does not have it.
    #[error("the history of the root does not have this run")]
    UnknownRun,
    /// It did something else than apply patches or back them out.
    #[error("it is a run of {0}, and only those of patchadd, patchrm and promote can be undone")]
    OtherCommand(String),
    /// It changed nothing.
    #[error("it was rolled back, and changed nothing")]
    RolledBack,
    /// Another run followed it while this command waited.
    #[error("it is no longer the last run: {0} came behind it")]
    NoLongerLast(String),
    /// A patch that it applied was backed out since.
    #[error("patch {0} is no longer applied")]
    NoLongerApplied(String),
    /// A patch that it applied was applied by another run too: to other packages, or once more.
    #[error("patch {patch} was applied to package {package} by {by}")]
    AppliedOtherwise {
        /// The patch.
        patch: String,
        /// The package.
        package: String,
        /// The other run, in words.
        by: String,
    },
    /// A patch that it backed out was applied since.
    #[error("patch {0} was applied again since")]
    AppliedAgain(String),
}

impl UndoReason {
    pub(super) fn hint(&self, wording: &Wording) -> String {
        match self {
            Self::OtherCommand(command) if command == Command::Pkgadd.name() => format!(
                "if it put a package in the place of another version, go back to that with {}",
                wording.command("pkgadd", "--update -d DEVICE PKG")
            ),
            Self::UnknownRun => format!("run {}", wording.verb("history")),
            _ => String::new(),
        }
    }

    pub(super) fn code(&self) -> u8 {
        if *self == Self::UnknownRun { 2 } else { 10 }
    }
}
