//! The needs that a candidate served, or could have served, and that are lost because it does not stay.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::change::{CandidateNode, Consumer, LibraryChange};
use super::comparisons::Comparisons;
use super::loading::{LoadedObject, Loader, Loading, Need};
use super::lost_needs::{CountedNeed, Served, lack, served};
use super::tree::{LibraryFile, Way};
use patchadm_svr4::package::ObjectPath;

impl LibraryChange<'_> {
    /// Returns the unmet needs of staying libraries: a candidate served them, or could, and does not stay.
    pub(super) fn lost_by_staying(
        &self,
        lost: &BTreeSet<CountedNeed>,
        kept: &BTreeMap<ObjectPath, BTreeSet<Consumer>>,
        comparisons: &Comparisons<'_>,
    ) -> BTreeSet<CountedNeed> {
        if kept.is_empty() {
            return BTreeSet::new();
        }
        let is_kept = |path: &ObjectPath| kept.contains_key(path);
        let (with_kept, with_all) = (self.with(is_kept), self.with(|_| true));
        let names = comparisons.versions.names();
        let [mut now, mut before, mut all] = [&with_kept, self.before, &with_all]
            .map(|tree| Loader::naming(tree, self.settings, names).ended_by(self.interrupt));
        let others = self.others.keys().filter(|path| is_kept(path));
        let starts: BTreeSet<&ObjectPath> = lost.iter().map(|need| &need.start).chain(others).collect();
        let mut found = BTreeSet::new();
        for start in starts {
            let Some(now) = now.load(start) else { continue };
            let objects = now.objects.iter().enumerate();
            let staying: Vec<_> = objects.filter(|(_, object)| is_kept(&object.way.path)).collect();
            let was = if staying.is_empty() { None } else { before.load(start) };
            for (index, object) in staying {
                for need in now.needs_of(object) {
                    let consumer = (index, &object.way.path);
                    let served =
                        was.as_ref().and_then(|was| served(was, consumer, need, &comparisons.versions));
                    let served = served.filter(|served| served.is_whole);
                    let could_serve = || self.could_serve(&mut all, (&now, index), need, comparisons);
                    let Some(served) = served.or_else(could_serve) else { continue };
                    let lack = lack((&now, index), need, Some(&served), comparisons);
                    if !lack.is_nothing() {
                        let need = (object, need);
                        let versions = &comparisons.versions;
                        found.insert(CountedNeed::of((start, &now), need, Some(served), lack, versions));
                    }
                }
            }
        }
        found
    }

    /// Adds, to needs that nothing served, the candidate that could.
    pub(super) fn with_candidates(
        &self,
        lost: BTreeSet<CountedNeed>,
        comparisons: &Comparisons<'_>,
    ) -> BTreeSet<CountedNeed> {
        if lost.iter().all(|need| need.served.is_some()) {
            return lost;
        }
        let with_all = self.with(|_| true);
        let names = comparisons.versions.names();
        let [mut now, mut all] = [self.after, &with_all]
            .map(|tree| Loader::naming(tree, self.settings, names).ended_by(self.interrupt));
        let mut loaded: Option<(ObjectPath, Option<Loading>)> = None;
        let mut named = |lost: CountedNeed| {
            if lost.served.is_some() {
                return lost;
            }
            // They are sorted by program.
            if loaded.as_ref().is_none_or(|(start, _)| *start != lost.start) {
                loaded = Some((lost.start.clone(), now.load(&lost.start)));
            }
            let loading = loaded.as_ref().and_then(|(_, loading)| loading.as_ref());
            let served = loading.and_then(|now| {
                let (index, _, need) = lost.in_loading(now)?;
                self.could_serve(&mut all, (now, index), need, comparisons)
            });
            match served {
                Some(Served { name, way, .. }) => {
                    let name = names.text(name).to_string();
                    CountedNeed { name, served: Some(way.path.clone()), ..lost }
                }
                None => lost,
            }
        };
        lost.into_iter().map(&mut named).collect()
    }

    /// Returns the candidate that would meet a need, if all of them stayed, or one that is found after something else.
    fn could_serve(
        &self,
        all: &mut Loader<'_>,
        (now, index): (&Loading, usize),
        need: &Need,
        comparisons: &Comparisons<'_>,
    ) -> Option<Served> {
        let consumer = now.objects.get(index)?;
        let found = all.find_serving(now, index, need);
        let found = found.filter(|(_, way)| self.candidates.contains_key(&way.path));
        let (name, way) = match found {
            Some((name, way)) => (comparisons.versions.names().number(&name), way),
            None => (need.name, Rc::new(self.hidden(consumer, &now.name(need))?)),
        };
        Some(Served::by(consumer, name, &way, &comparisons.versions))
    }

    /// Returns a candidate that would do if nothing were found before it.
    fn hidden(&self, consumer: &LoadedObject, name: &str) -> Option<Way> {
        let serves = |file: &LibraryFile| {
            file.facts.machine == consumer.way.file.facts.machine
                && file.facts.soname.as_deref() == Some(name)
                && consumer.way.file.versions_missing_in(file, name).is_empty()
        };
        self.candidates.iter().find_map(|(path, candidate)| match &candidate.node {
            CandidateNode::File(file) if serves(file) => {
                Some(Way { links: Vec::new(), path: path.clone(), file: file.clone() })
            }
            _ => None,
        })
    }
}
