//! The order of a course: the class of each change, and its place before or after the class script.

use std::collections::{BTreeMap, BTreeSet};

use super::steps::{ListedFile, MappedObject, Portion};
use crate::plan::plan_builder::{below, turns};
use crate::plan::scripts::InstallScripts;
use crate::plan::{Action, Body, Change, Plan};
use patchadm_inputs::inventory::Inventory;
use patchadm_svr4::package::ObjectPath;

/// Which change belongs to which place of the course: two for each class, before its script and after it.
pub(super) struct Order<'a> {
    pub(super) classes: Vec<String>,
    scripted: BTreeSet<&'a str>,
    mapped: BTreeMap<&'a ObjectPath, &'a MappedObject>,
    /// The changes by path.
    changes: BTreeMap<ObjectPath, &'a Change>,
}

impl<'a> Order<'a> {
    pub(super) fn new(
        classes: &[String],
        scripts: &'a InstallScripts,
        mapped: &'a [MappedObject],
        plan: &'a Plan,
    ) -> Self {
        Self {
            classes: classes.to_vec(),
            scripted: scripts.classes.keys().map(String::as_str).collect(),
            mapped: mapped.iter().map(|each| (&each.path, each)).collect(),
            changes: plan.changes.iter().map(|change| (change.path.clone(), &**change)).collect(),
        }
    }

    pub(super) fn has_objects(&self, class: &str) -> bool {
        self.mapped.values().any(|each| each.class == class)
    }

    fn class(&self, path: &ObjectPath) -> Option<usize> {
        let class = &self.mapped.get(path)?.class;
        self.classes.iter().position(|known| known == class)
    }

    /// Tells whether a script brings the object.
    fn is_listed(&self, change: &Change) -> bool {
        let delivered = matches!(
            &change.action,
            Action::Add(new) | Action::Replace(new) if matches!(new.body, Body::Member(_))
        );
        let scripted = |each: &&MappedObject| self.scripted.contains(each.class.as_str());
        delivered && self.mapped.get(&change.path).is_some_and(scripted)
    }

    /// Returns the files for the scripts to install, by class.
    pub(super) fn listed(&self, plan: &Plan, inventory: &Inventory) -> BTreeMap<String, Vec<ListedFile>> {
        let mut listed: BTreeMap<String, Vec<ListedFile>> = BTreeMap::new();
        for change in plan.changes.iter().filter(|change| self.is_listed(change)) {
            let (Action::Add(new) | Action::Replace(new)) = &change.action else { continue };
            let planned = plan.contents.get(&change.path).and_then(Option::as_deref);
            let Some(line) = planned.or_else(|| inventory.lines.get(&change.path)).cloned() else { continue };
            let class = line.object.class.to_string();
            let file = ListedFile { path: change.path.clone(), new: new.clone(), line };
            listed.entry(class).or_default().push(file);
        }
        listed
    }

    /// Returns the objects that go when everything else is done: no object of the package, and nothing that is in the way
    /// of one.
    pub(super) fn last(&self, plan: &Plan) -> Vec<Box<Change>> {
        plan.changes.iter().filter(|change| self.comes_last(change)).cloned().collect()
    }

    fn comes_last(&self, change: &Change) -> bool {
        let goes = matches!(change.action, Action::Delete | Action::RemoveDirectory);
        let in_turned = |above: &[u8]| self.changes.get(above).is_some_and(|change| turns(change));
        goes && !change.path.ancestors_bytes().any(in_turned)
    }

    /// Returns the place of a change.
    fn slot(&self, change: &Change) -> usize {
        let own = self.class(&change.path).map(|class| 2 * class);
        let (Action::Add(new) | Action::Replace(new)) = &change.action else {
            return own.unwrap_or_default();
        };
        match &new.body {
            Body::Directory => {
                // a directory comes with the first object in it
                let inner = below(&self.changes, &change.path).filter_map(|path| self.changes.get(path));
                let inner = inner.filter_map(|inner| {
                    if is_directory(inner) {
                        self.class(&inner.path).map(|class| 2 * class)
                    } else {
                        Some(self.slot(inner))
                    }
                });
                own.into_iter().chain(inner).min().unwrap_or_default()
            }
            Body::Link(source) => {
                let made =
                    self.changes.get(source).map(|made| self.slot(made) + usize::from(self.is_listed(made)));
                own.into_iter().chain(made).max().unwrap_or_default()
            }
            // the copy of an edited file is made with the file that comes in its place
            Body::CopyOf(path) => self.class(path).map(|class| 2 * class).or(own).unwrap_or_default(),
            _ => own.unwrap_or_default(),
        }
    }

    /// Returns the changes that the engine carries out, by place.
    pub(super) fn slots(&self, plan: &Plan) -> BTreeMap<usize, (Vec<Box<Change>>, Portion)> {
        let mut slots: BTreeMap<usize, (Vec<Box<Change>>, Portion)> = BTreeMap::new();
        let has_turn = |change: &Change| !self.is_listed(change) && !self.comes_last(change);
        for change in plan.changes.iter().filter(|change| has_turn(change)) {
            let (changes, portion) = slots.entry(self.slot(change)).or_default();
            let is_link = matches!(
                &change.action,
                Action::Add(new) | Action::Replace(new) if matches!(new.body, Body::Link(_))
            );
            let paths = if is_link { &mut portion.links } else { &mut portion.paths };
            paths.push(change.path.clone());
            changes.push(change.clone());
        }
        slots
    }
}

fn is_directory(change: &Change) -> bool {
    matches!(
        &change.action,
        Action::Add(new) | Action::Replace(new) if matches!(new.body, Body::Directory)
    )
}
