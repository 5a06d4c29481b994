//! Hidden files: what is in an exclusive directory (type `x`) and is nobody's.
//!
//! A name is known if an object is recorded there or anywhere below it. A directory is looked at once; what is in a
//! hidden directory is not looked at, it is hidden with it.

use std::collections::BTreeSet;

use super::compare::Comparison;
use super::{CheckError, Checked, Finding, Unfixed};
use crate::database::{View, contents};
use crate::package::{Ftype, Line, ObjectPath};
use crate::root::{Dir, FileType, RootError, Seen};

/// The names that are recorded in or below exclusive directories, as paths of these names.
fn known(
    view: &View<'_>,
    lines: &[Line],
    directories: &[ObjectPath],
) -> Result<BTreeSet<ObjectPath>, CheckError> {
    let recorded = contents::lines_below(view, directories)?;
    let paths = recorded.into_keys().chain(lines.iter().map(|line| line.path.clone()));
    Ok(paths.flat_map(|path| path.ancestors().chain([path.clone()]).collect::<Vec<_>>()).collect())
}

/// What is hidden in the exclusive directories among `lines`, which are in scope; `removes` takes it away, unless it
/// is a directory that is not empty.
pub(super) fn hidden(
    view: &View<'_>,
    comparison: &Comparison<'_>,
    lines: &[Line],
    removes: bool,
) -> Result<Vec<Checked>, CheckError> {
    let exclusive = lines.iter().filter(|line| line.object.ftype == Ftype::Exclusive);
    let directories: Vec<ObjectPath> = exclusive.map(|line| line.path.clone()).collect();
    let known = known(view, lines, &directories)?;
    let mut found = Vec::new();
    for path in &directories {
        match hidden_in(comparison, path, &known, removes) {
            Ok(hidden) => found.extend(hidden),
            Err(error) => {
                let findings = vec![Finding::Unreadable(error.to_string())];
                found.push(Checked { path: path.clone(), findings });
            }
        }
    }
    Ok(found)
}

/// The same of one directory; nothing where there is no directory.
fn hidden_in(
    comparison: &Comparison<'_>,
    directory: &ObjectPath,
    known: &BTreeSet<ObjectPath>,
    removes: bool,
) -> Result<Vec<Checked>, RootError> {
    let Some((parent, name, seen)) = comparison.find(directory)? else { return Ok(Vec::new()) };
    if seen.file_type != FileType::Directory {
        return Ok(Vec::new());
    }
    let dir = if name.is_empty() { parent } else { parent.dir(&name)? };
    let mut found = Vec::new();
    for name in dir.names()? {
        let Ok(path) = directory.join(&name) else { continue };
        if !known.contains(&path) {
            let findings = if removes { remove(&dir, &name) } else { vec![Finding::Hidden] };
            found.push(Checked { path, findings });
        }
    }
    Ok(found)
}

/// What is left to be said after a hidden name was removed: nothing, or why it is still there.
fn remove(dir: &Dir, name: &[u8]) -> Vec<Finding> {
    let is_directory = |seen: &Seen| seen.file_type == FileType::Directory;
    let removed = match dir.look(name) {
        Ok(seen) if seen.as_ref().is_some_and(is_directory) => dir.remove_dir(name),
        Ok(_) => dir.remove(name).map(|()| true),
        Err(error) => Err(error),
    };
    match removed {
        Ok(true) => Vec::new(),
        _ => vec![Finding::Hidden, Finding::Unfixed(Unfixed::Hidden)],
    }
}
