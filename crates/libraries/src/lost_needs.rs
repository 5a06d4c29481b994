//! A need that a change leaves unmet: the library that served it before, what it lacks now, and whether it counts.

use std::rc::Rc;
use std::sync::Arc;

use super::change::{Consumer, ConsumerSource};
use super::comparisons::{Comparisons, VersionComparisons};
use super::loading::{LoadedObject, Loading, Need};
use super::names::NameNumber;
use super::tree::Way;
use patchadm_svr4::package::ObjectPath;

/// Returns the missing parts of a need: the library, versions of it, or symbols that the old one had.
pub(super) fn lack(
    (now, index): (&Loading, usize),
    need: &Need,
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

/// The missing parts of a need.
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
    /// The name that identifies the need, and that of the object that served it.
    pub(super) asked: String,
    pub(super) name: String,
    /// The library that served it before.
    pub(super) served: Option<ObjectPath>,
    pub(super) lack: Lack,
}

impl CountedNeed {
    pub(super) fn of(
        (start, loading): (&ObjectPath, &Loading),
        (object, need): (&LoadedObject, &Need),
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
        let asked = loading.asked(need).to_string();
        Self { start: start.clone(), consumer, asked, name: name.to_string(), served, lack }
    }

    /// Tells whether it is this need of this object of a loading.
    pub(super) fn is_of(&self, loading: &Loading, object: &LoadedObject, need: &Need) -> bool {
        ConsumerSource::File(need.source) == self.consumer.source
            && object.way.path == self.consumer.path
            && *loading.asked(need) == *self.asked
    }

    /// Finds it in a loading of its program: the index of the consumer, the consumer, and the need.
    pub(super) fn in_loading<'l>(&self, loading: &'l Loading) -> Option<(usize, &'l LoadedObject, &'l Need)> {
        let index = loading.objects.iter().position(|object| object.way.path == self.consumer.path)?;
        let object = loading.objects.get(index)?;
        Some((index, object, loading.needs_of(object).find(|need| self.is_of(loading, object, need))?))
    }
}

/// The library that serves a need of a loading.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) name: NameNumber,
    /// The way to the library.
    pub(super) way: Rc<Way>,
    /// Whether it has every version that is asked for.
    pub(super) is_whole: bool,
}

impl Served {
    /// Returns the library that serves a consumer under a name.
    pub(super) fn by(
        consumer: &LoadedObject,
        name: NameNumber,
        way: &Rc<Way>,
        versions: &VersionComparisons,
    ) -> Self {
        let is_whole = versions.missing(&consumer.way.file, &way.file, name).is_empty();
        Self { name, way: way.clone(), is_whole }
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
    Some((object, loading.needs_of(object).find(|other| need.is_same(other))?))
}

/// Finds what serves the same need of the same object in another loading.
pub(super) fn served(
    loading: &Loading,
    consumer: (usize, &ObjectPath),
    need: &Need,
    versions: &VersionComparisons,
) -> Option<Served> {
    let (object, same) = counterpart(loading, consumer, need)?;
    Some(Served::by(object, same.name, &loading.found(same)?.way, versions))
}

/// Tells whether a need of a loaded object is met, with every version that it asks for.
pub(super) fn is_served(
    loading: &Loading,
    object: &LoadedObject,
    need: &Need,
    versions: &VersionComparisons,
) -> bool {
    let library = loading.found(need);
    library.is_some_and(|library| versions.missing(&object.way.file, &library.way.file, need.name).is_empty())
}
