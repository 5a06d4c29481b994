//! Hidden files: objects in an exclusive directory (type `x`) that no package owns.
//!
//! A name is known if an object is recorded there or anywhere below it, also by another path through a symbolic link. Each
//! directory is read once. The contents of a hidden directory are not examined; they are hidden with it.

use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;

use super::compare::Comparison;
use super::findings::{CheckError, CheckedObject, Finding, UnfixedReason};
use super::native_files::NativeFiles;
use patchadm_inputs::database::{RecordView, contents};
use patchadm_rootfs::{FileType, RootError};
use patchadm_svr4::format::contents::key_of;
use patchadm_svr4::package::{ContentsLine, Ftype, ObjectPath};

/// Returns what is hidden in the exclusive directories among `lines`, which are in scope. With `native`, removes it, except for
/// directories that are not empty, and what a package of dpkg or rpm owns.
pub(super) fn hidden(
    view: &RecordView<'_>,
    comparison: &Comparison<'_>,
    lines: &[ContentsLine],
    native: Option<&NativeFiles<'_>>,
) -> Result<Vec<CheckedObject>, CheckError> {
    let exclusive = lines.iter().filter(|line| line.object.ftype == Ftype::Exclusive);
    let directories: Vec<ObjectPath> = exclusive.map(|line| line.path.clone()).collect();
    let below = contents::lines_below(view, &directories)?;
    let known = with_ancestors(below.into_keys().chain(lines.iter().map(|line| line.path.clone())));
    let (mut found, mut unknown) = (Vec::new(), Vec::new());
    for path in &directories {
        match names_in(comparison, path) {
            Ok(paths) => unknown.extend(paths.into_iter().filter(|path| !known.contains(path))),
            Err(error) => {
                let findings = vec![Finding::Unreadable(error.to_string())];
                found.push(CheckedObject { path: path.clone(), findings });
            }
        }
    }
    let elsewhere = known_by_another_way(view, comparison, &unknown)?;
    let resolver = comparison.root.resolver();
    for path in unknown {
        if !elsewhere.contains(&resolver.locate(&path)?) {
            let findings = match native.map(|native| native.owner_of_unrecorded(&path)).transpose()? {
                None => vec![Finding::Hidden],
                Some(None) => remove(comparison, &path),
                Some(Some(owner)) => vec![Finding::Hidden, Finding::Unfixed(UnfixedReason::Native(owner))],
            };
            found.push(CheckedObject { path, findings });
        }
    }
    Ok(found)
}

/// Returns the paths in a directory; empty if it does not exist.
fn names_in(comparison: &Comparison<'_>, directory: &ObjectPath) -> Result<Vec<ObjectPath>, RootError> {
    let Some((parent, seen)) = comparison.find(directory)? else { return Ok(Vec::new()) };
    if seen.file_type != FileType::Directory {
        return Ok(Vec::new());
    }
    let name = directory.name();
    let dir = if name.is_empty() { parent } else { Rc::new(parent.dir(name)?) };
    Ok(dir.names()?.iter().filter_map(|name| directory.join(name).ok()).collect())
}

/// Returns the real paths of recorded objects whose path has one of these names in it, with the directories above them.
fn known_by_another_way(
    view: &RecordView<'_>,
    comparison: &Comparison<'_>,
    unknown: &[ObjectPath],
) -> Result<BTreeSet<ObjectPath>, CheckError> {
    let names: HashSet<&[u8]> = unknown.iter().map(ObjectPath::name).collect();
    if names.is_empty() {
        return Ok(BTreeSet::new());
    }
    let lines =
        contents::scan(view, |raw| key_of(raw).split(|&byte| byte == b'/').any(|part| names.contains(part)))?;
    let resolver = comparison.root.resolver();
    let physical: Vec<ObjectPath> =
        lines.keys().map(|path| resolver.locate(path)).collect::<Result<_, _>>()?;
    Ok(with_ancestors(physical.into_iter()))
}

fn with_ancestors(paths: impl Iterator<Item = ObjectPath>) -> BTreeSet<ObjectPath> {
    let mut all = BTreeSet::new();
    for path in paths {
        all.extend(path.ancestors());
        all.insert(path);
    }
    all
}

/// Removes a hidden name. Returns the remaining findings: none, or why it still exists.
fn remove(comparison: &Comparison<'_>, path: &ObjectPath) -> Vec<Finding> {
    let removed = comparison.place(path).and_then(|(dir, name)| match dir.look(&name)? {
        Some(seen) if seen.file_type == FileType::Directory => dir.remove_dir(&name),
        _ => dir.remove(&name).map(|()| true),
    });
    match removed {
        Ok(true) => Vec::new(),
        _ => vec![Finding::Hidden, Finding::Unfixed(UnfixedReason::Hidden)],
    }
}
