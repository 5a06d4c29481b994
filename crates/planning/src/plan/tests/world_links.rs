//! Symbolic links in a root in memory, followed as a survey follows them.
//!
//! Objects are stored under their places on the disk. While a plan is made and carried out, the paths beyond
//! links are added, each with the object at its place.

use std::collections::{BTreeMap, BTreeSet};

use super::parcel::Parcel;
use super::path;
use super::world::World;
use crate::plan::{Action, Body, Plan};
use patchadm_changeset::format::manifest::ObjectRecord;
use patchadm_inputs::inventory::LinkedDirectory;
use patchadm_rootfs::LiveKind;
use patchadm_svr4::package::ObjectPath;

impl World {
    /// A root in which links lead somewhere.
    pub(super) fn following_links(mut self) -> Self {
        self.follows_links = true;
        self
    }

    /// Adds what a survey for a patch finds beyond links.
    pub(super) fn look_beyond_links(&mut self, parcel: Option<&Parcel>) {
        if !self.follows_links {
            return;
        }
        self.forget_beyond_links();
        let mut places = BTreeMap::new();
        for at in self.surveyed(parcel) {
            let place = self.place_of(&at);
            for beside in self.kept_beside(&place).filter(|_| at != place) {
                places.insert(at.parent().unwrap().join(beside.name()).unwrap(), beside);
            }
            places.insert(at, place);
        }
        let mut directories = BTreeMap::new();
        for (at, live) in &self.inventory.live {
            let behind = self.place_of(&at.join(b"x").unwrap()).parent().unwrap();
            let is_link = matches!(live.kind, LiveKind::Symlink(_));
            if let Some(live) = self.inventory.live.get(&behind).filter(|live| is_link && live.is_directory())
            {
                let (mode, uid, gid) = (live.mode, live.uid, live.gid);
                directories.insert(at.clone(), LinkedDirectory { path: behind, mode, uid, gid });
            }
        }
        for (at, place) in places.iter().filter(|(at, place)| at != place) {
            if let Some(live) = self.inventory.live.get(place).cloned() {
                self.inventory.live.insert(at.clone(), live);
            }
            if let Some(bytes) = self.bytes.get(place).cloned() {
                self.bytes.insert(at.clone(), bytes);
            }
        }
        self.inventory.physical = places;
        self.inventory.linked_directories = directories;
    }

    /// Returns the place of a path after following the links among its parents, as `path_resolution(7)` says; the path
    /// as it is written if the links form a circle.
    fn place_of(&self, path: &ObjectPath) -> ObjectPath {
        let names = |text: &[u8]| -> Vec<Vec<u8>> {
            let names = text.split(|byte| *byte == b'/').rev();
            names.filter(|name| !name.is_empty() && *name != b".").map(<[u8]>::to_vec).collect()
        };
        let directory = path.parent().unwrap_or_else(ObjectPath::root);
        // The names still to go, the next one last.
        let (mut left, mut here, mut links) = (names(directory.as_bytes()), ObjectPath::root(), 0);
        while let Some(name) = left.pop() {
            let above = here.clone();
            here = match &name[..] {
                b".." => here.parent().unwrap_or_else(ObjectPath::root),
                name => here.join(name).unwrap(),
            };
            let Some(LiveKind::Symlink(target)) = self.inventory.live.get(&here).map(|live| &live.kind)
            else {
                continue;
            };
            links += 1;
            if links > 40 {
                return path.clone();
            }
            left.extend(names(target));
            here = if target.starts_with(b"/") { ObjectPath::root() } else { above };
        }
        if path.parent().is_some() { here.join(path.name()).unwrap() } else { here }
    }

    /// Removes the added paths beyond links.
    pub(super) fn forget_beyond_links(&mut self) {
        for (at, place) in std::mem::take(&mut self.inventory.physical) {
            if at != place {
                self.inventory.live.remove(&at);
                self.bytes.remove(&at);
            }
        }
        self.inventory.linked_directories.clear();
    }

    /// Moves what a plan did to paths beyond links to the places of these: all places as they were `before`
    /// it.
    pub(super) fn move_beyond_links(
        &mut self,
        plan: &Plan,
        before: &Self,
    ) -> BTreeMap<ObjectPath, ObjectPath> {
        let mut places = std::mem::take(&mut self.inventory.physical);
        // No survey has looked at the names beside edited files.
        for change in plan.changes.iter().filter(|_| self.follows_links) {
            places.entry(change.path.clone()).or_insert_with(|| before.place_of(&change.path));
        }
        for at in places.iter().filter(|(at, place)| at != place).map(|(at, _)| at) {
            let (live, bytes) = (self.inventory.live.remove(at), self.bytes.remove(at));
            if plan.changes.iter().any(|change| change.path == *at) {
                let place = place_after(plan, &places, at);
                self.inventory.live.remove(&place);
                self.bytes.remove(&place);
                self.inventory.live.extend(live.map(|live| (place.clone(), live)));
                self.bytes.extend(bytes.map(|bytes| (place, bytes)));
            }
        }
        self.inventory.linked_directories.clear();
        places
    }

    /// Returns the files that runs have kept beside an object.
    fn kept_beside(&self, place: &ObjectPath) -> impl Iterator<Item = ObjectPath> {
        let names = [".edited-", ".patch-"].map(|infix| [place.as_bytes(), infix.as_bytes()].concat());
        let is_beside = move |at: &&ObjectPath| names.iter().any(|name| at.as_bytes().starts_with(name));
        self.inventory.live.keys().filter(is_beside).cloned()
    }

    /// Returns the paths that a survey looks at, with those above them.
    fn surveyed(&self, parcel: Option<&Parcel>) -> BTreeSet<ObjectPath> {
        let mut all: BTreeSet<ObjectPath> = self.inventory.live.keys().cloned().collect();
        all.extend(self.inventory.lines.keys().cloned());
        let records = self.archives.values().flat_map(|stored| &stored.manifest.objects);
        all.extend(records.filter_map(ObjectRecord::object_path));
        for package in parcel.into_iter().flat_map(|parcel| &parcel.image.packages) {
            let basedir = path(package.params.text("BASEDIR").as_ref());
            let paths = package.pkgmap.entries.iter().map(|entry| &entry.path).chain(&package.deletes);
            all.extend(paths.filter_map(|at| at.resolve(&basedir, |_| None).ok()));
        }
        let above: Vec<ObjectPath> = all.iter().flat_map(ObjectPath::ancestors).collect();
        all.extend(above);
        all
    }

    /// Moves a directory away and puts a link in its place, as an administrator does who needs room.
    pub(super) fn move_away(&mut self, from: &ObjectPath, to: &ObjectPath) {
        let within = |at: &ObjectPath| at == from || at.is_below(from);
        let moved = |at: &ObjectPath| {
            let rest = at.as_bytes().get(from.as_bytes().len() + 1..);
            rest.map_or_else(|| to.clone(), |rest| to.join(rest).unwrap())
        };
        let live: Vec<ObjectPath> = self.inventory.live.keys().filter(|at| within(at)).cloned().collect();
        for at in live {
            let object = self.inventory.live.remove(&at).unwrap();
            self.inventory.live.insert(moved(&at), object);
            if let Some(bytes) = self.bytes.remove(&at) {
                self.bytes.insert(moved(&at), bytes);
            }
        }
        self.put(&from.to_string(), LiveKind::Symlink(to.as_bytes().to_vec()), 0o777);
    }
}

/// Returns where a path is once a plan has put directories in the places of links above it.
pub(super) fn place_after(
    plan: &Plan,
    places: &BTreeMap<ObjectPath, ObjectPath>,
    at: &ObjectPath,
) -> ObjectPath {
    let is_new = |above: &ObjectPath| {
        plan.changes.iter().any(|change| match &change.action {
            Action::Add(new) | Action::Replace(new) => {
                change.path == *above && matches!(new.body, Body::Directory)
            }
            _ => false,
        })
    };
    let mut above = at.ancestors();
    match above.find(is_new) {
        Some(directory) => {
            let rest = &at.as_bytes()[directory.as_bytes().len() + 1..];
            place_after(plan, places, &directory).join(rest).unwrap()
        }
        None => places.get(at).unwrap_or(at).clone(),
    }
}
