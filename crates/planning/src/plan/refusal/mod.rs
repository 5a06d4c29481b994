//! Refusals: one variant per reason, with the ids, packages and paths concerned. A refusal comes before anything is
//! touched, and has the exit code of its command (patchadd(1M), patchrm(1M), pkgadd(1M), pkgrm(1M)) and its wording.

mod advice;
mod promotion;
mod reasons;
mod wording;
mod words;

use std::path::PathBuf;

use patchadm_inputs::inventory::Inventory;
use patchadm_inputs::native::NativeChange;
use patchadm_rootfs::Interrupt;
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::{PatchId, Requirement};

pub use advice::of_native_change;
pub use promotion::{BroughtReason, LineFault, PromotionReason, SetIdChange, SetIdFile};
pub use reasons::{
    EditedAttribute, HandOnProblem, HookReason, LibraryLoss, ObjectInUse, ObjectProblem, SetReason,
    UndoReason,
};
pub use wording::Wording;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Patchadd,
    Patchrm,
    Pkgadd,
    Pkgrm,
    Installf,
    Removef,
    Adopt,
    AdoptRefresh,
    /// `patchadm undo-data drop`.
    Forget,
    Commit,
    Repack,
    UndoExport,
    UndoImport,
    /// Before its work is known.
    Undo,
    Confirm,
    Promote,
    /// `patchadm stage refresh`.
    Refresh,
}

impl Command {
    /// Returns its name, as history and journal have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Patchadd => "patchadd",
            Self::Patchrm => "patchrm",
            Self::Pkgadd => "pkgadd",
            Self::Pkgrm => "pkgrm",
            Self::Installf => "installf",
            Self::Removef => "removef",
            Self::Adopt | Self::AdoptRefresh | Self::Forget => "adopt",
            Self::Commit => "commit",
            Self::Repack => "repack",
            Self::UndoExport => "undo-export",
            Self::UndoImport => "undo-import",
            Self::Undo => "undo",
            Self::Confirm => "confirm",
            Self::Promote => "promote",
            Self::Refresh => "stage",
        }
    }

    /// Its participle: `applied`.
    pub fn participle(self) -> &'static str {
        match self {
            Self::Patchadd => "applied",
            Self::Patchrm | Self::Pkgrm => "removed",
            Self::Pkgadd => "installed",
            Self::Installf | Self::Removef => "carried out",
            Self::Adopt => "adopted",
            Self::AdoptRefresh | Self::Refresh => "refreshed",
            Self::Forget => "unregistered",
            Self::Commit => "dropped",
            Self::Repack => "recompressed",
            Self::UndoExport => "exported",
            Self::UndoImport => "imported",
            Self::Undo => "undone",
            Self::Confirm => "confirmed",
            Self::Promote => "promoted",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", self.what(), self.why())]
pub struct Refusal {
    pub command: Command,
    pub subject: String,
    pub reason: Box<Reason>,
    /// About the patch that prevents a backout.
    pub way_out: WayOut,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WayOut {
    /// Not looked up.
    #[default]
    Unknown,
    /// This patch can be backed out now, before any other.
    First(String),
    /// This patch cannot be backed out either.
    Blocked { patch: String, why: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The signal came before anything was planned.
    Signal(i32),
    BadId(String),
    BadPatch(String),
    /// The pkginfo of a package, delivered or installed, lacks a value or has an invalid one.
    BadPkginfo {
        package: String,
        reason: String,
    },
    /// A file of a package's `install` directory is invalid.
    BadInformation {
        package: String,
        file: &'static str,
        /// The fault, with its line.
        reason: String,
    },
    /// `PKG (ARCH) VERSION` of each package.
    NotInstalled(Vec<String>),
    /// The native package manager has a package that the patch is for.
    Unregistered {
        /// `PKG (ARCH) VERSION` of each package of the patch.
        packages: Vec<String>,
        /// Manager, name and version.
        native: String,
    },
    AlreadyApplied(Vec<PkgInst>),
    LaterRevision(PatchId),
    Obsoleted {
        /// If a record names it.
        by: Option<PatchId>,
        /// The obsoleted revision.
        entry: PatchId,
    },
    Restricted {
        restricted: PatchId,
        package: PkgInst,
    },
    Incompatible {
        applied: PatchId,
        /// The word of the list that says so.
        named: PatchId,
        /// The list is that of the applied patch.
        says_applied: bool,
    },
    Required(Requirement),
    Excluded,
    /// Another patch of the set, or the depot, is the reason.
    InSet(SetReason),
    NotUndone(UndoReason),
    Promotion(PromotionReason),
    Hook(HookReason),
    /// Not an absolute path.
    BackoutDirectory(PathBuf),
    /// Undo data is kept for another package of the patch, but would not be for this one, or the reverse.
    UndoMismatch {
        /// The patch is applied to this package.
        package: PkgInst,
        /// Undo data is there.
        kept: bool,
    },
    /// A save directory exists, but the patch is not applied.
    StaleSave(PkgInst),
    /// The patch wants to ask questions, and no one can answer.
    Interactive,
    /// A zone parameter differs from that of the installed package.
    Zone {
        package: PkgInst,
        parameter: &'static str,
        installed: String,
        delivered: String,
    },
    /// The package's own scripts keep the records of the patch, but the program is to do that.
    RecordsByScripts(String),
    ScriptForbidden {
        /// `None` for a script of the patch itself.
        package: Option<String>,
        script: String,
        /// An option of the command line forbids it, not the policy.
        by_option: bool,
    },
    /// A response gives an installed package another base directory.
    BasedirAnswered {
        installed: String,
        answered: String,
    },
    NothingToAsk,
    /// Scripts that run cannot do their part of a change.
    BeyondScripts {
        /// The path and its fault.
        what: String,
        /// The user wants scripts to run, and the program could do their work.
        by_choice: bool,
    },
    /// The patch could not be backed out again.
    NoWayBack(Box<Reason>),
    /// Paths that scripts would use are missing, or elsewhere.
    ScriptsUnsafe(String),
    /// Edited files would be replaced, or get other attributes.
    Edited {
        /// With other bytes.
        paths: Vec<ObjectPath>,
        /// Only in packages adopted from another package manager.
        attributes: Vec<EditedAttribute>,
        /// Undo data could record the files as kept.
        can_keep: bool,
    },
    /// The patch is made for another base directory, and none of its objects is one of the package.
    OtherBaseDirectory {
        package: PkgInst,
        installed: String,
        delivered: String,
    },
    /// Without undo data nothing would record that the edited file is kept.
    KeepWithoutUndo(ObjectPath),
    Object {
        package: PkgInst,
        /// As far as it could be resolved.
        path: String,
        problem: ObjectProblem,
    },
    NoSpace {
        /// Its topmost directory.
        file_system: String,
        /// Bytes, or objects.
        needed: u64,
        free: u64,
        /// Objects are counted, not bytes.
        inodes: bool,
        /// The part for undo data, which could be elsewhere.
        undo: u64,
    },
    /// The topmost directory of a read-only file system with objects that would change.
    ReadOnly(String),
    NotApplied,
    Superseded(PatchId),
    ChangedLater {
        path: ObjectPath,
        /// If known.
        by: Option<String>,
    },
    /// The saved state of a path cannot be handed on to the later patch with the path.
    NotHandedOn {
        path: ObjectPath,
        by: String,
        why: HandOnProblem,
    },
    /// A later patch has objects below something that the patch made.
    UsedLater {
        /// A directory, or a link that leads to one.
        path: ObjectPath,
        by: String,
    },
    /// A later patch has paths of this one. Only a caller who may read the undo data learns which.
    SharedLater {
        by: String,
    },
    Needed {
        by: PatchId,
        requirement: Requirement,
    },
    NoUndoData(PkgInst),
    /// A tool without recovery died while it applied the patch: the records name the patch, and replaced files were not
    /// saved.
    Interrupted {
        package: PkgInst,
        /// A later call of such a tool restored the records from before the patch.
        is_put_aside: bool,
    },
    /// A tool without recovery left another patch half applied, and scripts of this one would remove the lock that
    /// shows this.
    OtherInterrupted {
        package: PkgInst,
        patch: PatchId,
    },
    BadUndoData {
        package: PkgInst,
        reason: String,
    },
    NoSuchPackage,
    /// Its files belong to another package manager.
    Adopted {
        package: PkgInst,
        /// `dpkg NAME:ARCH`, `rpm NAME`.
        from: String,
    },
    /// The native package manager changed an adopted package since.
    NativeChanged {
        package: PkgInst,
        change: Box<NativeChange>,
    },
    /// The package was installed and not adopted.
    NotAdopted,
    /// The admin file ends the run (`quit`).
    Administration {
        found: String,
        /// The line of an admin file that would let it pass, if any.
        answer: Option<&'static str>,
    },
    /// The package lacks patches that are applied to the installed one.
    PatchesApplied {
        package: PkgInst,
        /// From the last to the first, separated by blanks.
        patches: String,
    },
    /// The admin file wants the user to be asked (`ask`), and no one can answer.
    Interaction {
        found: String,
        /// The line of an admin file that decides it.
        answer: &'static str,
    },
    /// The package claims to keep libraries, or has the name of one that does; only runs make those.
    KeptPackage(String),
    /// `stop` in the library settings forbids that a consumer loses a library.
    LibrariesLost(Vec<LibraryLoss>),
    /// Other packages use objects that would become different (`conflict` in admin(4)).
    InUse {
        objects: Vec<ObjectInUse>,
        /// The admin file wants the user to be asked, who cannot be; else it ends the run.
        is_question: bool,
    },
}

impl Reason {
    pub(in crate::plan) fn unless_interrupted(interrupt: Interrupt<'_>) -> Result<(), Self> {
        interrupt().map_or(Ok(()), |signal| Err(Self::Signal(signal)))
    }

    pub fn of(self, command: Command, subject: &impl ToString) -> Refusal {
        let (subject, reason) = (subject.to_string(), Box::new(self));
        Refusal { command, subject, reason, way_out: WayOut::Unknown }
    }

    /// Returns the applied patch that prevents the backout of another.
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

    /// Returns the verdict on a patch that `command` leaves out for this reason.
    pub fn verdict(&self, command: Command) -> &'static str {
        match self {
            Self::AlreadyApplied(_) => "already-applied",
            Self::LaterRevision(_) | Self::InSet(SetReason::LaterInSet(_)) => "superseded",
            Self::InSet(SetReason::ContainedInSet(_)) => "obsoleted",
            Self::Obsoleted { .. } if command == Command::Patchadd => "obsoleted",
            Self::NotInstalled(_) | Self::Unregistered { .. } => "not-applicable",
            _ => "refused",
        }
    }
}

impl Refusal {
    pub fn code(&self) -> u8 {
        match self.command {
            Command::Patchadd
            | Command::Adopt
            | Command::AdoptRefresh
            | Command::Forget
            | Command::Promote
            | Command::Refresh => self.reason.patchadd_code(),
            Command::Undo if matches!(*self.reason, Reason::NativeChanged { .. }) => 10,
            Command::Patchrm
            | Command::Commit
            | Command::Repack
            | Command::UndoExport
            | Command::UndoImport
            | Command::Undo
            | Command::Confirm => self.reason.patchrm_code(),
            Command::Pkgadd | Command::Pkgrm => match *self.reason {
                Reason::Administration { .. }
                | Reason::PatchesApplied { .. }
                | Reason::InUse { is_question: false, .. }
                | Reason::LibrariesLost(_)
                | Reason::KeptPackage(_)
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
    fn patchadd_code(&self) -> u8 {
        match self {
            Self::AlreadyApplied(_) => 2,
            Self::StaleSave(_) | Self::NoUndoData(_) | Self::BadUndoData { .. } => 4,
            Self::Obsoleted { .. }
            | Self::Superseded(_)
            | Self::ChangedLater { .. }
            | Self::NotHandedOn { .. }
            | Self::UsedLater { .. } => 6,
            Self::NotInstalled(_)
            | Self::Unregistered { .. }
            | Self::NoSuchPackage
            | Self::OtherBaseDirectory { .. } => 8,
            Self::ReadOnly(_) => 7,
            Self::UndoMismatch { .. } => 17,
            Self::NoSpace { .. } => 18,
            Self::Restricted { .. } => 23,
            Self::Incompatible { .. } => 24,
            Self::Required(_) => 25,
            Self::BadPkginfo { .. } | Self::BadInformation { .. } | Self::KeptPackage(_) => 28,
            Self::BadId(_) => 29,
            Self::BadPatch(_) => 33,
            Self::LaterRevision(_) => 35,
            Self::BackoutDirectory(_) => 37,
            Self::InSet(reason) => reason.patchadd_code(),
            Self::Promotion(reason) => reason.code(),
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
            Self::Hook(_) => 10,
            Self::LibrariesLost(_) | Self::NativeChanged { .. } => 11,
            Self::Interrupted { .. } | Self::OtherInterrupted { .. } => 14,
            Self::Needed { .. } => 15,
            Self::NoSpace { .. } => 20,
            _ => 5,
        }
    }

    /// Returns the reason with every path as the host sees it.
    #[must_use]
    pub fn shown(self, inventory: &Inventory) -> Self {
        let show = |path: ObjectPath| inventory.show(&path);
        match self {
            Self::Edited { paths, attributes, can_keep } => {
                let shown = |one: EditedAttribute| EditedAttribute { path: show(one.path), ..one };
                let attributes = attributes.into_iter().map(shown).collect();
                Self::Edited { paths: paths.into_iter().map(show).collect(), attributes, can_keep }
            }
            Self::KeepWithoutUndo(path) => Self::KeepWithoutUndo(show(path)),
            Self::ChangedLater { path, by } => Self::ChangedLater { path: show(path), by },
            Self::NotHandedOn { path, by, why } => Self::NotHandedOn { path: show(path), by, why },
            Self::UsedLater { path, by } => Self::UsedLater { path: show(path), by },
            Self::Object { package, path, problem } => {
                let resolved = ObjectPath::new(path.as_bytes());
                let path = resolved.map_or(path, |path| show(path).to_string());
                Self::Object { package, path, problem: problem.shown(inventory) }
            }
            Self::InUse { objects, is_question } => {
                let shown = |object: ObjectInUse| ObjectInUse { path: show(object.path), ..object };
                Self::InUse { objects: objects.into_iter().map(shown).collect(), is_question }
            }
            Self::LibrariesLost(lost) => {
                let shown = |loss: LibraryLoss| LibraryLoss {
                    consumers: loss.consumers.into_iter().map(show).collect(),
                    ..loss
                };
                Self::LibrariesLost(lost.into_iter().map(shown).collect())
            }
            Self::NoWayBack(why) => Self::NoWayBack(Box::new(why.shown(inventory))),
            Self::Promotion(reason) => Self::Promotion(reason.shown(show)),
            other => other,
        }
    }
}

impl ObjectProblem {
    fn shown(self, inventory: &Inventory) -> Self {
        let show = |path: ObjectPath| inventory.show(&path);
        match self {
            Self::SamePlace(path) => Self::SamePlace(show(path)),
            Self::ThroughOwnLink(path) => Self::ThroughOwnLink(show(path)),
            Self::NotADirectory(path) => Self::NotADirectory(show(path)),
            Self::LeadsElsewhere(path) => Self::LeadsElsewhere(show(path)),
            Self::LeadsNowhere(path) => Self::LeadsNowhere(show(path)),
            Self::NotEmpty(path) => Self::NotEmpty(show(path)),
            Self::LinkSource(path) => Self::LinkSource(show(path)),
            Self::LinkAcross(path) => Self::LinkAcross(show(path)),
            Self::Obstacle { at, obstacle } => Self::Obstacle { at: show(at), obstacle },
            Self::ForeignDirectory(path) => Self::ForeignDirectory(show(path)),
            Self::NativeName { name, owner, manager } => {
                Self::NativeName { name: show(name), owner, manager }
            }
            Self::Diverted { to, by } => Self::Diverted { to: show(to), by },
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use patchadm_svr4::package::PkgInst;

    use super::{Command, *};

    #[test]
    fn every_path_has_the_root_before_it_and_an_unresolved_one_stays() {
        let path = |text: &str| ObjectPath::new(text.as_bytes()).unwrap();
        let inventory = Inventory { prefix: Some(path("/mnt")), ..Inventory::default() };
        let words = |reason: Reason| reason.shown(&inventory).of(Command::Patchadd, &"1-01").why();
        assert_eq!(
            words(Reason::Edited {
                paths: vec![path("/a"), path("/b")],
                attributes: vec![EditedAttribute {
                    path: path("/c"),
                    local: "mode 0600".to_owned(),
                    delivered: "0755".to_owned(),
                }],
                can_keep: true
            }),
            "edited since installation: /mnt/a, /mnt/b; attributes set locally: /mnt/c (has mode 0600, and the patch has \
             0755)"
        );
        let object = |at: &str, problem| Reason::Object {
            package: PkgInst::new("P").unwrap(),
            path: at.to_owned(),
            problem,
        };
        assert_eq!(
            words(object("/a", ObjectProblem::NotEmpty(path("/a/b")))),
            "package P, path /mnt/a: it is a directory that holds /mnt/a/b, which is not taken away"
        );
        assert!(words(object("$X/a", ObjectProblem::Unknown("owner"))).starts_with("package P, path $X/a: "));
    }
}
