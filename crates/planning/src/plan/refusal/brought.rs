//! The reasons the patches and packages of a stage do not go live.

use std::path::Path;

use super::Wording;
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchId;

/// A reason that lies in the package databases of a stage and its root, or in an object that a patch of the stage changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BroughtReason {
    /// The root's list of the package's patches is not the beginning of the stage's list.
    #[error("package {package} has patches in the stage that do not follow on those of the root: {}", stand(.stage, .live))]
    NotContinued {
        /// The package.
        package: PkgInst,
        /// The patches that only the stage has.
        stage: Vec<PatchId>,
        /// The patches that only the root has.
        live: Vec<PatchId>,
    },
    /// A patch that both have is recorded differently.
    #[error("patch {patch} of package {package} is recorded otherwise in the stage than on the root")]
    OtherRecord {
        /// The package.
        package: PkgInst,
        /// The patch.
        patch: PatchId,
        /// The patches that only the stage has.
        stage: Vec<PatchId>,
    },
    /// A package was removed in the stage.
    #[error("package {0} is removed in the stage and installed on the root")]
    PackageRemoved(PkgInst),
    /// A package was replaced in the stage by another version.
    #[error("package {package} has version {stage} in the stage and {live} on the root")]
    OtherVersion {
        /// The package.
        package: PkgInst,
        /// The version in the stage.
        stage: String,
        /// That of the root.
        live: String,
    },
    /// A package was installed on both sides, in other versions.
    #[error(
        "package {package} was installed on both sides: version {stage} in the stage, {live} on the root"
    )]
    InstalledOnBoth {
        /// The package.
        package: PkgInst,
        /// The version in the stage.
        stage: String,
        /// That of the root.
        live: String,
    },
    /// A package was removed on the root, and replaced in the stage.
    #[error("package {package} was removed on the root, and has version {stage} in the stage")]
    GoneAndReplaced {
        /// The package.
        package: PkgInst,
        /// The version in the stage.
        stage: String,
    },
    /// A package was replaced on the root by another version, and the stage has patched the one before.
    #[error(
        "package {package} has version {live} on the root, and in the stage patches of the version before: {}",
        ids(.stage)
    )]
    PatchedAndReplaced {
        /// The package.
        package: PkgInst,
        /// The version of the root.
        live: String,
        /// The patches of the stage.
        stage: Vec<PatchId>,
    },
    /// A package of the stage has an object that a package has which came to the root.
    #[error(
        "{path} is owned by package {stage} in the stage, and by package {live}, which was installed on the root"
    )]
    ClaimedByBoth {
        /// The path.
        path: ObjectPath,
        /// The package of the stage.
        stage: PkgInst,
        /// That of the root.
        live: PkgInst,
    },
    /// A package that only the stage has owns something that is not promoted.
    #[error("package {package} is new in the stage, and its {path} is not promoted")]
    NewOutside {
        /// The package.
        package: PkgInst,
        /// The path.
        path: ObjectPath,
    },
    /// A patch of the stage changed something that is not promoted.
    #[error("patch {patch} of the stage changed {path}, which is not promoted")]
    NotPromoted {
        /// The patch.
        patch: PatchId,
        /// The path.
        path: ObjectPath,
    },
    /// The object of the root at a path is not the one that the patch found there.
    #[error("{path} is not what patch {patch} found there in the stage")]
    NotAsFound {
        /// The patch.
        patch: PatchId,
        /// The path.
        path: ObjectPath,
    },
    /// The object of the stage at a path is not the one that the patch made.
    #[error("{path} of the stage is not what patch {patch} made of it")]
    NotAsMade {
        /// The patch.
        patch: PatchId,
        /// The path.
        path: ObjectPath,
    },
    /// Nothing tells what a patch changed.
    #[error(
        "what patch {patch} of package {package} changed is not known: its undo data was made by another tool"
    )]
    NotKnown {
        /// The package.
        package: PkgInst,
        /// The patch.
        patch: PatchId,
    },
    /// The undo data of a patch lies outside the stage.
    #[error("the undo data of patch {patch} of package {package} lies outside the stage")]
    UndoOutside {
        /// The package.
        package: PkgInst,
        /// The patch.
        patch: PatchId,
    },
    /// The undo data of a patch is damaged, or missing.
    #[error("{0}")]
    DamagedUndo(String),
    /// A line of `contents` does not agree with the packages that the root would have.
    #[error("{file}: {}{path}: {fault}", numbered(*.line))]
    BadLine {
        /// The file with the line.
        file: String,
        /// The number of the line.
        line: Option<u64>,
        /// The path that it is about.
        path: ObjectPath,
        /// The fault.
        fault: LineFault,
    },
    /// Another user than the superuser could have written the records of the stage.
    #[error("no packages and patches come from this stage: {0}")]
    NotOfRoot(String),
    /// The databases of stage and root are not of one identity.
    #[error("the package database of the stage has another identity than that of the root")]
    OtherMarker,
}

/// The fault of a line of `contents`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// An owner is installed on neither side and does not come along.
    #[error("its owner {0} is neither installed on the root nor brought by the stage")]
    Unknown(PkgInst),
    /// An owner stands there twice.
    #[error("its owner {0} stands there twice")]
    Twice(PkgInst),
    /// A package of the root would lose the path.
    #[error("package {0}, which owns it on the root, would lose it")]
    Taken(PkgInst),
}

impl BroughtReason {
    /// Returns the next command to type; `stage` is the directory of the stage.
    pub(super) fn hint(&self, wording: &Wording, stage: &str) -> String {
        let there = Wording::of_verbs(Path::new(stage));
        let without = |patches: &[PatchId]| {
            let back = there.removal(&ids(patches));
            format!("back out what the stage has beside it: {back}; --tree-only takes the objects alone")
        };
        match self {
            Self::NotContinued { stage, live, .. } if !live.is_empty() => format!(
                "back out what the root has beside it: {}, or what the stage has: {}; --tree-only takes the objects alone",
                wording.removal(&ids(live)),
                there.removal(&ids(stage)),
            ),
            Self::NotContinued { stage, .. } | Self::OtherRecord { stage, .. } => without(stage),
            Self::PackageRemoved(package) => {
                format!("remove it from the root as well: {}", wording.command("pkgrm", package.as_str()))
            }
            Self::OtherVersion { package, .. } => format!(
                "install that version on the root: {}",
                wording.command("pkgadd", &format!("-d DEVICE {package}"))
            ),
            Self::InstalledOnBoth { package, .. }
            | Self::GoneAndReplaced { package, .. }
            | Self::ClaimedByBoth { stage: package, .. } => {
                format!("remove it in the stage: {}", there.command("pkgrm", package.as_str()))
            }
            Self::PatchedAndReplaced { stage, .. } => {
                format!("back out what the stage has beside it: {}", there.removal(&ids(stage)))
            }
            Self::NewOutside { .. } => "--path names the directories that are promoted".to_owned(),
            Self::NotAsFound { patch, .. }
            | Self::NotAsMade { patch, .. }
            | Self::NotPromoted { patch, .. } => {
                format!(
                    "put it back as it was, or back the patch out in the stage: {}; --tree-only takes the objects alone",
                    there.removal(patch.as_str())
                )
            }
            Self::DamagedUndo(_) => format!(
                "put the right archive back in the stage, or run {}, which compares that of patch ID with its records",
                there.verb("recover --adopt-undo ID")
            ),
            Self::BadLine { .. } => format!(
                "{} brings what changed on the root; --tree-only takes the objects and leaves the records",
                wording.verb(&format!("stage refresh {}", Wording::quoted(stage)))
            ),
            Self::NotOfRoot(_) => {
                "--tree-only takes the objects and leaves the records; root makes the stage if they have to come".to_owned()
            }
            Self::NotKnown { .. } | Self::UndoOutside { .. } | Self::OtherMarker => {
                "--tree-only takes the objects and leaves the patches".to_owned()
            }
        }
    }

    /// Returns the same with every path of the root as the host sees it.
    pub(super) fn shown(self, show: impl Fn(ObjectPath) -> ObjectPath) -> Self {
        match self {
            Self::NotAsFound { patch, path } => Self::NotAsFound { patch, path: show(path) },
            other => other,
        }
    }
}

fn numbered(line: Option<u64>) -> String {
    line.map(|line| format!("line {line}: ")).unwrap_or_default()
}

fn ids(patches: &[PatchId]) -> String {
    let ids: Vec<&str> = patches.iter().map(PatchId::as_str).collect();
    ids.join(" ")
}

/// Returns which side has patches that the other lacks.
fn stand(stage: &[PatchId], live: &[PatchId]) -> String {
    match (stage.is_empty(), live.is_empty()) {
        (false, false) => format!("only the stage has {}, only the root {}", ids(stage), ids(live)),
        (false, true) => format!("the stage has {} in between", ids(stage)),
        _ => format!("only the root has {}", ids(live)),
    }
}
