//! Searches for patches needed in addition to the accepted ones. Choices exist if several patches may meet a
//! requirement, or if a later revision ends a conflict. They are tried in the order of preference; after a failure the
//! search goes back to the last choice that contributed to it.

use std::collections::{BTreeSet, HashMap};

use patchadm_svr4::patch::Requirement;

use super::catalogue::{AppliedConflict, Catalogue, OfferConflict, Selection};
use super::possible::{Chances, required_refused};
use super::schedule::{NoOrder, Unsettled, can_follow, has_order};
use crate::plan::refusal::{Reason, SetReason};

/// For one patch, or for all of them together.
pub const MOST_DECISIONS: usize = 100_000;

pub(super) struct Search<'s, 'a> {
    catalogue: &'s Catalogue<'a>,
    chances: &'s Chances,
    set: &'s mut Selection,
    added: Vec<usize>,
    needed: HashMap<usize, Needed<'a>>,
    questions: Vec<Question<'a>>,
    /// The level of a patch is the number of the decision that added it, from 1; 0 for earlier patches.
    choices: Vec<Choice>,
    levels: HashMap<usize, usize>,
    decisions: usize,
}

/// `None` for a requested patch, or one that ends a conflict.
type Needed<'a> = Option<(usize, &'a Requirement)>;

#[derive(Clone)]
enum Question<'a> {
    /// A patch meets a requirement of a patch.
    Need(usize, &'a Requirement),
    /// A patch ends a conflict of a patch with an applied one.
    Applied(usize, usize),
    /// A patch ends a conflict within the set.
    Pair(OfferConflict),
}

/// An option of `None` means that the set already has the answer.
struct Choice {
    options: std::vec::IntoIter<Option<usize>>,
    /// Levels that contributed to the failures so far.
    blame: BTreeSet<usize>,
    reason: Option<Reason>,
    added: usize,
    questions: usize,
}

struct DeadEnd {
    blame: BTreeSet<usize>,
    reason: Box<Reason>,
}

impl<'s, 'a> Search<'s, 'a> {
    pub(super) fn new(catalogue: &'s Catalogue<'a>, chances: &'s Chances, set: &'s mut Selection) -> Self {
        Self {
            catalogue,
            chances,
            set,
            added: Vec::new(),
            needed: HashMap::new(),
            questions: Vec::new(),
            choices: Vec::new(),
            levels: HashMap::new(),
            decisions: 0,
        }
    }

    /// On failure, the set is unchanged.
    pub(super) fn add(mut self, roots: &[usize]) -> Result<(), Reason> {
        let mut step = self.put_all(roots);
        loop {
            step = match step {
                Ok(()) => match self.questions.get(self.choices.len()).cloned() {
                    Some(question) => self.ask(&question),
                    None => match self.check() {
                        Ok(()) => return Ok(()),
                        Err(end) => Err(end),
                    },
                },
                Err(end) => match self.go_back(end) {
                    None => self.choose(),
                    Some(reason) => {
                        self.take_back(0, 0);
                        return Err(reason);
                    }
                },
            };
        }
    }

    fn put_all(&mut self, roots: &[usize]) -> Result<(), DeadEnd> {
        let new: Vec<usize> = roots.iter().copied().filter(|root| !self.set.contains(*root)).collect();
        new.into_iter().try_for_each(|root| self.put(root, None))
    }

    fn put(&mut self, place: usize, needed: Needed<'a>) -> Result<(), DeadEnd> {
        let catalogue = self.catalogue;
        let excluding = catalogue.excluding(place).into_iter().filter(|other| self.set.contains(*other));
        let conflicts: Vec<OfferConflict> = excluding.map(|other| catalogue.conflict(place, other)).collect();
        if let Some(conflict) = conflicts.iter().find(|conflict| conflict.ways().next().is_none()) {
            return Err(self.dead_end(conflict.other, needed, catalogue.excluded(place, conflict.other)));
        }
        let mut containers = catalogue.containers(place).filter(|other| self.set.contains(*other));
        if let Some(other) = containers.find(|other| catalogue.contains(place, *other)) {
            let circle = [place, other, place].map(|place| catalogue.id(place).clone());
            return Err(self.dead_end(other, needed, Reason::InSet(SetReason::Circle(circle.into()))));
        }
        let item = catalogue.item(place);
        self.set.insert(place);
        self.levels.insert(place, self.choices.len());
        self.needed.insert(place, needed);
        self.added.push(place);
        self.questions.extend(item.needs.iter().map(|need| Question::Need(place, need)));
        self.questions.extend((0..item.against.len()).map(|which| Question::Applied(place, which)));
        self.questions.extend(conflicts.into_iter().map(Question::Pair));
        Ok(())
    }

    fn dead_end(&self, with: usize, needed: Needed<'a>, reason: Reason) -> DeadEnd {
        DeadEnd { blame: self.level(with).into_iter().collect(), reason: Box::new(self.told(needed, reason)) }
    }

    fn level(&self, place: usize) -> Option<usize> {
        self.levels.get(&place).copied().filter(|level| *level > 0)
    }

    fn told(&self, mut needed: Needed<'a>, reason: Reason) -> Reason {
        let mut needs = Vec::new();
        while let Some((owner, requirement)) = needed {
            needs.push(requirement);
            needed = self.needed.get(&owner).copied().flatten();
        }
        needs.reverse();
        required_refused(needs, reason)
    }

    fn ask(&mut self, question: &Question<'a>) -> Result<(), DeadEnd> {
        let reason = match question {
            Question::Need(..) => None,
            Question::Applied(place, which) => {
                let conflict = self.catalogue.item(*place).against.get(*which);
                conflict.map(|conflict| self.told_of(*place, conflict.reason()))
            }
            Question::Pair(pair) => {
                Some(self.told_of(pair.one, self.catalogue.excluded(pair.one, pair.other)))
            }
        };
        self.choices.push(Choice {
            options: self.options(question).into_iter(),
            blame: BTreeSet::new(),
            reason,
            added: self.added.len(),
            questions: self.questions.len(),
        });
        self.choose()
    }

    fn told_of(&self, place: usize, reason: Reason) -> Reason {
        self.told(self.needed.get(&place).copied().flatten(), reason)
    }

    fn options(&self, question: &Question<'a>) -> Vec<Option<usize>> {
        let catalogue = self.catalogue;
        let mut places = match question {
            Question::Need(place, need) => {
                let mut places = catalogue.providers(need);
                places.retain(|one| one != place);
                places
            }
            Question::Applied(place, which) => {
                let conflict = catalogue.item(*place).against.get(*which);
                let mut places =
                    conflict.map(|conflict| catalogue.enders(conflict.applied)).unwrap_or_default();
                places.retain(|one| one != place);
                places
            }
            Question::Pair(pair) => {
                let ways = pair.ways().flat_map(|(first, _)| catalogue.enders(catalogue.id(first)));
                ways.filter(|one| *one != pair.one && *one != pair.other).collect()
            }
        };
        let is_there = places.iter().any(|place| self.set.contains(*place));
        places.retain(|place| !self.set.contains(*place) && self.chances.has(*place));
        is_there.then_some(None).into_iter().chain(places.into_iter().map(Some)).collect()
    }

    fn choose(&mut self) -> Result<(), DeadEnd> {
        let question = self.questions.get(self.choices.len().wrapping_sub(1)).cloned();
        while let Some(option) = self.choices.last_mut().and_then(|choice| choice.options.next()) {
            self.decisions += 1;
            let Some(place) = option else { return Ok(()) };
            if self.set.contains(place) {
                continue;
            }
            let needed = match &question {
                Some(Question::Need(owner, need)) => Some((*owner, *need)),
                _ => None,
            };
            match self.put(place, needed) {
                Ok(()) => return Ok(()),
                Err(end) => self.note(end),
            }
        }
        let level = self.choices.len();
        let owners = match &question {
            Some(Question::Need(place, _) | Question::Applied(place, _)) => vec![*place],
            Some(Question::Pair(pair)) => vec![pair.one, pair.other],
            None => Vec::new(),
        };
        let choice = self.choices.pop();
        let (mut blame, reason) = choice.map(|choice| (choice.blame, choice.reason)).unwrap_or_default();
        blame.remove(&level);
        blame.extend(owners.iter().filter_map(|place| self.level(*place)));
        let nowhere = || match &question {
            Some(Question::Need(place, need)) => self.told_of(*place, self.catalogue.nowhere(need)),
            _ => Reason::InSet(SetReason::TooManyRequirements),
        };
        Err(DeadEnd { reason: Box::new(reason.unwrap_or_else(nowhere)), blame })
    }

    fn note(&mut self, end: DeadEnd) {
        if let Some(choice) = self.choices.last_mut() {
            choice.blame.extend(end.blame);
            choice.reason.get_or_insert(*end.reason);
        }
    }

    /// Backjumps to the last decision that contributed. Returns the reason if there is none or the limit is reached.
    fn go_back(&mut self, end: DeadEnd) -> Option<Reason> {
        let Some(level) = end.blame.last().copied() else { return Some(*end.reason) };
        if self.decisions > MOST_DECISIONS {
            return Some(Reason::InSet(SetReason::TooManyRequirements));
        }
        self.choices.truncate(level);
        let (added, questions) =
            self.choices.last().map(|one| (one.added, one.questions)).unwrap_or_default();
        self.take_back(added, questions);
        self.note(end);
        None
    }

    fn take_back(&mut self, added: usize, questions: usize) {
        for place in self.added.split_off(added.min(self.added.len())) {
            self.set.remove(place);
            self.levels.remove(&place);
            self.needed.remove(&place);
        }
        self.questions.truncate(questions);
    }

    /// If there is no order, any decision may be the cause.
    fn check(&self) -> Result<(), DeadEnd> {
        let has_conflicts = self.questions.iter().any(|question| !matches!(question, Question::Need(..)));
        if !has_conflicts && can_follow(self.catalogue, self.set, &self.added) {
            return Ok(());
        }
        has_order(self.catalogue, self.set).map_err(|why| {
            let root = self.added.first().copied().unwrap_or_default();
            let (place, reason) = self.catalogue.without_order(root, &why);
            DeadEnd {
                blame: (1..=self.choices.len()).collect(),
                reason: Box::new(self.told_of(place, reason)),
            }
        })
    }
}

impl Catalogue<'_> {
    pub(super) fn excluded(&self, place: usize, other: usize) -> Reason {
        let says = self.says_so(place, other).clone();
        Reason::InSet(SetReason::ExcludeEachOther { other: self.id(other).clone(), says })
    }

    fn without_order(&self, place: usize, why: &NoOrder) -> (usize, Reason) {
        match why {
            NoOrder::Unsettled(Unsettled::Applied(at, which)) => {
                let conflict = self.item(*at).against.get(*which);
                (*at, conflict.map_or(Reason::InSet(SetReason::TooManyRequirements), AppliedConflict::reason))
            }
            NoOrder::Unsettled(Unsettled::Pair(one, other)) => {
                let (at, other) = if place == *one { (*one, *other) } else { (*other, *one) };
                (at, self.excluded(at, other))
            }
            NoOrder::Circle(path) => self.circle(path),
        }
    }

    fn circle(&self, path: &[usize]) -> (usize, Reason) {
        let first = path.first().copied().unwrap_or_default();
        for pair in path.windows(2) {
            let [later, earlier] = *pair else { continue };
            let (restricted, ordinary) = (self.item(later), self.item(earlier));
            if !restricted.is_restricted || ordinary.is_restricted {
                continue;
            }
            // The ordinary patch would have to come before the restricted one that it needs.
            let shared = restricted.packages.iter().find(|package| ordinary.packages.contains(package));
            if let Some(package) = shared {
                let (restricted, package) = (restricted.offer.id.clone(), package.clone());
                return (earlier, Reason::Restricted { restricted, package });
            }
        }
        let ids = path.iter().map(|place| self.id(*place).clone());
        (first, Reason::InSet(SetReason::Circle(ids.collect())))
    }
}
