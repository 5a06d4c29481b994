//! Reads the objects of many directories side by side. Reading and digesting them is most of a survey's work.

use std::collections::BTreeMap;

use crate::database::DatabaseError;
use patchadm_rootfs::Root;
use patchadm_rootfs::{Interrupt, KnownFile, Live, side_by_side};
use patchadm_svr4::package::ObjectPath;

/// The number of objects of one directory that a thread reads at a time.
const PIECE: usize = 64;

/// The bytes read at once.
const BUFFER: usize = 1 << 17;

/// A directory, with the objects to read in it.
#[derive(Debug)]
pub(super) struct SurveyedDirectory {
    /// The physical path.
    pub(super) physical: ObjectPath,
    /// The paths of the survey in it, each with its name there.
    pub(super) paths: Vec<(ObjectPath, Vec<u8>)>,
    /// Whether the names of kept files in it are wanted too.
    pub(super) is_listed: bool,
}

/// The content of a directory.
#[derive(Debug, Default)]
pub(super) struct DirectorySeen {
    /// The objects at the wanted paths.
    pub(super) live: Vec<(ObjectPath, Live)>,
    /// The names of files that runs have kept in it, if they are wanted.
    pub(super) kept: Vec<Vec<u8>>,
}

/// A part of a directory: the directory's index, and the range of its names.
type Piece = (usize, usize, usize);

/// Reads all directories and returns their contents in order; a missing directory is empty. The bytes of files that are
/// `known` and unchanged are not read. A signal ends it, also in the middle of a file.
pub(super) fn look(
    root: &Root,
    directories: &[SurveyedDirectory],
    known: &BTreeMap<ObjectPath, KnownFile>,
    interrupt: Interrupt<'_>,
) -> Result<Vec<DirectorySeen>, DatabaseError> {
    let pieces: Vec<Piece> = directories.iter().enumerate().flat_map(pieces).collect();
    let seen = side_by_side(root.workers(), pieces.len(), || {
        let (mut buffer, pieces) = (vec![0; BUFFER], &pieces);
        move |at| {
            let piece = pieces.get(at)?;
            let seen = look_at(root, directories, (known, interrupt), *piece, &mut buffer);
            // An interrupted read also fails.
            let interrupted = |error| interrupt().map_or(error, DatabaseError::Interrupted);
            Some((piece.0, seen.map_err(interrupted)))
        }
    });
    let mut all: Vec<DirectorySeen> = directories.iter().map(|_| DirectorySeen::default()).collect();
    // Whichever thread was faster: the first error in the order of the paths is the one that is told.
    for (directory, found) in seen.into_iter().flatten() {
        let found = found?;
        if let Some(all) = all.get_mut(directory) {
            all.live.extend(found.live);
            all.kept.extend(found.kept);
        }
    }
    Ok(all)
}

fn pieces((number, directory): (usize, &SurveyedDirectory)) -> impl Iterator<Item = Piece> {
    let count = directory.paths.len();
    (0..count).step_by(PIECE).map(move |from| (number, from, count.min(from + PIECE)))
}

fn look_at(
    root: &Root,
    directories: &[SurveyedDirectory],
    (known, interrupt): (&BTreeMap<ObjectPath, KnownFile>, Interrupt<'_>),
    (number, from, to): Piece,
    buffer: &mut [u8],
) -> Result<DirectorySeen, DatabaseError> {
    let mut seen = DirectorySeen::default();
    let Some(directory) = directories.get(number) else { return Ok(seen) };
    let Some(dir) = root.dir_of_object(&directory.physical)? else { return Ok(seen) };
    for (path, name) in directory.paths.get(from..to).unwrap_or_default() {
        if let Some(signal) = interrupt() {
            return Err(DatabaseError::Interrupted(signal));
        }
        if let Some(live) = dir.live_until(buffer, name, known.get(path), interrupt)? {
            seen.live.push((path.clone(), live));
        }
    }
    if from == 0 && directory.is_listed {
        seen.kept = dir.names_that_are(|name| kept_name(name).is_some())?;
    }
    Ok(seen)
}

/// Returns the name under which a kept file was first known.
pub(super) fn kept_name(name: &[u8]) -> Option<&[u8]> {
    let is_infix = |rest: &[u8]| rest.starts_with(b".edited-") || rest.starts_with(b".patch-");
    let at = (0..name.len()).find(|at| name.get(*at..).is_some_and(is_infix))?;
    name.get(..at)
}
