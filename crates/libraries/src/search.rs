//! The search of the loader for one name, by the rules of glibc and musl (patchadm-shlibs(7), "The search").
//! glibc: RPATH of the chain of loaders unless the object has a RUNPATH, its RUNPATH, `etc/ld.so.conf`, the defaults.
//! musl: RPATH or RUNPATH of the whole chain, then the directories of its path file, or its own.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};
use patchadm_rootfs::{Followed, Interrupt, never};
use patchadm_svr4::package::ObjectPath;

use crate::elf::{ElfFacts, ElfMachine};
use crate::settings::LoaderSettings;
use crate::tree::{DifferingPaths, Follower, LibraryFile, LibraryTree, ResolvedPath, is_library_name};

/// Searched by musl without a path file.
const MUSL_DIRECTORIES: [&str; 3] = ["/lib", "/usr/local/lib", "/usr/lib"];

/// Limits the values that the variables of one directory expand to.
const MOST_VALUES: usize = 8;

/// Limits the inherited directories searched for one program. A library found only beyond that counts as missing.
const MOST_INHERITED: usize = 1 << 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct OpenedNumber(usize);

impl OpenedNumber {
    pub(super) const fn index(self) -> usize {
        self.0
    }
}

pub(super) struct Opened {
    pub(super) way: Rc<ResolvedPath>,
    /// The value of `$ORIGIN`.
    pub(super) origin: Rc<[u8]>,
    pub(super) file: usize,
    pub(super) soname: Option<NameNumber>,
    pub(super) path: PathNumber,
}

/// The facts about a loading object, and the directory that `$ORIGIN` stands for.
#[derive(Clone, Copy)]
pub(super) struct Searcher<'f> {
    pub(super) facts: &'f ElfFacts,
    pub(super) origin: &'f [u8],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LoaderKind {
    Glibc,
    /// With the name of its architecture.
    Musl(String),
}

impl LoaderKind {
    /// Returns the loader that a program names, or the one that a library is made for.
    pub(super) fn of(facts: &ElfFacts) -> Self {
        let own =
            facts.interpreter.iter().filter_map(|path| path.rsplit('/').next()?.strip_prefix("ld-musl-"));
        let mut arch = own.chain(facts.needed.iter().filter_map(|name| name.strip_prefix("libc.musl-")));
        let arch = arch.next().map(|rest| rest.split(".so").next().unwrap_or(rest).to_owned());
        arch.map_or(Self::Glibc, Self::Musl)
    }
}

/// Caches results that do not depend on the program.
pub(super) struct LibrarySearch<'t> {
    tree: &'t LibraryTree,
    follower: Follower<'t>,
    settings: &'t LoaderSettings,
    names: Rc<Names>,
    differences: &'t DifferingPaths,
    /// True if the search reached one of the differences.
    has_met: bool,
    directories: HashMap<Vec<u8>, Known<Rc<Followed>>>,
    defaults: HashMap<ElfMachine, Rc<[String]>>,
    by_root: HashMap<(ElfMachine, bool), HashMap<String, Known<OpenedNumber>>>,
    /// By directory and SONAME, as `ldconfig` would link them; determined on first use.
    named: Option<NamedFiles<'t>>,
    opened: Vec<Opened>,
    by_path: HashMap<Rc<[u8]>, OpenedNumber>,
    /// Opened at their physical path and not yet under a name. An object that a search finds later gets another number.
    started: HashMap<ObjectPath, OpenedNumber>,
    files: HashMap<*const LibraryFile, usize>,
    /// Directories of inherited search paths that may still be searched for the current program.
    inherited_left: usize,
    interrupt: Interrupt<'t>,
    /// Once true, nothing is found.
    is_ended: bool,
}

type NamedFiles<'t> = HashMap<(&'t [u8], &'t str), Vec<&'t [u8]>>;

/// The cached result, and true if its search reached one of the differences.
type Known<T> = (Option<T>, bool);

impl<'t> LibrarySearch<'t> {
    pub(super) fn new(
        tree: &'t LibraryTree,
        settings: &'t LoaderSettings,
        names: Rc<Names>,
        differences: &'t DifferingPaths,
    ) -> Self {
        Self {
            tree,
            follower: Follower::noticing(tree, differences),
            settings,
            names,
            differences,
            has_met: false,
            directories: HashMap::new(),
            defaults: HashMap::new(),
            by_root: HashMap::new(),
            named: None,
            opened: Vec::new(),
            by_path: HashMap::new(),
            started: HashMap::new(),
            files: HashMap::new(),
            inherited_left: MOST_INHERITED,
            interrupt: &never,
            is_ended: false,
        }
    }

    /// Makes the search find nothing once a signal asks for the end.
    pub(super) fn ended_by(&mut self, interrupt: Interrupt<'t>) {
        self.interrupt = interrupt;
    }

    pub(super) fn is_ended(&mut self) -> bool {
        self.is_ended = self.is_ended || (self.interrupt)().is_some();
        self.is_ended
    }

    pub(super) fn begin(&mut self) {
        self.inherited_left = MOST_INHERITED;
    }

    pub(super) fn may_inherit(&self) -> bool {
        self.inherited_left > 0
    }

    /// Returns true if a difference was reached since the last call.
    pub(super) fn take_met(&mut self) -> bool {
        std::mem::take(&mut self.has_met)
    }

    pub(super) fn meet_again(&mut self, has_met: bool) {
        self.has_met |= has_met;
    }

    pub(super) fn open_physical(&mut self, path: &ObjectPath) -> Option<OpenedNumber> {
        self.has_met |= self.differences.has_path(path.as_bytes());
        let file = self.tree.file_at(path)?;
        let is_physical = |number: &&OpenedNumber| {
            self.opened(**number)
                .is_some_and(|opened| opened.way.links.is_empty() && opened.way.path == *path)
        };
        if let Some(number) = self.by_path.get(path.as_bytes()).filter(is_physical) {
            return Some(*number);
        }
        if let Some(number) = self.started.get(path) {
            return Some(*number);
        }
        let way = ResolvedPath { links: Vec::new(), path: path.clone(), file: file.clone() };
        let number = self.add(way, path.as_bytes());
        self.started.insert(path.clone(), number);
        Some(number)
    }

    pub(super) fn opened(&self, number: OpenedNumber) -> Option<&Opened> {
        self.opened.get(number.0)
    }

    fn open(&mut self, way: ResolvedPath, path: &[u8]) -> OpenedNumber {
        if let Some(number) = self.by_path.get(path) {
            return *number;
        }
        let number = self.add(way, path);
        self.by_path.insert(path.into(), number);
        number
    }

    fn add(&mut self, way: ResolvedPath, path: &[u8]) -> OpenedNumber {
        let next = self.files.len();
        let file = *self.files.entry(Arc::as_ptr(&way.file)).or_insert(next);
        let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or_default();
        let origin = if end == 0 { b"/" } else { &path[..end] };
        let number = OpenedNumber(self.opened.len());
        let soname = way.file.facts.soname.as_deref().map(|soname| self.names.number(soname));
        let path = self.names.path_number(&way.path);
        self.opened.push(Opened { way: Rc::new(way), origin: origin.into(), file, soname, path });
        number
    }

    pub(super) fn file_number(&self, file: &Arc<LibraryFile>) -> Option<usize> {
        self.files.get(&Arc::as_ptr(file)).copied()
    }

    pub(super) fn names(&self) -> &Rc<Names> {
        &self.names
    }

    pub(super) fn settings(&self) -> &'t LoaderSettings {
        self.settings
    }

    /// Searches a name for the first object of a chain: the one that needs it, the one that loaded that, and so on.
    pub(super) fn find(
        &mut self,
        kind: &LoaderKind,
        machine: ElfMachine,
        name: &str,
        chain: &[Searcher<'_>],
    ) -> Option<OpenedNumber> {
        if self.is_ended() {
            return None;
        }
        let consumer = chain.first()?;
        if name.contains('/') {
            let paths = expanded(name, consumer.origin, machine);
            return paths.into_iter().find_map(|path| self.at_path(&path, machine));
        }
        match kind {
            LoaderKind::Glibc => self.by_glibc(machine, name, chain, consumer.facts),
            LoaderKind::Musl(arch) => self.by_musl(machine, name, chain, arch),
        }
    }

    fn by_glibc(
        &mut self,
        machine: ElfMachine,
        name: &str,
        chain: &[Searcher<'_>],
        consumer: &ElfFacts,
    ) -> Option<OpenedNumber> {
        let inherited = if consumer.runpath.is_none() { chain } else { &[] };
        let rpaths = inherited.iter().filter_map(|one| Some((one.facts.rpath.as_deref()?, one.origin)));
        let own = chain.iter().take(1).filter_map(|one| Some((one.facts.runpath.as_deref()?, one.origin)));
        let is_inherited = inherited.len() > 1;
        for (list, origin) in rpaths.chain(own) {
            if is_inherited && !self.spend(list) {
                break;
            }
            if let Some(found) = self.in_list(list, origin, machine, name) {
                return Some(found);
            }
        }
        let key = (machine, consumer.searches_default_directories());
        if let Some((found, has_met)) = self.by_root.entry(key).or_default().get(name) {
            self.has_met |= has_met;
            return *found;
        }
        let has_met = self.take_met();
        let found = self.in_root(machine, name, consumer.searches_default_directories());
        self.by_root.entry(key).or_default().insert(name.to_owned(), (found, self.has_met));
        self.has_met |= has_met;
        found
    }

    fn by_musl(
        &mut self,
        machine: ElfMachine,
        name: &str,
        chain: &[Searcher<'_>],
        arch: &str,
    ) -> Option<OpenedNumber> {
        for one in chain {
            let list = one.facts.runpath.as_deref().or(one.facts.rpath.as_deref());
            if chain.len() > 1 && !self.spend(list.unwrap_or_default()) {
                break;
            }
            let found = list.and_then(|list| self.in_list(list, one.origin, machine, name));
            if found.is_some() {
                return found;
            }
        }
        let own = MUSL_DIRECTORIES.map(str::to_owned);
        let settings = self.settings;
        let directories = settings.musl.get(arch).map_or(&own[..], Vec::as_slice);
        directories.iter().find_map(|directory| self.in_directory(directory.as_bytes(), machine, name))
    }

    /// Takes the directories of an inherited search path from the budget.
    fn spend(&mut self, list: &str) -> bool {
        let left = self.inherited_left.checked_sub(list.split(':').count());
        self.inherited_left = left.unwrap_or_default();
        left.is_some()
    }

    /// Searches `etc/ld.so.conf`, then the default directories.
    fn in_root(&mut self, machine: ElfMachine, name: &str, with_defaults: bool) -> Option<OpenedNumber> {
        let defaults =
            self.defaults.entry(machine).or_insert_with(|| default_directories(machine).into()).clone();
        let is_library = is_library_name(name.as_bytes());
        let settings = self.settings;
        for directory in settings.directories.iter().filter(|_| is_library) {
            if with_defaults || !defaults.contains(directory) {
                let found = self.by_ldconfig(directory, machine, name);
                if found.is_some() {
                    return found;
                }
            }
        }
        defaults.iter().filter(|_| with_defaults).find_map(|directory| {
            if is_library {
                self.by_ldconfig(directory, machine, name)
            } else {
                self.in_directory(directory.as_bytes(), machine, name)
            }
        })
    }

    /// Searches as if `ldconfig` had just made its links: by name, else by SONAME.
    fn by_ldconfig(&mut self, directory: &str, machine: ElfMachine, name: &str) -> Option<OpenedNumber> {
        if let Some(found) = self.in_directory(directory.as_bytes(), machine, name) {
            return Some(found);
        }
        let physical = self.directory(directory.as_bytes())?;
        self.has_met |= self.differences.has_name(physical.path(), name);
        let names =
            self.named.get_or_insert_with(|| named_files(self.tree)).get(&(physical.path(), name))?.clone();
        names.iter().rev().find_map(|file| self.file(directory.as_bytes(), machine, file))
    }

    /// Searches a list of directories, as RPATH and RUNPATH write it.
    fn in_list(
        &mut self,
        list: &str,
        origin: &[u8],
        machine: ElfMachine,
        name: &str,
    ) -> Option<OpenedNumber> {
        list.split(':').find_map(|directory| {
            // A list may name thousands of directories.
            if self.is_ended() {
                return None;
            }
            let directories = expanded(directory, origin, machine);
            directories.into_iter().find_map(|directory| self.in_directory(&directory, machine, name))
        })
    }

    fn in_directory(&mut self, directory: &[u8], machine: ElfMachine, name: &str) -> Option<OpenedNumber> {
        self.file(directory, machine, name.as_bytes())
    }

    /// Skips files for another class or machine.
    fn file(&mut self, directory: &[u8], machine: ElfMachine, name: &[u8]) -> Option<OpenedNumber> {
        let followed = self.directory(directory)?;
        let way = self.follower.follow_name(&followed, name, &mut self.has_met)?;
        let is_for_machine = way.file.facts.machine == machine;
        is_for_machine.then(|| self.open(way, &[directory, b"/", name].concat()))
    }

    fn at_path(&mut self, path: &[u8], machine: ElfMachine) -> Option<OpenedNumber> {
        let way = self.follower.follow_noticing(path, &mut self.has_met)?;
        (way.file.facts.machine == machine).then(|| self.open(way, path))
    }

    fn directory(&mut self, path: &[u8]) -> Option<Rc<Followed>> {
        if let Some((followed, has_met)) = self.directories.get(path) {
            self.has_met |= has_met;
            return followed.clone();
        }
        let mut has_met = false;
        let followed = self.follower.follow_directory(path, &mut has_met).map(Rc::new);
        self.directories.insert(path.to_vec(), (followed.clone(), has_met));
        self.has_met |= has_met;
        followed
    }
}

/// Returns the names of the libraries of a tree by directory and SONAME, sorted.
fn named_files(tree: &LibraryTree) -> NamedFiles<'_> {
    let mut named = NamedFiles::new();
    for (path, file) in tree.files().filter(|(path, _)| is_library_name(path.name())) {
        if let (Some(directory), Some(soname)) = (path.parent_bytes(), &file.facts.soname) {
            named.entry((directory, soname)).or_default().push(path.name());
        }
    }
    for names in named.values_mut() {
        names.sort_unstable();
    }
    named
}

/// Expands `$ORIGIN`, `$LIB` and `$PLATFORM` to absolute paths: several if the loader's built-in value is unknown.
/// Relative results depend on the working directory, and are left out.
fn expanded(text: &str, origin: &[u8], machine: ElfMachine) -> Vec<Vec<u8>> {
    if !text.contains('$') {
        return if text.starts_with('/') { vec![text.as_bytes().to_vec()] } else { Vec::new() };
    }
    let values = |name: &str| -> Vec<Vec<u8>> {
        match name {
            "ORIGIN" => vec![origin.to_vec()],
            "LIB" => lib_names(machine).into_iter().map(String::into_bytes).collect(),
            "PLATFORM" => platform(machine).map(|name| name.as_bytes().to_vec()).into_iter().collect(),
            _ => Vec::new(),
        }
    };
    let mut paths: Vec<Vec<u8>> = vec![Vec::new()];
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        for path in &mut paths {
            path.extend_from_slice(before.as_bytes());
        }
        let token = ["ORIGIN", "LIB", "PLATFORM"].into_iter().find_map(|name| {
            let after = match after.strip_prefix('{') {
                Some(braced) => braced.strip_prefix(name)?.strip_prefix('}')?,
                None => after.strip_prefix(name)?,
            };
            Some((name, after))
        });
        let (values, after) =
            token.map_or((vec![b"$".to_vec()], after), |(name, after)| (values(name), after));
        paths = paths
            .iter()
            .flat_map(|path| values.iter().map(move |value| [&path[..], value].concat()))
            .take(MOST_VALUES)
            .collect();
        rest = after;
    }
    for path in &mut paths {
        path.extend_from_slice(rest.as_bytes());
    }
    paths.retain(|path| path.starts_with(b"/"));
    paths
}

/// By `e_machine`: names of multiarch directories, and the platform.
const MACHINES: [(ElfMachine, &[&str], &str); 13] = [
    (of(62, true), &["x86_64-linux-gnu"], "x86_64"),
    (of(62, false), &["x86_64-linux-gnux32"], "x86_64"),
    (of(3, false), &["i386-linux-gnu"], "i686"),
    (of(183, true), &["aarch64-linux-gnu"], "aarch64"),
    (of(40, false), &["arm-linux-gnueabihf", "arm-linux-gnueabi"], "v7l"),
    (of(21, true), &["powerpc64le-linux-gnu", "powerpc64-linux-gnu"], "power8"),
    (of(20, false), &["powerpc-linux-gnu"], "ppc"),
    (of(22, true), &["s390x-linux-gnu"], "z900"),
    (of(243, true), &["riscv64-linux-gnu"], "riscv64"),
    (of(258, true), &["loongarch64-linux-gnu"], "loongarch64"),
    (of(8, false), &["mipsel-linux-gnu", "mips-linux-gnu"], "mips"),
    (of(8, true), &["mips64el-linux-gnuabi64", "mips64-linux-gnuabi64"], "mips64"),
    (of(43, true), &["sparc64-linux-gnu"], "sparc64"),
];

const fn of(number: u16, is_64: bool) -> ElfMachine {
    ElfMachine { number, is_64 }
}

fn known(machine: ElfMachine) -> Option<&'static (ElfMachine, &'static [&'static str], &'static str)> {
    MACHINES.iter().find(|(known, ..)| *known == machine)
}

fn multiarch(machine: ElfMachine) -> &'static [&'static str] {
    known(machine).map_or(&[], |(_, names, _)| names)
}

fn default_directories(machine: ElfMachine) -> Vec<String> {
    let names = multiarch(machine);
    let own =
        ["/lib", "/usr/lib"].into_iter().flat_map(|at| names.iter().map(move |name| format!("{at}/{name}")));
    let wide: &[&str] = if machine.is_64 { &["/lib64", "/usr/lib64"] } else { &[] };
    own.chain(wide.iter().chain(&["/lib", "/usr/lib"]).map(|at| (*at).to_owned())).collect()
}

/// Returns the values that `$LIB` may have, depending on how the loader was built.
fn lib_names(machine: ElfMachine) -> Vec<String> {
    let own = multiarch(machine).iter().map(|name| format!("lib/{name}"));
    let wide = machine.is_64.then(|| "lib64".to_owned());
    own.chain(wide).chain(["lib".to_owned()]).collect()
}

fn platform(machine: ElfMachine) -> Option<&'static str> {
    known(machine).map(|(_, _, platform)| *platform)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct NameNumber(u32);

impl NameNumber {
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PathNumber(u32);

impl PathNumber {
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Users that share the names have the same numbers.
#[derive(Debug, Default)]
pub(super) struct Names(RefCell<KnownNames>);

#[derive(Debug, Default)]
struct KnownNames {
    numbers: HashMap<Rc<str>, NameNumber>,
    texts: Vec<Rc<str>>,
    paths: HashMap<ObjectPath, PathNumber>,
}

impl Names {
    pub(super) fn number(&self, name: &str) -> NameNumber {
        let mut known = self.0.borrow_mut();
        if let Some(number) = known.numbers.get(name) {
            return *number;
        }
        // Files with so many names do not fit into memory.
        let number = NameNumber(u32::try_from(known.texts.len()).unwrap_or(u32::MAX));
        let text = Rc::<str>::from(name);
        known.texts.push(text.clone());
        known.numbers.insert(text, number);
        number
    }

    pub(super) fn text(&self, number: NameNumber) -> Rc<str> {
        self.0.borrow().texts.get(number.index()).cloned().unwrap_or_else(|| Rc::from(""))
    }

    fn path_number(&self, path: &ObjectPath) -> PathNumber {
        let mut known = self.0.borrow_mut();
        let next = PathNumber(u32::try_from(known.paths.len()).unwrap_or(u32::MAX));
        *known.paths.entry(path.clone()).or_insert(next)
    }
}
