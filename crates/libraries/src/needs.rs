//! Needs that a change leaves unmet: the library that served one before, what it lacks now, and whether the need
//! counts. Each pair of consumer and library is compared once, because many programs load the same libraries.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use foldhash::HashMap;
use patchadm_svr4::package::ObjectPath;

use crate::change::{Consumer, ConsumerSource, SymbolSource};
use crate::elf::SymbolNames;
use crate::loading::{LibraryNeed, LoadedObject, Loading};
use crate::search::{NameNumber, Names};
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
