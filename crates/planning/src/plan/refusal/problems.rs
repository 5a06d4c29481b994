//! The refusals about single objects: the obstacles to a change, and the reasons an object cannot be handed on.

use std::fmt;

use patchadm_svr4::package::{Ftype, ObjectPath, PkgInst};

/// An object that other packages use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInUse {
    /// Its path.
    pub path: ObjectPath,
    /// Whether mode, owner and group alone would become different.
    pub attributes_only: bool,
    /// Whether no package owns it.
    pub is_unowned: bool,
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

/// The obstacle to a change of an object.
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
        /// The obstacle: `is immutable`, `is append-only`, `is a mount point`, `may not be written to by its owner`.
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
    /// The records of dpkg or rpm do not say who owns it now, for this reason.
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
        /// Where the file of the package is, or would be.
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
    /// An attribute is `?` where nothing is there to take it from.
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
