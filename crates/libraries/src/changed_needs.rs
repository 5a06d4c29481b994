//! The needs that a change leaves unmet, and those that it meets. Each program is loaded as after the change and, if it
//! reaches a difference, as before. An unaffected object that finds the same libraries is not examined twice.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use foldhash::HashMap;

use super::change::LibraryChange;
use super::loading::{LibraryNeed, LoadedObject, Loader, Loading, NeedSource, Stamped, load_all};
use super::search::OpenedNumber;
use crate::needs::Comparisons;
use crate::needs::{CountedNeed, Served, is_served, lack};
use crate::search::NameNumber;
use patchadm_svr4::package::ObjectPath;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thoroughness {
    /// Only programs that the change can affect, and nothing twice.
    AsNeeded,
    #[cfg(test)]
    Everything,
}

#[derive(Debug, Default)]
pub(super) struct ChangedNeeds {
    /// Affected programs, and affected libraries that no program loads.
    pub(super) starts: BTreeSet<ObjectPath>,
    /// Only needs that count.
    pub(super) lost: BTreeSet<CountedNeed>,
    /// Consumer and name of needs that were unmet before.
    pub(super) served: BTreeSet<(ObjectPath, String)>,
}

impl LibraryChange<'_> {
    pub(super) fn changed_needs(
        &self,
        thoroughness: Thoroughness,
        comparisons: &Comparisons<'_>,
    ) -> ChangedNeeds {
        let (differences, names) = (self.differences(), comparisons.versions.names());
        let mut after =
            Loader::noticing(self.after, self.settings, names, &differences).ended_by(self.interrupt);
        let before = Loader::naming(self.before, self.settings, names).ended_by(self.interrupt);
        let mut examination = Examination {
            change: self,
            comparisons,
            was: before.nothing(),
            before,
            places: Stamped::default(),
            alone: HashMap::default(),
            brought: Vec::new(),
            quiet: Vec::new(),
            found: FoundByObject::default(),
            changed: ChangedNeeds::default(),
        };
        load_all(&mut after, self.after, &mut |path, now, is_concerned| match thoroughness {
            Thoroughness::AsNeeded if is_concerned => examination.program(path, now),
            Thoroughness::AsNeeded => {}
            #[cfg(test)]
            Thoroughness::Everything => {
                examination.quiet.clear();
                examination.program(path, now);
            }
        });
        examination.changed
    }

    fn same_file(&self, path: &ObjectPath) -> bool {
        let files = (self.before.file_at(path), self.after.file_at(path));
        matches!(files, (Some(was), Some(now)) if Arc::ptr_eq(was, now))
    }
}

struct Examination<'e, 'a> {
    change: &'e LibraryChange<'a>,
    comparisons: &'e Comparisons<'a>,
    before: Loader<'e>,
    /// The program as it loaded before, and the indices of its objects by path number.
    was: Loading,
    places: Stamped,
    /// Results of objects loaded by themselves before the change.
    alone: HashMap<ObjectPath, Rc<[(LibraryNeed, Served)]>>,
    /// By object number; true if the change installs the object.
    brought: Vec<Option<bool>>,
    /// By object number: the libraries that it found when it lost and gained nothing. Valid for every program that
    /// loads it.
    quiet: Vec<Vec<FoundByObject>>,
    found: FoundByObject,
    changed: ChangedNeeds,
}

/// Limits the entries per object in `quiet`.
const REMEMBERED: usize = 4;

/// The libraries that an object finds after and before the change. Numbers identify the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct FoundByObject {
    /// The file that was there before, if the program loaded it.
    was: Option<usize>,
    needs: Vec<FoundByNeed>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FoundByNeed {
    key: NameNumber,
    source: NeedSource,
    now: (NameNumber, Option<usize>),
    was: Option<(NameNumber, Option<usize>)>,
}

/// An object as a program loads it after the change and, if it did, before.
#[derive(Clone, Copy)]
struct ObjectInBoth<'l> {
    start: &'l ObjectPath,
    now: &'l Loading,
    index: usize,
    object: &'l LoadedObject,
    was: Option<&'l Loading>,
    old: Option<&'l LoadedObject>,
}

impl Examination<'_, '_> {
    fn program(&mut self, start: &ObjectPath, now: &Loading) {
        self.changed.starts.insert(start.clone());
        let mut was = std::mem::replace(&mut self.was, self.before.nothing());
        let is_there = self.change.same_file(start) && self.before.load_over(&mut was, start);
        let was_loaded = Some(&was).filter(|_| is_there);
        self.places.forget();
        for (place, object) in was_loaded.iter().flat_map(|was| was.objects.iter().enumerate()) {
            self.places.set(object.path.index(), place);
        }
        for (index, object) in now.objects.iter().enumerate() {
            let place = self.places.get(object.path.index());
            let old = was_loaded.zip(place).and_then(|(was, place)| was.objects.get(place));
            self.object(ObjectInBoth { start, now, index, object, was: was_loaded, old });
        }
        self.was = was;
    }

    fn object(&mut self, one: ObjectInBoth<'_>) {
        let number = one.object.number.index();
        if self.quiet.len() <= number {
            self.quiet.resize_with(number + 1, Vec::new);
        }
        one.find(&mut self.found);
        if self.quiet[number].contains(&self.found) {
            return;
        }
        let is_brought = self.is_brought(one.object.number, &one.object.way.path);
        let mut is_quiet = true;
        for need in one.now.needs_of(one.object) {
            is_quiet &= self.loses_nothing(one, need, is_brought);
            is_quiet &= self.gains_nothing(one, need);
        }
        if is_quiet && self.quiet[number].len() < REMEMBERED {
            self.quiet[number].push(self.found.clone());
        }
    }

    fn is_brought(&mut self, number: OpenedNumber, path: &ObjectPath) -> bool {
        if self.brought.len() <= number.index() {
            self.brought.resize(number.index() + 1, None);
        }
        *self.brought[number.index()].get_or_insert_with(|| self.change.brought.contains(path))
    }

    /// Records a lost need that counts. Returns true if nothing is lost, whichever object loads this one.
    fn loses_nothing(&mut self, one: ObjectInBoth<'_>, need: &LibraryNeed, is_brought: bool) -> bool {
        if !is_brought && one.is_met_as_before(need) {
            return true;
        }
        // Nothing served a new object before.
        let served = if is_brought { None } else { self.served_before(one, need) };
        let lack = lack((one.now, one.index), need, served.as_ref(), self.comparisons);
        if lack.is_nothing() {
            return !self.depends_on_program(one, need, served.as_ref());
        }
        let is_counted = is_brought || served.as_ref().is_some_and(|served| served.is_whole);
        let consumer = || (one.object.way.path.clone(), one.now.key(need).to_string());
        if is_counted && !self.change.unserved.contains(&consumer()) {
            let versions = &self.comparisons.versions;
            let program = (one.start, one.now);
            self.changed.lost.insert(CountedNeed::of(program, (one.object, need), served, lack, versions));
        }
        false
    }

    /// Finds the library that served a need: in the program or, if the program did not load the object, by itself.
    fn served_before(&mut self, one: ObjectInBoth<'_>, need: &LibraryNeed) -> Option<Served> {
        if let Some((was, old)) = one.was.zip(one.old) {
            let same = was.needs_of(old).find(|other| need.is_same(other))?;
            return Some(Served::by(old, same.name, &was.found(same)?.way, &self.comparisons.versions));
        }
        let alone = self.alone(&one.object.way.path);
        alone.iter().find(|(other, _)| need.is_same(other)).map(|(_, served)| served.clone())
    }

    /// Returns the libraries that an object found by itself before the change.
    fn alone(&mut self, path: &ObjectPath) -> Rc<[(LibraryNeed, Served)]> {
        if let Some(known) = self.alone.get(path) {
            return known.clone();
        }
        let loading = if self.change.same_file(path) { self.before.load(path) } else { None };
        let served = loading.iter().flat_map(|loading| {
            let first = loading.objects.first().into_iter();
            let needs = first.flat_map(|object| loading.needs_of(object).map(move |need| (object, need)));
            needs.filter_map(|(object, need)| {
                let way = &loading.found(need)?.way;
                Some((*need, Served::by(object, need.name, way, &self.comparisons.versions)))
            })
        });
        let served: Rc<[(LibraryNeed, Served)]> = served.collect();
        self.alone.insert(path.clone(), served.clone());
        served
    }

    /// Returns true if the need is met only because the program loads another object that has the missing symbols.
    fn depends_on_program(&self, one: ObjectInBoth<'_>, need: &LibraryNeed, served: Option<&Served>) -> bool {
        let files = served.zip(one.now.found(need)).map(|(old, new)| (&old.way.file, &new.way.file));
        files.is_some_and(|files| self.comparisons.lacks_symbols(&one.object.way.file, files))
    }

    /// Records a newly met need. Returns true if there is none.
    fn gains_nothing(&mut self, one: ObjectInBoth<'_>, need: &LibraryNeed) -> bool {
        let versions = &self.comparisons.versions;
        let (Some(was), Some(old)) = (one.was, one.old) else { return true };
        let Some(before) = was.needs_of(old).find(|other| need.is_same(other)) else { return true };
        if is_served(was, old, before, versions) || !is_served(one.now, one.object, need, versions) {
            return true;
        }
        self.changed.served.insert((one.object.way.path.clone(), one.now.key(need).to_string()));
        false
    }
}

impl ObjectInBoth<'_> {
    fn find(&self, found: &mut FoundByObject) {
        let file = |loading: &Loading, need: &LibraryNeed| loading.found(need).map(|object| object.file);
        let before = self.was.zip(self.old);
        // Nearly always they stand in the same order.
        let mut in_order = before.map(|(was, old)| was.needs_of(old));
        let needs = self.now.needs_of(self.object).map(|need| {
            let next = in_order.as_mut().and_then(Iterator::next).filter(|other| need.is_same(other));
            let was = before.and_then(|(was, old)| {
                let same = next.or_else(|| was.needs_of(old).find(|other| need.is_same(other)))?;
                Some((same.name, file(was, same)))
            });
            FoundByNeed { key: need.key, source: need.source, now: (need.name, file(self.now, need)), was }
        });
        found.was = self.old.map(|old| old.file);
        found.needs.clear();
        found.needs.extend(needs);
    }

    /// Returns true if the same file serves the same need of the same file as before, or nothing served it before.
    fn is_met_as_before(&self, need: &LibraryNeed) -> bool {
        let before = self.was.zip(self.old);
        let before = before
            .and_then(|(was, old)| Some((was, old, was.needs_of(old).find(|other| need.is_same(other))?)));
        let Some((was, old, same)) = before else { return false };
        let file = |loading: &Loading, need: &LibraryNeed| Some(Arc::as_ptr(&loading.found(need)?.way.file));
        Arc::ptr_eq(&old.way.file, &self.object.way.file) && file(was, same) == file(self.now, need)
    }
}
