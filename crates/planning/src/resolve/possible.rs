//! Offers with a chance: their requirements could be met by offers with a chance. Any other offer is refused at once:
//! no offer meets a requirement, or there is a circle.

use std::collections::HashMap;

use patchadm_svr4::patch::{PatchId, Requirement};

use super::catalogue::{Catalogue, Standing};
use crate::plan::refusal::{Reason, SetReason};

const MOST_LINKS: usize = 8;

/// Each patch of a long chain follows the rest of it.
const MOST_FOLLOWED: usize = 100;

pub(super) struct Chances {
    has_chance: Vec<bool>,
}

struct Waiting<'a> {
    id: &'a PatchId,
    place: usize,
    need: usize,
}

struct Hopes<'a> {
    waiting: HashMap<&'a str, Vec<Waiting<'a>>>,
    met: Vec<Vec<bool>>,
    open: Vec<usize>,
    highest: HashMap<&'a str, &'a PatchId>,
}

impl Chances {
    pub(super) fn of(catalogue: &Catalogue<'_>) -> Self {
        let mut hopes = Hopes::of(catalogue);
        let is_open = |place: &usize| catalogue.item(*place).standing == Standing::Open;
        let mut ready: Vec<usize> =
            (0..catalogue.items.len()).filter(|place| is_open(place) && hopes.open[*place] == 0).collect();
        let mut has_chance = vec![false; catalogue.items.len()];
        while let Some(place) = ready.pop() {
            if std::mem::replace(&mut has_chance[place], true) {
                continue;
            }
            let offer = catalogue.item(place).offer;
            for id in std::iter::once(&offer.id).chain(&offer.obsoletes) {
                ready.extend(hopes.provide(id).into_iter().filter(&is_open));
            }
        }
        Self { has_chance }
    }

    pub(super) fn has(&self, place: usize) -> bool {
        self.has_chance.get(place).copied().unwrap_or(false)
    }

    pub(super) fn reason(&self, catalogue: &Catalogue<'_>, place: usize) -> Reason {
        let mut path = vec![place];
        let mut needs = Vec::new();
        let root = loop {
            let at = path.last().copied().unwrap_or(place);
            if path.len() > MOST_FOLLOWED {
                break Reason::InSet(SetReason::TooManyRequirements);
            }
            if let Standing::Settled(reason) | Standing::Barred(reason) = &catalogue.item(at).standing {
                break reason.clone();
            }
            let mut own = catalogue.item(at).needs.iter().copied();
            let lacks = |next: &usize| self.has(*next);
            let Some((requirement, providers)) = own
                .by_ref()
                .map(|requirement| (requirement, catalogue.providers(requirement)))
                .find(|(_, providers)| !providers.iter().any(lacks))
            else {
                break Reason::InSet(SetReason::TooManyRequirements);
            };
            let Some(next) = providers.into_iter().find(|next| *next != at) else {
                break catalogue.nowhere(requirement);
            };
            if let Some(start) = path.iter().position(|known| *known == next) {
                needs.truncate(start);
                let mut circle: Vec<PatchId> =
                    path.iter().skip(start).map(|place| catalogue.id(*place).clone()).collect();
                circle.push(catalogue.id(next).clone());
                break Reason::InSet(SetReason::Circle(circle));
            }
            path.push(next);
            needs.push(requirement);
        };
        required_refused(needs, root)
    }
}

/// Names at most the first [`MOST_LINKS`] requirements.
pub(super) fn required_refused(needs: Vec<&Requirement>, reason: Reason) -> Reason {
    needs.into_iter().take(MOST_LINKS).rev().fold(reason, |reason, requirement| {
        let (requirement, reason) = (requirement.clone(), reason.sentence());
        Reason::InSet(SetReason::RequiredRefused { requirement, reason })
    })
}

impl Catalogue<'_> {
    pub(super) fn nowhere(&self, requirement: &Requirement) -> Reason {
        let requirement = requirement.clone();
        match self.depot {
            Some(depot) => Reason::InSet(SetReason::RequiredNowhere { requirement, depot: depot.to_owned() }),
            None => Reason::Required(requirement),
        }
    }
}

impl<'a> Hopes<'a> {
    fn of(catalogue: &Catalogue<'a>) -> Self {
        let mut waiting: HashMap<&str, Vec<Waiting<'_>>> = HashMap::new();
        for (place, item) in catalogue.items.iter().enumerate() {
            for (need, requirement) in item.needs.iter().enumerate() {
                for id in requirement.ids() {
                    waiting.entry(id.base()).or_default().push(Waiting { id, place, need });
                }
            }
        }
        let met = catalogue.items.iter().map(|item| vec![false; item.needs.len()]).collect();
        let open = catalogue.items.iter().map(|item| item.needs.len()).collect();
        Self { waiting, met, open, highest: HashMap::new() }
    }

    fn provide(&mut self, id: &'a PatchId) -> Vec<usize> {
        if self.highest.get(id.base()).is_some_and(|highest| highest.contains(id)) {
            return Vec::new();
        }
        self.highest.insert(id.base(), id);
        let mut complete = Vec::new();
        for waiting in self.waiting.get(id.base()).into_iter().flatten().filter(|one| id.contains(one.id)) {
            if !std::mem::replace(&mut self.met[waiting.place][waiting.need], true) {
                self.open[waiting.place] -= 1;
                if self.open[waiting.place] == 0 {
                    complete.push(waiting.place);
                }
            }
        }
        complete
    }
}
