//! The needs that a change leaves unmet, and those that it meets: each program as it loads now and as it loaded before.

use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::change::{Consumer, ConsumerSource, LibraryChange};
use super::loading::{LoadedObject, Loader, Loading, Need};
use super::tree::{LibraryFile, Way};
use patchadm_svr4::package::ObjectPath;

impl LibraryChange<'_> {
    /// The needs that the change leaves unmet and that count, and those that it meets and that were not met before.
    pub(super) fn changed_needs(
        &self,
        starts: &BTreeSet<ObjectPath>,
    ) -> (BTreeSet<CountedNeed>, BTreeSet<(ObjectPath, String)>) {
        let (mut before, mut after) =
            (Loader::new(self.before, self.settings), Loader::new(self.after, self.settings));
        let (mut lost, mut newly_served) = (BTreeSet::new(), BTreeSet::new());
        for path in starts {
            let Some(now) = after.load(path) else { continue };
            let was = self.same_file(path).then(|| before.load(path)).flatten();
            let mut alone = |object: &ObjectPath| {
                let is_known =
                    was.as_ref().is_some_and(|was| was.objects.iter().any(|one| one.way.path == *object));
                if is_known || !self.same_file(object) { None } else { before.load(object) }
            };
            lost.extend(self.lost_by(path, &now, was.as_ref(), &mut alone));
            newly_served.extend(was.iter().flat_map(|was| newly_served_in(was, &now)));
        }
        (lost, newly_served)
    }

    /// Tells whether the file at a path is the same before and after.
    fn same_file(&self, path: &ObjectPath) -> bool {
        let files = (self.before.file_at(path), self.after.file_at(path));
        matches!(files, (Some(was), Some(now)) if Arc::ptr_eq(was, now))
    }

    /// The needs of one program that count. An object that it did not load before, and that was there, had what it found
    /// `alone`.
    fn lost_by(
        &self,
        start: &ObjectPath,
        now: &Loading,
        was: Option<&Loading>,
        alone: &mut dyn FnMut(&ObjectPath) -> Option<Loading>,
    ) -> Vec<CountedNeed> {
        let mut lost = Vec::new();
        for (index, object) in now.objects.iter().enumerate() {
            let path = &object.way.path;
            let is_brought = self.brought.contains(path);
            let by_itself = LazyCell::new(|| alone(path));
            for need in &object.needs {
                if !is_brought && is_met_as_before((now, index), need, was) {
                    continue;
                }
                // Nobody served who is new.
                let served = if is_brought {
                    None
                } else {
                    let was = was.and_then(|was| served(was, (index, path), need));
                    was.or_else(|| served(by_itself.as_ref()?, (0, path), need))
                };
                let lack = self.lack(now, index, need, served.as_ref());
                let is_counted = is_brought || served.as_ref().is_some_and(Served::is_whole);
                let is_known = || self.unserved.contains(&(path.clone(), need.asked.clone()));
                if !lack.is_nothing() && is_counted && !is_known() {
                    lost.push(CountedNeed::of((start, object), need, served, lack));
                }
            }
        }
        lost
    }

    /// What is missing for a need: the library, versions of it, or symbols that the old one had.
    pub(super) fn lack(&self, now: &Loading, index: usize, need: &Need, served: Option<&Served>) -> Lack {
        let Some(found) = need.found else { return Lack { is_missing: true, ..Lack::default() } };
        let (Some(object), Some(library)) = (now.objects.get(index), now.objects.get(found)) else {
            return Lack::default();
        };
        let versions = object.way.file.versions_missing_in(&library.way.file, &need.name);
        let is_other = served.is_some_and(|served| !Arc::ptr_eq(&served.file, &library.way.file));
        let symbols = match served.filter(|_| is_other && versions.is_empty()) {
            Some(served) => self.missing_symbols(now, &object.way.file, &served.file),
            None => Vec::new(),
        };
        Lack { is_missing: false, versions, symbols }
    }

    /// The symbols that the old library gave a consumer and that nothing in its new closure has.
    fn missing_symbols(
        &self,
        now: &Loading,
        consumer: &Arc<LibraryFile>,
        old: &Arc<LibraryFile>,
    ) -> Vec<String> {
        let (Some(wanted), Some(given)) = (self.symbols.symbols(consumer), self.symbols.symbols(old)) else {
            return Vec::new();
        };
        let mut missing: BTreeSet<&String> = wanted.undefined.intersection(&given.exported).collect();
        for object in &now.objects {
            if missing.is_empty() {
                break;
            }
            match self.symbols.symbols(&object.way.file) {
                Some(symbols) => missing.retain(|name| !symbols.exported.contains(*name)),
                None => return Vec::new(),
            }
        }
        missing.into_iter().cloned().collect()
    }
}

/// What is missing for a need.
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

/// A need that is not met and counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CountedNeed {
    /// The program that is loaded.
    pub(super) start: ObjectPath,
    pub(super) consumer: Consumer,
    /// The name by which the need is known, and that of what served it.
    pub(super) asked: String,
    pub(super) name: String,
    /// What served it before.
    pub(super) served: Option<ObjectPath>,
    pub(super) lack: Lack,
}

impl CountedNeed {
    pub(super) fn of(
        (start, object): (&ObjectPath, &LoadedObject),
        need: &Need,
        served: Option<Served>,
        lack: Lack,
    ) -> Self {
        let source = ConsumerSource::File(need.source);
        let consumer = Consumer { path: object.way.path.clone(), source };
        let (name, served) = match served {
            Some(served) => (served.name, Some(served.path)),
            None => (need.name.clone(), None),
        };
        let (start, asked) = (start.clone(), need.asked.clone());
        Self { start, consumer, asked, name, served, lack }
    }

    /// Tells whether it is this need of this object.
    pub(super) fn is_of(&self, object: &LoadedObject, need: &Need) -> bool {
        need.asked == self.asked
            && ConsumerSource::File(need.source) == self.consumer.source
            && object.way.path == self.consumer.path
    }

    /// Finds it in a loading of its program: the consumer, and the need.
    pub(super) fn in_loading<'l>(&self, loading: &'l Loading) -> Option<(&'l LoadedObject, &'l Need)> {
        let object = loading.objects.iter().find(|object| object.way.path == self.consumer.path)?;
        Some((object, object.needs.iter().find(|need| self.is_of(object, need))?))
    }
}

/// What serves a need of a loading.
pub(super) struct Served {
    pub(super) name: String,
    pub(super) path: ObjectPath,
    file: Arc<LibraryFile>,
    lack: Lack,
}

impl Served {
    /// What serves a consumer under a name, with the versions of it that are missing.
    pub(super) fn by(consumer: &LoadedObject, name: &str, library: &Way) -> Self {
        let versions = consumer.way.file.versions_missing_in(&library.file, name);
        let lack = Lack { versions, ..Lack::default() };
        Self { name: name.to_owned(), path: library.path.clone(), file: library.file.clone(), lack }
    }

    /// Tells whether it has every version that is asked for.
    pub(super) fn is_whole(&self) -> bool {
        self.lack.is_nothing()
    }
}

/// Finds the same need of the same object in another loading: the object, and the need. `index` is the place of the object
/// in the first loading, and in most others too.
pub(super) fn counterpart<'l>(
    loading: &'l Loading,
    (index, consumer): (usize, &ObjectPath),
    need: &Need,
) -> Option<(&'l LoadedObject, &'l Need)> {
    let is_same = |object: &&LoadedObject| object.way.path == *consumer;
    let object = loading.objects.get(index).filter(is_same);
    let object = object.or_else(|| loading.objects.iter().find(is_same))?;
    let same = object.needs.iter().find(|other| other.asked == need.asked && other.source == need.source);
    Some((object, same?))
}

/// Finds what serves the same need of the same object in another loading.
pub(super) fn served(loading: &Loading, consumer: (usize, &ObjectPath), need: &Need) -> Option<Served> {
    let (object, same) = counterpart(loading, consumer, need)?;
    Some(Served::by(object, &same.name, &loading.objects.get(same.found?)?.way))
}

/// Tells whether the same file serves the same need of the same file as before, or nothing as before: then nothing is lost.
fn is_met_as_before((now, index): (&Loading, usize), need: &Need, was: Option<&Loading>) -> bool {
    let Some(object) = now.objects.get(index) else { return false };
    let before = was.and_then(|was| Some((was, counterpart(was, (index, &object.way.path), need)?)));
    let Some((was, (consumer, same))) = before else { return false };
    let file =
        |loading: &Loading, found: Option<usize>| Some(Arc::as_ptr(&loading.objects.get(found?)?.way.file));
    Arc::ptr_eq(&consumer.way.file, &object.way.file) && file(was, same.found) == file(now, need.found)
}

/// The needs of a program that were not met in one loading and are met in another: consumer and name.
fn newly_served_in(was: &Loading, now: &Loading) -> Vec<(ObjectPath, String)> {
    let objects = was.objects.iter().enumerate();
    let needs =
        objects.flat_map(|(index, object)| object.needs.iter().map(move |need| (index, object, need)));
    let unmet = needs.filter(|(_, object, need)| !is_served(was, object, need));
    let served = unmet.filter_map(|(index, object, need)| {
        let consumer = &object.way.path;
        let served = served(now, (index, consumer), need)?;
        served.is_whole().then(|| (consumer.clone(), need.asked.clone()))
    });
    served.collect()
}

/// Tells whether a need of a loaded object is met, with every version that it asks for.
pub(super) fn is_served(loading: &Loading, object: &LoadedObject, need: &Need) -> bool {
    let library = need.found.and_then(|found| loading.objects.get(found));
    library
        .is_some_and(|library| object.way.file.versions_missing_in(&library.way.file, &need.name).is_empty())
}
