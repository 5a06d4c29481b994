//! `stage drop`: removes a stage and nothing else.
//!
//! Nobody may be inside, and nothing may be mounted below it, in any mount namespace that can be seen. From its first
//! step on the stage counts as unfinished, so that what is left after an interruption can be used for nothing but
//! another drop.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::found::{FoundStage, StageFault, find_stage};
use super::mounts_below::mount_below;
use crate::stage::{DIRECTORY, INSIDE, LOCK, StageId, UNFINISHED};
use patchadm_rootfs::{Dir, Lock, LockError, Root, RootError};
use patchadm_svr4::package::ObjectPath;

/// The program that lock files name.
const PROGRAM: &str = "patchadm stage drop";

/// A stage that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedStage {
    /// Its id, if it still had one.
    pub id: Option<StageId>,
    /// The path where it was.
    pub path: String,
    /// The number of objects removed.
    pub removed: u64,
}

/// The reasons why a stage was not removed.
#[derive(Debug, thiserror::Error)]
pub enum DropError {
    /// It is no stage, or none that is removed without being told twice.
    #[error(transparent)]
    Stage(#[from] StageFault),
    /// Somebody is inside, or another command changes it.
    #[error("the stage {stage} is in use: {reason}")]
    InUse {
        /// The path of the stage.
        stage: String,
        /// Who has which lock.
        reason: LockError,
    },
    /// Something is mounted below it.
    #[error("something is mounted below the stage: {0}")]
    Mount(String),
    /// The root is a part of it.
    #[error("the root {0} lies inside the stage")]
    HasRoot(String),
    /// Something cannot be opened or removed.
    #[error(transparent)]
    Root(#[from] RootError),
}

/// Removes a stage of `root`; with `force` also one that is damaged, or of another root.
pub fn drop_stage(root: &Root, named: &Path, force: bool) -> Result<DroppedStage, DropError> {
    let stage = find_stage(root, named)?;
    if !force && !stage.is_unfinished {
        stage.identity_of(root)?;
    }
    let root_path = root.physical_path()?;
    if root_path.starts_with(&stage.path) {
        return Err(DropError::HasRoot(root_path.display().to_string()));
    }
    let _locks = [take_lock(&stage, LOCK)?, take_lock(&stage, INSIDE)?];
    if let Some(point) = mount_below(&stage.path) {
        return Err(DropError::Mount(point));
    }
    stage.private.open_or_create(UNFINISHED, patchadm_svr4::package::Mode::of(0o600))?;
    stage.private.sync()?;
    let removed = remove(&stage)?;
    let id = stage.identity().ok().map(|identity| identity.id);
    Ok(DroppedStage { id, path: stage.shown(), removed })
}

fn take_lock(stage: &FoundStage, name: &[u8]) -> Result<Lock, DropError> {
    Lock::take_file(&stage.private, name, PROGRAM, |_| false).map_err(|error| match error {
        LockError::Root(error) => error.into(),
        reason => DropError::InUse { stage: stage.shown(), reason },
    })
}

/// Removes everything below the stage, its own files last, and then its directory.
fn remove(stage: &FoundStage) -> Result<u64, RootError> {
    let top = stage.tree.dir(&ObjectPath::root())?;
    let mut removed = 0;
    for name in top.names_that_are(|name| name != DIRECTORY)? {
        removed += top.remove_tree_counted(&name)?;
    }
    removed += top.remove_tree_counted(DIRECTORY)?;
    if let (Some(parent), Some(name)) = (stage.path.parent(), stage.path.file_name()) {
        let parent = Dir::of_host(parent)?;
        let is_it = parent.look(name.as_bytes())?.is_some_and(|seen| {
            top.itself().is_ok_and(|own| own.inode == seen.inode && own.file_system == seen.file_system)
        });
        // One that is a file system of its own stays, empty, and so does one in a directory of somebody else.
        let is_gone = is_it && parent.is_writable() && parent.remove_dir(name.as_bytes())?;
        if is_gone {
            removed += 1;
            parent.sync()?;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn stage_in(dir: &Path) -> Root {
        fs::create_dir_all(dir.join("jail/.patchadm-stage")).unwrap();
        fs::create_dir_all(dir.join("jail/usr/pkg/bin")).unwrap();
        fs::create_dir_all(dir.join("usr/pkg")).unwrap();
        fs::write(dir.join("usr/pkg/canary"), "alive").unwrap();
        symlink(dir.join("usr/pkg"), dir.join("jail/usr/pkg/link")).unwrap();
        let identity = format!(
            "{{\"stage\":1,\"id\":\"5f0c2a9be1d47788\",\"name\":\"web\",\"root\":\"{}\",\"marker\":null,\
             \"created\":\"2026-11-20T23:10:05Z\",\"records\":false,\"owners\":true}}\n",
            fs::canonicalize(dir).unwrap().display()
        );
        fs::write(dir.join("jail/.patchadm-stage/identity"), identity).unwrap();
        Root::open(dir).unwrap()
    }

    #[test]
    fn a_stage_is_removed_and_what_its_links_lead_to_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let root = stage_in(dir.path());
        let dropped = drop_stage(&root, &dir.path().join("jail"), false).unwrap();
        assert_eq!(dropped.id.unwrap().to_string(), "5f0c2a9be1d47788");
        // Four directories and a link, the directory of its own with identity, locks and mark, and the stage.
        assert_eq!(dropped.removed, 10);
        assert!(!dir.path().join("jail").exists());
        assert_eq!(fs::read_to_string(dir.path().join("usr/pkg/canary")).unwrap(), "alive");
    }

    #[test]
    fn a_stage_with_somebody_inside_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let root = stage_in(dir.path());
        let stage = dir.path().join("jail");
        let inside =
            Lock::share_file(&Dir::of_host(&stage.join(".patchadm-stage")).unwrap(), INSIDE).unwrap();
        for force in [false, true] {
            assert!(matches!(drop_stage(&root, &stage, force), Err(DropError::InUse { .. })));
        }
        assert!(
            stage.join("usr/pkg/link").is_symlink() && !stage.join(".patchadm-stage/unfinished").exists()
        );
        drop(inside);
        drop_stage(&root, &stage, false).unwrap();
    }

    #[test]
    fn a_damaged_stage_needs_force_an_unfinished_one_does_not_and_any_other_directory_is_no_stage() {
        let dir = tempfile::tempdir().unwrap();
        let root = stage_in(dir.path());
        let stage = dir.path().join("jail");
        fs::write(stage.join(".patchadm-stage/identity"), "rubbish").unwrap();
        let damaged = drop_stage(&root, &stage, false);
        assert!(matches!(damaged, Err(DropError::Stage(StageFault::Damaged { .. }))));
        fs::write(stage.join(".patchadm-stage/unfinished"), "").unwrap();
        assert_eq!(drop_stage(&root, &stage, false).unwrap().id, None);
        for force in [false, true] {
            let none = drop_stage(&root, &dir.path().join("usr"), force);
            assert!(matches!(none, Err(DropError::Stage(StageFault::NoStage(_)))));
        }
        let other = tempfile::tempdir().unwrap();
        let of_other = stage_in(other.path());
        let refused = drop_stage(&root, &other.path().join("jail"), false);
        assert!(matches!(refused, Err(DropError::Stage(StageFault::OtherRoot { .. }))));
        drop_stage(&of_other, &other.path().join("jail"), true).unwrap();
    }
}
