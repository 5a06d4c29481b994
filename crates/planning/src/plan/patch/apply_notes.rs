//! Notes about native operations that fail while a patch is applied: dpkg's messages would not name the patch.

use std::path::Path;

use patchadm_inputs::inventory::Inventory;
use patchadm_inputs::native::NativeManager;
use patchadm_svr4::package::{ContentsLine, ObjectPath, PackagePath};
use patchadm_svr4::patch::PatchId;

use crate::plan::plan_builder::PlanBuilder;
use crate::plan::refusal::{Reason, Wording};
use crate::plan::target::{PackageTarget, Wanted};
use crate::plan::{Action, Body, Change};

pub(super) fn announcements(draft: &PlanBuilder<'_>, id: &PatchId) -> Vec<String> {
    let directory = draft.changes.values().find_map(|change| kept_directory(draft, change));
    let shared: Vec<(&ObjectPath, String)> =
        draft.changes.values().filter_map(|change| shared_file(draft, change)).collect();
    let root = draft.inventory.prefix.as_ref().map_or_else(|| "/".to_owned(), ToString::to_string);
    let remove = Wording::of_verbs(Path::new(&root)).removal(id.as_str());
    let first = format!("back {id} out before ({remove})");
    let mut notes = Vec::new();
    if let Some((directory, package)) = directory {
        notes.push(format!(
            "only {package} has the directory {directory}, and {id} adds to it: a version of {package} that makes it a symbolic \
             link stops with `directory '{directory}' contains files not owned by package {package}, cannot switch to symlink`; \
             {first}"
        ));
    }
    if let Some((path, package)) = shared.first() {
        let more = match shared.len() {
            1 => String::new(),
            number => format!(" (and {} more)", number - 1),
        };
        notes.push(format!(
            "{path}{more} is shared by all architectures of {package}, and {id} replaces it: dpkg refuses another architecture \
             with `trying to overwrite shared '{path}', which is different from other instances of package {package}`; {first}"
        ));
    }
    notes
}

fn kept_directory(draft: &PlanBuilder<'_>, change: &Change) -> Option<(ObjectPath, String)> {
    let Action::Add(_) = &change.action else { return None };
    let origin = draft
        .inventory
        .native_origin(&change.package)
        .filter(|origin| origin.manager == NativeManager::Dpkg)?;
    let directory = change.path.parent()?;
    let is_alone = draft.inventory.native_owners.is_own_alone(&directory, &origin);
    is_alone.then_some((directory, origin.name))
}

fn shared_file<'c>(draft: &PlanBuilder<'_>, change: &'c Change) -> Option<(&'c ObjectPath, String)> {
    let Action::Replace(new) = &change.action else { return None };
    let owners = &draft.inventory.native_owners;
    let origin =
        draft.inventory.native_origin(&change.package).filter(|origin| owners.is_multi_arch(origin))?;
    let is_shared = !matches!(new.body, Body::Directory)
        && owners.is_own_alone(&change.path, &origin)
        && !change.path.as_bytes().split(|&byte| byte == b'/').any(is_of_one_architecture);
    is_shared.then_some((&change.path, origin.name))
}

fn is_of_one_architecture(name: &[u8]) -> bool {
    let words: Vec<&[u8]> = name.split(|&byte| byte == b'-').collect();
    match words.as_slice() {
        [_, kernel, _] => [&b"linux"[..], b"kfreebsd"].contains(kernel),
        [_, system] => *system == b"gnu",
        _ => false,
    }
}

const MOST_PATHS: usize = 5;

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
        let are = if absent.len() == 1 { "is" } else { "are" };
        notes.push(format!("package {package}: the patch deletes {paths}, which {are} not installed"));
    }
    Ok(notes)
}

fn is_equal(wanted: &Wanted<'_>, line: &ContentsLine) -> bool {
    let (new, old) = (&wanted.object, &line.object);
    let is_known = new.content.size.is_some() && new.content.cksum.is_some();
    let is_content = new.content.size == old.content.size && new.content.cksum == old.content.cksum;
    let is_as_before = is_content && new.attributes == old.attributes;
    new.ftype.is_regular() && old.ftype.is_regular() && is_known && is_as_before
}

fn listed(inventory: &Inventory, paths: &[&ObjectPath]) -> String {
    let shown = paths.iter().take(MOST_PATHS).map(|path| inventory.show(path).to_string());
    let shown = shown.collect::<Vec<_>>().join(", ");
    match paths.len().saturating_sub(MOST_PATHS) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_one_architecture_have_its_triplet() {
        for name in ["x86_64-linux-gnu", "arm-linux-gnueabihf", "i386-gnu", "x86_64-kfreebsd-gnu"] {
            assert!(is_of_one_architecture(name.as_bytes()), "{name}");
        }
        for name in ["doc", "linux", "libc6-dev", "util-linux", "util-linux-extra-doc", ""] {
            assert!(!is_of_one_architecture(name.as_bytes()), "{name}");
        }
    }
}
