//! The candidates that stay: what unmet needs reach, unless somebody else would find it in the place of something newer.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::change::{Consumer, ConsumerSource, LibraryChange, Obstacle};
use super::concerned::starting_points;
use super::loading::{Loader, Loading};
use super::lost_needs::{CountedNeed, counterpart, is_served, missing_versions};
use super::settings::LoaderSettings;
use super::tree::LibraryTree;
use patchadm_svr4::package::ObjectPath;

impl LibraryChange<'_> {
    /// The candidates that are reached from needs, each with who needs it.
    pub(super) fn reachable(
        &self,
        lost: &BTreeSet<CountedNeed>,
        obstacles: &BTreeMap<ObjectPath, Obstacle>,
    ) -> BTreeMap<ObjectPath, BTreeSet<Consumer>> {
        let tree = self.with(|path| !obstacles.contains_key(path));
        let mut loader = Loader::new(&tree, self.settings);
        let mut kept: BTreeMap<ObjectPath, BTreeSet<Consumer>> = BTreeMap::new();
        let mut loaded: Option<(&ObjectPath, Loading)> = None;
        for need in lost {
            // They are sorted by program.
            if loaded.as_ref().is_none_or(|(start, _)| **start != need.start) {
                loaded = loader.load(&need.start).map(|loading| (&need.start, loading));
            }
            let Some((_, loading)) = &loaded else { continue };
            let found =
                loading.objects.iter().enumerate().find(|(_, object)| object.way.path == need.consumer.path);
            let index = found.and_then(|(_, object)| object.needs.iter().find(|other| need.is(other))?.found);
            let serves = |index: &usize| {
                let library = loading.objects.get(*index).map(|library| library.way.file.as_ref());
                let consumer = found.map(|(_, object)| object.way.file.as_ref());
                let both = consumer.zip(library);
                both.is_some_and(|(consumer, library)| {
                    missing_versions(consumer, &need.name, library).is_empty()
                })
            };
            if let Some(index) = index.filter(serves) {
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
            next.extend(object.needs.iter().filter_map(|need| need.found));
        }
    }

    /// The candidates that somebody would find, if they stayed, in the place of what serves him after the change.
    pub(super) fn shadowing(
        &self,
        starts: &BTreeSet<ObjectPath>,
        kept: &BTreeMap<ObjectPath, BTreeSet<Consumer>>,
    ) -> BTreeSet<ObjectPath> {
        if kept.is_empty() {
            return BTreeSet::new();
        }
        let tree = self.with(|path| kept.contains_key(path));
        let is_kept = |path: &ObjectPath| kept.contains_key(path);
        misled_from(starts, (&tree, self.after), self.settings, is_kept).into_keys().collect()
    }
}

/// Returns the kept libraries that somebody finds in the place of what serves him without them, each with who finds it.
pub fn misled_by(
    with: &LibraryTree,
    without: &LibraryTree,
    settings: &LoaderSettings,
    is_kept: impl Fn(&ObjectPath) -> bool,
) -> BTreeMap<ObjectPath, BTreeSet<ObjectPath>> {
    misled_from(&starting_points(without, settings), (with, without), settings, is_kept)
}

fn misled_from(
    starts: &BTreeSet<ObjectPath>,
    (with, without): (&LibraryTree, &LibraryTree),
    settings: &LoaderSettings,
    is_kept: impl Fn(&ObjectPath) -> bool,
) -> BTreeMap<ObjectPath, BTreeSet<ObjectPath>> {
    let (mut with, mut without) = (Loader::new(with, settings), Loader::new(without, settings));
    let mut misled: BTreeMap<ObjectPath, BTreeSet<ObjectPath>> = BTreeMap::new();
    for path in starts {
        let Some(with) = with.load(path) else { continue };
        if !with.objects.iter().any(|object| is_kept(&object.way.path)) {
            continue;
        }
        let Some(without) = without.load(path) else { continue };
        for (index, object) in without.objects.iter().enumerate() {
            for need in object.needs.iter().filter(|need| is_served(&without, object, need)) {
                let other = counterpart(&with, (index, &object.way.path), need);
                let found =
                    other.and_then(|(_, other)| with.objects.get(other.found?)).map(|found| &found.way);
                if let Some(way) = found.filter(|way| is_kept(&way.path)) {
                    misled.entry(way.path.clone()).or_default().insert(object.way.path.clone());
                }
            }
        }
    }
    misled
}
