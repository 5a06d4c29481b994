//! The order in which the objects of a package go: class by class, in reverse order of CLASSES, then the classes that
//! it does not name. In each class the paths go in reverse order of `contents`, so that the contents of a directory go
//! before it (pkgrm(1M)).
//!
//! A directory of a class without script waits for the last class that has anything in it. Otherwise it would not be
//! empty when its turn comes, and stay.

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::plan_builder::below;
use crate::plan::scripts::{Deliverer, RemoveScripts};
use crate::plan::target::classes;
use patchadm_inputs::inventory::Inventory;
use patchadm_svr4::package::{ContentsLine, ObjectPath, PkgInst};

/// The objects of one class that go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemovalPortion {
    /// The class.
    pub class: String,
    /// The provider of the script that removes its objects; none if the engine removes them.
    pub deliverer: Option<Deliverer>,
    /// Its objects, in the order in which they go.
    pub objects: Vec<GoingObject>,
}

/// An object that a package owns and gives up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoingObject {
    /// Its path.
    pub path: ObjectPath,
    /// Its outcome.
    pub fate: Fate,
}

/// The outcome for an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes; a directory only if it is empty by then.
    Goes,
    /// It stays, because other packages own it too, or a package of dpkg or rpm does.
    Shared,
    /// The same, but it is meant to be edited (type `e`): the script of its class takes out the package's part.
    SharedEditable,
    /// It stays: something is mounted there.
    MountPoint,
}

impl RemovalPortion {
    /// Returns the input of the class script: all paths except those that other packages own too, unless the type is
    /// meant to be edited.
    pub fn listed(&self) -> impl Iterator<Item = &ObjectPath> {
        self.objects.iter().filter(|going| going.fate != Fate::Shared).map(|going| &going.path)
    }
}

/// Returns the classes in which a package owns objects.
pub(super) fn owned_classes<'i>(package: &PkgInst, inventory: &'i Inventory) -> BTreeSet<&'i str> {
    owned(package, inventory).map(|(_, _, class)| class).collect()
}

/// Returns the portions of a package, from the first that goes to the last.
pub(super) fn portions(
    package: &PkgInst,
    inventory: &Inventory,
    scripts: &RemoveScripts,
) -> Vec<RemovalPortion> {
    let mut order: Vec<String> = match inventory.packages.get(package) {
        Some(installed) => classes(&installed.params).into_iter().rev().collect(),
        None => Vec::new(),
    };
    let mut own: BTreeMap<ObjectPath, usize> = BTreeMap::new();
    for (path, _, class) in owned(package, inventory) {
        let at = order.iter().position(|known| known == class).unwrap_or_else(|| {
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

/// Returns the first turn from `turn` on at which the engine can remove a directory of the class of `own_turn`: the
/// script of another class is not told of it.
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

/// Returns the lines of a package, each with the class under which the package owns it.
pub(in crate::plan::package) fn owned<'i>(
    package: &PkgInst,
    inventory: &'i Inventory,
) -> impl DoubleEndedIterator<Item = (&'i ObjectPath, &'i ContentsLine, &'i str)> {
    inventory.lines.iter().filter_map(move |(path, line)| {
        let owner = line.owners.iter().find(|owner| owner.package == *package)?;
        Some((path, line, owner.class.as_deref().unwrap_or(&line.object.class)))
    })
}
