//! Refusals: one variant per reason, with the ids, packages and paths concerned. A refusal comes before anything is
//! touched, and has the exit code of its command (patchadd(1M), patchrm(1M), pkgadd(1M), pkgrm(1M)) and its wording.

mod advice;
mod promotion;
mod reasons;
mod wording;

use std::path::PathBuf;

use patchadm_inputs::inventory::Inventory;
use patchadm_inputs::native::NativeChange;
use patchadm_rootfs::{Interrupt, human_free, human_needed};
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::{PatchId, Requirement};

pub use advice::{finishing_command, of_native_change};
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
    /// This patch can be backed out now, before any other. `together` has the words of `patchadm remove` for all
    /// patches that have to go, if they are known.
    First { id: String, together: Option<String> },
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
    /// Like `Unregistered`, but the version or architecture differs.
    OtherNative {
        packages: Vec<String>,
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
        /// The members of `paths` that no package owns.
        unowned: Vec<ObjectPath>,
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
    /// A file system with objects or records that would change.
    Unsupported {
        /// Its topmost directory.
        file_system: String,
        /// The rest of a sentence about it.
        why: &'static str,
    },
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
    /// `undo-data drop` or a limit of the policy deleted it.
    UndoDropped {
        package: PkgInst,
        run: String,
    },
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
    /// With the patches of an adopted package that no other package manager has, from the last to the first.
    AlreadyInstalled(Option<String>),
    /// A refresh follows other package managers. With the same patches.
    NotNative(Option<String>),
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
            Self::NotInstalled(_) | Self::Unregistered { .. } | Self::OtherNative { .. } => "not-applicable",
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
            Self::StaleSave(_)
            | Self::NoUndoData(_)
            | Self::UndoDropped { .. }
            | Self::BadUndoData { .. } => 4,
            Self::Obsoleted { .. }
            | Self::Superseded(_)
            | Self::ChangedLater { .. }
            | Self::NotHandedOn { .. }
            | Self::UsedLater { .. } => 6,
            Self::NotInstalled(_)
            | Self::Unregistered { .. }
            | Self::OtherNative { .. }
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
            Self::NoUndoData(_) | Self::UndoDropped { .. } | Self::BadUndoData { .. } => 4,
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
            Self::Edited { paths, unowned, attributes, can_keep } => {
                let shown = |one: EditedAttribute| EditedAttribute { path: show(one.path), ..one };
                let attributes = attributes.into_iter().map(shown).collect();
                let [paths, unowned] = [paths, unowned].map(|paths| paths.into_iter().map(show).collect());
                Self::Edited { paths, unowned, attributes, can_keep }
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

impl Refusal {
    /// Returns the change that did not happen, without a full stop: `patch 100-01 was not applied`.
    pub fn what(&self) -> String {
        format!("{} was not {}", self.subject_with_kind(), self.command.participle())
    }

    /// Returns the change of a plan that would not happen: `patch 100-01 would not be applied`.
    pub fn what_of_plan(&self) -> String {
        format!("{} would not be {}", self.subject_with_kind(), self.command.participle())
    }

    fn subject_with_kind(&self) -> String {
        let subject = &self.subject;
        match self.command {
            Command::Patchadd | Command::Patchrm => format!("patch {subject}"),
            Command::Pkgadd | Command::Pkgrm | Command::Adopt | Command::AdoptRefresh | Command::Forget => {
                format!("package {subject}")
            }
            Command::Installf | Command::Removef => format!("the request for package {subject}"),
            Command::Repack | Command::UndoExport | Command::UndoImport | Command::Commit => {
                format!("undo data of patch {subject}")
            }
            Command::Undo if subject.is_empty() => "the run".to_owned(),
            Command::Undo | Command::Confirm => format!("run {subject}"),
            Command::Refresh => format!("stage {subject}"),
            Command::Promote => subject.clone(),
        }
    }

    /// Returns the reason, with ids, packages and paths, without a full stop.
    pub fn why(&self) -> String {
        self.reason.sentence()
    }

    /// With a line of its own for each of many files.
    pub fn why_in_lines(&self) -> String {
        match &*self.reason {
            Reason::Edited { paths, unowned, attributes, .. } => {
                let edited = paths.iter().filter(|path| !unowned.contains(path)).map(ToString::to_string);
                let edited: Vec<String> = edited.chain(attributes.iter().map(ToString::to_string)).collect();
                let unowned: Vec<String> = unowned.iter().map(ToString::to_string).collect();
                let parts = [
                    (edited, ["file is modified locally", "files are modified locally"]),
                    (
                        unowned,
                        [
                            "file exists already and belongs to no package",
                            "files exist already and belong to no package",
                        ],
                    ),
                ];
                let parts = parts.into_iter().filter(|(lines, _)| !lines.is_empty());
                let parts = parts.map(|(lines, [one, many])| {
                    let what = if lines.len() == 1 { one } else { many };
                    format!("{} {what}\n{}", lines.len(), lines.join("\n"))
                });
                parts.collect::<Vec<_>>().join("\n")
            }
            Reason::LibrariesLost(lost) => {
                let lines: Vec<String> = lost.iter().map(ToString::to_string).collect();
                format!("programs would lose libraries that they need\n{}", lines.join("\n"))
            }
            _ => self.why(),
        }
    }

    fn needs_option(&self) -> bool {
        let decided = matches!(
            *self.reason,
            Reason::Edited { .. } | Reason::KeepWithoutUndo(_) | Reason::UndoMismatch { .. }
        );
        decided && self.command == Command::Patchadd
    }

    fn classic_what(&self) -> String {
        let subject = &self.subject;
        match self.command {
            Command::Patchadd => format!("patch {subject} is not applied"),
            Command::Patchrm => format!("patch {subject} is not backed out"),
            Command::Pkgadd => format!("package {subject} is not installed"),
            Command::Pkgrm => format!("package {subject} is not removed"),
            Command::Installf => format!("nothing of package {subject} is registered"),
            Command::Removef => format!("no object of package {subject} is removed"),
            _ => self.what(),
        }
    }

    /// Returns the sentence of the classic commands after `ERROR: `; lines are separated by newlines. The line that
    /// ends every refusal (`Patchadd is terminating.`) is not in it. A list of objects in use stands without `ERROR: `.
    pub fn classic(&self) -> String {
        let id = &self.subject;
        match &*self.reason {
            Reason::AlreadyApplied(_) => format!("Patch {id} has already been applied."),
            Reason::LaterRevision(_) => format!("A later version of {id} has already been installed"),
            Reason::Obsoleted { by: Some(by), .. } if self.command == Command::Patchadd => {
                format!(
                    "This patch is obsoleted by patch {by} which has already\nbeen applied to this system."
                )
            }
            Reason::Required(needed) => {
                format!("Patch {id} requires patch {needed} or later, which is not applied.")
            }
            Reason::Incompatible { applied, .. } => {
                format!("Patch {id} is incompatible with applied patch {applied}.")
            }
            Reason::NotInstalled(_) | Reason::Unregistered { .. } | Reason::OtherNative { .. } => {
                format!("None of the packages of patch {id} is installed on this system.")
            }
            Reason::Restricted { restricted, package } => format!(
                "Patch {id} cannot be applied until restricted patch {restricted} is backed out (package {package})."
            ),
            Reason::NotApplied => format!("Patch {id} has not been applied."),
            Reason::InUse { objects, .. } => listed(objects),
            _ => {
                let sentence = format!("{}: {}.", self.classic_what(), self.why());
                let mut letters = sentence.chars();
                let first = letters.next().map(|first| first.to_ascii_uppercase());
                let page = if self.needs_option() { "\nSee patchadd(1M) for instructions" } else { "" };
                first.into_iter().chain(letters).chain(page.chars()).collect()
            }
        }
    }
}

impl Reason {
    /// Returns the reason with ids, packages and paths, without a full stop.
    pub fn sentence(&self) -> String {
        self.conflict().unwrap_or_else(|| self.obstacle())
    }

    /// Returns the question for the user, as a sentence without full stop; `None` if asking would not help.
    pub fn question(&self) -> Option<String> {
        let is_question = matches!(self, Self::Interaction { .. } | Self::InUse { is_question: true, .. });
        is_question.then(|| self.obstacle())
    }

    fn conflict(&self) -> Option<String> {
        Some(match self {
            Self::NotInstalled(packages) => {
                format!(
                    "none of its packages is installed in the required version and architecture: {}",
                    packages.join(", ")
                )
            }
            Self::Unregistered { packages, native } => unregistered(packages, native),
            Self::OtherNative { packages, native } => {
                format!("{native} is installed, and the patch is for {}", packages.join(", "))
            }
            Self::AlreadyApplied(packages) => format!("it is already applied to {}", list(packages)),
            Self::LaterRevision(later) => format!("the later revision {later} is applied"),
            Self::Obsoleted { by: Some(by), entry } => {
                format!("applied patch {by} obsoletes {entry}, which contains it")
            }
            Self::Obsoleted { by: None, entry } => {
                format!("PATCH_OBSOLETES has {entry}, which contains it")
            }
            Self::Restricted { restricted, package } => {
                format!("restricted patch {restricted} is applied to package {package}")
            }
            Self::Incompatible { applied, named, says_applied: true } => {
                format!("applied patch {applied} is incompatible with {named}")
            }
            Self::Incompatible { applied, named, .. } => {
                format!("it is incompatible with {named}, and {applied} is applied")
            }
            Self::Required(needed) => format!("it requires patch {needed} or later, which is not applied"),
            Self::UndoMismatch { package, kept } => {
                let (has, gets) = if *kept { ("with", "without it") } else { ("without", "with it") };
                format!(
                    "it is applied to package {package} {has} undo data and would be applied to the others {gets}"
                )
            }
            Self::NotApplied => "it is not applied".to_owned(),
            Self::Superseded(by) => format!("the later revision {by} is applied"),
            Self::ChangedLater { path, by: Some(by) } => {
                format!("patch {by}, which was applied later, changed {path} again")
            }
            Self::ChangedLater { path, by: None } => {
                format!("the record of {path} has changed since it was applied")
            }
            Self::NotHandedOn { path, by, why } => {
                format!("patch {by}, which was applied later, also changes {path}: {why}")
            }
            Self::UsedLater { path, by } => {
                format!("patch {by}, which was applied later, has objects below {path}")
            }
            Self::KeptPackage(name) => {
                format!("package {name}: this name is reserved for kept libraries")
            }
            Self::LibrariesLost(lost) => lost.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            Self::SharedLater { by } => format!("the later patch {by} changes the same files"),
            Self::Needed { by, requirement } => format!("applied patch {by} requires {requirement}"),
            Self::InSet(reason) => reason.to_string(),
            Self::NotUndone(reason) => reason.to_string(),
            Self::Promotion(reason) => reason.to_string(),
            Self::Hook(reason) => reason.to_string(),
            _ => return None,
        })
    }

    fn obstacle(&self) -> String {
        match self {
            Self::BadPkginfo { package, reason } => format!("the pkginfo of package {package}: {reason}"),
            Self::BadInformation { package, file, reason } => {
                format!("the file {file} of package {package}: {reason}")
            }
            Self::NoWayBack(why) => format!("it could not be removed afterwards: {}", why.sentence()),
            Self::Excluded => "the policy of this root excludes it".to_owned(),
            Self::BackoutDirectory(path) => format!("{} is not an absolute path", path.display()),
            Self::StaleSave(package) => {
                format!("package {package} has a save directory of this patch, which is not applied")
            }
            Self::Interactive => "it must be applied manually: it has the property `interactive`".to_owned(),
            Self::Zone { package, parameter, installed, delivered } => {
                format!("{parameter} of package {package} is <{delivered}>, but <{installed}> is installed")
            }
            Self::RecordsByScripts(package) => {
                format!("the scripts of package {package} keep the records of the patch themselves")
            }
            Self::ScriptForbidden { package, script, by_option } => {
                forbidden(package.as_deref(), script, *by_option)
            }
            Self::BasedirAnswered { installed, answered } => {
                format!("it is installed in {installed}, but the response file requires {answered}")
            }
            Self::OtherBaseDirectory { package, installed, delivered } => format!(
                "it is made for the base directory {delivered}, package {package} is installed in {installed}, and none \
                 of its objects belongs to the package there"
            ),
            Self::Edited { paths, attributes, .. } => edited(paths, attributes),
            Self::KeepWithoutUndo(path) => {
                format!("the edited file {path} cannot be kept when no undo data is saved")
            }
            Self::Object { package, path, problem: ObjectProblem::NativeOwner { owner, manager } } => {
                format!("{path} belongs to {owner} ({manager}), and not to package {package}")
            }
            Self::Object { package, path, problem: problem @ ObjectProblem::Obstacle { at, .. } }
                if at.to_string() == *path =>
            {
                format!("package {package}: {problem}")
            }
            Self::Object { package, path, problem } => format!("package {package}, path {path}: {problem}"),
            Self::NoSpace { file_system, needed, free, inodes: true, .. } => {
                let objects = if *free == 1 { "object" } else { "objects" };
                format!("{file_system} has room for {free} {objects}, but {needed} are needed")
            }
            Self::NoSpace { file_system, needed, free, .. } => {
                format!(
                    "{file_system} has {} free, but {} are needed",
                    human_free(*free),
                    human_needed(*needed)
                )
            }
            Self::ReadOnly(file_system) => format!("the file system {file_system} is read-only"),
            Self::Unsupported { file_system, why } => format!("{file_system} {why}"),
            Self::PatchesApplied { package, patches } => {
                format!("patches are applied to package {package}: {patches}")
            }
            Self::NoSuchPackage => "there is no such package".to_owned(),
            Self::NothingToAsk => "package does not contain an interactive request script".to_owned(),
            Self::InUse { objects, .. } => {
                let said = |is_unowned: bool, rest: [&str; 2]| {
                    let objects = || objects.iter().filter(|object| object.is_unowned == is_unowned);
                    let paths = join(objects().map(|object| object.path.to_string()));
                    let rest = rest[usize::from(objects().count() > 1)];
                    (!paths.is_empty()).then(|| format!("{paths} {rest}"))
                };
                let used = [
                    "is already installed and is being used by another package",
                    "are already installed and are being used by another package",
                ];
                let unowned = ["exists and belongs to no package", "exist and belong to no package"];
                [said(false, used), said(true, unowned)].into_iter().flatten().collect::<Vec<_>>().join("; ")
            }
            Self::BadId(reason)
            | Self::BadPatch(reason)
            | Self::ScriptsUnsafe(reason)
            | Self::BeyondScripts { what: reason, .. }
            | Self::Administration { found: reason, .. }
            | Self::Interaction { found: reason, .. } => reason.clone(),
            _ => self.remains(),
        }
    }

    fn remains(&self) -> String {
        match self {
            Self::Adopted { from, .. } => {
                format!("it was adopted from {from}, which owns its files")
            }
            Self::NativeChanged { package, change } => format!("package {package}: {change}"),
            Self::NotAdopted => "it was installed and not adopted".to_owned(),
            Self::AlreadyInstalled(_) => "it is already installed".to_owned(),
            Self::NotNative(_) => "it was not adopted from dpkg or rpm".to_owned(),
            Self::Signal(_) => patchadm_rootfs::INTERRUPTED.to_owned(),
            Self::NoUndoData(package) => format!("there is no undo data for package {package}"),
            Self::UndoDropped { package, run } => {
                format!("the undo data for package {package} was dropped by run {run}")
            }
            Self::Interrupted { package, is_put_aside: true } => format!(
                "applying it to package {package} was interrupted, and a later call restored the records of the package, but not its files: the records of the first call are in var/sadm/pkg/{package}/{package}, \
                 and there is no undo data for files that may have been replaced"
            ),
            Self::Interrupted { package, .. } => format!(
                "applying it to package {package} was interrupted: the package is locked by `!I-Lock!`, its \
                 records name the patch, and there is no undo data for files that may have been replaced"
            ),
            Self::OtherInterrupted { package, patch } => format!(
                "patch {patch} was left half applied to package {package}, as `!I-Lock!` shows, and the scripts of this one would remove that lock"
            ),
            Self::BadUndoData { package, reason } => format!("undo data of package {package}: {reason}"),
            _ => String::new(),
        }
    }
}

fn forbidden(package: Option<&str>, script: &str, by_option: bool) -> String {
    let whose = package.map_or_else(|| "it".to_owned(), |name| format!("package {name}"));
    let what = match script.strip_prefix("i.").or_else(|| script.strip_prefix("r.")) {
        Some(class) => format!("needs the script {script} of class {class}"),
        None => format!("has the script {script}"),
    };
    let who = if by_option { "--scripts refuse" } else { "the policy of this root" };
    format!("{whose} {what}, which {who} does not allow")
}

fn listed(objects: &[ObjectInUse]) -> String {
    let line = |object: &ObjectInUse| {
        let what = if object.attributes_only { " <attribute change only>" } else { "" };
        let mark = if object.is_unowned { "*" } else { " " };
        format!("\n{mark} {}{what}", object.path)
    };
    let lines: String = objects.iter().map(line).collect();
    let unowned = objects.iter().any(|object| object.is_unowned);
    let legend = "\n* - conflict with a file which does not belong to any package.";
    let legend = if unowned { legend } else { "" };
    format!(
        "The following files are already installed on the system and are being\nused by another package:{lines}{legend}"
    )
}

fn list(packages: &[PkgInst]) -> String {
    join(packages.iter().map(ToString::to_string))
}

fn join(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

fn edited(paths: &[ObjectPath], attributes: &[EditedAttribute]) -> String {
    let files = join(paths.iter().map(ToString::to_string));
    let attributes = join(attributes.iter().map(ToString::to_string));
    let both = [("modified locally: ", files), ("attributes set locally: ", attributes)];
    let parts = both.into_iter().filter(|(_, list)| !list.is_empty());
    parts.map(|(word, list)| format!("{word}{list}")).collect::<Vec<_>>().join("; ")
}

fn unregistered(packages: &[String], native: &str) -> String {
    format!(
        "none of its packages is registered here: {}; {native} is installed, and was not adopted",
        packages.join(", ")
    )
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
                unowned: Vec::new(),
                attributes: vec![EditedAttribute {
                    path: path("/c"),
                    local: "mode 0600".to_owned(),
                    delivered: "0755".to_owned(),
                }],
                can_keep: true
            }),
            "modified locally: /mnt/a, /mnt/b; attributes set locally: /mnt/c (has mode 0600, and the patch has \
             0755)"
        );
        let object = |at: &str, problem| Reason::Object {
            package: PkgInst::new("P").unwrap(),
            path: at.to_owned(),
            problem,
        };
        assert_eq!(
            words(object("/a", ObjectProblem::NotEmpty(path("/a/b")))),
            "package P, path /mnt/a: it is a directory that contains /mnt/a/b, which is not removed"
        );
        let immutable = |at: &str| ObjectProblem::Obstacle { at: path(at), obstacle: "is immutable" };
        assert_eq!(words(object("/a", immutable("/a"))), "package P: /mnt/a is immutable");
        assert_eq!(words(object("/a/b", immutable("/a"))), "package P, path /mnt/a/b: /mnt/a is immutable");
        let hint = |problem| {
            let refusal = object("/mnt/a", problem).of(Command::Patchadd, &"100-01");
            refusal.hint(&Wording::of_verbs(std::path::Path::new("/mnt")))
        };
        assert_eq!(hint(immutable("/mnt/a")), "run `chattr -i /mnt/a`");
        assert_eq!(hint(ObjectProblem::NotEmpty(path("/mnt/a/b"))), "move /mnt/a/b away");
        assert!(words(object("$X/a", ObjectProblem::Unknown("owner"))).starts_with("package P, path $X/a: "));
    }
}
