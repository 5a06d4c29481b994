//! Programs and libraries, what a loader makes of them, and what is kept in mind about them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use patchadm_libraries::decision::{
    CandidateNode, CandidateOrigin, LibraryCandidate, LibraryChange, SymbolSource,
};
use patchadm_libraries::elf::{self, DlopenNote, ElfFacts, ElfSymbols, PartsKeeper};
use patchadm_libraries::{
    ConfigFiles, FactsCache, LibraryFile, LibraryTree, Loader, LoaderSettings, NeedSource,
};
use patchadm_svr4::package::ObjectPath;

/// A program or library, whole and as a stream.
pub fn elf(input: &[u8]) {
    let whole = (elf::read(&mut &*input), elf::read_symbols(&mut &*input));
    let mut keeper = PartsKeeper::default();
    input.chunks(1000).for_each(|piece| keeper.add(piece));
    let mut parts = keeper.finish();
    assert_eq!((elf::read(&mut parts), elf::read_symbols(&mut parts)), whole);
    assert_eq!(parts.missing(), None, "all of a small file is kept");
    if let Ok(symbols) = &whole.1 {
        let longest = symbols.exported.iter().chain(symbols.undefined.iter()).map(str::len).max();
        assert!(longest.unwrap_or_default() <= input.len());
    }
    let Ok(Some(object)) = whole.0 else { return };
    let names = object.needed.iter().chain(&object.soname).chain(&object.defines);
    assert!(
        names.map(String::len).max().unwrap_or_default() <= input.len(),
        "nothing comes out that is not there"
    );
}

/// A root in lines, the kind and the path first: `f PATH soname=… needed=…,… rpath=… runpath=… interp=… dlopen=…,…`,
/// `l PATH TARGET`, `t PATH …` is a file that a change takes away, `c PATH LINE` a line of a file of settings.
pub fn libraries(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (mut tree, mut candidates) = (LibraryTree::default(), BTreeMap::new());
    let mut settings = Settings::default();
    for line in text.lines().take(200) {
        let mut words = line.splitn(3, ' ');
        let (Some(kind), Some(path)) = (words.next(), words.next()) else { continue };
        let (Ok(path), rest) = (ObjectPath::new(path.as_bytes()), words.next().unwrap_or_default()) else {
            continue;
        };
        match kind {
            "f" | "t" => {
                let file = Arc::new(LibraryFile { facts: Arc::new(facts(rest)) });
                tree.put_file(path.clone(), Arc::clone(&file));
                if kind == "t" {
                    let (node, origin) = (CandidateNode::File(file), CandidateOrigin::TakenAway);
                    candidates.insert(path, LibraryCandidate { node, origin, obstacle: None });
                }
            }
            "l" => tree.put_link(path, rest.as_bytes()),
            "c" => settings.0.entry(path).or_default().push_str(&format!("{rest}\n")),
            _ => {}
        }
    }
    let settings = LoaderSettings::read(&settings);
    let count = tree.files().count();
    let mut loader = Loader::new(&tree, &settings);
    for (path, file) in tree.files() {
        let loading = loader.load(path).expect("it is there");
        assert!(loading.objects.len() <= count, "each file is loaded once");
        for need in loading.objects.iter().flat_map(|object| loading.needs_of(object)) {
            let found = need.found.map(|index| &loading.objects[index].way.file.facts.machine);
            assert!(
                need.source == NeedSource::Interpreter
                    || found.is_none_or(|found| *found == file.facts.machine)
            );
        }
    }
    let mut after = tree.clone();
    candidates.keys().for_each(|path| after.remove(path));
    let change = LibraryChange {
        before: &tree,
        after: &after,
        settings: &settings,
        candidates: &candidates,
        brought: &BTreeSet::new(),
        unserved: &BTreeSet::new(),
        others: &BTreeMap::new(),
        symbols: &NoSymbols,
        interrupt: &|| None,
    };
    let decision = change.decide();
    assert!(decision.kept.keys().all(|path| candidates.contains_key(path)));
}

fn facts(words: &str) -> ElfFacts {
    let mut facts = ElfFacts::default();
    for word in words.split(' ') {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let list = || value.split(',').map(str::to_owned).collect::<Vec<_>>();
        match name {
            "soname" => facts.soname = Some(value.to_owned()),
            "needed" => facts.needed = list(),
            "rpath" => facts.rpath = Some(value.to_owned()),
            "runpath" => facts.runpath = Some(value.to_owned()),
            "interp" => facts.interpreter = Some(value.to_owned()),
            "dlopen" => facts.dlopen.push(DlopenNote { soname: list(), priority: String::new() }),
            "defines" => facts.defines = list(),
            "other" => facts.machine.number = 3,
            _ => {}
        }
    }
    facts
}

#[derive(Default)]
struct Settings(BTreeMap<ObjectPath, String>);

impl ConfigFiles for Settings {
    fn content(&self, path: &ObjectPath) -> Option<Vec<u8>> {
        self.0.get(path).map(|text| text.clone().into_bytes())
    }

    fn names(&self, directory: &ObjectPath) -> Vec<Vec<u8>> {
        let own = self.0.keys().filter(|path| path.parent().as_ref() == Some(directory));
        own.map(|path| path.name().to_vec()).collect()
    }
}

struct NoSymbols;

impl SymbolSource for NoSymbols {
    fn symbols(&self, _: &Arc<LibraryFile>) -> Option<Arc<ElfSymbols>> {
        None
    }
}

/// Bytes of a cache as they stand on a disk, and behind a checksum that is right.
pub fn facts_cache(input: &[u8]) {
    /// Where the checksum stands.
    const CHECKSUM: usize = 28;
    let mut inputs = vec![input.to_vec()];
    if let Some((head, body)) = input.split_at_checked(CHECKSUM + 4) {
        let checksum = crc32c::crc32c(body).to_le_bytes();
        inputs.push([&head[..CHECKSUM], &checksum, body].concat());
    }
    for input in inputs {
        let cache = FactsCache::parse(&input);
        assert!(cache.len() <= input.len());
        assert_eq!(FactsCache::parse(&cache.write()), cache);
    }
}
