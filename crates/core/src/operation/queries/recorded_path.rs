//! Maps paths as named by people to names in records.
//!
//! ```text
//!   named ──► links of its directories ──► place ◄── links ◄── contents, lists of dpkg and rpm
//!                                            ▲
//!                                            └── diversions
//! ```
//! `/usr/bin/ping` and `/bin/ping` are one place if `/bin` is a link, and packages list either.

use std::collections::{BTreeMap, BTreeSet, HashSet};

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
    /// Empty for a package whose file lies elsewhere.
    pub fn names_for(&self, params: Option<&Params>) -> Vec<ObjectPath> {
        let origin = params.and_then(NativeOrigin::of);
        let is_of = |one: &&DivertedPath| origin.as_ref().is_some_and(|origin| origin.name == one.package);
        if self.diverted.iter().any(|one| is_of(&one)) {
            return Vec::new();
        }
        let before = self.diverted_here.iter().filter(is_of).map(|one| one.listed.clone());
        self.spellings.iter().cloned().chain(before).collect()
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
    move |path| named.is_empty() || PathFinder::new(root, &index).is_within(path, named)
}

impl<'r> PathFinder<'r> {
    pub fn new(root: &'r Root, index: &'r NativeIndex) -> Self {
        Self { resolver: root.resolver(), index }
    }

    pub fn find(&self, view: &RecordView<'_>, paths: &[ObjectPath]) -> Result<Vec<RecordedPath>, Failure> {
        let mut found: Vec<RecordedPath> = paths.iter().map(|path| self.native(path)).collect();
        let aliases = self.aliases(view, &found)?;
        for one in &mut found {
            for alias in aliases.get(&one.place).into_iter().flatten() {
                if !one.spellings.contains(alias) {
                    one.spellings.push(alias.clone());
                }
            }
        }
        Ok(found)
    }

    /// True at or below a named place.
    pub fn is_within(&self, path: &ObjectPath, named: &[ObjectPath]) -> bool {
        let is_in = |path: &ObjectPath, named: &ObjectPath| path == named || path.is_below(named);
        if named.iter().any(|named| is_in(path, named)) {
            return true;
        }
        let place = self.place(path);
        named.iter().any(|named| {
            let at = self.place(named);
            let diverted = self.index.diverted().iter().filter(|one| self.place(&one.listed) == at);
            let mut places: Vec<ObjectPath> = diverted.map(|one| self.place(&one.place)).collect();
            // The name of a directory may be a link to it.
            places.extend(self.resolver.locate_dir(named).ok());
            places.push(at);
            places.iter().any(|named| is_in(&place, named))
        })
    }

    fn place(&self, path: &ObjectPath) -> ObjectPath {
        self.resolver.locate_object(path).unwrap_or_else(|_| path.clone())
    }

    fn native(&self, named: &ObjectPath) -> RecordedPath {
        let place = self.place(named);
        let mut spellings = vec![named.clone()];
        let mut native = Vec::new();
        for (owner, spelled) in self.index.listings(&place, &self.resolver).unwrap_or_default() {
            let Ok(lies_at) = ObjectPath::new(spelled) else { continue };
            let is_it = |one: &&DivertedPath| one.package == owner.origin.name && one.place == lies_at;
            let listed = self.index.diverted().iter().find(is_it).map(|diverted| diverted.listed.clone());
            let listed = listed.unwrap_or_else(|| lies_at.clone());
            spellings.push(lies_at.clone());
            native.push(NativeListing { owner: owner.clone(), listed, lies_at });
        }
        native.sort();
        native.dedup();
        spellings.insert(1, place.clone());
        let mut known = HashSet::new();
        spellings.retain(|spelling| known.insert(spelling.clone()));
        let diverted = self.index.diverted().iter().filter(|one| self.place(&one.listed) == place);
        let here = self.index.diverted().iter().filter(|one| self.place(&one.place) == place);
        let (diverted, diverted_here) = (diverted.cloned().collect(), here.cloned().collect());
        RecordedPath { place, spellings, native, diverted, diverted_here }
    }

    fn aliases(
        &self,
        view: &RecordView<'_>,
        found: &[RecordedPath],
    ) -> Result<BTreeMap<ObjectPath, BTreeSet<ObjectPath>>, Failure> {
        let names: HashSet<&[u8]> = found.iter().map(|one| one.place.name()).collect();
        let lines = contents::scan(view, |raw| names.contains(last_component(&key_of(raw))));
        let mut aliases: BTreeMap<ObjectPath, BTreeSet<ObjectPath>> = BTreeMap::new();
        for path in lines.map_err(DatabaseError::from)?.into_keys() {
            aliases.entry(self.place(&path)).or_default().insert(path);
        }
        Ok(aliases)
    }
}
