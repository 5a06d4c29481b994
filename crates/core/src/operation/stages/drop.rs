//! `stage drop`: removes a stage that has no commands inside and no mounts below, in any visible namespace. It is
//! marked unfinished first, so after an interruption only another drop can use it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::StageError;
use super::own_files::{
    Stage, empty_stage, is_in_place, is_unfinished, named_tree, own_directory, physical_path, read_stages,
};
use super::records::forget_stage;
use crate::operation::failure::Failure;
use crate::operation::session::{Caller, RootAndPolicy};
use crate::operation::trial::begin_change;
use patchadm_inputs::stage::{
    IDENTITY, INSIDE, LOCK, LONGEST_RECORD, ListedStage, StageId, StageIdentity, UNFINISHED,
};
use patchadm_rootfs::{
    Dir, Interrupt, Lock, LockError, ProcBounds, ProcLines, ProcReadError, Root, RootError, Stop,
};
use patchadm_svr4::package::{Mode, ObjectPath, unescape};

const PROGRAM: &str = "stage";

/// For all mount tables. Only a hostile process makes it take longer.
const LONGEST_SEARCH: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedStage {
    pub path: String,
    pub removed: u64,
    /// Removed from the list of its root.
    pub was_listed: bool,
    pub notes: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum DropError {
    #[error(transparent)]
    Stage(#[from] StageError),
    #[error("the stage {stage} is in use: {reason}")]
    InUse { stage: String, reason: Box<LockError> },
    #[error("something is mounted below the stage: {0}")]
    Mount(String),
    #[error("the root {0} lies inside the stage")]
    HasRoot(String),
}

impl From<RootError> for DropError {
    fn from(error: RootError) -> Self {
        Self::Stage(error.into())
    }
}

/// `force` includes damaged stages, and those of another root.
pub fn drop_stage(
    root: &Root,
    named: &OsStr,
    force: bool,
    caller: &Caller<'_>,
) -> Result<DroppedStage, DropError> {
    let tree = match named_tree(root, named) {
        Err(StageError::NoStage(shown)) => return forget_missing(root, named, caller, shown),
        found => found?,
    };
    let none = || StageError::NoStage(tree.prefix().display().to_string());
    let own = own_directory(&tree)?.ok_or_else(none)?;
    let id = identity_of(root, &tree, &own, force)?;
    let path = physical_path(&tree)?;
    let root_path = physical_path(root)?;
    if root_path == path || root_path.is_below(&path) {
        return Err(DropError::HasRoot(root_path.to_string()));
    }
    let _locks = [take_lock(&own, LOCK, &path)?, take_lock(&own, INSIDE, &path)?];
    if let Some(point) = mount_below(host_path(&path)) {
        return Err(DropError::Mount(point));
    }
    let above = path.parent().unwrap_or_else(ObjectPath::root);
    Dir::of_host(host_path(&above))?.must_be_removable(path.name())?;
    own.open_or_create(UNFINISHED, Mode::of(0o600))?;
    own.sync()?;
    // The stage may claim another one's id.
    let owner = own.itself()?.uid;
    let is_moved = |listed: &ListedStage| {
        listed.rights.as_ref().is_some_and(|rights| rights.owner == owner)
            && is_in_place(root, listed).is_ok_and(|is_in_place| !is_in_place)
    };
    let is_it = |listed: &ListedStage| match id {
        Some(id) => listed.id == id && (listed.path == path || is_moved(listed)),
        None => listed.path == path,
    };
    let (was_listed, notes) = forget(root, is_it, caller)?;
    let removed = remove(&tree, &path, caller.interrupt)?;
    Ok(DroppedStage { path: path.to_string(), removed, was_listed, notes })
}

/// `None` if it cannot be read.
fn identity_of(root: &Root, tree: &Root, own: &Dir, force: bool) -> Result<Option<StageId>, StageError> {
    if !force && !is_unfinished(own)? {
        let stage = Stage::of_tree(tree.clone())?;
        stage.must_be_of(root)?;
        return Ok(Some(stage.identity.id));
    }
    let text = own.read_regular(IDENTITY, LONGEST_RECORD).ok().flatten();
    Ok(text.and_then(|text| StageIdentity::parse(&text).ok()).map(|identity| identity.id))
}

fn forget_missing(
    root: &Root,
    named: &OsStr,
    caller: &Caller<'_>,
    shown: String,
) -> Result<DroppedStage, DropError> {
    let absolute = std::path::absolute(named).unwrap_or_default();
    let is_it = |listed: &ListedStage| {
        listed.path.as_bytes() == absolute.as_os_str().as_bytes()
            || listed.name.as_str().as_bytes() == named.as_bytes()
    };
    let listed = read_stages(root)?;
    let mut found = listed.stages().iter().filter(|listed| is_it(listed));
    let (Some(stage), None) = (found.next(), found.next()) else {
        return Err(StageError::NoStage(shown).into());
    };
    let (was_listed, notes) = forget(root, |listed| listed.id == stage.id, caller)?;
    Ok(DroppedStage { path: stage.path.to_string(), removed: 0, was_listed, notes })
}

fn forget(
    root: &Root,
    is_it: impl Fn(&ListedStage) -> bool,
    caller: &Caller<'_>,
) -> Result<(bool, Vec<String>), StageError> {
    let listed = read_stages(root)?;
    let Some(stage) = listed.stages().iter().find(|listed| is_it(listed)) else {
        return Ok((false, Vec::new()));
    };
    let session = match begin_change(RootAndPolicy::of(root)?, caller) {
        Err(refused @ (Failure::NotPrivileged(_) | Failure::ReadOnly(_))) => {
            return Ok((false, vec![format!("{refused}: the stage stays in the list there")]));
        }
        begun => begun?,
    };
    let receipt = forget_stage(&session, stage.id)?;
    Ok((receipt.is_some(), receipt.map(|receipt| receipt.notes).unwrap_or_default()))
}

fn take_lock(own: &Dir, name: &[u8], stage: &ObjectPath) -> Result<Lock, DropError> {
    Lock::take_file(own, name, PROGRAM, |_| false).map_err(|error| match error {
        LockError::Root(error) => error.into(),
        reason @ LockError::Held { .. } => {
            DropError::InUse { stage: stage.to_string(), reason: Box::new(reason) }
        }
    })
}

fn remove(tree: &Root, path: &ObjectPath, interrupt: Interrupt<'_>) -> Result<u64, StageError> {
    let top = tree.dir(&ObjectPath::root())?;
    let mut removed = empty_stage(tree, interrupt)?;
    let Some(parent) = path.parent() else { return Ok(removed) };
    let parent = Dir::of_host(host_path(&parent))?;
    let is_it = parent.look(path.name())?.is_some_and(|seen| {
        top.itself().is_ok_and(|own| own.inode == seen.inode && own.file_system == seen.file_system)
    });
    // A mount point stays, empty, as does a stage in a read-only directory.
    if is_it && parent.is_writable() && parent.remove_dir(path.name())? {
        removed += 1;
        parent.sync()?;
    }
    Ok(removed)
}

fn host_path(path: &ObjectPath) -> &Path {
    Path::new(OsStr::from_bytes(path.as_bytes()))
}

/// Searches the mount tables of all visible processes that see the same directory. A table that is too long counts as one
/// with such a mount.
fn mount_below(directory: &Path) -> Option<String> {
    let own = Path::new("/proc/self");
    let until = Instant::now() + LONGEST_SEARCH;
    let stop = || Instant::now() >= until;
    match point_below(own, directory, &stop) {
        Ok(Some(point)) => return Some(point.display().to_string()),
        Err(error) if error.is_overrun() => {
            return Some("the mount table is too long to be searched".to_owned());
        }
        _ => {}
    }
    let mut seen: BTreeSet<PathBuf> = namespace(own).into_iter().collect();
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let process = entry.path();
        let is_process = entry.file_name().as_bytes().iter().all(u8::is_ascii_digit);
        let is_other = is_process
            && namespace(&process).is_some_and(|found| seen.insert(found))
            && sees(&process, directory);
        if !is_other {
            continue;
        }
        let number = entry.file_name();
        match point_below(&process, directory, &stop) {
            Ok(Some(point)) => return Some(format!("{} for process {}", point.display(), number.display())),
            Err(error) if error.is_overrun() => {
                return Some(format!(
                    "the mount table of process {} is too long to be searched",
                    number.display()
                ));
            }
            _ => {}
        }
    }
    None
}

fn namespace(process: &Path) -> Option<PathBuf> {
    fs::read_link(process.join("ns/mnt")).ok()
}

fn sees(process: &Path, directory: &Path) -> bool {
    let relative = directory.strip_prefix("/").unwrap_or(directory);
    let (theirs, ours) = (fs::metadata(process.join("root").join(relative)), fs::metadata(directory));
    let identity = |found: std::io::Result<fs::Metadata>| found.ok().map(|found| (found.dev(), found.ino()));
    let ours = identity(ours);
    ours.is_some() && identity(theirs) == ours
}

fn point_below(process: &Path, directory: &Path, stop: Stop<'_>) -> Result<Option<PathBuf>, ProcReadError> {
    let table = ProcLines::open(&process.join("mountinfo"), ProcBounds::MOUNTS, stop)?;
    table.find(|line| point_in(line).filter(|point| point.starts_with(directory) && point != directory))
}

fn point_in(line: &[u8]) -> Option<PathBuf> {
    let field = line.split(|&byte| byte == b' ').nth(4)?;
    Some(PathBuf::from(OsStr::from_bytes(&unescape(field))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_rootfs::never;

    #[test]
    fn points_are_read_with_their_blanks_and_those_of_this_machine_are_found() {
        let table = b"21 1 8:1 / / rw - ext4 /dev/sda1 rw\n40 21 8:1 / /a\\040b rw - ext4 /dev/sda1 rw\n";
        let points: Vec<PathBuf> = table.split(|&byte| byte == b'\n').filter_map(point_in).collect();
        assert_eq!(points, [PathBuf::from("/"), PathBuf::from("/a b")]);
        assert!(mount_below(Path::new("/")).is_some());
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(mount_below(empty.path()), None);
    }

    #[test]
    fn a_signal_ends_a_removal_and_the_next_one_removes_the_rest_of_the_stage() {
        let dir = tempfile::tempdir().unwrap();
        let stage = dir.path().join("stage");
        fs::create_dir_all(stage.join(".patchadm-stage")).unwrap();
        fs::create_dir_all(stage.join("opt/a")).unwrap();
        let tree = Root::open(&stage).unwrap();
        let path = physical_path(&tree).unwrap();
        let ended = remove(&tree, &path, &|| Some(15)).unwrap_err();
        assert!(matches!(ended, StageError::Interrupted(15)), "{ended}");
        assert!(stage.join(".patchadm-stage").exists());
        remove(&tree, &path, &never).unwrap();
        assert!(!stage.exists());
    }

    #[test]
    fn a_table_is_searched_up_to_a_length() {
        let dir = tempfile::tempdir().unwrap();
        let found = |table: &[u8]| {
            fs::write(dir.path().join("mountinfo"), table).unwrap();
            point_below(dir.path(), Path::new("/srv"), &|| false)
        };
        let table = &b"21 1 8:1 / / rw - ext4 /dev/sda1 rw\n40 21 8:1 / /srv/a rw - ext4 /dev/sda1 rw\n"[..];
        assert_eq!(found(table).unwrap(), Some(PathBuf::from("/srv/a")));
        assert_eq!(found(b"21 1 8:1 / /srv rw - ext4 /dev/sda1 rw\n").unwrap(), None);
        let long = vec![b'a'; 2 << 20];
        assert!(found(&long).unwrap_err().is_overrun());
        assert!(found(&[table, &long[..]].concat()).is_ok(), "it was found before");
        fs::remove_file(dir.path().join("mountinfo")).unwrap();
        let gone = point_below(dir.path(), Path::new("/srv"), &|| false);
        assert!(!gone.unwrap_err().is_overrun());
    }
}
