//! The needs that a change leaves unmet, and those that it meets: each program as it loads now and as it loaded before.

use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use super::change::{Consumer, ConsumerSource, LibraryChange};
use super::comparisons::{Comparisons, VersionComparisons};
use super::loading::{LoadedObject, Loader, Loading, Need};
use super::tree::Way;
use patchadm_svr4::package::ObjectPath;

impl LibraryChange<'_> {
    /// The needs that the change leaves unmet and that count, and those that it meets and that were not met before.
    pub(super) fn changed_needs(
        &self,
        (starts, after): (&BTreeSet<ObjectPath>, &mut Loader<'_>),
        comparisons: &Comparisons<'_>,
    ) -> (BTreeSet<CountedNeed>, BTreeSet<(ObjectPath, String)>) {
        let mut before = Loader::new(self.before, self.settings);
        let (mut lost, mut newly_served) = (BTreeSet::new(), BTreeSet::new());
        for path in starts {
            let Some(now) = after.load(path) else { continue };
            let was = self.same_file(path).then(|| before.load(path)).flatten();
            let mut alone = |object: &ObjectPath| {
                let is_known =
                    was.as_ref().is_some_and(|was| was.objects.iter().any(|one| one.way.path == *object));
                if is_known || !self.same_file(object) { None } else { before.load(object) }
            };
            lost.extend(self.lost_by((path, &now), was.as_ref(), comparisons, &mut alone));
            newly_served.extend(was.iter().flat_map(|was| newly_served_in(was, &now, &comparisons.versions)));
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
        (start, now): (&ObjectPath, &Loading),
        was: Option<&Loading>,
        comparisons: &Comparisons<'_>,
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
                    let was = was.and_then(|was| served(was, (index, path), need, &comparisons.versions));
                    was.or_else(|| served(by_itself.as_ref()?, (0, path), need, &comparisons.versions))
                };
                let lack = lack((now, index), need, served.as_ref(), comparisons);
                let is_counted = is_brought || served.as_ref().is_some_and(|served| served.is_whole);
                let is_known = || self.unserved.contains(&(path.clone(), need.asked.to_string()));
                if !lack.is_nothing() && is_counted && !is_known() {
                    lost.push(CountedNeed::of((start, object), need, served, lack));
                }
            }
        }
        lost
    }
}

/// What is missing for a need: the library, versions of it, or symbols that the old one had.
pub(super) fn lack(
    (now, index): (&Loading, usize),
    need: &Need,
    served: Option<&Served>,
    comparisons: &Comparisons<'_>,
) -> Lack {
    let Some(found) = need.found else { return Lack { is_missing: true, ..Lack::default() } };
    let (Some(object), Some(library)) = (now.objects.get(index), now.objects.get(found)) else {
        return Lack::default();
    };
    let (consumer, new) = (&object.way.file, &library.way.file);
    let versions = comparisons.versions.missing(consumer, new, &need.name).to_vec();
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
            Some(served) => (served.name.to_string(), Some(served.way.path.clone())),
            None => (need.name.to_string(), None),
        };
        let (start, asked) = (start.clone(), need.asked.to_string());
        Self { start, consumer, asked, name, served, lack }
    }

    /// Tells whether it is this need of this object.
    pub(super) fn is_of(&self, object: &LoadedObject, need: &Need) -> bool {
        *need.asked == *self.asked
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
    pub(super) name: Rc<str>,
    /// The way to the library.
    pub(super) way: Rc<Way>,
    /// Whether it has every version that is asked for.
    pub(super) is_whole: bool,
}

impl Served {
    /// What serves a consumer under a name.
    pub(super) fn by(
        consumer: &LoadedObject,
        name: &Rc<str>,
        way: &Rc<Way>,
        versions: &VersionComparisons,
    ) -> Self {
        let is_whole = versions.missing(&consumer.way.file, &way.file, name).is_empty();
        Self { name: name.clone(), way: way.clone(), is_whole }
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
pub(super) fn served(
    loading: &Loading,
    consumer: (usize, &ObjectPath),
    need: &Need,
    versions: &VersionComparisons,
) -> Option<Served> {
    let (object, same) = counterpart(loading, consumer, need)?;
    Some(Served::by(object, &same.name, &loading.objects.get(same.found?)?.way, versions))
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
fn newly_served_in(was: &Loading, now: &Loading, versions: &VersionComparisons) -> Vec<(ObjectPath, String)> {
    let objects = was.objects.iter().enumerate();
    let needs =
        objects.flat_map(|(index, object)| object.needs.iter().map(move |need| (index, object, need)));
    let unmet = needs.filter(|(_, object, need)| !is_served(was, object, need, versions));
    let served = unmet.filter_map(|(index, object, need)| {
        let consumer = &object.way.path;
        let served = served(now, (index, consumer), need, versions)?;
        served.is_whole.then(|| (consumer.clone(), need.asked.to_string()))
    });
    served.collect()
}

/// Tells whether a need of a loaded object is met, with every version that it asks for.
pub(super) fn is_served(
    loading: &Loading,
    object: &LoadedObject,
    need: &Need,
    versions: &VersionComparisons,
) -> bool {
    let library = need.found.and_then(|found| loading.objects.get(found));
    library
        .is_some_and(|library| versions.missing(&object.way.file, &library.way.file, &need.name).is_empty())
}
