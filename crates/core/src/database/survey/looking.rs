//! Looking at the objects of many directories side by side: to read and digest them is most of a survey's work.

use crate::package::{Live, ObjectPath, side_by_side};
use crate::root::{Result, Root};

/// Objects of one directory that one thread looks at in one go.
const PIECE: usize = 64;

/// Bytes read at once.
const BUFFER: usize = 1 << 17;

/// A directory, and what is looked at in it.
#[derive(Debug)]
pub(super) struct SurveyedDirectory {
    /// Its physical path.
    pub(super) physical: ObjectPath,
    /// The paths of the survey that are in it, each with its name there.
    pub(super) paths: Vec<(ObjectPath, Vec<u8>)>,
    /// Whether what else is in it is of interest.
    pub(super) is_listed: bool,
}

/// What a directory holds.
#[derive(Debug, Default)]
pub(super) struct DirectorySeen {
    /// The objects at the paths that were asked for.
    pub(super) live: Vec<(ObjectPath, Live)>,
    /// All names in it, where they were asked for.
    pub(super) names: Vec<Vec<u8>>,
}

/// A part of a directory, by its number: its names from one to another.
type Piece = (usize, usize, usize);

/// Looks at everything, and says what is there, directory by directory; nothing where a directory is not there.
pub(super) fn look(root: &Root, directories: &[SurveyedDirectory]) -> Result<Vec<DirectorySeen>> {
    let pieces: Vec<Piece> = directories.iter().enumerate().flat_map(pieces).collect();
    let seen = side_by_side(root.workers(), pieces.len(), || {
        let (mut buffer, pieces) = (vec![0; BUFFER], &pieces);
        move |at| pieces.get(at).map(|piece| (piece.0, look_at(root, directories, *piece, &mut buffer)))
    });
    let mut all: Vec<DirectorySeen> = directories.iter().map(|_| DirectorySeen::default()).collect();
    // Whichever thread was faster: the first error in the order of the paths is the one that is told.
    for (directory, found) in seen.into_iter().flatten() {
        let found = found?;
        if let Some(all) = all.get_mut(directory) {
            all.live.extend(found.live);
            all.names.extend(found.names);
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
    (number, from, to): Piece,
    buffer: &mut [u8],
) -> Result<DirectorySeen> {
    let mut seen = DirectorySeen::default();
    let Some(directory) = directories.get(number) else { return Ok(seen) };
    let Some(dir) = root.dir_if_there(&directory.physical)? else { return Ok(seen) };
    for (path, name) in directory.paths.get(from..to).unwrap_or_default() {
        if let Some(live) = dir.live_through(buffer, name)? {
            seen.live.push((path.clone(), live));
        }
    }
    if from == 0 && directory.is_listed {
        seen.names = dir.names()?;
    }
    Ok(seen)
}
