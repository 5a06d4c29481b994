//! A plan under construction. Guarantees: no path occurs twice, and no two paths are one place. No path leads through a
//! link of the same run, or below an object that is not a directory. No change affects an object that no rename may
//! touch, that only root can make, or that another package of dpkg or rpm owns. `placing` decides about one object,
//! `links` about hard links.

use std::collections::{BTreeMap, BTreeSet};

use patchadm_inputs::inventory::Inventory;
use patchadm_inputs::native::{NativeOwner, differing_of};
use patchadm_rootfs::{Live, LiveKind, Timestamp};
use patchadm_svr4::package::{
    ContentsLine, Ftype, Mode, Object, ObjectAttributes, ObjectPath, OwningPackage, PkgInst,
};
use patchadm_svr4::places;

use super::local_attributes::{LocalAttributes, Resolved};
use super::refusal::{ObjectProblem, Reason};
use super::{Action, AttributeChange, Body, Change, Merge, NewObject, NewXattrs};

/// Placeholder for an account that a script may create.
pub(super) const UNKNOWN: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct PlanBuilder<'a> {
    pub(super) inventory: &'a Inventory,
    pub(super) changes: BTreeMap<ObjectPath, Box<Change>>,
    pub(super) lines: BTreeMap<ObjectPath, (PkgInst, Option<Box<ContentsLine>>)>,
    pub(super) kept: BTreeSet<ObjectPath>,
    /// Directories of classes that are not installed, as the package declares them.
    pub(super) declared: BTreeMap<ObjectPath, Object>,
    pub(super) merges: Vec<Merge>,
    pub(super) replaced_edits: Vec<ObjectPath>,
    pub(super) yielding: BTreeSet<ObjectPath>,
    /// Override the delivered ones.
    pub(super) local: BTreeMap<ObjectPath, LocalAttributes>,
    pub(super) notes: Vec<String>,
    /// Unknown owners get their numbers after the script has run (see `refresh`).
    pub(super) accounts_may_come: bool,
    pub(super) native_rule: NativeRule,
    pub(super) left_out: BTreeSet<ObjectPath>,
    recorded_only: BTreeSet<String>,
    claims: BTreeMap<ObjectPath, (ObjectPath, PkgInst)>,
    new_directories: BTreeSet<ObjectPath>,
    /// Cache: the directory that was checked last, and its place.
    open_directory: Option<(ObjectPath, ObjectPath)>,
}

impl<'a> PlanBuilder<'a> {
    pub(super) fn new(inventory: &'a Inventory) -> Self {
        Self {
            inventory,
            changes: BTreeMap::new(),
            lines: BTreeMap::new(),
            kept: BTreeSet::new(),
            declared: BTreeMap::new(),
            merges: Vec::new(),
            replaced_edits: Vec::new(),
            yielding: BTreeSet::new(),
            local: BTreeMap::new(),
            notes: Vec::new(),
            accounts_may_come: false,
            native_rule: NativeRule::default(),
            left_out: BTreeSet::new(),
            recorded_only: BTreeSet::new(),
            claims: BTreeMap::new(),
            new_directories: BTreeSet::new(),
            open_directory: None,
        }
    }

    pub(super) fn old(&self, path: &ObjectPath) -> Option<&'a Live> {
        if self.is_below_new_directory(path) { None } else { self.inventory.live.get(path) }
    }

    pub(super) fn line(&self, path: &ObjectPath) -> Option<&ContentsLine> {
        match self.lines.get(path) {
            Some((_, line)) => line.as_deref(),
            None => self.inventory.lines.get(path),
        }
    }

    pub(super) fn set_line(&mut self, package: &PkgInst, path: &ObjectPath, line: Option<ContentsLine>) {
        if self.line(path) != line.as_ref() {
            self.lines.insert(path.clone(), (package.clone(), line.map(Box::new)));
        }
    }

    pub(super) fn record(&mut self, package: &PkgInst, path: &ObjectPath, object: Object) {
        let mut line = self.line(path).cloned().unwrap_or_else(|| ContentsLine {
            path: path.clone(),
            volume: None,
            object: object.clone(),
            owners: Vec::with_capacity(1),
        });
        line.object = object;
        let known = line.owners.iter().position(|owner| owner.package == *package);
        let owner =
            known.map_or_else(|| OwningPackage::new(package.clone()), |place| line.owners.remove(place));
        line.owners.push(OwningPackage { status: None, ..owner });
        self.set_line(package, path, Some(line));
    }

    pub(super) fn change(&mut self, package: &PkgInst, path: &ObjectPath, action: Action) {
        let old = self.old(path).cloned().map(Box::new);
        match &action {
            Action::Replace(new) if matches!(new.body, Body::Directory) => {
                self.new_directories.insert(path.clone());
            }
            _ => {
                self.new_directories.remove(path);
            }
        }
        let is_on_way = |directory: &ObjectPath| directory == path || directory.is_below(path);
        self.open_directory.take_if(|(above, place)| is_on_way(above) || is_on_way(place));
        let change = Change { package: package.clone(), path: path.clone(), action, old };
        self.changes.insert(path.clone(), Box::new(change));
    }

    /// A recreated object must not show its write time: the undo archive of a later patch would record it. Directories
    /// keep no time.
    pub(super) fn date(&mut self, when: Timestamp) {
        for change in self.changes.values_mut() {
            if let Action::Add(new) | Action::Replace(new) = &mut change.action
                && !matches!(new.body, Body::Directory | Body::Link(_))
            {
                new.mtime.get_or_insert(when);
            }
        }
    }

    /// Returns the package that claimed the same path before.
    pub(super) fn claim(
        &mut self,
        package: &PkgInst,
        path: &ObjectPath,
    ) -> Result<Option<PkgInst>, ObjectProblem> {
        let place = self.place_of(path);
        match self.claims.get(&place) {
            None => {
                self.claims.insert(place, (path.clone(), package.clone()));
                Ok(None)
            }
            Some((other, first)) if other == path => Ok(Some(first.clone())),
            Some((other, _)) => Err(ObjectProblem::SamePlace(other.clone())),
        }
    }

    /// Missing directories are created with 0755 root root and recorded, as by pkgadd(1M).
    pub(super) fn open_way(&mut self, package: &PkgInst, path: &ObjectPath) -> Result<(), ObjectProblem> {
        let place = self.place_of(path);
        let is_open = |(open, at): &(ObjectPath, ObjectPath)| {
            [path, &place].map(ObjectPath::parent_bytes) == [open, at].map(|path| Some(path.as_bytes()))
        };
        if self.open_directory.as_ref().is_some_and(is_open) {
            return Ok(());
        }
        for above in path.ancestors_bytes().chain(place.ancestors_bytes()) {
            self.check_planned_directory(above)?;
        }
        let mut missing = Vec::new();
        for (above, real) in path.ancestors().zip(place.ancestors()) {
            if above.relative().is_empty() || self.becomes_directory(&above) {
                break;
            }
            match self.old(&real) {
                Some(live) if live.is_directory() => {
                    if let Some(obstacle) = live.obstacle.filter(|word| !word.contains("mount")) {
                        return Err(ObjectProblem::Obstacle { at: real, obstacle });
                    }
                    break;
                }
                Some(_) if self.yielding.contains(&above) => missing.push(above),
                Some(_) => return Err(ObjectProblem::NotADirectory(real)),
                // A link without a target: its target must not be created somewhere else.
                None if self.old(&above).is_some() => return Err(ObjectProblem::LeadsNowhere(above)),
                None => missing.push(above),
            }
        }
        for directory in missing.iter().rev() {
            self.imply(package, directory);
        }
        self.open_directory = path.parent().zip(place.parent());
        Ok(())
    }

    pub(super) fn check_reserved(&self, path: &ObjectPath) -> Result<(), ObjectProblem> {
        refuse_reserved(path, &self.place_of(path))
    }

    pub(super) fn is_setting(&self, path: &ObjectPath) -> bool {
        matches!(self.check_reserved(path), Err(ObjectProblem::Settings))
    }

    pub(super) fn check_obstacle(&self, path: &ObjectPath) -> Result<(), ObjectProblem> {
        match self.old(path).and_then(|live| live.obstacle) {
            Some(obstacle) => Err(ObjectProblem::Obstacle { at: path.clone(), obstacle }),
            None => Ok(()),
        }
    }

    /// A `?` takes the value of the existing object, else 0755 or 0644, root, root. Such owners stay `?` in the
    /// records, as with pkgadd(1M). Owners that cannot be set are only recorded.
    pub(super) fn resolve(&mut self, object: &Object, old: Option<&Live>) -> Result<Resolved, ObjectProblem> {
        let accounts = &self.inventory.accounts;
        let same_kind = old.filter(|live| live.is_directory() == object.ftype.is_directory());
        let usual = if object.ftype.is_directory() { 0o755 } else { 0o644 };
        let mode = object.attributes.mode.or(same_kind.map(|live| live.mode)).unwrap_or(Mode::of(usual));
        let owner = object.attributes.owner.clone();
        let owner = owner.or_else(|| same_kind.map(|live| accounts.user(live.uid)));
        let group = object.attributes.group.clone();
        let group = group.or_else(|| same_kind.map(|live| accounts.group(live.gid)));
        let recorded = ObjectAttributes { mode: Some(mode), owner: owner.clone(), group: group.clone() };
        let [owner, group] = [&owner, &group].map(|name| name.as_deref().unwrap_or("root"));
        let (uid, gid) = (accounts.uid(owner), accounts.gid(group));
        if self.inventory.privileged {
            let later = self.accounts_may_come.then_some(UNKNOWN);
            let uid = uid.or(later).ok_or_else(|| ObjectProblem::UnknownUser(owner.to_owned()))?;
            let gid = gid.or(later).ok_or_else(|| ObjectProblem::UnknownGroup(group.to_owned()))?;
            return Ok(Resolved { mode, uid, gid, recorded });
        }
        let caller = self.inventory.caller;
        check_mode(mode, (uid, gid), object.ftype.is_directory(), caller)?;
        let asked = [&object.attributes.owner, &object.attributes.group];
        for (name, number, own) in [(asked[0], uid, caller.0), (asked[1], gid, caller.1)] {
            if number != Some(own) {
                self.recorded_only.extend(name.as_ref().map(ToString::to_string));
            }
        }
        Ok(Resolved { mode, uid: caller.0, gid: caller.1, recorded })
    }

    /// Checks the plan as a whole. No place may be claimed afterwards.
    pub(super) fn finish(&mut self) -> Result<(), Reason> {
        self.check_ways()?;
        self.claims = BTreeMap::new();
        let unreadable = self.inventory.native_owners.unreadable();
        if !self.changes.is_empty() {
            self.notes.extend(unreadable.iter().cloned());
        }
        self.check_native_owners()?;
        for change in self.changes.values() {
            self.check_ownership(change).map_err(|problem| refuse(&change.path, &change.package, problem))?;
            self.check_link(change).map_err(|problem| refuse(&change.path, &change.package, problem))?;
            if let Some(held) = turns(change).then(|| self.first_held(&change.path)).flatten() {
                return Err(refuse(&change.path, &change.package, ObjectProblem::NotEmpty(held)));
            }
        }
        for path in self.full_directories() {
            self.changes.remove(&path);
            let shown = self.inventory.show(&path);
            self.notes.push(match self.inventory.native_owners.of(&path).first() {
                Some(owner) => format!("{shown} stays: it belongs to {}", owner.with_manager()),
                None => format!("{shown} stays: it contains recorded objects"),
            });
        }
        if !self.recorded_only.is_empty() {
            let names: Vec<&str> = self.recorded_only.iter().map(String::as_str).collect();
            self.notes.push(format!("owners and groups that are recorded but not set: {}", names.join(", ")));
        }
        Ok(())
    }

    /// Links are planned last and may have taken a place above an object that is made or delivered. A delivered object
    /// may need no change.
    fn check_ways(&self) -> Result<(), Reason> {
        let made = self.changes.values().filter(|change| is_new(change));
        let made = made.map(|change| (&change.path, &change.package, true));
        let claimed = self.claims.values().map(|(path, package)| (path, package, false));
        let mut open = None;
        for (path, package, is_made) in made.chain(claimed) {
            let directory = path.parent_bytes();
            // A claimed object without a line leaves.
            if open == directory || !(is_made || self.line(path).is_some()) {
                continue;
            }
            let mut above = path.ancestors_bytes();
            above
                .try_for_each(|above| self.check_planned_directory(above))
                .map_err(|problem| refuse(path, package, problem))?;
            open = directory;
        }
        Ok(())
    }

    fn check_link(&self, change: &Change) -> Result<(), ObjectProblem> {
        let (Action::Add(new) | Action::Replace(new)) = &change.action else { return Ok(()) };
        let Body::Link(source) = &new.body else { return Ok(()) };
        if self.file_system_of(source) == self.file_system_of(&change.path) {
            return Ok(());
        }
        Err(ObjectProblem::LinkAcross(source.clone()))
    }

    fn file_system_of(&self, path: &ObjectPath) -> usize {
        // Paths below a new directory are in that directory, not at the target of an old link in its place.
        let new = path.ancestors_bytes().filter_map(|above| self.new_directories.get(above)).last();
        self.inventory.file_system_of(new.unwrap_or(path))
    }

    pub(super) fn free_name(&self, path: &ObjectPath, suffix: &str) -> Result<ObjectPath, ObjectProblem> {
        let mut number = 1u32;
        loop {
            let mut name = path.as_bytes().to_vec();
            name.extend_from_slice(format!(".{suffix}").as_bytes());
            if number > 1 {
                name.extend_from_slice(format!(".{number}").as_bytes());
            }
            let name = ObjectPath::new(&name).map_err(|error| ObjectProblem::BadPath(error.to_string()))?;
            if !self.inventory.live.contains_key(&name) && !self.changes.contains_key(&name) {
                return Ok(name);
            }
            number += 1;
        }
    }

    fn place_of(&self, path: &ObjectPath) -> ObjectPath {
        if self.is_below_new_directory(path) {
            return path.clone();
        }
        let place = self.inventory.physical.get(path).cloned();
        place.or_else(|| self.place_in_directory(path)).unwrap_or_else(|| path.clone())
    }

    /// Uses the place of a known object in the same directory.
    fn place_in_directory(&self, path: &ObjectPath) -> Option<ObjectPath> {
        let directory = path.parent()?;
        // Deeper paths sort after the directory that holds them.
        let beside = below(&self.inventory.physical, &directory).next()?;
        let place = self.inventory.physical.get(beside)?.parent()?;
        if beside.parent()? == directory { place.join(path.name()).ok() } else { None }
    }

    fn is_below_new_directory(&self, path: &ObjectPath) -> bool {
        !self.new_directories.is_empty()
            && path.ancestors_bytes().any(|above| self.new_directories.contains(above))
    }

    fn becomes_directory(&self, path: &ObjectPath) -> bool {
        self.changes.get(path).is_some_and(|change| {
            matches!(&change.action, Action::Add(new) | Action::Replace(new) if matches!(new.body, Body::Directory))
        })
    }

    fn check_planned_directory(&self, above: &[u8]) -> Result<(), ObjectProblem> {
        let Some(change) = self.changes.get(above) else { return Ok(()) };
        match &change.action {
            Action::Add(new) | Action::Replace(new) => match new.body {
                Body::Directory => Ok(()),
                Body::Symlink(_) => Err(ObjectProblem::ThroughOwnLink(change.path.clone())),
                _ => Err(ObjectProblem::NotADirectory(change.path.clone())),
            },
            _ => Ok(()),
        }
    }

    fn imply(&mut self, package: &PkgInst, directory: &ObjectPath) {
        let mut object = Object::new(Ftype::Directory, "none");
        let (mut uid, mut gid) = if self.inventory.privileged { (0, 0) } else { self.inventory.caller };
        let mut mode = Mode::of(0o755);
        object.attributes =
            ObjectAttributes { mode: Some(mode), owner: Some("root".into()), group: Some("root".into()) };
        let declared = self.declared.get(directory).cloned();
        if let Some((declared, Ok(resolved))) = declared.map(|object| {
            let resolved = self.resolve(&object, None);
            (object, resolved)
        }) {
            (mode, uid, gid) = (resolved.mode, resolved.uid, resolved.gid);
            object = Object { attributes: resolved.recorded, ..declared };
        }
        let new =
            NewObject { body: Body::Directory, mode, uid, gid, mtime: None, xattrs: NewXattrs::Inherited };
        let is_there = self.old(directory).is_some();
        let action = if is_there { Action::Replace(new) } else { Action::Add(new) };
        self.change(package, directory, action);
        self.record(package, directory, object);
    }

    fn first_held(&self, directory: &ObjectPath) -> Option<ObjectPath> {
        let goes = |path: &ObjectPath| {
            let action = self.changes.get(path).map(|change| &change.action);
            matches!(action, Some(Action::Delete | Action::RemoveDirectory))
        };
        let held = below(&self.inventory.live, directory).find(|path| !goes(path)).cloned();
        held.or_else(|| self.first_recorded(directory))
    }

    /// Only patches keep the directory, because the native manager left it out.
    fn is_left_out(&self, package: &PkgInst, directory: &ObjectPath) -> bool {
        let was_absent = || {
            let installed = self.inventory.packages.get(package);
            installed.is_some_and(|installed| differing_of(&installed.params).contains(directory))
        };
        self.inventory.foreign_owner(package, directory).is_none()
            && (self.left_out.contains(directory) || was_absent())
    }

    /// Includes directories that receive objects through a link. Recorded objects that no longer exist do not count.
    fn full_directories(&self) -> BTreeSet<ObjectPath> {
        let mut full = BTreeSet::new();
        if !self.changes.values().any(|change| matches!(change.action, Action::RemoveDirectory)) {
            return full;
        }
        let new = self.changes.values().filter(|change| is_new(change));
        let places = new.map(|change| (self.place_of(&change.path), &change.path));
        let behind_links: BTreeMap<_, _> = places.filter(|(place, path)| place != *path).collect();
        for (directory, change) in self.changes.iter().rev() {
            if !matches!(change.action, Action::RemoveDirectory) {
                continue;
            }
            let is_gone = |path: &ObjectPath| match self.changes.get(path).map(|change| &change.action) {
                Some(Action::Delete) => true,
                Some(Action::RemoveDirectory) => !full.contains(path),
                Some(_) => false,
                None => self.inventory.physical.contains_key(path) && !self.inventory.live.contains_key(path),
            };
            let known = below(&self.inventory.lines, directory).chain(below(&self.lines, directory));
            let is_filled = below(&behind_links, &self.place_of(directory)).next().is_some()
                || !self.inventory.native_owners.of(directory).is_empty()
                    && !self.is_left_out(&change.package, directory);
            if is_filled || known.into_iter().any(|path| self.line(path).is_some() && !is_gone(path)) {
                full.insert(directory.clone());
            }
        }
        full
    }

    fn first_recorded(&self, directory: &ObjectPath) -> Option<ObjectPath> {
        let known = below(&self.inventory.lines, directory).chain(below(&self.lines, directory));
        known.into_iter().find(|path| self.line(path).is_some()).cloned()
    }
}

pub(super) fn below<'m, V>(
    map: &'m BTreeMap<ObjectPath, V>,
    directory: &ObjectPath,
) -> impl Iterator<Item = &'m ObjectPath> {
    let directory = directory.clone();
    let behind = map.range(directory.lowest_below()..).map(|(path, _)| path);
    behind.take_while(move |path| path.is_below(&directory))
}

fn is_new(change: &Change) -> bool {
    matches!(change.action, Action::Add(_) | Action::Replace(_))
}

fn refuse(path: &ObjectPath, package: &PkgInst, problem: ObjectProblem) -> Reason {
    Reason::Object { package: package.clone(), path: path.to_string(), problem }
}

pub(super) fn turns(change: &Change) -> bool {
    let is_other = matches!(&change.action, Action::Replace(new) if !matches!(new.body, Body::Directory));
    is_other && change.old.as_deref().is_some_and(Live::is_directory)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum NativeRule {
    #[default]
    Refuse,
    /// A package that was not adopted may change them: `conflict` of the admin file and the choice for edited files
    /// decide, and a note names the owner.
    Note,
}

impl<'a> PlanBuilder<'a> {
    fn check_native_owners(&mut self) -> Result<(), Reason> {
        let mut noted: BTreeMap<&NativeOwner, Vec<&ObjectPath>> = BTreeMap::new();
        for change in self.changes.values() {
            let owner = self
                .foreign_owner_of(change)
                .map_err(|problem| refuse(&change.path, &change.package, problem))?;
            if let Some(owner) = owner {
                noted.entry(owner).or_default().push(&change.path);
            }
        }
        let notes: Vec<String> = noted
            .iter()
            .map(|(owner, paths)| {
                let owner = owner.with_manager();
                match paths.as_slice() {
                    [first, _, ..] => {
                        let (first, more) = (self.inventory.show(first), paths.len() - 1);
                        format!("{first} and {more} more belong to {owner}")
                    }
                    paths => {
                        let paths: Vec<String> =
                            paths.iter().map(|path| self.inventory.show(path).to_string()).collect();
                        format!("{} belongs to {owner}", paths.join(", "))
                    }
                }
            })
            .collect();
        self.notes.extend(notes);
        Ok(())
    }

    /// Directories are shared, and none of a native package is removed (see `full_directories`).
    fn foreign_owner_of(&self, change: &Change) -> Result<Option<&'a NativeOwner>, ObjectProblem> {
        let is_directory = change.old.as_deref().is_none_or(Live::is_directory)
            && match &change.action {
                Action::Add(new) | Action::Replace(new) => matches!(new.body, Body::Directory),
                Action::RemoveDirectory => true,
                Action::Attributes(_) | Action::Delete => false,
            };
        if is_directory {
            return Ok(None);
        }
        let origin = self.inventory.native_origin(&change.package);
        if let Some(reason) = self.inventory.native_owners.unreadable().first().filter(|_| origin.is_some()) {
            return Err(ObjectProblem::OwnerUnknown(reason.clone()));
        }
        let is_in_place = matches!(change.action, Action::Attributes(_));
        let is_live_directory = change.old.as_deref().is_some_and(Live::is_directory);
        // A directory has the attributes of every package that owns it.
        let is_noted =
            origin.is_none() && (self.native_rule == NativeRule::Note || is_in_place && is_live_directory);
        if let Some(owner) = self.inventory.foreign_owner(&change.package, &change.path) {
            return if is_noted { Ok(Some(owner)) } else { Err(native_owner(owner)) };
        }
        let old = change.old.as_deref().filter(|_| is_in_place);
        match old.and_then(|old| self.inventory.foreign_name(&change.package, old)) {
            Some((_, owner)) if is_noted => Ok(Some(owner)),
            Some((name, owner)) => Err(ObjectProblem::NativeName {
                name: name.clone(),
                owner: owner.to_string(),
                manager: owner.origin.manager.name(),
            }),
            None => Ok(None),
        }
    }
}

pub(super) fn native_owner(owner: &NativeOwner) -> ObjectProblem {
    ObjectProblem::NativeOwner { owner: owner.to_string(), manager: owner.origin.manager.name() }
}

impl PlanBuilder<'_> {
    /// The owner of the directory could replace its contents at any moment, even if it is writable.
    fn check_ownership(&self, change: &Change) -> Result<(), ObjectProblem> {
        if self.inventory.privileged {
            return Ok(());
        }
        let directory = match change.action {
            Action::Attributes(_) => Some(change.path.clone()),
            _ => self.place_of(&change.path).parent(),
        };
        match directory.filter(|at| self.old(at).is_some_and(|live| live.uid != self.inventory.caller.0)) {
            Some(at) => Err(ObjectProblem::ForeignDirectory(at)),
            None => self.check_writable(change).and_then(|()| self.check_for_root(change)),
        }
    }

    fn check_for_root(&self, change: &Change) -> Result<(), ObjectProblem> {
        let caller = self.inventory.caller;
        match (&change.action, change.old.as_deref()) {
            (Action::Add(new) | Action::Replace(new), _) => {
                let source = match &new.body {
                    Body::Link(source) => self.old(source),
                    _ => None,
                };
                check_new(new, source, caller)
            }
            (Action::Attributes(new), Some(old)) => check_attributes(new, old, caller),
            _ => Ok(()),
        }
    }

    /// Only root can rename in a directory that its owner may not write to (rename(2)).
    fn check_writable(&self, change: &Change) -> Result<(), ObjectProblem> {
        let closed = |mode: Mode| mode.bits() & 0o300 != 0o300;
        let is_closed = |live: &Live| live.is_directory() && closed(live.mode);
        let refused = |at| Err(ObjectProblem::Obstacle { at, obstacle: "is not writable by its owner" });
        if let Action::Add(new) | Action::Replace(new) = &change.action
            && matches!(new.body, Body::Directory)
            && closed(new.mode)
            && !self.is_below_new_directory(&change.path)
        {
            return Err(ObjectProblem::NotPermitted("a directory that its owner cannot write to"));
        }
        if matches!(change.action, Action::Replace(_)) && change.old.as_deref().is_some_and(is_closed) {
            return refused(change.path.clone());
        }
        let parent = self.place_of(&change.path).parent();
        let above = parent.filter(|_| !matches!(change.action, Action::Attributes(_)));
        let becomes_closed = |at: &ObjectPath| match self.changes.get(at).map(|change| &change.action) {
            Some(Action::Attributes(new)) => new.mode.is_some_and(closed),
            _ => false,
        };
        match above {
            Some(at) if self.old(&at).is_some_and(is_closed) || becomes_closed(&at) => refused(at),
            _ => Ok(()),
        }
    }
}

// Only root can make devices, and programs that run as another user or group.

type Owner = (Option<u32>, Option<u32>);

fn check_new(new: &NewObject, source: Option<&Live>, caller: (u32, u32)) -> Result<(), ObjectProblem> {
    let is_device = matches!(new.body, Body::Device { .. })
        || source.is_some_and(|live| matches!(live.kind, LiveKind::Device { .. }) && live.uid != caller.0);
    if is_device {
        return Err(ObjectProblem::NotPermitted("a device"));
    }
    let is_directory = matches!(new.body, Body::Directory);
    check_mode(new.mode, (Some(new.uid), Some(new.gid)), is_directory, caller)
}

pub(super) fn check_attributes(
    new: &AttributeChange,
    old: &Live,
    caller: (u32, u32),
) -> Result<(), ObjectProblem> {
    let Some(mode) = new.mode else { return Ok(()) };
    let owner = (Some(new.uid.unwrap_or(old.uid)), Some(new.gid.unwrap_or(old.gid)));
    check_mode(mode, owner, old.is_directory(), caller)
}

fn check_mode(
    mode: Mode,
    (uid, gid): Owner,
    is_directory: bool,
    caller: (u32, u32),
) -> Result<(), ObjectProblem> {
    let has = |bit: u32| mode.bits() & bit != 0;
    if has(0o4000) && uid != Some(caller.0) || has(0o2000) && gid != Some(caller.1) && !is_directory {
        return Err(ObjectProblem::NotPermitted("a program that runs as another user or group"));
    }
    Ok(())
}

pub(super) fn can_come_back(live: &Live, caller: (u32, u32)) -> bool {
    !matches!(live.kind, LiveKind::Device { .. })
        && check_mode(live.mode, (Some(live.uid), Some(live.gid)), live.is_directory(), caller).is_ok()
}

const DEFAULT_ADMIN: &[u8] = b"/var/sadm/install/admin/default";

/// Refuses paths at which no package may deliver an object: records of packages, and settings of this program. A
/// package could rewrite trusted data there, unnoticed by its own run. Directories that SVR4 systems deliver
/// (`/var/sadm`, `/var/sadm/pkg`, …) and `/var/sadm/install/admin` are free.
pub(super) fn refuse_reserved(path: &ObjectPath, place: &ObjectPath) -> Result<(), ObjectProblem> {
    if [path, place].into_iter().any(|path| path.relative().is_empty()) {
        return Err(ObjectProblem::RootDirectory);
    }
    if [path, place].into_iter().any(places::is_record) {
        return Err(ObjectProblem::Record);
    }
    if [path, place].into_iter().any(|path| places::is_setting(path) || path.as_bytes() == DEFAULT_ADMIN) {
        return Err(ObjectProblem::Settings);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_no_objects_by_whatever_path() {
        let path = |path: &str| ObjectPath::new(path.as_bytes()).unwrap();
        for setting in [
            "/etc/patchadm",
            "/etc/patchadm/policy",
            "/etc/patchadm/keys/a",
            "/var/sadm/install/admin/default",
        ] {
            let (setting, other) = (path(setting), path("/opt/x"));
            for (path, place) in [(&setting, &setting), (&other, &setting), (&setting, &other)] {
                assert!(
                    matches!(refuse_reserved(path, place), Err(ObjectProblem::Settings)),
                    "{path} {place}"
                );
            }
        }
        for object in
            ["/etc", "/etc/patchadm.conf", "/opt/etc/patchadm/policy", "/var/sadm/install/admin/other"]
        {
            assert!(refuse_reserved(&path(object), &path(object)).is_ok(), "{object}");
        }
    }

    #[test]
    fn records_are_no_objects_and_what_stands_beside_them_may_be() {
        let is_record = |path: &str| places::is_record(&ObjectPath::new(path.as_bytes()).unwrap());
        for record in [
            "/var/sadm/install/contents",
            "/var/sadm/install/.lockfile",
            "/var/sadm/pkg/SUNWa",
            "/var/sadm/pkg/SUNWa/install/postremove",
            "/var/sadm/patch/900-01/log",
            "/var/sadm/patchadm",
            "/var/sadm/patchadm/journal",
        ] {
            assert!(is_record(record), "{record}");
        }
        for object in [
            "/var/sadm",
            "/var/sadm/pkg",
            "/var/sadm/patch",
            "/var/sadm/install",
            "/var/sadm/install/admin/default",
            "/var/sadm/install/contents.txt",
            "/var/sadm/pkgs",
            "/opt/var/sadm/install/contents",
        ] {
            assert!(!is_record(object), "{object}");
        }
    }
}
