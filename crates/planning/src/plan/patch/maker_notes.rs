//! What the maker of a patch wants to know of it and its user need not: said where it is only planned.

use crate::plan::refusal::Reason;
use crate::plan::target::{PackageTarget, Wanted};
use patchadm_inputs::inventory::Inventory;
use patchadm_svr4::package::{ContentsLine, ObjectPath, PackagePath};

/// How many paths a note names.
const MOST_PATHS: usize = 5;

/// What is to be said of a package of a patch: files that are delivered as they are recorded, and paths that are to go
/// and are not there.
pub(super) fn maker_notes(
    inventory: &Inventory,
    target: &PackageTarget<'_>,
    wanted: &[Wanted<'_>],
) -> Result<Vec<String>, Reason> {
    let package = &target.package;
    let is_same = |one: &&Wanted<'_>| inventory.lines.get(&one.path).is_some_and(|line| is_equal(one, line));
    let same: Vec<&ObjectPath> = wanted.iter().filter(is_same).map(|one| &one.path).collect();
    let resolved = |path: &PackagePath| target.resolve(path);
    let deletes: Vec<ObjectPath> = target.image.deletes.iter().map(resolved).collect::<Result<_, _>>()?;
    let is_absent =
        |path: &&ObjectPath| !inventory.lines.contains_key(*path) && !inventory.live.contains_key(*path);
    let absent: Vec<&ObjectPath> = deletes.iter().filter(is_absent).collect();
    let mut notes = Vec::new();
    if !same.is_empty() {
        let paths = listed(inventory, &same);
        notes.push(format!("package {package}: delivered as recorded, without a change: {paths}"));
    }
    if !absent.is_empty() {
        let paths = listed(inventory, &absent);
        notes.push(format!("package {package}: the file deletes names what is not installed: {paths}"));
    }
    Ok(notes)
}

/// Whether a file is delivered with the size, the sum and the attributes that are recorded.
fn is_equal(wanted: &Wanted<'_>, line: &ContentsLine) -> bool {
    let (new, old) = (&wanted.object, &line.object);
    let is_known = new.content.size.is_some() && new.content.cksum.is_some();
    let is_content = new.content.size == old.content.size && new.content.cksum == old.content.cksum;
    let is_as_before = is_content && new.attributes == old.attributes;
    new.ftype.is_regular() && old.ftype.is_regular() && is_known && is_as_before
}

/// The first paths, and how many there are beside them.
fn listed(inventory: &Inventory, paths: &[&ObjectPath]) -> String {
    let shown = paths.iter().take(MOST_PATHS).map(|path| inventory.show(path).to_string());
    let shown = shown.collect::<Vec<_>>().join(", ");
    match paths.len().saturating_sub(MOST_PATHS) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
