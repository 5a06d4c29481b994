//! The values of a change: what a run does to a root, object by object and record by record.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::format::contents_merge::{ContentsEdits, ContentsTrailer};
use crate::format::history::SignatureRecord;
use crate::format::manifest::{Manifest, RecordedState, recorded_xattrs};
use patchadm_rootfs::{Digest, FileType, Live, Root, Timestamp, Xattrs};
use patchadm_svr4::format::pkgmap::PkgmapEntry;
use patchadm_svr4::format::remote::RemoteArchive;
use patchadm_svr4::package::{Mode, ObjectPath, PackagePath, Params, PkgInst};
use patchadm_svr4::places;

pub use crate::format::history::Merge;

/// Everything that one run changes in a root.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The command of the plan, as history and journal name it (`patchadd`, `patchrm`, `pkgadd`, …).
    pub command: &'static str,
    /// The patches concerned; none for a package.
    pub patches: Vec<String>,
    /// The packages it changes, in the order in which they are processed.
    pub packages: Vec<PkgInst>,
    /// The objects that change, sorted by path; no path twice.
    pub changes: Vec<Box<Change>>,
    /// The records that change, apart from `contents`.
    pub records: Vec<RecordChange>,
    /// Lines of `contents` that are replaced, added (`Some`) or deleted (`None`).
    pub contents: ContentsEdits,
    /// The two lines that close `contents`.
    pub trailer: ContentsTrailer,
    /// The undo archives to write, one for each package of a patch that keeps undo data.
    pub undo: Vec<UndoArchive>,
    /// In a run of several patches: the versions of objects that one patch delivers and a later one replaces. They
    /// are saved in undo archives and never seen at their paths.
    pub versions: Vec<ReplacedVersion>,
    /// The space needed on each file system that the run writes to.
    pub space: Vec<SpaceNeed>,
    /// Undo archives outside the root that are useless after the commit, and removed then.
    pub discard: Vec<PathBuf>,
    /// Notes for the operator, in whole sentences.
    pub notes: Vec<String>,
    /// The edited files that stay, each with the version of the patch beside it.
    pub merges: Vec<Merge>,
    /// The facts about the signature of the one patch, if they go into the history.
    pub signature: Option<SignatureRecord>,
    /// The direction, forward to newer objects or back.
    pub direction: Direction,
}

/// The direction of a run, which decides the order in which names are exchanged: a new program may need a new
/// library, and the old library serves only the old program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Libraries before the programs that may need them.
    #[default]
    Forward,
    /// Programs before the libraries that the newer ones needed.
    Back,
}

/// The object that a patch delivers at a path where a later patch of the same run puts another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplacedVersion {
    /// The package that delivers it.
    pub package: PkgInst,
    /// The path.
    pub path: ObjectPath,
    /// Its content.
    pub member: Member,
}

/// The bytes that a run reserves on each file system for a rollback on a full disk.
pub const BALLAST: u64 = 1 << 20;

/// The space that a plan needs on one file system, and the free space there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceNeed {
    /// Its topmost directory inside the root.
    pub file_system: String,
    /// The bytes needed: new objects, undo data, records, ballast.
    pub bytes: u64,
    /// Bytes that are free.
    pub free: u64,
    /// Objects to be made.
    pub inodes: u64,
    /// Objects that can be made; `None` if there is no limit.
    pub free_inodes: Option<u64>,
    /// True if nothing can be changed there.
    pub is_read_only: bool,
    /// The bytes of undo data among those needed, which could be kept elsewhere.
    pub undo: u64,
}

/// One object that changes.
#[derive(Clone, Debug)]
pub struct Change {
    /// The package that owns the object.
    pub package: PkgInst,
    /// The path.
    pub path: ObjectPath,
    /// The change.
    pub action: Action,
    /// The existing object, as the survey saw it; `None` if the path is free.
    pub old: Option<Box<Live>>,
}

/// The change of an object. Doing and undoing each of these is one step of the transaction.
#[derive(Clone, Debug)]
pub enum Action {
    /// The path is free; the new object is put there.
    Add(NewObject),
    /// The new object takes the place of the old one, regardless of their types.
    Replace(NewObject),
    /// The object (not a directory) is removed.
    Delete,
    /// An object of any type stays and gets other attributes.
    Attributes(AttributeChange),
    /// A directory is removed after the commit if it is empty then; otherwise it stays, with a note.
    RemoveDirectory,
}

/// An object to be staged, final in every attribute.
#[derive(Clone, Debug)]
pub struct NewObject {
    /// Its type and content.
    pub body: Body,
    /// Permission bits (not for links).
    pub mode: Mode,
    /// Numeric owner; only recorded if the caller may not set it.
    pub uid: u32,
    /// Numeric group; only recorded if the caller may not set it.
    pub gid: u32,
    /// Modification time; none leaves the time of staging.
    pub mtime: Option<Timestamp>,
    /// The source of its extended attributes.
    pub xattrs: NewXattrs,
}

/// The type of a new object, and the source of its content.
#[derive(Clone, Debug)]
pub enum Body {
    /// A regular file, streamed from the source.
    Member(Member),
    /// A regular file with the bytes and every attribute of the live object at this path. This keeps an edited file
    /// under another name before it is replaced.
    CopyOf(ObjectPath),
    /// A directory.
    Directory,
    /// A symbolic link with this target, as written.
    Symlink(Vec<u8>),
    /// Another name of the object at this path: the new one if the plan changes it, otherwise the live one.
    Link(ObjectPath),
    /// A named pipe.
    Pipe,
    /// A device.
    Device {
        /// True if it is a block device rather than a character device.
        block: bool,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
}

impl Body {
    /// Returns the file type alone; another name counts as a regular file, whatever it is a name of.
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

/// A file within the source of a plan, and the bytes expected in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The package, by its place in the image.
    pub package: usize,
    /// Its path in that package.
    pub path: PackagePath,
    /// Bytes, as the pkgmap says.
    pub size: u64,
    /// The System V sum that the bytes must have.
    pub cksum: u16,
    /// The BLAKE3 that they must have, if it is known (an undo archive of ours).
    pub b3: Option<Box<Digest>>,
}

/// The source of the extended attributes of a new object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewXattrs {
    /// Label, ACL and `user.*` of the object it replaces; a new object takes the attributes that its parent hands
    /// down.
    Inherited,
    /// The attributes given by a package. Only the label comes from the replaced object, or from the parent.
    Given(Xattrs),
    /// Exactly these: a backout.
    Exact(Xattrs),
}

/// A record of the package database that changes; paths are absolute inside the root.
#[derive(Clone, Debug)]
pub enum RecordChange {
    /// A file gets these bytes; a missing file is made, with missing parents.
    Write {
        /// The path of the record.
        path: ObjectPath,
        /// Its whole new content.
        bytes: Vec<u8>,
        /// Permission bits.
        mode: Mode,
        /// Modification time; none leaves the time of staging.
        mtime: Option<Timestamp>,
    },
    /// A file gets the bytes of another tree's file; a missing file is made, with missing parents.
    Copy {
        /// The path of the record.
        path: ObjectPath,
        /// Its whole new content.
        copied: Box<CopiedRecord>,
        /// Permission bits.
        mode: Mode,
    },
    /// A missing directory appears with all its files at once.
    AddTree {
        /// The path of the record.
        path: ObjectPath,
        /// Its files: relative name, content, permission bits. Intermediate directories are made 0755; a directory
        /// that may hold no file is an entry of its own.
        files: Vec<TreeFile>,
    },
    /// A file is removed.
    RemoveFile(ObjectPath),
    /// A directory is removed with everything in it.
    RemoveTree(ObjectPath),
    /// A record gets another name (`undo.gz` becomes `obsolete.gz`); the new name is free.
    Move {
        /// The name it has.
        from: ObjectPath,
        /// The name it gets.
        to: ObjectPath,
    },
    /// The ledger of a package follows the changes of the run to its patches; the run knows the content of its lines.
    Ledger(LedgerChange),
    /// A file in the save directory of a patch that stays follows the entry of [`Plan::undo`] with this place.
    Undo {
        /// The path of the record.
        path: ObjectPath,
        /// The index of the entry.
        archive: usize,
        /// The part that the file holds.
        part: UndoPart,
    },
}

/// The part of a staying patch's undo data in a file of its save directory, when a run rewrites that data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UndoPart {
    /// The archive itself.
    Archive,
    /// The manifest of a patch without archive, compressed.
    Manifest,
    /// The digest of the archive.
    Digest,
    /// The list of paths.
    Paths,
    /// The pointer to an archive outside the root; holds the previous archive, with its state.
    Pointer(RemoteArchive),
}

impl Plan {
    /// Returns a plan that changes nothing yet.
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

    /// Returns the undo archives that are written, without the entries of patches that keep no undo data.
    pub fn archives(&self) -> impl Iterator<Item = &UndoArchive> {
        self.undo.iter().filter(|undo| undo.place != UndoPlace::ManifestOnly)
    }
}

impl UndoArchive {
    /// Returns the path on the host of an archive that this run writes outside the root.
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
    /// Returns the path of the record; for a move, the new name.
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

/// A file of a new record directory, or a directory in it.
#[derive(Clone, Debug)]
pub struct TreeFile {
    /// Its name relative to the directory; may have `/`.
    pub name: Vec<u8>,
    /// Its content.
    pub content: TreeContent,
    /// Permission bits.
    pub mode: Mode,
    /// Modification time; none leaves the time of staging.
    pub mtime: Option<Timestamp>,
}

/// The content of an entry of a new record directory.
#[derive(Clone, Debug)]
pub enum TreeContent {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The undo archive at this place in [`Plan::undo`]; its digest is put beside it as `undo.b3`.
    Undo(usize),
    /// The digest of the undo archive at this place in [`Plan::undo`], which is kept elsewhere.
    UndoDigest(usize),
    /// The compressed manifest of the entry at this place in [`Plan::undo`]: the patch keeps no undo data.
    Manifest(usize),
    /// None: it is a directory.
    Directory,
    /// The first bytes, the name of the run, and the second bytes.
    AroundRun(Vec<u8>, Vec<u8>),
    /// The content of a file of another tree, which may be too large for memory.
    Copied(Box<CopiedRecord>),
}

/// An undo archive to be written: a backout package in datastream form.
#[derive(Clone, Debug)]
pub struct UndoArchive {
    /// The package whose objects it saves.
    pub package: PkgInst,
    /// The patch that it takes back.
    pub patch: String,
    /// The parameters of the backout package.
    pub pkginfo: Params,
    /// The objects to save, each with its pkgmap entry (size and sum from the survey). An entry without content (a
    /// link, a device, a directory) is only recorded.
    pub saved: Vec<(PkgmapEntry, ObjectPath)>,
    /// The saved objects that do not exist before the run, because an earlier patch of it makes them; with the place in
    /// [`Plan::versions`] of an object with content.
    pub passing: BTreeMap<ObjectPath, Option<usize>>,
    /// The objects that the patch adds, for tools that know no manifest; the content of a directory comes before it.
    pub deletes: Vec<PackagePath>,
    /// The procedure scripts of the backout package, for the same tools, by their names in `install`.
    pub scripts: BTreeMap<String, Vec<u8>>,
    /// Old files of the package's directory in the database (`pkginfo`, `save/pspool/…`, `install/…`), by their name
    /// in that directory.
    pub records: BTreeMap<Vec<u8>, RecordFile>,
    /// Old files of packages of kept libraries, by name of package and file.
    pub kept_records: BTreeMap<Vec<u8>, RecordFile>,
    /// The facts that SVR4 cannot express. The digests of delivered objects are filled in once these are staged.
    pub manifest: Manifest,
    /// Its compression.
    pub format: UndoFormat,
    /// Its place.
    pub place: UndoPlace,
}

impl UndoArchive {
    /// Returns the part of undo data that stays where a patch has no archive: the manifest.
    pub fn manifest_only(package: PkgInst, patch: String, manifest: Manifest) -> Self {
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

/// The place of an undo archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UndoPlace {
    /// Into the save directory, as a file of the [`RecordChange::AddTree`] that names it.
    Save,
    /// Also into the save directory, beside the archive that the scripts of the patch made: the program's own
    /// snapshot, from which it restores.
    Snapshot,
    /// Below a directory of the host that is not on the transaction's file systems (`patchadd -B`): the whole path of
    /// the archive.
    Remote(PathBuf),
    /// Beside an archive outside the root that has this path and is removed after the commit: its own name contains
    /// the run.
    Beside(PathBuf),
    /// Nowhere: the patch keeps no undo data, and only the manifest stays in the save directory.
    ManifestOnly,
}

/// New attributes of an object that stays; `None` keeps the current value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributeChange {
    /// Permission bits; a symbolic link has none.
    pub mode: Option<Mode>,
    /// Numeric owner.
    pub uid: Option<u32>,
    /// Numeric group.
    pub gid: Option<u32>,
    /// All extended attributes (those not named are removed).
    pub xattrs: Option<Xattrs>,
    /// Modification time; never that of a directory, which changes with every name in it.
    pub mtime: Option<Timestamp>,
}

impl AttributeChange {
    /// Returns the part that an object does not have already, or `None` if it has all of it.
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

    /// Adds a later change, whose attributes win if both name one.
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

    /// Returns the status of an object once it has these attributes.
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

    /// Returns the recorded state of an object after the change.
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

/// A file of another tree, or a part of one, that may be too large for memory: the undo archive of a patch that comes
/// from a stage or from an export.
#[derive(Clone, Debug)]
pub struct CopiedRecord {
    /// The tree. The path is resolved inside it.
    pub tree: Root,
    /// The path of the file there.
    pub path: ObjectPath,
    /// The place in it of the first byte that is copied.
    pub from: u64,
    /// The number of bytes.
    pub size: u64,
    /// The BLAKE3 that they must have.
    pub b3: Digest,
}

/// The change of a ledger. Lines of patches that the package no longer has, or has with another record, are removed
/// automatically.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerChange {
    /// Its path.
    pub path: ObjectPath,
    /// The package.
    pub package: PkgInst,
    /// The patches that the run applies, in their order.
    pub applied: Vec<LedgerPatch>,
    /// Archives that existed before and are adopted as the root's own.
    pub adopted: Vec<LedgerArchive>,
    /// The undo data of patches that stay, which the run rewrites or gives up.
    pub rewritten: Vec<LedgerRewrite>,
    /// Lines from the ledger of a copy of the root, whose archives come with them.
    pub brought: Vec<BroughtLine>,
    /// True if the existing ledger is ignored.
    pub is_anew: bool,
}

/// Undo data of a patch that stays, which the run rewrites or gives up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerRewrite {
    /// The patch, as its save directory is named.
    pub patch: String,
    /// The fate of the archive.
    pub archive: RewrittenArchive,
    /// True if data that the ledger did not bind to a run has come into it.
    pub is_adopted: bool,
}

/// The fate of the archive of a patch that stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RewrittenArchive {
    /// The run writes it anew, or, without an archive, the manifest.
    Anew,
    /// It is given up; only the manifest stays.
    GivenUp,
    /// It is in an exported file; only the manifest stays.
    Exported,
    /// It comes back from an exported file, into the save directory.
    Imported,
}

/// A patch that is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerPatch {
    /// Its id, as its save directory is named.
    pub patch: String,
    /// True if no undo data was wanted.
    pub is_without_undo: bool,
    /// Of an adopted package: the version that its manager has.
    pub native: Option<String>,
}

/// An archive that is adopted as the root's own, or the manifest of a patch without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerArchive {
    /// The patch, as its save directory is named.
    pub patch: String,
    /// BLAKE3 of the file.
    pub b3: Digest,
    /// Bytes of the file.
    pub size: u64,
    /// Of undo data as files: the bytes of the old files.
    pub files: Option<u64>,
    /// Its place; `None` for a manifest.
    pub place: Option<UndoLocation>,
}

impl LedgerChange {
    /// Returns the change that removes the lines that no longer count.
    pub fn of(package: &PkgInst) -> Self {
        Self::at(places::ledger(package), package)
    }

    /// Returns the same change for the ledger at a path.
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

    /// Returns the change of a run that applies a patch.
    pub fn of_application(package: &PkgInst, patch: LedgerPatch) -> Self {
        Self { applied: vec![patch], ..Self::of(package) }
    }

    /// Adds the change of a later patch of the same run.
    pub fn add(&mut self, later: &Self) {
        self.applied.extend(later.applied.iter().cloned());
        self.adopted.extend(later.adopted.iter().cloned());
        self.rewritten.extend(later.rewritten.iter().cloned());
        self.brought.extend(later.brought.iter().cloned());
        self.is_anew |= later.is_anew;
    }
}

/// The line of a patch that was applied to a copy of the root and comes with its changes there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BroughtLine {
    /// The patch, as its save directory is named.
    pub patch: String,
    /// The line as in the ledger of the copy, with its newline. The run that brings it becomes its run.
    pub text: Vec<u8>,
}

/// The place where an archive is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UndoLocation {
    /// In the save directory, under any name.
    Save,
    /// At this path of the host, without newlines.
    Host(Vec<u8>),
}

/// The form of an undo archive: how it is compressed, or that the old objects are no part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum UndoFormat {
    /// gzip(1): `undo.gz`.
    #[default]
    Gzip,
    /// compress(1): `undo.Z`, as classic tools expect.
    Compress,
    /// Not at all: `undo`.
    Plain,
    /// zstd(1): `undo.zst`, which only this program reads.
    Zstd,
    /// xz(1): `undo.xz`, which only this program reads.
    Xz,
    /// The old objects stay as they are, in directories of their own; the archive `undo.files`, compressed by gzip,
    /// holds all but their content.
    Files,
}

/// The file names that undo archives can have in a save directory, with the form of each, in the order in which they
/// are looked for: those of patches that can be backed out first.
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
    /// The forms that are an archive with the objects in it, each with its word.
    pub const ARCHIVES: [(&'static str, Self); 5] = [
        Self::Gzip.named(),
        Self::Compress.named(),
        Self::Plain.named(),
        Self::Zstd.named(),
        Self::Xz.named(),
    ];

    /// All forms, each with the word for it in options and policies.
    pub const ALL: [(&'static str, Self); 6] = [
        Self::Gzip.named(),
        Self::Compress.named(),
        Self::Plain.named(),
        Self::Zstd.named(),
        Self::Xz.named(),
        Self::Files.named(),
    ];

    /// Returns the form of an archive with this file name.
    pub fn of_name(name: &[u8]) -> Self {
        let has_suffix = |format: &Self| name.ends_with(format.suffix().as_bytes());
        [Self::Gzip, Self::Compress, Self::Zstd, Self::Xz, Self::Files]
            .into_iter()
            .find(has_suffix)
            .unwrap_or(Self::Plain)
    }

    /// Returns true if a file in a save directory has the name of an archive in this form.
    pub fn has_archive_named(self, name: &[u8]) -> bool {
        ARCHIVE_NAMES.iter().any(|(archive, format)| archive.as_bytes() == name && *format == self)
    }

    /// Returns true if this build can write the form. Every build reads all of them.
    pub const fn is_written(self) -> bool {
        match self {
            Self::Zstd => patchadm_container::zstd::IS_WRITTEN,
            Self::Xz => patchadm_container::xz::IS_WRITTEN,
            Self::Gzip | Self::Compress | Self::Plain | Self::Files => true,
        }
    }

    /// Returns true if an archive in this form, in a save directory, is one of this program: other programs that kept
    /// undo data there compressed it by compress(1), or not at all.
    pub const fn is_of_this_program(self) -> bool {
        matches!(self, Self::Gzip | Self::Zstd | Self::Xz | Self::Files)
    }

    /// Returns true if the form is an archive that only this program reads.
    pub const fn is_read_by_this_program_only(self) -> bool {
        matches!(self, Self::Zstd | Self::Xz)
    }

    const fn named(self) -> (&'static str, Self) {
        (self.word(), self)
    }

    /// Returns the word for the form in options, policies and documents.
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

    /// Returns the suffix of the file name, with its dot.
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

/// The content of a record file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFile {
    /// The bytes of the file. Plan, undo archive and survey share them: a pkgmap has a line for each object.
    pub bytes: Arc<Vec<u8>>,
    /// The permission bits.
    pub mode: Mode,
    /// The modification time.
    pub mtime: Timestamp,
}
