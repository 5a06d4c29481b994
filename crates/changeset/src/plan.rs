use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::format::contents_merge::{ContentsEdits, ContentsTrailer};
use crate::format::history::SignatureRecord;
use crate::format::manifest::{RecordedState, UndoManifest, recorded_xattrs};
use patchadm_rootfs::{Digest, FileType, Live, Root, Timestamp, Xattrs};
use patchadm_svr4::format::pkgmap::PkgmapEntry;
use patchadm_svr4::format::remote::RemoteArchive;
use patchadm_svr4::package::{Mode, ObjectPath, PackagePath, Params, PkgInst};
use patchadm_svr4::places;

pub use crate::format::history::Merge;

#[derive(Clone, Debug)]
pub struct Plan {
    /// As history and journal name it.
    pub command: &'static str,
    /// Empty for a package.
    pub patches: Vec<String>,
    /// In order of processing.
    pub packages: Vec<PkgInst>,
    /// Sorted by path; no path twice.
    pub changes: Vec<Box<Change>>,
    /// Without `contents`.
    pub records: Vec<RecordChange>,
    /// Lines to write (`Some`) or delete (`None`).
    pub contents: ContentsEdits,
    /// The last two lines of `contents`.
    pub trailer: ContentsTrailer,
    /// One for each package of a patch with undo data.
    pub undo: Vec<UndoArchive>,
    /// Objects that one patch delivers and a later one replaces, in a run of several. They go to undo archives only.
    pub versions: Vec<ReplacedVersion>,
    pub space: Vec<SpaceNeed>,
    /// Archives outside the root that are useless after the commit, and removed then.
    pub discard: Vec<PathBuf>,
    pub notes: Vec<String>,
    /// Edited files that stay.
    pub merges: Vec<Merge>,
    /// For the history of a single patch.
    pub signature: Option<SignatureRecord>,
    pub direction: Direction,
}

/// Decides the order of exchanges: a new program may need a new library, and an old library serves only old programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Libraries first.
    #[default]
    Forward,
    /// Programs first.
    Back,
}

/// A later patch of the same run replaces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplacedVersion {
    pub package: PkgInst,
    pub path: ObjectPath,
    pub member: Member,
}

/// Bytes reserved on each file system for a rollback on a full disk.
pub const BALLAST: u64 = 1 << 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SpaceNeed {
    /// Topmost directory inside the root.
    pub file_system: String,
    /// New objects, undo data, records, ballast.
    #[serde(rename = "needed")]
    pub bytes: u64,
    pub free: u64,
    /// Objects to be made.
    #[serde(skip)]
    pub inodes: u64,
    /// `None` without a limit.
    #[serde(skip)]
    pub free_inodes: Option<u64>,
    #[serde(skip)]
    pub is_read_only: bool,
    /// See [`Dir::unsupported`](patchadm_rootfs::Dir::unsupported).
    #[serde(skip)]
    pub unsupported: Option<&'static str>,
    /// Part of `bytes` that could be kept elsewhere.
    #[serde(skip)]
    pub undo: u64,
}

#[derive(Clone, Debug)]
pub struct Change {
    pub package: PkgInst,
    pub path: ObjectPath,
    pub action: Action,
    /// As surveyed; `None` if the path is free.
    pub old: Option<Box<Live>>,
}

/// Doing or undoing each is one step of the transaction.
#[derive(Clone, Debug)]
pub enum Action {
    /// The path is free.
    Add(NewObject),
    /// The types may differ.
    Replace(NewObject),
    /// Not for a directory.
    Delete,
    Attributes(AttributeChange),
    /// After the commit, if empty; otherwise it stays, with a note.
    RemoveDirectory,
}

/// Staged with final attributes.
#[derive(Clone, Debug)]
pub struct NewObject {
    pub body: Body,
    /// Not for links.
    pub mode: Mode,
    /// Only recorded if the caller may not set it.
    pub uid: u32,
    /// Only recorded if the caller may not set it.
    pub gid: u32,
    /// `None`: the time of staging.
    pub mtime: Option<Timestamp>,
    pub xattrs: NewXattrs,
}

#[derive(Clone, Debug)]
pub enum Body {
    /// A regular file, streamed from the source.
    Member(Member),
    /// A regular file with bytes and attributes of the live object at this path: keeps an edited file under another
    /// name.
    CopyOf(ObjectPath),
    Directory,
    /// With the target as written.
    Symlink(Vec<u8>),
    /// Another name of the object at this path: the new one if the plan changes it, otherwise the live one.
    Link(ObjectPath),
    Pipe,
    Device {
        /// Block instead of character device.
        block: bool,
        major: u32,
        minor: u32,
    },
}

impl Body {
    /// Another name counts as a regular file.
    pub fn file_type(&self) -> FileType {
        match self {
            Self::Member(_) | Self::CopyOf(_) | Self::Link(_) => FileType::Regular,
            Self::Directory => FileType::Directory,
            Self::Symlink(_) => FileType::Symlink,
            Self::Pipe => FileType::Pipe,
            Self::Device { block: true, .. } => FileType::Block,
            Self::Device { block: false, .. } => FileType::Character,
        }
    }
}

/// With the expected bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Index in the image.
    pub package: usize,
    pub path: PackagePath,
    /// According to the pkgmap.
    pub size: u64,
    /// System V sum.
    pub cksum: u16,
    /// BLAKE3, if known (from our undo archives).
    pub b3: Option<Box<Digest>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewXattrs {
    /// Label, ACL and `user.*` of the replaced object; a new object inherits from its parent.
    Inherited,
    /// Given by a package; only the label comes from the replaced object or the parent.
    Given(Xattrs),
    /// For a backout.
    Exact(Xattrs),
}

/// Paths are absolute inside the root.
#[derive(Clone, Debug)]
pub enum RecordChange {
    /// Makes a missing file, with parents.
    Write {
        path: ObjectPath,
        bytes: Vec<u8>,
        mode: Mode,
        /// `None`: the time of staging.
        mtime: Option<Timestamp>,
    },
    /// Copies another tree's file; makes missing parents.
    Copy {
        path: ObjectPath,
        copied: Box<CopiedRecord>,
        mode: Mode,
    },
    /// A new directory appears with all its files at once.
    AddTree {
        path: ObjectPath,
        /// Parents are made 0755; an empty directory is an entry of its own.
        files: Vec<TreeFile>,
    },
    RemoveFile(ObjectPath),
    /// With everything in it.
    RemoveTree(ObjectPath),
    /// For example `undo.gz` to `obsolete.gz`; the new name is free.
    Move {
        from: ObjectPath,
        to: ObjectPath,
    },
    /// The run knows the content of its lines.
    Ledger(LedgerChange),
    /// A file in a staying patch's save directory follows an entry of [`Plan::undo`].
    Undo {
        path: ObjectPath,
        /// Index in [`Plan::undo`].
        archive: usize,
        part: UndoPart,
    },
}

/// A file of rewritten undo data of a patch that stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UndoPart {
    Archive,
    /// Compressed; for a patch without archive.
    Manifest,
    Digest,
    Paths,
    /// To an archive outside the root; holds the previous one.
    Pointer(RemoteArchive),
}

impl Plan {
    pub fn empty(command: &'static str, trailer: ContentsTrailer) -> Self {
        Self {
            command,
            patches: Vec::new(),
            packages: Vec::new(),
            changes: Vec::new(),
            records: Vec::new(),
            contents: ContentsEdits::new(),
            trailer,
            undo: Vec::new(),
            versions: Vec::new(),
            space: Vec::new(),
            discard: Vec::new(),
            notes: Vec::new(),
            merges: Vec::new(),
            signature: None,
            direction: Direction::Forward,
        }
    }

    /// Skips patches without undo data.
    pub fn archives(&self) -> impl Iterator<Item = &UndoArchive> {
        self.undo.iter().filter(|undo| undo.place != UndoPlace::ManifestOnly)
    }
}

impl UndoArchive {
    /// Returns the host path of an archive that this run writes outside the root.
    pub fn outside(&self, run: &str) -> Option<PathBuf> {
        match &self.place {
            UndoPlace::Remote(path) => Some(path.clone()),
            UndoPlace::Beside(path) => {
                Some(path.with_file_name(format!("undo-{run}{}", self.format.suffix())))
            }
            UndoPlace::Save | UndoPlace::Snapshot | UndoPlace::ManifestOnly => None,
        }
    }
}

impl RecordChange {
    /// For a move, the new path.
    pub fn path(&self) -> &ObjectPath {
        match self {
            Self::Write { path, .. }
            | Self::Copy { path, .. }
            | Self::AddTree { path, .. }
            | Self::Move { to: path, .. }
            | Self::RemoveFile(path)
            | Self::RemoveTree(path)
            | Self::Undo { path, .. }
            | Self::Ledger(LedgerChange { path, .. }) => path,
        }
    }
}

/// A file or directory of a new record directory.
#[derive(Clone, Debug)]
pub struct TreeFile {
    /// Relative; may contain `/`.
    pub name: Vec<u8>,
    pub content: TreeContent,
    pub mode: Mode,
    /// `None`: the time of staging.
    pub mtime: Option<Timestamp>,
}

#[derive(Clone, Debug)]
pub enum TreeContent {
    Bytes(Vec<u8>),
    /// Index in [`Plan::undo`]; its digest becomes `undo.b3` beside it.
    Undo(usize),
    /// Index in [`Plan::undo`] of an archive elsewhere.
    UndoDigest(usize),
    /// Index in [`Plan::undo`]; the patch keeps no undo data.
    Manifest(usize),
    Directory,
    /// These bytes with the run's name in between.
    AroundRun(Vec<u8>, Vec<u8>),
    /// May be too large for memory.
    Copied(Box<CopiedRecord>),
}

/// A backout package in datastream form.
#[derive(Clone, Debug)]
pub struct UndoArchive {
    pub package: PkgInst,
    pub patch: String,
    pub pkginfo: Params,
    /// Each with its pkgmap entry (size and sum from the survey). Objects without content are only recorded.
    pub saved: Vec<(PkgmapEntry, ObjectPath)>,
    /// Saved objects that an earlier patch of the run makes; with the index in [`Plan::versions`], if they have
    /// content.
    pub passing: BTreeMap<ObjectPath, Option<usize>>,
    /// Objects that the patch adds, for tools without manifests; contents precede directories.
    pub deletes: Vec<PackagePath>,
    /// For the same tools, by name in `install`.
    pub scripts: BTreeMap<String, Vec<u8>>,
    /// Old files of the package's database directory, by relative name.
    pub records: BTreeMap<Vec<u8>, RecordFile>,
    /// Old files of kept libraries' packages, by package and file.
    pub kept_records: BTreeMap<Vec<u8>, RecordFile>,
    /// Digests of delivered objects are added after staging.
    pub manifest: UndoManifest,
    pub format: UndoFormat,
    pub place: UndoPlace,
}

impl UndoArchive {
    /// For a patch without archive.
    pub fn manifest_only(package: PkgInst, patch: String, manifest: UndoManifest) -> Self {
        Self {
            package,
            patch,
            pkginfo: Params::new(),
            saved: Vec::new(),
            passing: BTreeMap::new(),
            deletes: Vec::new(),
            scripts: BTreeMap::new(),
            records: BTreeMap::new(),
            kept_records: BTreeMap::new(),
            manifest,
            format: UndoFormat::Gzip,
            place: UndoPlace::ManifestOnly,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UndoPlace {
    /// In the save directory, as a file of the [`RecordChange::AddTree`] that names it.
    Save,
    /// In the save directory, beside the scripts' archive: the program's own snapshot, from which it restores.
    Snapshot,
    /// Complete host path, outside the transaction's file systems (`patchadd -B`).
    Remote(PathBuf),
    /// Beside an archive outside the root that is removed after the commit; the new name contains the run.
    Beside(PathBuf),
    /// Only the manifest stays in the save directory.
    ManifestOnly,
}

/// `None` keeps the current value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributeChange {
    /// Not for symbolic links.
    pub mode: Option<Mode>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    /// Attributes not named are removed.
    pub xattrs: Option<Xattrs>,
    /// Not for directories, whose time changes with their entries.
    pub mtime: Option<Timestamp>,
}

impl AttributeChange {
    /// Drops attributes that the object already has; `None` if nothing is left.
    pub fn lacking(self, live: &Live) -> Option<Self> {
        let lacking = Self {
            mode: self.mode.filter(|mode| *mode != live.mode),
            uid: self.uid.filter(|uid| *uid != live.uid),
            gid: self.gid.filter(|gid| *gid != live.gid),
            xattrs: self.xattrs.filter(|xattrs| *xattrs != live.xattrs),
            mtime: self.mtime.filter(|mtime| *mtime != live.mtime && !live.is_directory()),
        };
        (lacking != Self::default()).then_some(lacking)
    }

    /// Later attributes win.
    #[must_use]
    pub fn then(self, later: &Self) -> Self {
        Self {
            mode: later.mode.or(self.mode),
            uid: later.uid.or(self.uid),
            gid: later.gid.or(self.gid),
            xattrs: later.xattrs.clone().or(self.xattrs),
            mtime: later.mtime.or(self.mtime),
        }
    }

    pub fn given_to(&self, live: &Live) -> Live {
        Live {
            mode: self.mode.unwrap_or(live.mode),
            uid: self.uid.unwrap_or(live.uid),
            gid: self.gid.unwrap_or(live.gid),
            mtime: self.mtime.unwrap_or(live.mtime),
            xattrs: self.xattrs.clone().unwrap_or_else(|| live.xattrs.clone()),
            ..live.clone()
        }
    }

    pub fn applied_to(&self, state: RecordedState) -> RecordedState {
        RecordedState {
            mode: self.mode.map_or(state.mode, Mode::bits),
            uid: self.uid.unwrap_or(state.uid),
            gid: self.gid.unwrap_or(state.gid),
            xattrs: self.xattrs.as_ref().map_or(state.xattrs, recorded_xattrs),
            mtime: self.mtime.unwrap_or(state.mtime),
            ..state
        }
    }
}

/// A file of another tree, or a part of it, possibly too large for memory: an undo archive from a stage or an export.
#[derive(Clone, Debug)]
pub struct CopiedRecord {
    /// The path is resolved inside it.
    pub tree: Root,
    pub path: ObjectPath,
    /// Offset.
    pub from: u64,
    pub size: u64,
    /// BLAKE3.
    pub b3: Digest,
}

/// Lines of patches that the package no longer has, or has with another record, are removed automatically.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerChange {
    pub path: ObjectPath,
    pub package: PkgInst,
    /// In order.
    pub applied: Vec<LedgerPatch>,
    /// Existing archives that become the root's own.
    pub adopted: Vec<LedgerArchive>,
    /// Patches that stay.
    pub rewritten: Vec<LedgerRewrite>,
    /// From the ledger of a copy of the root, with their archives.
    pub brought: Vec<BroughtLine>,
    /// Ignore the existing ledger.
    pub is_anew: bool,
}

/// For a patch that stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerRewrite {
    /// As its save directory is named.
    pub patch: String,
    pub archive: RewrittenArchive,
    /// Unbound data was added.
    pub is_adopted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RewrittenArchive {
    /// Rewritten; without an archive, the manifest.
    Anew,
    /// Deleted; only the manifest stays.
    GivenUp,
    /// In an exported file; only the manifest stays.
    Exported,
    /// Back from an exported file, in the save directory.
    Imported,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerPatch {
    /// As its save directory is named.
    pub patch: String,
    /// No undo data was wanted.
    pub is_without_undo: bool,
    /// The native version of an adopted package.
    pub native: Option<String>,
}

/// Or the manifest of a patch without archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerArchive {
    /// As its save directory is named.
    pub patch: String,
    /// BLAKE3.
    pub b3: Digest,
    pub size: u64,
    /// Bytes of old files, for undo data as files.
    pub files: Option<u64>,
    /// `None` for a manifest.
    pub place: Option<UndoLocation>,
}

impl LedgerChange {
    /// Removes lines that no longer count.
    pub fn of(package: &PkgInst) -> Self {
        Self::at(places::ledger(package), package)
    }

    pub fn at(path: ObjectPath, package: &PkgInst) -> Self {
        let package = package.clone();
        Self {
            path,
            package,
            applied: Vec::new(),
            adopted: Vec::new(),
            rewritten: Vec::new(),
            brought: Vec::new(),
            is_anew: false,
        }
    }

    pub fn of_application(package: &PkgInst, patch: LedgerPatch) -> Self {
        Self { applied: vec![patch], ..Self::of(package) }
    }

    /// The patch is of the same run.
    pub fn add(&mut self, later: &Self) {
        self.applied.extend(later.applied.iter().cloned());
        self.adopted.extend(later.adopted.iter().cloned());
        self.rewritten.extend(later.rewritten.iter().cloned());
        self.brought.extend(later.brought.iter().cloned());
        self.is_anew |= later.is_anew;
    }
}

/// From a copy of the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BroughtLine {
    /// As its save directory is named.
    pub patch: String,
    /// With its newline. The run that brings it replaces its run.
    pub text: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UndoLocation {
    /// Under any name.
    Save,
    /// Without newlines.
    Host(Vec<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum UndoFormat {
    #[default]
    Gzip,
    Compress,
    Plain,
    /// Only this program reads it.
    Zstd,
    /// Only this program reads it.
    Xz,
    /// Old objects stay in directories of their own; `undo.files`, compressed by gzip, has the rest.
    Files,
}

/// File names in a save directory, in search order: patches that can be backed out first.
pub const ARCHIVE_NAMES: [(&str, UndoFormat); 12] = [
    ("undo.gz", UndoFormat::Gzip),
    ("undo.Z", UndoFormat::Compress),
    ("undo", UndoFormat::Plain),
    ("undo.files", UndoFormat::Files),
    ("undo.zst", UndoFormat::Zstd),
    ("undo.xz", UndoFormat::Xz),
    ("obsolete.gz", UndoFormat::Gzip),
    ("obsolete.Z", UndoFormat::Compress),
    ("obsolete", UndoFormat::Plain),
    ("obsolete.files", UndoFormat::Files),
    ("obsolete.zst", UndoFormat::Zstd),
    ("obsolete.xz", UndoFormat::Xz),
];

impl UndoFormat {
    /// Archives that contain the objects, with their words.
    pub const ARCHIVES: [(&'static str, Self); 5] = [
        Self::Gzip.named(),
        Self::Compress.named(),
        Self::Plain.named(),
        Self::Zstd.named(),
        Self::Xz.named(),
    ];

    /// With the words of options and policies.
    pub const ALL: [(&'static str, Self); 6] = [
        Self::Gzip.named(),
        Self::Compress.named(),
        Self::Plain.named(),
        Self::Zstd.named(),
        Self::Xz.named(),
        Self::Files.named(),
    ];

    pub fn of_name(name: &[u8]) -> Self {
        let has_suffix = |format: &Self| name.ends_with(format.suffix().as_bytes());
        [Self::Gzip, Self::Compress, Self::Zstd, Self::Xz, Self::Files]
            .into_iter()
            .find(has_suffix)
            .unwrap_or(Self::Plain)
    }

    pub fn has_archive_named(self, name: &[u8]) -> bool {
        ARCHIVE_NAMES.iter().any(|(archive, format)| archive.as_bytes() == name && *format == self)
    }

    /// Every build reads all forms.
    pub const fn is_written(self) -> bool {
        match self {
            Self::Zstd => patchadm_container::zstd::IS_WRITTEN,
            Self::Xz => patchadm_container::xz::IS_WRITTEN,
            Self::Gzip | Self::Compress | Self::Plain | Self::Files => true,
        }
    }

    /// Other programs use compress(1) or no compression in save directories.
    pub const fn is_of_this_program(self) -> bool {
        matches!(self, Self::Gzip | Self::Zstd | Self::Xz | Self::Files)
    }

    pub const fn is_read_by_this_program_only(self) -> bool {
        matches!(self, Self::Zstd | Self::Xz)
    }

    const fn named(self) -> (&'static str, Self) {
        (self.word(), self)
    }

    pub const fn word(self) -> &'static str {
        match self {
            Self::Gzip => "gz",
            Self::Compress => "Z",
            Self::Plain => "none",
            Self::Zstd => "zst",
            Self::Xz => "xz",
            Self::Files => "files",
        }
    }

    /// With its dot.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Gzip => ".gz",
            Self::Compress => ".Z",
            Self::Plain => "",
            Self::Zstd => ".zst",
            Self::Xz => ".xz",
            Self::Files => ".files",
        }
    }
}

impl Serialize for UndoFormat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFile {
    /// Shared by plan, archive and survey: a pkgmap has a line per object.
    pub bytes: Arc<Vec<u8>>,
    pub mode: Mode,
    pub mtime: Timestamp,
}
