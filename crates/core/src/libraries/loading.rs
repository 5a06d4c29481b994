//! One program with everything that it loads, in the order in which its loader would load it.

use std::collections::HashMap;
use std::sync::Arc;

use patchadm_svr4::package::ObjectPath;

use super::differences::Differences;
use super::search::{Found, LoaderKind, Search, Searcher};
use super::settings::LoaderSettings;
use super::tree::{LibraryTree, Way};
use crate::elf::ElfMachine;

/// The libraries that musl's loader has in itself, without `lib`.
const MUSL_OWN: [&str; 7] = ["c", "pthread", "rt", "m", "dl", "util", "xnet"];

/// How somebody comes to need a library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NeedSource {
    /// By a NEEDED of its own.
    Needed,
    /// As the program that loads it.
    Interpreter,
    /// By `etc/ld.so.preload`.
    Preload,
    /// By a note that it may load it later.
    Dlopen,
}

/// A name that an object needs, and what was found.
#[derive(Clone, Debug)]
pub struct Need {
    /// The name; of a note with several the first that was found, else the first.
    pub name: String,
    /// The name by which the need is the same whatever was found: of a note with several names the first.
    pub asked: String,
    /// How it is needed.
    pub source: NeedSource,
    /// The index of the object that was found among those of the loading.
    pub found: Option<usize>,
}

impl Need {
    /// Returns all names that would do for an object: a note may have several.
    fn names<'n>(&'n self, object: &'n LoadedObject) -> &'n [String] {
        let notes = object.way.file.facts.dlopen.iter();
        let mut notes = notes.filter(|_| self.source == NeedSource::Dlopen);
        let own = notes.find(|note| note.soname.first() == Some(&self.asked));
        own.map_or(std::slice::from_ref(&self.name), |note| &note.soname)
    }
}

/// An object of a loading.
#[derive(Clone, Debug)]
pub struct LoadedObject {
    /// The way to its file from the name that was opened.
    pub way: Way,
    /// The index of the object that it was loaded for; `None` of the program itself.
    pub loaded_by: Option<usize>,
    /// What it needs.
    pub needs: Vec<Need>,
    /// The directory that `$ORIGIN` stands for.
    origin: Vec<u8>,
}

/// A program, or a library that no program loads, and what it loads; the first object is itself.
#[derive(Clone, Debug)]
pub struct Loading {
    /// The objects in the order in which they are loaded.
    pub objects: Vec<LoadedObject>,
    names: HashMap<String, usize>,
    kind: LoaderKind,
    machine: ElfMachine,
}

/// Loads programs of a tree.
pub struct Loader<'t> {
    search: Search<'t>,
}

impl<'t> Loader<'t> {
    /// Loads nothing yet.
    pub fn new(tree: &'t LibraryTree, settings: &'t LoaderSettings) -> Self {
        Self::noticing(tree, settings, Differences::none())
    }

    /// Loads nothing yet, and notices who comes to one of these differences.
    pub(super) fn noticing(
        tree: &'t LibraryTree,
        settings: &'t LoaderSettings,
        differences: &'t Differences,
    ) -> Self {
        Self { search: Search::new(tree, settings, differences) }
    }

    /// Tells whether what was loaded since this was asked last came to one of the differences.
    pub(super) fn take_met(&mut self) -> bool {
        self.search.take_met()
    }

    /// Loads the program or library at a physical path. Returns `None` if there is none.
    pub fn load(&mut self, path: &ObjectPath) -> Option<Loading> {
        let file = self.search.file_at(path)?.clone();
        let facts = &file.facts;
        let mut loading = Loading {
            objects: Vec::new(),
            names: HashMap::new(),
            kind: LoaderKind::of(facts),
            machine: facts.machine,
        };
        let interpreter = facts.interpreter.clone();
        let is_program = facts.is_program();
        let way = Way { links: Vec::new(), path: path.clone(), file };
        loading.add(Found { way, opened: path.as_bytes().to_vec() }, None);
        if let Some(interpreter) = interpreter {
            self.need(&mut loading, 0, &[interpreter], NeedSource::Interpreter);
        }
        if is_program && loading.kind == LoaderKind::Glibc {
            for name in &self.search.settings().preload {
                self.need(&mut loading, 0, std::slice::from_ref(name), NeedSource::Preload);
            }
        }
        self.load_needs(&mut loading, 0);
        self.load_dlopened(&mut loading);
        Some(loading)
    }

    /// Finds what would meet a need of an object of a loading, maybe of another tree, if nothing were loaded yet: with
    /// every version that it asks for. Returns the name too.
    pub(super) fn find_serving(
        &mut self,
        loading: &Loading,
        by: usize,
        need: &Need,
    ) -> Option<(String, Way)> {
        let object = loading.objects.get(by)?;
        let chain = loading.chain(by);
        need.names(object).iter().find_map(|name| {
            let way = self.search.find(&loading.kind, loading.machine, name, &chain)?.way;
            object.way.file.versions_missing_in(&way.file, name).is_empty().then(|| (name.clone(), way))
        })
    }

    /// Loads what the objects from an index on need, breadth first.
    fn load_needs(&mut self, loading: &mut Loading, from: usize) {
        let mut next = from;
        while let Some(object) = loading.objects.get(next) {
            let file = object.way.file.clone();
            for name in &file.facts.needed {
                self.need(loading, next, std::slice::from_ref(name), NeedSource::Needed);
            }
            next += 1;
        }
    }

    /// Loads what the objects say that they may load later, and what that needs.
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

    /// Finds what an object needs: the first of some names that is loaded already or is found.
    fn need(&mut self, loading: &mut Loading, by: usize, names: &[String], source: NeedSource) {
        let found = names.iter().find_map(|name| Some((name, self.one(loading, by, name)?)));
        let Some(asked) = names.first().cloned() else { return };
        let (name, found) = match found {
            Some((name, index)) => (name.clone(), Some(index)),
            None => (asked.clone(), None),
        };
        if let Some(index) = found {
            loading.names.insert(name.clone(), index);
        }
        loading.objects[by].needs.push(Need { name, asked, source, found });
    }

    fn one(&mut self, loading: &mut Loading, by: usize, name: &str) -> Option<usize> {
        if let Some(index) = loading.loaded(name) {
            return Some(index);
        }
        let found = {
            let chain = loading.chain(by);
            self.search.find(&loading.kind, loading.machine, name, &chain)?
        };
        Some(loading.add(found, Some(by)))
    }
}

impl Loading {
    /// The index of what is loaded under a name.
    fn loaded(&self, name: &str) -> Option<usize> {
        if let Some(index) = self.names.get(name) {
            return Some(*index);
        }
        let stem = name.strip_prefix("lib").and_then(|rest| rest.split_once('.')).map(|(stem, _)| stem);
        let is_own =
            matches!(self.kind, LoaderKind::Musl(_)) && stem.is_some_and(|stem| MUSL_OWN.contains(&stem));
        let is_interpreter = |need: &&Need| need.source == NeedSource::Interpreter;
        let interpreter = || self.objects.first()?.needs.iter().find(is_interpreter)?.found;
        if is_own && !name.starts_with("libc.musl-") { interpreter() } else { None }
    }

    /// Adds an object, unless the same file is there already.
    fn add(&mut self, found: Found, loaded_by: Option<usize>) -> usize {
        let Found { way, opened } = found;
        if let Some(known) = self.objects.iter().position(|object| Arc::ptr_eq(&object.way.file, &way.file)) {
            return known;
        }
        let index = self.objects.len();
        if let Some(soname) = &way.file.facts.soname {
            self.names.entry(soname.clone()).or_insert(index);
        }
        let end = opened.iter().rposition(|byte| *byte == b'/').unwrap_or_default();
        let origin = if end == 0 { b"/".to_vec() } else { opened[..end].to_vec() };
        self.objects.push(LoadedObject { way, loaded_by, needs: Vec::new(), origin });
        index
    }

    /// The one that needs something, the one that it was loaded for, and so on up to the program.
    fn chain(&self, from: usize) -> Vec<Searcher<'_>> {
        let mut chain = Vec::new();
        let mut next = Some(from);
        while let Some(object) = next.and_then(|index| self.objects.get(index)) {
            chain.push(Searcher { facts: &object.way.file.facts, origin: &object.origin });
            next = object.loaded_by;
        }
        chain
    }

    /// Returns what is needed and was not found, with the index of the object that needs it.
    pub fn unmet(&self) -> impl Iterator<Item = (usize, &Need)> {
        let needs = self.objects.iter().enumerate();
        let needs = needs.flat_map(|(index, object)| object.needs.iter().map(move |need| (index, need)));
        needs.filter(|(_, need)| need.found.is_none())
    }
}
