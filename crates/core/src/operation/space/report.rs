//! The disk space of a root as values: patch by patch, area by area, directory by directory.

use super::undo_space::UndoSpace;
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::PatchId;

/// The disk space that the program uses for a root.
#[derive(Clone, Debug, Default)]
pub struct SpaceReport {
    /// The applied patches, in the order of listings.
    pub patches: Vec<PatchSpace>,
    /// What it is used for; each area once, also those that are empty.
    pub areas: Vec<(SpaceArea, u64)>,
    /// The directories that were counted, as the host sees them, with their bytes.
    pub directories: Vec<(String, u64)>,
    /// The file systems on which these are.
    pub file_systems: Vec<FileSystemShare>,
    /// The directories whose content the caller may not read, and which count as empty.
    pub unread: Vec<String>,
}

/// The disk space of the undo data of an applied patch.
#[derive(Clone, Debug)]
pub struct PatchSpace {
    /// The patch.
    pub id: PatchId,
    /// Why the undo data may go; `None` for an effective patch.
    pub may_go: Option<MayGo>,
    /// The patch that supersedes or contains it, if the records name it.
    pub by: Option<PatchId>,
    /// Whether it is the newest applied revision of its base.
    pub is_newest: bool,
    /// Its undo data, package by package.
    pub undo: Vec<(PkgInst, UndoSpace)>,
}

/// Why undo data may go without loss of a way back that somebody would take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MayGo {
    /// A later revision of the patch is applied.
    Superseded,
    /// A patch with another base contains it.
    Contained,
}

/// What disk space is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpaceArea {
    /// Save directories of applied patches.
    Undo,
    /// Undo archives outside the root.
    OutsideUndo,
    /// The ledgers of packages.
    Ledgers,
    /// Working directories of runs.
    Runs,
    /// Stages made from the root.
    Stages,
    /// The history of runs.
    History,
    /// The log of the root, and the directories of its patches.
    Logs,
    /// Libraries that stay for programs that need them.
    KeptLibraries,
    /// Fetched patches.
    Cache,
    /// Everything else in the same directories.
    Other,
}

/// The part of a file system that is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSystemShare {
    /// The first counted directory on it, as the host sees it.
    pub path: String,
    /// The bytes used on it, by all areas.
    pub bytes: u64,
    /// Its bytes.
    pub size: u64,
    /// Its free bytes.
    pub free: u64,
}

impl MayGo {
    /// Returns the word for the reason.
    pub fn word(self) -> &'static str {
        match self {
            Self::Superseded => "superseded",
            Self::Contained => "contained",
        }
    }
}

impl SpaceArea {
    /// All areas, in the order of reports.
    pub const ALL: [Self; 10] = [
        Self::Undo,
        Self::OutsideUndo,
        Self::Ledgers,
        Self::Runs,
        Self::Stages,
        Self::History,
        Self::Logs,
        Self::KeptLibraries,
        Self::Cache,
        Self::Other,
    ];

    /// Returns the word for the area.
    pub fn word(self) -> &'static str {
        match self {
            Self::Undo => "undo",
            Self::OutsideUndo => "undo-outside",
            Self::Ledgers => "ledgers",
            Self::Runs => "runs",
            Self::Stages => "stages",
            Self::History => "history",
            Self::Logs => "logs",
            Self::KeptLibraries => "kept-libraries",
            Self::Cache => "cache",
            Self::Other => "other",
        }
    }
}

impl PatchSpace {
    /// Returns the bytes of all its undo data, inside the root and outside.
    pub fn bytes(&self) -> u64 {
        self.undo.iter().map(|(_, undo)| undo.bytes + undo.outside).sum()
    }

    /// Returns the bytes in the root that are free again when its undo data is given up.
    pub fn freeable(&self) -> u64 {
        self.undo.iter().map(|(_, undo)| undo.freeable).sum()
    }
}

impl SpaceReport {
    /// Returns the bytes of all areas.
    pub fn bytes(&self) -> u64 {
        self.areas.iter().map(|(_, bytes)| bytes).sum()
    }
}
