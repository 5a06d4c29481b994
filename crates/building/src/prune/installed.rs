//! Installed lists of packages on this machine: the ones that no run has used for the longest time go, where all take more than
//! their limit. Copies of a base go unless the last run used them.

use patchadm_bulk_values::conf::{Base, Configuration};
use patchadm_rootfs::{Dir, FileType, Lock, RootError, Timestamp};

use super::removal::{FreedSpace, Removal};
use super::report::PruneReport;
use crate::base::{COPY, USED_COPY};
use crate::task::installed_mark::{CHECKED, COMPLETE};

/// The directories of the tasks and of installed lists.
const TASKS: &[u8] = b"tasks";
const INSTALLED: &[u8] = b"installed";

/// The locks by which a task and what runs in its sandbox hold its directory.
const TASK_LOCKS: [&[u8]; 2] = [b"owner", b"inside"];

/// Returns what goes. Tasks build on installed lists without holding each: where one lives, all stay.
pub(super) fn surplus(conf: &Configuration, report: &mut PruneReport) -> Result<Option<Removal>, RootError> {
    let above = match Dir::of_host(&conf.build_dir) {
        Err(error) if error.is_not_found() => return Ok(None),
        opened => opened?,
    };
    let mut removal = Removal::below(above.again()?);
    if is_used(&above)? {
        report
            .notes
            .push(format!("{}: tasks run there, so nothing installed goes", conf.build_dir.display()));
        return Ok(None);
    }
    for name in unneeded_copies(conf, &above)? {
        removal.add(&[&name]);
        report.installed.push(name);
    }
    if above.look(INSTALLED)?.is_none_or(|seen| seen.file_type != FileType::Directory) {
        return Ok(Some(removal));
    }
    let installed = above.dir(INSTALLED)?;
    let mut total = 0;
    let mut lists: Vec<(Option<Timestamp>, u64, String)> = Vec::new();
    for name in installed.names()? {
        let Ok(name) = String::from_utf8(name) else { continue };
        if installed.look(name.as_bytes())?.is_none_or(|seen| seen.file_type != FileType::Directory) {
            continue;
        }
        let used = last_use(&installed.dir(name.as_bytes())?)?;
        let mut space = FreedSpace::default();
        let mut one = Removal::below(installed.again()?);
        one.add(&[&name]);
        one.measure(&mut space)?;
        total += space.bytes();
        lists.push((used, space.bytes(), name));
    }
    // What is not whole comes first, and goes in any case.
    lists.sort();
    for (used, bytes, name) in lists {
        let is_within = conf.installed_limit.is_none_or(|limit| total <= limit);
        if used.is_some() && is_within {
            break;
        }
        total -= bytes;
        removal.add(&["installed", &name]);
        report.installed.push(name);
    }
    Ok(Some(removal))
}

/// Returns the copies of bases, whole or begun, except the one that was used last; that one goes as well if the base is not a
/// directory any more.
fn unneeded_copies(conf: &Configuration, build_dir: &Dir) -> Result<Vec<String>, RootError> {
    let used = match conf.base {
        Base::Directory(_) => build_dir.read_regular(USED_COPY, 64)?,
        Base::Host(_) => None,
    };
    let begin = format!("{COPY}-");
    let copies = build_dir
        .names_that_are(|name| name.starts_with(begin.as_bytes()) && used.as_deref() != Some(name))?;
    Ok(copies.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect())
}

/// Returns when a run has used an installed list last; `None` where the list is not whole.
fn last_use(list: &Dir) -> Result<Option<Timestamp>, RootError> {
    let Some(made) = list.look(COMPLETE)? else { return Ok(None) };
    Ok(Some(list.look(CHECKED)?.map_or(made.mtime, |checked| checked.mtime)))
}

/// Tells whether a task lives that works there.
fn is_used(build_dir: &Dir) -> Result<bool, RootError> {
    if build_dir.look(TASKS)?.is_none_or(|seen| seen.file_type != FileType::Directory) {
        return Ok(false);
    }
    let tasks = build_dir.dir(TASKS)?;
    for name in tasks.names()? {
        let Ok(task) = tasks.dir(&name) else { continue };
        for lock in TASK_LOCKS {
            if Lock::is_file_held(&task, lock)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
