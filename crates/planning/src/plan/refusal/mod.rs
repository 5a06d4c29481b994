//! The reasons for refusing a change: one variant per reason, with the ids, packages and paths that it is
//! about.
//!
//! A refusal is made before anything is touched. It knows the exit code of its command (patchadd(1M),
//! patchrm(1M), pkgadd(1M), pkgrm(1M)) and its wording. The command prints it.

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

/// The command that refuses.
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
    /// `patchadm adopt --refresh`.
    AdoptRefresh,
    /// `patchadm adopt --forget`.
    Forget,
    /// `patchadm undo-data drop`.
    Commit,
    /// `patchadm undo-data repack`.
    Repack,
    /// `patchadm undo-data export`.
    UndoExport,
    /// `patchadm undo-data import`.
    UndoImport,
    /// `patchadm undo`, before its work is known.
    Undo,
    /// `patchadm confirm`.
    Confirm,
    /// `patchadm stage promote`.
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

    /// Returns the participle of what it does: `applied`.
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

/// A refused change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", self.what(), self.why())]
pub struct Refusal {
    /// The command that refuses.
    pub command: Command,
    /// The patch or package that was requested.
    pub subject: String,
    /// The reason.
    pub reason: Box<Reason>,
    /// The known facts about the patch that prevents a backout.
    pub way_out: WayOut,
}

/// The known facts about the patch that prevents a backout, if there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WayOut {
    /// The facts were not looked up.
    #[default]
    Unknown,
    /// This patch can be backed out now, before any other.
    First(String),
    /// This patch cannot be backed out either.
    Blocked {
        /// The patch.
        patch: String,
        /// The reason.
        why: String,
    },
}

/// The reason of a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// This signal asked for the end, and nothing is planned.
    Signal(i32),
    /// The id of the patch is invalid.
    BadId(String),
    /// The delivery is not one patch.
    BadPatch(String),
    /// The pkginfo of a package, delivered or installed, lacks a value or has an invalid one.
    BadPkginfo {
        /// The package.
        package: String,
        /// The fault.
        reason: String,
    },
    /// A file of the `install` directory of a package is invalid.
    BadInformation {
        /// The package.
        package: String,
        /// Its name.
        file: &'static str,
        /// The fault, with its line.
        reason: String,
    },
    /// No package of the patch is installed in the version that it is for: `PKG (ARCH) VERSION` of each.
    NotInstalled(Vec<String>),
    /// The same, but the package manager of the system has a package that it is for.
    Unregistered {
        /// `PKG (ARCH) VERSION` of each package of the patch.
        packages: Vec<String>,
        /// The native package: manager, name and version.
        native: String,
    },
    /// It is applied to all the packages that it patches.
    AlreadyApplied(Vec<PkgInst>),
    /// This later revision is applied.
    LaterRevision(PatchId),
    /// An applied patch obsoletes it.
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
        /// True if the list is that of the applied patch.
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
    /// The stage is not promoted or refreshed.
    Promotion(PromotionReason),
    /// A hook of the policy is not run, and nothing is done without it.
    Hook(HookReason),
    /// The directory for undo archives is not an absolute path.
    BackoutDirectory(PathBuf),
    /// It is applied to another package with undo data and would be applied to this one without, or the
    /// reverse.
    UndoMismatch {
        /// The package that it is applied to.
        package: PkgInst,
        /// True if undo data is there.
        kept: bool,
    },
    /// A save directory of the patch is there although the patch is not applied.
    StaleSave(PkgInst),
    /// The patch wants to ask questions, and no one can answer.
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
        /// True if an option of the command line forbids it, and not the policy.
        by_option: bool,
    },
    /// A response gives an installed package another base directory.
    BasedirAnswered {
        /// The installed base directory.
        installed: String,
        /// The base directory in the response.
        answered: String,
    },
    /// A package without request script has a response.
    NothingToAsk,
    /// Scripts that run cannot do their part of a change.
    BeyondScripts {
        /// The path, and what is wrong with it.
        what: String,
        /// True if they run because the user wants them to, and the program could do their work.
        by_choice: bool,
    },
    /// The patch could not be backed out again, for this reason.
    NoWayBack(Box<Reason>),
    /// Scripts cannot be run for this root: paths that they would be told to use are missing, or elsewhere.
    ScriptsUnsafe(String),
    /// Files that the administrator edited would be replaced, or get other attributes.
    Edited {
        /// The files with other bytes.
        paths: Vec<ObjectPath>,
        /// The attributes, in packages adopted from another package manager.
        attributes: Vec<EditedAttribute>,
        /// True if they could be kept: there is undo data that says so later.
        can_keep: bool,
    },
    /// The patch is made for another base directory, and none of its objects is one of the package.
    OtherBaseDirectory {
        /// The package.
        package: PkgInst,
        /// Its base directory.
        installed: String,
        /// The base directory of the patch.
        delivered: String,
    },
    /// An edited file would be kept, but without undo data nothing would record this for later.
    KeepWithoutUndo(ObjectPath),
    /// An object cannot be installed or removed as asked.
    Object {
        /// Its package.
        package: PkgInst,
        /// Its path, as far as it could be resolved.
        path: String,
        /// The obstacle.
        problem: ObjectProblem,
    },
    /// A file system is too small.
    NoSpace {
        /// Its topmost directory.
        file_system: String,
        /// The need: bytes, or objects.
        needed: u64,
        /// The free amount.
        free: u64,
        /// True if objects are meant, not bytes.
        inodes: bool,
        /// The part of it that is undo data, which could be elsewhere.
        undo: u64,
    },
    /// A file system of the root, named by its topmost directory, is read-only, and objects on it would
    /// change.
    ReadOnly(String),
    /// The patch to be backed out is not applied.
    NotApplied,
    /// The patch to be backed out is superseded by this later revision.
    Superseded(PatchId),
    /// A later patch changed the same path.
    ChangedLater {
        /// The path.
        path: ObjectPath,
        /// The later patch, if known.
        by: Option<String>,
    },
    /// The state of a path that the patch saved cannot be handed on to the later patch that has the path.
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
        /// The object that it made: a directory, or a link that leads to one.
        path: ObjectPath,
        /// The later patch.
        by: String,
    },
    /// A patch that was applied later has paths of this one. Only a caller who may read the undo data learns
    /// which paths.
    SharedLater {
        /// The later patch.
        by: String,
    },
    /// An applied patch needs the one to be backed out.
    Needed {
        /// The patch that needs it.
        by: PatchId,
        /// The requirement.
        requirement: Requirement,
    },
    /// There is no undo data for a package.
    NoUndoData(PkgInst),
    /// A tool without recovery died while it applied the patch to a package: its records name the patch, and
    /// what was replaced was not saved.
    Interrupted {
        /// The package.
        package: PkgInst,
        /// True if a later call of such a tool put the records of before the patch back.
        is_put_aside: bool,
    },
    /// A tool without recovery left another patch half applied to a package, and scripts of this patch would
    /// run there. They would remove the lock that tells of the interruption.
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
        /// Its origin: `dpkg NAME:ARCH`, `rpm NAME`.
        from: String,
    },
    /// The package manager that an adopted package comes from changed it since.
    NativeChanged {
        /// The package.
        package: PkgInst,
        /// The change.
        change: Box<NativeChange>,
    },
    /// The package was installed and not adopted, so that its files came with it.
    NotAdopted,
    /// The admin file ends the run (`quit`).
    Administration {
        /// The finding.
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
    /// The admin file wants the user to be asked (`ask`), and no one can answer.
    Interaction {
        /// The finding.
        found: String,
        /// The line of an admin file that decides it.
        answer: &'static str,
    },
    /// It claims to keep libraries, or has the name of a package that does; only runs make those.
    KeptPackage(String),
    /// A consumer would lose a library, and `stop` in the library settings forbids that.
    LibrariesLost(Vec<LibraryLoss>),
    /// Other packages use objects that would become different (`conflict` in admin(4)).
    InUse {
        /// The objects.
        objects: Vec<ObjectInUse>,
        /// True if the admin file wants the user to be asked, who cannot be; else it ends the run.
        is_question: bool,
    },
}

impl Reason {
    pub(in crate::plan) fn unless_interrupted(interrupt: Interrupt<'_>) -> Result<(), Self> {
        interrupt().map_or(Ok(()), |signal| Err(Self::Signal(signal)))
    }

    /// Makes it the refusal of a command about a patch or package.
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
    /// Returns the exit code of the command.
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
