use std::path::Path;

use serde::{Serialize, Serializer};

use patchadm_changeset::format::escaped::as_text;
use patchadm_svr4::package::{Mode, ObjectPath, PkgInst, printable_name};
use patchadm_svr4::patch::PatchId;

use super::Wording;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PromotionReason {
    #[error("changed in the stage and in the live tree: {}", list(.0))]
    Conflicts(Vec<ObjectPath>),
    #[error("changed in the stage and in the live tree: {}", list(.0))]
    RefreshConflicts(Vec<ObjectPath>),
    #[error("{deleted} of {live} objects of {path} would be deleted, more than {limit}")]
    TooManyDeleted {
        path: ObjectPath,
        deleted: usize,
        live: usize,
        /// As it was written.
        limit: String,
    },
    #[error("{0} is empty in the stage")]
    EmptyPath(ObjectPath),
    #[error("{path} is missing {}", if *.in_stage { "in the stage" } else { "in the live tree" })]
    MissingPath {
        path: ObjectPath,
        /// Missing in the stage, else on the root.
        in_stage: bool,
    },
    /// A path became a mount point or ceased to be one after the stage was made.
    #[error("{path} {} when the stage was made", if *.is_mount { "is a mount point, and was not" } else { "is not a mount point, and was one" })]
    MountChanged {
        path: ObjectPath,
        /// It is one now.
        is_mount: bool,
    },
    #[error("it is a stage of {0}")]
    OtherRoot(String),
    #[error("package {package} is installed and is not the local package of {base}")]
    OtherPackage { package: PkgInst, base: String },
    #[error("{reason}")]
    Brought { stage: String, reason: BroughtReason },
    /// Both sides changed packages, differently.
    #[error("{}", sentences(.reasons))]
    Packages {
        stage: String,
        /// At least one.
        reasons: Vec<BroughtReason>,
    },
    /// The command does not allow these changes of set-id bits, capabilities or owners, or these links out of the
    /// promoted paths by another user.
    #[error("{}: {}", privileges(.0), first_ones(.0, ", "))]
    SetId(Vec<SetIdFile>),
    #[error("it is already in the records")]
    KnownId,
    /// The id must be later than all earlier ones.
    #[error("{0} was used before, and the id of a promotion must be a later one")]
    EarlierId(PatchId),
}

/// A file that gets or keeps set-id bits or capabilities with other bytes, an object of the root that gets another
/// owner, or another user's link that leads out of the promoted paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetIdFile {
    #[serde(serialize_with = "as_text")]
    pub path: ObjectPath,
    /// Of the live file, or for a new one.
    #[serde(serialize_with = "as_text")]
    pub mode: Mode,
    #[serde(rename = "capabilities")]
    pub has_capabilities: bool,
    #[serde(flatten)]
    pub change: SetIdChange,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "lowercase")]
pub enum SetIdChange {
    Bytes,
    /// It gets these rights, or another owner, now.
    Rights,
    New,
    /// It exists, and gets another owner.
    Owner {
        /// User and group.
        #[serde(skip)]
        from: (u32, u32),
        /// User and group.
        #[serde(rename = "owner", serialize_with = "as_owner")]
        to: (u32, u32),
    },
    /// It becomes a link with this target, in the stage of another user.
    Link {
        target: String,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn as_owner<S: Serializer>((user, group): &(u32, u32), serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{user}:{group}"))
}

impl std::fmt::Display for SetIdFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, mode, has_capabilities, change } = self;
        let capabilities = if *has_capabilities { " with capabilities" } else { "" };
        let words = match change {
            SetIdChange::Bytes => "gets different contents",
            SetIdChange::Rights => "gets them",
            SetIdChange::New => "is new",
            SetIdChange::Owner { from: (uid, gid), to: (new_uid, new_gid) } => {
                return write!(f, "{path} changes owner from {uid}:{gid} to {new_uid}:{new_gid}");
            }
            SetIdChange::Link { target } => {
                let target = printable_name(target.as_bytes());
                return write!(
                    f,
                    "{path} becomes a link to {target}, which is outside the promoted paths or writable by others"
                );
            }
        };
        write!(f, "{path} (mode {:04o}{capabilities}) {words}", mode.bits())
    }
}

impl PromotionReason {
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::MissingPath { .. } => 27,
            Self::KnownId => 2,
            Self::EarlierId(_) => 35,
            Self::Brought { reason: BroughtReason::DamagedUndo(_), .. } => 33,
            _ => 10,
        }
    }

    pub(super) fn hint(&self, wording: &Wording) -> String {
        match self {
            Self::Conflicts(_) => {
                "promote them with `--edited replace`, or leave the live files with `--edited keep`; for one file, use `--replace-edited PATH` or `--keep-edited PATH`"
                    .to_owned()
            }
            Self::RefreshConflicts(_) => {
                "use the live files with `--edited replace`, or keep the stage's files with `--edited keep`; for one file, use `--replace-edited PATH` or `--keep-edited PATH`"
                    .to_owned()
            }
            Self::TooManyDeleted { .. } => "to allow it, use `--max-delete N` or `--max-delete N%`".to_owned(),
            Self::EmptyPath(path) => {
                format!("to delete it, delete {path} in the live tree yourself")
            }
            Self::MissingPath { .. } | Self::MountChanged { .. } => {
                "specify the directories to promote with `--path`".to_owned()
            }
            Self::OtherRoot(root) => format!("specify its root with `-R {root}`"),
            Self::Brought { stage, reason } => reason.hint(wording, stage),
            Self::Packages { stage, reasons } => {
                let mut hints: Vec<String> = Vec::new();
                for hint in reasons.iter().map(|reason| reason.hint(wording, stage)) {
                    if !hints.contains(&hint) {
                        hints.push(hint);
                    }
                }
                hints.join("; ")
            }
            Self::SetId(_) => "to allow it, use `--allow-set-id`".to_owned(),
            Self::OtherPackage { .. } => "make a stage with another name".to_owned(),
            Self::KnownId | Self::EarlierId(_) => "leave out `--id` to use the next one".to_owned(),
        }
    }

    pub(super) fn shown(self, show: impl Fn(ObjectPath) -> ObjectPath) -> Self {
        match self {
            Self::Conflicts(paths) => Self::Conflicts(paths.into_iter().map(show).collect()),
            Self::RefreshConflicts(paths) => Self::RefreshConflicts(paths.into_iter().map(show).collect()),
            Self::TooManyDeleted { path, deleted, live, limit } => {
                Self::TooManyDeleted { path: show(path), deleted, live, limit }
            }
            Self::MissingPath { path, in_stage: false } => {
                Self::MissingPath { path: show(path), in_stage: false }
            }
            Self::MountChanged { path, is_mount } => Self::MountChanged { path: show(path), is_mount },
            Self::Brought { stage, reason } => Self::Brought { stage, reason: reason.shown(show) },
            Self::SetId(files) => Self::SetId(
                files.into_iter().map(|file| SetIdFile { path: show(file.path), ..file }).collect(),
            ),
            other => other,
        }
    }
}

fn privileges(files: &[SetIdFile]) -> String {
    let has = |is_meant: fn(&SetIdChange) -> bool| files.iter().any(|file| is_meant(&file.change));
    let owners = has(|change| matches!(change, SetIdChange::Owner { .. }));
    let links = has(|change| matches!(change, SetIdChange::Link { .. }));
    let rights = has(|change| !matches!(change, SetIdChange::Owner { .. } | SetIdChange::Link { .. }));
    let all = [
        (rights, "set-id bits"),
        (rights, "capabilities"),
        (owners, "other owners"),
        (links, "links of another user"),
    ];
    let mut words: Vec<&str> =
        all.into_iter().filter(|(is_there, _)| *is_there).map(|(_, word)| word).collect();
    let last = words.pop().unwrap_or_default();
    if words.is_empty() { last.to_owned() } else { format!("{} or {last}", words.join(", ")) }
}

fn list(paths: &[ObjectPath]) -> String {
    first_ones(paths, ", ")
}

fn sentences(reasons: &[BroughtReason]) -> String {
    first_ones(reasons, "; ")
}

fn first_ones(all: &[impl ToString], between: &str) -> String {
    const MOST: usize = 10;
    let shown: Vec<String> = all.iter().take(MOST).map(ToString::to_string).collect();
    let more = all.len().saturating_sub(MOST);
    if more == 0 { shown.join(between) } else { format!("{} and {more} more", shown.join(between)) }
}

/// A reason in the package databases of stage and root, or in an object that a patch of the stage changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BroughtReason {
    #[error("the patches of package {package} in the stage do not continue the root's patches: {}", stand(.stage, .live))]
    NotContinued { package: PkgInst, stage: Vec<PatchId>, live: Vec<PatchId> },
    /// Stage and root have different records of the patch.
    #[error("patch {patch} of package {package} has different records in the stage and on the root")]
    OtherRecord {
        package: PkgInst,
        patch: PatchId,
        /// Patches that only the stage has.
        stage: Vec<PatchId>,
    },
    #[error("package {0} is removed in the stage and installed on the root")]
    PackageRemoved(PkgInst),
    #[error("package {package} has version {stage} in the stage and {live} on the root")]
    OtherVersion { package: PkgInst, stage: String, live: String },
    /// Both sides installed the package, in different versions.
    #[error(
        "package {package} was installed on both sides: version {stage} in the stage, {live} on the root"
    )]
    InstalledOnBoth { package: PkgInst, stage: String, live: String },
    /// Removed on the root, and replaced in the stage.
    #[error("package {package} was removed on the root, and has version {stage} in the stage")]
    GoneAndReplaced { package: PkgInst, stage: String },
    /// The root has another version, and the stage has patched the one before.
    #[error(
        "package {package} has version {live} on the root, but the stage has patches for the previous version: {}",
        ids(.stage)
    )]
    PatchedAndReplaced { package: PkgInst, live: String, stage: Vec<PatchId> },
    /// Packages of the stage and of the root have the same object.
    #[error(
        "{path} is owned by package {stage} in the stage, and by package {live}, which was installed on the root"
    )]
    ClaimedByBoth { path: ObjectPath, stage: PkgInst, live: PkgInst },
    /// A package that only the stage has owns an object that is not promoted.
    #[error("package {package} is new in the stage, and its {path} is not promoted")]
    NewOutside { package: PkgInst, path: ObjectPath },
    #[error("patch {patch} of the stage changed {path}, which is not promoted")]
    NotPromoted { patch: PatchId, path: ObjectPath },
    /// The root's object is not the one that the patch found in the stage.
    #[error("{path} differs from the object that patch {patch} replaced in the stage")]
    NotAsFound { patch: PatchId, path: ObjectPath },
    /// The stage's object is not the one that the patch made.
    #[error("{path} in the stage differs from the object that patch {patch} delivered")]
    NotAsMade { patch: PatchId, path: ObjectPath },
    #[error("the changes of patch {patch} of package {package} are unknown: another tool made its undo data")]
    NotKnown { package: PkgInst, patch: PatchId },
    #[error("the undo data of patch {patch} of package {package} is outside the stage")]
    UndoOutside { package: PkgInst, patch: PatchId },
    #[error("{0}")]
    DamagedUndo(String),
    /// A line of `contents` does not agree with the packages that the root would have.
    #[error("{file}: {}{path}: {fault}", numbered(*.line))]
    BadLine { file: String, line: Option<u64>, path: ObjectPath, fault: LineFault },
    /// Another user than the superuser could have written the records of the stage.
    #[error("no packages and patches come from this stage: {0}")]
    NotOfRoot(String),
    #[error("the package databases of the stage and the root have different identities")]
    OtherMarker,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// The owner is installed on neither side and does not come along.
    #[error("its owner {0} is neither installed on the root nor brought by the stage")]
    Unknown(PkgInst),
    #[error("it lists the owner {0} twice")]
    Twice(PkgInst),
    /// A package of the root would lose the path.
    #[error("package {0}, which owns it on the root, would lose it")]
    Taken(PkgInst),
}

impl BroughtReason {
    pub(super) fn hint(&self, wording: &Wording, stage: &str) -> String {
        let there = Wording::of_verbs(Path::new(stage));
        let without = |patches: &[PatchId]| {
            let back = there.removal(&ids(patches));
            format!(
                "remove the other patches of the stage: {back}; or promote only the files with `--tree-only`"
            )
        };
        match self {
            Self::NotContinued { stage, live, .. } if !live.is_empty() => format!(
                "remove the other patches of the root: {}, or of the stage: {}; or promote only the files with `--tree-only`",
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
                format!("remove the other patches of the stage: {}", there.removal(&ids(stage)))
            }
            Self::NewOutside { .. } => "specify the directories to promote with `--path`".to_owned(),
            Self::NotAsFound { patch, .. }
            | Self::NotAsMade { patch, .. }
            | Self::NotPromoted { patch, .. } => {
                format!(
                    "restore it, or remove the patch in the stage: {}; or promote only the files with `--tree-only`",
                    there.removal(patch.as_str())
                )
            }
            Self::DamagedUndo(_) => format!(
                "restore the right archive in the stage, or run {} to check the archive of patch ID against its records",
                there.verb("recover --adopt-undo ID")
            ),
            Self::BadLine { .. } => format!(
                "update the stage with {}, or promote only the files with `--tree-only`",
                wording.verb(&format!("stage refresh {}", Wording::quoted(stage)))
            ),
            Self::NotOfRoot(_) => {
                "promote only the files with `--tree-only`; to include records, make the stage as root"
                    .to_owned()
            }
            Self::NotKnown { .. } | Self::UndoOutside { .. } | Self::OtherMarker => {
                "promote only the files with `--tree-only`".to_owned()
            }
        }
    }

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

fn stand(stage: &[PatchId], live: &[PatchId]) -> String {
    match (stage.is_empty(), live.is_empty()) {
        (false, false) => format!("only the stage has {}, only the root {}", ids(stage), ids(live)),
        (false, true) => format!("the stage has {} in between", ids(stage)),
        _ => format!("only the root has {}", ids(live)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_tell_the_owner_or_target_that_a_privileged_object_gets() {
        let document = |change| {
            let path = ObjectPath::new(b"/usr/bin/su").unwrap();
            let file = SetIdFile { path, mode: Mode::of(0o4755), has_capabilities: false, change };
            serde_json::to_string(&file).unwrap()
        };
        let fields = r#"{"path":"/usr/bin/su","mode":"4755","capabilities":false,"change":"#;
        assert_eq!(document(SetIdChange::Rights), format!(r#"{fields}"rights"}}"#));
        let owner = SetIdChange::Owner { from: (0, 0), to: (3, 4) };
        assert_eq!(document(owner), format!(r#"{fields}"owner","owner":"3:4"}}"#));
        let link = SetIdChange::Link { target: "/etc".to_owned() };
        assert_eq!(document(link), format!(r#"{fields}"link","target":"/etc"}}"#));
    }

    #[test]
    fn the_target_of_a_link_begins_no_line_of_its_own() {
        let path = ObjectPath::new(b"/opt/l").unwrap();
        let change = SetIdChange::Link { target: "/etc\nnothing was changed".to_owned() };
        let file = SetIdFile { path, mode: Mode::of(0o777), has_capabilities: false, change };
        let said = file.to_string();
        assert!(said.contains(r"/etc\nnothing was changed") && said.lines().count() == 1, "{said}");
    }
}
