//! The values of a change: what a run does to a root, object by object and record by record.

mod attribute_change;
mod copied_record;
mod ledger;
mod undo_format;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::format::contents_merge::{ContentsEdits, ContentsTrailer};
use crate::format::history::SignatureRecord;
use crate::format::manifest::Manifest;
use crate::record_file::RecordFile;
use patchadm_rootfs::{Digest, FileType, Live, Timestamp, Xattrs};
use patchadm_svr4::format::pkgmap::PkgmapEntry;
use patchadm_svr4::format::remote::RemoteArchive;
use patchadm_svr4::package::{Mode, ObjectPath, PackagePath, Params, PkgInst};

pub use crate::format::history::Merge;
pub use attribute_change::AttributeChange;
pub use copied_record::CopiedRecord;
pub use ledger::{
    BroughtLine, LedgerArchive, LedgerChange, LedgerPatch, LedgerRewrite, RewrittenArchive, UndoLocation,
};
pub use undo_format::{ARCHIVE_NAMES, UndoFormat};

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
    /// In a run of several patches: the versions of objects that one patch delivers and a later one replaces. They are
    /// saved in undo archives and never seen at their paths.
    pub versions: Vec<ReplacedVersion>,
    /// What it needs on each file system that it writes to.
    pub space: Vec<SpaceNeed>,
    /// Undo archives outside the root that are useless after the commit, and removed then.
    pub discard: Vec<PathBuf>,
    /// Notes for the operator, in whole sentences.
    pub notes: Vec<String>,
    /// The edited files that stay, each with the version of the patch beside it.
    pub merges: Vec<Merge>,
    /// The facts about the signature of the one patch, if they go into the history.
    pub signature: Option<SignatureRecord>,
    /// Whether it leads forward to newer objects or back.
    pub direction: Direction,
}

/// The direction of a run, which decides the order in which names are exchanged: a new program may need a new library,
/// and the old library serves only the old program.
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
    /// Whether nothing can be changed there.
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
        /// Whether it is a block device rather than a character device.
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
    /// Label, ACL and `user.*` of the object it replaces; a new object takes the attributes that its parent hands down.
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
        /// Where.
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
        /// Where.
        path: ObjectPath,
        /// Its whole new content.
        copied: Box<CopiedRecord>,
        /// Permission bits.
        mode: Mode,
    },
    /// A missing directory appears with all its files at once.
    AddTree {
        /// Where.
        path: ObjectPath,
        /// Its files: relative name, content, permission bits. Intermediate directories are made 0755; a directory that
        /// may hold no file is an entry of its own.
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
        /// Where.
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
    /// Those of them that do not exist before the run, because an earlier patch of it makes them; with the place in
    /// [`Plan::versions`] of an object with content.
    pub passing: BTreeMap<ObjectPath, Option<usize>>,
    /// The objects that the patch adds, for tools that know no manifest; the content of a directory comes before it.
    pub deletes: Vec<PackagePath>,
    /// The procedure scripts of the backout package, for the same tools, by their names in `install`.
    pub scripts: BTreeMap<String, Vec<u8>>,
    /// Old files of the package's directory in the database (`pkginfo`, `save/pspool/…`, `install/…`), by their
    /// name in that directory.
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
    /// Also into the save directory, beside the archive that the scripts of the patch made: the program's own snapshot,
    /// from which it restores.
    Snapshot,
    /// Below a directory of the host that is not on the transaction's file systems (`patchadd -B`): the whole path of
    /// the archive.
    Remote(PathBuf),
    /// Beside an archive outside the root that has this path and is removed after the commit: its own name contains the
    /// run.
    Beside(PathBuf),
    /// Nowhere: the patch keeps no undo data, and only the manifest stays in the save directory.
    ManifestOnly,
}
