//! Needs that a change leaves unmet, and those that it meets: the library that served one before, what it lacks now,
//! and whether the need counts. Each program is loaded as after the change and, if it reaches a difference, as before.
//! An unaffected object that finds the same libraries is not examined twice, and each pair of consumer and library is
//! compared once, because many programs load the same libraries.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use foldhash::HashMap;
use patchadm_svr4::package::ObjectPath;

use crate::change::{Consumer, ConsumerSource, LibraryChange, SymbolSource};
use crate::elf::SymbolNames;
use crate::loading::{LibraryNeed, LoadedObject, Loader, Loading, NeedSource, Stamped, load_all};
use crate::search::{NameNumber, Names, OpenedNumber};
use crate::tree::{LibraryFile, ResolvedPath};

/// Returns the missing library, versions or symbols.
pub(super) fn lack(
    (now, index): (&Loading, usize),
    need: &LibraryNeed,
    served: Option<&Served>,
    comparisons: &Comparisons<'_>,
) -> Lack {
    if need.found.is_none() {
        return Lack { is_missing: true, ..Lack::default() };
    }
    let (Some(object), Some(library)) = (now.objects.get(index), now.found(need)) else {
        return Lack::default();
    };
    let (consumer, new) = (&object.way.file, &library.way.file);
    let versions = comparisons.versions.missing(consumer, new, need.name).to_vec();
    let old = served.map(|served| &served.way.file);
    let symbols = match old.filter(|old| !Arc::ptr_eq(old, new) && versions.is_empty()) {
        Some(old) => {
            let closure = now.objects.iter().map(|object| &object.way.file);
            comparisons.symbols_missing(consumer, (old, new), closure)
        }
        None => Vec::new(),
    };
    Lack { is_missing: false, versions, symbols }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lack {
    pub(super) is_missing: bool,
    pub(super) versions: Vec<String>,
    pub(super) symbols: Vec<String>,
}

impl Lack {
    pub(super) fn is_nothing(&self) -> bool {
        !self.is_missing && self.versions.is_empty() && self.symbols.is_empty()
    }
}

/// An unmet need that counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CountedNeed {
    pub(super) start: ObjectPath,
    pub(super) consumer: Consumer,
    /// The name that identifies the need, and the name of the library that served it.
    pub(super) key: String,
    pub(super) name: String,
    pub(super) served: Option<ObjectPath>,
    pub(super) lack: Lack,
}

impl CountedNeed {
    pub(super) fn of(
        (start, loading): (&ObjectPath, &Loading),
        (object, need): (&LoadedObject, &LibraryNeed),
        served: Option<Served>,
        lack: Lack,
        versions: &VersionComparisons,
    ) -> Self {
        let source = ConsumerSource::File(need.source);
        let consumer = Consumer { path: object.way.path.clone(), source };
        let (name, served) = match served {
            Some(served) => (versions.names().text(served.name), Some(served.way.path.clone())),
            None => (loading.name(need), None),
        };
        let key = loading.key(need).to_string();
        Self { start: start.clone(), consumer, key, name: name.to_string(), served, lack }
    }

    pub(super) fn is_of(&self, loading: &Loading, object: &LoadedObject, need: &LibraryNeed) -> bool {
        ConsumerSource::File(need.source) == self.consumer.source
            && object.way.path == self.consumer.path
            && *loading.key(need) == *self.key
    }

    /// Returns the index of the consumer, the consumer and the need.
    pub(super) fn in_loading<'l>(
        &self,
        loading: &'l Loading,
    ) -> Option<(usize, &'l LoadedObject, &'l LibraryNeed)> {
        let index = loading.objects.iter().position(|object| object.way.path == self.consumer.path)?;
        let object = loading.objects.get(index)?;
        Some((index, object, loading.needs_of(object).find(|need| self.is_of(loading, object, need))?))
    }
}

#[derive(Clone)]
pub(super) struct Served {
    pub(super) name: NameNumber,
    pub(super) way: Rc<ResolvedPath>,
    pub(super) is_whole: bool,
}

impl Served {
    pub(super) fn by(
        consumer: &LoadedObject,
        name: NameNumber,
        way: &Rc<ResolvedPath>,
        versions: &VersionComparisons,
    ) -> Self {
        let is_whole = versions.missing(&consumer.way.file, &way.file, name).is_empty();
        Self { name, way: way.clone(), is_whole }
    }
}

/// Finds the same need in another loading. `index` is the object's index in the first loading, and mostly in the other.
pub(super) fn counterpart<'l>(
    loading: &'l Loading,
    (index, consumer): (usize, &ObjectPath),
    need: &LibraryNeed,
) -> Option<(&'l LoadedObject, &'l LibraryNeed)> {
    let is_same = |object: &&LoadedObject| object.way.path == *consumer;
    let object = loading.objects.get(index).filter(is_same);
    let object = object.or_else(|| loading.objects.iter().find(is_same))?;
    Some((object, loading.needs_of(object).find(|other| need.is_same(other))?))
}

pub(super) fn served(
    loading: &Loading,
    consumer: (usize, &ObjectPath),
    need: &LibraryNeed,
    versions: &VersionComparisons,
) -> Option<Served> {
    let (object, same) = counterpart(loading, consumer, need)?;
    Some(Served::by(object, same.name, &loading.found(same)?.way, versions))
}

/// Returns true if a need is met with every version.
pub(super) fn is_served(
    loading: &Loading,
    object: &LoadedObject,
    need: &LibraryNeed,
    versions: &VersionComparisons,
) -> bool {
    let library = loading.found(need);
    library.is_some_and(|library| versions.missing(&object.way.file, &library.way.file, need.name).is_empty())
}

/// The trees of a change keep the file alive while comparisons are used.
type FileIdentity = *const LibraryFile;

/// Key: consumer, library, and the name under which the consumer needs it.
type LackedVersions = HashMap<(FileIdentity, FileIdentity, NameNumber), Rc<[String]>>;

type LackedSymbols = Option<Rc<SymbolNames>>;

#[derive(Default)]
pub(super) struct VersionComparisons {
    names: Rc<Names>,
    lacked: RefCell<LackedVersions>,
}

impl VersionComparisons {
    /// Returns the names whose numbers the keys have; a loader must share them.
    pub(super) fn names(&self) -> &Rc<Names> {
        &self.names
    }

    /// Returns the versions that a consumer needs of a library of this name and that the library does not define.
    pub(super) fn missing(
        &self,
        consumer: &Arc<LibraryFile>,
        library: &Arc<LibraryFile>,
        name: NameNumber,
    ) -> Rc<[String]> {
        let missing = || consumer.versions_missing_in(library, &self.names.text(name)).into();
        let key = (Arc::as_ptr(consumer), Arc::as_ptr(library), name);
        self.lacked.borrow_mut().entry(key).or_insert_with(missing).clone()
    }
}

pub(super) struct Comparisons<'c> {
    pub(super) versions: VersionComparisons,
    source: &'c dyn SymbolSource,
    /// Symbols that an old library exports and a new one does not.
    gone: RefCell<HashMap<[FileIdentity; 2], LackedSymbols>>,
    /// The part of `gone` that a consumer uses. Key: consumer, old, new.
    used: RefCell<HashMap<[FileIdentity; 3], LackedSymbols>>,
}

impl<'c> Comparisons<'c> {
    pub(super) fn new(source: &'c dyn SymbolSource) -> Self {
        let versions = VersionComparisons::default();
        Self { versions, source, gone: RefCell::default(), used: RefCell::default() }
    }

    /// Returns the symbols that an old library gave a consumer and that no file of its new closure has. The closure
    /// begins with the program.
    fn symbols_missing<'f>(
        &self,
        consumer: &Arc<LibraryFile>,
        (old, new): (&Arc<LibraryFile>, &Arc<LibraryFile>),
        closure: impl Iterator<Item = &'f Arc<LibraryFile>>,
    ) -> Vec<String> {
        let Some(lacked) = self.symbols_lacked(consumer, (old, new)) else { return Vec::new() };
        let mut missing: Vec<&str> = lacked.iter().collect();
        for file in closure {
            if missing.is_empty() {
                break;
            }
            match self.source.symbols(file) {
                Some(symbols) => missing.retain(|name| !symbols.exported.contains(name)),
                None => return Vec::new(),
            }
        }
        missing.into_iter().map(str::to_owned).collect()
    }

    pub(super) fn lacks_symbols(
        &self,
        consumer: &Arc<LibraryFile>,
        (old, new): (&Arc<LibraryFile>, &Arc<LibraryFile>),
    ) -> bool {
        !Arc::ptr_eq(old, new)
            && self.symbols_lacked(consumer, (old, new)).is_some_and(|lacked| !lacked.is_empty())
    }

    /// Returns the symbols that an old library gave a consumer and that the new one lacks; `None` if a file cannot be
    /// read. The consumer is read only if the new library lacks anything at all.
    fn symbols_lacked(
        &self,
        consumer: &Arc<LibraryFile>,
        (old, new): (&Arc<LibraryFile>, &Arc<LibraryFile>),
    ) -> LackedSymbols {
        let gone = self.symbols_gone(old, new)?;
        if gone.is_empty() {
            return Some(gone);
        }
        let key = [consumer, old, new].map(Arc::as_ptr);
        let used = || {
            let wanted = self.source.symbols(consumer)?;
            Some(Rc::new(gone.iter().filter(|name| wanted.undefined.contains(name)).collect()))
        };
        self.used.borrow_mut().entry(key).or_insert_with(used).clone()
    }

    fn symbols_gone(&self, old: &Arc<LibraryFile>, new: &Arc<LibraryFile>) -> LackedSymbols {
        let key = [old, new].map(Arc::as_ptr);
        let gone = || {
            let (given, left) = (self.source.symbols(old)?, self.source.symbols(new)?);
            Some(Rc::new(given.exported.missing_in(&left.exported).collect()))
        };
        self.gone.borrow_mut().entry(key).or_insert_with(gone).clone()
    }
}

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
