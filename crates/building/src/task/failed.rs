//! Work directories of the newest failed builds: `build_dir/failed/ID.PKGNAME`, each with its order and failure.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use patchadm_bulk_values::journal::FailureCause;
use patchadm_rootfs::{Dir, FileType, Interrupt, Lock, LockError, RootError, never};
use patchadm_svr4::package::Mode;
use serde::{Deserialize, Serialize};

use super::place::{
    LONGEST_REMOVAL, OWNER, TaskPlace, must_end, remove_all_until, remove_within_time, take_soon,
    take_unless_ended,
};
use super::{TaskFailure, TaskOrder};
use crate::runs::read_bounded;
use crate::work::{PROGRAM, build_directory, existing_build_directory, made_private};

const FAILED: &str = "failed";

/// Held while one is added or removed.
const KEEPING: &[u8] = b"failed.lock";

const STORY: &[u8] = b"failed.json";

const LARGEST_STORY: u64 = 64 << 20;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FailedBuild {
    pub(crate) order: TaskOrder,
    pub(crate) failure: TaskFailure,
}

impl FailedBuild {
    /// Matches PKGNAME, the name without version, or the location.
    fn is_called(&self, name: &str) -> bool {
        let package = self.order.package.as_str();
        let base = package.rsplit_once('-').map_or(package, |(base, _)| base);
        [package, base, self.order.location.as_str()].contains(&name)
    }
}

/// True if the work directory shows the failure: the build had started, and nothing overwrote it.
pub(super) fn is_worth_keeping(failure: &TaskFailure) -> bool {
    !matches!(failure.cause, FailureCause::Distfile | FailureCause::Install | FailureCause::Check)
}

/// Keeps a failed build in place of an older one of the package, and the `most` newest ones in all.
pub(super) fn keep_failed(
    place: TaskPlace,
    (build_dir, id): (&Path, &str),
    build: &FailedBuild,
    most: u32,
) -> Result<(), LockError> {
    // Strings and numbers: serializing these cannot fail.
    let story = serde_json::to_vec(build).unwrap_or_default();
    place.dir.replace_file(PROGRAM, STORY, &story, Mode::of(0o644))?;
    let is_ended = place.is_ended.clone();
    let above = build_directory(build_dir)?;
    let failed = made_private(&above, FAILED.as_bytes())?;
    let _keeping = take_unless_ended(&above, KEEPING, &is_ended)?;
    let name = format!("{id}.{}", build.order.package).into_bytes();
    if failed.look(&name)?.is_some() {
        if is_entered(&failed, &name) {
            return Ok(place.remove()?);
        }
        remove_within_time(&failed, &name, &is_ended)?;
    }
    place.move_to(&failed, &name)?;
    let began = Instant::now();
    let is_long = || began.elapsed() > LONGEST_REMOVAL;
    Ok(remove_surplus(&failed, id, most, &|| must_end(&is_ended).filter(|_| is_long()))?)
}

/// Removes a package's kept directory after a successful build.
pub(super) fn forget(
    (build_dir, id): (&Path, &str),
    package: &str,
    is_ended: &AtomicBool,
) -> Result<(), LockError> {
    let above = build_directory(build_dir)?;
    let name = format!("{id}.{package}").into_bytes();
    if above.look(FAILED.as_bytes())?.is_none() {
        return Ok(());
    }
    let failed = above.dir(FAILED.as_bytes())?;
    let _keeping = take_unless_ended(&above, KEEPING, is_ended)?;
    if failed.look(&name)?.is_some() && !is_entered(&failed, &name) {
        remove_within_time(&failed, &name, is_ended)?;
    }
    Ok(())
}

pub(crate) fn forget_surplus(build_dir: &Path, id: &str, most: u32) -> Result<(), LockError> {
    let Some(above) = existing_build_directory(build_dir)? else { return Ok(()) };
    if above.look(FAILED.as_bytes())?.is_none() {
        return Ok(());
    }
    let _keeping = take_soon(&above, KEEPING)?;
    Ok(remove_surplus(&above.dir(FAILED.as_bytes())?, id, most, &never)?)
}

fn remove_surplus(failed: &Dir, id: &str, most: u32, interrupt: Interrupt<'_>) -> Result<(), RootError> {
    let mut kept = Vec::new();
    for name in names_of(failed, id)? {
        let story = failed.dir(&name)?.look(STORY)?;
        kept.push((story.map(|story| (story.mtime.seconds, story.mtime.nanoseconds)), name));
    }
    kept.sort();
    let surplus = kept.len().saturating_sub(most as usize);
    for (_, name) in kept.into_iter().take(surplus).filter(|(_, name)| !is_entered(failed, name)) {
        remove_all_until(failed, &name, interrupt)?;
    }
    Ok(())
}

/// Finds a failed build by package name, or returns the names of the others.
pub(crate) fn find(
    (build_dir, id): (&Path, &str),
    name: &str,
) -> Result<Result<(TaskPlace, FailedBuild), Vec<String>>, LockError> {
    let above = build_directory(build_dir)?;
    let mut others = Vec::new();
    if above.look(FAILED.as_bytes())?.is_none() {
        return Ok(Err(others));
    }
    let failed = above.dir(FAILED.as_bytes())?;
    for directory in names_of(&failed, id)? {
        let story = read_bounded(&failed.dir(&directory)?, STORY, LARGEST_STORY)?.unwrap_or_default();
        let story = story.unwrap_or_default();
        let Ok(build) = serde_json::from_slice::<FailedBuild>(&story) else { continue };
        if build.is_called(name) {
            let place = TaskPlace::reopen(failed, &build_dir.join(FAILED), &directory)?;
            return Ok(Ok((place, build)));
        }
        others.push(build.order.package);
    }
    others.sort();
    Ok(Err(others))
}

fn names_of(failed: &Dir, id: &str) -> Result<Vec<Vec<u8>>, RootError> {
    let begin = format!("{id}.").into_bytes();
    let mut names = failed.names_that_are(|name| name.starts_with(&begin))?;
    let mut directories = Vec::new();
    names.sort();
    for name in names {
        if failed.look(&name)?.is_some_and(|seen| seen.file_type == FileType::Directory) {
            directories.push(name);
        }
    }
    Ok(directories)
}

fn is_entered(failed: &Dir, name: &[u8]) -> bool {
    failed.dir(name).is_ok_and(|dir| Lock::is_file_held(&dir, OWNER).unwrap_or(true))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_task_that_has_to_end_does_not_wait_for_one_that_removes_something() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("failed/id.a-1")).unwrap();
        let _keeping = take_soon(&Dir::of_host(dir.path()).unwrap(), KEEPING).unwrap();
        let forgotten = forget((dir.path(), "id"), "a-1", &AtomicBool::new(true));
        assert!(matches!(forgotten, Err(LockError::Held { .. })));
        assert!(dir.path().join("failed/id.a-1").exists());
    }

    #[test]
    fn a_signal_ends_the_removal_of_surplus_builds_and_the_next_one_removes_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        for (name, count) in [("id.a-1", 1_000), ("id.b-1", 1)] {
            fs::create_dir(dir.path().join(name)).unwrap();
            for number in 0..count {
                fs::write(dir.path().join(name).join(number.to_string()), "").unwrap();
            }
        }
        let failed = Dir::of_host(dir.path()).unwrap();
        let calls = std::sync::atomic::AtomicUsize::new(0);
        let interrupt = || (calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 500).then_some(15);
        let error = remove_surplus(&failed, "id", 1, &interrupt).unwrap_err();
        assert_eq!(error.errno(), Some(rustix::io::Errno::INTR), "{error}");
        assert!(dir.path().join("id.a-1").exists());
        remove_surplus(&failed, "id", 1, &never).unwrap();
        assert!(!dir.path().join("id.a-1").exists() && dir.path().join("id.b-1").exists());
    }
}
