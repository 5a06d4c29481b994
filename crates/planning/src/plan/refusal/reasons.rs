//! Reasons about one subject: objects, sets of patches, libraries, hooks, and runs to be undone.

use std::borrow::Cow;
use std::fmt;

use patchadm_svr4::package::{Ftype, ObjectPath, PkgInst};
use patchadm_svr4::patch::{PatchId, Requirement};

use super::{Command, Wording};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInUse {
    pub path: ObjectPath,
    /// Only mode, owner and group would change.
    pub attributes_only: bool,
    pub is_unowned: bool,
}

/// Why the saved state of a path cannot be handed on to a later patch with the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandOnProblem {
    #[error("its undo data was not made by this program")]
    Foreign,
    #[error("its undo data was made by an earlier version of this program")]
    Earlier,
    /// The type or the class of the path makes the result depend on the earlier state.
    #[error("it is a configuration file, and its change depends on the earlier content")]
    LooksAtFile,
    #[error("scripts ran with it or with the earlier one")]
    Scripts,
    #[error("the two have different hard links to that file")]
    OtherNames,
    #[error("the earlier one turned a directory into something else there, or vice versa")]
    TypeChange,
    #[error("the earlier one changed a symbolic link there")]
    Symlink,
    #[error("it took over attributes that the earlier one had changed")]
    Attributes,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectProblem {
    #[error("{0}")]
    BadPath(String),
    #[error("owner {0} does not exist in this root")]
    UnknownUser(String),
    #[error("group {0} does not exist in this root")]
    UnknownGroup(String),
    #[error("it is the same place as {0}")]
    SamePlace(ObjectPath),
    #[error("package {0} of the same patch delivers another object there")]
    DeliveredTwice(PkgInst),
    #[error("its path contains {0}, a symbolic link that is delivered together with it")]
    ThroughOwnLink(ObjectPath),
    #[error("{0} is not a directory")]
    NotADirectory(ObjectPath),
    #[error("{0} in its path is a dangling symbolic link")]
    LeadsNowhere(ObjectPath),
    #[error("{0} in its path is a symbolic link whose target changes in this run")]
    LeadsElsewhere(ObjectPath),
    #[error("it is a record of packages and patches, which packages must not deliver")]
    Record,
    /// The root directory has no name that could be another object's.
    #[error("it is the root directory itself, which packages must not deliver")]
    RootDirectory,
    #[error("it belongs to the settings of patchadm(8), which packages must not deliver, replace or delete")]
    Settings,
    #[error("{at} {obstacle}")]
    Obstacle {
        at: ObjectPath,
        /// `is immutable`, `is append-only`, `is a mount point`, `may not be written to by its owner`.
        obstacle: &'static str,
    },
    #[error("it is a directory that contains {0}, which is not removed")]
    NotEmpty(ObjectPath),
    #[error("only root can make {0}")]
    NotPermitted(&'static str),
    #[error("the directory {0} belongs to another user")]
    ForeignDirectory(ObjectPath),
    #[error("it belongs to {owner} ({manager}), which patchadm does not change")]
    NativeOwner { owner: String, manager: &'static str },
    #[error("its owner is unknown now: {0}")]
    OwnerUnknown(String),
    /// A package of dpkg or rpm owns another name of it.
    #[error("another name of it, {name}, belongs to {owner} ({manager}), which patchadm does not change")]
    NativeName { name: ObjectPath, owner: String, manager: &'static str },
    /// Somebody has diverted it (dpkg-divert(1)).
    #[error("it is diverted to {to} by {by}, and no file exists there")]
    Diverted {
        to: ObjectPath,
        /// The package that diverts it, or the administrator.
        by: String,
    },
    #[error("other packages own it with ftype <{}>", char::from(.0.letter()))]
    OtherType(Ftype),
    #[error("no object of ftype <{}> has the attribute {name}", char::from(.ftype.letter()))]
    CannotHave { ftype: Ftype, name: String },
    #[error("its {0} is unknown")]
    Unknown(&'static str),
    #[error("{0}, to which it should be a hard link, is not a file")]
    LinkSource(ObjectPath),
    #[error("{0}, to which it should be a hard link, is on another file system")]
    LinkAcross(ObjectPath),
}

/// Changed by both an administrator and a patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EditedAttribute {
    pub path: ObjectPath,
    /// The administrator's value: `mode 0600`.
    pub local: String,
    /// The patch's value.
    pub delivered: String,
}

impl fmt::Display for EditedAttribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, local, delivered } = self;
        write!(f, "{path} (has {local}, and the patch has {delivered})")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetReason {
    #[error("{0} of this set is a later revision")]
    LaterInSet(PatchId),
    #[error("{0} of this set contains it")]
    ContainedInSet(PatchId),
    #[error("it requires {requirement} or later, which is neither applied nor in {depot}")]
    RequiredNowhere {
        requirement: Requirement,
        /// The depot, as it was named.
        depot: String,
    },
    #[error("it requires {requirement} or later, which is refused: {reason}")]
    RequiredRefused {
        requirement: Requirement,
        /// In words.
        reason: String,
    },
    #[error("it is incompatible with {other} according to {says}, and {other} was selected first")]
    ExcludeEachOther {
        other: PatchId,
        /// The one of the two whose list says so.
        says: PatchId,
    },
    /// Each of these patches has to come before the one named before it, the last before the first.
    #[error("its requirements form a cycle: {}", arrows(.0))]
    Circle(Vec<PatchId>),
    #[error("the depot marks it as withdrawn")]
    Withdrawn,
    #[error("it occurs twice with different content: {0} and {1}")]
    TwoContents(String, String),
    #[error("it has too many requirements or alternatives to resolve")]
    TooManyRequirements,
    #[error("its scripts need a separate run")]
    OwnRun,
    /// The patch was named; the depot is as it was named.
    #[error("{0} does not have it")]
    NotInDepot(String),
    /// The patch depends on the result of the patches before it.
    #[error("it can be planned only after the patches before it are applied")]
    PlannedAfterwards,
    #[error(
        "it cannot be removed in one run with the others: two of them change the same hard link, or one has undo data of \
         another tool or files in several packages"
    )]
    NotTogether,
    #[error("it is excluded with --exclude")]
    ExcludedByOption,
    /// Another patch needs it, but a restricted patch must be named.
    #[error("it is a restricted patch, which must be specified")]
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
            | Self::TooManyRequirements
            | Self::OwnRun
            | Self::PlannedAfterwards
            | Self::NotTogether
            | Self::ExcludedByOption
            | Self::RestrictedUnasked => 10,
        }
    }

    pub(super) fn hint(&self) -> Cow<'static, str> {
        let hint = match self {
            Self::NotInDepot(depot) => {
                let depot = Wording::quoted(depot);
                return format!("list its patches with `patchadm missing -M {depot} total`").into();
            }
            Self::OwnRun | Self::PlannedAfterwards | Self::NotTogether => "leave out `--all-or-nothing`",
            Self::RequiredNowhere { .. } => "add it to the depot, or leave out this patch with `--exclude`",
            Self::TwoContents(..) => "remove one of the two",
            Self::Withdrawn => "to apply it anyway, specify it with its revision and use `--allow-withdrawn`",
            _ => "",
        };
        hint.into()
    }
}

fn arrows(ids: &[PatchId]) -> String {
    ids.iter().map(PatchId::as_str).collect::<Vec<_>>().join(" → ")
}

const MOST_NAMED: usize = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibraryLoss {
    /// The name under which it is needed.
    pub library: String,
    /// Versions and symbols, if another library has the name.
    pub missing: Vec<String>,
    /// In words.
    pub why: &'static str,
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

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HookReason {
    /// The policy lets no scripts of the root run.
    #[error("the policy sets the hook {hook}={path}, but forbids scripts (scripts={scripts})")]
    Forbidden {
        hook: &'static str,
        path: String,
        scripts: &'static str,
        /// A backout is refused.
        is_backout: bool,
    },
    #[error("the hook {hook} cannot be run: {why}")]
    Unfit {
        hook: &'static str,
        /// With its path.
        why: String,
        remedy: String,
    },
    /// The record does not tell if the patch is a promotion.
    #[error("{path}: {why}")]
    Record { path: String, why: String },
}

impl HookReason {
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Forbidden { is_backout: true, .. } => {
                "remove it without the hook: use `--scripts refuse`".to_owned()
            }
            Self::Forbidden { .. } => "promote without it: use `--no-hooks`".to_owned(),
            Self::Unfit { remedy, .. } => remedy.clone(),
            Self::Record { .. } => "restore the file from a backup".to_owned(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UndoReason {
    #[error("the history of the root has no run that changed anything")]
    NoRun,
    #[error("the history of the root does not have this run; specify a run by its number or name")]
    UnknownRun {
        /// A verb with arguments that fits the word: it may be a patch or a day.
        instead: String,
    },
    #[error("it is a run of {command}; only runs that apply, remove or promote patches can be undone")]
    OtherCommand {
        command: String,
        /// The arguments of `undo` for the last run before that can be undone, if no run was named.
        earlier: Option<String>,
    },
    #[error("it was rolled back, and changed nothing")]
    RolledBack,
    #[error("it is no longer the last run: {0} came after it")]
    NoLongerLast(String),
    #[error("patch {0} is no longer applied")]
    NoLongerApplied(String),
    /// Another run applied it too: to other packages, or once more.
    #[error("patch {patch} was applied to package {package} by {by}")]
    AppliedOtherwise {
        patch: String,
        package: String,
        /// In words.
        by: String,
    },
    #[error("patch {0} was applied again since")]
    AppliedAgain(String),
}

impl UndoReason {
    pub(super) fn hint(&self, wording: &Wording) -> String {
        match self {
            Self::OtherCommand { command, earlier } => {
                let reinstall = (command == Command::Pkgadd.name()).then(|| {
                    let pkgadd = wording.command("pkgadd", "--update -d DEVICE PKG");
                    format!(
                        "if it replaced another version of a package, reinstall that version with {pkgadd}"
                    )
                });
                let undo = earlier.as_ref().map(|earlier| {
                    let undo = wording.verb(&format!("undo {earlier}"));
                    format!("undo the last run that applied or removed patches with {undo}")
                });
                reinstall.into_iter().chain(undo).collect::<Vec<_>>().join("; ")
            }
            Self::UnknownRun { instead } => format!("run {}", wording.verb(instead)),
            _ => String::new(),
        }
    }

    pub(super) fn code(&self) -> u8 {
        if matches!(self, Self::UnknownRun { .. }) { 2 } else { 10 }
    }
}
