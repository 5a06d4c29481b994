//! The names of files with several of them, numbered as manifests have them: before a patch and after it.

use std::collections::{BTreeMap, BTreeSet};

use super::made_anew::is_made_anew;
use crate::plan::plan_builder::PlanBuilder;
use crate::plan::{Action, Body};
use patchadm_changeset::format::manifest::ObjectRecord;
use patchadm_rootfs::{Inode, Live};
use patchadm_svr4::package::{Ftype, ObjectPath};

/// The live objects that have several names, each by one path: one place under two paths (there is a link above it) is
/// one name, and goes by the path that the patch changes, else by one that it does not turn elsewhere, which is there when
/// the patch is backed out, else by the one that the patch or a record has.
fn one_path_each<'a>(
    draft: &PlanBuilder<'a>,
    paths: &BTreeSet<ObjectPath>,
) -> impl Iterator<Item = (&'a ObjectPath, &'a Live)> {
    let inventory = draft.inventory;
    let turns = |above: &[u8]| {
        let change = draft.changes.get(above);
        change.is_some_and(|change| !matches!(change.action, Action::Attributes(_)))
    };
    let rank = |path: &ObjectPath| {
        let leads_elsewhere = path.ancestors_bytes().any(turns);
        let is_changed = draft.changes.contains_key(path);
        (is_changed, !leads_elsewhere, paths.contains(path), inventory.lines.contains_key(path))
    };
    let mut places: BTreeMap<&ObjectPath, (&ObjectPath, &Live)> = BTreeMap::new();
    for (path, live) in inventory.objects_with_names() {
        let place = inventory.physical.get(path).unwrap_or(path);
        let known = places.entry(place).or_insert((path, live));
        if rank(path) > rank(known.0) {
            *known = (path, live);
        }
    }
    places.into_values()
}

/// The names that are one file before the patch, where at least two of them are known.
#[derive(Debug, Default)]
pub(super) struct LinkGroups {
    /// Each name with the number of its group.
    numbers: BTreeMap<ObjectPath, u32>,
    /// For each group the name that carries the content.
    first: BTreeMap<u32, ObjectPath>,
    /// The groups that the patch makes, by the file that the others are linked to.
    after: BTreeMap<ObjectPath, u32>,
    /// The links that the patch makes, and the file that each is linked to.
    links: BTreeMap<ObjectPath, ObjectPath>,
}

impl LinkGroups {
    pub(super) fn of(draft: &PlanBuilder<'_>, paths: &BTreeSet<ObjectPath>) -> Self {
        let inventory = draft.inventory;
        let key = |path: &ObjectPath, live: &Live| -> (Option<usize>, Inode) {
            (inventory.on.get(path).copied(), live.inode)
        };
        let mut names: BTreeMap<_, Vec<&ObjectPath>> = BTreeMap::new();
        for (path, live) in one_path_each(draft, paths) {
            names.entry(key(path, live)).or_default().push(path);
        }
        let mut groups = Self::default();
        let mut next = 0;
        for names in names.into_values().filter(|names| names.len() > 1) {
            if !names.iter().any(|path| paths.contains(*path) && draft.changes.contains_key(*path)) {
                continue;
            }
            next += 1;
            let is_link = |path: &ObjectPath| {
                inventory.lines.get(path).is_some_and(|line| line.object.ftype == Ftype::Link)
            };
            let changed: Vec<&&ObjectPath> =
                names.iter().filter(|path| draft.changes.contains_key(**path)).collect();
            // The content of a name that stays in its place is not saved.
            let rank = |path: &&&&ObjectPath| (!is_made_anew(draft, path), is_link(path));
            let carrier = changed.iter().min_by_key(rank);
            if let Some(carrier) = carrier {
                groups.first.insert(next, (**carrier).clone());
            }
            groups.numbers.extend(names.into_iter().map(|path| (path.clone(), next)));
        }
        for change in draft.changes.values() {
            if let Action::Add(new) | Action::Replace(new) = &change.action
                && let Body::Link(source) = &new.body
            {
                next += u32::from(!groups.after.contains_key(source));
                groups.after.entry(source.clone()).or_insert(next);
                groups.links.insert(change.path.clone(), source.clone());
            }
        }
        groups
    }

    /// The group of a path after the patch.
    fn number_after(&self, path: &ObjectPath) -> Option<u32> {
        self.after.get(self.links.get(path).unwrap_or(path)).copied()
    }

    /// Writes down which names are one file, before and after.
    pub(super) fn number_states(&self, record: &mut ObjectRecord, path: &ObjectPath, is_made_anew: bool) {
        if let Some(was) = &mut record.was {
            was.group = self.number(path);
        }
        if let Some(became) = &mut record.became {
            became.group = if is_made_anew { self.number_after(path) } else { self.number(path) };
        }
    }

    fn number(&self, path: &ObjectPath) -> Option<u32> {
        self.numbers.get(path).copied()
    }

    /// The name that carries the content of a path, where that is another one.
    pub(super) fn first_name(&self, path: &ObjectPath) -> Option<&ObjectPath> {
        self.first.get(&self.number(path)?).filter(|first| *first != path)
    }

    /// Names of the groups that the patch does not touch.
    pub(super) fn partners<'a>(
        &'a self,
        paths: &'a BTreeSet<ObjectPath>,
    ) -> impl Iterator<Item = &'a ObjectPath> {
        self.numbers.keys().filter(|path| !paths.contains(*path))
    }
}
