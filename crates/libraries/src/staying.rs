//! The candidates that stay: those that unmet needs reach, unless another consumer would find one instead of a newer
//! library.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::change::{Consumer, ConsumerSource, LibraryChange, Obstacle};
use super::comparisons::VersionComparisons;
use super::concerned::starting_points;
use super::loading::{Loader, Loading, Need};
use super::lost_needs::{CountedNeed, counterpart, is_served};
use super::settings::LoaderSettings;
use super::tree::LibraryTree;
use patchadm_rootfs::Interrupt;
use patchadm_svr4::package::ObjectPath;

impl LibraryChange<'_> {
    /// Returns the candidates that are reached from needs, each with who needs it.
    pub(super) fn reachable(
        &self,
        lost: &BTreeSet<CountedNeed>,
        obstacles: &BTreeMap<ObjectPath, Obstacle>,
        versions: &VersionComparisons,
    ) -> BTreeMap<ObjectPath, BTreeSet<Consumer>> {
        let wanted = self.wanted(lost, obstacles, versions);
        let tree = self.with(|path| wanted.contains(path));
        let mut loader = Loader::naming(&tree, self.settings, versions.names()).ended_by(self.interrupt);
        let mut kept: BTreeMap<ObjectPath, BTreeSet<Consumer>> = BTreeMap::new();
        let mut loaded: Option<(&ObjectPath, Loading)> = None;
        for need in lost {
            // They are sorted by program.
            if loaded.as_ref().is_none_or(|(start, _)| **start != need.start) {
                loaded = loader.load(&need.start).map(|loading| (&need.start, loading));
            }
            let Some((_, loading)) = &loaded else { continue };
            // A library that the program no longer loads because a candidate hides it may still be opened by another
            // consumer.
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

    /// Returns the candidates that meet a need, and those that meet the needs of these, over the resulting tree. Also
    /// finds candidates that are hidden by another, unneeded candidate.
    fn wanted(
        &self,
        lost: &BTreeSet<CountedNeed>,
        obstacles: &BTreeMap<ObjectPath, Obstacle>,
        versions: &VersionComparisons,
    ) -> BTreeSet<ObjectPath> {
        let may_stay =
            |path: &ObjectPath| self.candidates.contains_key(path) && !obstacles.contains_key(path);
        let offered = self.with(may_stay);
        let mut finder = Loader::naming(&offered, self.settings, versions.names()).ended_by(self.interrupt);
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
            let mut loader = Loader::naming(&tree, self.settings, versions.names()).ended_by(self.interrupt);
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

    /// Returns the candidates that, if they stayed, some consumer would find instead of the library that serves it
    /// after the change.
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
        let how = (self.settings, versions, self.interrupt);
        misled_from(starts, (&tree, self.after), how, is_kept).into_keys().collect()
    }
}

/// Returns the needs of a loading to search for: those that were lost, and those of staying libraries that nothing
/// meets.
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

/// Returns the kept libraries that some consumer finds instead of the library that serves it without them, each with
/// its finder.
pub fn misled_by(
    with: &LibraryTree,
    without: &LibraryTree,
    (settings, interrupt): (&LoaderSettings, Interrupt<'_>),
    is_kept: impl Fn(&ObjectPath) -> bool,
) -> BTreeMap<ObjectPath, BTreeSet<ObjectPath>> {
    let versions = VersionComparisons::default();
    let starts = starting_points(without, settings, interrupt);
    misled_from(&starts, (with, without), (settings, &versions, interrupt), is_kept)
}

fn misled_from(
    starts: &BTreeSet<ObjectPath>,
    (with, without): (&LibraryTree, &LibraryTree),
    (settings, versions, interrupt): (&LoaderSettings, &VersionComparisons, Interrupt<'_>),
    is_kept: impl Fn(&ObjectPath) -> bool,
) -> BTreeMap<ObjectPath, BTreeSet<ObjectPath>> {
    let [mut with, mut without] =
        [with, without].map(|tree| Loader::naming(tree, settings, versions.names()).ended_by(interrupt));
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
            // A program that finds a kept library instead of this object does not load the object, but something else
            // may open it.
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
