//! Maps paths as named by people to names in records.
//!
//! ```text
//!   named ──► links of its directories ──► place ◄── links ◄── contents, lists of dpkg and rpm
//!                                            ▲
//!                                            └── diversions
//! ```
//! `/usr/bin/ping` and `/bin/ping` are one place if `/bin` is a link, and packages list either.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use memchr::{memchr, memmem::Finder};

use crate::operation::failure::Failure;
use patchadm_inputs::database::contents::{self, ContentsLines};
use patchadm_inputs::database::{DatabaseError, RecordView};
use patchadm_inputs::native::{DivertedPath, NativeIndex, NativeOrigin, NativeOwner, NativeReader};
use patchadm_rootfs::{Resolver, Root};
use patchadm_svr4::format::contents::key_of;
use patchadm_svr4::package::{ObjectPath, Params, last_component};

#[derive(Clone, Debug)]
pub struct RecordedPath {
    /// With links of directories followed.
    pub place: ObjectPath,
    /// Possible recorded names: as given, then `place`.
    pub spellings: Vec<ObjectPath>,
    /// Packages of dpkg and rpm that own it.
    pub native: Vec<NativeListing>,
    /// Files of dpkg listed here that lie elsewhere.
    pub diverted: Vec<DivertedPath>,
    /// Files of dpkg that lie here but are listed elsewhere, as in records before the diversion.
    pub diverted_here: Vec<DivertedPath>,
}

impl RecordedPath {
    pub fn names(&self) -> RecordedNames<'_> {
        let mut before: HashMap<&str, Vec<&ObjectPath>> = HashMap::new();
        for one in &self.diverted_here {
            before.entry(one.package.as_str()).or_default().push(&one.listed);
        }
        let diverted = self.diverted.iter().map(|one| one.package.as_str()).collect();
        let pairs = self.diverted_here.iter().map(|one| (one.package.as_str(), &one.listed)).collect();
        RecordedNames { spellings: &self.spellings, diverted, before, pairs }
    }
}

/// The names that each package may have recorded for a path.
pub struct RecordedNames<'p> {
    spellings: &'p [ObjectPath],
    /// Packages whose file lies elsewhere.
    diverted: HashSet<&'p str>,
    before: HashMap<&'p str, Vec<&'p ObjectPath>>,
    /// The same: packages with their names.
    pairs: HashSet<(&'p str, &'p ObjectPath)>,
}

impl RecordedNames<'_> {
    /// Empty for a package whose file lies elsewhere.
    pub fn of(&self, params: Option<&Params>) -> Vec<ObjectPath> {
        let name = params.and_then(NativeOrigin::of).map(|origin| origin.name).unwrap_or_default();
        if self.diverted.contains(name.as_str()) {
            return Vec::new();
        }
        let before = self.before.get(name.as_str()).into_iter().flatten().copied();
        self.spellings.iter().chain(before).cloned().collect()
    }

    /// Returns true if [`of`](Self::of) has this path, which may be one of the spellings.
    pub fn has(&self, params: Option<&Params>, path: &ObjectPath, is_spelling: bool) -> bool {
        let name = params.and_then(NativeOrigin::of).map(|origin| origin.name).unwrap_or_default();
        !self.diverted.contains(name.as_str()) && (is_spelling || self.pairs.contains(&(name.as_str(), path)))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NativeListing {
    pub owner: NativeOwner,
    /// As listed.
    pub listed: ObjectPath,
    /// Behind a diversion.
    pub lies_at: ObjectPath,
}

pub struct PathFinder<'r> {
    resolver: Resolver<'r>,
    index: &'r NativeIndex,
    /// By the place of the listed path.
    diverted: HashMap<ObjectPath, Vec<&'r DivertedPath>>,
    diverted_here: HashMap<ObjectPath, Vec<&'r DivertedPath>>,
    /// By package and place as in the diversion.
    listed: HashMap<(&'r str, &'r ObjectPath), &'r ObjectPath>,
}

struct NamedPlaces(HashSet<ObjectPath>);

impl NamedPlaces {
    /// True for a path at or below one of them.
    fn has(&self, path: &ObjectPath) -> bool {
        self.0.contains(path) || path.ancestors_bytes().any(|above| self.0.contains(above))
    }
}

/// Returns lines under any name of a path. Ignores diversions.
pub fn recorded_lines(view: &RecordView<'_>, paths: &[ObjectPath]) -> Result<Vec<ContentsLines>, Failure> {
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let index = NativeIndex::default();
    let found = PathFinder::new(view.root(), &index).find(view, paths)?;
    let lines = |one: RecordedPath| {
        let spellings: BTreeSet<ObjectPath> = one.spellings.into_iter().collect();
        contents::lines_at(view, &spellings, &[]).map_err(|error| DatabaseError::from(error).into())
    };
    found.into_iter().map(lines).collect()
}

/// True at or below a named place; always true if none is named.
pub fn is_within<'a>(root: &'a Root, named: &'a [ObjectPath]) -> impl Fn(&ObjectPath) -> bool + 'a {
    let index =
        if named.is_empty() { NativeIndex::default() } else { NativeIndex::read(&NativeReader::of(root)) };
    is_within_by(root, &index, named)
}

pub fn is_within_by<'a>(
    root: &'a Root,
    index: &NativeIndex,
    named: &[ObjectPath],
) -> impl Fn(&ObjectPath) -> bool + use<'a> {
    let finder = PathFinder::new(root, index);
    let mut places = HashSet::new();
    for named in named {
        let at = finder.place(named);
        let diverted = finder.diverted.get(&at).into_iter().flatten();
        places.extend(diverted.map(|one| finder.place(&one.place)));
        // The name of a directory may be a link to it.
        places.extend(finder.resolver.locate_dir(named).ok());
        places.insert(at);
    }
    let (named, places) = (NamedPlaces(named.iter().cloned().collect()), NamedPlaces(places));
    let resolver = root.resolver();
    move |path| named.0.is_empty() || named.has(path) || places.has(&place_in(&resolver, path))
}

impl<'r> PathFinder<'r> {
    pub fn new(root: &'r Root, index: &'r NativeIndex) -> Self {
        let mut finder = Self {
            resolver: root.resolver(),
            index,
            diverted: HashMap::new(),
            diverted_here: HashMap::new(),
            listed: HashMap::new(),
        };
        for one in index.diverted() {
            let (from, to) = (finder.place(&one.listed), finder.place(&one.place));
            finder.diverted.entry(from).or_default().push(one);
            finder.diverted_here.entry(to).or_default().push(one);
            finder.listed.entry((one.package.as_str(), &one.place)).or_insert(&one.listed);
        }
        finder
    }

    pub fn find(&self, view: &RecordView<'_>, paths: &[ObjectPath]) -> Result<Vec<RecordedPath>, Failure> {
        let mut found: Vec<RecordedPath> = paths.iter().map(|path| self.native(path)).collect();
        let aliases = self.aliases(view, &found)?;
        for one in &mut found {
            one.spellings.extend(aliases.get(&one.place).into_iter().flatten().cloned());
            keep_first(&mut one.spellings);
        }
        Ok(found)
    }

    fn place(&self, path: &ObjectPath) -> ObjectPath {
        place_in(&self.resolver, path)
    }

    fn native(&self, named: &ObjectPath) -> RecordedPath {
        let place = self.place(named);
        let mut spellings = vec![named.clone()];
        let mut native = Vec::new();
        for (owner, spelled) in self.index.listings(&place, &self.resolver).unwrap_or_default() {
            let Ok(lies_at) = ObjectPath::new(spelled) else { continue };
            let listed = self.listed.get(&(owner.origin.name.as_str(), &lies_at)).copied();
            let listed = listed.unwrap_or(&lies_at).clone();
            spellings.push(lies_at.clone());
            native.push(NativeListing { owner: owner.clone(), listed, lies_at });
        }
        native.sort();
        native.dedup();
        spellings.insert(1, place.clone());
        keep_first(&mut spellings);
        let at = |diverted: &HashMap<ObjectPath, Vec<&DivertedPath>>| -> Vec<DivertedPath> {
            diverted.get(&place).into_iter().flatten().copied().cloned().collect()
        };
        let (diverted, diverted_here) = (at(&self.diverted), at(&self.diverted_here));
        RecordedPath { place, spellings, native, diverted, diverted_here }
    }

    fn aliases(
        &self,
        view: &RecordView<'_>,
        found: &[RecordedPath],
    ) -> Result<BTreeMap<ObjectPath, BTreeSet<ObjectPath>>, Failure> {
        let names: HashSet<&[u8]> = found.iter().map(|one| one.place.name()).collect();
        // Nearly all lines fail the search for the bare name, which is much cheaper than their key.
        let name = names.iter().next().filter(|_| names.len() == 1);
        let name = name.map(Finder::new);
        let may_have = |raw: &[u8]| {
            name.as_ref().is_none_or(|name| name.find(raw).is_some() || memchr(b'\\', raw).is_some())
        };
        let lines = contents::scan(view, |raw| may_have(raw) && names.contains(last_component(&key_of(raw))));
        let mut aliases: BTreeMap<ObjectPath, BTreeSet<ObjectPath>> = BTreeMap::new();
        for path in lines.map_err(DatabaseError::from)?.into_keys() {
            aliases.entry(self.place(&path)).or_default().insert(path);
        }
        Ok(aliases)
    }
}

fn place_in(resolver: &Resolver<'_>, path: &ObjectPath) -> ObjectPath {
    resolver.locate_object(path).unwrap_or_else(|_| path.clone())
}

/// Removes what comes again.
fn keep_first(paths: &mut Vec<ObjectPath>) {
    let mut known = HashSet::new();
    paths.retain(|path| known.insert(path.clone()));
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn at(path: &str) -> ObjectPath {
        ObjectPath::new(path.as_bytes()).unwrap()
    }

    #[test]
    fn a_path_is_within_a_named_one_in_any_spelling_and_behind_its_diversion() {
        let dir = tempfile::tempdir().unwrap();
        let records = dir.path().join("var/lib/dpkg");
        std::fs::create_dir_all(records.join("info")).unwrap();
        std::fs::write(records.join("info/bash.list"), "/bin/sh\n").unwrap();
        std::fs::write(records.join("diversions"), "/bin/sh\n/bin/sh.distrib\ndash\n").unwrap();
        std::fs::create_dir_all(dir.path().join("usr/bin")).unwrap();
        symlink("usr/bin", dir.path().join("bin")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let within = |named: &str, paths: [&str; 3]| {
            let named = [at(named)];
            let is_within = is_within(&root, &named);
            paths.map(|path| is_within(&at(path)))
        };
        assert_eq!(within("/bin/sh", ["/usr/bin/sh", "/usr/bin/sh.distrib", "/bin/x"]), [true, true, false]);
        assert_eq!(within("/bin", ["/usr/bin/x", "/bin", "/usr/lib/x"]), [true, true, false]);
        assert_eq!(within("/", ["/x", "/usr/bin/x", "/"]), [true, true, true]);
        assert_eq!(within("/usr/b", ["/usr/bin", "/usr/b", "/usr/b/x"]), [false, true, true]);
        assert!(is_within(&root, &[])(&at("/x")));
    }

    /// With a comparison of each path with each diversion, this would not end.
    #[test]
    fn very_many_diversions_are_resolved_once_each() {
        let dir = tempfile::tempdir().unwrap();
        let records = dir.path().join("var/lib/dpkg");
        std::fs::create_dir_all(records.join("info")).unwrap();
        let all = 0..100_000;
        let list = all.clone().map(|number| format!("/a/{number}/x\n")).collect::<Vec<_>>().concat();
        let diversions: Vec<String> =
            all.map(|number| format!("/a/{number}/x\n/a/{number}/x.distrib\nother\n")).collect();
        std::fs::write(records.join("info/one.list"), &list).unwrap();
        std::fs::write(records.join("diversions"), diversions.concat()).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let named: Vec<ObjectPath> = list.lines().map(at).collect();
        let is_within = is_within(&root, &named);
        assert!(named.iter().all(&is_within));
        assert!((0..100_000).all(|number| is_within(&at(&format!("/a/{number}/x.distrib")))));
        assert!(!is_within(&at("/a/0/y")));
    }
}
