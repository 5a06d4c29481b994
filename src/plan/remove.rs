//! `pkgrm`: what removing a package does to a root.
//!
//! Its objects go, unless another package owns them as well; directories go when they are empty. Nothing is kept of
//! edited files: who removes a package gives its files up.

use crate::format::admin::{Admin, Check};
use crate::package::{Inventory, ObjectPath, PkgInst};

use super::depend::needed_by;
use super::draft::Draft;
use super::occasion::Occasion;
use super::records::{package_path, patch_path};
use super::refusal::{Command, Reason, Refusal};
use super::scripts::refuse_removal_scripts;
use super::{Plan, RecordChange};

/// Plans the removal of a package. The inventory must have every line that the package owns, and the `depend` files
/// of all packages.
pub fn remove(
    package: &PkgInst,
    inventory: &Inventory,
    admin: &Admin,
    conversation: bool,
    occasion: &Occasion,
) -> Result<Plan, Refusal> {
    plan(package, inventory, admin, conversation, occasion)
        .map_err(|reason| reason.shown(inventory).of(Command::Pkgrm, package))
}

fn plan(
    package: &PkgInst,
    inventory: &Inventory,
    admin: &Admin,
    conversation: bool,
    occasion: &Occasion,
) -> Result<Plan, Reason> {
    let installed = inventory.packages.get(package).ok_or(Reason::NoSuchPackage)?;
    let check = |check: Check, found: String| match check {
        Check::NoCheck => Ok(()),
        Check::Ask if conversation => Ok(()),
        Check::Ask => Err(Reason::Interaction(found)),
        Check::Quit => Err(Reason::Administration(found)),
    };
    if installed.partial {
        check(admin.partial, format!("package {package} is only partially installed"))?;
    }
    let needed = needed_by(package, inventory);
    if !needed.is_empty() {
        check(admin.rdepend, needed.join("; "))?;
    }
    let records = installed.records.keys().map(Vec::as_slice);
    refuse_removal_scripts(package.as_str(), records, &installed.params)?;
    let mut draft = Draft::new(inventory);
    let owned: Vec<&ObjectPath> =
        inventory.lines.iter().filter(|(_, line)| line.is_owned_by(package)).map(|(path, _)| path).collect();
    for path in owned {
        draft.delete(package, path)?;
    }
    draft.finish()?;
    let patches = installed.params.text("PATCHLIST").trim().to_owned();
    if !patches.is_empty() {
        draft.notes.push(format!("patches were applied to package {package} and go with it: {patches}"));
    }
    let mut records = vec![RecordChange::RemoveTree(package_path(package, b"")?)];
    records.extend(patch_directories(package, &patches, inventory)?);
    Ok(Plan {
        command: Command::Pkgrm.name(),
        patches: Vec::new(),
        packages: vec![package.clone()],
        changes: draft.changes.into_values().collect(),
        records,
        contents: draft.lines.into_iter().map(|(path, (_, line))| (path, line)).collect(),
        trailer: occasion.trailer("pkgrm", package),
        undo: Vec::new(),
        space: Vec::new(),
        discard: Vec::new(),
        notes: draft.notes,
    })
}

/// The directories of patches that no other package has.
fn patch_directories(
    package: &PkgInst,
    patches: &str,
    inventory: &Inventory,
) -> Result<Vec<RecordChange>, Reason> {
    let mut changes = Vec::new();
    for id in patches.split_whitespace() {
        let mut others = inventory.packages.iter().filter(|(other, _)| *other != package);
        let elsewhere =
            others.any(|(_, other)| other.params.text("PATCHLIST").split_whitespace().any(|word| word == id));
        let path = patch_path(id)?;
        if !elsewhere && inventory.live.contains_key(&path) {
            changes.push(RecordChange::RemoveTree(path));
        }
    }
    Ok(changes)
}
