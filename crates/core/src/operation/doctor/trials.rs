//! What the file system of the records can do with names and blocks, tried with two files of a private name below
//! `var/sadm/patchadm`, which are removed again. What a killed trial left goes with the next one.

use super::examination::Examination;
use super::finding::Finding;
use patchadm_rootfs::{Dir, Result, RootError};
use rustix::io::Errno;

/// The program name in the private names of files.
const PROGRAM: &str = "patchadm-doctor";

/// The size of the file whose blocks are shared.
const BLOCK: usize = 1 << 12;

/// Tries to let two names change places: renameat2(2) with `RENAME_EXCHANGE`.
pub(super) fn exchange(examination: &Examination<'_>) -> Vec<Finding> {
    let no = "two names cannot change places: objects are replaced in two steps, and directories cannot become \
              something else or be exchanged";
    vec![tried(examination, "exchange", ("two names change places at once", no), |dir, a, b| {
        match dir.exchange(a, dir, b) {
            Err(error) if is_not_there(&error) => Ok(false),
            other => other.map(|()| true),
        }
    })]
}

/// Tries to let two files share their blocks: ioctl(2) with `FICLONE`.
pub(super) fn reflink(examination: &Examination<'_>) -> Vec<Finding> {
    let no = "files cannot share blocks: copies of stages and of scripted runs are written in full";
    vec![tried(examination, "reflink", ("copies of files share their blocks", no), |dir, a, _| {
        let (clone, file) = dir.create_private(PROGRAM)?;
        let is_shared = dir.open_regular(a).and_then(|source| file.clone_of(&source));
        dir.remove(&clone)?;
        is_shared
    })]
}

/// Tries something with two files, and removes them.
fn tried(
    examination: &Examination<'_>,
    what: &'static str,
    (yes, no): (&str, &str),
    work: impl FnOnce(&Dir, &[u8], &[u8]) -> Result<bool>,
) -> Finding {
    let place = match examination.place_of_trials() {
        Ok(place) => place,
        Err(reason) => return Finding::unknown(what, reason),
    };
    match with_two_files(&place, work) {
        Ok(true) => Finding::ok(what, yes),
        Ok(false) => Finding::limited(what, no),
        Err(error) => Finding::attention(what, format!("the trial failed: {error}")),
    }
}

fn with_two_files(dir: &Dir, work: impl FnOnce(&Dir, &[u8], &[u8]) -> Result<bool>) -> Result<bool> {
    dir.remove_leftovers(PROGRAM)?;
    let (a, mut first) = dir.create_private(PROGRAM)?;
    let written = first.put(&[0; BLOCK]);
    let done = written.and_then(|()| {
        let (b, _second) = dir.create_private(PROGRAM)?;
        let done = work(dir, &a, &b);
        dir.remove(&b).and(done)
    });
    dir.remove(&a).and(done)
}

/// Tells whether the file system lacks the call.
fn is_not_there(error: &RootError) -> bool {
    matches!(error.errno(), Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP))
}
