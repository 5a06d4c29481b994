//! `stage enter`: a command that sees the live root with the stage in its places, or the stage alone.

use std::ffi::{OsStr, OsString};
use std::io::BufReader;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::found::{FoundStage, StageFault, find_stage};
use super::shell::ShellCall;
use crate::namespaces::{
    Access, EnclosedCommand, Enclosure, EnclosureEnd, EnclosureError, EnclosureNote, HeldLock, MissingPlace,
    Mount, MountSource, enclose,
};
use crate::operation::small_file::read_small;
use crate::stage::{
    BASE_OF_NEW, BaseHeader, DIRECTORIES, DIRECTORY, INSIDE, LONGEST_RECORD, MOUNTS, MountWord, Scope,
    StageFileError, parse_mounts, staged_path,
};
use patchadm_rootfs::{Lock, LockError, Root, RootError};
use patchadm_svr4::package::{Mode, ObjectPath};

/// The working directories of every stage, in addition to those that it names.
const WORKING: [&str; 3] = ["tmp", "usr/obj", "usr/tmp"];

/// What is to be entered, and how. Everything about the caller is a value here.
#[derive(Debug)]
pub struct EnterRequest<'a> {
    /// The live root.
    pub root: &'a Root,
    /// The stage: a directory or a name.
    pub stage: &'a Path,
    /// What is `/` inside.
    pub view: StageView,
    /// What is mounted besides.
    pub mounts: Vec<MountWord>,
    /// A file that names more of it.
    pub mounts_file: Option<&'a Path>,
    /// Whether the caller has the id 0 inside.
    pub as_root: bool,
    /// The command with its arguments; empty for a shell.
    pub command: Vec<OsString>,
    /// The shell of the caller.
    pub shell: Option<&'a OsStr>,
    /// The environment of the caller.
    pub environment: Vec<(OsString, OsString)>,
    /// The working directory of the caller, with all links resolved.
    pub directory: Option<PathBuf>,
    /// The file mode creation mask of the caller.
    pub umask: u32,
    /// Whether input and output are the terminal of the caller.
    pub is_interactive: bool,
}

/// What is `/` inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageView {
    /// The live root, read-only, with the staged paths in their places.
    Root,
    /// The stage.
    Stage,
}

/// The reasons why a stage was not entered.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// It is no stage that can be used.
    #[error(transparent)]
    Stage(#[from] StageFault),
    /// It is being removed.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A mounts file cannot be read.
    #[error("{}: {reason}", .path.display())]
    MountsFile {
        /// The file.
        path: PathBuf,
        /// The fault.
        reason: String,
    },
    /// The namespaces or the tree could not be made, or the command not be started.
    #[error(transparent)]
    Enclosure(#[from] EnclosureError),
}

impl From<RootError> for EnterError {
    fn from(error: RootError) -> Self {
        Self::Stage(error.into())
    }
}

/// Runs a command in a stage and returns its end. `tell` receives what the user should know before it starts.
///
/// For a process that does nothing else afterwards: see [`enclose`].
pub fn enter_stage(
    request: EnterRequest<'_>,
    tell: impl FnMut(&EnclosureNote),
) -> Result<EnclosureEnd, EnterError> {
    let stage = find_stage(request.root, request.stage)?;
    stage.identity_of(request.root)?;
    // Held to the end, beside the one that the first process inside has.
    let _inside = Lock::share_file(&stage.private, INSIDE)?;
    let is_interactive = request.is_interactive;
    let enclosure = enclosure_of(&stage, request)?;
    Ok(enclose(enclosure, is_interactive, tell)?)
}

/// Says what is to be seen inside.
fn enclosure_of(stage: &FoundStage, request: EnterRequest<'_>) -> Result<Enclosure, EnterError> {
    let identity = stage.identity()?;
    let call = ShellCall::of(&identity.name, request.command, request.shell, request.environment);
    let (tree, access, mut mounts) = match request.view {
        StageView::Root => {
            (request.root.physical_path()?, Access::ReadOnly, mounts_on_root(stage, call.start_files)?)
        }
        StageView::Stage => {
            make_tmp(stage)?;
            (stage.path.clone(), Access::ReadWrite, mounts_on_stage(call.start_files))
        }
    };
    let words = given_mounts(stage, request.mounts_file)?.into_iter().chain(request.mounts);
    mounts.extend(words.map(mount_of_word));
    let directory = request.directory.and_then(|path| inside(&tree, &path));
    let lock = HeldLock {
        directory: stage.path.join(OsStr::from_bytes(DIRECTORY)).into(),
        name: OsStr::from_bytes(INSIDE).to_owned(),
    };
    Ok(Enclosure {
        tree: tree.into(),
        access,
        mounts,
        locks: vec![lock],
        as_root: request.as_root,
        command: EnclosedCommand {
            choices: call.choices,
            environment: call.environment,
            directories: directory.into_iter().collect(),
            umask: request.umask,
        },
    })
}

/// The path inside of a directory of the host, if it is in the tree.
fn inside(tree: &Path, directory: &Path) -> Option<OsString> {
    directory.strip_prefix(tree).ok().map(|rest| Path::new("/").join(rest).into())
}

/// The mounts over a live root: the staged paths and working directories of the stage.
fn mounts_on_root(
    stage: &FoundStage,
    start_files: Vec<(OsString, Vec<u8>)>,
) -> Result<Vec<Mount>, EnterError> {
    let scope = staged_paths(stage)?;
    let of_stage = |path: &ObjectPath, missing| Mount {
        place: OsStr::from_bytes(path.as_bytes()).to_owned(),
        source: MountSource::Host {
            below: stage.path.clone().into(),
            path: OsStr::from_bytes(path.as_bytes()).to_owned(),
            access: Access::ReadWrite,
            is_own: true,
        },
        missing,
    };
    make_tmp(stage)?;
    let mut mounts = Vec::new();
    for directory in working_directories(stage)? {
        let there = stage.tree.resolver().directory_behind(&directory)?;
        if there.is_some() && !scope.contains(&directory) {
            mounts.push(of_stage(&directory, MissingPlace::LeftOut));
        }
    }
    // On top of them: a staged path may be below /tmp.
    mounts.extend(scope.paths().iter().map(|path| of_stage(path, MissingPlace::Refused)));
    mounts.extend(own_mounts(start_files, MissingPlace::LeftOut));
    Ok(mounts)
}

/// The mounts in a stage that is `/` itself: its own files are nothing for those inside.
fn mounts_on_stage(start_files: Vec<(OsString, Vec<u8>)>) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = own_mounts(start_files, MissingPlace::Made).into();
    let place = Path::new("/").join(OsStr::from_bytes(DIRECTORY)).into();
    mounts.push(Mount { place, source: MountSource::Nothing, missing: MissingPlace::Refused });
    mounts
}

fn own_mounts(start_files: Vec<(OsString, Vec<u8>)>, missing: MissingPlace) -> [Mount; 2] {
    [
        Mount { place: "/proc".into(), source: MountSource::Processes, missing },
        Mount { place: "/dev".into(), source: MountSource::Devices(start_files), missing },
    ]
}

fn mount_of_word(word: MountWord) -> Mount {
    let access = if word.is_writable { Access::ReadWrite } else { Access::ReadOnly };
    let source = MountSource::Host { below: "/".into(), path: word.source, access, is_own: false };
    Mount { place: word.place, source, missing: MissingPlace::Made }
}

/// The paths that a stage was made of.
fn staged_paths(stage: &FoundStage) -> Result<Scope, EnterError> {
    let damaged = |reason: &dyn std::fmt::Display| stage.damaged(BASE_OF_NEW, reason);
    let file = match stage.private.open_regular(BASE_OF_NEW) {
        Err(error) if error.is_not_found() => return Err(damaged(&"it is missing").into()),
        opened => opened?,
    };
    let header = BaseHeader::read(&mut BufReader::new(file)).map_err(|error| damaged(&error))?;
    Ok(header.paths)
}

/// The working directories: the usual ones, and those that were named to `stage new`.
fn working_directories(stage: &FoundStage) -> Result<Vec<ObjectPath>, EnterError> {
    let named = stage.private.read_regular(DIRECTORIES, LONGEST_RECORD)?.unwrap_or_default();
    let usual = WORKING.map(|path| path.as_bytes());
    let lines = usual.into_iter().chain(named.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()));
    lines.map(|line| staged_path(line).map_err(|error| stage.damaged(DIRECTORIES, error).into())).collect()
}

/// Makes `/tmp` of a stage that has none: it is never that of the live root.
fn make_tmp(stage: &FoundStage) -> Result<(), EnterError> {
    let top = stage.tree.dir(&ObjectPath::root())?;
    if top.look(b"tmp")?.is_none() {
        top.make_dir(b"tmp", Mode::of(0o1777))?;
    }
    Ok(())
}

/// The mounts of a mounts file: the one that is named, else the one that was given to `stage new`.
fn given_mounts(stage: &FoundStage, file: Option<&Path>) -> Result<Vec<MountWord>, EnterError> {
    match file {
        Some(path) => {
            let failed = |reason: String| EnterError::MountsFile { path: path.to_owned(), reason };
            let text = read_small(path, LONGEST_RECORD).map_err(|error| failed(error.to_string()))?;
            parse_mounts(&text).map_err(|error: StageFileError| failed(error.to_string()))
        }
        None => {
            let text = stage.private.read_regular(MOUNTS, LONGEST_RECORD)?.unwrap_or_default();
            parse_mounts(&text).map_err(|error| stage.damaged(MOUNTS, error).into())
        }
    }
}
