//! The effect of `pkgrm`. Objects go unless another package owns them; directories go if they are empty. Edited files
//! are not kept. With scripts, the plan shows the result if they do nothing else;
//! [`ScriptSchedule`](crate::plan::script_schedule::ScriptSchedule) is made from it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use patchadm_inputs::inventory::{Installed, Inventory};
use patchadm_inputs::native::ADOPTED;
use patchadm_inputs::policy::ScriptPolicy;
use patchadm_svr4::format::admin::{Admin, CheckAnswer};
use patchadm_svr4::package::{ContentsLine, ObjectPath, PkgInst};

use super::depend::needed_by;
use crate::plan::clock::Now;
use crate::plan::plan_builder::{PlanBuilder, below};
use crate::plan::promotion::local_package;
use crate::plan::records::{package_path, patch_path};
use crate::plan::refusal::{Command, Reason, Refusal};
use crate::plan::scripts::{Deliverer, RemoveScripts, SystemScripts};
use crate::plan::target::classes;
use crate::plan::{LedgerChange, Plan, RecordChange, space};

#[derive(Clone, Debug)]
pub struct RemoveOptions<'a> {
    pub admin: &'a Admin,
    /// The plan takes open questions of the admin file as agreed to, and the command asks before it performs the plan.
    pub conversation: bool,
    pub system: &'a SystemScripts,
    pub scripts: ScriptPolicy,
}

#[derive(Clone, Debug)]
pub struct IntendedRemoval {
    /// As if no script took part.
    pub plan: Plan,
    pub scripts: RemoveScripts,
    /// Class by class, in the order of removal.
    pub portions: Vec<RemovalPortion>,
    /// For people, before the removal.
    pub warnings: Vec<String>,
}

/// The inventory must have every line of the package, and the `depend` files of all packages.
pub fn remove(
    package: &PkgInst,
    inventory: &Inventory,
    options: &RemoveOptions<'_>,
    now: &Now,
) -> Result<IntendedRemoval, Refusal> {
    plan(package, inventory, options, now)
        .map_err(|reason| reason.shown(inventory).of(Command::Pkgrm, package))
}

pub(super) fn refuse_to_take_away(package: &PkgInst, installed: &Installed) -> Result<(), Reason> {
    refuse_adopted(package, installed)?;
    refuse_promoted(package, installed)
}

/// The undo archive of the promotion would go with the package.
fn refuse_promoted(package: &PkgInst, installed: &Installed) -> Result<(), Reason> {
    let saved: Vec<&str> =
        installed.saves.iter().filter(|(_, save)| save.has_archive()).map(|(id, _)| id.as_str()).collect();
    if local_package(&installed.params).is_none() || saved.is_empty() {
        return Ok(());
    }
    Err(Reason::PatchesApplied { package: package.clone(), patches: saved.join(" ") })
}

fn plan(
    package: &PkgInst,
    inventory: &Inventory,
    options: &RemoveOptions<'_>,
    now: &Now,
) -> Result<IntendedRemoval, Reason> {
    let installed = inventory.packages.get(package).ok_or(Reason::NoSuchPackage)?;
    refuse_to_take_away(package, installed)?;
    let scripts = RemoveScripts::of(installed, &owned_classes(package, inventory), options.system);
    scripts.check(installed, package, options.scripts)?;
    check(package, installed, &scripts, inventory, options)?;
    let mut draft = PlanBuilder::new(inventory);
    let owned: Vec<&ObjectPath> =
        inventory.lines.iter().filter(|(_, line)| line.is_owned_by(package)).map(|(path, _)| path).collect();
    for path in &owned {
        draft.delete(package, path)?;
    }
    draft.finish()?;
    let patches = installed.params.text("PATCHLIST").trim().to_owned();
    let mut records = vec![RecordChange::RemoveTree(package_path(package, b"")?)];
    records.push(RecordChange::Ledger(LedgerChange::of(package)));
    records.extend(patch_directories(package, &patches, inventory)?);
    let mut space = Vec::new();
    if scripts.take_part() {
        let size = |path: &&ObjectPath| Some(((*path).clone(), inventory.live.get(*path)?.size()?, 1));
        let held: Vec<_> = owned.iter().filter_map(size).collect();
        space = space::with_requests(space::needs(inventory, &[], &[], &[], &held));
        space::enough(&space)?;
    }
    let empty = Plan::empty(Command::Pkgrm.name(), now.trailer("pkgrm", package));
    let plan = Plan {
        packages: vec![package.clone()],
        changes: draft.changes.into_values().collect(),
        records,
        contents: draft.lines.into_iter().map(|(path, (_, line))| (path, line)).collect(),
        space,
        notes: draft.notes,
        ..empty
    };
    let portions = portions(package, inventory, &scripts);
    let about = about_patches(package, &patches, inventory);
    let warnings = if about.is_empty() { Vec::new() } else { vec![about.join("\n")] };
    Ok(IntendedRemoval { plan, scripts, portions, warnings })
}

/// dpkg or rpm would miss the files.
fn refuse_adopted(package: &PkgInst, installed: &Installed) -> Result<(), Reason> {
    let from = installed.params.text(ADOPTED).trim().to_owned();
    let is_anothers = matches!(from.split_whitespace().next(), Some("dpkg" | "rpm"));
    if is_anothers { Err(Reason::Adopted { package: package.clone(), from }) } else { Ok(()) }
}

fn check(
    package: &PkgInst,
    installed: &Installed,
    scripts: &RemoveScripts,
    inventory: &Inventory,
    options: &RemoveOptions<'_>,
) -> Result<(), Reason> {
    let check = |check: CheckAnswer, answer: &'static str, found: String| match check {
        CheckAnswer::NoCheck => Ok(()),
        CheckAnswer::Ask if options.conversation => Ok(()),
        CheckAnswer::Ask => Err(Reason::Interaction { found, answer }),
        CheckAnswer::Quit => Err(Reason::Administration { found, answer: Some(answer) }),
    };
    let admin = options.admin;
    if installed.partial {
        check(admin.partial, "partial=nocheck", format!("package {package} is only partially installed"))?;
    }
    if scripts.are_own() {
        check(
            admin.action,
            "action=nocheck",
            "the package has its own scripts that run with the permissions of whoever removes it".to_owned(),
        )?;
    }
    let needed = needed_by(package, inventory);
    if needed.is_empty() { Ok(()) } else { check(admin.rdepend, "rdepend=nocheck", needed.join("; ")) }
}

pub(super) fn about_patches(package: &PkgInst, patches: &str, inventory: &Inventory) -> Vec<String> {
    if patches.is_empty() {
        return Vec::new();
    }
    let elsewhere: Vec<&str> =
        patches.split_whitespace().filter(|id| is_applied_elsewhere(package, id, inventory)).collect();
    let mut sentences =
        vec![format!("patches are applied to package {package} and are removed with it: {patches}")];
    if !elsewhere.is_empty() {
        sentences.push(format!("other packages keep their parts of {}", elsewhere.join(" ")));
    }
    sentences
}

fn is_applied_elsewhere(package: &PkgInst, id: &str, inventory: &Inventory) -> bool {
    let mut others = inventory.packages.iter().filter(|(other, _)| *other != package);
    others.any(|(_, other)| other.params.text("PATCHLIST").split_whitespace().any(|word| word == id))
}

pub(super) fn patch_directories(
    package: &PkgInst,
    patches: &str,
    inventory: &Inventory,
) -> Result<Vec<RecordChange>, Reason> {
    let mut changes = Vec::new();
    for id in patches.split_whitespace() {
        let path = patch_path(id)?;
        if !is_applied_elsewhere(package, id, inventory) && inventory.live.contains_key(&path) {
            changes.push(RecordChange::RemoveTree(path));
        }
    }
    Ok(changes)
}

// The paths of a class go in reverse order of `contents`, contents before their directory (pkgrm(1M)). A directory of a
// class without a script waits for the last class with objects in it, because it must be empty.

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemovalPortion {
    pub class: String,
    /// `None` if the engine removes the objects.
    pub deliverer: Option<Deliverer>,
    /// In the order of removal.
    pub objects: Vec<GoingObject>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoingObject {
    pub path: ObjectPath,
    pub fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A directory only if it is empty by then.
    Goes,
    /// Other packages, or a package of dpkg or rpm, own it too.
    Shared,
    /// Shared and meant to be edited (type `e`): the script of its class removes the package's part.
    SharedEditable,
    MountPoint,
}

impl RemovalPortion {
    /// Returns the input of the class script: without shared paths, unless they are meant to be edited.
    pub fn listed(&self) -> impl Iterator<Item = &ObjectPath> {
        self.objects.iter().filter(|going| going.fate != Fate::Shared).map(|going| &going.path)
    }
}

fn owned_classes<'i>(package: &PkgInst, inventory: &'i Inventory) -> BTreeSet<&'i str> {
    owned(package, inventory).map(|(_, _, class)| class).collect()
}

fn portions(package: &PkgInst, inventory: &Inventory, scripts: &RemoveScripts) -> Vec<RemovalPortion> {
    let mut order: Vec<String> = match inventory.packages.get(package) {
        Some(installed) => classes(&installed.params).into_iter().rev().collect(),
        None => Vec::new(),
    };
    let mut own: BTreeMap<ObjectPath, usize> = BTreeMap::new();
    let places = order.iter().enumerate().rev().map(|(at, class)| (class.clone(), at));
    let mut places: HashMap<String, usize> = places.collect();
    for (path, _, class) in owned(package, inventory) {
        let at = places.get(class).copied().unwrap_or_else(|| {
            places.insert(class.to_owned(), order.len());
            order.push(class.to_owned());
            order.len() - 1
        });
        own.insert(path.clone(), at);
    }
    let mut portions: Vec<RemovalPortion> = order
        .into_iter()
        .map(|class| RemovalPortion {
            deliverer: scripts.classes.get(&class).copied(),
            class,
            objects: Vec::new(),
        })
        .collect();
    for (path, line, _) in owned(package, inventory).rev() {
        let own_turn = own.get(path).copied().unwrap_or_default();
        let by_script = |at: usize| portions.get(at).is_some_and(|portion| portion.deliverer.is_some());
        let turn = if line.object.ftype.is_directory() && !by_script(own_turn) {
            let inside = below(&own, path).filter_map(|inside| own.get(inside).copied());
            inside.chain([own_turn]).max().unwrap_or(own_turn)
        } else {
            own_turn
        };
        let turn = engine_turn(&mut portions, own_turn, turn);
        let going = GoingObject { path: path.clone(), fate: fate(package, line, inventory) };
        if let Some(portion) = portions.get_mut(turn) {
            portion.objects.push(going);
        }
    }
    portions
}

/// Returns the first turn from `turn` on at which the engine can remove a directory. Class scripts do not see
/// directories of other classes.
fn engine_turn(portions: &mut Vec<RemovalPortion>, own_turn: usize, turn: usize) -> usize {
    let is_fit = |(at, portion): &(usize, &RemovalPortion)| *at == own_turn || portion.deliverer.is_none();
    let found = portions.iter().enumerate().skip(turn).find(is_fit).map(|(at, _)| at);
    found.unwrap_or_else(|| {
        let class = portions.get(own_turn).map(|portion| portion.class.clone()).unwrap_or_default();
        portions.push(RemovalPortion { class, ..RemovalPortion::default() });
        portions.len() - 1
    })
}

fn fate(package: &PkgInst, line: &ContentsLine, inventory: &Inventory) -> Fate {
    let obstacle = inventory.live.get(&line.path).filter(|live| live.is_directory());
    let is_root = line.path.relative().is_empty();
    let is_native = obstacle.is_none() && inventory.foreign_owner(package, &line.path).is_some();
    match line.owners.len() {
        _ if is_native => Fate::Shared,
        2.. if line.object.ftype == patchadm_svr4::package::Ftype::Editable => Fate::SharedEditable,
        2.. => Fate::Shared,
        _ if is_root || obstacle.is_some_and(|live| live.obstacle.is_some()) => Fate::MountPoint,
        _ => Fate::Goes,
    }
}

pub(super) fn owned<'i>(
    package: &PkgInst,
    inventory: &'i Inventory,
) -> impl DoubleEndedIterator<Item = (&'i ObjectPath, &'i ContentsLine, &'i str)> {
    inventory.lines.iter().filter_map(move |(path, line)| {
        let owner = line.owners.iter().find(|owner| owner.package == *package)?;
        Some((path, line, owner.class.as_deref().unwrap_or(&line.object.class)))
    })
}
