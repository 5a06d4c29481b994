//! The candidates that stay: what unmet needs reach, unless somebody else would find it in the place of something newer.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::change::{Consumer, ConsumerSource, LibraryChange, Obstacle};
use super::comparisons::VersionComparisons;
use super::concerned::starting_points;
use super::loading::{Loader, Loading, Need};
use super::lost_needs::{CountedNeed, counterpart, is_served};
use super::settings::LoaderSettings;
use super::tree::LibraryTree;
use patchadm_svr4::package::ObjectPath;

impl LibraryChange<'_> {
    /// The candidates that are reached from needs, each with who needs it.
    pub(super) fn reachable(
        &self,
        lost: &BTreeSet<CountedNeed>,
        obstacles: &BTreeMap<ObjectPath, Obstacle>,
        versions: &VersionComparisons,
    ) -> BTreeMap<ObjectPath, BTreeSet<Consumer>> {
        let wanted = self.wanted(lost, obstacles, versions);
        let tree = self.with(|path| wanted.contains(path));
        let mut loader = Loader::naming(&tree, self.settings, versions.names());
        let mut kept: BTreeMap<ObjectPath, BTreeSet<Consumer>> = BTreeMap::new();
        let mut loaded: Option<(&ObjectPath, Loading)> = None;
        for need in lost {
            // They are sorted by program.
            if loaded.as_ref().is_none_or(|(start, _)| **start != need.start) {
                loaded = loader.load(&need.start).map(|loading| (&need.start, loading));
            }
            let Some((_, loading)) = &loaded else { continue };
            // What the program does not load any more, because a candidate hides it, somebody may still open.
            let is_hidden = need.in_loading(loading).is_none();
            let alone = is_hidden.then(|| loader.load(&need.consumer.path)).flatten();
            let loading = alone.as_ref().unwrap_or(loading);
            let Some((_, object, other)) = need.in_loading(loading) else { continue };
            let serves = |index: &usize| {
                let library = loading.objects.get(*index).map(|library| library.way.file.as_ref());
                library.is_some_and(|library| {
                    object.way.file.versions_missing_in(library, &need.name).is_empty()
                })
            };
            if let Some(index) = other.found.filter(serves) {
                self.keep_with_needs((loading, index), &need.consumer, obstacles, &mut kept);
            }
        }
        for (path, consumers) in self.others.iter().filter(|(path, _)| tree.file_at(path).is_some()) {
            let Some(loading) = loader.load(path) else { continue };
            for other in consumers {
                let source = ConsumerSource::Other(other.source);
                let consumer = Consumer { path: other.path.clone(), source };
                self.keep_with_needs((&loading, 0), &consumer, obstacles, &mut kept);
            }
        }
        kept
    }

    /// The candidates that meet a need, and those that meet what these need, over the tree that comes of it. What another
    /// candidate would hide that nobody needs is found.
    fn wanted(
        &self,
        lost: &BTreeSet<CountedNeed>,
        obstacles: &BTreeMap<ObjectPath, Obstacle>,
        versions: &VersionComparisons,
    ) -> BTreeSet<ObjectPath> {
        let may_stay =
            |path: &ObjectPath| self.candidates.contains_key(path) && !obstacles.contains_key(path);
        let offered = self.with(may_stay);
        let mut finder = Loader::naming(&offered, self.settings, versions.names());
        let mut starts: BTreeMap<&ObjectPath, Vec<&CountedNeed>> = BTreeMap::new();
        for path in self.others.keys().filter(|path| may_stay(path)) {
            starts.insert(path, Vec::new());
        }
        let mut wanted: BTreeSet<ObjectPath> = starts.keys().copied().cloned().collect();
        for need in lost {
            starts.entry(&need.start).or_default().push(need);
        }
        loop {
            let tree = self.with(|path| wanted.contains(path));
            let mut loader = Loader::naming(&tree, self.settings, versions.names());
            let mut more = BTreeSet::new();
            for (start, lost) in &starts {
                let Some(now) = loader.load(start) else { continue };
                for (index, need) in open_needs(&now, lost, &wanted, versions) {
                    let way = finder.find_serving(&now, index, need).map(|(_, way)| way);
                    let all = way.iter().flat_map(|way| way.links.iter().chain([&way.path]));
                    more.extend(all.filter(|path| may_stay(path) && !wanted.contains(*path)).cloned());
                }
            }
            if more.is_empty() {
                return wanted;
            }
            wanted.append(&mut more);
        }
    }

    /// Keeps a candidate that was found, the links on the way to it, and the candidates that it needs in turn. At the path
    /// of one that cannot stay there is nothing, or something else.
    fn keep_with_needs(
        &self,
        (loading, index): (&Loading, usize),
        consumer: &Consumer,
        obstacles: &BTreeMap<ObjectPath, Obstacle>,
        kept: &mut BTreeMap<ObjectPath, BTreeSet<Consumer>>,
    ) {
        let (mut next, mut seen) = (vec![index], HashSet::new());
        while let Some(index) = next.pop() {
            let Some(object) = loading.objects.get(index).filter(|_| seen.insert(index)) else { continue };
            let way = object.way.links.iter().chain([&object.way.path]);
            let may_stay =
                |path: &&ObjectPath| self.candidates.contains_key(*path) && !obstacles.contains_key(*path);
            let own: Vec<&ObjectPath> = way.filter(may_stay).collect();
            if own.is_empty() {
                continue;
            }
            for path in own {
                kept.entry(path.clone()).or_default().insert(consumer.clone());
            }
            next.extend(loading.needs_of(object).filter_map(|need| need.found));
        }
    }

    /// The candidates that somebody would find, if they stayed, in the place of what serves him after the change.
    pub(super) fn shadowing(
        &self,
        starts: &BTreeSet<ObjectPath>,
        kept: &BTreeMap<ObjectPath, BTreeSet<Consumer>>,
        versions: &VersionComparisons,
    ) -> BTreeSet<ObjectPath> {
        if kept.is_empty() {
            return BTreeSet::new();
        }
        let tree = self.with(|path| kept.contains_key(path));
        let is_kept = |path: &ObjectPath| kept.contains_key(path);
        misled_from(starts, (&tree, self.after), (self.settings, versions), is_kept).into_keys().collect()
    }
}

/// The needs of a loading that are looked for: those that were lost, and those of what stays that nothing meets.
fn open_needs<'l>(
    now: &'l Loading,
    lost: &[&CountedNeed],
    staying: &BTreeSet<ObjectPath>,
    versions: &VersionComparisons,
) -> Vec<(usize, &'l Need)> {
    let open = now.all_needs().filter(|(_, object, need)| {
        staying.contains(&object.way.path) && !is_served(now, object, need, versions)
            || lost.iter().any(|lost| lost.is_of(now, object, need))
    });
    open.map(|(index, _, need)| (index, need)).collect()
}

/// Returns the kept libraries that somebody finds in the place of what serves him without them, each with who finds it.
pub fn misled_by(
    with: &LibraryTree,
    without: &LibraryTree,
    settings: &LoaderSettings,
    is_kept: impl Fn(&ObjectPath) -> bool,
) -> BTreeMap<ObjectPath, BTreeSet<ObjectPath>> {
    let versions = VersionComparisons::default();
    misled_from(&starting_points(without, settings), (with, without), (settings, &versions), is_kept)
}

fn misled_from(
    starts: &BTreeSet<ObjectPath>,
    (with, without): (&LibraryTree, &LibraryTree),
    (settings, versions): (&LoaderSettings, &VersionComparisons),
    is_kept: impl Fn(&ObjectPath) -> bool,
) -> BTreeMap<ObjectPath, BTreeSet<ObjectPath>> {
    let [mut with, mut without] =
        [with, without].map(|tree| Loader::naming(tree, settings, versions.names()));
    let mut misled: BTreeMap<ObjectPath, BTreeSet<ObjectPath>> = BTreeMap::new();
    let (mut next, mut known): (Vec<ObjectPath>, BTreeSet<ObjectPath>) =
        (starts.iter().cloned().collect(), starts.clone());
    while let Some(path) = next.pop() {
        let Some(with) = with.load(&path) else { continue };
        if !with.objects.iter().any(|object| is_kept(&object.way.path)) {
            continue;
        }
        let Some(without) = without.load(&path) else { continue };
        for (index, object) in without.objects.iter().enumerate() {
            let own = &object.way.path;
            // Who finds a kept library in its place does not load it, but somebody may open it.
            let is_left = !with.objects.iter().any(|other| other.way.path == *own);
            if is_left && known.insert(own.clone()) {
                next.push(own.clone());
            }
            for need in without.needs_of(object).filter(|need| is_served(&without, object, need, versions)) {
                let other = counterpart(&with, (index, own), need);
                let found = other.and_then(|(_, other)| with.found(other)).map(|found| &found.way);
                if let Some(way) = found.filter(|way| is_kept(&way.path)) {
                    misled.entry(way.path.clone()).or_default().insert(own.clone());
                }
            }
        }
    }
    misled
}
