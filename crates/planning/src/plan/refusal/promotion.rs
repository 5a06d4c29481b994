//! The reasons for refusing a promotion or a refresh.

use super::{BroughtReason, Wording};
use patchadm_svr4::package::{Mode, ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchId;

/// A reason that lies in the stage, or in what was done to the live tree since.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PromotionReason {
    /// Both trees changed these paths, differently.
    #[error("changed in the stage and on the live tree: {}", list(.0))]
    Conflicts(Vec<ObjectPath>),
    /// The same, where it is the stage that would change.
    #[error("changed in the stage and on the live tree: {}", list(.0))]
    RefreshConflicts(Vec<ObjectPath>),
    /// Too many objects of a path would be deleted.
    #[error("of the {live} objects of {path} {deleted} would be deleted, more than {limit} allows")]
    TooManyDeleted {
        /// The promoted path.
        path: ObjectPath,
        /// How many go.
        deleted: usize,
        /// How many there are.
        live: usize,
        /// The limit, as it was written.
        limit: String,
    },
    /// A promoted path has nothing in the stage.
    #[error("{0} is empty in the stage")]
    EmptyPath(ObjectPath),
    /// A promoted path is missing on one side.
    #[error("{path} is missing {}", if *.in_stage { "in the stage" } else { "on the live tree" })]
    MissingPath {
        /// The path.
        path: ObjectPath,
        /// Whether it is missing in the stage.
        in_stage: bool,
    },
    /// A path is a mount point now and was none when the stage was made, or the reverse.
    #[error("{path} {} when the stage was made", if *.is_mount { "is a mount point and was none" } else { "is no mount point and was one" })]
    MountChanged {
        /// The path.
        path: ObjectPath,
        /// Whether it is one now.
        is_mount: bool,
    },
    /// The stage belongs to another root.
    #[error("it is a stage of {0}")]
    OtherRoot(String),
    /// A package that is not the local package has its name.
    #[error("package {package} is installed and is not the local package of {base}")]
    OtherPackage {
        /// The package.
        package: PkgInst,
        /// The base.
        base: String,
    },
    /// The patches or packages of the stage do not go live.
    #[error("{reason}")]
    Brought {
        /// The directory of the stage.
        stage: String,
        /// Why.
        reason: BroughtReason,
    },
    /// Both sides did something to packages, differently.
    #[error("{}", sentences(.reasons))]
    Packages {
        /// The directory of the stage.
        stage: String,
        /// The reasons: at least one.
        reasons: Vec<BroughtReason>,
    },
    /// Files with set-id bits or capabilities would come or get other bytes, objects of the root would get another owner, or
    /// links of another user would lead out of the promoted paths, and that is not allowed.
    #[error("{}: {}", privileges(.0), first_ones(.0, ", "))]
    SetId(Vec<SetIdFile>),
    /// The id is recorded already.
    #[error("it is recorded already")]
    KnownId,
    /// The id is not later than this one, which was there before.
    #[error("{0} was there before, and the id of a promotion is a later one")]
    EarlierId(PatchId),
}

/// A file that a promotion leaves with set-id bits or capabilities and other bytes, or whose bytes it replaces; an object of the
/// root that it gives to another owner; or a link of another user that leads out of the promoted paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetIdFile {
    /// Its path.
    pub path: ObjectPath,
    /// Its permission bits: those of the live file, or of a new one as it comes.
    pub mode: Mode,
    /// Whether it has capabilities.
    pub has_capabilities: bool,
    /// The change.
    pub change: SetIdChange,
}

/// The change of a file with set-id bits or capabilities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetIdChange {
    /// Its bytes are replaced.
    Bytes,
    /// It had neither, or another owner, and gets them now.
    Rights,
    /// It is new.
    New,
    /// It was there, and gets another owner.
    Owner {
        /// User and group before.
        from: (u32, u32),
        /// User and group afterwards.
        to: (u32, u32),
    },
    /// It becomes a link with this target, in the stage of another user.
    Link(String),
}

impl SetIdChange {
    /// Returns the word of JSON documents.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Rights => "rights",
            Self::New => "new",
            Self::Owner { .. } => "owner",
            Self::Link(_) => "link",
        }
    }
}

impl std::fmt::Display for SetIdFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, mode, has_capabilities, change } = self;
        let capabilities = if *has_capabilities { " with capabilities" } else { "" };
        let words = match change {
            SetIdChange::Bytes => "gets other bytes",
            SetIdChange::Rights => "gets them",
            SetIdChange::New => "is new",
            SetIdChange::Owner { from: (uid, gid), to: (new_uid, new_gid) } => {
                return write!(f, "{path} goes from owner {uid}:{gid} to {new_uid}:{new_gid}");
            }
            SetIdChange::Link(target) => {
                return write!(
                    f,
                    "{path} becomes a link to {target}, out of the promoted paths or to what others may write"
                );
            }
        };
        write!(f, "{path} (mode {:04o}{capabilities}) {words}", mode.bits())
    }
}

impl PromotionReason {
    /// Returns the exit code.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::MissingPath { .. } => 27,
            Self::KnownId => 2,
            Self::EarlierId(_) => 35,
            Self::Brought { reason: BroughtReason::DamagedUndo(_), .. } => 33,
            _ => 10,
        }
    }

    /// Returns the next command to type.
    pub(super) fn hint(&self, wording: &Wording) -> String {
        match self {
            Self::Conflicts(_) => {
                "--edited replace takes those of the stage, --edited keep leaves the live ones; \
                --override PATH and --preserve PATH decide about one"
                    .to_owned()
            }
            Self::RefreshConflicts(_) => {
                "--edited replace takes those of the live tree, --edited keep leaves those of the stage; \
                --override PATH and --preserve PATH decide about one"
                    .to_owned()
            }
            Self::TooManyDeleted { .. } => "if that is meant, --max-delete N or N% allows it".to_owned(),
            Self::EmptyPath(path) => {
                format!("if that is meant, delete {path} in the stage's place on the live tree yourself")
            }
            Self::MissingPath { .. } | Self::MountChanged { .. } => {
                "--path names the directories that are promoted".to_owned()
            }
            Self::OtherRoot(root) => format!("name its root with -R {root}"),
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
            Self::SetId(_) => "if that is meant, --allow-set-id allows it".to_owned(),
            Self::OtherPackage { .. } => "make a stage of another name".to_owned(),
            Self::KnownId | Self::EarlierId(_) => "without --id the next one is taken".to_owned(),
        }
    }

    /// Returns the same with every path as the host sees it.
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

/// What is not allowed about some objects.
fn privileges(files: &[SetIdFile]) -> String {
    let has = |is_meant: fn(&SetIdChange) -> bool| files.iter().any(|file| is_meant(&file.change));
    let owners = has(|change| matches!(change, SetIdChange::Owner { .. }));
    let links = has(|change| matches!(change, SetIdChange::Link(_)));
    let rights = has(|change| !matches!(change, SetIdChange::Owner { .. } | SetIdChange::Link(_)));
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

/// At most ten paths in words.
fn list(paths: &[ObjectPath]) -> String {
    first_ones(paths, ", ")
}

/// At most ten reasons in words.
fn sentences(reasons: &[BroughtReason]) -> String {
    first_ones(reasons, "; ")
}

fn first_ones(all: &[impl ToString], between: &str) -> String {
    const MOST: usize = 10;
    let shown: Vec<String> = all.iter().take(MOST).map(ToString::to_string).collect();
    let more = all.len().saturating_sub(MOST);
    if more == 0 { shown.join(between) } else { format!("{} and {more} more", shown.join(between)) }
}
