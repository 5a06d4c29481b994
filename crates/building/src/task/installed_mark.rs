//! The marks of an installed set: its last file, with the name and size of everything in it, and the run that last held it
//! against that.
//!
//! A layer is made without waiting for the disk: a power cut may leave it with its last file and without its bytes. So the
//! first task of a run that uses it looks at all of it; the others believe the first one.

use patchadm_rootfs::{Dir, FileType, RootError};
use patchadm_svr4::package::Mode;

use super::place::remove_all;
use crate::runs::read_bounded;
use crate::tree_walk::each_below;
use crate::work::PROGRAM;

/// The directory with what is installed.
pub(super) const LAYER: &str = "layer";

/// The last file of an installed set.
pub(crate) const COMPLETE: &[u8] = b"complete";

/// The file with the run whose first task has looked at it.
pub(crate) const CHECKED: &[u8] = b"checked";

/// The largest of both, in bytes.
const LARGEST_MARK: u64 = 1 << 30;

/// Marks a set as whole, in the directory that gets its name next.
pub(super) fn mark_complete(dir: &Dir, session: &str) -> Result<(), RootError> {
    mark_checked(dir, session)?;
    dir.create(COMPLETE)?.put(list_of(dir)?.as_bytes())
}

/// Tells whether a set is there that a task of the same run has looked at.
pub(super) fn is_checked(sets: &Dir, name: &str, session: &str) -> Result<bool, RootError> {
    let Some(dir) = find(sets, name)? else { return Ok(false) };
    let is_complete = dir.look(COMPLETE)?.is_some();
    Ok(is_complete && dir.read_regular(CHECKED, LARGEST_MARK)?.as_deref() == Some(session.as_bytes()))
}

/// Tells whether a set is whole. One that is not is put out of the way: a build that still uses it keeps what there is of it.
pub(super) fn is_whole(sets: &Dir, name: &str, session: &str) -> Result<bool, RootError> {
    let Some(dir) = find(sets, name)? else {
        remove_all(sets, name.as_bytes())?;
        return Ok(false);
    };
    let list = read_bounded(&dir, COMPLETE, LARGEST_MARK)?.unwrap_or_default();
    if list.is_some() && list == list_of(&dir).ok().map(String::into_bytes) {
        mark_checked(&dir, session)?;
        return Ok(true);
    }
    dir.remove(COMPLETE)?;
    let aside = format!("{name}.bad-{:016x}", patchadm_rootfs::random()?);
    sets.move_to(name.as_bytes(), sets, aside.as_bytes())?;
    Ok(false)
}

fn find(sets: &Dir, name: &str) -> Result<Option<Dir>, RootError> {
    match sets.look(name.as_bytes())?.map(|seen| seen.file_type) {
        Some(FileType::Directory) => sets.dir(name.as_bytes()).map(Some),
        _ => Ok(None),
    }
}

/// Notes the run. The time of the note tells when the set was used last.
fn mark_checked(dir: &Dir, session: &str) -> Result<(), RootError> {
    dir.replace_cache(PROGRAM, CHECKED, session.as_bytes(), Mode::of(0o644))
}

/// Returns the type, size and name of each object of a layer, a line each. What is in a directory that may not be read is
/// left out.
fn list_of(dir: &Dir) -> Result<String, RootError> {
    let (mut list, layer) = (String::new(), dir.dir(LAYER.as_bytes())?);
    each_below::<RootError>(&layer, |above, name, seen| {
        let size = if seen.file_type == FileType::Regular { seen.size } else { 0 };
        let path = above.at(name);
        // The directory gets its name later.
        let path = path.relative().strip_prefix(layer.path().relative()).unwrap_or_default();
        let line = format!("{} {size} {}\n", seen.file_type.letter(), path.escape_ascii());
        list.push_str(&line);
        Ok(seen.file_type == FileType::Directory && is_readable(above, name)?)
    })?;
    Ok(list)
}

fn is_readable(above: &Dir, name: &[u8]) -> Result<bool, RootError> {
    match above.dir(name).and_then(|dir| dir.names()) {
        Err(error) if error.is_refused_access() => Ok(false),
        read => read.map(|_| true),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// An installed set with a file and a link, marked in a run.
    fn made(at: &Path) -> Dir {
        let layer = at.join("new/layer");
        fs::create_dir_all(layer.join("opt/deep")).unwrap();
        fs::write(layer.join("opt/deep/file"), "text").unwrap();
        std::os::unix::fs::symlink("file", layer.join("opt/deep/link")).unwrap();
        let sets = Dir::of_host(at).unwrap();
        mark_complete(&sets.dir(b"new").unwrap(), "run 1").unwrap();
        sets.move_to(b"new", &sets, b"set").unwrap();
        sets
    }

    #[test]
    fn the_first_task_of_a_run_looks_at_everything_and_the_others_believe_it() {
        let dir = tempfile::tempdir().unwrap();
        let sets = made(dir.path());
        assert!(is_checked(&sets, "set", "run 1").unwrap() && !is_checked(&sets, "set", "run 2").unwrap());
        assert!(is_whole(&sets, "set", "run 2").unwrap());
        assert!(is_checked(&sets, "set", "run 2").unwrap());
        assert!(!is_checked(&sets, "other", "run 2").unwrap() && !is_whole(&sets, "other", "run 2").unwrap());
    }

    #[test]
    fn a_set_that_is_not_as_its_mark_says_is_put_out_of_the_way() {
        type Damage = fn(&Path) -> std::io::Result<()>;
        let damages: [Damage; 5] = [
            |set| fs::write(set.join("layer/opt/deep/file"), ""),
            |set| fs::remove_file(set.join("layer/opt/deep/link")),
            |set| fs::write(set.join("layer/opt/more"), ""),
            |set| fs::write(set.join("complete"), ""),
            |set| fs::remove_file(set.join("complete")),
        ];
        for damage in damages {
            let dir = tempfile::tempdir().unwrap();
            let sets = made(dir.path());
            damage(&dir.path().join("set")).unwrap();
            assert!(!is_whole(&sets, "set", "run 2").unwrap());
            assert!(
                !is_checked(&sets, "set", "run 2").unwrap() && !is_checked(&sets, "set", "run 1").unwrap()
            );
            let [aside] = fs::read_dir(dir.path()).unwrap().collect::<Vec<_>>().try_into().unwrap();
            let aside = aside.unwrap();
            assert!(aside.file_name().to_str().unwrap().starts_with("set.bad-"));
            assert!(!aside.path().join("complete").exists(), "the next prune takes it");
        }
    }
}
