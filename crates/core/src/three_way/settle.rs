//! The effects of one path on others: directories that have to be made again, that are not empty, or that another object
//! replaces.

use std::collections::{BTreeMap, BTreeSet};

use super::outcome::{Conflict, Decision, KeptBecause, Outcome, Outcomes, SideChange};
use super::sides::Sides;
use patchadm_releases::{ReleaseObject, ReleaseObjectKind};
use patchadm_svr4::package::ObjectPath;

/// Reconciles the outcomes of nested paths.
pub(super) fn settle(sides: &Sides<'_>, outcomes: &mut Outcomes) {
    let (from, to) = (by_path(sides.from), by_path(sides.to));
    let mut settling = Settling { from, to, standing: sides.standing, outcomes };
    if sides.base.is_none() {
        settling.keep_directories();
    }
    settling.directories_above();
    settling.directories_that_turn();
    settling.directories_that_stay();
}

fn by_path(objects: &[ReleaseObject]) -> BTreeMap<ObjectPath, &ReleaseObject> {
    objects.iter().map(|object| (object.path.clone(), object)).collect()
}

struct Settling<'a> {
    from: BTreeMap<ObjectPath, &'a ReleaseObject>,
    to: BTreeMap<ObjectPath, &'a ReleaseObject>,
    standing: &'a BTreeSet<ObjectPath>,
    outcomes: &'a mut Outcomes,
}

impl Settling<'_> {
    /// Keeps existing directories. Without a base, they keep their attributes, and a link in the place of one stops
    /// everything.
    fn keep_directories(&mut self) {
        let is_link = |object: &ReleaseObject| matches!(object.kind, ReleaseObjectKind::Symlink(_));
        let (from, to) = (&self.from, &self.to);
        let mut stops = Vec::new();
        self.outcomes.retain(|path, outcome| {
            let (Some(from), Some(to)) = (from.get(path), to.get(path)) else { return true };
            if from.is_directory() && is_link(to) && outcome.is_taken() {
                stops.push(path.clone());
            }
            !(from.is_directory() && to.is_directory())
        });
        for path in stops {
            self.stop(&path);
        }
    }

    /// Makes the directories above taken objects again, if they are missing, as they are in the other tree. If something
    /// else exists there, everything stops.
    fn directories_above(&mut self) {
        let taken: Vec<ObjectPath> = self.taken().cloned().collect();
        let mut seen: BTreeSet<ObjectPath> = BTreeSet::new();
        for path in &taken {
            for above in path.ancestors() {
                if !seen.insert(above.clone()) {
                    break;
                }
                if !self.from.contains_key(&above) || self.outcomes.get(&above).is_some_and(Outcome::is_taken)
                {
                    continue;
                }
                match self.to.get(&above) {
                    None => {
                        self.outcomes.insert(above, Outcome::Take);
                    }
                    Some(there) if !there.is_directory() => self.stop(path),
                    Some(_) => {}
                }
            }
        }
    }

    /// Lets a directory become something else only if nothing in it stays.
    fn directories_that_turn(&mut self) {
        let turns = |path: &&ObjectPath| {
            self.to.get(*path).is_some_and(|there| there.is_directory())
                && self.from.get(*path).is_some_and(|comes| !comes.is_directory())
        };
        let turning: Vec<ObjectPath> = self.taken().filter(turns).cloned().collect();
        for path in turning {
            if self.holds_something(&path) {
                self.stop(&path);
            }
        }
    }

    /// Lets a directory be deleted only if nothing is left in it.
    fn directories_that_stay(&mut self) {
        let is_directory = |path: &&ObjectPath| self.to.get(*path).is_some_and(|there| there.is_directory());
        let deleted = self.outcomes.iter().filter(|(_, outcome)| outcome.is_deleted()).map(|(path, _)| path);
        let mut deleted: Vec<ObjectPath> = deleted.filter(is_directory).cloned().collect();
        // The contents of a directory sort after it.
        deleted.reverse();
        for path in deleted {
            if self.holds_something(&path) {
                self.outcomes.insert(path, Outcome::Keep(KeptBecause::LiveOnly));
            }
        }
    }

    fn taken(&self) -> impl Iterator<Item = &ObjectPath> {
        self.outcomes.iter().filter(|(_, outcome)| outcome.is_taken()).map(|(path, _)| path)
    }

    /// Returns whether something below a directory stays, or comes.
    fn holds_something(&self, directory: &ObjectPath) -> bool {
        let stays = |path: &ObjectPath| !self.outcomes.get(path).is_some_and(Outcome::is_deleted);
        let comes = |path: &ObjectPath| self.outcomes.get(path).is_some_and(Outcome::is_taken);
        below(&self.to, directory).any(stays)
            || below(self.outcomes, directory).any(comes)
            || self.standing.iter().any(|path| path.is_below(directory))
    }

    fn stop(&mut self, path: &ObjectPath) {
        let side = |is_there: bool| if is_there { SideChange::Changed } else { SideChange::Gone };
        let (from, to) = (side(self.from.contains_key(path)), side(self.to.contains_key(path)));
        let stop = Outcome::Conflict(Conflict { from, to, decision: Decision::Stop });
        self.outcomes.insert(path.clone(), stop);
    }
}

/// Returns the keys that lie below a directory.
fn below<'m, V>(
    map: &'m BTreeMap<ObjectPath, V>,
    directory: &'m ObjectPath,
) -> impl Iterator<Item = &'m ObjectPath> {
    let behind = map.range(directory.lowest_below()..).map(|(path, _)| path);
    behind.take_while(move |path| path.is_below(directory))
}
