//! One program with everything that it loads, in the order of its loader.

use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use patchadm_rootfs::Interrupt;
use patchadm_svr4::package::ObjectPath;

use super::search::{LibrarySearch, LoaderKind, OpenedNumber, Searcher};
use super::settings::LoaderSettings;
use super::tree::{LibraryFile, LibraryTree, ResolvedPath};
use crate::elf::ElfMachine;
use crate::search::{NameNumber, Names, PathNumber};
use crate::tree::DifferingPaths;

/// Libraries built into musl's loader, without `lib`.
const MUSL_OWN: [&str; 7] = ["c", "pthread", "rt", "m", "dl", "util", "xnet"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NeedSource {
    Needed,
    Interpreter,
    Preload,
    /// By a note of libraries that it may load later.
    Dlopen,
}

#[derive(Clone, Copy, Debug)]
pub struct LibraryNeed {
    /// Of a note with several names: the first that was found, or else the first.
    pub(super) name: NameNumber,
    /// Identifies the need whatever was found: the first name of a note.
    pub(super) key: NameNumber,
    pub source: NeedSource,
    /// Index among the objects of the loading.
    pub found: Option<usize>,
}

impl LibraryNeed {
    /// Returns true for the same need, whatever was found, in a loading with the same names.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (self.key, self.source) == (other.key, other.source)
    }
}

#[derive(Clone, Debug)]
pub struct LoadedObject {
    /// From the name that was opened.
    pub way: Rc<ResolvedPath>,
    /// Index of the object that needs it; `None` for the program itself.
    pub loaded_by: Option<usize>,
    needs: Range<usize>,
    later: Vec<LibraryNeed>,
    /// The value of `$ORIGIN`.
    origin: Rc<[u8]>,
    /// True if the RPATH of an object further up the chain applies as well.
    inherits_rpath: bool,
    pub(super) number: OpenedNumber,
    pub(super) file: usize,
    pub(super) path: PathNumber,
}

/// A program, or a library that no program loads, with what it loads. The first object is the program itself.
#[derive(Clone, Debug)]
pub struct Loading {
    /// In the order of loading.
    pub objects: Vec<LoadedObject>,
    /// Without the libraries that objects may load later.
    needs: Vec<LibraryNeed>,
    names: Rc<Names>,
    kind: LoaderKind,
    machine: ElfMachine,
}

pub struct Loader<'t> {
    search: LibrarySearch<'t>,
    /// Index in the current loading, by file number.
    by_file: Stamped,
    by_name: Stamped,
    /// Of each object that inherits nothing from its loaders: the same in every loading by glibc.
    own_needs: Vec<Option<Rc<[FoundNeed]>>>,
}

/// A needed name, and the result of its search if nothing with this name is loaded.
struct FoundNeed {
    name: NameNumber,
    found: Option<OpenedNumber>,
    has_met: bool,
}

/// Indices that are valid for one loading.
#[derive(Default)]
pub(super) struct Stamped {
    loading: u64,
    indices: Vec<(u64, usize)>,
}

impl Stamped {
    pub(super) fn forget(&mut self) {
        self.loading += 1;
    }

    pub(super) fn get(&self, number: usize) -> Option<usize> {
        let (loading, index) = *self.indices.get(number)?;
        (loading == self.loading).then_some(index)
    }

    pub(super) fn set(&mut self, number: usize, index: usize) {
        if self.indices.len() <= number {
            self.indices.resize(number + 1, (0, 0));
        }
        self.indices[number] = (self.loading, index);
    }
}

impl<'t> Loader<'t> {
    pub fn new(tree: &'t LibraryTree, settings: &'t LoaderSettings) -> Self {
        Self::naming(tree, settings, &Rc::default())
    }

    /// Makes a loader that shares the numbers of these names.
    pub(super) fn naming(tree: &'t LibraryTree, settings: &'t LoaderSettings, names: &Rc<Names>) -> Self {
        Self::noticing(tree, settings, names, DifferingPaths::none())
    }

    /// Makes a loader that also records which programs reach one of these differences.
    pub(super) fn noticing(
        tree: &'t LibraryTree,
        settings: &'t LoaderSettings,
        names: &Rc<Names>,
        differences: &'t DifferingPaths,
    ) -> Self {
        Self {
            search: LibrarySearch::new(tree, settings, names.clone(), differences),
            by_file: Stamped::default(),
            by_name: Stamped::default(),
            own_needs: Vec::new(),
        }
    }

    /// Stops loading once a signal came. Callers must check the signal before they use the result.
    #[must_use]
    pub fn ended_by(mut self, interrupt: Interrupt<'t>) -> Self {
        self.search.ended_by(interrupt);
        self
    }

    pub(super) fn file_number(&self, file: &Arc<LibraryFile>) -> Option<usize> {
        self.search.file_number(file)
    }

    /// Returns true if a difference was reached since the last call.
    pub(super) fn take_met(&mut self) -> bool {
        self.search.take_met()
    }

    /// Takes a physical path. `None` if there is no program or library.
    pub fn load(&mut self, path: &ObjectPath) -> Option<Loading> {
        let mut loading = self.nothing();
        self.load_over(&mut loading, path).then_some(loading)
    }

    pub(super) fn nothing(&self) -> Loading {
        Loading {
            objects: Vec::new(),
            needs: Vec::new(),
            names: self.search.names().clone(),
            kind: LoaderKind::Glibc,
            machine: ElfMachine::default(),
        }
    }

    /// Reuses the memory of another loading of the same loader. Returns false, with an empty loading, if there is no
    /// program or library.
    pub(super) fn load_over(&mut self, loading: &mut Loading, path: &ObjectPath) -> bool {
        loading.objects.clear();
        loading.needs.clear();
        if self.search.is_ended() {
            return false;
        }
        self.search.begin();
        let Some(start) = self.search.open_physical(path) else { return false };
        let Some(file) = self.search.opened(start).map(|opened| opened.way.file.clone()) else {
            return false;
        };
        let facts = &file.facts;
        (loading.kind, loading.machine) = (LoaderKind::of(facts), facts.machine);
        self.by_file.forget();
        self.by_name.forget();
        self.add(loading, start, None);
        if let Some(interpreter) = &facts.interpreter {
            self.need(loading, 0, std::slice::from_ref(interpreter), NeedSource::Interpreter);
        }
        if facts.is_program() && loading.kind == LoaderKind::Glibc {
            for name in &self.search.settings().preload {
                self.need(loading, 0, std::slice::from_ref(name), NeedSource::Preload);
            }
        }
        self.load_needs(loading, 0);
        self.load_dlopened(loading);
        true
    }

    /// Finds the library that would meet a need with every version, if nothing were loaded yet. The loading may be of
    /// another tree. Also returns the name.
    pub(super) fn find_serving(
        &mut self,
        loading: &Loading,
        by: usize,
        need: &LibraryNeed,
    ) -> Option<(String, Rc<ResolvedPath>)> {
        let object = loading.objects.get(by)?;
        let chain = loading.chain(by);
        loading.names_for(object, need).into_iter().find_map(|name| {
            let found = self.search.find(&loading.kind, loading.machine, &name, &chain)?;
            let way = self.search.opened(found)?.way.clone();
            object.way.file.versions_missing_in(&way.file, &name).is_empty().then_some((name, way))
        })
    }

    /// Loads the needs of the objects from an index on, breadth first.
    fn load_needs(&mut self, loading: &mut Loading, from: usize) {
        let mut next = from;
        while let Some(object) = loading.objects.get(next) {
            if object.inherits_rpath || loading.kind != LoaderKind::Glibc {
                let file = object.way.file.clone();
                for name in &file.facts.needed {
                    self.need(loading, next, std::slice::from_ref(name), NeedSource::Needed);
                }
            } else {
                self.load_own_needs(loading, next);
            }
            next += 1;
        }
    }

    /// Loads the needs of an object that inherits nothing: they are searched once for all loadings.
    fn load_own_needs(&mut self, loading: &mut Loading, by: usize) {
        let Some(number) = loading.objects.get(by).map(|object| object.number.index()) else { return };
        if self.own_needs.len() <= number {
            self.own_needs.resize(number + 1, None);
        }
        let needs = match &self.own_needs[number] {
            Some(known) => known.clone(),
            None => self.find_own_needs(loading, by),
        };
        self.own_needs[number].get_or_insert_with(|| needs.clone());
        for need in needs.iter() {
            let found = self.loaded(loading, need.name).or_else(|| {
                self.search.meet_again(need.has_met);
                self.add(loading, need.found?, Some(by))
            });
            self.push_need(loading, by, need.name, (need.name, NeedSource::Needed, found));
        }
    }

    fn find_own_needs(&mut self, loading: &Loading, by: usize) -> Rc<[FoundNeed]> {
        let had_met = self.search.take_met();
        let chain = loading.chain(by);
        let needed = chain.first().map(|own| own.facts.needed.as_slice()).unwrap_or_default();
        let find = |name: &String| {
            let found = self.search.find(&loading.kind, loading.machine, name, &chain);
            FoundNeed { name: self.search.names().number(name), found, has_met: self.search.take_met() }
        };
        let found = needed.iter().map(find).collect();
        self.search.meet_again(had_met);
        found
    }

    /// Loads the libraries that objects may load later, with their needs.
    fn load_dlopened(&mut self, loading: &mut Loading) {
        let mut next = 0;
        while let Some(object) = loading.objects.get(next) {
            let file = object.way.file.clone();
            for note in &file.facts.dlopen {
                let before = loading.objects.len();
                self.need(loading, next, &note.soname, NeedSource::Dlopen);
                self.load_needs(loading, before);
            }
            next += 1;
        }
    }

    /// Takes the first of `names` that is already loaded or is found.
    fn need(&mut self, loading: &mut Loading, by: usize, names: &[String], source: NeedSource) {
        let Some(first) = names.first() else { return };
        let key = self.search.names().number(first);
        let found = names.iter().find_map(|name| {
            let number = self.search.names().number(name);
            Some((number, self.one(loading, by, (name, number))?))
        });
        let name = found.map_or(key, |(name, _)| name);
        self.push_need(loading, by, key, (name, source, found.map(|(_, index)| index)));
    }

    fn push_need(
        &mut self,
        loading: &mut Loading,
        by: usize,
        key: NameNumber,
        (name, source, found): (NameNumber, NeedSource, Option<usize>),
    ) {
        if let Some(index) = found {
            self.by_name.set(name.index(), index);
        }
        loading.push(by, LibraryNeed { name, key, source, found });
    }

    fn one(&mut self, loading: &mut Loading, by: usize, (name, number): (&str, NameNumber)) -> Option<usize> {
        if let Some(index) = self.loaded(loading, number) {
            return Some(index);
        }
        let mut chain = loading.chain(by);
        if !self.search.may_inherit() {
            chain.truncate(1);
        }
        let found = self.search.find(&loading.kind, loading.machine, name, &chain)?;
        self.add(loading, found, Some(by))
    }

    fn loaded(&self, loading: &Loading, name: NameNumber) -> Option<usize> {
        let index = self.by_name.get(name.index());
        index.or_else(|| loading.own_of_musl(name))
    }

    /// Does nothing if the same file is there already.
    fn add(&mut self, loading: &mut Loading, found: OpenedNumber, loaded_by: Option<usize>) -> Option<usize> {
        let opened = self.search.opened(found)?;
        if let Some(known) = self.by_file.get(opened.file) {
            return Some(known);
        }
        let index = loading.objects.len();
        self.by_file.set(opened.file, index);
        if let Some(soname) = opened.soname.filter(|soname| self.by_name.get(soname.index()).is_none()) {
            self.by_name.set(soname.index(), index);
        }
        let parent = loaded_by.and_then(|index| loading.objects.get(index));
        loading.objects.push(LoadedObject {
            way: opened.way.clone(),
            loaded_by,
            needs: 0..0,
            later: Vec::new(),
            origin: opened.origin.clone(),
            inherits_rpath: parent.is_some_and(LoadedObject::hands_rpath_on),
            number: found,
            file: opened.file,
            path: opened.path,
        });
        Some(index)
    }
}

impl LoadedObject {
    /// Returns true if an RPATH, its own or an inherited one, applies to the libraries of the objects that it loads.
    fn hands_rpath_on(&self) -> bool {
        self.inherits_rpath || self.way.file.facts.rpath.is_some()
    }
}

impl Loading {
    pub fn needs_of<'l>(&'l self, object: &'l LoadedObject) -> impl Iterator<Item = &'l LibraryNeed> + Clone {
        self.needs.get(object.needs.clone()).unwrap_or_default().iter().chain(&object.later)
    }

    pub(super) fn all_needs(&self) -> impl Iterator<Item = (usize, &LoadedObject, &LibraryNeed)> {
        let objects = self.objects.iter().enumerate();
        objects.flat_map(|(index, object)| self.needs_of(object).map(move |need| (index, object, need)))
    }

    pub fn found(&self, need: &LibraryNeed) -> Option<&LoadedObject> {
        self.objects.get(need.found?)
    }

    pub fn name(&self, need: &LibraryNeed) -> Rc<str> {
        self.names.text(need.name)
    }

    pub(super) fn key(&self, need: &LibraryNeed) -> Rc<str> {
        self.names.text(need.key)
    }

    /// Returns all names that satisfy a need: a note may have several.
    fn names_for(&self, object: &LoadedObject, need: &LibraryNeed) -> Vec<String> {
        let key = self.key(need);
        let notes = object.way.file.facts.dlopen.iter();
        let mut notes = notes.filter(|_| need.source == NeedSource::Dlopen);
        let own = notes.find(|note| note.soname.first().is_some_and(|first| **first == *key));
        own.map_or_else(|| vec![self.name(need).to_string()], |note| note.soname.clone())
    }

    /// Adds a need of an object. All needs of one object must be added before those of another, except for `Dlopen`.
    fn push(&mut self, by: usize, need: LibraryNeed) {
        let Some(object) = self.objects.get_mut(by) else { return };
        if need.source == NeedSource::Dlopen {
            object.later.push(need);
            return;
        }
        let start = if object.needs.is_empty() { self.needs.len() } else { object.needs.start };
        self.needs.push(need);
        object.needs = start..self.needs.len();
    }

    /// Returns the index of musl's loader if the library is built into it.
    fn own_of_musl(&self, name: NameNumber) -> Option<usize> {
        if !matches!(self.kind, LoaderKind::Musl(_)) {
            return None;
        }
        let name = self.names.text(name);
        if name.starts_with("libc.musl-") {
            return None;
        }
        let (stem, _) = name.strip_prefix("lib")?.split_once('.')?;
        let is_interpreter = |need: &&LibraryNeed| need.source == NeedSource::Interpreter;
        let interpreter = self.needs_of(self.objects.first()?).find(is_interpreter)?;
        interpreter.found.filter(|_| MUSL_OWN.contains(&stem))
    }

    /// Returns the object, the one that loaded it, and so on up to the program.
    fn chain(&self, from: usize) -> Vec<Searcher<'_>> {
        let mut chain = Vec::new();
        let mut next = Some(from);
        while let Some(object) = next.and_then(|index| self.objects.get(index)) {
            chain.push(Searcher { facts: &object.way.file.facts, origin: &object.origin });
            next = object.loaded_by;
        }
        chain
    }
}

/// Loads every program, and every library that no program loads, once each. `visit` gets true if the loading reached
/// one of the loader's differences.
pub(super) fn load_all(
    loader: &mut Loader<'_>,
    tree: &LibraryTree,
    visit: &mut dyn FnMut(&ObjectPath, &Loading, bool),
) {
    let mut is_loaded: Vec<bool> = Vec::new();
    let mut loading = loader.nothing();
    loader.take_met();
    for (path, _) in tree.files().filter(|(_, file)| file.facts.is_program()) {
        if !loader.load_over(&mut loading, path) {
            continue;
        }
        for object in &loading.objects {
            if is_loaded.len() <= object.file {
                is_loaded.resize(object.file + 1, false);
            }
            is_loaded[object.file] = true;
        }
        visit(path, &loading, loader.take_met());
    }
    for (path, file) in tree.files().filter(|(_, file)| !file.facts.is_program()) {
        let number = loader.file_number(file);
        if number.is_some_and(|number| is_loaded.get(number) == Some(&true)) {
            continue;
        }
        if loader.load_over(&mut loading, path) {
            visit(path, &loading, loader.take_met());
        }
    }
}

pub(super) fn starting_points(
    tree: &LibraryTree,
    settings: &LoaderSettings,
    interrupt: Interrupt<'_>,
) -> BTreeSet<ObjectPath> {
    let mut found = BTreeSet::new();
    load_all(&mut Loader::new(tree, settings).ended_by(interrupt), tree, &mut |path, _, _| {
        found.insert(path.clone());
    });
    found
}
